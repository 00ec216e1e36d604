//! Parses help pages, so that the manual page and the shell completions are generated from the same text.
//!
//! A page consists of `Usage:` with one line per form, paragraphs separated by empty lines, options as `  --name VALUE
//!  words` (continued by deeper indented lines), and other indented lines, which are literal.

use super::help::Topic;

/// A part of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Block<'a> {
    /// Running text.
    Paragraph(String),
    /// Literal lines.
    Literal(Vec<&'a str>),
    /// An option or another defined word, with its meaning.
    Definition {
        /// `--name`, or the word.
        name: &'a str,
        /// The argument of an option, such as `FILE`; empty for a switch.
        value: &'a str,
        /// The description.
        text: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommandOption<'a> {
    /// Name with its dashes.
    pub name: &'a str,
    /// The argument; empty for a switch.
    pub value: &'a str,
    /// The description.
    pub text: String,
}

/// A command, as described by its page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommandPage<'a> {
    /// Name of the command.
    pub name: &'static str,
    /// The words that may follow the name, such as `generate`.
    pub words: Vec<&'a str>,
    pub options: Vec<CommandOption<'a>>,
    /// Whether a file or a directory may follow.
    pub takes_path: bool,
}

/// Splits a page into its parts.
pub(super) fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut continues = false;
    for line in page.lines() {
        let text = line.trim_start();
        let indent = line.len().saturating_sub(text.len());
        match (blocks.last_mut(), text) {
            (_, "") => {
                continues = false;
                continue;
            }
            (Some(Block::Paragraph(paragraph)), _) if continues && indent == 0 => {
                paragraph.push(' ');
                paragraph.push_str(text);
            }
            (Some(Block::Definition { text: meaning, .. }), _) if continues && indent > 4 => {
                meaning.push(' ');
                meaning.push_str(text);
            }
            _ if indent == 0 && !text.starts_with("Usage: ") => blocks.push(Block::Paragraph(text.to_owned())),
            (last, _) => match (definition(text).filter(|_| indent > 0 && indent <= 4), last) {
                (Some(definition), _) => blocks.push(definition),
                (None, Some(Block::Literal(lines))) if continues => lines.push(literal(line)),
                (None, _) => blocks.push(Block::Literal(vec![literal(line)])),
            },
        }
        continues = true;
    }
    blocks
}

/// Returns a literal line without its indentation and without `Usage:`.
fn literal(line: &str) -> &str {
    let text = line.trim_start();
    text.strip_prefix("Usage: ").unwrap_or(text)
}

/// Parses `--name VALUE   words`.
fn definition(text: &str) -> Option<Block<'_>> {
    let (head, meaning) = text.split_once("  ")?;
    let (name, value) = head.split_once(' ').unwrap_or((head, ""));
    let is_option = name.starts_with("--") && !value.contains(' ');
    is_option.then(|| Block::Definition { name, value, text: meaning.trim_start().to_owned() })
}

/// Returns the parsed page of a command.
pub(super) fn command(name: &'static str) -> CommandPage<'static> {
    let page = Topic::named(name).map_or("", Topic::text);
    let mut command = CommandPage { name, words: Vec::new(), options: Vec::new(), takes_path: false };
    let prefix = format!("stheno {name} ");
    for (index, block) in blocks(page).into_iter().enumerate() {
        match block {
            Block::Definition { name, value, text } => command.options.push(CommandOption { name, value, text }),
            // The usage forms; later literal lines are examples.
            Block::Literal(lines) if index == 0 => {
                lines
                    .into_iter()
                    .filter_map(|line| line.strip_prefix(&prefix))
                    .for_each(|line| command.read_usage(line));
            }
            Block::Literal(_) | Block::Paragraph(_) => {}
        }
    }
    command
}

impl CommandPage<'static> {
    /// Reads the part after the name in a form of `Usage:`.
    fn read_usage(&mut self, line: &'static str) {
        let mut words = line.split_whitespace();
        let is_plain = |word: &&str| {
            word.starts_with(|letter: char| letter.is_ascii_lowercase())
                && word.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-')
        };
        if let Some(word) = words.next().filter(is_plain)
            && !self.words.contains(&word)
        {
            self.words.push(word);
        }
        // In `--config FILE` the word belongs to the option; other words are not preceded by an option.
        let mut before = "";
        for word in line.split_whitespace() {
            self.takes_path |= matches!(word, "FILE" | "DIR") && !before.trim_start_matches('[').starts_with("--");
            before = word;
        }
    }
}

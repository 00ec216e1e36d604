//! A COMMAND request, for this daemon or for a host without one.

use std::collections::VecDeque;

use super::list::{Command, CommandList};
use super::shell_words;

/// Maximum number of characters of a refused command in a message.
const SHOWN_MAX: usize = 128;

/// A request. Holds command lines: no `Debug`.
#[derive(Clone, Default, PartialEq)]
pub(in crate::node) struct CommandRequest {
    /// The list as received JSON text.
    pub content: String,
    /// The remaining commands; the first is the current one.
    pub commands: VecDeque<Command>,
    /// Whether rows are written.
    pub logging: bool,
    /// Whether results are instant rows.
    pub instant: bool,
    /// Whether it comes from a central that we dial, which learns of it only by its rows.
    pub of_central: bool,
    /// Whether it stays in the queue of the daemon that sent it, which sends it again if it is given back.
    pub is_queued: bool,
    /// Whether it waits for the one before it from such a queue.
    pub in_order: bool,
    /// Number of characters of the whole request.
    pub len_bytes: usize,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::node) struct Refusal {
    pub text: String,
    pub logging: bool,
    /// The command lines before the invalid one.
    pub before: Vec<String>,
}

impl CommandRequest {
    /// Reads the data of a COMMAND. One invalid command refuses all of them.
    pub fn read(data: &str) -> Result<Self, Refusal> {
        let refusal = |text: &str, logging| Refusal { text: text.to_owned(), logging, before: Vec::new() };
        let mut single = String::new();
        let list = CommandList::read(data, &mut single).map_err(|text| refusal(text, true))?;
        let entries = list.entries().map_err(|text| refusal(text, list.logging))?;
        let CommandList { content, logging, instant } = list;
        let mut commands: VecDeque<Command> = VecDeque::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            match Command::read(entry.get()) {
                Ok(command) => commands.push_back(command),
                Err(text) => {
                    let text = format!("{text} at array index '{index}'");
                    let before = commands.into_iter().map(|command| command.line).collect();
                    return Err(Refusal { text, logging, before });
                }
            }
        }
        Ok(Self { content: content.to_owned(), commands, logging, instant, len_bytes: data.len(), ..Self::default() })
    }

    /// Reads the data of an ACTIONENGINE: one command that is not in a list.
    ///
    /// # Errors
    /// Returns the message of the row, if there is to be one.
    pub fn read_single(data: &str) -> Result<Self, Refusal> {
        let refusal = |text: &str, logging| Refusal { text: text.to_owned(), logging, before: Vec::new() };
        let mut single = String::new();
        let list = CommandList::read(data, &mut single).map_err(|text| refusal(text, true))?;
        let command = Command::read(list.content).map_err(|text| refusal(text, list.logging))?;
        let CommandList { content, logging, instant } = list;
        let commands = VecDeque::from([command]);
        Ok(Self { content: content.to_owned(), commands, logging, instant, len_bytes: data.len(), ..Self::default() })
    }
}

/// Returns the first word of a command line, with ` ...` for the rest, because arguments may be secrets.
pub(super) fn shown_line(line: &str) -> String {
    let (word, more) = match shell_words::split(line).as_deref() {
        Some([word, rest @ ..]) => (word.clone(), !rest.is_empty()),
        _ => {
            let mut words = line.split_whitespace();
            (words.next().unwrap_or_default().to_owned(), words.next().is_some())
        }
    };
    let shown: String = word.chars().take(SHOWN_MAX).collect();
    if more || shown.len() < word.len() { format!("{shown} ...") } else { shown }
}

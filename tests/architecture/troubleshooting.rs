//! Checks that `docs/troubleshooting.md` has every log line at WARNING or ERROR, and none that no longer exists.

use std::path::Path;

use crate::source::{self, SourceFile};

const PAGE: &str = include_str!("../../docs/troubleshooting.md");
/// The calls that make a line at these levels.
const CALLS: [&str; 4] = ["LogLine::warning(", "LogLine::error(", "self.log(Level::Warning", "self.log(Level::Error"];
/// Minimum length of a text that identifies a line.
const TEXT_MIN: usize = 10;

/// Returns the literals in a piece of source, with their lines joined.
fn literals(text: &str) -> Vec<String> {
    let (mut found, mut current, mut is_inside) = (Vec::new(), String::new(), false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if is_inside => {
                found.push(std::mem::take(&mut current));
                is_inside = false;
            }
            '"' => is_inside = true,
            '\\' if is_inside => match letters.next() {
                Some('\n') => while letters.next_if(|next| next.is_whitespace()).is_some() {},
                Some(escaped) => current.push(escaped),
                None => {}
            },
            _ if is_inside => current.push(letter),
            _ => {}
        }
    }
    found
}

/// Returns the longest part of a format that does not vary.
fn fixed(format: &str) -> String {
    let is_gap = |letter: char| matches!(letter, '{' | '}' | '…' | '|');
    let mut depth = 0;
    let blanked: String = format
        .chars()
        .map(|letter| {
            depth += i32::from(letter == '{');
            let shown = if depth > 0 { '{' } else { letter };
            depth -= i32::from(letter == '}');
            shown
        })
        .collect();
    blanked.split(is_gap).map(str::trim).max_by_key(|part| part.len()).unwrap_or_default().to_owned()
}

/// Returns the calls in `file` for which `page` has neither the text nor the path.
fn missing(file: &SourceFile, page: &str) -> Vec<String> {
    let text = file.text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut found = Vec::new();
    for call in CALLS {
        for (at, _) in text.match_indices(call) {
            // The window goes from the first line of the function to the end of the statement.
            let start = text[..at].rmatch_indices("fn ").find(|(place, _)| {
                let line = text[..*place].rsplit('\n').next().unwrap();
                line.split_whitespace().all(|word| word.starts_with("pub") || matches!(word, "const" | "unsafe"))
            });
            let end = at + text[at..].find(";\n").unwrap_or(text.len() - at);
            let window = &text[start.map_or(0, |(place, _)| place)..end];
            let texts: Vec<String> = literals(window).iter().map(|text| fixed(text)).collect();
            let is_told = texts.iter().any(|text| text.len() >= TEXT_MIN && page.contains(text.as_str()));
            if !is_told && !page.contains(&format!("`src/{}`", file.path)) {
                let line = text[..at].matches('\n').count() + 1;
                found.push(format!(
                    "src/{}:{line}: docs/troubleshooting.md has no entry for one of {texts:?}",
                    file.path
                ));
            }
        }
    }
    found
}

/// Returns lines of the page whose text the source does not contain.
fn outdated(page: &str, files: &[SourceFile]) -> Vec<String> {
    let texts: Vec<String> = files.iter().flat_map(|file| literals(&file.text)).collect();
    let first_columns =
        page.lines().filter(|line| line.starts_with("| `")).map(|line| line.split(" | ").next().unwrap());
    let quoted = first_columns.flat_map(|column| column.split('`').skip(1).step_by(2).map(fixed));
    quoted
        .filter(|text| text.len() >= TEXT_MIN && !text.starts_with("src/"))
        .filter(|text| !texts.iter().any(|known| known.contains(text.as_str())))
        .collect()
}

#[test]
fn every_warning_and_error_has_an_entry_with_cause_and_remedy() {
    let files = source::read_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let is_code = |file: &&SourceFile| !file.path.contains("tests") && file.path != "model/log.rs";
    let found: Vec<String> = files.iter().filter(is_code).flat_map(|file| missing(file, PAGE)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    let outdated = outdated(PAGE, &files);
    assert!(outdated.is_empty(), "docs/troubleshooting.md has lines that nothing writes: {outdated:#?}");
}

#[test]
fn a_line_without_an_entry_and_an_entry_without_a_line_are_noticed() {
    let text = "fn f(&self) {\n    let text = format!(\"the moon {phase} is \\\n        made of cheese\");\n    self.log(LogLine::error(\"core\", text));\n}\n";
    let file = SourceFile::new("node/a.rs", text);
    assert_eq!(missing(&file, "| `the moon … is made of cheese` | eat it |").len(), 0);
    assert_eq!(missing(&file, "| `src/node/a.rs` | the moon |").len(), 0);
    assert!(missing(&file, "| `the sun` | |")[0].starts_with("src/node/a.rs:4: "));
    let files = [file];
    assert!(outdated("| `the moon … is made of cheese` | eat it |", &files).is_empty());
    assert_eq!(outdated("| `the moon … is made of gold` | |", &files), ["is made of gold"]);
}

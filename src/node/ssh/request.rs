//! A COMMAND for a host without a daemon.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;

use super::relay_word;
use crate::node::modules::action::list::{self, CommandList};
use crate::node::modules::action::shell_words;

/// Where a command names no time of its own (docs/protocol.md section 10).
const TIMEOUT: Duration = Duration::from_secs(60);
const TIMEOUT_NODATA: Duration = Duration::from_secs(30);
/// No command runs longer.
const TIMEOUT_MAX: Duration = Duration::from_secs(86_400);

/// One command. Holds a command line: no `Debug`.
pub(super) struct Command {
    pub given: list::Command,
    /// As the remote shell is to read it.
    pub remote_line: String,
    pub timeout: Duration,
    pub timeout_nodata: Duration,
    /// The word that a relay file says in place of the command.
    pub relay_word: Option<String>,
}

/// A request. Holds command lines: no `Debug`.
#[derive(Default)]
pub(super) struct Request {
    /// The list as JSON text, as it came.
    pub content: String,
    /// What is left; the first is the one in hand.
    pub commands: VecDeque<Command>,
    pub logging: bool,
    pub instant: bool,
}

impl Request {
    /// Reads the data of a COMMAND.
    ///
    /// # Errors
    /// What is wrong with it, and whether a row is wanted.
    pub fn read(data: &str) -> Result<Self, (String, bool)> {
        let mut single = String::new();
        let list = CommandList::read(data, &mut single).map_err(|text| (text.to_owned(), true))?;
        let entries = list.entries().map_err(|text| (text.to_owned(), list.logging))?;
        let mut commands = VecDeque::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            let read = Command::read(entry.get());
            commands.push_back(read.map_err(|text| (format!("{text} at array index '{index}'"), list.logging))?);
        }
        Ok(Self { content: list.content.to_owned(), commands, logging: list.logging, instant: list.instant })
    }

    /// Reads the data of an ACTIONENGINE: one command, not in a list.
    ///
    /// # Errors
    /// What is wrong with it, and whether a row is wanted.
    pub fn read_action_engine(data: &str) -> Result<Self, (String, bool)> {
        let mut single = String::new();
        let list = CommandList::read(data, &mut single).map_err(|text| (text.to_owned(), true))?;
        let command = Command::read(list.content).map_err(|text| (text, list.logging))?;
        let commands = VecDeque::from([command]);
        Ok(Self { content: list.content.to_owned(), commands, logging: list.logging, instant: list.instant })
    }
}

impl Command {
    fn read(text: &str) -> Result<Self, String> {
        let given = list::Command::read(text)?;
        let remote_line = if given.no_shell {
            let words = shell_words::split(&given.line);
            let words = words.filter(|words| words.first().is_some_and(|word| !word.is_empty()));
            let words = words.ok_or("the quotes of the command are not balanced")?;
            words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
        } else {
            given.line.clone()
        };
        let metadata: Value = serde_json::from_str(&given.metadata).unwrap_or_default();
        Ok(Self {
            relay_word: relay_word(Some(&metadata)),
            timeout: given.timeout.unwrap_or(TIMEOUT).min(TIMEOUT_MAX),
            timeout_nodata: given.timeout_nodata.unwrap_or(TIMEOUT_NODATA).min(TIMEOUT_MAX),
            remote_line,
            given,
        })
    }
}

/// A word as a POSIX shell reads it back, whatever is in it.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

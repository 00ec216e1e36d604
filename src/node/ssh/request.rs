//! A COMMAND for a host without a daemon, read with tolerance.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::json;
use super::super::modules::action::list::CommandList;
use super::super::modules::action::shell_words;
use super::relay_word;

/// Where a command names no time of its own (protocol.md section 10).
const TIMEOUT: Duration = Duration::from_secs(60);
const TIMEOUT_NODATA: Duration = Duration::from_secs(30);
/// No command runs longer.
const TIMEOUT_MAX: Duration = Duration::from_secs(86_400);

/// One command. Holds a command line: no `Debug`.
pub(super) struct Command {
    /// As it was given.
    pub line: String,
    /// As the remote shell is to read it.
    pub remote_line: String,
    /// JSON text that goes back into the rows.
    pub metadata: String,
    pub timeout: Duration,
    pub timeout_nodata: Duration,
    pub continue_on_error: bool,
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

#[derive(Deserialize)]
struct RawCommand<'a> {
    #[serde(default)]
    command: Value,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
    #[serde(default)]
    timeout: Value,
    #[serde(default)]
    timeout_nodata: Value,
    #[serde(default)]
    continue_on_error: Value,
    #[serde(default)]
    no_shell_interpretation: Value,
}

impl Request {
    /// Reads the data of a COMMAND.
    ///
    /// # Errors
    /// What is wrong with it, and whether a row is wanted.
    pub fn read(data: &str) -> Result<Self, (String, bool)> {
        let list = CommandList::read(data).map_err(|text| (text.to_owned(), true))?;
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
        let list = CommandList::read(data).map_err(|text| (text.to_owned(), true))?;
        let command = Command::read(list.content).map_err(|text| (text, list.logging))?;
        let commands = VecDeque::from([command]);
        Ok(Self { content: list.content.to_owned(), commands, logging: list.logging, instant: list.instant })
    }
}

impl Command {
    fn read(text: &str) -> Result<Self, String> {
        let need = || "need command argument".to_owned();
        let raw: RawCommand<'_> = serde_json::from_str(text).map_err(|_| need())?;
        let line = json::text(&raw.command).filter(|line| !line.contains('\0')).ok_or_else(need)?;
        let remote_line = if json::is_true(&raw.no_shell_interpretation) {
            let words = shell_words::split(&line).filter(|words| words.first().is_some_and(|word| !word.is_empty()));
            let words = words.ok_or("the quotes of the command are not balanced")?;
            words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
        } else {
            line.clone()
        };
        let seconds = |value: &Value, default| {
            let given = json::float(value).filter(|seconds| *seconds > 0.0);
            let given = given.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
            given.unwrap_or(default).min(TIMEOUT_MAX)
        };
        let metadata = raw.metadata.map_or("null", RawValue::get).to_owned();
        let known: Value = serde_json::from_str(&metadata).unwrap_or_default();
        Ok(Self {
            relay_word: relay_word(Some(&known)),
            timeout: seconds(&raw.timeout, TIMEOUT),
            timeout_nodata: seconds(&raw.timeout_nodata, TIMEOUT_NODATA),
            continue_on_error: !json::is_false(&raw.continue_on_error),
            line,
            remote_line,
            metadata,
        })
    }
}

/// A word as a POSIX shell reads it back, whatever is in it.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

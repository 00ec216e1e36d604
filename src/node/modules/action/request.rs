//! A COMMAND request, read with tolerance.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::super::json;
use super::list::CommandList;
use super::shell_words;

/// Characters of a refused command that are shown.
const SHOWN_MAX: usize = 128;

/// One command of a request. Holds a command line: no `Debug`.
#[derive(Clone, PartialEq)]
pub(super) struct Command {
    pub line: String,
    /// JSON text that goes back into the rows.
    pub metadata: String,
    /// `None` for the module's default.
    pub timeout: Option<Duration>,
    pub continue_on_error: bool,
    pub no_shell: bool,
    /// Ours: whether rows tell what it prints while it runs.
    pub stream: bool,
}

impl Command {
    /// `pkg_install` of the metadata: the plugins that it needs.
    pub(super) fn plugins(&self) -> Option<Value> {
        // Nearly no command has any.
        let mut metadata: Value =
            self.metadata.contains("pkg_install").then(|| serde_json::from_str(&self.metadata).ok())??;
        metadata.get_mut("pkg_install").map(Value::take).filter(|plugins| !plugins.is_null())
    }
}

/// A request. Holds command lines: no `Debug`.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Request {
    /// The list as JSON text, as it came.
    pub content: String,
    /// What is left to be run; the first is the one in hand.
    pub commands: VecDeque<Command>,
    /// Whether rows are written.
    pub logging: bool,
    /// Whether results are instant rows.
    pub instant: bool,
    /// Characters of the whole request.
    pub len_bytes: usize,
}

/// Why a request is not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub text: String,
    pub logging: bool,
    /// The command lines before what is wrong.
    pub before: Vec<String>,
}

#[derive(Default, Deserialize)]
struct RawCommand<'a> {
    #[serde(default)]
    command: Value,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
    #[serde(default)]
    timeout: Value,
    #[serde(default)]
    continue_on_error: Value,
    #[serde(default)]
    no_shell_interpretation: Value,
    #[serde(default)]
    stream: Value,
}

impl Request {
    /// Reads the data of a COMMAND. One command that makes no sense refuses all of them.
    pub(super) fn read(data: &str) -> Result<Self, Refusal> {
        let refusal = |text: &str, logging| Refusal { text: text.to_owned(), logging, before: Vec::new() };
        let list = CommandList::read(data).map_err(|text| refusal(text, true))?;
        let entries = list.entries().map_err(|text| refusal(text, list.logging))?;
        let CommandList { content, logging, instant } = list;
        let mut commands: VecDeque<Command> = VecDeque::with_capacity(entries.len());
        for (index, entry) in entries.into_iter().enumerate() {
            let Some(command) = RawCommand::read(entry.get()) else {
                let text = format!("need command argument at array index '{index}'");
                let before = commands.into_iter().map(|command| command.line).collect();
                return Err(Refusal { text, logging, before });
            };
            commands.push_back(command);
        }
        Ok(Self { content: content.to_owned(), commands, logging, instant, len_bytes: data.len() })
    }
}

/// The first word of a command line, with ` ...` for the rest: arguments may be secrets.
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

impl RawCommand<'_> {
    fn read(text: &str) -> Option<Command> {
        let raw: RawCommand<'_> = serde_json::from_str(text).ok()?;
        let timeout = json::float(&raw.timeout).filter(|seconds| *seconds > 0.0);
        Some(Command {
            line: json::text(&raw.command).filter(|line| !line.contains('\0'))?,
            metadata: raw.metadata.map_or("null", RawValue::get).to_owned(),
            timeout: timeout.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)),
            continue_on_error: !json::is_false(&raw.continue_on_error),
            no_shell: json::is_true(&raw.no_shell_interpretation),
            stream: json::is_true(&raw.stream),
        })
    }
}

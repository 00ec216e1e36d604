//! The commands of a request and its other members, read tolerantly. It serves commands that run here and commands that
//! run on a host by SSH. Out of scope: the default times, because they differ between the two.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::shell_words;
use crate::node::json;

#[derive(Deserialize)]
struct RawRequest<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(default)]
    logging: Value,
    #[serde(default)]
    instant: Value,
}

/// A request whose commands have not been read yet.
pub(in crate::node) struct CommandList<'a> {
    /// Its content as received JSON text; empty if absent.
    pub content: &'a str,
    /// Whether rows are written.
    pub logging: bool,
    /// Whether results are instant rows.
    pub instant: bool,
}

impl<'a> CommandList<'a> {
    /// Reads the data of a request; `single` is the buffer for an object with repeated keys.
    ///
    /// # Errors
    /// Returns the message of the row.
    pub fn read(data: &'a str, single: &'a mut String) -> Result<Self, &'static str> {
        let raw: RawRequest<'a> = json::read_object(data, single).ok_or("request not well formatted")?;
        Ok(Self {
            content: raw.content.map_or("", RawValue::get),
            logging: !json::is_false(&raw.logging),
            instant: json::is_true(&raw.instant),
        })
    }

    /// Returns the commands, each as JSON text.
    ///
    /// # Errors
    /// Returns the message of the row.
    pub fn entries(&self) -> Result<Vec<&'a RawValue>, &'static str> {
        serde_json::from_str(self.content).map_err(|_| match self.content.starts_with('{') {
            // The word is Perl's for what it found.
            true => "expected array, found 'HASH'",
            false => "expected array, found ''",
        })
    }
}

/// One command of a request as given. Holds a command line: no `Debug`.
#[derive(Clone, PartialEq)]
pub(in crate::node) struct Command {
    /// The command line as given, without NUL.
    pub line: String,
    /// JSON text that is copied into the rows.
    pub metadata: String,
    /// Maximum duration. Default: the module's `command_timeout` here, 60 s by SSH.
    pub timeout: Option<Duration>,
    /// Maximum silence on its outputs. Default: 30 s by SSH. Ignored for commands that run here.
    pub timeout_nodata: Option<Duration>,
    /// Whether the request continues after this command fails. Default: true.
    pub continue_on_error: bool,
    /// Whether the line is split into a program and its arguments without a shell.
    pub no_shell: bool,
    /// Our addition: whether rows report its output while it runs. Ignored by SSH.
    pub stream: bool,
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
    #[serde(default)]
    stream: Value,
}

/// Reads a time in seconds. A time that is not above zero counts as absent.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = json::float(value).filter(|seconds| *seconds > 0.0)?;
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

impl Command {
    /// Reads a command given as JSON text.
    ///
    /// # Errors
    /// Returns the message of the row: there is no command line.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        let need = "need command argument";
        let mut single = String::new();
        let raw: RawCommand<'_> = json::read_object(text, &mut single).ok_or(need)?;
        Ok(Self {
            line: json::text(&raw.command).filter(|line| !line.contains('\0')).ok_or(need)?,
            metadata: raw.metadata.map_or("null", RawValue::get).to_owned(),
            timeout: seconds(&raw.timeout),
            timeout_nodata: seconds(&raw.timeout_nodata),
            continue_on_error: !json::is_false(&raw.continue_on_error),
            no_shell: json::is_true(&raw.no_shell_interpretation),
            stream: json::is_true(&raw.stream),
        })
    }

    /// Returns its words, if no shell reads them.
    ///
    /// # Errors
    /// Returns the message of the row: the quotes are not balanced, or there is no program.
    pub fn words(&self) -> Option<Result<Vec<String>, String>> {
        let words =
            || shell_words::split(&self.line).filter(|words| words.first().is_some_and(|word| !word.is_empty()));
        let binary = self.line.split(' ').next().unwrap_or_default();
        let error = || {
            format!(
                "Error executing the command {binary}, does the command require a shell, or is there too many quote ?"
            )
        };
        self.no_shell.then(|| words().ok_or_else(error))
    }

    /// Returns the plugins that it needs: `pkg_install` of the metadata.
    pub fn plugins(&self) -> Option<Value> {
        // Hardly any command has plugins.
        let mut metadata: Value =
            self.metadata.contains("pkg_install").then(|| serde_json::from_str(&self.metadata).ok())??;
        metadata.get_mut("pkg_install").map(Value::take).filter(|plugins| !plugins.is_null())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_key_that_stands_twice_the_last_value_counts() {
        let text = r#"{"command":"a","timeout":1,"command":"b","timeout":"7"}"#;
        let command = Command::read(text).ok().unwrap();
        assert_eq!((command.line.as_str(), command.timeout), ("b", Some(Duration::from_secs(7))));
        assert!(Command::read(r#"{"command":"a","command":null}"#).is_err());
        let mut single = String::new();
        let list = CommandList::read(r#"{"content":[],"logging":1,"content":[{}],"logging":"0"}"#, &mut single).ok();
        assert_eq!(list.map(|list| (list.content.to_owned(), list.logging)), Some(("[{}]".to_owned(), false)));
    }
}

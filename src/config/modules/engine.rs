//! The options of the module `engine` (docs/protocol.md section 11).

use std::time::Duration;

use crate::config::findings::Findings;
use crate::config::options::{Options, options};
use crate::config::section::{Section, Unit};

options! {
    ENGINE = "engine" in "the module 'engine'" { "command_file", "timeout" } unused {}
}

/// Options of the module `engine` (docs/protocol.md section 11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// `command_file`: the engine's pipe for requests that do not name one.
    pub command_file: Option<String>,
    /// `timeout` (5 s): how long to wait for a reader of the pipe.
    pub timeout: Duration,
}

/// Reads the module.
pub(super) fn read(section: Section<'_>, findings: &mut Findings) -> EngineSettings {
    let command_file = section.text("command_file", findings).map(|(text, _)| text.to_owned());
    let timeout = section.duration("timeout", Duration::from_secs(5), Unit::Seconds, 60, findings);
    EngineSettings { command_file, timeout }
}

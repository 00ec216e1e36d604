//! Words of the command line: values of options, and what is wrong with them.

use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value, ValueExt as _};

use super::help::Topic;
use crate::model::log::Level;
use crate::model::node_id::NodeId;

/// The top file of the packages.
pub(super) const PACKAGED_CONFIG: &str = "/etc/centreon-gorgone/config.yaml";

/// Parses the id of a node.
pub(super) fn node_id(word: &str) -> Result<u64, String> {
    let id = word.parse::<NodeId>().map_err(|_| {
        format!(
            "'{word}' is not the id of a node: give a whole number from 1 on ('id' of gorgonecore there), such \
             as 2"
        )
    })?;
    Ok(id.get())
}

/// Reads the value of an option.
pub(super) fn word(parser: &mut lexopt::Parser) -> Result<String, String> {
    parser.value().map_err(text)?.string().map_err(text)
}

pub(super) fn named_severity(word: &str, option: &str) -> Result<Level, String> {
    Level::from_word(word).ok_or_else(|| format!("{option} is '{word}'; allowed: {}", Level::WORDS))
}

pub(super) fn path(parser: &mut lexopt::Parser, option: &str) -> Result<PathBuf, String> {
    let value = parser.value().map_err(text)?;
    if value.is_empty() { Err(format!("{option} needs a file name")) } else { Ok(PathBuf::from(value)) }
}

pub(super) fn unexpected(argument: &lexopt::Arg<'_>, topic: Topic) -> String {
    let shown = match argument {
        Short(letter) => format!("option '-{letter}'"),
        Long(name) => format!("option '--{name}'"),
        Value(word) => format!("argument '{}'", word.to_string_lossy()),
    };
    format!("unknown {shown}; '{}' lists what there is", topic.command())
}

pub(super) fn text(error: lexopt::Error) -> String {
    error.to_string()
}

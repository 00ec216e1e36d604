//! Collects all problems and warnings found while reading a configuration.

use std::path::PathBuf;

use super::options::Options;
use super::tree::Place;

/// One problem of the configuration, shown as `file:line: key: text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file that contains the problem.
    pub file: PathBuf,
    /// The line, counted from 1; 0 for the whole file.
    pub line: u32,
    /// The key, for instance `gorgonecore.external_com_type` or `modules[httpserver].port`; empty for the whole file.
    pub key: String,
    /// What is wrong, and what is allowed.
    pub text: String,
    /// Whether some function will not work because of it; it is then logged as ERROR instead of WARNING.
    pub is_error: bool,
}

/// How a warning about a key without meaning begins.
pub(super) const UNKNOWN_KEY: &str = "unknown key";

impl Problem {
    /// Creates a problem of a whole file, or of the value of `key` in it.
    pub fn of_file(file: impl Into<PathBuf>, key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { file: file.into(), line: 0, key: key.into(), text: text.into(), is_error: false }
    }

    /// Whether it is about a key that has no meaning here.
    #[must_use]
    pub fn is_unknown_key(&self) -> bool {
        self.text.starts_with(UNKNOWN_KEY)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.file.display())?;
        if self.line > 0 {
            write!(formatter, ":{}", self.line)?;
        }
        let point = if self.key.is_empty() { "" } else { ": " };
        write!(formatter, "{point}{}: {}", self.key, self.text)
    }
}

/// Maximum number of findings of each kind. More usually have a single cause.
const LIMIT: usize = 200;

/// The findings so far.
#[derive(Default)]
pub(super) struct Findings {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    maps: Vec<&'static Options>,
}

impl Findings {
    /// Returns none yet. `maps` are all maps, for advice about unknown keys.
    pub(super) fn new(maps: Vec<&'static Options>) -> Self {
        Self { maps, ..Self::default() }
    }

    /// All maps, for advice about unknown keys.
    pub(super) fn maps(&self) -> &[&'static Options] {
        &self.maps
    }

    /// Adds a problem, which prevents a start.
    pub(super) fn problem(&mut self, place: &Place, key: &str, text: impl Into<String>) {
        push(&mut self.problems, place, key, text.into(), true);
    }

    /// Adds a warning for the administrator.
    pub(super) fn warning(&mut self, place: &Place, key: &str, text: impl Into<String>) {
        push(&mut self.warnings, place, key, text.into(), false);
    }

    /// Adds a finding about a configured function that will not work: the daemon starts, and logs an ERROR line.
    pub(super) fn loss(&mut self, place: &Place, key: &str, text: impl Into<String>) {
        push(&mut self.warnings, place, key, text.into(), true);
    }

    /// Returns the problems, then the warnings.
    pub(super) fn into_parts(self) -> (Vec<Problem>, Vec<Problem>) {
        (self.problems, self.warnings)
    }
}

/// Adds a finding unless it is already there, for instance because a file is included twice.
fn push(lines: &mut Vec<Problem>, place: &Place, key: &str, text: String, is_error: bool) {
    let line = Problem { file: place.file.to_path_buf(), line: place.line, key: key.to_owned(), text, is_error };
    if lines.len() < LIMIT && !lines.contains(&line) {
        lines.push(line);
    }
}

//! The problems and warnings that reading a configuration gathers. Never stops at the first one.

use std::path::PathBuf;

use super::tree::Place;

/// One problem of the configuration, shown as `file:line: key: text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file it stands in.
    pub file: PathBuf,
    /// The line, counted from 1; 0 for the file as a whole.
    pub line: u32,
    /// The key, for instance `gorgonecore.external_com_type` or `modules[httpserver].port`; empty for the file as a
    /// whole.
    pub key: String,
    /// What is wrong and what is allowed.
    pub text: String,
    /// Whether something does not work because of it: a line of the level ERROR instead of WARNING.
    pub is_error: bool,
}

impl Problem {
    /// A problem with a file as a whole, or with what `key` of it means.
    pub fn of_file(file: impl Into<PathBuf>, key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { file: file.into(), line: 0, key: key.into(), text: text.into(), is_error: false }
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

/// Lines kept of each kind; a configuration with more is broken in one place that shows many times.
const LIMIT: usize = 200;

/// What was found wrong so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Findings {
    /// Notes something that forbids a start.
    pub(super) fn problem(&mut self, place: &Place, key: &str, text: impl Into<String>) {
        push(&mut self.problems, place, key, text.into(), true);
    }

    /// Notes something that an administrator should know.
    pub(super) fn warning(&mut self, place: &Place, key: &str, text: impl Into<String>) {
        push(&mut self.warnings, place, key, text.into(), false);
    }

    /// Notes that something will not work although the configuration wants it: a start goes on, with an ERROR line.
    pub(super) fn loss(&mut self, place: &Place, key: &str, text: impl Into<String>) {
        push(&mut self.warnings, place, key, text.into(), true);
    }

    /// Problems, then warnings.
    pub(super) fn into_parts(self) -> (Vec<Problem>, Vec<Problem>) {
        (self.problems, self.warnings)
    }
}

/// The same line twice (a file that is included twice) helps nobody.
fn push(lines: &mut Vec<Problem>, place: &Place, key: &str, text: String, is_error: bool) {
    let line = Problem { file: place.file.to_path_buf(), line: place.line, key: key.to_owned(), text, is_error };
    if lines.len() < LIMIT && !lines.contains(&line) {
        lines.push(line);
    }
}

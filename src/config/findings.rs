//! The problems and warnings that reading a configuration gathers. Never stops at the first one.

use super::settings::Problem;
use super::tree::Place;

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

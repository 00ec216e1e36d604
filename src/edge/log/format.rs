//! Forms of a line: the original's (docs/protocol.md section 14), and a JSON object.

use std::fmt::Write as _;

use serde::Serialize;

use crate::edge::system;
use crate::model::log::{Level, LogLine};
use crate::model::time::{WallTime, civil_date};

/// Maximum length of a text in bytes; longer ones are cut.
pub(super) const MAX_TEXT_LEN: usize = 8 << 10;

/// Writes lines in the original's form, `2026-01-31 12:00:00 - INFO - [module] text`, in local time.
#[derive(Default)]
pub(super) struct TextForm {
    /// The last second in which a line was written, and its text.
    second: Option<i64>,
    stamp: String,
}

impl TextForm {
    /// Appends a line.
    pub fn write(&mut self, out: &mut Vec<u8>, line: &LogLine, wall: WallTime) {
        out.extend_from_slice(self.stamp(wall).as_bytes());
        for part in [" - ", word(line.level), " - [", line.module, "] "] {
            out.extend_from_slice(part.as_bytes());
        }
        push_text(out, &line.text);
        out.push(b'\n');
    }

    /// The C library is asked for local time only once a second.
    fn stamp(&mut self, wall: WallTime) -> &str {
        let second = wall.as_seconds();
        if self.second != Some(second) {
            self.second = Some(second);
            self.stamp.clear();
            let written = match system::local_time(second) {
                Some(time) => write!(
                    self.stamp,
                    "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
                    time.year, time.month, time.day, time.hour, time.minute, time.second
                ),
                None => write!(self.stamp, "@{second}"),
            };
            debug_assert!(written.is_ok(), "writing to a String cannot fail");
        }
        &self.stamp
    }
}

/// The members of a line in JSON, in this order.
#[derive(Serialize)]
struct Members<'a> {
    time: String,
    level: &'a str,
    module: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    message: &'a str,
}

/// Appends a line as a JSON object, with the time in UTC.
pub(super) fn write_json(out: &mut Vec<u8>, line: &LogLine, wall: WallTime) {
    let (message, more) = cut(&line.text);
    let message = if more.is_empty() { message } else { &format!("{message}{more}") };
    let members = Members {
        time: universal_time(wall),
        level: match line.level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        },
        module: line.module,
        node: line.node.map(crate::model::node_id::NodeId::get),
        token: line.token.as_ref().map(crate::model::token::Token::as_str),
        peer: line.peer.map(|peer| peer.to_string()),
        message,
    };
    let text = serde_json::to_string(&members).unwrap_or_default();
    // What JSON may hold as it is and a terminal or a reader of lines takes for more than a letter.
    for letter in text.chars() {
        if is_odd(letter) {
            out.extend_from_slice(format!("\\u{:04x}", u32::from(letter)).as_bytes());
        } else {
            out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    out.push(b'\n');
}

/// A time such as `2026-01-31T12:00:00.000000Z`.
fn universal_time(wall: WallTime) -> String {
    let (seconds, micros) = (wall.as_seconds(), wall.as_micros().rem_euclid(1_000_000));
    let (year, month, day) = civil_date(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// The original's words for levels.
const fn word(level: Level) -> &'static str {
    match level {
        Level::Debug => "DEBUG",
        Level::Info => "INFO",
        Level::Warning => "WARNING",
        Level::Error => "ERROR",
    }
}

fn is_odd(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}')
}

/// Cuts a text at [`MAX_TEXT_LEN`]; returns what is kept and a note about the rest.
fn cut(text: &str) -> (&str, String) {
    let at = (0..=MAX_TEXT_LEN.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (kept, rest) = text.split_at(at);
    (kept, if rest.is_empty() { String::new() } else { format!("... ({} bytes more)", rest.len()) })
}

/// Appends a text on one line, with escapes for control characters and line separators, cut at [`MAX_TEXT_LEN`].
pub(super) fn push_text(out: &mut Vec<u8>, text: &str) {
    let (mut plain, more) = cut(text);
    while let Some(at) = plain.find(is_odd) {
        let (before, after) = plain.split_at(at);
        out.extend_from_slice(before.as_bytes());
        let mut letters = after.chars();
        for escaped in letters.next().into_iter().flat_map(char::escape_default) {
            out.extend_from_slice(escaped.encode_utf8(&mut [0; 4]).as_bytes());
        }
        plain = letters.as_str();
    }
    out.extend_from_slice(plain.as_bytes());
    out.extend_from_slice(more.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::node_id::NodeId;
    use crate::model::token::Token;

    #[test]
    fn a_line_in_json_is_one_line_with_its_fields() {
        let mut out = Vec::new();
        let line = LogLine::warning("proxy", "a\n\"b\"\u{2028}\u{9b}31m").of_node(NodeId::new(12).unwrap());
        write_json(
            &mut out,
            &line.of_token(&Token::parse("t-1").unwrap()),
            WallTime::from_micros(1_769_860_800_000_042),
        );
        let text = String::from_utf8(out).unwrap();
        let expected = concat!(
            r#"{"time":"2026-01-31T12:00:00.000042Z","level":"warning","module":"proxy","node":12,"token":"t-1","#,
            r#""message":"a\n\"b\"\u2028\u009b31m"}"#,
            "\n"
        );
        assert_eq!(text, expected);
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["message"], "a\n\"b\"\u{2028}\u{9b}31m");
    }
}

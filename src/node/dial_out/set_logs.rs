//! The answer to a GETLOG as SETLOGS: one message over ZeroMQ, parts of bounded size over a WebSocket.

use std::fmt::Write as _;

use serde_json::Value;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::history::{HistoryRow, LogPage};
use crate::model::message::{Message, Outgoing};
use crate::model::token::Token;

use crate::model::connection::ParentKind;
use crate::node::core::Core;
use crate::node::get_log::rows_json;
use crate::node::json;
use crate::node::output::Output;

/// A receiver takes no larger message; characters count as encoded.
const ENCODED_BYTES_MAX: usize = 262_144;
/// What stands around the rows of a part, at most.
const FRAME_BYTES: usize = 1_024;

/// Characters of a text, and its bytes once entities stand for what HTML escapes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Size {
    plain_chars: usize,
    encoded_bytes: usize,
}

impl Size {
    fn of(text: &str) -> Self {
        let mut size = Self::default();
        for character in text.chars() {
            size.plain_chars += 1;
            size.encoded_bytes += match character {
                '"' => 6,
                '&' | '\'' => 5,
                '<' | '>' => 4,
                // Each byte of its UTF-8 becomes a number such as `&#195;`.
                character if !character.is_ascii() => 6 * character.len_utf8(),
                _ => 1,
            };
        }
        size
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            plain_chars: self.plain_chars + other.plain_chars,
            encoded_bytes: self.encoded_bytes + other.encoded_bytes,
        }
    }

    const fn fits(self, chars_max: usize) -> bool {
        self.plain_chars + FRAME_BYTES <= chars_max && self.encoded_bytes + FRAME_BYTES <= ENCODED_BYTES_MAX
    }
}

/// Rows as JSON arrays, each for one part; at least one, if only an empty one.
fn parts(rows: Vec<HistoryRow>, chars_max: usize) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut part = String::from("[");
    let mut size = Size::default();
    for row in rows {
        let text = row_text(row);
        let row_size = Size::of(&text);
        if part.len() > 1 {
            if size.plus(row_size).fits(chars_max) {
                part.push(',');
            } else {
                part.push(']');
                parts.push(std::mem::replace(&mut part, "[".to_owned()));
                size = Size::default();
            }
        }
        part.push_str(&text);
        size = size.plus(row_size).plus(Size { plain_chars: 1, encoded_bytes: 1 });
    }
    part.push(']');
    parts.push(part);
    parts
}

/// A row as JSON; one that no message can hold is cut.
fn row_text(mut row: HistoryRow) -> String {
    let mut len_max = ENCODED_BYTES_MAX / 2;
    loop {
        let text = rows_json(std::slice::from_ref(&row));
        let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(&text);
        if Size::of(text).encoded_bytes + FRAME_BYTES <= ENCODED_BYTES_MAX {
            return text.to_owned();
        }
        row.data = if len_max < 1_024 { too_large(row.data.len()) } else { cut(&row.data, len_max) };
        // The token is the last thing that could be too large.
        row.token = row.token.filter(|_| len_max > 0);
        len_max /= 2;
    }
}

fn too_large(len: usize) -> String {
    json::message(&format!("the data of this row is too large for a WebSocket: {len} bytes"))
}

/// JSON with every string cut to `len_max` bytes.
fn cut(data: &str, len_max: usize) -> String {
    fn walk(value: &mut Value, len_max: usize) {
        match value {
            Value::String(text) if text.len() > len_max => {
                let mut end = len_max;
                while !text.is_char_boundary(end) {
                    end -= 1;
                }
                text.truncate(end);
                text.push_str(" [cut]");
            }
            Value::Array(values) => values.iter_mut().for_each(|value| walk(value, len_max)),
            Value::Object(members) => members.values_mut().for_each(|value| walk(value, len_max)),
            _ => {}
        }
    }
    let Ok(mut value) = serde_json::from_str::<Value>(data) else { return too_large(data.len()) };
    walk(&mut value, len_max);
    value.to_string()
}

impl Core {
    /// Sends a page of our history to a central that we dialled.
    pub(in super::super) fn set_logs(&mut self, kind: ParentKind, token: &Token, page: LogPage, last_id: Option<i64>) {
        if self.dialled_out.parent(kind).identity.is_none() {
            return;
        }
        let more = page.more;
        let parts = match (kind, &self.context.options.pullwss) {
            (ParentKind::WebSocket, Some(settings)) => parts(page.rows, settings.max_message_size),
            _ => vec![rows_json(&page.rows)],
        };
        let total = parts.len();
        for rows in parts {
            let mut data = format!(
                "{{\"code\":{},\"data\":{{\"action\":\"getlog\",\"id\":{},\"result\":{rows}",
                Code::BEGIN.0,
                self.context.id_json()
            );
            // Writing to a string cannot fail.
            if kind == ParentKind::WebSocket {
                let _ = write!(data, ",\"nb_total_msg\":{total}");
            }
            if let Some(last_id) = last_id {
                let _ = write!(data, ",\"last_id\":{last_id}");
                self.origins.write_own(&mut data);
            }
            if last_id.is_some() || more {
                let _ = write!(data, ",\"more\":{more}");
            }
            data.push_str("}}");
            let message =
                Message { action: Action::SetLogs, token: Some(token.clone()), target: Some("".into()), data };
            self.context.output(Output::SendToParent { kind, outgoing: Outgoing::Request(message) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::row;

    #[test]
    fn parts_hold_what_fits_and_a_large_row_stands_alone() {
        let data = |len: usize| format!("{{\"x\":\"{}\"}}", "y".repeat(len));
        let rows = vec![row(1, "a", 0, &data(500)), row(2, "b", 0, &data(9_000)), row(3, "c", 0, &data(500))];
        let parts = parts(rows, 3_000);
        assert_eq!(parts.len(), 3);
        assert!(parts[1].contains("\"id\":2") && parts[1].len() > 9_000);
        assert_eq!(super::parts(Vec::new(), 3_000), ["[]"]);
    }

    #[test]
    fn no_part_is_larger_than_a_receiver_takes_once_it_is_encoded() {
        let data = serde_json::json!({ "stdout": "\"é<".repeat(400_000), "exit_code": 3 }).to_string();
        let rows = (1..4).map(|number| row(number, "t", 100, &data)).chain([row(9, "t", 2, "{}")]).collect();
        let parts = parts(rows, 10_000_000);
        for part in &parts {
            assert!(Size::of(part).encoded_bytes <= ENCODED_BYTES_MAX);
            let rows: Value = serde_json::from_str(part).unwrap();
            let data: Value = serde_json::from_str(rows[0]["data"].as_str().unwrap()).unwrap();
            assert!(rows[0]["code"] == 2 || data["exit_code"] == 3);
        }
        assert!(parts.len() >= 3);
    }

    #[test]
    fn rows_that_are_no_json_or_all_keys_are_replaced() {
        for data in ["\"".repeat(300_000), format!("{{\"{}\":1}}", "k".repeat(600_000))] {
            let text = row_text(row(1, "t", 2, &data));
            assert!(text.contains("too large for a WebSocket"), "{text}");
        }
    }
}

//! Text of JSON that is written in one pass: strings, and rows of the history.

use std::fmt::Write as _;

use super::history::{HistoryRow, RowOrigin};

/// Appends `text` as a JSON string.
pub fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut characters = special.chars();
        match characters.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(other) => {
                let nibble = |value: u32| char::from_digit(value & 15, 16).unwrap_or('0');
                let value = u32::from(other);
                out.push_str("\\u00");
                out.push(nibble(value >> 4));
                out.push(nibble(value));
            }
            None => {}
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

/// Returns rows as a JSON array.
#[must_use]
pub fn rows_json(rows: &[HistoryRow]) -> String {
    let mut out = String::with_capacity(rows.iter().map(|row| row.data.len() + 240).sum());
    out.push('[');
    for row in rows {
        if out.len() > 1 {
            out.push(',');
        }
        // Writing to a string cannot fail.
        let _ = write!(out, "{{\"id\":{},\"token\":", row.id);
        match &row.token {
            Some(token) => push_string(&mut out, token),
            None => out.push_str("null"),
        }
        let ctime = if row.ctime.is_finite() { row.ctime } else { 0.0 };
        let instant = u8::from(row.instant);
        let _ = write!(
            out,
            ",\"code\":{},\"etime\":{},\"ctime\":{ctime},\"instant\":{instant},\"data\":",
            row.code.0, row.etime
        );
        push_string(&mut out, &row.data);
        if let Some(RowOrigin { history, id }) = row.origin {
            let _ = write!(out, ",\"origin\":[{},{},{id}]", history.node.json_text(), history.number);
        }
        out.push('}');
    }
    out.push(']');
    out
}

//! Reads columns that the original may have written with any type: SQLite allows any type in any column. Nothing here
//! fails; unreadable values become empty.

use rusqlite::Row;
use rusqlite::types::ValueRef;

use crate::model::history::HistoryName;
use crate::model::node_id::NodeId;
use crate::model::text::from_bytes;

/// Returns the value; `NULL` if the column does not exist.
fn value<'a>(row: &'a Row<'_>, column: usize) -> ValueRef<'a> {
    row.get_ref(column).unwrap_or(ValueRef::Null)
}

/// Reads text; bytes that are not valid UTF-8 are read as Latin-1. `None` for `NULL`.
pub(super) fn text(row: &Row<'_>, column: usize) -> Option<String> {
    match value(row, column) {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(from_bytes(bytes).into_owned()),
    }
}

/// Reads a real number; `None` for `NULL` and other types.
pub(super) fn real(row: &Row<'_>, column: usize) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "times and ids fit 53 bits")]
    let number = match value(row, column) {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number as f64),
        ValueRef::Real(number) => Some(number),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => std::str::from_utf8(bytes).ok()?.trim().parse().ok(),
    };
    number.filter(|number| number.is_finite())
}

/// Reads a number, rounded down; `None` for `NULL` and other types.
pub(super) fn integer(row: &Row<'_>, column: usize) -> Option<i64> {
    if let ValueRef::Integer(number) = value(row, column) {
        return Some(number);
    }
    // The cast saturates, which is acceptable for absurd numbers.
    real(row, column).map(|number| number.floor() as i64)
}

/// Reads a node's id, which is text if it exceeds SQLite's integers.
pub(super) fn node(row: &Row<'_>, column: usize) -> Option<NodeId> {
    text(row, column)?.trim().parse().ok()
}

/// Reads a node from `column` and the number of a history from the next one; `None` if either is invalid.
pub(super) fn history_name(row: &Row<'_>, column: usize) -> Option<HistoryName> {
    let node = node(row, column)?;
    Some(HistoryName { node, number: integer(row, column + 1)? })
}

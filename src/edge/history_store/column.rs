//! Reads columns as the original left them: SQLite stores any type in any column, and Perl made use of that. Nothing
//! here fails; what cannot be read becomes an empty value.

use rusqlite::Row;
use rusqlite::types::ValueRef;

use crate::model::history::HistoryName;
use crate::model::node_id::NodeId;
use crate::model::text::from_bytes;

/// The value, `NULL` where there is no such column.
fn value<'a>(row: &'a Row<'_>, column: usize) -> ValueRef<'a> {
    row.get_ref(column).unwrap_or(ValueRef::Null)
}

/// Text; a byte that is not valid UTF-8 reads as Latin-1. `None` for `NULL`.
pub(super) fn text(row: &Row<'_>, column: usize) -> Option<String> {
    match value(row, column) {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(from_bytes(bytes).into_owned()),
    }
}

/// A number with fraction; `None` for `NULL` and for anything else.
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

/// A whole number, rounded down; `None` for `NULL` and for anything else.
pub(super) fn integer(row: &Row<'_>, column: usize) -> Option<i64> {
    if let ValueRef::Integer(number) = value(row, column) {
        return Some(number);
    }
    // The cast saturates, which is what an absurd number deserves.
    real(row, column).map(|number| number.floor() as i64)
}

/// A node's id, which is text where SQLite has no such number.
pub(super) fn node(row: &Row<'_>, column: usize) -> Option<NodeId> {
    text(row, column)?.trim().parse().ok()
}

/// A node in a column and the number of a history in the next; `None` if either is invalid.
pub(super) fn history_name(row: &Row<'_>, column: usize) -> Option<HistoryName> {
    let node = node(row, column)?;
    Some(HistoryName { node, number: integer(row, column + 1)? })
}

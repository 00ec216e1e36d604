//! The trace row of a message that was passed on to a node, for the daemon above.

use crate::model::code::Code;
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use super::journal::NewRow;
use super::json;

/// The beginning of the message of [`passed_on`].
const TRACE: &str = "proxy - passed on to node '";

/// Returns whether a row is one of [`passed_on`]: it shows the daemon above that we have its message, and is of no use
/// to others.
pub(super) fn is_trace(code: Code, instant: bool, data: &str) -> bool {
    let data = data.strip_prefix(r#"{"message":""#);
    code == Code::BEGIN && instant && data.is_some_and(|text| text.starts_with(TRACE))
}

/// Returns the row by which a central of our own kind that gets no reply learns that we have its message. The central
/// does not keep it.
pub(super) fn passed_on(token: &Token, through: NodeId) -> NewRow {
    let data = json::message(&format!("{TRACE}{through}'"));
    NewRow { instant: true, ..NewRow::part(token, Code::BEGIN, data) }
}

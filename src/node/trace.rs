//! The row that a message leaves here that passes through to a node: a trace for the daemon above.

use crate::model::code::Code;
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use super::journal::NewRow;
use super::json;

/// How the message of [`passed_on`] begins.
const TRACE: &str = "proxy - passed on to node '";

/// A row of [`passed_on`]: it tells the daemon above that we have its message, and nobody else.
pub(super) fn is_trace(code: Code, instant: bool, data: &str) -> bool {
    let data = data.strip_prefix(r#"{"message":""#);
    code == Code::BEGIN && instant && data.is_some_and(|text| text.starts_with(TRACE))
}

/// A central of our kind that does not get our reply finds this row, and so knows that we have its message. It does not
/// keep it.
pub(super) fn passed_on(token: &Token, through: NodeId) -> NewRow {
    let data = json::message(&format!("{TRACE}{through}'"));
    NewRow { instant: true, ..NewRow::part(token, Code::BEGIN, data) }
}

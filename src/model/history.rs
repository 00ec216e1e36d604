//! History rows, queries for them, and the changes of one commit.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::code::Code;
use super::legacy::LegacyChange;
use super::node_id::NodeId;
use super::queue::QueueChange;
use super::session::StoredSession;
use super::time::WallTime;
use super::token::Token;

/// One row of `gorgone_history` (docs/protocol.md section 4).
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryRow {
    /// Row id in its database; 0 for a row not stored yet.
    pub id: i64,
    /// The token of the request. Daemons also write rows without one, and old daemons write tokens of any form.
    pub token: Option<String>,
    /// The code of the row.
    pub code: Code,
    /// When it happened, seconds since the epoch.
    pub etime: i64,
    /// When it was stored here, seconds since the epoch with fraction.
    pub ctime: f64,
    /// Whether the row may be deleted after a day.
    pub instant: bool,
    /// JSON text.
    pub data: String,
    /// Where it was first written; `None` for a row of this history, and for one of a daemon that does not say.
    pub origin: Option<RowOrigin>,
}

impl HistoryRow {
    /// Whether it is the last row of its token; see [`is_last_row`].
    #[must_use]
    pub fn is_last(&self) -> bool {
        is_last_row(self.code, &self.data)
    }

    /// Number of bytes of `data` and `token`.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.data.len() + self.token.as_ref().map_or(0, String::len)
    }
}

/// Whether a row of an unknown writer is the last of its token. A COMMAND has a row with code 1 for each failed
/// command, and an ENGINECOMMAND one with code 2 for each line, but these tokens continue (docs/protocol.md section
/// 11). The row of a failed ACTIONENGINE has the same text without metadata and is the last.
#[must_use]
pub fn is_last_row(code: Code, data: &str) -> bool {
    const FAILED: &str = "command execution issue";
    const SUBMITTED: &str = "command has been submitted";
    let part = match code {
        Code::FINISHED_KO => FAILED,
        Code::FINISHED_OK => SUBMITTED,
        _ => return false,
    };
    if !data.contains(part) {
        return true;
    }
    let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(data) else { return true };
    let says_so = members.get("message").is_some_and(|message| message.get().trim_matches('"') == part);
    !says_so || (part == FAILED && !members.contains_key("metadata"))
}

/// The original history and row id of a row, wherever it was copied to. By this a row that arrives by two ways, or
/// returns, is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowOrigin {
    pub history: HistoryName,
    /// The id of the row in it.
    pub id: i64,
}

/// Name of a history. The number alone would be enough if machines were never cloned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryName {
    /// The node of the history.
    pub node: NodeId,
    /// The number of the history; see [`Origins::own`].
    pub number: i64,
}

/// The number of our history, and how far others have been taken over by any way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// A random number from 1 to 2^53 - 1, drawn when a database is made, so that a new database under an old id is
    /// recognised; 0 if there is none.
    pub own: i64,
    /// The greatest row id taken over from each other history.
    pub marks: Vec<(HistoryName, i64)>,
}

/// The rows that a `GETLOG` wants: all set conditions must hold (docs/protocol.md section 4).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogFilter {
    /// Rows with a greater id.
    pub after_id: Option<i64>,
    /// Rows of this token.
    pub token: Option<String>,
    /// Rows stored later than this.
    pub after_ctime: Option<f64>,
    /// Rows that happened later than this.
    pub after_etime: Option<f64>,
    /// Rows with this code.
    pub code: Option<Code>,
    /// Rows that were first written by this node; `Some(None)` for those of this daemon.
    pub node: Option<Option<NodeId>>,
    /// Rows whose data contains this text, whatever the case of ASCII letters.
    pub text: Option<Box<str>>,
    /// Only this number of the newest of them, still in ascending order of id.
    pub newest: Option<u64>,
}

impl LogFilter {
    /// Whether at least one condition is set (`limit` is not a condition).
    #[must_use]
    pub const fn has_condition(&self) -> bool {
        self.after_id.is_some()
            || self.token.is_some()
            || self.after_ctime.is_some()
            || self.after_etime.is_some()
            || self.code.is_some()
            || self.node.is_some()
            || self.text.is_some()
    }

    /// Whether a row meets every condition except `newest`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch fit 53 bits")]
    pub fn matches(&self, row: &HistoryRow) -> bool {
        self.after_id.is_none_or(|id| row.id > id)
            && self.token.as_deref().is_none_or(|token| row.token.as_deref() == Some(token))
            && self.after_ctime.is_none_or(|ctime| row.ctime > ctime)
            && self.after_etime.is_none_or(|etime| row.etime as f64 > etime)
            && self.code.is_none_or(|code| row.code == code)
            && self.node.is_none_or(|node| row.origin.map(|origin| origin.history.node) == node)
            && self.text.as_deref().is_none_or(|text| contains(&row.data, text))
    }
}

/// Whether `data` contains `text`, whatever the case of ASCII letters.
fn contains(data: &str, text: &str) -> bool {
    let (data, text) = (data.to_ascii_lowercase(), text.to_ascii_lowercase());
    data.contains(&text)
}

/// The limits of a page of rows. A page ends at the first limit reached. With `whole_instants` it never ends between
/// rows with one `ctime`, because a peer that pages by `ctime` would lose the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// Maximum number of rows; at least one is read.
    pub rows: usize,
    /// Maximum number of characters of `data` and `token`; at least one row is read.
    pub bytes: usize,
    /// Whether rows of one `ctime` stay together.
    pub whole_instants: bool,
    /// Whether the page is wanted as [`LogPage::json`].
    pub as_json: bool,
}

/// A page of rows in ascending order of id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogPage {
    pub rows: Vec<HistoryRow>,
    /// Whether more rows follow beyond the [`PageLimit`].
    pub more: bool,
    /// The rows without their origin as a JSON array, if the query asked for it; then they have no `data` any more.
    pub json: Option<String>,
    /// The greatest id of the history, if more rows follow.
    pub newest_id: Option<i64>,
}

impl LogPage {
    /// Adds the greatest id of the history to an answer, if more rows follow, so that the asker knows how far it is
    /// behind.
    pub fn write_newest(&self, out: &mut String) {
        if let Some(newest_id) = self.newest_id {
            out.push_str(",\"newest_id\":");
            out.push_str(&newest_id.to_string());
        }
    }

    /// Writes the rows as JSON, and drops their data.
    #[must_use]
    pub fn into_json(mut self) -> Self {
        self.rows.iter_mut().for_each(|row| row.origin = None);
        self.json = Some(super::json_text::rows_json(&self.rows));
        self.rows.iter_mut().for_each(|row| row.data = String::new());
        self
    }

    /// Number of bytes of the texts of its rows.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let json = self.json.as_ref().map_or(0, String::len);
        json + self.rows.iter().map(HistoryRow::size_bytes).sum::<usize>()
    }
}

/// How far the history of a node has been taken over (`gorgone_synchistory`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SyncMark {
    /// The `ctime` in the node's own time from which rows are requested: that of the newest row that we hold, but at
    /// most [`SyncMark::TOLERANCE_SECONDS`] ahead of our clock. Otherwise a node whose clock was ahead would be asked
    /// for nothing until that time.
    pub ctime: f64,
    /// Newest `ctime` of the node's rows that we hold, as sent by the node.
    pub newest: f64,
    /// Greatest row id of that node that we hold.
    pub last_id: i64,
    /// The number of its history; 0 if it has sent none.
    pub history: i64,
}

impl SyncMark {
    /// Whether it belongs to another history than this number, if both are known.
    #[must_use]
    pub const fn is_of_another(&self, history: i64) -> bool {
        history != 0 && self.history != 0 && history != self.history
    }

    /// Maximum time in seconds that the clock of a node may be ahead of ours.
    pub const TOLERANCE_SECONDS: f64 = 5.0;
    /// A time further ahead than this number of seconds does not come from a maintained clock.
    const CREDIBLE_SECONDS: f64 = 86_400.0;

    /// The mark with its `ctime` limited by our clock.
    #[must_use]
    pub fn clamped(self, wall: WallTime) -> Self {
        Self { ctime: self.ctime.min(wall.as_seconds_f64() + Self::TOLERANCE_SECONDS), ..self }
    }

    /// The mark after one more row.
    #[must_use]
    pub fn with(self, id: i64, ctime: f64, wall: WallTime) -> Self {
        let last_id = self.last_id.max(id);
        Self { last_id, newest: self.newest.max(ctime), ctime: self.ctime.max(ctime), ..self }.clamped(wall)
    }

    /// Whether we have a row of a node that does not page. Its id alone is not enough, because the ids of a new
    /// database start over. Its `ctime` alone is not enough, because the clock may have been ahead.
    #[must_use]
    pub fn has(&self, id: i64, ctime: f64, wall: WallTime) -> bool {
        let credible = wall.as_seconds_f64() + Self::CREDIBLE_SECONDS;
        let is_old = ctime <= self.ctime || ctime <= self.newest && self.newest <= credible;
        id <= self.last_id && (is_old || ctime > credible)
    }
}

/// A token that was taken for work here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenToken {
    /// A hash of the token.
    pub hash: i64,
    /// When, in seconds since the epoch.
    pub taken: i64,
    /// Until when it is remembered, in seconds since the epoch.
    pub until: i64,
    /// Whether its work is not begun before the history has a row of it.
    pub begins_with_row: bool,
}

/// One change of the database. All changes of a loop turn are one transaction.
#[derive(Clone, PartialEq)]
pub enum StoreChange {
    /// Insert a row. The database assigns its `id` and `ctime`; `ctime` grows from commit to commit.
    InsertRow(HistoryRow),
    /// Insert or replace the session with this routing id.
    PutSession(StoredSession),
    /// Delete the session with this routing id.
    DeleteSession(Vec<u8>),
    /// Store a server's key for a target such as `tcp://192.0.2.1:5556`.
    PutFingerprint {
        target: String,
        /// RFC 7638 thumbprint of its key.
        thumbprint: String,
    },
    /// Delete the key of a server.
    DeleteFingerprint(String),
    /// Store the key of an SSH host.
    PutHostKey {
        /// The host in the form of known-hosts lines.
        host: String,
        /// The known-hosts line.
        line: String,
    },
    /// Delete the key of an SSH host, named in the form of known-hosts lines.
    DeleteHostKey(String),
    /// Store the mark of a node.
    PutSyncMark(NodeId, SyncMark),
    /// Store how far a history has been taken over by any way.
    PutOriginMark(RowOrigin),
    DeleteSyncMark(NodeId),
    /// Store that a token was accepted and has not ended, so that a restart can end it.
    OpenToken {
        token: Token,
        /// The node that it was sent to and that has not confirmed it; `None` for our own work.
        node: Option<NodeId>,
    },
    /// The token has ended, or its node has confirmed it and is now responsible for its end.
    CloseToken(Token),
    /// Remember what Centreon Web has ordered.
    Legacy(LegacyChange),
    /// Change the queue of requests that wait for their nodes.
    Queue(QueueChange),
    /// Remember that a token was taken for work here, so that the same message again starts nothing.
    TakeToken(TakenToken),
    /// Forget that a token was taken, because its work was not begun and its sender still has it.
    GiveBackToken(i64),
    /// Remember that a token was ended here although its node may end it later.
    PutLate {
        /// A hash of the token.
        hash: i64,
        /// When, in seconds since the epoch.
        at: i64,
    },
    /// Delete sessions not used since `used_before` (seconds), rows stored before `rows_before`, and instant rows
    /// stored before `instant_before`, then release free pages of the file. Does as much as takes some milliseconds.
    Purge {
        /// Sessions last used before this are deleted.
        used_before: i64,
        /// Rows stored before this are deleted.
        rows_before: i64,
        /// Instant rows stored before this are deleted.
        instant_before: i64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_of_one_command_of_several_is_not_the_last_however_its_json_is_written() {
        let part = |code: Code, data: &str| !is_last_row(code, data);
        let (failed, submitted) = ("command execution issue", "command has been submitted");
        for space in ["", " ", "\n"] {
            let with = |message: &str, more: &str| format!("{{{more}\"message\":{space}\"{message}\"}}");
            assert!(part(Code::FINISHED_KO, &with(failed, "\"metadata\":null,")));
            assert!(part(Code::FINISHED_OK, &with(submitted, "")));
            // An ACTIONENGINE, and the opposite case.
            assert!(!part(Code::FINISHED_KO, &with(failed, "")));
            assert!(!part(Code::FINISHED_KO, &with(submitted, "")));
            assert!(!part(Code::FINISHED_OK, &with(failed, "\"metadata\":null,")));
            // The output of a command proves nothing.
            let printed = format!("\"metadata\":null,\"stdout\":\"\\\"message\\\":\\\"{failed}\\\"\",");
            assert!(!part(Code::FINISHED_KO, &with("x", &printed)));
        }
        assert!(part(Code::BEGIN, "{}") && part(Code::COMMAND_RESULT, "{}"));
        assert!(!part(Code::FINISHED_OK, "no json: command has been submitted"));
    }
}

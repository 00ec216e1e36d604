//! History rows, questions about them, and what is written to the database in one commit.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::code::Code;
use super::legacy::LegacyChange;
use super::node_id::NodeId;
use super::session::StoredSession;
use super::time::WallTime;
use super::token::Token;

/// One row of `gorgone_history` (docs/protocol.md section 4).
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryRow {
    /// Row id in its database; 0 for a row not stored yet.
    pub id: i64,
    /// The request's token; daemons write rows without one, and old daemons tokens of any form.
    pub token: Option<String>,
    /// What the row tells.
    pub code: Code,
    /// When it happened, seconds since the epoch.
    pub etime: i64,
    /// When it was stored here, seconds since the epoch with fraction.
    pub ctime: f64,
    /// A row that is of no interest after a day.
    pub instant: bool,
    /// JSON text.
    pub data: String,
    /// Where it was written first; `None` for a row of this history itself, and for one of a daemon that does not tell.
    pub origin: Option<RowOrigin>,
}

impl HistoryRow {
    /// Whether it is the last of its token, see [`is_last_row`].
    #[must_use]
    pub fn is_last(&self) -> bool {
        is_last_row(self.code, &self.data)
    }

    /// Bytes of `data` and `token`.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.data.len() + self.token.as_ref().map_or(0, String::len)
    }
}

/// Whether a row, of whose writer nothing else is known, is the last of its token. A COMMAND has a row with code 1 for
/// each command that failed, and an ENGINECOMMAND one with code 2 for each line, but they go on (docs/protocol.md
/// section 11). That of an ACTIONENGINE that failed says the same and has no metadata: it is the last.
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

/// Which row of which history a row is, wherever it was taken over. So a row that comes by two ways, or that comes
/// back, is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowOrigin {
    /// Which history.
    pub history: HistoryName,
    /// The row's id in it.
    pub id: i64,
}

/// A history among all histories. The number alone would do, were there no machines that are copies of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryName {
    /// The node whose history it is.
    pub node: NodeId,
    /// Its number, see [`Origins::own`].
    pub number: i64,
}

/// The number of a history, and how far others were taken over, whoever brought them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// A random number from 1 to 2^53 - 1 that is drawn when a database is made, so that a new one under an old id is
    /// known; 0 where there is none.
    pub own: i64,
    /// The greatest row id taken over of each other history.
    pub marks: Vec<(HistoryName, i64)>,
}

/// Which rows a `GETLOG` wants: all conditions that are set must hold (docs/protocol.md section 4).
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
    /// Only the newest of them, still in ascending order of id.
    pub newest: Option<u64>,
}

impl LogFilter {
    /// Whether at least one condition is set (`limit` alone is none).
    #[must_use]
    pub const fn has_condition(&self) -> bool {
        self.after_id.is_some()
            || self.token.is_some()
            || self.after_ctime.is_some()
            || self.after_etime.is_some()
            || self.code.is_some()
    }

    /// Whether a row meets every condition (`newest` aside).
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch fit 53 bits")]
    pub fn matches(&self, row: &HistoryRow) -> bool {
        self.after_id.is_none_or(|id| row.id > id)
            && self.token.as_deref().is_none_or(|token| row.token.as_deref() == Some(token))
            && self.after_ctime.is_none_or(|ctime| row.ctime > ctime)
            && self.after_etime.is_none_or(|etime| row.etime as f64 > etime)
            && self.code.is_none_or(|code| row.code == code)
    }
}

/// How much of an answer to a question is read at once. The page ends at the first bound that is met, never in the
/// middle of rows that share one `ctime` when `whole_instants` is set (a peer that pages by `ctime` would lose the
/// rest).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// Rows at most (at least one is read).
    pub rows: usize,
    /// Characters of `data` and `token` at most (at least one row is read).
    pub bytes: usize,
    /// Never split rows of one `ctime`.
    pub whole_instants: bool,
}

/// A page of rows in ascending order of id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogPage {
    /// The rows.
    pub rows: Vec<HistoryRow>,
    /// Whether rows were left out because of the [`PageLimit`].
    pub more: bool,
}

impl LogPage {
    /// Bytes of its rows' texts.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.rows.iter().map(HistoryRow::size_bytes).sum()
    }
}

/// How far a node's history was taken over (`gorgone_synchistory`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SyncMark {
    /// From which `ctime` on rows are asked for, in that node's own time: that of the newest row that we hold, but
    /// never more than [`SyncMark::TOLERANCE_SECONDS`] ahead of our own clock. A node whose clock was ahead would else
    /// be asked for nothing until that time has come.
    pub ctime: f64,
    /// Newest `ctime` of that node's rows that we hold, as the node told it.
    pub newest: f64,
    /// Greatest row id of that node that we hold.
    pub last_id: i64,
    /// The number of its history; 0 where it did not tell one.
    pub history: i64,
}

impl SyncMark {
    /// So far the clock of a node may be ahead of ours.
    pub const TOLERANCE_SECONDS: f64 = 5.0;
    /// A time that is further ahead is no time of a clock that somebody keeps.
    const CREDIBLE_SECONDS: f64 = 86_400.0;

    /// The mark with a `ctime` that our own clock allows.
    #[must_use]
    pub fn clamped(self, wall: WallTime) -> Self {
        Self { ctime: self.ctime.min(wall.as_seconds_f64() + Self::TOLERANCE_SECONDS), ..self }
    }

    /// The mark behind one row more.
    #[must_use]
    pub fn with(self, id: i64, ctime: f64, wall: WallTime) -> Self {
        let last_id = self.last_id.max(id);
        Self { last_id, newest: self.newest.max(ctime), ctime: self.ctime.max(ctime), ..self }.clamped(wall)
    }

    /// Whether a row of a node that does not page is here. Its id alone does not tell, because the ids of a new
    /// database start over; its `ctime` alone does not, because a clock may have been ahead.
    #[must_use]
    pub fn has(&self, id: i64, ctime: f64, wall: WallTime) -> bool {
        let credible = wall.as_seconds_f64() + Self::CREDIBLE_SECONDS;
        let is_old = ctime <= self.ctime || ctime <= self.newest && self.newest <= credible;
        id <= self.last_id && (is_old || ctime > credible)
    }
}

/// One change of the database. All changes of a loop turn are one transaction.
#[derive(Clone, PartialEq)]
pub enum StoreChange {
    /// Insert a row; its `id` and `ctime` are given by the database: `ctime` grows from commit to commit.
    InsertRow(HistoryRow),
    /// Insert or replace the session with this routing id.
    PutSession(StoredSession),
    /// Forget the session with this routing id.
    DeleteSession(Vec<u8>),
    /// Remember a server's key for a target such as `tcp://192.0.2.1:5556`.
    PutFingerprint {
        /// The target.
        target: String,
        /// RFC 7638 thumbprint of its key.
        thumbprint: String,
    },
    /// Forget the key of a server.
    DeleteFingerprint(String),
    /// Remember the key of an SSH host.
    PutHostKey {
        /// The host as known-hosts lines name it.
        host: String,
        /// The line.
        line: String,
    },
    /// Forget the key of an SSH host, as known-hosts lines name it.
    DeleteHostKey(String),
    /// Move a node's mark.
    PutSyncMark(NodeId, SyncMark),
    /// So far a history was taken over, whoever brought its rows.
    PutOriginMark(RowOrigin),
    /// Forget a node's mark.
    DeleteSyncMark(NodeId),
    /// Remember that a token was accepted and has no end yet, so that a restart can end it.
    OpenToken {
        /// The token.
        token: Token,
        /// The node that it was sent to and that has not confirmed it; `None` for work of our own.
        node: Option<NodeId>,
    },
    /// The token has ended, or its node has confirmed it and owes the end from now on.
    CloseToken(Token),
    /// Remember what Centreon Web has ordered.
    Legacy(LegacyChange),
    /// Remember that a token was taken for work here, so that the same message again starts nothing.
    TakeToken {
        /// A hash of the token.
        hash: i64,
        /// When, in seconds since the epoch.
        taken: i64,
    },
    /// Delete sessions not used since `used_before` (seconds), rows stored before `rows_before`, and instant rows
    /// stored before `instant_before`, then give free pages of the file back: as much as takes some milliseconds.
    Purge {
        /// Sessions last used earlier than this go.
        used_before: i64,
        /// Rows stored earlier than this go.
        rows_before: i64,
        /// Instant rows stored earlier than this go.
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
            // An ACTIONENGINE, and the other way round.
            assert!(!part(Code::FINISHED_KO, &with(failed, "")));
            assert!(!part(Code::FINISHED_KO, &with(submitted, "")));
            assert!(!part(Code::FINISHED_OK, &with(failed, "\"metadata\":null,")));
            // What a command has printed tells nothing.
            let printed = format!("\"metadata\":null,\"stdout\":\"\\\"message\\\":\\\"{failed}\\\"\",");
            assert!(!part(Code::FINISHED_KO, &with("x", &printed)));
        }
        assert!(part(Code::BEGIN, "{}") && part(Code::COMMAND_RESULT, "{}"));
        assert!(!part(Code::FINISHED_OK, "no json: command has been submitted"));
    }
}

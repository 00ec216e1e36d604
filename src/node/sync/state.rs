//! The state of the sync of one node.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::history::SyncMark;
use crate::model::time::{Monotonic, Now, WallTime};
use crate::model::token::Token;

use super::parts::Gathering;

/// How often a node is told the time.
const TELL_TIME_EVERY: Duration = Duration::from_secs(3_600);

#[derive(Debug)]
pub(in crate::node) struct NodeSync {
    /// How far its history is stored here.
    pub mark: SyncMark,
    /// Whether an answer is awaited or being stored.
    pub in_progress: bool,
    /// Whether nothing has arrived since the last query.
    pub is_unanswered: bool,
    /// Number of repetitions of the query.
    pub(super) repeats: u8,
    /// Time of the last repetition: its answer may arrive when the mark has moved.
    pub(super) repeated_at: Option<Monotonic>,
    /// Whether a page is being stored. Another answer cannot be used until that is done.
    pub is_storing: bool,
    /// Whether the node pages, as our own kind does; such a node also announces its rows. `None` before its first
    /// answer.
    pub(super) pages: Option<bool>,
    /// Whether the node remembers the tokens that it has taken, so that a request can be sent again.
    pub runs_once: bool,
    /// Whether a sync has been completed over the current link, so that it is known who is there.
    pub is_current: bool,
    /// When the node last said that we have all of its rows, over the current link.
    pub(in crate::node) fresh_at: Option<Monotonic>,
    /// When our time was last told over the current link.
    pub(in crate::node) time_told: Option<Monotonic>,
    /// Number of syncs started.
    pub serial: u64,
    /// Time of the last complete sync in seconds since the epoch, 0 for never.
    pub synced_at: i64,
    /// Number of rows that the node has and that are not here; `None` if unknown.
    pub lag: Option<u64>,
    /// Whether another sync must follow this one.
    pub(super) again: bool,
    /// The token of the request that asked for the sync in progress.
    pub(super) token: Option<Token>,
    /// The tokens that the last query asked about.
    pub(super) asked_about: Vec<Token>,
    /// Those of them that the node will still end, from its answer.
    pub(super) open: Option<BTreeSet<String>>,
    /// The parts of an incomplete answer.
    pub(super) gathering: Option<Gathering>,
    /// Ids of rows that are stored although the mark has not passed them.
    pub(super) early: BTreeSet<i64>,
}

impl NodeSync {
    /// Returns the state of a node whose history is stored up to `mark`.
    pub(in crate::node) const fn new(mark: SyncMark) -> Self {
        Self {
            mark,
            in_progress: false,
            is_unanswered: false,
            repeats: 0,
            repeated_at: None,
            is_storing: false,
            pages: None,
            runs_once: false,
            is_current: false,
            fresh_at: None,
            time_told: None,
            serial: 0,
            synced_at: 0,
            lag: None,
            again: false,
            token: None,
            asked_about: Vec::new(),
            open: None,
            gathering: None,
            early: BTreeSet::new(),
        }
    }

    /// Returns whether the node is known to be of our own kind; `None` before its first answer.
    pub(in crate::node) const fn peer_pages(&self) -> Option<bool> {
        self.pages
    }

    /// Forgets the current sync. Returns the token of the request that asked for it.
    pub(in crate::node) fn abandon(&mut self) -> Option<Token> {
        self.in_progress = false;
        self.again = false;
        self.gathering = None;
        self.token.take()
    }

    /// Returns whether the node has shown that it is of our own kind.
    pub(in crate::node) const fn is_of_our_kind(&self) -> bool {
        matches!(self.pages, Some(true)) || self.mark.history != 0
    }

    /// Returns whether the node, as far as is known, answers every query: our own kind does.
    pub(super) fn answers_always(&self) -> bool {
        self.pages.unwrap_or(self.mark.history != 0)
    }

    /// Notes that the node says whether we have all of its rows. Returns whether a sync is wanted.
    pub(in crate::node) fn has_said(&mut self, has_all: bool, now: Now) -> bool {
        if !self.is_current || self.in_progress || self.is_storing {
            return false;
        }
        self.fresh_at = has_all.then_some(now.monotonic);
        if has_all {
            (self.synced_at, self.lag) = (now.wall.as_seconds(), Some(0));
        }
        !has_all
    }

    /// Returns whether the node has said within `period` that we have all of its rows.
    pub(super) fn is_fresh(&self, now: Monotonic, period: Duration) -> bool {
        self.fresh_at.is_some_and(|at| now.since(at) <= period)
    }

    /// Returns whether a node that may not know the time should be told.
    pub(super) fn tells_time(&mut self, now: Monotonic) -> bool {
        let tells = self.time_told.is_none_or(|told| now.since(told) >= TELL_TIME_EVERY);
        if tells {
            self.time_told = Some(now);
        }
        tells
    }

    /// Returns the query, with our time if there is one to tell. The mark from a Perl daemon has no id; a query by id
    /// would bring every row again.
    pub(super) fn question(&self, wall: WallTime, time: Option<i64>) -> String {
        let time = time.map_or_else(String::new, |time| format!(",\"time\":{time}"));
        let SyncMark { newest, last_id, history, .. } = self.mark;
        // Our own kind continues by id, and compares the `ctime` of that row with this one.
        let ctime = if self.answers_always() { newest } else { self.mark.clamped(wall).ctime };
        if last_id == 0 && ctime > 0.0 {
            format!("{{\"ctime\":{ctime}}}")
        } else if history != 0 {
            let mut question = format!(
                "{{\"ctime\":{ctime},\"last_id\":{last_id},\"history\":{history},\"sync\":{}{time},\"packs\":1",
                self.serial
            );
            if !self.asked_about.is_empty() {
                let owed: Vec<&str> = self.asked_about.iter().map(Token::as_str).collect();
                // Tokens have no characters that JSON escapes.
                question.push_str(&format!(",\"owed\":[\"{}\"]", owed.join("\",\"")));
            }
            question.push('}');
            question
        } else {
            format!("{{\"ctime\":{ctime},\"last_id\":{last_id}{time},\"packs\":1}}")
        }
    }
}

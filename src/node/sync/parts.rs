//! An answer in several messages (docs/protocol.md section 9). Its parts have their total number, but no order.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::token::Token;

use super::answer::{Answer, AnsweredRow};

/// Distinguishes the parts of one answer, which have no row in common.
type PartKey = (i64, i64, usize);

/// The parts of one answer so far.
#[derive(Debug)]
pub(super) struct Gathering {
    pub token: Option<Token>,
    pub total: usize,
    seen: BTreeSet<PartKey>,
    pub rows: BTreeMap<i64, AnsweredRow>,
    pub bytes: usize,
    pub last_id: Option<i64>,
    pub history: i64,
    pub more: bool,
    runs_once: bool,
    sync: Option<u64>,
    open: Option<BTreeSet<String>>,
}

impl Gathering {
    pub fn new(token: Option<Token>, total: usize) -> Self {
        let (seen, rows) = (BTreeSet::new(), BTreeMap::new());
        Self {
            token,
            total,
            seen,
            rows,
            bytes: 0,
            last_id: None,
            history: 0,
            more: false,
            runs_once: false,
            sync: None,
            open: None,
        }
    }

    /// Takes a part. Returns `false` if it has already arrived.
    pub fn take(&mut self, part: Answer) -> bool {
        let first = part.rows.first().map_or(0, |row| row.id);
        let last = part.rows.last().map_or(0, |row| row.id);
        if !self.seen.insert((first, last, part.rows.len())) {
            return false;
        }
        self.last_id = self.last_id.max(part.last_id);
        self.history = self.history.max(part.history);
        self.more |= part.more;
        self.runs_once |= part.runs_once;
        self.sync = part.sync.or(self.sync);
        self.open = part.open.or_else(|| self.open.take());
        for row in part.rows {
            self.bytes += row_bytes(&row);
            self.rows.insert(row.id, row);
        }
        true
    }

    pub fn is_whole(&self) -> bool {
        self.seen.len() >= self.total
    }

    pub fn into_answer(self) -> Answer {
        let rows = self.rows.into_values().collect();
        let Self { last_id, history, more, runs_once, sync, open, .. } = self;
        Answer { rows, left_out: 0, last_id, runs_once, history, more, newest_id: None, parts: 1, sync, open }
    }
}

fn row_bytes(row: &AnsweredRow) -> usize {
    row.data.len() + row.token.as_ref().map_or(0, String::len) + size_of::<AnsweredRow>()
}

//! An answer that comes in several messages (protocol.md section 9). Its parts carry their number, but no order.
//!
//! Parts wait in memory until all are there, so that rows and mark are stored together. When too much waits, the rows of
//! the node in hand are stored before their mark, and their ids are remembered instead.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::log::LogLine;
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use super::super::core::Core;
use super::super::timers::Timer;
use super::{Answer, answer::AnsweredRow};

/// Bytes of rows that wait for the rest of their answer at most, for all nodes together.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// Ids of one node that are stored before their mark at most.
const EARLY_IDS_MAX: usize = 1_000_000;

/// Tells parts of one answer apart: they have no row in common.
type PartKey = (i64, i64, usize);

/// The parts of one answer so far.
#[derive(Debug)]
pub(super) struct Gathering {
    token: Option<Token>,
    total: usize,
    seen: BTreeSet<PartKey>,
    rows: BTreeMap<i64, AnsweredRow>,
    bytes: usize,
    last_id: Option<i64>,
    more: bool,
}

impl Gathering {
    fn new(token: Option<Token>, total: usize) -> Self {
        let (seen, rows) = (BTreeSet::new(), BTreeMap::new());
        Self { token, total, seen, rows, bytes: 0, last_id: None, more: false }
    }

    /// Takes a part; `false` when it was there already.
    fn take(&mut self, part: Answer) -> bool {
        let first = part.rows.first().map_or(0, |row| row.id);
        let last = part.rows.last().map_or(0, |row| row.id);
        if !self.seen.insert((first, last, part.rows.len())) {
            return false;
        }
        self.last_id = self.last_id.max(part.last_id);
        self.more |= part.more;
        for row in part.rows {
            self.bytes += row_bytes(&row);
            self.rows.insert(row.id, row);
        }
        true
    }

    fn is_whole(&self) -> bool {
        self.seen.len() >= self.total
    }

    fn into_answer(self) -> Answer {
        Answer { rows: self.rows.into_values().collect(), last_id: self.last_id, more: self.more, parts: 1 }
    }
}

fn row_bytes(row: &AnsweredRow) -> usize {
    row.data.len() + row.token.as_ref().map_or(0, String::len) + size_of::<AnsweredRow>()
}

impl Core {
    /// The whole answer once its last part is there; one that is not split passes through.
    pub(super) fn gather(&mut self, id: NodeId, token: Option<&Token>, answer: Answer) -> Option<Answer> {
        let node = self.registry.get_mut(id)?;
        if answer.parts <= 1 {
            node.sync.gathering = None;
            return Some(answer);
        }
        let total = answer.parts;
        let belongs = |gathering: &Gathering| gathering.token.as_ref() == token && gathering.total == total;
        // Parts of another answer are not waited for any longer: their rows are still after the mark.
        let before = node.sync.gathering.take().filter(belongs);
        let mut gathering = before.unwrap_or_else(|| Gathering::new(token.cloned(), total));
        let is_new = gathering.take(answer);
        let in_progress = node.sync.in_progress;
        if gathering.is_whole() {
            return Some(gathering.into_answer());
        }
        node.sync.gathering = Some(gathering);
        if is_new && in_progress {
            let deadline = self.now.monotonic + self.proxy_settings().sync_timeout;
            self.timers.set(Timer::SyncTimeout(id), deadline);
        }
        let waiting: usize =
            self.registry.iter().filter_map(|(_, node)| node.sync.gathering.as_ref()).map(|part| part.bytes).sum();
        if waiting > WAITING_BYTES_MAX {
            self.store_early(id);
        }
        None
    }

    /// Stores what a node has sent so far; its mark stays until all is there.
    fn store_early(&mut self, id: NodeId) {
        let Some(node) = self.registry.get_mut(id) else { return };
        let Some(gathering) = &mut node.sync.gathering else { return };
        let mark = node.sync.mark;
        let rows = std::mem::take(&mut gathering.rows);
        gathering.bytes = 0;
        // The mark has to pass these rows in the end.
        let last = rows.values().next_back().cloned();
        let ctime = rows.values().map(|row| row.ctime).fold(0.0, f64::max);
        if node.sync.early.len() + rows.len() > EARLY_IDS_MAX {
            node.sync.gathering = None;
            let text = format!("node '{id}' sends more than {EARLY_IDS_MAX} rows in one answer: the rest is left out");
            self.log(LogLine::error("proxy", text));
            return;
        }
        if let Some(last) = last {
            let last = AnsweredRow { ctime, data: String::new(), ..last };
            gathering.rows.insert(last.id, last);
        }
        let pages = gathering.last_id.is_some();
        let mut fresh = Vec::new();
        for (row_id, row) in rows {
            let known = row.id <= mark.last_id && (pages || row.ctime <= mark.ctime);
            if !known && node.sync.early.insert(row_id) {
                fresh.push(row);
            }
        }
        for row in fresh {
            self.add_synced_row(id, row, None);
        }
    }
}

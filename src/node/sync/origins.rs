//! How far each history was taken over, whoever brought its rows. A node behind two relays sends its rows by both, and
//! two relays that sync each other send each other's rows back: each row is stored once all the same.
//!
//! Rows of one history come in the order of their ids on every way, so the greatest id that is here tells of all before
//! it.

use std::collections::BTreeMap;

use crate::model::broken::{self, Fault};
use crate::model::history::{HistoryName, Origins, RowOrigin, StoreChange};
use crate::model::node_id::NodeId;

use crate::node::context::Context;
use crate::node::output::{Output, ReceiptId};

/// Histories remembered. A node that makes a new database gives it a new number; rows of further ones are not compared.
const HISTORIES_MAX: usize = 100_000;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct OriginMarks {
    own: i64,
    last_ids: BTreeMap<HistoryName, i64>,
}

/// The greatest ids of an answer's rows by history.
#[derive(Debug, Default)]
pub(super) struct Moved(BTreeMap<HistoryName, i64>);

impl Moved {
    pub(super) fn note(&mut self, RowOrigin { history, id }: RowOrigin) {
        let last = self.0.entry(history).or_insert(id);
        *last = (*last).max(id);
    }
}

impl OriginMarks {
    pub(super) fn new(origins: Origins) -> Self {
        Self { own: origins.own, last_ids: origins.marks.into_iter().collect() }
    }

    /// Whether a row is here already; `own_id` is ours, where we know it.
    pub(super) fn is_taken(&self, origin: RowOrigin, own_id: Option<NodeId>) -> bool {
        if broken::is(Fault::OriginIgnored) || broken::is(Fault::DoubledRowsAccepted) {
            return false;
        }
        let HistoryName { node, number } = origin.history;
        let is_own = number == self.own && own_id.is_none_or(|own| own == node);
        is_own || self.last_ids.get(&origin.history).is_some_and(|last| origin.id <= *last)
    }

    /// Its ids start over.
    pub(super) fn forget(&mut self, history: HistoryName) {
        self.last_ids.remove(&history);
    }

    /// The rows could not be stored. Of several answers that could not, the smallest id counts.
    pub(super) fn take_back(&mut self, before: &[RowOrigin]) {
        for RowOrigin { history, id } in before {
            if let Some(last) = self.last_ids.get_mut(history) {
                *last = (*last).min(*id);
            }
        }
    }

    /// Moves the marks of the histories that an answer has brought rows of, together with the rows; returns those
    /// before.
    pub(super) fn advance(&mut self, context: &mut Context, moved: Moved, receipt: ReceiptId) -> Vec<RowOrigin> {
        let mut before = Vec::new();
        for (history, id) in moved.0 {
            let last_ids = &mut self.last_ids;
            let last = last_ids.get(&history).copied();
            let is_full = last.is_none() && last_ids.len() >= HISTORIES_MAX;
            if is_full || last.is_some_and(|last| id <= last) {
                continue;
            }
            last_ids.insert(history, id);
            before.push(RowOrigin { history, id: last.unwrap_or(0) });
            let change = StoreChange::PutOriginMark(RowOrigin { history, id });
            context.output(Output::Store { change, receipt: Some(receipt) });
        }
        before
    }
}

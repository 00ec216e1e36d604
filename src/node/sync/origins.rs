//! How far each history was taken over, by whichever route its rows arrived. A node behind two relays sends its rows
//! through both, and two relays that sync each other send each other's rows back; each row is stored only once.
//!
//! Rows of one history arrive in the order of their ids on every route, so the greatest stored id covers all earlier
//! ones.

use std::collections::BTreeMap;

use crate::model::broken::{self, Fault};
use crate::model::history::{HistoryName, Origins, RowOrigin, StoreChange};
use crate::model::node_id::NodeId;

use crate::node::context::Context;
use crate::node::output::{Output, ReceiptId};

/// Maximum number of remembered histories. A node with a new database has a new number; rows of further histories are
/// not compared.
const HISTORIES_MAX: usize = 100_000;

/// The greatest stored row id of each history.
#[derive(Debug, Default)]
pub(super) struct OriginMarks {
    own: i64,
    last_ids: BTreeMap<HistoryName, i64>,
    /// The number of the history of each node from which a row came last, if that is known.
    newest: BTreeMap<NodeId, i64>,
    /// Nodes that have another history than before.
    replaced: Vec<NodeId>,
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
        let mut of_node: BTreeMap<NodeId, Vec<i64>> = BTreeMap::new();
        origins.marks.iter().for_each(|(history, _)| of_node.entry(history.node).or_default().push(history.number));
        let only = |(node, numbers): (NodeId, Vec<i64>)| (numbers.len() == 1).then_some((node, *numbers.first()?));
        let newest = of_node.into_iter().filter_map(only).collect();
        Self { own: origins.own, last_ids: origins.marks.into_iter().collect(), newest, replaced: Vec::new() }
    }

    /// Returns the number of the history of a node from which a row came last, by any way; `None` if it is not known.
    pub(super) fn newest_of(&self, node: NodeId) -> Option<i64> {
        self.newest.get(&node).copied()
    }

    /// Returns the nodes that have another history than before, each once.
    pub(super) fn take_replaced(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.replaced)
    }

    /// Returns whether a row is already here; `own_id` is our own id, if known.
    pub(super) fn is_taken(&self, origin: RowOrigin, own_id: Option<NodeId>) -> bool {
        if broken::is(Fault::OriginIgnored) || broken::is(Fault::DoubledRowsAccepted) {
            return false;
        }
        let HistoryName { node, number } = origin.history;
        let is_own = number == self.own && own_id.is_none_or(|own| own == node);
        is_own || self.last_ids.get(&origin.history).is_some_and(|last| origin.id <= *last)
    }

    /// Forgets a history whose ids start again.
    pub(super) fn forget(&mut self, history: HistoryName) {
        self.last_ids.remove(&history);
    }

    /// Takes back the marks of rows that could not be stored. Of several failed answers the smallest id counts.
    pub(super) fn take_back(&mut self, before: &[RowOrigin]) {
        for RowOrigin { history, id } in before {
            if let Some(last) = self.last_ids.get_mut(history) {
                *last = (*last).min(*id);
            }
        }
    }

    /// Advances the marks of the histories in an answer, together with the rows. Returns the earlier marks.
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
            let known = self.newest.insert(history.node, history.number);
            if known.is_some_and(|known| known != history.number) {
                self.replaced.push(history.node);
            }
            before.push(RowOrigin { history, id: last.unwrap_or(0) });
            let change = StoreChange::PutOriginMark(RowOrigin { history, id });
            context.output(Output::Store { change, receipt: Some(receipt) });
        }
        before
    }
}

//! The changes of a turn, and those that could not be stored.

use std::collections::{BTreeSet, VecDeque};

use crate::model::history::StoreChange;
use crate::node::output::ReceiptId;

/// Changes that are kept while the database takes none, at most; the oldest give way.
const MAX_UNSTORED: usize = 10_000;

/// The changes of one turn, committed together.
#[derive(Default)]
pub struct Batch {
    /// In their order.
    pub changes: Vec<StoreChange>,
    /// Whose outcome is awaited: the index of the change and the receipt.
    pub receipts: Vec<(usize, ReceiptId)>,
}

impl Batch {
    /// Takes what comes after it.
    pub fn append(&mut self, later: Self) {
        let offset = self.changes.len();
        self.changes.extend(later.changes);
        self.receipts.extend(later.receipts.into_iter().map(|(index, receipt)| (index + offset, receipt)));
    }

    /// Whether there is anything to commit.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// See the module's page.
#[derive(Default)]
pub(super) struct Storing {
    batch: Batch,
    unstored: VecDeque<StoreChange>,
    /// Whether the last commit was not stored.
    fails: bool,
}

impl Storing {
    pub(super) fn push(&mut self, change: StoreChange) {
        self.batch.changes.push(change);
    }

    /// A change whose outcome is awaited.
    pub(super) fn push_awaited(&mut self, change: StoreChange, receipt: ReceiptId) {
        self.batch.receipts.push((self.batch.changes.len(), receipt));
        self.batch.changes.push(change);
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.batch.is_empty()
    }

    pub(super) fn take_batch(&mut self) -> Batch {
        std::mem::take(&mut self.batch)
    }

    /// Keeps the changes of a batch that could not be stored and whose outcome nobody awaits. Returns how many of the
    /// oldest are given up.
    pub(super) fn keep_unstored(&mut self, batch: Batch) -> usize {
        let awaited: BTreeSet<usize> = batch.receipts.iter().map(|(index, _)| *index).collect();
        let kept = batch.changes.into_iter().enumerate().filter(|(index, _)| !awaited.contains(index));
        self.unstored.extend(kept.map(|(_, change)| change));
        let surplus = self.unstored.len().saturating_sub(MAX_UNSTORED);
        self.unstored.drain(..surplus);
        surplus
    }

    /// Whether a commit had another outcome than the one before.
    pub(super) fn has_changed(&mut self, stored: bool) -> bool {
        std::mem::replace(&mut self.fails, !stored) == stored
    }

    pub(super) fn has_unstored(&self) -> bool {
        !self.unstored.is_empty()
    }

    pub(super) fn take_unstored(&mut self) -> Batch {
        Batch { changes: std::mem::take(&mut self.unstored).into(), receipts: Vec::new() }
    }
}

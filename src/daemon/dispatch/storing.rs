//! The changes of a turn, and those that could not be stored.

use std::collections::{BTreeSet, VecDeque};

use crate::model::connection::ConnectionId;
use crate::model::history::StoreChange;
use crate::model::time::Monotonic;
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

/// Changes that may wait for others. What depends on them waits, too.
#[derive(Default)]
struct Patience {
    /// How many of the batch.
    changes: usize,
    until: Option<Monotonic>,
    /// What may begin before they are stored, and was not told so yet.
    to_begin: Vec<ReceiptId>,
    is_over: bool,
}

/// See the module's page.
#[derive(Default)]
pub(super) struct Storing {
    batch: Batch,
    patience: Patience,
    /// Connections with answers that tell of changes which are not stored yet.
    held: BTreeSet<ConnectionId>,
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

    /// The changes of a receipt may wait until then.
    pub(super) fn may_wait(&mut self, receipt: ReceiptId, until: Monotonic) {
        let patience = &mut self.patience;
        patience.changes += self.batch.receipts.iter().filter(|(_, of)| *of == receipt).count();
        patience.until = Some(patience.until.map_or(until, |earlier| earlier.min(until)));
        patience.to_begin.push(receipt);
    }

    /// Whether something may begin before its changes are stored.
    pub(super) const fn may_begin(&self) -> bool {
        !self.patience.to_begin.is_empty()
    }

    /// What may begin before its changes are stored; they wait from now on.
    pub(super) fn take_to_begin(&mut self) -> Vec<ReceiptId> {
        std::mem::take(&mut self.patience.to_begin)
    }

    /// Nothing waits any longer.
    pub(super) const fn hurry(&mut self) {
        self.patience.is_over = true;
    }

    /// How many changes may wait.
    pub(super) const fn patient(&self) -> usize {
        self.patience.changes
    }

    /// Until when the whole batch waits for other changes; `None` where it does not.
    pub(super) fn waits_until(&self) -> Option<Monotonic> {
        let patience = &self.patience;
        let all = patience.changes == self.batch.changes.len();
        patience.until.filter(|_| all && !patience.is_over && patience.to_begin.is_empty())
    }

    /// What a connection is sent waits until the changes of now are stored.
    pub(super) fn hold(&mut self, connection: ConnectionId) {
        self.held.insert(connection);
    }

    pub(super) fn is_held(&self, connection: ConnectionId) -> bool {
        self.held.contains(&connection)
    }

    /// Changes are stored, or cannot be: nothing is held any longer.
    pub(super) fn take_held(&mut self) -> BTreeSet<ConnectionId> {
        std::mem::take(&mut self.held)
    }

    /// Whether nothing is to be committed now.
    pub(super) fn is_idle(&self) -> bool {
        self.batch.is_empty() || self.waits_until().is_some()
    }

    pub(super) fn take_batch(&mut self) -> Batch {
        self.patience = Patience::default();
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

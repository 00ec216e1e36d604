//! The changes of a turn, and those that could not be stored.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::config::settings::Commits;
use crate::model::connection::{ClientId, ConnectionId};
use crate::model::history::StoreChange;
use crate::model::queue::{QueueChange, QueuedRequest};
use crate::model::time::Monotonic;
use crate::node::output::{Output, ReceiptId};

/// Maximum number of changes kept while the database takes none; the oldest are discarded first.
const MAX_UNSTORED: usize = 10_000;

/// With `gorgone_db_synchronous: batched`, this many changes or bytes of rows are committed without waiting for more.
const GATHERED_MAX: usize = 2_000;
const GATHERED_MAX_BYTES: usize = 1 << 20;

/// The changes of one turn, committed together.
#[derive(Default)]
pub struct Batch {
    /// The changes, in order.
    pub changes: Vec<StoreChange>,
    /// The changes whose result is awaited: index of the change, and receipt.
    pub receipts: Vec<(usize, ReceiptId)>,
    /// Indexes of changes that the commit left out, in order, see [`crate::edge::history_store::Applied`].
    pub left_out: Vec<usize>,
    /// Number of the first changes that an earlier commit, which failed, may have stored after all.
    pub doubtful: usize,
    /// Messages that may be sent when the changes are stored.
    messages: Vec<Output>,
}

impl Batch {
    /// Appends a later batch.
    pub fn append(&mut self, later: Self) {
        let offset = self.changes.len();
        self.changes.extend(later.changes);
        self.receipts.extend(later.receipts.into_iter().map(|(index, receipt)| (index + offset, receipt)));
        self.messages.extend(later.messages);
    }

    pub(super) fn take_messages(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.messages)
    }

    /// Whether there is anything to commit.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Changes that may wait for others to share their commit. What depends on them waits, too.
#[derive(Default)]
struct Patience {
    /// Number of changes in the batch that may wait.
    changes: usize,
    until: Option<Monotonic>,
    /// Receipts whose work may begin before the changes are stored, and has not been told so.
    to_begin: Vec<ReceiptId>,
    is_over: bool,
}

/// Changes of several turns that share a commit (`gorgone_db_synchronous: batched`).
struct Gathering {
    every: Duration,
    /// When the first change of the batch came; `None` for an empty batch.
    since: Option<Monotonic>,
    /// Size of the rows of the batch in bytes.
    bytes: usize,
}

/// Commits beside the loop, one at a time.
#[derive(Default)]
struct Beside {
    is_under_way: bool,
    /// Messages that may be sent when it has ended.
    messages: Vec<Output>,
    /// See [`Storing::held`].
    held: BTreeSet<ConnectionId>,
}

/// The changes of the current turn, and those that could not be stored.
#[derive(Default)]
pub(super) struct Storing {
    batch: Batch,
    patience: Patience,
    gathering: Option<Gathering>,
    /// Connections with answers that report changes which are not stored yet.
    held: BTreeSet<ConnectionId>,
    unstored: VecDeque<StoreChange>,
    /// Number of the first unstored changes that a failed commit may have stored after all.
    doubtful: usize,
    /// Where commits take place beside the loop: what waits for the one that is under way.
    beside: Option<Beside>,
    /// Whether the last commit failed.
    fails: bool,
}

impl Storing {
    pub(super) fn new(commits: Commits, beside: bool) -> Self {
        let gathering = match commits {
            Commits::Batched(every) => Some(Gathering { every, since: None, bytes: 0 }),
            Commits::Full | Commits::Normal => None,
        };
        Self { gathering, beside: beside.then(Beside::default), ..Self::default() }
    }

    pub(super) fn push(&mut self, change: StoreChange, now: Monotonic) {
        self.gather(&change, now);
        self.batch.changes.push(change);
    }

    /// Adds a change whose result is awaited.
    pub(super) fn push_awaited(&mut self, change: StoreChange, receipt: ReceiptId, now: Monotonic) {
        self.gather(&change, now);
        self.batch.receipts.push((self.batch.changes.len(), receipt));
        self.batch.changes.push(change);
    }

    fn gather(&mut self, change: &StoreChange, now: Monotonic) {
        let Some(gathering) = &mut self.gathering else { return };
        gathering.since.get_or_insert(now);
        if let StoreChange::InsertRow(row) = change {
            gathering.bytes += row.data.len();
        }
        if matches!(change, StoreChange::TakeToken { .. } | StoreChange::Legacy(_)) {
            // What keeps work from being done twice is stored before the work begins.
            self.hurry();
        }
    }

    /// Whether changes wait for others that share their commit, so that messages must wait for them.
    pub(super) const fn gathers(&self) -> bool {
        self.gathering.is_some() || self.beside.is_some()
    }

    /// Whether this is a message that must wait for the changes of its event. What goes to a node beside a commit need
    /// not: nobody has been told of it before.
    pub(super) const fn may_have_to_wait(&self, output: &Output) -> bool {
        match output {
            Output::SendToClient { .. } | Output::SendToParent { .. } | Output::Answer { .. } => true,
            Output::SendToNode { .. } => self.beside.is_none(),
            _ => false,
        }
    }

    /// Whether a message to the same peer waits.
    pub(super) fn has_message_like(&self, message: &Output) -> bool {
        let beside = self.beside.iter().flat_map(|beside| &beside.messages);
        self.batch.messages.iter().chain(beside).any(|waiting| match (waiting, message) {
            (Output::SendToClient { client: one, .. }, Output::SendToClient { client: other, .. }) => one == other,
            (Output::SendToNode { node: one, .. }, Output::SendToNode { node: other, .. }) => one == other,
            (Output::SendToParent { kind: one, .. }, Output::SendToParent { kind: other, .. }) => one == other,
            _ => false,
        })
    }

    /// Forgets the messages that wait for a peer whose connection is gone, as if they had been sent on it.
    pub(super) fn forget_messages_to(&mut self, peer: ClientId) {
        let is_to_others = |message: &Output| match message {
            Output::SendToClient { client, .. } => *client != peer,
            Output::SendToParent { kind, .. } => ClientId::Parent(*kind) != peer,
            _ => true,
        };
        self.batch.messages.retain(is_to_others);
        if let Some(beside) = &mut self.beside {
            beside.messages.retain(is_to_others);
        }
    }

    /// Keeps a message until the current changes are stored.
    pub(super) fn send_when_stored(&mut self, message: Output) {
        self.batch.messages.push(message);
    }

    /// From now on changes do not wait for others.
    pub(super) fn gather_no_more(&mut self) {
        self.gathering = None;
    }

    /// Lets the changes of a receipt wait until the given time.
    pub(super) fn may_wait(&mut self, receipt: ReceiptId, until: Monotonic) {
        let patience = &mut self.patience;
        patience.changes += self.batch.receipts.iter().filter(|(_, of)| *of == receipt).count();
        patience.until = Some(patience.until.map_or(until, |earlier| earlier.min(until)));
        patience.to_begin.push(receipt);
    }

    /// Whether some work may begin before its changes are stored.
    pub(super) const fn may_begin(&self) -> bool {
        !self.patience.to_begin.is_empty()
    }

    /// Takes the receipts whose work may begin before the changes are stored; the changes wait from now on.
    pub(super) fn take_to_begin(&mut self) -> Vec<ReceiptId> {
        std::mem::take(&mut self.patience.to_begin)
    }

    /// Makes all changes commit in this turn.
    pub(super) const fn hurry(&mut self) {
        self.patience.is_over = true;
    }

    /// Number of changes that may wait.
    pub(super) const fn patient(&self) -> usize {
        self.patience.changes
    }

    /// Until when the whole batch waits for other changes; `None` if it does not wait.
    pub(super) fn waits_until(&self) -> Option<Monotonic> {
        let patience = &self.patience;
        if patience.is_over || !patience.to_begin.is_empty() {
            return None;
        }
        if let Some(gathering) = &self.gathering {
            let is_small = self.batch.changes.len() < GATHERED_MAX && gathering.bytes < GATHERED_MAX_BYTES;
            return gathering.since.filter(|_| is_small).map(|since| since + gathering.every);
        }
        patience.until.filter(|_| patience.changes == self.batch.changes.len())
    }

    /// Holds back the answers of a connection until the current changes are stored.
    pub(super) fn hold(&mut self, connection: ConnectionId) {
        self.held.insert(connection);
    }

    pub(super) fn is_held(&self, connection: ConnectionId) -> bool {
        let is_beside = self.beside.as_ref().is_some_and(|beside| beside.held.contains(&connection));
        is_beside || self.held.contains(&connection)
    }

    /// Takes all connections whose answers were held back, after the commit succeeded or failed.
    pub(super) fn take_held(&mut self, was_tried: bool) -> BTreeSet<ConnectionId> {
        match &mut self.beside {
            Some(beside) if was_tried => std::mem::take(&mut beside.held),
            _ => std::mem::take(&mut self.held),
        }
    }

    /// Notes that the commit of a batch is under way; what depends on it waits for [`Self::end_beside`].
    pub(super) fn begin_beside(&mut self, batch: &mut Batch) {
        if let Some(beside) = &mut self.beside {
            beside.is_under_way = true;
            beside.messages.append(&mut batch.messages);
            beside.held.append(&mut self.held);
        }
    }

    /// Notes the end of the commit under way; returns the messages that may be sent now.
    pub(super) fn end_beside(&mut self) -> Vec<Output> {
        let Some(beside) = &mut self.beside else { return Vec::new() };
        beside.is_under_way = false;
        std::mem::take(&mut beside.messages)
    }

    /// Whether there is nothing to commit now.
    pub(super) fn is_idle(&self) -> bool {
        let is_under_way = self.beside.as_ref().is_some_and(|beside| beside.is_under_way);
        self.batch.is_empty() || is_under_way || self.waits_until().is_some()
    }

    /// Number of changes of the current turn.
    pub(super) const fn pending(&self) -> usize {
        self.batch.changes.len()
    }

    pub(super) fn take_batch(&mut self) -> Batch {
        self.patience = Patience::default();
        if let Some(gathering) = &mut self.gathering {
            (gathering.since, gathering.bytes) = (None, 0);
        }
        std::mem::take(&mut self.batch)
    }

    /// Keeps the changes of a batch that could not be stored and whose result nobody awaits, before those of later
    /// turns if it was tried. Returns how many of the oldest were discarded.
    pub(super) fn keep_unstored(&mut self, batch: Batch, was_tried: bool) -> usize {
        let awaited: BTreeSet<usize> = batch.receipts.iter().map(|(index, _)| *index).collect();
        let is_in_doubt = was_tried && self.beside.is_some();
        let mut undone = Vec::new();
        let mut kept = VecDeque::new();
        for (index, change) in batch.changes.into_iter().enumerate() {
            if !awaited.contains(&index) {
                kept.push_back(change);
            } else if is_in_doubt {
                undone.extend(undo(&change));
            }
        }
        if was_tried {
            self.doubtful = if is_in_doubt { kept.len() } else { 0 };
            kept.extend(undone);
            kept.append(&mut self.unstored);
            self.unstored = kept;
        } else {
            self.unstored.append(&mut kept);
        }
        let surplus = self.unstored.len().saturating_sub(MAX_UNSTORED);
        self.unstored.drain(..surplus);
        self.doubtful = self.doubtful.saturating_sub(surplus);
        surplus
    }

    /// Notes the result of a commit; returns whether it differs from that of the previous one.
    pub(super) fn has_changed(&mut self, stored: bool) -> bool {
        std::mem::replace(&mut self.fails, !stored) == stored
    }

    pub(super) fn has_unstored(&self) -> bool {
        !self.unstored.is_empty()
    }

    pub(super) fn take_unstored(&mut self) -> Batch {
        let doubtful = std::mem::take(&mut self.doubtful);
        Batch { changes: std::mem::take(&mut self.unstored).into(), doubtful, ..Batch::default() }
    }
}

/// What takes back a change whose sender was told that it was not stored, although it may have been. Rows may stay.
fn undo(change: &StoreChange) -> Option<StoreChange> {
    match change {
        StoreChange::Queue(QueueChange::Put(QueuedRequest { head, .. })) => {
            Some(StoreChange::Queue(QueueChange::Delete { target: head.target, sequence: head.sequence }))
        }
        StoreChange::TakeToken(taken) => Some(StoreChange::GiveBackToken(taken.hash)),
        StoreChange::OpenToken { token, .. } => Some(StoreChange::CloseToken(token.clone())),
        _ => None,
    }
}

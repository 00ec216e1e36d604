//! What is written to the history: rows, the tokens that are open, and the receipts that tell what is stored.
//!
//! Who ends a token says so with the row ([`NewRow::last`]). Ended tokens, and rows of tokens that are watched, are
//! queued here; the core takes them to the rooms that want to know once the event in hand is done.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::code::Code;
use crate::model::history::{HistoryRow, RowOrigin, StoreChange, is_last_row};
use crate::model::node_id::NodeId;
use crate::model::time::WallTime;
use crate::model::token::Token;

use super::output::ReceiptId;

/// Rows whose storing is awaited at most.
const RECEIPTS_MAX: usize = 100_000;
/// Rows of watched tokens that wait to be told at most; more are dropped.
const SEEN_MAX: usize = 10_000;

/// Stands for what is masked, the argument with the password of a worker command.
const MASKED: &str = r#"-p \"***\""#;

/// What goes on once the database has spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// A PUTLOG is answered.
    PutLog,
    /// A sync goes on.
    Page,
    /// A COMMAND begins.
    Begin,
    /// Orders of Centreon Web are sent.
    #[cfg_attr(not(feature = "centreon"), expect(dead_code, reason = "of the module legacycmd"))]
    Orders,
}

/// A row to be written.
#[derive(Clone, Debug)]
pub(super) struct NewRow {
    pub token: Option<String>,
    pub code: Code,
    /// Seconds since the epoch; `None` for now.
    pub etime: Option<i64>,
    pub instant: bool,
    /// JSON text.
    pub data: String,
    /// Whether its token ends with it.
    pub is_last: bool,
    /// Whether it was taken over from a node.
    pub of_node: bool,
}

impl NewRow {
    fn new(token: Option<&Token>, code: Code, data: String, is_last: bool) -> Self {
        let token = token.map(|token| token.as_str().to_owned());
        Self { token, code, etime: None, instant: false, data, is_last, of_node: false }
    }

    /// A row of our own after which its token goes on.
    pub fn part(token: &Token, code: Code, data: String) -> Self {
        Self::new(Some(token), code, data, false)
    }

    /// The last row of a token.
    pub fn last(token: &Token, code: Code, data: String) -> Self {
        Self::new(Some(token), code, data, true)
    }

    /// A row of our own without a token.
    pub fn without_token(code: Code, data: String) -> Self {
        Self::new(None, code, data, false)
    }

    /// A row that somebody else has written: its text tells whether it is the last.
    pub fn foreign(token: Option<String>, code: Code, data: String) -> Self {
        let is_last = token.is_some() && is_last_row(code, &data);
        Self { token, ..Self::new(None, code, data, is_last) }
    }
}

impl NewRow {
    /// As it is stored.
    pub fn into_change(self, origin: Option<RowOrigin>, now: WallTime) -> StoreChange {
        let Self { token, code, instant, data, .. } = self;
        let etime = self.etime.unwrap_or_else(|| now.as_seconds());
        StoreChange::InsertRow(HistoryRow { id: 0, token, code, etime, ctime: 0.0, instant, data, origin })
    }
}

/// A token that has its last row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub token: String,
    /// The node that had not confirmed it.
    pub owed_by: Option<NodeId>,
    /// Whether a node brought the row.
    pub of_node: bool,
    /// The data of the row, where it ends with an error.
    pub error: Option<String>,
}

/// A row of a token that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub token: String,
    pub code: Code,
    pub data: String,
    pub is_last: bool,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Journal {
    receipts: BTreeMap<ReceiptId, Awaited>,
    next_receipt: u64,
    /// Tokens without an end, and the node that has not confirmed them.
    open: BTreeMap<Token, Option<NodeId>>,
    ended: VecDeque<Ended>,
    watched: BTreeSet<String>,
    seen: VecDeque<Seen>,
    /// Tokens of which somebody wants to know what became of them: those that their nodes have confirmed, and those
    /// that a node has not got.
    tracked: BTreeSet<Token>,
    confirmed: VecDeque<Token>,
    lost: VecDeque<Token>,
    /// Texts that no row of a token may show.
    masks: BTreeMap<Token, String>,
}

impl Journal {
    /// Takes a row; what is to be stored: the row, and the end of a token that was open.
    pub fn take(
        &mut self,
        row: NewRow,
        origin: Option<RowOrigin>,
        now: WallTime,
    ) -> (StoreChange, Option<StoreChange>) {
        let mut closed = None;
        let mut row = row;
        if let Some(token) = &row.token {
            if let Some(secret) = self.masks.get(token.as_str()) {
                row.data = row.data.replace(secret, MASKED);
            }
            self.watch_row(token, &row);
            if row.is_last {
                self.masks.remove(token.as_str());
                let open = self.open.remove_entry(token.as_str());
                let owed_by = open.as_ref().and_then(|(_, node)| *node);
                closed = open.map(|(token, _)| StoreChange::CloseToken(token));
                let error = (row.code == Code::FINISHED_KO).then(|| row.data.clone());
                self.ended.push_back(Ended { token: token.clone(), owed_by, of_node: row.of_node, error });
            }
        }
        (row.into_change(origin, now), closed)
    }

    fn watch_row(&mut self, token: &str, row: &NewRow) {
        if !self.watched.contains(token) {
            return;
        }
        if row.is_last {
            self.watched.remove(token);
        }
        if self.seen.len() < SEEN_MAX {
            let (token, data) = (token.to_owned(), row.data.clone());
            self.seen.push_back(Seen { token, code: row.code, data, is_last: row.is_last });
        }
    }

    /// From now on, up to its end, the rows of a token are seen.
    pub fn watch(&mut self, token: &Token) {
        self.watched.insert(token.as_str().to_owned());
    }

    /// Somebody wants to know whether a token's node has confirmed it, and sends it again if the node has not got it.
    #[cfg_attr(not(feature = "centreon"), expect(dead_code, reason = "of the module legacycmd"))]
    pub fn track(&mut self, token: &Token) {
        self.tracked.insert(token.clone());
    }

    /// It is of interest no more.
    #[cfg_attr(not(feature = "centreon"), expect(dead_code, reason = "of the module legacycmd"))]
    pub fn untrack(&mut self, token: &str) {
        self.tracked.remove(token);
    }

    /// Whether it is.
    pub fn is_tracked(&self, token: &Token) -> bool {
        self.tracked.contains(token)
    }

    /// A node has not got a token, as its history shows. Whether somebody sends it again.
    pub fn is_lost(&mut self, token: &Token) -> bool {
        let is_tracked = self.is_tracked(token);
        if is_tracked {
            self.lost.push_back(token.clone());
        }
        is_tracked
    }

    /// The next tracked token that its node has not got.
    pub fn next_lost(&mut self) -> Option<Token> {
        self.lost.pop_front()
    }

    /// The next tracked token that its node has confirmed.
    pub fn next_confirmed(&mut self) -> Option<Token> {
        self.confirmed.pop_front()
    }

    /// No row of a token shows a text from now on.
    #[cfg_attr(not(feature = "centreon"), expect(dead_code, reason = "of the module legacycmd"))]
    pub fn mask(&mut self, token: &Token, secret: String) {
        self.masks.insert(token.clone(), secret);
    }

    /// A text about a token without what is masked in it.
    pub fn masked<'a>(&self, token: &Token, text: Cow<'a, str>) -> Cow<'a, str> {
        match self.masks.get(token) {
            Some(secret) => Cow::Owned(text.replace(secret, MASKED)),
            None => text,
        }
    }

    /// The next row of a watched token.
    pub fn next_seen(&mut self) -> Option<Seen> {
        self.seen.pop_front()
    }

    /// The next token that has ended.
    pub fn next_ended(&mut self) -> Option<Ended> {
        self.ended.pop_front()
    }

    /// Whether a token has ended during the event in hand.
    pub fn has_just_ended(&self, token: &Token) -> bool {
        self.ended.iter().any(|ended| ended.token == token.as_str())
    }

    /// Whether a token is open, and which node has not confirmed it.
    pub fn opened_for(&self, token: &str) -> Option<Option<NodeId>> {
        self.open.get(token).copied()
    }

    /// A token is accepted.
    pub fn open(&mut self, token: &Token, node: Option<NodeId>) -> Option<StoreChange> {
        if self.open.get(token).is_some_and(|known| node.is_none() || *known == node) {
            return None;
        }
        self.open.insert(token.clone(), node);
        Some(StoreChange::OpenToken { token: token.clone(), node })
    }

    /// A token is accepted for work of our own; `None` where it is open already.
    pub fn open_first(&mut self, token: &Token) -> Option<StoreChange> {
        let is_new = self.open.insert(token.clone(), None).is_none();
        is_new.then(|| StoreChange::OpenToken { token: token.clone(), node: None })
    }

    /// A token is open since an earlier run, which has stored it.
    pub fn restore(&mut self, token: Token, node: Option<NodeId>) {
        self.open.insert(token, node);
    }

    /// A token does not count as open any more.
    pub fn close(&mut self, token: &str) -> Option<StoreChange> {
        if let Some(token) = self.tracked.take(token) {
            self.confirmed.push_back(token);
        }
        self.open.remove_entry(token).map(|(token, _)| StoreChange::CloseToken(token))
    }

    /// What was opened was not stored.
    pub fn forget(&mut self, token: &Token) {
        self.open.remove(token);
    }

    /// Whether a token is open.
    pub fn is_open(&self, token: &Token) -> bool {
        self.open.contains_key(token)
    }

    /// Whether nothing is handed to the database that it has not answered for.
    pub fn all_stored(&self) -> bool {
        self.receipts.is_empty()
    }

    pub const fn next_receipt(&self) -> ReceiptId {
        ReceiptId(self.next_receipt)
    }

    /// A receipt; `None` when too many are open.
    pub fn await_receipt(&mut self, awaited: Awaited) -> Option<ReceiptId> {
        (self.receipts.len() < RECEIPTS_MAX).then(|| self.insert(awaited))
    }

    /// A receipt for a page, of which each node has one at a time.
    pub fn await_page(&mut self) -> ReceiptId {
        self.insert(Awaited::Page)
    }

    fn insert(&mut self, awaited: Awaited) -> ReceiptId {
        let receipt = self.next_receipt();
        self.next_receipt += 1;
        self.receipts.insert(receipt, awaited);
        receipt
    }

    /// The database has spoken; what waits for it.
    pub fn stored(&mut self, receipt: ReceiptId) -> Option<Awaited> {
        self.receipts.remove(&receipt)
    }
}

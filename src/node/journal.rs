//! Writing to the history: rows, open tokens, and the receipts that report what is stored.
//!
//! The last row of a token is marked as such ([`NewRow::last`]). Ended tokens, and rows of watched tokens, are queued
//! here; after the current event the core passes them to the rooms that need them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::code::Code;
use crate::model::history::{HistoryRow, RowOrigin, StoreChange, is_last_row};
use crate::model::node_id::NodeId;
use crate::model::queue::RowTells;
use crate::model::time::WallTime;
use crate::model::token::Token;

use super::output::ReceiptId;

/// Maximum number of rows whose storing is awaited.
const RECEIPTS_MAX: usize = 100_000;
/// Maximum number of queued rows of watched tokens; more are dropped.
const SEEN_MAX: usize = 10_000;

/// Replaces the masked text, the argument with the password of a worker command.
const MASKED: &str = r#"-p \"***\""#;

/// What continues once the changes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The answer to a PUTLOG.
    PutLog,
    /// A sync.
    Page,
    /// The start of a COMMAND.
    Begin,
    /// A request for the queue.
    Queue,
    /// The first rows of requests for a pipe.
    Pipe,
    /// Orders of Centreon Web.
    #[cfg_attr(not(feature = "centreon"), expect(dead_code, reason = "of the module legacycmd"))]
    Orders,
}

#[derive(Clone, Debug)]
pub(super) struct NewRow {
    pub token: Option<String>,
    pub code: Code,
    /// Seconds since the epoch; `None` for now.
    pub etime: Option<i64>,
    pub instant: bool,
    /// The data as JSON text.
    pub data: String,
    /// Whether it ends its token.
    pub is_last: bool,
    /// Whether it was taken over from a node.
    pub of_node: bool,
}

impl NewRow {
    fn new(token: Option<&Token>, code: Code, data: String, is_last: bool) -> Self {
        let token = token.map(|token| token.as_str().to_owned());
        Self { token, code, etime: None, instant: false, data, is_last, of_node: false }
    }

    /// Returns a row of our own that does not end its token.
    pub fn part(token: &Token, code: Code, data: String) -> Self {
        Self::new(Some(token), code, data, false)
    }

    /// Returns the last row of a token.
    pub fn last(token: &Token, code: Code, data: String) -> Self {
        Self::new(Some(token), code, data, true)
    }

    /// Returns a row of our own without a token.
    pub fn without_token(code: Code, data: String) -> Self {
        Self::new(None, code, data, false)
    }

    /// Returns a row written by another daemon or a client; its content shows whether it is the last of its token.
    pub fn foreign(token: Option<String>, code: Code, data: String) -> Self {
        let is_last = token.is_some() && is_last_row(code, &data);
        Self { token, ..Self::new(None, code, data, is_last) }
    }
}

impl NewRow {
    /// Returns the row in the form that is stored.
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
    /// Whether the row came from a node.
    pub of_node: bool,
    /// The data of the row, if it is an error.
    pub error: Option<String>,
}

/// A row of a watched token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub token: String,
    pub code: Code,
    pub data: String,
    pub is_last: bool,
}

/// The open tokens, the queued rows, and the receipts.
#[derive(Debug, Default)]
pub(super) struct Journal {
    receipts: BTreeMap<ReceiptId, Awaited>,
    next_receipt: u64,
    /// Tokens without an end, and the nodes that have not confirmed them.
    open: BTreeMap<Token, Option<NodeId>>,
    ended: VecDeque<Ended>,
    watched: BTreeSet<String>,
    seen: VecDeque<Seen>,
    /// Tokens whose delivery is tracked: it is reported whether the node has confirmed or has not got them.
    tracked: BTreeSet<Token>,
    confirmed: VecDeque<Token>,
    lost: VecDeque<Token>,
    /// Tokens of work that a restart does not end: copies that are being put in place.
    working: BTreeSet<Token>,
    /// Texts that are masked in the rows of a token.
    masks: BTreeMap<Token, String>,
    /// Whether tokens of rows that nodes wrote are wanted.
    pub wants_tokens_of_nodes: bool,
    tokens_of_nodes: VecDeque<(Token, RowTells)>,
}

impl Journal {
    /// Takes a row. Returns what is to be stored: the row, and the end of its token if that was open.
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
                self.working.remove(token.as_str());
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

    /// Watches the rows of a token until its end.
    pub fn watch(&mut self, token: &Token) {
        self.watched.insert(token.as_str().to_owned());
    }

    /// Tracks a token: it is reported when its node has confirmed it or has not got it, and it can be sent again.
    #[cfg_attr(not(feature = "centreon"), expect(dead_code, reason = "of the module legacycmd"))]
    pub fn track(&mut self, token: &Token) {
        self.tracked.insert(token.clone());
    }

    /// Stops tracking a token.
    #[cfg_attr(not(feature = "centreon"), expect(dead_code, reason = "of the module legacycmd"))]
    pub fn untrack(&mut self, token: &str) {
        self.tracked.remove(token);
    }

    pub fn is_tracked(&self, token: &Token) -> bool {
        self.tracked.contains(token)
    }

    /// Notes that a node has not got a token, as its history shows. Returns whether the token is tracked and so sent
    /// again.
    pub fn is_lost(&mut self, token: &Token) -> bool {
        let is_tracked = self.is_tracked(token);
        if is_tracked {
            self.lost.push_back(token.clone());
        }
        is_tracked
    }

    /// Returns the next tracked token that its node has not got.
    pub fn next_lost(&mut self) -> Option<Token> {
        self.lost.pop_front()
    }

    /// Returns the next tracked token that its node has confirmed.
    pub fn next_confirmed(&mut self) -> Option<Token> {
        self.confirmed.pop_front()
    }

    /// Masks a text in all rows of a token from now on.
    #[cfg_attr(not(feature = "centreon"), expect(dead_code, reason = "of the module legacycmd"))]
    pub fn mask(&mut self, token: &Token, secret: String) {
        self.masks.insert(token.clone(), secret);
    }

    /// Returns a text about a token with the token's secret masked.
    pub fn masked<'a>(&self, token: &Token, text: Cow<'a, str>) -> Cow<'a, str> {
        match self.masks.get(token) {
            Some(secret) => Cow::Owned(text.replace(secret, MASKED)),
            None => text,
        }
    }

    /// Notes what a row of a node tells about a token.
    pub fn note_row_of_node(&mut self, token: &str, told: RowTells) {
        let is_new = |(last, before): &(Token, RowTells)| last.as_str() != token || *before != told;
        if self.tokens_of_nodes.back().is_none_or(is_new) {
            self.tokens_of_nodes.extend(Token::parse(token).map(|token| (token, told)));
        }
    }

    /// Returns the next token of which a node has written a row, and what the row tells.
    pub fn next_token_of_node(&mut self) -> Option<(Token, RowTells)> {
        self.tokens_of_nodes.pop_front()
    }

    /// Returns the next row of a watched token.
    pub fn next_seen(&mut self) -> Option<Seen> {
        self.seen.pop_front()
    }

    /// Returns the next token that has ended.
    pub fn next_ended(&mut self) -> Option<Ended> {
        self.ended.pop_front()
    }

    /// Returns whether a token has ended during the current event.
    pub fn has_just_ended(&self, token: &Token) -> bool {
        self.ended.iter().any(|ended| ended.token == token.as_str())
    }

    /// Returns whether a token is open, and which node has not confirmed it.
    pub fn opened_for(&self, token: &str) -> Option<Option<NodeId>> {
        self.open.get(token).copied()
    }

    /// Returns the number of open tokens.
    #[cfg_attr(not(feature = "status"), expect(dead_code, reason = "for reports"))]
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    pub fn open(&mut self, token: &Token, node: Option<NodeId>) -> Option<StoreChange> {
        if self.open.get(token).is_some_and(|known| node.is_none() || *known == node) {
            return None;
        }
        self.open.insert(token.clone(), node);
        Some(StoreChange::OpenToken { token: token.clone(), node })
    }

    /// Opens a token for work of our own. Returns `None` if it is already open.
    pub fn open_first(&mut self, token: &Token) -> Option<StoreChange> {
        let is_new = self.open.insert(token.clone(), None).is_none();
        is_new.then(|| StoreChange::OpenToken { token: token.clone(), node: None })
    }

    /// Opens a token of an earlier run, which has stored it.
    pub fn restore(&mut self, token: Token, node: Option<NodeId>) {
        self.open.insert(token, node);
    }

    pub fn close(&mut self, token: &str) -> Option<StoreChange> {
        if let Some(token) = self.tracked.take(token) {
            self.confirmed.push_back(token);
        }
        self.open.remove_entry(token).map(|(token, _)| StoreChange::CloseToken(token))
    }

    /// Forgets a token whose opening could not be stored.
    pub fn forget(&mut self, token: &Token) {
        self.open.remove(token);
    }

    pub fn is_open(&self, token: &Token) -> bool {
        self.open.contains_key(token)
    }

    /// Notes work that will end a token here, although the token does not count as open.
    pub fn work_on(&mut self, token: &Token) {
        self.working.insert(token.clone());
    }

    /// Notes that such work is over.
    pub fn work_is_over(&mut self, token: &Token) {
        self.working.remove(token);
    }

    /// Returns whether a token will still end here.
    pub fn is_under_way(&self, token: &Token) -> bool {
        self.open.contains_key(token) || self.working.contains(token)
    }

    /// Returns whether the database has answered for everything that it was given.
    pub fn all_stored(&self) -> bool {
        self.receipts.is_empty()
    }

    pub const fn next_receipt(&self) -> ReceiptId {
        ReceiptId(self.next_receipt)
    }

    /// Returns a receipt; `None` if too many are open.
    pub fn await_receipt(&mut self, awaited: Awaited) -> Option<ReceiptId> {
        (self.receipts.len() < RECEIPTS_MAX).then(|| self.insert(awaited))
    }

    /// Returns a receipt for a page. Each node has one page at a time.
    pub fn await_page(&mut self) -> ReceiptId {
        self.insert(Awaited::Page)
    }

    fn insert(&mut self, awaited: Awaited) -> ReceiptId {
        let receipt = self.next_receipt();
        self.next_receipt += 1;
        self.receipts.insert(receipt, awaited);
        receipt
    }

    /// Takes the database's answer for a receipt. Returns what was waiting for it.
    pub fn stored(&mut self, receipt: ReceiptId) -> Option<Awaited> {
        self.receipts.remove(&receipt)
    }
}

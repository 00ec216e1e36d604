//! The tables of a machine's disk for requests that wait for nodes, and for tokens that were taken.

use std::collections::{BTreeMap, BTreeSet};

use stheno::model::history::{HistoryRow, TakenToken};
use stheno::model::node_id::NodeId;
use stheno::model::queue::{
    Known, QueueAnswer, QueueChange, QueueQuery, QueueStored, QueueSummary, QueuedHead, QueuedRequest, RowTells,
};
use stheno::model::token::Token;

/// Requests that one answer holds at most: few, so that there are several answers.
const PAGE_MAX: usize = 5;

#[derive(Default)]
pub struct Outbox {
    requests: BTreeMap<(NodeId, i64), QueuedRequest>,
    asked: BTreeMap<i64, i64>,
    clock: i64,
    /// The tokens that were taken, the oldest first, and whether their work begins with a row.
    pub taken: Vec<(i64, bool)>,
    /// The tokens that may end late, the oldest first.
    pub late: Vec<i64>,
}

impl Outbox {
    /// Applies a change. Returns whether it was made, as the program's own store does.
    pub fn apply(&mut self, change: QueueChange) -> bool {
        match change {
            QueueChange::Put(request) => {
                if self.of_token(&request.head.token).is_some() {
                    return false;
                }
                self.requests.insert((request.head.target, request.head.sequence), request);
            }
            QueueChange::Delete { target, sequence } => {
                self.requests.remove(&(target, sequence));
            }
            QueueChange::MarkSent { target, from, to, history } => {
                let range = self.requests.range_mut((target, from)..=(target, to.max(from)));
                for head in range.map(|(_, request)| &mut request.head).filter(|head| head.sequence <= to) {
                    if head.sent == 0 && head.not_before == 0 {
                        head.sent = history;
                    }
                }
            }
            QueueChange::Release { target, sequence, place } => {
                if let Some(mut request) = self.requests.remove(&(target, sequence)) {
                    (request.head.sequence, request.head.not_before) = (place, 0);
                    self.requests.insert((target, place), request);
                }
            }
            QueueChange::Postpone { target, sequence, expires } => {
                if let Some(request) = self.requests.get_mut(&(target, sequence)) {
                    request.head.expires = expires;
                }
            }
            QueueChange::PutAsked { hash, request, .. } => {
                self.asked.insert(hash, request);
            }
            QueueChange::PutClock(ahead) => self.clock = ahead,
        }
        true
    }

    pub fn take(&mut self, token: &TakenToken) {
        self.taken.retain(|(hash, _)| *hash != token.hash);
        self.taken.push((token.hash, token.begins_with_row));
    }

    fn of_token(&self, token: &Token) -> Option<&QueuedHead> {
        self.heads().find(|head| head.token == *token)
    }

    pub fn heads(&self) -> impl Iterator<Item = &QueuedHead> {
        self.requests.values().map(|request| &request.head)
    }

    /// The last time for which a request waits, in seconds; 0 if none does.
    pub fn last_begin(&self) -> i64 {
        self.heads().map(|head| head.not_before).max().unwrap_or(0)
    }

    /// How many requests are stored for each node.
    pub fn depths(&self) -> BTreeMap<NodeId, usize> {
        let mut depths = BTreeMap::new();
        self.heads().for_each(|head| *depths.entry(head.target).or_default() += 1);
        depths
    }

    pub fn answer(&self, query: &QueueQuery, rows: &[HistoryRow]) -> QueueAnswer {
        match query {
            QueueQuery::Page { target, after, limit, .. } => {
                let behind = self.requests.range((*target, after + 1)..=(*target, i64::MAX));
                let ready = behind.map(|(_, request)| request).filter(|request| request.head.not_before == 0);
                QueueAnswer::Page(ready.take(PAGE_MAX.min(*limit)).cloned().collect())
            }
            QueueQuery::Due { now, wall } => {
                let expired: Vec<_> = self.heads().filter(|head| head.expires <= *now).cloned().collect();
                let is_begun = |head: &&QueuedHead| (1..=*wall).contains(&head.not_before) && head.expires > *now;
                let mut begun: Vec<_> = self.heads().filter(is_begun).cloned().collect();
                begun.sort_by_key(|head| (head.not_before, head.sequence));
                let later = self.heads().map(|head| head.expires).filter(|expires| expires > now);
                let begins = self.heads().map(|head| head.not_before).filter(|begin| begin > wall);
                QueueAnswer::Due { expired, begun, next_expiry: later.min(), next_begin: begins.min() }
            }
            QueueQuery::List { target, after, limit } => {
                let is_meant = |head: &&QueuedHead| target.is_none_or(|target| head.target == target);
                let mut heads: Vec<_> = self.heads().filter(is_meant).cloned().collect();
                heads.retain(|head| head.sequence > *after);
                heads.sort_by_key(|head| head.sequence);
                let more = heads.len() > *limit;
                heads.truncate(*limit);
                QueueAnswer::List(heads, more)
            }
            QueueQuery::Find(token) => {
                let mut of_token = rows.iter().filter(|row| row.token.as_deref() == Some(token.as_str()));
                QueueAnswer::Found(Known {
                    queued: self.of_token(token).cloned(),
                    asked: self.asked.get(&token.digest()).copied(),
                    has_rows: of_token.clone().next().is_some(),
                    has_ended: of_token.any(HistoryRow::is_last),
                })
            }
        }
    }

    pub fn stored(&self) -> QueueStored {
        let targets: BTreeSet<NodeId> = self.heads().map(|head| head.target).collect();
        let summary = |target: NodeId| {
            let heads: Vec<_> = self.heads().filter(|head| head.target == target).collect();
            let scheduled = heads.iter().filter(|head| head.not_before != 0).count();
            QueueSummary {
                target,
                ready: heads.len() - scheduled,
                scheduled,
                bytes: heads.iter().map(|head| head.len_bytes).sum(),
                oldest: heads.iter().map(|head| head.created).min().unwrap_or(0),
            }
        };
        QueueStored {
            nodes: targets.into_iter().map(summary).collect(),
            sent: self.heads().filter(|head| head.sent != 0).cloned().collect(),
            last: self.heads().map(|head| head.sequence).max().unwrap_or(0),
            clock: self.clock,
        }
    }

    /// The open tokens that were taken and not begun.
    pub fn not_begun(&self, open: &BTreeMap<Token, Option<NodeId>>, rows: &[HistoryRow]) -> Vec<Token> {
        let begins: BTreeSet<i64> = self.taken.iter().filter(|(_, begins)| *begins).map(|(hash, _)| *hash).collect();
        let is_taken = |(token, node): &(&Token, &Option<NodeId>)| node.is_none() && begins.contains(&token.digest());
        let tokens = open.iter().filter(is_taken).map(|(token, _)| token);
        let last_row = |token: &Token| rows.iter().rev().find(|row| row.token.as_deref() == Some(token.as_str()));
        tokens
            .filter(|token| last_row(token).is_none_or(|row| RowTells::by(&row.data) == RowTells::Back))
            .cloned()
            .collect()
    }
}

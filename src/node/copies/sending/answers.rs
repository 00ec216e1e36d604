//! Answers of the receiver of a copy: confirmations, and, between daemons of our own kind, the data that it already
//! has.

use serde::Deserialize;
use serde_json::Value;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::copy::{CopyFailure, CopyKind, DigestKind, SourceId, SourceStep};
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use super::{Sender, State, full_bytes};
use crate::node::copies::ending::failure_row;
use crate::node::json;
use crate::node::sync::asking;

/// The data of a confirmation from a receiver of our own kind.
#[derive(Default, Deserialize)]
struct Answer {
    /// From a relay: why it cannot pass the copy on.
    #[serde(default)]
    failed: Option<String>,
    #[serde(default)]
    query: Value,
    #[serde(default)]
    received: Value,
    #[serde(default)]
    md5: Value,
    #[serde(default)]
    same_size: bool,
    /// The pieces of what the receiver has.
    #[serde(default)]
    pieces: String,
    #[serde(default)]
    unchanged: bool,
    /// The receiver takes a directory by difference.
    #[serde(default)]
    manifest: bool,
    /// What it needs of a manifest.
    #[serde(default)]
    need: Option<String>,
    #[serde(default)]
    look: String,
    #[serde(default)]
    next: Option<u64>,
    /// From a relay: the receiver, or the next relay, is not of our own kind.
    #[serde(default)]
    plain: bool,
    /// From a relay: the route behind it is broken, or not known yet.
    #[serde(default)]
    interrupted: bool,
}

impl Sender<'_> {
    /// Asks a receiver of our own kind what it has.
    pub(super) fn ask_receiver(&mut self, source: SourceId, md5: Option<String>, keep: Option<u64>) {
        self.sending.next_query += 1;
        let number = self.sending.next_query;
        let sender = self.context.own_id.filter(|_| self.sending.is_alone(source));
        let Some(copy) = self.sending.all.get_mut(&source) else { return };
        let is_tree = copy.kind == CopyKind::Manifest || copy.by_difference;
        if copy.state == State::Interrupted && is_tree && copy.has_answer {
            // Another manifest, and then the archive again: if it is the same, it goes on where it was.
            return self.open(source);
        }
        if copy.kind == CopyKind::Manifest {
            return self.ask_for_difference(source, number);
        }
        let data = copy.request.query(copy.kind, (number, copy.total, keep), md5.as_deref(), sender, copy.digest);
        copy.may_have_ended |= md5.is_some();
        copy.state = State::Asking { number, md5 };
        let (through, message) = (copy.route.through, copy.message(data));
        self.nodes.send(self.context, through, message);
        self.await_progress(source);
    }

    /// Handles a node's reply to the token of a copy. Returns `false` if it belongs to no copy.
    pub(in crate::node) fn confirmed(&mut self, through: NodeId, token: &Token, code: Code, data: &str) -> bool {
        let (now, full_bytes) = (self.context.now.monotonic, full_bytes(self.context.proxy_settings().buffer_size));
        let Some(source) = self.sending.of_token(token.as_str()) else { return false };
        let Some(copy) = self.sending.all.get_mut(&source) else { return false };
        if copy.route.through != through {
            return true;
        }
        if code.is_terminal() {
            self.receiver_gave_up(source, code, data);
            return true;
        }
        let answer: Answer = serde_json::from_str(data).unwrap_or_default();
        let received = json::integer(&answer.received).and_then(|received| u64::try_from(received).ok());
        match &copy.state {
            State::Queued | State::Opening | State::AwaitingKind | State::Interrupted => {}
            State::Asking { number, .. } | State::Differing { number, .. }
                if json::integer(&answer.query) != i64::try_from(*number).ok() => {}
            _ if answer.interrupted => self.way_is_broken(source),
            // A restarted relay may not know yet what is behind it.
            State::Asking { .. } | State::Differing { .. } if answer.failed.is_some() && copy.has_answer => {
                self.way_is_broken(source);
            }
            _ if answer.failed.is_some() => {
                let failure = CopyFailure { message: answer.failed.unwrap_or_default(), detail: String::new() };
                self.fail(source, &failure);
            }
            State::Asking { .. } if answer.plain => self.copy_plainly(source),
            State::Asking { .. } if copy.kind == CopyKind::Manifest => {
                self.difference_answered(source, answer.manifest)
            }
            State::Differing { md5, .. } => {
                if let Some(need) = answer.need {
                    let (md5, next) = (md5.clone(), answer.next);
                    copy.state = State::Selecting { md5, next };
                    self.source_step(source, SourceStep::Select { need, look: answer.look });
                }
            }
            State::Asking { md5, .. } => {
                let has_digest = md5.is_some();
                self.receiver_answered(source, &answer, received.unwrap_or(0), has_digest);
            }
            State::Sending | State::Finishing | State::Confirming { .. } => {
                let before = copy.in_flight.len();
                match received {
                    Some(received) => copy.in_flight.retain(|end| *end > received),
                    None => drop(copy.in_flight.pop_front()),
                }
                for _ in copy.in_flight.len()..before {
                    copy.speed.confirmed(now, full_bytes);
                }
                self.await_progress(source);
                self.go_on(source);
            }
            State::Digesting
            | State::Rewinding { .. }
            | State::Comparing { .. }
            | State::Selecting { .. }
            | State::Packing { .. } => {}
        }
        true
    }

    fn receiver_answered(&mut self, source: SourceId, answer: &Answer, received: u64, has_digest: bool) {
        let Some(copy) = self.sending.all.get_mut(&source) else { return };
        copy.has_answer = true;
        copy.may_have_ended = false;
        copy.retry_until = None;
        if answer.unchanged {
            // The receiver has written its last row, and a sync brings it.
            let code = Code::FINISHED_OK;
            return self.receiver_gave_up(source, code, &json::message("process copy finished successfully"));
        }
        let md5 = answer.md5.as_str().unwrap_or_default().to_owned();
        if answer.same_size && !has_digest && copy.kind == CopyKind::Regular {
            copy.state = State::Digesting;
            return self.source_step(source, SourceStep::Digest(DigestKind::of(&md5)));
        }
        let kind = DigestKind::of(&md5);
        copy.state = State::Rewinding { received, md5, pieces: answer.pieces.clone() };
        self.source_step(source, SourceStep::Rewind(received, kind));
    }

    /// Handles the end of a copy by the receiver, which has written its row. Its reply becomes the row if that never
    /// arrives.
    fn receiver_gave_up(&mut self, source: SourceId, code: Code, data: &str) {
        let Some(copy) = self.forget(source) else { return };
        let through = copy.route.through;
        let Some(node) = self.nodes.get_mut(through) else {
            let failure = CopyFailure { message: "remote copy failed".to_owned(), detail: String::new() };
            return failure_row(self.context, &copy.token, &failure);
        };
        if through != copy.route.target && node.sync.is_of_our_kind() {
            // The row is in the history of the receiver, and the relay passes it on later.
            self.context.close_token(copy.token.as_str());
            asking::sync_soon(self.context, self.nodes, through);
            return self.start_queued();
        }
        node.owed.sent(copy.token.clone(), &Action::ProcessCopy, node.sync.serial, false);
        let (_, sync) = node.owed.replied(&copy.token, code, data, node.sync.serial);
        if sync {
            asking::sync_soon(self.context, self.nodes, through);
        }
        self.start_queued();
    }
}

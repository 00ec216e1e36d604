//! PROCESSCOPY messages that we pass on to a node behind us: the sender hears of each as soon as there is room for the next,
//! and one that waits for nothing is read no further (protocol.md sections 5 and 12).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Deserialize;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::message::{Message, Reply};
use crate::model::node_id::NodeId;
use crate::model::registration::NodeKind;
use crate::model::token::Token;

use super::core::Core;
use super::json;
use super::output::Output;
use super::pathway::Route;
use super::registry::Node;
use super::requests::{Handled, Peer};

/// Bytes of one client that may be on their way before it is read no further, and below which it is read again.
const HIGH_BYTES: usize = 4 << 20;
const LOW_BYTES: usize = 1 << 20;

/// One message on its way.
#[derive(Debug)]
struct Passed {
    token: Token,
    client: Option<ClientId>,
    wants_reply: bool,
    is_end: bool,
    len_bytes: usize,
}

/// What is on its way, by the node that it went to.
#[derive(Debug, Default)]
pub(super) struct RelayedCopies {
    passed: BTreeMap<NodeId, VecDeque<Passed>>,
    bytes: BTreeMap<ClientId, usize>,
    paused: BTreeSet<ClientId>,
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow, default)]
    content: Option<Inner<'a>>,
}

#[derive(Deserialize)]
struct Inner<'a> {
    #[serde(borrow, default)]
    status: Option<&'a str>,
}

impl Core {
    /// A PROCESSCOPY whose target is not here.
    ///
    /// # Errors
    /// The message of the row that ends the token.
    pub(super) fn relay_copy(
        &mut self,
        peer: Peer,
        token: &Token,
        route: Route,
        data: String,
    ) -> Result<Handled, String> {
        let is_ssh = |node: &Node| matches!(node.registration.kind, NodeKind::PushSsh(_));
        if self.registry.get(route.through).is_some_and(is_ssh) {
            self.may_use_ssh()?;
            return Ok(self.process_copy_by_ssh(peer, token, data, route));
        }
        let outer: Outer<'_> = serde_json::from_str(&data).map_err(|_| "proxy - cannot decode json".to_owned())?;
        let is_end = outer.content.and_then(|content| content.status) == Some("end");
        let Some(node) = self.registry.get_mut(route.through) else {
            return Err(format!("proxy - no pathway for target {}", route.target));
        };
        match node.registration.kind {
            NodeKind::PushZmq { .. } | NodeKind::PushSsh(_) => {}
            NodeKind::Pull | NodeKind::WebSocket => node.reachable()?,
        }
        let room_of = node.dials_in().then_some(node.client);
        if is_end {
            if node.outbox.is_full() {
                let through = route.through;
                return Err(format!("proxy - too many messages to node '{through}' wait to be confirmed"));
            }
            if node.outbox.sent(token.clone(), &Action::ProcessCopy, node.sync.serial, false) {
                self.open_token(token, Some(route.through));
            }
        }
        let (client, len_bytes) = (peer.client(), data.len());
        let wants_reply = matches!(peer, Peer::Client(_) | Peer::ClientWithoutToken(_));
        let passed = Passed { token: token.clone(), client, wants_reply, is_end, len_bytes };
        self.relayed_copies.passed.entry(route.through).or_default().push_back(passed);
        if let Some(client) = client {
            let bytes = self.relayed_copies.bytes.entry(client).or_default();
            *bytes += len_bytes;
            if *bytes > HIGH_BYTES && self.relayed_copies.paused.insert(client) {
                self.pause_sender(client, true);
            }
        }
        let target = Some(route.target_field());
        let message = Message { action: Action::ProcessCopy, token: Some(token.clone()), target, data };
        self.send_to_node(route.through, message);
        if let Some(client) = room_of {
            self.output(Output::AwaitRoom { node: route.through, client });
        }
        Ok(Handled::Later)
    }

    /// A push node confirmed a message; whether that was one before the last, which nobody else knows of.
    pub(super) fn relayed_copy_confirmed(&mut self, through: NodeId, token: &Token, code: Code, data: &str) -> bool {
        let Some(passed) = self.take_relayed(through, token) else { return false };
        self.settle_relayed(&passed, code, data);
        !passed.is_end
    }

    fn take_relayed(&mut self, through: NodeId, token: &Token) -> Option<Passed> {
        let passed = self.relayed_copies.passed.get_mut(&through)?;
        let at = passed.iter().position(|passed| passed.token == *token)?;
        passed.remove(at)
    }

    /// Little waits to be sent to a node that dials in: it confirms nothing, so this has to do.
    pub(super) fn room_for_relayed(&mut self, through: NodeId) {
        for passed in self.relayed_copies.passed.remove(&through).unwrap_or_default() {
            self.settle_relayed(&passed, Code::BEGIN, "null");
        }
    }

    /// The way to a node broke: the copies that were on it are over.
    pub(super) fn relayed_link_down(&mut self, through: NodeId) {
        let lost = self.relayed_copies.passed.remove(&through).unwrap_or_default();
        let text = format!("proxy - connection to node '{through}' was lost during the copy");
        let mut ended = BTreeSet::new();
        for passed in lost {
            self.settle_relayed(&passed, Code::FINISHED_KO, &json::message(&text));
            // One that the outbox knows ends with the next sync, if it did not arrive.
            let is_owed = self.registry.get(through).is_some_and(|node| node.outbox.owes(&passed.token));
            if !is_owed && ended.insert(passed.token.clone()) {
                self.end_with_error(&passed.token, &text);
            }
        }
    }

    /// A message left the link's queue unsent. Whether it was one before the last.
    pub(super) fn relayed_not_sent(&mut self, through: NodeId, token: &Token, text: &str) -> bool {
        let Some(passed) = self.take_relayed(through, token) else { return false };
        self.settle_relayed(&passed, Code::FINISHED_KO, &json::message(text));
        !passed.is_end
    }

    fn settle_relayed(&mut self, passed: &Passed, code: Code, data: &str) {
        let Some(client) = passed.client else { return };
        if passed.wants_reply {
            let token = Some(passed.token.clone());
            self.reply(client, Reply { kind: Action::Ack, token, code, data: data.to_owned() });
        }
        let Some(bytes) = self.relayed_copies.bytes.get_mut(&client) else { return };
        *bytes = bytes.saturating_sub(passed.len_bytes);
        let bytes = *bytes;
        if bytes == 0 {
            self.relayed_copies.bytes.remove(&client);
        }
        if bytes < LOW_BYTES && self.relayed_copies.paused.remove(&client) {
            self.pause_sender(client, false);
        }
    }
}

//! A second connection that registers as a node which is connected already.
//!
//! The same daemon that comes again says so (`instance`) and is taken at once. Of any other the older connection is
//! asked first: while it answers, the newcomer is refused; when it stays silent, the newcomer takes its place. With
//! `id_twice: replace` the newer connection counts always.

use std::time::Duration;

use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::message::Reply;
use crate::model::node_id::NodeId;
use crate::model::registration::NodeKind;

use super::{Core, Newcomer};
use crate::model::action::Action;
use crate::node::json;
use crate::node::liveness::ping;
use crate::node::nodes::node::Link;
use crate::node::output::{Output, Twice};
use crate::node::timers::Timer;

/// How long the older connection may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

impl Core {
    /// Whether a newcomer has to wait until the older connection of its node was asked. It is bound or refused later.
    pub(super) fn must_wait(&mut self, newcomer: &Newcomer) -> bool {
        let id = newcomer.registration.id;
        let Some(node) = self.nodes.get(id).filter(|node| node.link == Link::Up && node.dials_in()) else {
            return false;
        };
        let Some(older) = node.client.filter(|older| *older != newcomer.client) else {
            self.older_answers(id);
            return false;
        };
        let is_same_daemon = newcomer.instance.is_some() && node.instance == newcomer.instance;
        if is_same_daemon || self.context.proxy_settings().replaces_twice {
            return false;
        }
        match self.dialled_in.rivals.get(&id) {
            Some(rival) if rival.client == newcomer.client => {}
            Some(_) => self.refuse_rival(older, newcomer.clone()),
            None => {
                self.dialled_in.rivals.insert(id, newcomer.clone());
                self.context.timers.set(Timer::Rival(id), self.context.now.monotonic + PATIENCE);
                self.nodes.send(&mut self.context, id, ping());
            }
        }
        true
    }

    /// Whether a client waits for the older connection of its node to be asked.
    pub(super) fn is_rival(&self, client: ClientId) -> bool {
        self.dialled_in.rivals.values().any(|rival| rival.client == client)
    }

    /// The older connection of a node says something: it lives.
    pub(super) fn older_answers(&mut self, id: NodeId) {
        if let Some(rival) = self.take_rival(id)
            && let Some(older) = self.nodes.get(id).and_then(|node| node.client)
        {
            self.refuse_rival(older, rival);
        }
    }

    /// [`Timer::Rival`], or the older connection is gone.
    pub(in crate::node) fn older_is_silent(&mut self, id: NodeId) {
        let Some(rival) = self.take_rival(id) else { return };
        let client = rival.client;
        match self.bind_now(rival) {
            Ok(()) => {}
            Err(reason) if self.is_web_socket(id) => self.refuse_web_socket(client, &reason),
            Err(reason) => self.log_refusal(client, &reason),
        }
    }

    /// A client is gone, which may have been a newcomer.
    pub(super) fn rival_is_gone(&mut self, client: ClientId) {
        let gone = self.dialled_in.rivals.iter().find(|(_, rival)| rival.client == client).map(|(id, _)| *id);
        if let Some(id) = gone {
            self.take_rival(id);
        }
    }

    fn take_rival(&mut self, id: NodeId) -> Option<Newcomer> {
        let rival = self.dialled_in.rivals.remove(&id)?;
        self.context.timers.cancel(&Timer::Rival(id));
        Some(rival)
    }

    fn refuse_rival(&mut self, older: ClientId, rival: Newcomer) {
        let Newcomer { client, registration, .. } = rival;
        let id = registration.id;
        self.context.output(Output::NodeMoved { node: id, before: older, client, twice: Twice::Refused });
        let text = format!("another daemon is connected as node '{id}' and answers");
        if registration.kind == NodeKind::WebSocket {
            let refusal = serde_json::json!({ "code": 500, "message": text }).to_string();
            return self.context.output(Output::CloseClient { client, refusal: Some(refusal) });
        }
        let data = json::message(&text);
        self.context.reply(client, Reply { kind: Action::Ack, token: None, code: Code::FINISHED_KO, data });
    }

    fn is_web_socket(&self, id: NodeId) -> bool {
        self.nodes.get(id).is_some_and(|node| node.registration.kind == NodeKind::WebSocket)
    }
}

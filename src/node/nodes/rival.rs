//! A second connection that registers as a node which is already connected.
//!
//! A reconnection of the same daemon is recognised by `instance` and accepted at once. In any other case the older
//! connection is pinged first: if it answers, the newcomer is refused; if it stays silent, the newcomer takes its
//! place. With `id_twice: replace` the newer connection is always accepted.

use std::time::Duration;

use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::message::Reply;
use crate::model::node_id::NodeId;

use super::Nodes;
use super::newcomer::Newcomer;
use super::node::Link;
use super::pings::ping;
use crate::model::action::Action;
use crate::node::context::Context;
use crate::node::json;
use crate::node::output::{Output, Twice};
use crate::node::timers::Timer;

/// Maximum time that the older connection has to answer.
const PATIENCE: Duration = Duration::from_secs(5);

impl Nodes {
    /// Returns whether a newcomer has to wait while the older connection of its node is pinged. It is bound or refused
    /// later.
    pub(super) fn must_wait(&mut self, context: &mut Context, newcomer: &Newcomer) -> bool {
        let id = newcomer.registration.id;
        let Some(node) = self.get(id).filter(|node| node.link == Link::Up && node.dials_in()) else {
            return false;
        };
        let Some(older) = node.client.filter(|older| *older != newcomer.client) else {
            self.older_answers(context, id);
            return false;
        };
        let is_same_daemon = newcomer.instance.is_some() && node.instance == newcomer.instance;
        if is_same_daemon || context.proxy_settings().replaces_twice {
            return false;
        }
        match self.rivals.get(&id) {
            Some(rival) if rival.client == newcomer.client => {}
            Some(_) => self.refuse_rival(context, older, newcomer.clone()),
            None => {
                self.rivals.insert(id, newcomer.clone());
                context.timers.set(Timer::Rival(id), context.now.monotonic + PATIENCE);
                self.send(context, id, ping());
            }
        }
        true
    }

    /// Returns whether a client waits for the ping of the older connection of its node.
    pub(in crate::node) fn is_rival(&self, client: ClientId) -> bool {
        self.rivals.values().any(|rival| rival.client == client)
    }

    /// Handles a message of the older connection of a node, which shows that it is alive.
    pub(in crate::node) fn older_answers(&mut self, context: &mut Context, id: NodeId) {
        if let Some(rival) = self.take_rival(context, id)
            && let Some(older) = self.get(id).and_then(|node| node.client)
        {
            self.refuse_rival(context, older, rival);
        }
    }

    /// Handles [`Timer::Rival`], or the end of the older connection.
    pub(in crate::node) fn older_is_silent(&mut self, context: &mut Context, id: NodeId) {
        let Some(rival) = self.take_rival(context, id) else { return };
        let client = rival.client;
        match self.bind_now(context, rival) {
            Ok(()) => {}
            Err(reason) if self.is_web_socket(id) => self.refuse_web_socket(context, client, &reason),
            Err(reason) => self.log_refusal(context, client, &reason),
        }
    }

    /// Handles the end of a client that may be a waiting newcomer.
    pub(super) fn rival_is_gone(&mut self, context: &mut Context, client: ClientId) {
        let gone = self.rivals.iter().find(|(_, rival)| rival.client == client).map(|(id, _)| *id);
        if let Some(id) = gone {
            self.take_rival(context, id);
        }
    }

    fn take_rival(&mut self, context: &mut Context, id: NodeId) -> Option<Newcomer> {
        let rival = self.rivals.remove(&id)?;
        context.timers.cancel(&Timer::Rival(id));
        Some(rival)
    }

    fn refuse_rival(&mut self, context: &mut Context, older: ClientId, rival: Newcomer) {
        let Newcomer { client, registration, .. } = rival;
        let id = registration.id;
        context.output(Output::NodeMoved { node: id, before: older, client, twice: Twice::Refused });
        let text = format!("another daemon is connected as node '{id}' and answers");
        if registration.kind.is_web_socket() {
            let refusal = serde_json::json!({ "code": 500, "message": text }).to_string();
            return context.output(Output::CloseClient { client, refusal: Some(refusal) });
        }
        let data = json::message(&text);
        context.reply(client, Reply { kind: Action::Ack, token: None, code: Code::FINISHED_KO, data });
    }

    fn is_web_socket(&self, id: NodeId) -> bool {
        self.get(id).is_some_and(|node| node.registration.kind.is_web_socket())
    }
}

//! The path of a request from its arrival to the part that handles it: this daemon, a module, or the proxy
//! (docs/protocol.md sections 1 and 4).

use crate::model::action::{Action, Module};
use crate::model::api::{ApiCall, CallId};
use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::log::LogLine;
use crate::model::message::{Message, Reply};
use crate::model::node_id::NodeId;
use crate::model::token::Token;
use crate::node::peer::Handled;
use crate::node::peer::Peer;

use super::Core;
use crate::node::api::{self, Plan, Started};
use crate::node::copies::fetch::serving::Request;
use crate::node::copies::held::Held;
use crate::node::counters::Way;
use crate::node::modules::action::cancelling::{self, CancelRequest};
use crate::node::phase::STOPPING_TEXT;
use crate::node::queue::options;
use crate::node::queue::relaying::{self, Passed};
use crate::node::sync::asking;
use crate::node::{core_actions, core_settings, json, loading, masked};

impl Core {
    /// Handles a message of a client.
    pub(super) fn client_message(&mut self, client: ClientId, message: Message) {
        if let Err(text) = self.guard.admit(&mut self.context, client, &message) {
            return self.refuse_client(client, message.token, &text);
        }
        if self.said_by_pull_node(client, &message) {
            return;
        }
        let Message { action, token, target, data } = message;
        let peer = if token.is_some() { Peer::Client(client) } else { Peer::ClientWithoutToken(client) };
        let token = token.unwrap_or_else(|| self.context.generate_token());
        let target = target.unwrap_or_default();
        match self.request(peer, action, &token, &target, data) {
            Handled::Reply(kind, code, data) => {
                self.context.reply(client, Reply { kind, token: Some(token), code, data })
            }
            Handled::Later => {}
        }
    }

    /// Refuses a request that a client may not make: ends its token and answers it.
    fn refuse_client(&mut self, client: ClientId, token: Option<Token>, text: &str) {
        if let Some(token) = &token {
            self.context.fail(token, text);
        }
        let data = json::message(text);
        self.context.reply(client, Reply { kind: Action::Ack, token, code: Code::FINISHED_KO, data });
    }

    /// Handles a malformed message of a client.
    pub(super) fn client_malformed(&mut self, client: ClientId, token: Option<Token>, reason: &str) {
        self.malformed.note(&mut self.context, client, reason);
        let data = json::message("request not well formatted");
        self.context.reply(client, Reply { kind: Action::Ack, token, code: Code::FINISHED_KO, data });
    }

    /// Runs a request. An empty `target` and our own id mean this daemon.
    pub(super) fn request(&mut self, peer: Peer, action: Action, token: &Token, target: &str, data: String) -> Handled {
        if self.context.debug {
            let way = if peer == Peer::Ourselves { "internal" } else { "external" };
            let shown = self.context.journal.masked(token, masked::without_secrets(&data));
            let text = format!("Message received {way} - [{}] [{token}] [{target}] {shown}", action.as_str());
            self.context.log(LogLine::debug("core", text).of_token(token));
        }
        if action == Action::Ack {
            // Its token is that of a request, which it must not end. It gets no answer, which would be one more.
            if peer.client().is_some_and(|client| client.parent().is_none()) {
                let _accepted = self.malformed.answer_of_no_node(&mut self.context, peer, &action);
            }
            return Handled::Later;
        }
        let named = self.context.names.target(target).map(|id| id.to_string());
        let target = named.as_deref().unwrap_or(target);
        let here = target.is_empty() || self.context.is_own(target);
        let is_foreign = here && !self.context.is_known(&action);
        let delegate = if is_foreign { self.context.delegate.of_action(&action) } else { None };
        let delegate = delegate.map(|node| node.to_string());
        let (target, here) = delegate.as_deref().map_or((target, here), |node| (node, false));
        if action.is_internal() || (here && is_foreign) {
            return self.context.refuse_unknown(&action, token);
        }
        self.counters.count(if peer == Peer::Ourselves { Way::Internal } else { Way::External }, &action);
        if let Some(place) = options::place_of(&data).filter(|_| options::may_wait(&action)) {
            if !here {
                let (context, nodes, taken) = (&mut self.context, &mut self.nodes, &mut self.taken_tokens);
                return match relaying::pass_on(context, nodes, taken, peer, (action.clone(), token), (target, data)) {
                    Passed::Handled(handled) => handled,
                    Passed::Once(node, data) => self.request_of_node(peer, action, token, &node.to_string(), data),
                };
            }
            let has_room = self.has_room_for_queued(&action);
            let (context, subscribers) = (&mut self.context, &mut self.subscribers);
            let refused = self.taken_tokens.refuse_place(context, subscribers, peer, (place, token), has_room);
            if let Some(handled) = refused {
                return handled;
            }
        }
        if action == Action::Command {
            self.status.command_begins(token, self.context.now);
        }
        if self.context.is_stopping() && action == Action::ProcessCopy {
            // This does not end the copy: its sender notices the lost connection, and a sender of our own kind resumes
            // afterwards.
            return Handled::Later;
        }
        if self.context.is_stopping() {
            self.context.fail(token, STOPPING_TEXT);
            return Handled::refused(json::message(STOPPING_TEXT));
        }
        if let Some(handled) = self.queue.take(&mut self.context, &self.nodes, peer, (&action, token), (target, &data))
        {
            return handled;
        }
        if !here {
            return self.request_of_node(peer, action, token, target, data);
        }
        if self.taken_tokens.is_repeated(&mut self.context, &action, token, &data) {
            return Handled::accepted();
        }
        if self.held_back(peer, &action, token, None, &data) {
            return Handled::Later;
        }
        if action == Action::RemoteCopy && !target.is_empty() {
            return self.copies.begin_local(&mut self.context, token, &data);
        }
        self.request_here(peer, &action, token, &data)
    }

    /// Returns whether a command waits for earlier copies to a node, or to us, and holds it back.
    pub(super) fn held_back(
        &mut self,
        peer: Peer,
        action: &Action,
        token: &Token,
        node: Option<NodeId>,
        data: &str,
    ) -> bool {
        if !self.copies.must_wait(&self.ssh, action, node) {
            return false;
        }
        let (action, token, data) = (action.clone(), token.clone(), data.to_owned());
        self.copies.hold(&mut self.context, Held { peer, action, token, data, node })
    }

    /// Runs the commands that waited only for copies that are now sent, in place, or ended.
    pub(super) fn run_held(&mut self) {
        while let Some(held) = self.copies.next_freed(&mut self.context, &self.ssh) {
            let Held { peer, action, token, data, node } = held;
            match node {
                Some(node) => self.request_now(peer, action, &token, &node.to_string(), data),
                None if self.context.is_stopping() && options::place_of(&data).is_some() => {
                    self.context.give_back(&token);
                }
                None if self.context.is_stopping() => self.context.fail(&token, STOPPING_TEXT),
                None => {
                    let handled = self.request_here(peer, &action, &token, &data);
                    if let (Handled::Reply(kind, code, data), Some(client)) = (handled, peer.client()) {
                        self.context.reply(client, Reply { kind, token: Some(token), code, data });
                    }
                }
            }
        }
    }

    /// Has the room of an action handle it.
    pub(super) fn request_here(&mut self, peer: Peer, action: &Action, token: &Token, data: &str) -> Handled {
        let Some(spec) = action.spec() else { return self.context.refuse_unknown(action, token) };
        match spec.module {
            None => self.core_request(peer, action, token, data),
            Some(Module::Proxy) => self.proxy_request(peer, action, token, data),
            Some(Module::Action) if *action == Action::ProcessCopy => {
                if let Some(request) = Request::read(data) {
                    return self.copies.serving.take(&mut self.context, peer, token, request);
                }
                self.copies.receiving.take(&mut self.context, peer, token, data.to_owned(), None)
            }
            Some(Module::Action) if *action == Action::Cancel => self.cancel(token, data),
            Some(Module::Action) => self.commands.command_request(&mut self.context, peer, action, token, data),
            Some(module) => {
                let (context, questions) = (&mut self.context, &mut self.questions);
                let handled = self.modules.request(context, questions, module, (action, token), data);
                self.run_jobs();
                handled
            }
        }
    }

    /// Handles a CANCEL of a command on this daemon.
    fn cancel(&mut self, token: &Token, data: &str) -> Handled {
        let Some(request) = CancelRequest::read(data) else { return cancelling::refuse(&mut self.context, token) };
        let CancelRequest { token: of, reason } = &request;
        let is_held = self.copies.cancel_held(&mut self.context, of, reason);
        let found = self.commands.cancel(&mut self.context, of, reason) || is_held;
        cancelling::answer_cancel(&mut self.context, token, &request, found)
    }

    fn core_request(&mut self, peer: Peer, action: &Action, token: &Token, data: &str) -> Handled {
        match action {
            Action::ConStatus => core_actions::con_status(&mut self.context, &mut self.nodes, peer, token),
            Action::Information => core_actions::information(&mut self.context, &self.counters, token),
            Action::GetThumbprint => core_actions::thumbprint(&mut self.context, token),
            Action::SetCoreId => core_settings::set_core_id(&mut self.context, data),
            Action::BroadcastLogger => core_settings::set_log_level(&mut self.context, data),
            Action::LoadModule => loading::load(&mut self.context, data),
            Action::UnloadModule => loading::unload(&mut self.context, data),
            Action::Kill => loading::kill(&mut self.context, &mut self.commands, &mut self.copies, data),
            Action::Ping => {
                let running = self.commands.load().running;
                core_actions::ping(&self.context, (&mut self.nodes, running), &mut self.subscribers, peer)
            }
            Action::PutLog => self.put_logs.request(&mut self.context, peer, token, data),
            Action::AddListener => self.listeners.add_listeners(&mut self.context, data),
            Action::GetLog => self.questions.get_log(
                &mut self.context,
                &mut self.subscribers,
                &mut self.dialled_out,
                peer,
                token,
                data,
            ),
            Action::SyncLogs => asking::sync_logs(&mut self.context, &mut self.nodes, data),
            _ => self.context.refuse_unknown(action, token),
        }
    }

    fn proxy_request(&mut self, peer: Peer, action: &Action, token: &Token, data: &str) -> Handled {
        match action {
            Action::Routes => self.nodes.routes(&mut self.context, peer, token, data),
            Action::ForgetKey => self.nodes.forget_key(&mut self.context, token, data),
            Action::TrustKey => self.nodes.trust_key(&mut self.context, token, data),
            Action::RegisterNodes => {
                let named = peer.client().and_then(|client| self.guard.node_of(client));
                self.nodes.register_nodes(&mut self.context, (peer, named), token, data)
            }
            Action::UnregisterNodes => self.nodes.unregister_nodes(&mut self.context, peer, token, data),
            Action::Fetch => {
                self.context.fail(token, "proxy - need the id of a node: nothing is fetched from this daemon itself");
                Handled::accepted()
            }
            Action::RemoteCopy => {
                self.context.fail(token, "proxy - need a valid node id");
                Handled::accepted()
            }
            // Answers of nodes that connect to us, but this client is not one of them.
            Action::Pong | Action::SetLogs => self.malformed.answer_of_no_node(&mut self.context, peer, action),
            _ => self.context.refuse_unknown(action, token),
        }
    }

    /// Returns whether the room of an action can take another request from the queue of another daemon.
    fn has_room_for_queued(&self, action: &Action) -> bool {
        match action {
            Action::Command => self.commands.has_room_for_queued(),
            Action::EngineCommand => self.modules.engine.has_room_for_queued(),
            _ => true,
        }
    }

    /// Handles an authorised call of the API.
    pub(super) fn api_call(&mut self, id: CallId, call: &ApiCall) {
        let answer = match self.api().call(id, call) {
            Plan::Answer(answer) => Some(answer),
            Plan::Wait => None,
            Plan::Reply(action, data) => {
                let token = self.context.generate_token();
                let handled = self.request(Peer::Ourselves, action, &token, "", data);
                Some(api::answer_of(handled, self.context.is_stopping()))
            }
            Plan::Start(started) => {
                let (context, nodes, questions) = (&mut self.context, &mut self.nodes, &mut self.questions);
                let started = self.calls.room(context, nodes, questions).may_start(&mut self.queue, id, started);
                return started.into_iter().for_each(|started| self.start_for_call(id, started));
            }
            Plan::Queue(call) => {
                self.queue.call(&mut self.context, id, call);
                None
            }
            Plan::Report(form) => {
                let load = self.commands.load();
                self.status.report(&mut self.context, (&self.nodes, &self.queue), load, (id, call, form))
            }
        };
        self.api().answer(id, answer);
    }

    /// Runs an action that a call starts. Its end is found by its token.
    pub(super) fn start_for_call(&mut self, id: CallId, started: Started) {
        let is_here = started.target.is_none() && !self.context.is_stopping();
        let is_said_by_reply = is_here && started.is_said_by_reply();
        let Started { token, action, target, data, answer, .. } = started;
        let handled = self.request(Peer::Ourselves, action, &token, target.as_deref().unwrap_or_default(), data);
        self.api().replied(&token, is_said_by_reply, handled);
        let answer = answer.and_then(|answer| self.queue.hold_answer(&token, id, answer));
        self.api().answer(id, answer);
    }
}

//! A request from its arrival to the one who answers it: us, a module, or the proxy (docs/protocol.md sections 1 and
//! 4).

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::log::LogLine;
use crate::model::message::{Message, Reply};
use crate::model::token::Token;

use super::core::{Core, NewRow};
use super::counters::Way;
use super::json;
use super::modules::{ACTION_PACKAGE, CRON_PACKAGE, ENGINE_PACKAGE};
use super::stopping::{STOPPING_TEXT, Stopping};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// A client of the external socket: it gets replies.
    Client(ClientId),
    /// The same, and we made up its token: nobody will ask what became of it.
    ClientWithoutToken(ClientId),
    /// This daemon itself or a call of the API: the reply is the return value.
    Ourselves,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Handled {
    /// The reply: its kind, code and data.
    Reply(Action, Code, String),
    /// The reply goes out later, by itself.
    Later,
}

impl Handled {
    /// `ACK` with code 0 and nothing to say: work has begun.
    pub(super) fn accepted() -> Self {
        Self::Reply(Action::Ack, Code::BEGIN, "null".to_owned())
    }

    /// `ACK` with code 1.
    pub(super) const fn refused(data: String) -> Self {
        Self::Reply(Action::Ack, Code::FINISHED_KO, data)
    }

    /// The request's data cannot be read.
    pub(super) fn not_well_formatted() -> Self {
        Self::refused(json::message("request not well formatted"))
    }
}

impl Peer {
    /// The client that gets the reply.
    pub(super) const fn client(self) -> Option<ClientId> {
        match self {
            Self::Client(client) | Self::ClientWithoutToken(client) => Some(client),
            Self::Ourselves => None,
        }
    }
}

impl Core {
    /// A client sent a message.
    pub(super) fn client_message(&mut self, client: ClientId, message: Message) {
        if self.said_by_pull_node(client, &message) {
            return;
        }
        let Message { action, token, target, data } = message;
        let peer = if token.is_some() { Peer::Client(client) } else { Peer::ClientWithoutToken(client) };
        let token = token.unwrap_or_else(|| self.generate_token());
        let target = target.unwrap_or_default();
        match self.request(peer, action, &token, &target, data) {
            Handled::Reply(kind, code, data) => self.reply(client, Reply { kind, token: Some(token), code, data }),
            Handled::Later => {}
        }
    }

    /// A client sent something that is no message.
    pub(super) fn client_malformed(&mut self, client: ClientId, token: Option<Token>, reason: &str) {
        if let Some(line) = self.malformed.line(client, reason, self.now.monotonic) {
            self.log(LogLine::warning("core", line));
        }
        let data = json::message("request not well formatted");
        self.reply(client, Reply { kind: Action::Ack, token, code: Code::FINISHED_KO, data });
    }

    /// Runs a request; an empty `target` and our own id mean "here".
    pub(super) fn request(&mut self, peer: Peer, action: Action, token: &Token, target: &str, data: String) -> Handled {
        if self.debug {
            let way = if peer == Peer::Ourselves { "internal" } else { "external" };
            let text = format!("Message received {way} - [{}] [{token}] [{target}] {data}", action.as_str());
            self.log(LogLine::debug("core", text));
        }
        let here = target.is_empty() || self.own_id.is_some_and(|id| target.parse() == Ok(id));
        if action.is_internal() || (here && !self.is_known(&action)) {
            return self.refuse_unknown(&action, token);
        }
        self.counters.count(if peer == Peer::Ourselves { Way::Internal } else { Way::External }, &action);
        if self.stopping != Stopping::No && action == Action::ProcessCopy {
            // No end of the copy: its sender sees the connection break, and one of our own kind goes on afterwards.
            return Handled::Later;
        }
        if self.stopping != Stopping::No {
            self.end_with_error(token, STOPPING_TEXT);
            return Handled::refused(json::message(STOPPING_TEXT));
        }
        if !here {
            return self.request_of_node(peer, action, token, target, data);
        }
        if self.hold_for_us(peer, &action, token, &data) {
            return Handled::Later;
        }
        self.request_here(peer, &action, token, &data)
    }

    pub(super) fn request_here(&mut self, peer: Peer, action: &Action, token: &Token, data: &str) -> Handled {
        match action {
            Action::Ping => self.ping(peer),
            Action::PutLog => self.put_log(peer, token, data),
            Action::GetLog => self.get_log(peer, token, data),
            Action::ConStatus => self.con_status(peer, token),
            Action::Information => self.information(token),
            Action::Routes => self.routes(peer, token, data),
            Action::GetThumbprint => self.get_thumbprint(token),
            Action::SyncLogs => self.sync_logs(data),
            Action::SetCoreId => self.set_core_id(data),
            Action::AddListener => self.add_listeners(data),
            Action::BroadcastLogger => self.set_log_level(data),
            Action::LoadModule => self.load_module(data),
            Action::UnloadModule => self.unload_module(data),
            Action::Kill => self.kill_module(data),
            Action::Command => self.command_request(peer, token, data),
            Action::ActionEngine => self.action_engine(token, data),
            Action::EngineCommand => self.engine_command(token, data),
            Action::GetCron => self.get_cron(token, data),
            Action::AddCron => self.add_cron(token, data),
            Action::UpdateCron => self.update_cron(token, data),
            Action::DeleteCron => self.delete_cron(token, data),
            Action::ProcessCopy => self.process_copy(peer, token, data.to_owned()),
            Action::RegisterNodes => self.register_nodes(peer, token, data),
            Action::UnregisterNodes => self.unregister_nodes(peer, token, data),
            Action::CentreonNodesSync => self.sync_pollers(token),
            Action::RemoteCopy => {
                self.end_with_error(token, "proxy - need a valid node id");
                Handled::accepted()
            }
            // Answers of nodes that connect to us; this one is none of them.
            Action::Pong | Action::SetLogs => self.answer_of_no_node(peer, action),
            _ => self.refuse_unknown(action, token),
        }
    }

    fn answer_of_no_node(&mut self, peer: Peer, action: &Action) -> Handled {
        let reason = format!("{} of a client that has not registered as a node: ignored", action.as_str());
        let line = peer.client().and_then(|client| self.malformed.line(client, &reason, self.now.monotonic));
        if let Some(line) = line {
            self.log(LogLine::warning("core", line));
        }
        Handled::accepted()
    }

    /// Whether this daemon does something for `action` itself.
    pub(super) fn is_known(&self, action: &Action) -> bool {
        match action {
            Action::Ping
            | Action::PutLog
            | Action::GetLog
            | Action::ConStatus
            | Action::Information
            | Action::GetThumbprint
            | Action::SyncLogs
            | Action::SetCoreId
            | Action::AddListener
            | Action::BroadcastLogger
            | Action::LoadModule
            | Action::UnloadModule
            | Action::Kill => true,
            Action::Command | Action::ActionEngine | Action::ProcessCopy => self.is_loaded(ACTION_PACKAGE),
            Action::EngineCommand => self.is_loaded(ENGINE_PACKAGE),
            Action::GetCron | Action::AddCron | Action::UpdateCron | Action::DeleteCron => self.is_loaded(CRON_PACKAGE),
            Action::CentreonNodesSync => self.options.pollers.is_some(),
            Action::RegisterNodes
            | Action::UnregisterNodes
            | Action::RemoteCopy
            | Action::Routes
            | Action::Pong
            | Action::SetLogs => self.options.proxy.is_some(),
            _ => false,
        }
    }

    fn refuse_unknown(&mut self, action: &Action, token: &Token) -> Handled {
        let word: String = action.as_str().chars().take(64).collect();
        let data = serde_json::json!({ "error": "unknown_action", "message": format!("action '{word}' is unknown") });
        let data = data.to_string();
        self.add_row(NewRow::now(Some(token), Code::FINISHED_KO, data.clone()));
        Handled::refused(data)
    }
}

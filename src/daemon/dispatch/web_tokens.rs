//! Tokens of WebSocket nodes that the web API checks.

use crate::model::connection::ConnectionId;
use crate::model::time::Now;
use crate::session::web_tokens::WebToken;

use super::connections::{Connection, Kind};
use super::{Dispatch, Effect, Owner};

impl Dispatch {
    /// Checks a node's token that the web API may know.
    pub(super) fn check_token(&mut self, connection: ConnectionId, now: Now) {
        if let Some(Connection { kind: Kind::WebSocket(node), .. }) = self.connections.get_mut(connection)
            && let Some(claim) = node.claim()
            && let Some(verdict) = self.web_tokens.ask(connection, &claim, now)
        {
            node.handle_verdict(verdict, now);
        }
        self.ask_web_api();
    }

    /// Takes the result of [`Effect::AskWebApi`]: the token of this name, `None` if there is none, or why it is
    /// unknown.
    pub fn web_api_answered(&mut self, name: &str, answer: Result<Option<WebToken>, String>, now: Now) {
        let (verdicts, line) = self.web_tokens.answered(name, answer, now);
        if let Some(line) = line {
            self.log(line);
        }
        for (connection, verdict) in verdicts {
            if let Some(Connection { kind: Kind::WebSocket(node), .. }) = self.connections.get_mut(connection) {
                node.handle_verdict(verdict, now);
                self.touch(Owner::Connection(connection));
            }
        }
        self.ask_web_api();
        self.drain(now);
    }

    fn ask_web_api(&mut self) {
        let listener = self.config.modules.proxy.as_ref().and_then(|proxy| proxy.httpserver.as_ref());
        let account = listener.and_then(|listener| listener.web_api.clone());
        while let Some(name) = self.web_tokens.next_call() {
            self.effects.push_back(Effect::AskWebApi { account: account.clone(), name });
        }
    }
}

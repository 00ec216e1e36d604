//! The WebSocket that we open to our central (module `pullwss`, docs/protocol.md section 9).

use std::time::Duration;

use crate::config::settings::PullWssSettings;
use crate::model::connection::ParentKind;
use crate::model::connection::{ConnectionId, Endpoint, PeerAddress};
use crate::model::log::LogLine;
use crate::model::message::Outgoing;
use crate::model::time::Now;
use crate::node::input::Input;
use crate::session::websocket_node::{WebSocketNode, WebSocketNodeOutput};
use crate::session::websocket_node::{WebSocketNodeSettings, WebSocketProxy};
use crate::wire::gorgone::envelope;
use crate::wire::websocket::connection::MAX_MESSAGE_BYTES;

use super::{Connection, Dispatch, Effect, Kind, Owner};

const KIND: ParentKind = ParentKind::WebSocket;

pub(super) struct WebSocketParent {
    pub(super) node: WebSocketNode,
    connection: Option<ConnectionId>,
}

fn settings(pullwss: &PullWssSettings) -> WebSocketNodeSettings {
    WebSocketNodeSettings {
        host: pullwss.host.clone(),
        port: pullwss.port,
        uri: pullwss.uri.clone(),
        token: pullwss.token.clone(),
        is_tls: pullwss.tls.is_some(),
        proxy: pullwss.proxy.as_ref().map(|proxy| WebSocketProxy {
            host: proxy.host.clone(),
            port: proxy.port,
            auth: proxy.auth.as_ref().map(|auth| (auth.user.clone(), auth.password.clone())),
        }),
        step_timeout: Duration::from_secs(10),
        silence_timeout: Duration::from_secs(120),
        max_message_bytes: MAX_MESSAGE_BYTES,
        max_waiting_bytes: 16 << 20,
    }
}

impl Dispatch {
    /// Keeps a WebSocket to our central, where module `pullwss` is loaded.
    pub(super) fn open_websocket_parent(&mut self, now: Now) {
        if let Some(pullwss) = &self.config.modules.pullwss {
            let mut node = WebSocketNode::new(settings(pullwss));
            node.handle_start(now);
            self.websocket_parent = Some(WebSocketParent { node, connection: None });
            self.drain_websocket_parent(now);
        }
    }

    pub(super) fn is_websocket_parent(&self, connection: ConnectionId) -> bool {
        self.websocket_parent.as_ref().is_some_and(|parent| parent.connection == Some(connection))
    }

    pub(super) fn websocket_parent_connection(&self) -> Option<ConnectionId> {
        self.websocket_parent.as_ref().and_then(|parent| parent.connection)
    }

    pub(super) fn parent_connected(&mut self, connection: ConnectionId, now: Now) {
        if let Some(parent) = &mut self.websocket_parent
            && parent.connection == Some(connection)
        {
            parent.node.handle_connected(now, self.random.as_mut());
            self.drain_websocket_parent(now);
        }
    }

    pub(super) fn parent_received(&mut self, connection: ConnectionId, bytes: &[u8], now: Now) {
        if let Some(parent) = &mut self.websocket_parent
            && parent.connection == Some(connection)
        {
            parent.node.receive(bytes, now, self.random.as_mut());
            self.drain_websocket_parent(now);
        }
    }

    pub(super) fn parent_closed(&mut self, connection: ConnectionId, reason: &str, now: Now) {
        if let Some(parent) = self.websocket_parent.as_mut()
            && parent.connection == Some(connection)
        {
            parent.connection = None;
            parent.node.handle_disconnected(reason, now, self.random.as_mut());
            self.drain_websocket_parent(now);
        }
    }

    pub(super) fn parent_timeout(&mut self, now: Now) {
        if let Some(parent) = self.websocket_parent.as_mut() {
            parent.node.handle_timeout(now, self.random.as_mut());
            self.drain_websocket_parent(now);
        }
    }

    /// For our central; dropped while it is not connected.
    pub(super) fn send_to_parent(&mut self, kind: ParentKind, outgoing: &Outgoing, now: Now) {
        match (kind, self.websocket_parent.as_mut()) {
            (ParentKind::Pull, _) => self.send_to_pull_parent(outgoing, now),
            (ParentKind::WebSocket, Some(parent)) => {
                if let Err(reason) = parent.node.send(envelope::encode(outgoing)) {
                    self.log(LogLine::debug("pullwss", format!("not sent to our central: {reason}")));
                }
                self.drain_websocket_parent(now);
            }
            (ParentKind::WebSocket, None) => {}
        }
    }

    pub(super) fn reset_websocket_parent(&mut self, now: Now) {
        if let Some(parent) = self.websocket_parent.as_mut() {
            parent.node.reset(now);
            self.drain_websocket_parent(now);
        }
    }

    pub(super) fn drain_websocket_parent(&mut self, now: Now) {
        while let Some(output) = self.websocket_parent.as_mut().and_then(|parent| parent.node.poll_output()) {
            match output {
                WebSocketNodeOutput::Connect { endpoint } => self.connect_websocket_parent(endpoint, now),
                WebSocketNodeOutput::StartTls { server_name } => {
                    if let Some(connection) = self.websocket_parent.as_ref().and_then(|parent| parent.connection) {
                        self.effects.push_back(Effect::StartTls { connection, server_name });
                    }
                }
                WebSocketNodeOutput::Disconnect => {
                    if let Some(old) = self.websocket_parent.as_mut().and_then(|parent| parent.connection.take()) {
                        self.close(old, now);
                    }
                }
                WebSocketNodeOutput::Up => {
                    let input = Input::ParentUp { kind: KIND, identity: String::new() };
                    self.core.handle_input(input, now);
                }
                WebSocketNodeOutput::Down { reason } => {
                    self.core.handle_input(Input::ParentDown { kind: KIND, reason }, now);
                }
                WebSocketNodeOutput::Message(message) => {
                    self.core.handle_input(Input::ParentMessage { kind: KIND, message }, now);
                }
                WebSocketNodeOutput::Malformed { reason, .. } => {
                    self.log(LogLine::info("pullwss", format!("our central sent what is no message: {reason}")));
                }
                WebSocketNodeOutput::Log(line) => self.log(line),
            }
        }
        if let Some(parent) = &self.websocket_parent {
            self.timers.replace(Owner::WebSocketParent, parent.node.poll_timeout());
            self.dirty.extend(parent.connection);
        }
    }

    fn connect_websocket_parent(&mut self, endpoint: Endpoint, now: Now) {
        let connection = self.next_connection_id();
        let Some(parent) = self.websocket_parent.as_mut() else { return };
        if let Some(old) = parent.connection.replace(connection) {
            self.close(old, now);
        }
        let kind = Kind::WebSocketParent;
        let entry = Connection { kind, peer: PeerAddress::Local, open_queries: 0, closing: false };
        self.connections.insert(connection, entry);
        self.effects.push_back(Effect::Connect { connection, endpoint });
    }
}

//! The WebSocket that we open to our central (module `pullwss`, docs/protocol.md section 9).

use std::time::Duration;

use crate::config::modules::dial_in::PullWssSettings;
use crate::model::connection::{ClientId, ConnectionId, Endpoint, ParentKind, PeerAddress};
use crate::model::log::LogLine;
use crate::model::message::Outgoing;
use crate::model::random::Random;
use crate::model::time::{Monotonic, Now};
use crate::node::input::Input;
use crate::session::websocket_dialer::{WebSocketDialer, WebSocketDialerOutput};
use crate::session::websocket_dialer::{WebSocketDialerSettings, WebSocketProxy};
use crate::wire::gorgone::envelope;
use crate::wire::send_queue::SendQueue;
use crate::wire::websocket::connection::MAX_MESSAGE_BYTES;

use super::connections::Kind;
use super::dialled::{Dialled, PeerKey};
use super::{Dispatch, Effect, Owner};

const KIND: ParentKind = ParentKind::WebSocket;
const KEY: PeerKey = PeerKey::Parent(KIND);

pub(super) struct WebSocketParent {
    node: WebSocketDialer,
    connection: Option<ConnectionId>,
}

fn settings(pullwss: &PullWssSettings) -> WebSocketDialerSettings {
    WebSocketDialerSettings {
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
        silence_timeout: Duration::from_secs(if pullwss.is_metered { 600 } else { 120 }),
        max_message_bytes: MAX_MESSAGE_BYTES,
        max_waiting_bytes: 16 << 20,
    }
}

impl WebSocketParent {
    pub(super) const fn connection(&self) -> Option<ConnectionId> {
        self.connection
    }

    pub(super) fn poll_timeout(&self) -> Option<Monotonic> {
        self.node.poll_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Now, random: &mut dyn Random) {
        self.node.handle_timeout(now, random);
    }

    pub(super) fn reset(&mut self, now: Now) {
        self.node.reset(now);
    }

    pub(super) fn send_queue(&mut self) -> &mut SendQueue {
        self.node.send_queue()
    }

    pub(super) fn wants_read(&self) -> bool {
        self.node.wants_read()
    }

    /// The room for the next bytes of a large message on a connection.
    pub(super) fn room(&mut self, connection: ConnectionId) -> Option<&mut [u8]> {
        if self.connection == Some(connection) { self.node.room() } else { None }
    }
}

impl Dispatch {
    /// Opens and keeps a WebSocket to our central, if module `pullwss` is loaded.
    pub(super) fn open_websocket_parent(&mut self, now: Now) {
        if let Some(pullwss) = &self.config.modules.pullwss {
            let mut node = WebSocketDialer::new(settings(pullwss));
            node.also(pullwss.others.clone());
            node.handle_start(now);
            self.dialled.insert(KEY, Dialled::WebSocket(WebSocketParent { node, connection: None }));
            self.touch(Owner::Dialled(KEY));
        }
    }

    pub(super) fn close_websocket_parent(&mut self, parent: WebSocketParent, now: Now) {
        if let Some(connection) = parent.connection {
            self.close(connection, now);
        }
    }

    /// The session with our central, if `connection` belongs to it.
    fn parent_on(&mut self, connection: ConnectionId) -> Option<(&mut WebSocketDialer, &mut dyn Random)> {
        let parent = self.dialled.websocket().filter(|parent| parent.connection == Some(connection))?;
        Some((&mut parent.node, self.random.as_mut()))
    }

    pub(super) fn parent_connected(&mut self, connection: ConnectionId, now: Now) {
        if let Some((node, random)) = self.parent_on(connection) {
            node.handle_connected(now, random);
            self.touch(Owner::Dialled(KEY));
        }
    }

    pub(super) fn parent_received(&mut self, connection: ConnectionId, bytes: &[u8], now: Now) {
        if let Some((node, random)) = self.parent_on(connection) {
            node.receive(bytes, now, random);
            self.touch(Owner::Dialled(KEY));
        }
    }

    pub(super) fn parent_received_into_room(&mut self, connection: ConnectionId, count_bytes: usize, now: Now) {
        if let Some((node, random)) = self.parent_on(connection) {
            node.received_into_room(count_bytes, now, random);
            self.touch(Owner::Dialled(KEY));
        }
    }

    pub(super) fn parent_closed(&mut self, connection: ConnectionId, reason: &str, now: Now) {
        let Some(parent) = self.dialled.websocket().filter(|parent| parent.connection == Some(connection)) else {
            return;
        };
        parent.connection = None;
        parent.node.handle_disconnected(reason, now, self.random.as_mut());
        self.touch(Owner::Dialled(KEY));
    }

    /// Sends a message to our central; discards it while there is no connection.
    pub(super) fn send_to_parent(&mut self, kind: ParentKind, outgoing: &Outgoing, now: Now) {
        match (kind, self.dialled.websocket()) {
            (ParentKind::Pull, _) => self.send_to_pull_parent(outgoing, now),
            (ParentKind::WebSocket, Some(parent)) => {
                if let Err(reason) = parent.node.send(envelope::encode(outgoing)) {
                    self.log(LogLine::debug("pullwss", format!("not sent to our central: {reason}")));
                }
                self.touch(Owner::Dialled(KEY));
            }
            (ParentKind::WebSocket, None) => {}
        }
    }

    /// Sends what waits for our central, then closes the connection.
    pub(super) fn stop_websocket_parent(&mut self, now: Now) {
        if let Some(parent) = self.dialled.websocket() {
            parent.node.stop(now);
            self.touch(Owner::Dialled(KEY));
        }
    }

    pub(super) fn drain_websocket_parent(&mut self, now: Now) {
        while let Some(output) = self.dialled.websocket().and_then(|parent| parent.node.poll_output()) {
            match output {
                WebSocketDialerOutput::Connect { endpoint } => self.connect_websocket_parent(endpoint, now),
                WebSocketDialerOutput::StartTls { server_name } => {
                    if let Some(connection) = self.dialled.connection(KEY) {
                        self.effects.push_back(Effect::StartTls { connection, server_name });
                    }
                }
                WebSocketDialerOutput::Disconnect => {
                    if let Some(old) = self.dialled.websocket().and_then(|parent| parent.connection.take()) {
                        self.close(old, now);
                    }
                }
                WebSocketDialerOutput::Up => {
                    // Nothing goes before our registration.
                    self.storing.forget_messages_to(ClientId::Parent(KIND));
                    let input = Input::ParentUp { kind: KIND, identity: String::new() };
                    self.core.handle_input(input, now);
                    if self.dialled.websocket().is_some_and(|parent| parent.node.is_perl()) {
                        self.core.central_is_perl(KIND);
                    }
                }
                WebSocketDialerOutput::Down { reason } => {
                    self.core.handle_input(Input::ParentDown { kind: KIND, reason }, now);
                }
                WebSocketDialerOutput::Message(message) => {
                    self.core.handle_input(Input::ParentMessage { kind: KIND, message }, now);
                }
                WebSocketDialerOutput::Malformed { reason, .. } => {
                    self.log(LogLine::info("pullwss", format!("our central sent an invalid message: {reason}")));
                }
                WebSocketDialerOutput::Log(line) => self.log(line),
            }
        }
        if let Some(connection) = self.dialled.connection(KEY) {
            self.connections.mark_dirty(connection);
        }
    }

    fn connect_websocket_parent(&mut self, endpoint: Endpoint, now: Now) {
        let connection = self.connections.next_id();
        let Some(parent) = self.dialled.websocket() else { return };
        if let Some(old) = parent.connection.replace(connection) {
            self.close(old, now);
        }
        self.connections.insert(connection, Kind::WebSocketParent, PeerAddress::Local);
        self.effects.push_back(Effect::Connect { connection, endpoint });
    }
}

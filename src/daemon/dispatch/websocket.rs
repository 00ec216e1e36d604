//! WebSocket connections of nodes that dial in (docs/protocol.md section 9), and the listener that the REST API and the
//! WebSocket server share.

use std::rc::Rc;

use crate::config::joined::{Added, JoinedKind};
use crate::config::modules::proxy::WebSocketSettings;
use crate::model::action::Action;
use crate::model::connection::{ClientId, ConnectionId, PeerAddress};
use crate::model::log::LogLine;
use crate::model::message::{Message, Outgoing};
use crate::model::node_id::NodeId;
use crate::model::time::Now;
use crate::model::token::Token;
use crate::node::input::Input;
use crate::node::output::Twice;
use crate::session::NotSent;
use crate::session::forwarded::Ranges;
use crate::session::websocket_server::{NamedToken, WebSocketAccess, WebSocketServerSettings};
use crate::session::websocket_server::{WebSocketServer, WebSocketServerOutput};
use crate::wire::gorgone::envelope;
use crate::wire::http::bearer_auth::TokenHash;
use crate::wire::http::head_scanner::Limits;
use crate::wire::http::request::{RequestEvent, RequestParser};
use crate::wire::send_queue::SendQueue;

use super::connections::{Connection, Kind};
use super::external::HANDSHAKE;
use super::{Dispatch, Effect, Owner};

/// A connection of the shared listener, with the bytes received before its first request is complete.
pub(super) struct Undecided {
    received: Vec<u8>,
    /// Always empty: nothing is sent before the decision.
    send_queue: SendQueue,
}

impl Undecided {
    pub(super) const fn send_queue(&mut self) -> &mut SendQueue {
        &mut self.send_queue
    }
}

pub(super) fn access(settings: &WebSocketSettings, added: &Added) -> Rc<WebSocketAccess> {
    let tokens = settings.tokens.iter().map(|token| NamedToken {
        name: token.name.clone(),
        hash: TokenHash::from_bytes(token.hash),
        node: token.node,
    });
    let bounds = WebSocketServerSettings::default();
    let access = WebSocketAccess::new(settings.token.as_deref(), tokens.collect(), bounds);
    let access = access.with_invitations(added.invited_as(JoinedKind::Pullwss));
    Rc::new(
        access
            .with_trusted_proxies(Ranges::new(settings.trusted_proxies.clone()))
            .with_web_api(settings.web_api.is_some()),
    )
}

/// Whether the first bytes of a connection ask for a WebSocket; `None` while they are too few to decide.
fn asks_for_websocket(received: &[u8]) -> Option<bool> {
    let mut parser = RequestParser::new(Limits::default());
    parser.receive(received);
    match parser.poll_event() {
        Ok(None) => None,
        Ok(Some(RequestEvent::Head(head))) => Some(head.upgrade.is_some()),
        // The API answers a malformed request with the right error.
        Ok(Some(RequestEvent::Body(_))) | Err(_) => Some(false),
    }
}

/// The address of the client, also behind a trusted proxy.
fn client_of(entry: &Connection) -> PeerAddress {
    match &entry.kind {
        Kind::WebSocket(node) => node.client(),
        _ => entry.peer,
    }
}

impl Dispatch {
    pub(super) fn accept_websocket(&mut self, connection: ConnectionId, peer: PeerAddress, now: Now) {
        let Some(access) = self.websocket_access.clone() else { return };
        self.admit_stranger(connection, peer, now);
        let kind = Kind::WebSocket(Box::new(WebSocketServer::new(access, peer, now)));
        self.connections.insert(connection, kind, peer);
        self.pump_websocket(connection, now);
    }

    pub(super) fn accept_shared(&mut self, connection: ConnectionId, peer: PeerAddress, now: Now) {
        self.admit_stranger(connection, peer, now);
        let kind = Kind::Undecided(Undecided { received: Vec::new(), send_queue: SendQueue::default() });
        self.connections.insert(connection, kind, peer);
        self.timers.set(Owner::Connection(connection), now.monotonic + HANDSHAKE);
    }

    /// Decides by the first request of a connection whether it goes to the API or to the WebSocket server.
    pub(super) fn decide(&mut self, connection: ConnectionId, bytes: &[u8], now: Now) {
        let Some(entry) = self.connections.get_mut(connection) else { return };
        let Kind::Undecided(undecided) = &mut entry.kind else { return };
        undecided.received.extend_from_slice(bytes);
        let Some(is_websocket) = asks_for_websocket(&undecided.received) else { return };
        let (received, peer) = (std::mem::take(&mut undecided.received), entry.peer);
        if is_websocket {
            self.accept_websocket(connection, peer, now);
        } else {
            self.accept_api(connection, peer, now);
        }
        self.received(connection, &received, now);
    }

    pub(super) fn pump_websocket(&mut self, connection: ConnectionId, now: Now) {
        loop {
            let Some(entry) = self.connections.get_mut(connection) else { return };
            let Kind::WebSocket(node) = &mut entry.kind else { return };
            match node.poll_output() {
                None => {
                    self.timers.replace(Owner::Connection(connection), node.poll_timeout());
                    break;
                }
                Some(WebSocketServerOutput::Message(message)) => {
                    self.no_stranger(connection, now);
                    let client = ClientId::WebSocket(connection);
                    self.tell_address(client, &message, connection, now);
                    self.core.handle_input(Input::WebSocketMessage { client, message }, now);
                }
                Some(WebSocketServerOutput::Admitted(admitted)) => self.effects.push_back(Effect::Admit(admitted)),
                Some(WebSocketServerOutput::Malformed { reason, .. }) => {
                    let text = format!("{}: a node sent an invalid message: {reason}", entry.peer);
                    self.complain(text, now);
                }
                Some(WebSocketServerOutput::CheckToken) => self.check_token(connection, now),
                Some(WebSocketServerOutput::Shutdown) => self.effects.push_back(Effect::Shutdown(connection)),
                Some(WebSocketServerOutput::Close) => self.close(connection, now),
                Some(WebSocketServerOutput::Log(line)) => self.log(line),
            }
        }
        self.connections.mark_dirty(connection);
    }

    /// Tells the core the address of a client that registers a node, because registrations are counted by address.
    pub(super) fn tell_address(&mut self, client: ClientId, message: &Message, connection: ConnectionId, now: Now) {
        if message.action != Action::RegisterNodes {
            return;
        }
        if let Some(address) = self.connections.get(connection).map(client_of) {
            self.core.handle_input(Input::ClientAddress { client, address }, now);
        }
    }

    pub(super) fn websocket_closed(&mut self, connection: ConnectionId, now: Now) {
        self.core.handle_input(Input::ClientGone(ClientId::WebSocket(connection)), now);
    }

    /// Sends a message to a client of the external socket or of a WebSocket, and tells the core if that fails.
    pub(super) fn send_to_client(&mut self, client: ClientId, outgoing: &Outgoing, now: Now) {
        let text = envelope::text_of(outgoing);
        match client {
            ClientId::WebSocket(connection) => self.send_websocket(connection, text.join(), token_of(outgoing), now),
            ClientId::Zmq(_) if self.send_to_zmq_client(client, &text) => {}
            ClientId::Parent(kind) => self.send_to_parent(kind, outgoing, now),
            ClientId::Zmq(_) => {
                self.core.handle_input(Input::ClientNotReached { client, token: token_of(outgoing) }, now)
            }
        }
    }

    fn send_websocket(&mut self, connection: ConnectionId, text: Vec<u8>, token: Option<Token>, now: Now) {
        let (node, sent) = match self.connections.get_mut(connection) {
            Some(Connection { kind: Kind::WebSocket(node), .. }) => (node.node(), node.send(text, now)),
            _ => (None, Err(NotSent::NotConnected)),
        };
        let input = match (sent, node) {
            (Ok(()), _) => return self.touch(Owner::Connection(connection)),
            (Err(reason @ (NotSent::TooLarge { .. } | NotSent::Congested { .. })), Some(node)) => {
                Input::SendFailed { node, token, reason: reason.to_string() }
            }
            (Err(_), _) => Input::ClientNotReached { client: ClientId::WebSocket(connection), token },
        };
        self.core.handle_input(input, now);
    }

    /// Notes that a node has opened another connection. If the older one is still open, two daemons may use the same
    /// id.
    pub(super) fn node_moved(&mut self, node: NodeId, before: ClientId, client: ClientId, twice: Twice, now: Now) {
        let peer = |client| {
            let connection = self.connection_of_client(client)?;
            self.connections.get(connection).map(client_of)
        };
        let (Some(first), Some(second)) = (peer(before), peer(client)) else {
            return self.log(LogLine::info("proxy", format!("node '{node}' has connected again")).of_node(node));
        };
        let what = match twice {
            Twice::Again => {
                let text = format!("node '{node}' has connected again, from {second} (before: from {first})");
                return self.log(LogLine::info("proxy", text).of_node(node));
            }
            Twice::Silent => "the first does not answer, so the second is used",
            Twice::Replaced => "the second is used ('id_twice: replace')",
            Twice::Refused => "the first answers, so the second is refused",
        };
        if self.complaints.may_tell_of(node, now) {
            let text = format!(
                "node '{node}' is connected twice, from {first} and from {second}; {what}. If two daemons have this \
                 id, give one of them another 'gorgonecore.id'"
            );
            self.log(LogLine::warning("proxy", text).of_node(node));
        }
    }

    /// Closes the connection of a node that was replaced or breaks the rules, after sending the refusal.
    pub(super) fn close_client(&mut self, client: ClientId, refusal: Option<&str>, now: Now) {
        let ClientId::WebSocket(connection) = client else { return };
        if let Some(Connection { kind: Kind::WebSocket(node), .. }) = self.connections.get_mut(connection) {
            node.close(refusal, now);
            self.touch(Owner::Connection(connection));
        }
    }
}

/// The token that a message or a reply belongs to.
pub(super) fn token_of(outgoing: &Outgoing) -> Option<Token> {
    match outgoing {
        Outgoing::Request(message) => message.token.clone(),
        Outgoing::Reply(reply) => reply.token.clone(),
    }
}

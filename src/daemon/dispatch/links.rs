//! ZeroMQ connections that we open: to push nodes, and to our central (module `pull`).

use std::sync::Arc;
use std::time::Duration;

use crate::config::joined::JoinedKind;
use crate::model::action::Action;
use crate::model::connection::{ClientId, ConnectionId, Endpoint, ParentKind, PeerAddress};
use crate::model::history::StoreChange;
use crate::model::joining::{Admitted, AdmittedBy};
use crate::model::key_rotation::Successors;
use crate::model::link::{LinkKind, LinkMode, pin_of_target};
use crate::model::log::LogLine;
use crate::model::message::Outgoing;
use crate::model::node_id::NodeId;
use crate::model::random::Random;
use crate::model::time::{Monotonic, Now};
use crate::model::token::Token;
use crate::node::input::Input;
use crate::session::zmq_dialer::{DialOutcome, DialPlace, DialerOutput, DialerSettings, ZmqDialer};
use crate::wire::gorgone::envelope;
use crate::wire::tls_link::ClientTls;
use crate::wire::zmtp::connection::{Event, Settings, SocketType, ZmtpConnection};

use super::connections::{Connection, Kind};
use super::dialled::{Dialled, PeerKey};
use super::{CryptoJob, Dispatch, Effect, Gathered, MAX_UNSENT_BYTES, Owner};

/// Maximum size in bytes of a message from a node; an original node sends its whole history in one message.
const MAX_NODE_MESSAGE_BYTES: usize = 128 << 20;

pub(super) struct Link {
    pub(super) dialer: ZmqDialer,
    endpoint: Endpoint,
    link: LinkMode,
    connection: Option<ConnectionId>,
    /// The routing id of the current connection.
    routing_id: String,
}

impl Link {
    pub(super) const fn connection(&self) -> Option<ConnectionId> {
        self.connection
    }

    pub(super) fn poll_timeout(&self) -> Option<Monotonic> {
        self.dialer.poll_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Now, random: &mut dyn Random) {
        self.dialer.handle_timeout(now, random);
    }

    /// Sets the expected key; with `None` it is also forgotten that the peer was met sealed. Returns the target.
    pub(super) fn set_fingerprint(&mut self, thumbprint: Option<String>) -> String {
        if thumbprint.is_none() {
            self.dialer.unpin();
        }
        self.dialer.set_fingerprint(thumbprint);
        self.endpoint.to_string()
    }

    pub(super) fn set_successors(&mut self, successors: Arc<Successors>) {
        self.dialer.set_successors(successors);
    }

    pub(super) fn set_own_key(&mut self, public_pem: &str, tls: Option<ClientTls>) {
        self.dialer.set_own_key(public_pem, tls);
    }

    /// How the link is protected, while it is up.
    pub(super) fn kind(&self) -> Option<LinkKind> {
        self.dialer.kind()
    }

    /// Thumbprint of the key of the peer, while the link is up.
    pub(super) fn proved_key(&self) -> Option<String> {
        self.dialer.proved_key().map(str::to_owned)
    }

    /// Sends a message of which nobody else is told.
    pub(super) fn say(&mut self, parts: &[&[u8]], now: Now, random: &mut dyn Random) {
        self.dialer.send(parts, None, now, random);
    }

    pub(super) fn reset(&mut self, now: Now, random: &mut dyn Random) {
        self.dialer.reset(now, random);
    }
}

impl Dispatch {
    pub(super) fn open_link(&mut self, node: NodeId, endpoint: Endpoint, now: Now) {
        let own_id = self.core.own_id().map_or_else(String::new, |id| id.to_string());
        self.dial(PeerKey::Node(node), endpoint, format!("gorgone-proxy-{own_id}-{node}"), now);
    }

    /// Opens and keeps a connection to our central, if module `pull` is loaded.
    pub(super) fn open_pull_parent(&mut self, now: Now) {
        if let (Some(pull), Some(id)) = (self.config.modules.pull.clone(), self.core.own_id()) {
            let key = PeerKey::Parent(ParentKind::Pull);
            self.dial(key, pull.endpoint, format!("gorgone-{id}"), now);
            let place = |endpoint: Endpoint| {
                let target = endpoint.to_string();
                let stored_fingerprint = self.keys.fingerprints.get(&target).cloned();
                DialPlace { endpoint, stored_fingerprint, is_pinned: self.keys.is_pinned(&target) }
            };
            let others = pull.others.into_iter().map(place).collect();
            if let Some(link) = self.dialled.link(key) {
                link.dialer.also(others);
            }
        }
    }

    fn dial(&mut self, key: PeerKey, endpoint: Endpoint, own_name: String, now: Now) {
        let own = match key {
            PeerKey::Node(node) => self.core.link_mode(node),
            PeerKey::Parent(_) => self.config.modules.pull.as_ref().and_then(|pull| pull.link),
        };
        let mode = own.unwrap_or(self.config.core.link);
        if self.dialled.link(key).is_some_and(|link| link.endpoint == endpoint && link.link == mode) {
            return;
        }
        self.close_dialled(key, now);
        let target = endpoint.to_string();
        let settings = DialerSettings {
            own_name,
            endpoint: endpoint.clone(),
            fingerprint_mode: self.config.core.fingerprint_mode,
            node: match key {
                PeerKey::Node(node) => Some(node),
                PeerKey::Parent(_) => None,
            },
            stored_fingerprint: self.keys.fingerprints.get(&target).cloned(),
            successors: Arc::clone(&self.config.added.successors),
            link: mode,
            tls: self.keys.own.client_tls().filter(|_| mode != LinkMode::Classic),
            is_pinned: self.keys.is_pinned(&target),
            public_key_pem: self.keys.own.public_pem.clone(),
            queue_messages: 10_000,
            queue_bytes: 32 << 20,
            step_timeout: Duration::from_secs(10),
            max_wait: Duration::from_secs(10),
        };
        let mut dialer = ZmqDialer::new(settings);
        dialer.gather();
        dialer.handle_start(now, self.random.as_mut());
        let link = Link { dialer, endpoint, link: mode, connection: None, routing_id: String::new() };
        self.dialled.insert(key, Dialled::Zmq(link));
        self.touch(Owner::Dialled(key));
    }

    pub(super) fn close_link(&mut self, key: PeerKey, mut link: Link, now: Now) {
        link.dialer.stop("its link was closed");
        while let Some(output) = link.dialer.poll_output() {
            if let DialerOutput::Failed { token, reason } = output {
                self.send_failed(key, token, reason, now);
            }
        }
        if let Some(connection) = link.connection {
            self.close(connection, now);
        }
    }

    pub(super) fn send_to_node(&mut self, node: NodeId, outgoing: &Outgoing, now: Now) {
        let token = match outgoing {
            Outgoing::Request(message) => message.token.clone(),
            Outgoing::Reply(reply) => reply.token.clone(),
        };
        let key = PeerKey::Node(node);
        let Some(link) = self.dialled.link(key) else {
            return self.send_failed(key, token, "there is no link to it".to_owned(), now);
        };
        let unsent = match link.connection.and_then(|connection| self.connections.get_mut(connection)) {
            Some(Connection { kind: Kind::Link { zmtp, .. }, .. }) => zmtp.send_queue().len(),
            _ => 0,
        };
        if unsent > MAX_UNSENT_BYTES {
            return self.send_failed(key, token, format!("it does not read, {unsent} bytes wait for it"), now);
        }
        link.dialer.send(&envelope::text_of(outgoing).parts(), token, now, self.random.as_mut());
        self.touch(Owner::Dialled(key));
    }

    /// Reports a message that could not be sent. Only nodes matter, because our central asks again for what it did not
    /// get.
    fn send_failed(&mut self, key: PeerKey, token: Option<Token>, reason: String, now: Now) {
        if let PeerKey::Node(node) = key {
            self.core.handle_input(Input::SendFailed { node, token, reason }, now);
        }
    }

    pub(super) fn link_closed(&mut self, key: PeerKey, connection: ConnectionId, reason: String, now: Now) {
        if let Some(link) = self.dialled.link(key)
            && link.connection == Some(connection)
        {
            link.connection = None;
            link.dialer.set_relay(matches!(key, PeerKey::Node(node) if self.core.is_relay(node)));
            link.dialer.handle_disconnected(&reason, now, self.random.as_mut());
            self.touch(Owner::Dialled(key));
        }
    }

    pub(super) fn dial_job_done(&mut self, key: PeerKey, outcome: DialOutcome, now: Now) {
        if let Some(link) = self.dialled.link(key) {
            link.dialer.handle_job(outcome, now, self.random.as_mut());
            self.touch(Owner::Dialled(key));
        }
    }

    pub(super) fn pump_link(&mut self, connection: ConnectionId, now: Now) {
        loop {
            let Some(entry) = self.connections.get_mut(connection) else { return };
            let Kind::Link { key, zmtp } = &mut entry.kind else { return };
            let key = *key;
            let event = zmtp.poll_event();
            let Some(link) = self.dialled.link(key) else { return };
            match event {
                Ok(None) => break,
                Ok(Some(Event::Ready { .. })) => link.dialer.handle_connected(now),
                Ok(Some(Event::Message(payload))) => link.dialer.handle_payload(&payload, now, self.random.as_mut()),
                Ok(Some(Event::Multipart { frames, .. })) => {
                    link.dialer.handle_multipart(frames, now, self.random.as_mut());
                }
                Err(error) => {
                    self.close(connection, now);
                    self.link_closed(key, connection, error.to_string(), now);
                    break;
                }
            }
            self.touch(Owner::Dialled(key));
            self.drain(now);
        }
        self.connections.mark_dirty(connection);
    }

    pub(super) fn drain_link(&mut self, key: PeerKey, now: Now) {
        while let Some(output) = self.dialled.link(key).and_then(|link| link.dialer.poll_output()) {
            self.on_dialer(key, output, now);
        }
    }

    fn on_dialer(&mut self, key: PeerKey, output: DialerOutput, now: Now) {
        match output {
            DialerOutput::Connect { endpoint, routing_id } => self.connect_link(key, endpoint, routing_id, now),
            DialerOutput::Disconnect => {
                if let Some(connection) = self.dialled.link(key).and_then(|link| link.connection.take()) {
                    self.close(connection, now);
                }
            }
            DialerOutput::Send(payload) => self.send_link(key, payload),
            DialerOutput::Gathered => {
                if let Some(connection) = self.dialled.link(key).and_then(|link| link.connection) {
                    self.gathered(Gathered::Dialled(key), connection);
                }
            }
            DialerOutput::Up(link) => {
                let identity = self.dialled.link(key).map(|link| link.routing_id.clone()).unwrap_or_default();
                self.admit_dialled(key);
                let input = match key {
                    PeerKey::Node(node) => {
                        self.core.handle_input(Input::NodeLink(node, link), now);
                        Input::LinkUp(node)
                    }
                    PeerKey::Parent(kind) => {
                        // Nothing goes before our registration.
                        self.storing.forget_messages_to(ClientId::Parent(kind));
                        Input::ParentUp { kind, identity }
                    }
                };
                self.core.handle_input(input, now);
                self.tell_new_link(now);
            }
            DialerOutput::Down { reason } => {
                let input = match key {
                    PeerKey::Node(node) => Input::LinkDown { node, reason },
                    PeerKey::Parent(kind) => Input::ParentDown { kind, reason },
                };
                self.core.handle_input(input, now);
            }
            DialerOutput::Message(message) if message.action == Action::NewKey => {
                self.key_news_of_dialled(key, &message.data, now);
            }
            DialerOutput::Message(message) => {
                let input = match key {
                    PeerKey::Node(node) => Input::NodeMessage { node, message },
                    PeerKey::Parent(kind) => Input::ParentMessage { kind, message },
                };
                self.core.handle_input(input, now);
            }
            DialerOutput::Failed { token, reason } => self.send_failed(key, token, reason, now),
            DialerOutput::RunJob(ticket) => self.effects.push_back(Effect::Crypto(CryptoJob::Dial(key, ticket))),
            DialerOutput::Malformed { reason, .. } => {
                self.log(
                    LogLine::info("proxy", format!("{key} sent an invalid message: {reason}")).of_node(key.node()),
                );
            }
            DialerOutput::StoreFingerprint { target, thumbprint } => {
                self.keys.fingerprints.insert(target.clone(), thumbprint.clone());
                self.storing.push(StoreChange::PutFingerprint { target, thumbprint }, now.monotonic);
            }
            DialerOutput::Pin { target, thumbprint } => self.pin(pin_of_target(&target), thumbprint, now),
            DialerOutput::Log(line) => {
                let text = format!("{key}: {}", line.text);
                self.log(LogLine { text, ..line }.of_node(key.node()));
            }
        }
    }

    /// Notes that an invited node that we connect to has joined, with the key that it has shown.
    fn admit_dialled(&mut self, key: PeerKey) {
        let PeerKey::Node(node) = key else { return };
        let invited = self.config.added.invited_as(JoinedKind::PushZmq);
        let target = self.dialled.link(key).map(|link| link.endpoint.to_string()).unwrap_or_default();
        if invited.iter().any(|invitation| invitation.node == node)
            && let Some(thumbprint) = self.keys.fingerprints.get(&target).cloned()
        {
            self.effects.push_back(Effect::Admit(Admitted { node, by: AdmittedBy::Key(thumbprint) }));
        }
    }

    /// Opens the connection to a peer. There is at most one per peer: an old one is closed first.
    fn connect_link(&mut self, key: PeerKey, endpoint: Endpoint, routing_id: Vec<u8>, now: Now) {
        let connection = self.connections.next_id();
        let name = String::from_utf8_lossy(&routing_id).into_owned();
        let zmtp = ZmtpConnection::new(Settings {
            socket_type: SocketType::Dealer,
            identity: routing_id,
            max_message_bytes: MAX_NODE_MESSAGE_BYTES,
        });
        let Some(link) = self.dialled.link(key) else { return };
        link.routing_id = name;
        if let Some(old) = link.connection.replace(connection) {
            self.close(old, now);
        }
        self.connections.insert(connection, Kind::Link { key, zmtp }, PeerAddress::Local);
        self.effects.push_back(Effect::Connect { connection, endpoint });
    }

    fn send_link(&mut self, key: PeerKey, payload: Vec<u8>) {
        let Some(connection) = self.dialled.link(key).and_then(|link| link.connection) else { return };
        if let Some(Connection { kind: Kind::Link { zmtp, .. }, .. }) = self.connections.get_mut(connection) {
            zmtp.send_owned_message(payload);
            self.connections.mark_dirty(connection);
        }
    }

    /// Sends a message to our central over the connection of module `pull`; discards it while there is none.
    pub(super) fn send_to_pull_parent(&mut self, outgoing: &Outgoing, now: Now) {
        if let Some(link) = self.dialled.link(PeerKey::Parent(ParentKind::Pull))
            && link.dialer.is_up()
        {
            link.dialer.send(&envelope::text_of(outgoing).parts(), None, now, self.random.as_mut());
            self.touch(Owner::Dialled(PeerKey::Parent(ParentKind::Pull)));
        }
    }
}

//! A Gorgone daemon over ZeroMQ: greeting, key, handshake, PING.

use crate::model::connection::{Endpoint, FingerprintMode};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::listeners::{is_here, listening_ports};
use super::socket::{Refused, Socket, connect, explain, is_late};
use crate::daemon::key_files::KeyPair;
use crate::edge::clock;
use crate::edge::random::SystemRandom;
use crate::edge::resolver;
use crate::model::action::Action;
use crate::model::diagnosis::{Cause, Report};
use crate::model::key_rotation::Successors;
use crate::model::link::LinkMode;
use crate::model::token::Token;
use crate::session::zmq_dialer::{DialerOutput, DialerSettings, ZmqDialer};
use crate::wire::gorgone::key_exchange::{is_handshake_issue, parse_public_key};
use crate::wire::gorgone::keys::PublicKey;
use crate::wire::tls_link::{ClientTls, TlsIdentity};
use crate::wire::zmtp::connection::{Event, Settings, SocketType, ZmtpConnection};

/// How long to wait for each answer of the peer.
const ANSWER: Duration = Duration::from_secs(5);
/// The same for a daemon on this machine that is only looked for.
const LOCAL_ANSWER: Duration = Duration::from_millis(1_500);
/// Interval of looks at the time.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Maximum size of a message. A PONG holds the peer's map of nodes.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Maximum number of ports of this machine that are tried when the configured one is refused.
const PORTS_MAX: usize = 256;

/// The peer, and what is known of it.
pub struct ZmqPeer<'a> {
    /// Where it listens.
    pub endpoint: &'a Endpoint,
    /// How we call ourselves: `gorgone-proxy-1-2` to node 2, `gorgone-2` to our central.
    pub own_name: String,
    /// Whether the link to it may or must be sealed.
    pub link: LinkMode,
    /// The known thumbprint of its key, if the key is checked.
    pub known_key: Option<String>,
    /// The keys of peers that were replaced.
    pub successors: &'a Successors,
    /// The id that it should have, if it is a node.
    pub id: Option<u64>,
    /// Our own id, if the peer is our central, which is asked whether it takes this node.
    pub own_id: Option<u64>,
    /// Whether a daemon answered there before, so that the port cannot be wrong.
    pub was_met: bool,
    /// Ports that belong to other daemons of ours.
    pub other_ports: Vec<u16>,
}

/// What the peer said in the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It answered to PING.
    Pong {
        /// Its id, if it says one.
        id: Option<u64>,
        /// Its host name.
        hostname: String,
    },
    /// Our central said whether it takes this node.
    Verdict(Result<(), String>),
}

/// Looks at the peer; adds the steps. Returns its answer.
pub fn look_at_zmq(report: &mut Report, peer: &ZmqPeer<'_>, keys: &KeyPair) -> Option<Answer> {
    let endpoint = peer.endpoint;
    let socket = match connect(report, endpoint) {
        Ok(socket) => socket,
        Err(None) => return None,
        Err(Some(refused)) => {
            let is_searched = matches!(refused, Refused::Port) && !peer.was_met;
            let elsewhere = if is_searched { find_elsewhere(peer, keys) } else { None };
            explain(report, endpoint, refused, elsewhere);
            return None;
        }
    };
    let (thumbprint, end) = talk(peer, keys, socket, ANSWER);
    let Some(thumbprint) = thumbprint else {
        let expected = format!("the greeting of a Gorgone daemon on {endpoint}");
        let (seen, advice) = match end {
            End::Foreign(text) => (text, "correct the address or the port: another program answers there"),
            _ => (
                "the connection is open, but no greeting arrives".to_owned(),
                "another program may listen there, or the daemon is stopped or overloaded: look on that machine with \
                 'ss -ltnp' and 'systemctl status stheno'",
            ),
        };
        report.bad("greeting", expected, seen, Cause::OtherService, advice);
        return None;
    };
    report.good("greeting", "the greeting of a Gorgone daemon", "ZMTP, and a public key");
    let known = peer.known_key.clone().unwrap_or_else(|| "any: none is known, or none is checked".to_owned());
    let now = clock::wall().as_seconds();
    if peer.known_key.as_ref().is_some_and(|known| !peer.successors.may_be(known, &thumbprint, now)) {
        report.bad("key", known, &thumbprint, Cause::KeyChanged, trusting(peer.id, &thumbprint));
        return None;
    }
    report.good("key", known, thumbprint);
    let expected = format!("our key {} is accepted", keys.public.thumbprint());
    match end {
        End::Up(answer) => {
            report.good("handshake", expected, "it is");
            return answered(report, peer, answer);
        }
        End::Refused => {
            let advice = format!(
                "add '- key: {}' to 'authorized_clients' of 'gorgonecore' in the configuration there; if it is there, \
                 compare 'privkey' here, and whether the key is bound to another 'node' there",
                keys.public.thumbprint()
            );
            report.bad("handshake", expected, "the handshake is refused", Cause::KeyNotAuthorized, advice);
        }
        End::Silent => {
            let seen = format!("no answer within {} s", ANSWER.as_secs());
            let advice = "look into the log there: it may be overloaded, or limit the handshakes of this address";
            report.bad("handshake", expected, seen, Cause::NoAnswer, advice);
        }
        End::Failed(text) if is_about_links(&text) => {
            let advice = "make one of the two options 'link' auto, or both equal";
            report.bad("handshake", expected, text, Cause::TlsOnOneSide, advice);
        }
        End::Failed(text) | End::Foreign(text) => {
            report.bad("handshake", expected, text, Cause::KeyNotAuthorized, "look into the log there");
        }
    }
    None
}

/// Whether a failure is about the options `link` of both ends.
fn is_about_links(reason: &str) -> bool {
    reason.contains("is set to link: ") || reason.contains("which link: sealed demands")
}

fn trusting(node: Option<u64>, thumbprint: &str) -> String {
    match node {
        Some(id) => format!(
            "if that node got a new key on purpose, compare it with 'stheno keys thumbprint FILE' there and run \
             'stheno keys trust --config FILE {id} {thumbprint}'; else somebody may be in between"
        ),
        None => "if the central got a new key on purpose, compare it with 'stheno keys thumbprint FILE' there and let \
            this node forget the old one (its log has the statement); else somebody may be in between"
            .to_owned(),
    }
}

/// Adds the steps for the answer in the session.
fn answered(report: &mut Report, peer: &ZmqPeer<'_>, answer: Option<Answer>) -> Option<Answer> {
    let Some(answer) = answer else {
        let seen = format!("none within {} s", ANSWER.as_secs());
        let advice = "the daemon there takes the session but does not answer: restart it, and look into its log";
        report.bad("ping", "an answer in the session", seen, Cause::NoAnswer, advice);
        return None;
    };
    let Answer::Pong { id, hostname } = &answer else { return Some(answer) };
    report.good("ping", "an answer to PING", format!("host '{hostname}' answers"));
    if let (Some(expected), Some(seen)) = (peer.id, *id) {
        if expected != seen {
            let advice = format!(
                "the daemon there has 'gorgonecore.id: {seen}': correct the address of node {expected} (and of node \
                 {seen}) in the list of nodes, or the id there"
            );
            let seen = format!("it is node {seen}");
            report.bad("id", format!("node {expected}"), seen, Cause::IdsSwapped, advice);
            return None;
        }
        report.good("id", format!("node {expected}"), format!("node {seen}"));
    }
    Some(answer)
}

/// How a conversation ended.
pub(in crate::daemon) enum End {
    /// What answers is no Gorgone daemon.
    Foreign(String),
    /// Nothing came back in time.
    Silent,
    /// Our key is refused.
    Refused,
    /// It failed for another reason.
    Failed(String),
    /// There is a session. The answer, if one came.
    Up(Option<Answer>),
}

/// A conversation with the peer. Returns the thumbprint of its key, if it showed one, and how it ended.
pub(in crate::daemon) fn talk(
    peer: &ZmqPeer<'_>,
    keys: &KeyPair,
    mut socket: Socket,
    patience: Duration,
) -> (Option<String>, End) {
    let mut random = SystemRandom::new();
    let mut dialer = ZmqDialer::new(DialerSettings {
        own_name: peer.own_name.clone(),
        endpoint: peer.endpoint.clone(),
        // The thumbprint is compared here, so that both can be shown.
        fingerprint_mode: FingerprintMode::Always,
        node: None,
        stored_fingerprint: None,
        successors: std::sync::Arc::default(),
        link: peer.link,
        tls: TlsIdentity::new(&keys.private).and_then(|identity| ClientTls::new(&identity)).ok(),
        is_pinned: false,
        public_key_pem: keys.public.to_pem(),
        queue_messages: 1,
        queue_bytes: 1 << 10,
        step_timeout: patience,
        max_wait: patience.saturating_mul(4),
    });
    dialer.handle_start(clock::read(), &mut random);
    let request = request(peer.own_id, &mut random);
    let mut state =
        Talking { request, thumbprint: None, is_perl: false, is_refused: false, is_up: false, end: None, zmtp: None };
    let mut deadline = clock::monotonic() + patience;
    let mut buffer = vec![0; 64 << 10];
    if socket.set_patience(LOOK_EVERY).is_err() {
        return (None, End::Silent);
    }
    loop {
        let progress = state.step(&mut dialer, keys, &mut random);
        if let Some(end) = state.end.take() {
            return (state.thumbprint, end);
        }
        if progress {
            deadline = clock::monotonic() + patience;
        }
        if clock::monotonic() > deadline {
            let end = if state.is_up { End::Up(None) } else { End::Silent };
            return (state.thumbprint, end);
        }
        let Some(zmtp) = &mut state.zmtp else { return (None, End::Silent) };
        while !zmtp.send_queue().front().is_empty() {
            match socket.write(zmtp.send_queue().front()) {
                Ok(count) => zmtp.send_queue().consume(count),
                Err(error) if is_late(&error) => break,
                Err(error) => return (state.thumbprint, End::Failed(error.to_string())),
            }
        }
        match socket.read(&mut buffer) {
            Ok(0) => {
                let text = "it closes the connection".to_owned();
                let end = if state.thumbprint.is_some() { End::Failed(text) } else { End::Foreign(text) };
                return (state.thumbprint, end);
            }
            Ok(count) => zmtp.receive(buffer.get(..count).unwrap_or_default()),
            Err(error) if is_late(&error) => {}
            Err(error) => return (state.thumbprint, End::Failed(error.to_string())),
        }
    }
}

/// The state of a conversation.
struct Talking {
    /// What to ask once there is a session.
    request: Vec<u8>,
    thumbprint: Option<String>,
    /// Whether the peer is an original daemon, by the label of its key.
    is_perl: bool,
    is_refused: bool,
    is_up: bool,
    end: Option<End>,
    zmtp: Option<ZmtpConnection>,
}

impl Talking {
    /// Handles what has arrived; returns whether something has.
    fn step(&mut self, dialer: &mut ZmqDialer, keys: &KeyPair, random: &mut SystemRandom) -> bool {
        let mut progress = false;
        loop {
            while let Some(output) = dialer.poll_output() {
                self.handle(output, dialer, keys, random);
            }
            let Some(zmtp) = &mut self.zmtp else { return progress };
            let now = clock::read();
            match zmtp.poll_event() {
                Ok(None) => return progress,
                Ok(Some(Event::Ready { .. })) => dialer.handle_connected(now),
                Ok(Some(Event::Message(payload))) => {
                    self.look_into(&payload);
                    dialer.handle_payload(&payload, now, random);
                }
                Ok(Some(Event::Multipart { frames, .. })) => dialer.handle_multipart(frames, now, random),
                Err(error) => {
                    self.end = Some(End::Foreign(error.to_string()));
                    return progress;
                }
            }
            progress = true;
        }
    }

    /// Notes what the dialer does not report as a value.
    fn look_into(&mut self, payload: &[u8]) {
        if self.thumbprint.is_none() {
            let pem = parse_public_key(payload).unwrap_or_default();
            self.is_perl = pem.starts_with(b"-----BEGIN RSA PUBLIC KEY");
            self.thumbprint = PublicKey::from_pem(&pem).ok().map(|key| key.thumbprint());
        }
        self.is_refused |= !self.is_up && is_handshake_issue(payload);
    }

    fn handle(&mut self, output: DialerOutput, dialer: &mut ZmqDialer, keys: &KeyPair, random: &mut SystemRandom) {
        let now = clock::read();
        match output {
            DialerOutput::Connect { routing_id, .. } => {
                let socket_type = SocketType::Dealer;
                let settings = Settings { socket_type, identity: routing_id, max_message_bytes: MESSAGE_BYTES_MAX };
                self.zmtp = Some(ZmtpConnection::new(settings));
            }
            DialerOutput::Send(payload) => {
                if let Some(zmtp) = &mut self.zmtp {
                    zmtp.send_owned_message(payload);
                }
            }
            DialerOutput::RunJob(ticket) => dialer.handle_job(ticket.run(&keys.private), now, random),
            DialerOutput::Up(_) => {
                self.is_up = true;
                // An original daemon would take the question for a registration.
                let request: &[u8] = if self.is_perl { PING } else { &self.request };
                dialer.send(&[request], None, now, random);
            }
            DialerOutput::Down { reason } if self.end.is_none() => {
                let is_key = self.is_refused && !is_about_links(&reason);
                self.end = Some(if is_key { End::Refused } else { End::Failed(reason) });
            }
            DialerOutput::Message(message) if message.action == Action::Pong => {
                self.end = Some(End::Up(Some(read_pong(&message.data))));
            }
            DialerOutput::Message(message) if message.action == Action::Ack => {
                self.end = Some(End::Up(Some(Answer::Verdict(read_verdict(&message.data)))));
            }
            _ => {}
        }
    }
}

const PING: &[u8] = b"[PING] [] [] {}";

/// PING, or the question to our central whether it takes node `own_id` (docs/protocol.md section 20).
fn request(own_id: Option<u64>, random: &mut SystemRandom) -> Vec<u8> {
    let Some(id) = own_id else { return PING.to_vec() };
    let token = Token::generate(random);
    let node = json!({ "id": id, "type": "pull", "identity": format!("gorgone-{id}"), "probe": true });
    format!("[REGISTERNODES] [{}] [] {}", token.as_str(), json!({ "nodes": [node] })).into_bytes()
}

fn read_verdict(data: &str) -> Result<(), String> {
    let answer: Value = serde_json::from_str(data).unwrap_or_default();
    let text = answer.pointer("/data/message").and_then(Value::as_str).unwrap_or_default();
    if answer.get("code").and_then(Value::as_i64) == Some(1) { Err(text.to_owned()) } else { Ok(()) }
}

fn read_pong(data: &str) -> Answer {
    let answer: Value = serde_json::from_str(data).unwrap_or_default();
    let data = answer.get("data");
    let id = data.and_then(|data| data.get("id")).and_then(|id| id.as_u64().or_else(|| id.as_str()?.parse().ok()));
    let hostname = data.and_then(|data| data.get("hostname")).and_then(Value::as_str).unwrap_or_default().to_owned();
    Answer::Pong { id, hostname }
}

/// Looks for the peer on other ports of its machine if that is this one: a daemon that accepts our key and has the
/// right id. Returns its port.
fn find_elsewhere(peer: &ZmqPeer<'_>, keys: &KeyPair) -> Option<u16> {
    let Endpoint::Tcp { host, port } = peer.endpoint else { return None };
    let address = resolver::resolve(host, *port).ok()?.into_iter().find(|address| is_here(address.ip()))?;
    let ports = listening_ports().into_iter().filter(|port| !peer.other_ports.contains(port)).take(PORTS_MAX);
    let is_peer = |port: u16| {
        let stream = TcpStream::connect_timeout(&SocketAddr::new(address.ip(), port), LOCAL_ANSWER).ok()?;
        match talk(peer, keys, Socket::Tcp(stream), LOCAL_ANSWER) {
            (_, End::Up(Some(Answer::Pong { id, .. }))) if peer.id.is_none() || id == peer.id => Some(port),
            (_, End::Up(Some(Answer::Verdict(_)))) => Some(port),
            _ => None,
        }
    };
    thread::scope(|scope| {
        let looks: Vec<_> = ports.map(|port| scope.spawn(move || is_peer(port))).collect();
        looks.into_iter().filter_map(|look| look.join().ok().flatten()).min()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let pong = read_pong(r#"{"code":0,"data":{"id":"7","hostname":"poller","data":{"8":{}}}}"#);
        assert_eq!(pong, Answer::Pong { id: Some(7), hostname: "poller".to_owned() });
        assert_eq!(read_pong("nonsense"), Answer::Pong { id: None, hostname: String::new() });
        assert_eq!(read_verdict(r#"{"code":2,"data":{"message":"nodes registered"}}"#), Ok(()));
        assert_eq!(read_verdict(r#"{"code":1,"data":{"message":"no"}}"#), Err("no".to_owned()));
    }
}

//! One sealed link to a push node (docs/protocol.md sections 2 and 3, client side), including reconnecting.
//!
//! Every connection makes a new session: a new routing id, then the whole handshake. The original keeps its routing id
//! and key when TCP breaks, and is deaf if the node has lost the session meanwhile. A handshake costs milliseconds and
//! always works.
//!
//! Out of scope: sockets and ZMTP (reported by `handle_connected` and `handle_disconnected`), RSA (handed out as jobs),
//! clocks, and whether a silent link is alive (`node` pings it).

mod jobs;
mod known_key;
mod outbox;
mod places;
mod sealed;
mod state;
#[cfg(test)]
mod tests;
mod tls;
mod work;

use crate::model::connection::{Endpoint, FingerprintMode};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::model::key_rotation::Successors;
use crate::model::link::{LinkKind, LinkMode};
use crate::model::log::{Level, LogLine};
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::random::{Random, to_hex};
use crate::model::time::{Monotonic, Now};
use crate::model::token::Token;
use crate::session::back_off::{BackOff, Severity};
use crate::session::log_throttle::LogThrottle;
use crate::session::turns::Turns;
use crate::wire::gorgone::key_exchange::{self, DialJob, DialResult, GET_PUBLIC_KEY};
use crate::wire::gorgone::keys::PublicKey;
use crate::wire::gorgone::seeded_random::SEED_LEN;
use crate::wire::tls_link::ClientTls;

use outbox::Outbox;
use sealed::Sealed;
use state::DialState;
use work::DialAnswer;
pub use work::{DialOutcome, DialTicket, DialWork};

const MODULE: &str = "proxy";
/// Time after which a link counts as a success, whatever ends it.
const STABLE_AFTER: Duration = Duration::from_secs(1);
/// Maximum number of messages, and of their bytes, that may arrive from the node while its key is being decrypted.
const MAX_EARLY_MESSAGES: usize = 64;
const MAX_EARLY_BYTES: usize = 1 << 20;

/// Settings of a link.
#[derive(Clone)]
pub struct DialerSettings {
    /// Our name, for instance `gorgone-proxy-1-2`: the routing id without its random suffix.
    pub own_name: String,
    /// Address of the node.
    pub endpoint: Endpoint,
    /// How its key is checked.
    pub fingerprint_mode: FingerprintMode,
    /// Id of the node; `None` for our central.
    pub node: Option<NodeId>,
    /// Its known thumbprint.
    pub stored_fingerprint: Option<String>,
    /// The keys of peers that were replaced.
    pub successors: Arc<Successors>,
    /// Whether the link may or must be sealed by TLS.
    pub link: LinkMode,
    /// Our role in a TLS link; `None` if our key is of no use for it.
    pub tls: Option<ClientTls>,
    /// Whether the node was met sealed.
    pub is_pinned: bool,
    /// Our public key, SPKI.
    pub public_key_pem: String,
    /// Maximum number of messages that wait for the link (10,000).
    pub queue_messages: usize,
    /// Maximum number of their bytes (32 MiB).
    pub queue_bytes: usize,
    /// Maximum duration of each step, including connecting (10 s).
    pub step_timeout: Duration,
    /// Maximum time that a message waits for the link (10 s).
    pub max_wait: Duration,
}

pub use places::DialPlace;

/// A side effect. No `Debug`: jobs hold keys.
pub enum DialerOutput {
    /// Connect and do the ZMTP handshake as a DEALER with this routing id, then call `handle_connected` or
    /// `handle_disconnected`.
    Connect {
        /// The address to connect to.
        endpoint: Endpoint,
        routing_id: Vec<u8>,
    },
    /// Drop the connection or the attempt. Report nothing more about it.
    Disconnect,
    /// Send a payload as one frame.
    Send(Vec<u8>),
    /// A message waits: call [`ZmqDialer::send_gathered`] before the connection is written to.
    Gathered,
    /// The link is connected, and its messages are protected.
    Up(LinkKind),
    /// The link broke, or an attempt failed.
    Down {
        /// The cause, as a sentence for the log and for rows.
        reason: String,
    },
    /// A message from the node.
    Message(Message),
    /// The node sent something that is not a message.
    Malformed {
        /// The token, if one could be read.
        token: Option<Token>,
        /// The fault.
        reason: String,
    },
    /// A message was dropped from the queue unsent.
    Failed {
        /// The token of the message.
        token: Option<Token>,
        /// The cause, as a sentence for the log and for rows.
        reason: String,
    },
    /// Run the job on a worker and pass its result to [`ZmqDialer::handle_job`].
    RunJob(DialTicket),
    /// Store the key of the node.
    StoreFingerprint {
        /// `tcp://address:port`.
        target: String,
        /// RFC 7638 thumbprint.
        thumbprint: String,
    },
    /// Remember that the node was met sealed.
    Pin {
        /// `tcp://address:port`.
        target: String,
        /// Thumbprint of its key.
        thumbprint: String,
    },
    /// Write to the log.
    Log(LogLine),
}

/// The state machine. Drain [`ZmqDialer::poll_output`] after every `handle_*`, `send` and `reset`.
pub struct ZmqDialer {
    settings: DialerSettings,
    public_key_pem: Arc<str>,
    state: DialState,
    /// Distinguishes the result of this attempt's job from that of an abandoned one.
    attempt: u64,
    /// The routing id of this attempt.
    routing_id: Vec<u8>,
    outbox: Outbox,
    back_off: BackOff,
    turns: Turns<DialPlace>,
    is_relay: bool,
    log: LogThrottle,
    last_failure: Option<String>,
    /// Thumbprint of the key that the node has proved last.
    proved_key: Option<String>,
    /// Whether the last log line about this link above `debug` says that it is down.
    failure_shown: bool,
    /// Whether messages over a sealed link wait to be sealed together.
    gathers: bool,
    outputs: VecDeque<DialerOutput>,
}

impl ZmqDialer {
    /// A link that does nothing before [`ZmqDialer::handle_start`].
    #[must_use]
    pub fn new(settings: DialerSettings) -> Self {
        Self {
            public_key_pem: settings.public_key_pem.as_str().into(),
            outbox: Outbox::new(settings.queue_messages, settings.queue_bytes, settings.max_wait),
            settings,
            state: DialState::Stopped,
            attempt: 0,
            routing_id: Vec::new(),
            back_off: BackOff::default(),
            turns: Turns::default(),
            is_relay: false,
            log: LogThrottle::default(),
            last_failure: None,
            proved_key: None,
            failure_shown: true,
            gathers: false,
            outputs: VecDeque::new(),
        }
    }

    /// Starts connecting.
    pub fn handle_start(&mut self, now: Now, random: &mut dyn Random) {
        if matches!(self.state, DialState::Stopped) {
            self.connect(now, random);
        }
    }

    /// The ZMTP handshake is done.
    pub fn handle_connected(&mut self, now: Now) {
        if matches!(self.state, DialState::Connecting { .. }) {
            self.outputs.push_back(DialerOutput::Send(GET_PUBLIC_KEY.to_vec()));
            self.state = DialState::AwaitingPublicKey { deadline: self.step_deadline(now) };
        }
    }

    /// Sets whether messages for other nodes go through the node. A relay gets more time before the next attempt.
    pub const fn set_relay(&mut self, is_relay: bool) {
        self.is_relay = is_relay;
    }

    /// The connection broke or could not be made.
    pub fn handle_disconnected(&mut self, reason: &str, now: Now, random: &mut dyn Random) {
        if let DialState::GivingUp { why, .. } = &self.state {
            let why = why.clone();
            self.fail(why, Severity::NeedsOperator, false, now, random);
        } else if self.has_connection() {
            let text = format!("no connection to {}: {reason}", self.settings.endpoint);
            self.fail(text, Severity::Transient, false, now, random);
        }
    }

    /// A whole message arrived.
    pub fn handle_payload(&mut self, payload: &[u8], now: Now, random: &mut dyn Random) {
        let endpoint = &self.settings.endpoint;
        match &mut self.state {
            DialState::Stopped
            | DialState::Waiting { .. }
            | DialState::Connecting { .. }
            | DialState::SealingHello { .. }
            | DialState::Proving { .. } => {}
            DialState::GivingUp { why, .. } => {
                let why = std::mem::take(why);
                self.fail(why, Severity::NeedsOperator, true, now, random);
            }
            DialState::AwaitingPublicKey { .. } if payload.trim_ascii_start().starts_with(b"[PUBKEY]") => {
                self.choose_link(payload, now, random);
            }
            DialState::AwaitingKey { .. } | DialState::AwaitingProof { .. } | DialState::AwaitingWelcome { .. }
                if key_exchange::is_handshake_issue(payload) =>
            {
                let thumbprint = PublicKey::from_pem(self.public_key_pem.as_bytes()).map(|key| key.thumbprint());
                let text = format!(
                    "{endpoint} refused our handshake; unless it is overloaded, our key is not authorized there: add \
                     '- key: {}' to authorized_clients in that node's configuration and restart it",
                    thumbprint.unwrap_or_default()
                );
                self.fail(text, Severity::NeedsOperator, true, now, random);
            }
            DialState::AwaitingKey { .. } if !payload.starts_with(b"[") => {
                let job = DialJob::OpenKey { payload: payload.to_vec(), seed: seed(random) };
                self.state = DialState::OpeningKey { deadline: self.step_deadline(now), early: Vec::new() };
                self.run_job(DialWork::Classic(job));
            }
            DialState::AwaitingProof { .. } | DialState::AwaitingWelcome { .. } => {
                self.handle_records(payload, now, random)
            }
            // Other clear text from the node does not belong to this step.
            DialState::AwaitingPublicKey { .. } | DialState::AwaitingKey { .. } => {}
            DialState::OpeningKey { early, .. } => {
                let bytes: usize = early.iter().map(Vec::len).sum();
                if early.len() >= MAX_EARLY_MESSAGES || bytes.saturating_add(payload.len()) > MAX_EARLY_BYTES {
                    let text = format!("{endpoint} sent too much before the handshake was over");
                    return self.fail(text, Severity::Transient, true, now, random);
                }
                early.push(payload.to_vec());
            }
            DialState::Up(_) => self.handle_sealed(payload, now, random),
        }
    }

    /// A message of several frames arrived: the peer is not a Gorgone, or its ZeroMQ library adds a frame (rzmq adds an
    /// empty one). Ends an attempt, because the link cannot come up like this.
    pub fn handle_multipart(&mut self, frames: usize, now: Now, random: &mut dyn Random) {
        let endpoint = &self.settings.endpoint;
        let text = format!("{endpoint} sent a message of {frames} frames, one is expected: is it a Gorgone daemon?");
        if self.is_up() {
            let line = self.log.line(Level::Warning, MODULE, text, now.monotonic);
            self.outputs.push_back(DialerOutput::Log(line));
        } else {
            self.fail(text, Severity::NeedsOperator, true, now, random);
        }
    }

    /// Takes the result of a job. That of an abandoned attempt is ignored.
    pub fn handle_job(&mut self, outcome: DialOutcome, now: Now, random: &mut dyn Random) {
        if outcome.attempt != self.attempt {
            return;
        }
        let result = match outcome.answer {
            DialAnswer::Classic(result) => result,
            DialAnswer::Tls(result) => return self.tls_step_done(*result, now, random),
        };
        match (&mut self.state, result) {
            (DialState::SealingHello { .. }, DialResult::Hello { thumbprint, payload }) => {
                if let Err(text) = self.check_fingerprint(thumbprint, now) {
                    return self.fail(text, Severity::NeedsOperator, true, now, random);
                }
                self.outputs.push_back(DialerOutput::Send(payload));
                self.state = DialState::AwaitingKey { deadline: self.step_deadline(now) };
            }
            (DialState::OpeningKey { early, .. }, DialResult::Key(material)) => {
                let early = std::mem::take(early);
                self.go_up(Sealed::classic(material, now.monotonic), now, random);
                for payload in early {
                    self.handle_payload(&payload, now, random);
                }
            }
            (DialState::SealingHello { .. } | DialState::OpeningKey { .. }, DialResult::Failed(why)) => {
                let text = format!("handshake with {} failed: {why}", self.settings.endpoint);
                self.fail(text, Severity::NeedsOperator, true, now, random);
            }
            _ => {}
        }
    }

    /// Sends plain text of several parts, or queues it until the link is up.
    pub fn send(&mut self, parts: &[&[u8]], token: Option<Token>, now: Now, random: &mut dyn Random) {
        if let DialState::Up(sealed) = &mut self.state {
            match sealed.seal(parts, self.gathers) {
                Ok(Some(payload)) => self.outputs.push_back(DialerOutput::Send(payload)),
                Ok(None) => self.outputs.push_back(DialerOutput::Gathered),
                Err(why) => {
                    let reason = self.link_closed(&why);
                    self.outputs.push_back(DialerOutput::Failed { token, reason: reason.clone() });
                    self.fail(reason, Severity::Transient, true, now, random);
                }
            }
        } else if let Err((token, why)) = self.outbox.push(parts.concat(), token, now.monotonic) {
            let reason = format!("no link to {}: {why}", self.settings.endpoint);
            self.outputs.push_back(DialerOutput::Failed { token, reason });
        }
    }

    /// From now on, messages over a sealed link wait for [`ZmqDialer::send_gathered`], which seals them together.
    pub const fn gather(&mut self) {
        self.gathers = true;
    }

    /// Seals and sends what was gathered.
    pub fn send_gathered(&mut self, now: Now, random: &mut dyn Random) {
        let DialState::Up(sealed) = &mut self.state else { return };
        match sealed.seal_gathered() {
            Ok(payload) => self.outputs.extend(payload.map(DialerOutput::Send)),
            Err(why) => self.fail(self.link_closed(&why), Severity::Transient, true, now, random),
        }
    }

    fn link_closed(&self, why: &str) -> String {
        format!("the sealed link to {} is closed: {why}", self.settings.endpoint)
    }

    /// Ends steps and waits that have passed their deadline.
    pub fn handle_timeout(&mut self, now: Now, random: &mut dyn Random) {
        // Steps first, so that a message that has waited too long fails with the newest reason.
        if self.state.deadline().is_some_and(|at| at <= now.monotonic) {
            if let DialState::GivingUp { why, .. } = &self.state {
                let why = why.clone();
                return self.fail(why, Severity::NeedsOperator, true, now, random);
            }
            match self.state.step() {
                Some(step) => {
                    let seconds = self.settings.step_timeout.as_secs();
                    let text = format!("{} took more than {seconds} s {step}", self.settings.endpoint);
                    self.fail(text, Severity::Transient, true, now, random);
                }
                None => self.connect(now, random),
            }
        }
        for waiting in self.outbox.take_expired(now.monotonic) {
            let why = match (&self.last_failure, self.state.step()) {
                (Some(why), _) => why.clone(),
                (None, step) => format!("it still takes its time {}", step.unwrap_or("to come back")),
            };
            let reason = format!("no link to {} in time: {why}", self.settings.endpoint);
            self.outputs.push_back(DialerOutput::Failed { token: waiting.token, reason });
        }
    }

    /// When to call [`ZmqDialer::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        [self.state.deadline(), self.outbox.next_deadline()].into_iter().flatten().min()
    }

    /// The next side effect.
    pub fn poll_output(&mut self) -> Option<DialerOutput> {
        self.outputs.pop_front()
    }

    /// Sets or removes the known key of the node. The next attempt counts as the first, and its result is logged again.
    pub fn set_fingerprint(&mut self, thumbprint: Option<String>) {
        self.settings.stored_fingerprint = thumbprint;
        self.back_off.reset();
        self.log = LogThrottle::default();
    }

    /// Drops the connection and connects again at once in any state but before the start.
    pub fn reset(&mut self, now: Now, random: &mut dyn Random) {
        if matches!(self.state, DialState::Stopped) {
            return;
        }
        let was_up = self.is_up();
        if self.has_connection() {
            self.outputs.push_back(DialerOutput::Disconnect);
        }
        if was_up {
            let reason = format!("the link to {} is built again", self.settings.endpoint);
            self.outputs.push_back(DialerOutput::Down { reason });
        }
        self.connect(now, random);
    }

    /// Drops the connection for good. Every waiting message fails with `reason`.
    pub fn stop(&mut self, reason: &str) {
        if self.has_connection() {
            self.outputs.push_back(DialerOutput::Disconnect);
        }
        self.state = DialState::Stopped;
        self.attempt += 1;
        while let Some(waiting) = self.outbox.pop() {
            self.outputs.push_back(DialerOutput::Failed { token: waiting.token, reason: reason.to_owned() });
        }
    }

    /// Forgets that the node was met sealed.
    pub const fn unpin(&mut self) {
        self.settings.is_pinned = false;
    }

    /// Whether the link is connected and its messages are protected.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self.state, DialState::Up(_))
    }

    fn connect(&mut self, now: Now, random: &mut dyn Random) {
        let mut suffix = [0; 12];
        random.fill(&mut suffix);
        let routing_id = format!("{}-{}", self.settings.own_name, to_hex(&suffix)).into_bytes();
        self.attempt += 1;
        self.state = DialState::Connecting { deadline: self.step_deadline(now) };
        self.routing_id.clone_from(&routing_id);
        self.outputs.push_back(DialerOutput::Connect { endpoint: self.settings.endpoint.clone(), routing_id });
    }

    fn go_up(&mut self, sealed: Sealed, now: Now, random: &mut dyn Random) {
        let kind = sealed.kind();
        self.outputs.push_back(DialerOutput::Up(kind));
        self.turns.works();
        self.state = DialState::Up(sealed);
        while let (true, Some(waiting)) = (self.is_up(), self.outbox.pop()) {
            self.send(&[&waiting.text], waiting.token, now, random);
        }
        self.last_failure = None;
        // At `info` the first time, and whenever the log said that the link was down.
        let level = if std::mem::take(&mut self.failure_shown) { Level::Info } else { Level::Debug };
        let text = format!("link to {} is up ({})", self.settings.endpoint, kind.word());
        self.outputs.push_back(DialerOutput::Log(LogLine::new(level, MODULE, text)));
    }

    /// Ends the attempt or the link. The next attempt follows after the back-off.
    fn fail(&mut self, reason: String, severity: Severity, disconnect: bool, now: Now, random: &mut dyn Random) {
        match &self.state {
            DialState::Up(sealed) if sealed.age(now.monotonic) >= STABLE_AFTER => self.back_off.reset(),
            DialState::Up(sealed) if sealed.was_heard() => self.back_off.reset_after_brief_success(),
            _ => {}
        }
        if disconnect {
            self.outputs.push_back(DialerOutput::Disconnect);
        }
        let severity = match severity {
            Severity::Transient if self.is_relay => Severity::TransientUnhurried,
            severity => severity,
        };
        let delay = self.next_delay(severity, random);
        self.state = DialState::Waiting { until: now.monotonic + delay };
        self.attempt += 1;
        let level = if severity == Severity::NeedsOperator { Level::Error } else { Level::Warning };
        let line = self.log.line(level, MODULE, reason.clone(), now.monotonic);
        self.failure_shown |= line.level > Level::Debug;
        self.outputs.push_back(DialerOutput::Log(line));
        self.last_failure = Some(reason.clone());
        self.outputs.push_back(DialerOutput::Down { reason });
    }

    fn step_deadline(&self, now: Now) -> Monotonic {
        now.monotonic + self.settings.step_timeout
    }
}

fn seed(random: &mut dyn Random) -> [u8; SEED_LEN] {
    let mut seed = [0; SEED_LEN];
    random.fill(&mut seed);
    seed
}

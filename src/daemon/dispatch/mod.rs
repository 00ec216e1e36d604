//! The connection table: translates between connections, sessions and the deciding core. It uses no mio, no clock and
//! no disk, so the event loop and the simulator drive the same code.
//!
//! In one turn a driver passes in all events (`accepted`, `connected`, `received`, `closed`, `…_done`,
//! `handle_timeout`); commits [`Dispatch::take_batch`] and calls [`Dispatch::committed`]; performs every
//! [`Dispatch::poll_effect`]; and flushes the send queues of [`Dispatch::take_dirty`], calling [`Dispatch::flushed`]
//! for each that shrank.

mod api;
mod budget;
mod calls;
mod connections;
mod copies;
mod core_outputs;
mod dialled;
mod effect;
mod ends;
mod external;
mod keys;
mod links;
mod parent;
mod reload;
mod rotation;
mod ssh;
mod standby;
mod storing;
mod strangers;
mod tally;
mod traffic;
mod unsent;
mod web_tokens;
mod websocket;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use crate::config::Config;
use crate::config::joined::JoinedKind;
use crate::config::settings::Commits;
use crate::model::broken::{self, Fault};
use crate::model::connection::{ClientId, ConnectionId, PeerAddress};
use crate::model::host_work::HostDone;
use crate::model::log::LogLine;
use crate::model::random::Random;
use crate::model::registration::{Registration, RegistrationSource};
use crate::model::stored::Stored;
use crate::model::time::{Monotonic, Now};
use crate::model::time_zone::TimeZone;
use crate::model::timers::Timers;
use crate::node::input::Input;
use crate::node::{CoreOptions, core::Core};
use crate::session::api_client::access::ApiAccess;
use crate::session::web_tokens::WebTokens;
use crate::session::websocket_server::WebSocketAccess;
use crate::session::zmq_listener::ZmqListener;

use budget::Budget;
use calls::Calls;
use connections::Connections;
use dialled::DialledPeers;
pub use dialled::PeerKey;
pub use effect::{CryptoJob, CryptoOutcome, Effect, SshWork};
use ends::{Complaints, UnreadyPeers};
use keys::KnownKeys;
pub use keys::OwnKey;
use rotation::KeyRotation;
pub use rotation::{KeyDone, KeyWork};
pub use storing::Batch;
use storing::Storing;
pub use tally::{CopyTally, Tally};
pub use unsent::AnswerRoom;
use unsent::Unsent;

/// The listener that accepted a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// The external ZeroMQ socket.
    External,
    /// The REST API.
    Api,
    /// The proxy's `httpserver`, for nodes that dial in.
    WebSocket,
    /// The status page, with the REST API.
    Page,
    /// The REST API and the proxy's `httpserver` on one port.
    Shared,
}

/// Facilities of the process that the dispatch needs.
pub struct Surroundings {
    /// Randomness for the deciding part.
    pub core_random: Box<dyn Random>,
    /// Randomness for sessions: keys and routing ids.
    pub session_random: Box<dyn Random>,
    /// Whether the log shows `debug`.
    pub debug: bool,
    /// The local time zone.
    pub time_zone: TimeZone,
    /// Returns the memory in use in bytes; `None` if the system does not say.
    pub memory: fn() -> Option<u64>,
}

/// Maximum number of bytes queued for a peer; a peer that does not read is disconnected beyond it.
const MAX_UNSENT_BYTES: usize = 64 << 20;
/// Maximum number of open questions to the history of one connection; beyond it the connection is not read.
const MAX_QUERIES_PER_CONNECTION: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Core,
    Listener,
    Dialled(PeerKey),
    Connection(ConnectionId),
    /// Keys that are to be announced, used or no longer taken.
    Keys,
    /// The bytes that wait for all peers together.
    Unsent,
    /// The budget of memory for data in transit.
    Budget,
}

/// A peer with messages that wait to be sealed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Gathered {
    Client(ClientId),
    Dialled(PeerKey),
}

/// The connection table with all sessions and the deciding core.
pub struct Dispatch {
    core: Core,
    listener: ZmqListener,
    dialled: DialledPeers,
    ssh_turns: ssh::SshTurns,
    connections: Connections,
    calls: Calls,
    unsent: Unsent,
    budget: Budget,
    flow: copies::Flow,
    /// Peers and connections whose session may have outputs.
    touched: BTreeSet<Owner>,
    /// Peers with messages that wait to be sealed together.
    gathered: BTreeSet<Gathered>,
    timers: Timers<Owner>,
    /// The deadlines in `timers` of the core and of the listener.
    armed: (Option<Monotonic>, Option<Monotonic>),
    effects: VecDeque<Effect>,
    storing: Storing,
    complaints: Complaints,
    unready: UnreadyPeers,
    keys: KnownKeys,
    random: Box<dyn Random>,
    config: Rc<Config>,
    api_access: Option<Rc<ApiAccess>>,
    websocket_access: Option<Rc<WebSocketAccess>>,
    web_tokens: WebTokens,
    tally: Tally,
    rotation: KeyRotation,
    /// Who is active, on a central that stands by.
    standby: Option<String>,
}

impl Dispatch {
    /// Creates a daemon without connections. Call `handle_timeout` once to start its links.
    #[must_use]
    pub fn new(config: Config, own_key: OwnKey, stored: Stored, surroundings: Surroundings, now: Now) -> Self {
        let mut options = CoreOptions::from_config(&config, own_key.thumbprint.clone(), surroundings.debug);
        options.time_zone = surroundings.time_zone;
        options.memory = surroundings.memory;
        let beside = config.core.server.is_some();
        let commits = if beside { Commits::Full } else { config.core.commits };
        let fingerprints: BTreeMap<_, _> = stored.fingerprints.into_iter().collect();
        let core = Core::new(options, stored.restored, surroundings.core_random, now);
        let pinned = keys::pinned_clients(&fingerprints);
        let settings = external::listener_settings(&config, &own_key, pinned);
        let mut listener = ZmqListener::new(settings, stored.sessions, now);
        listener.gather();
        listener.invite(config.added.invited_as(JoinedKind::Pull));
        let fault = own_key.fault(config.core.link);
        let own_names = [config.core.hostname.clone()];
        let api_access = config.modules.httpserver.as_ref().map(|http| Rc::new(api::access(http, own_names)));
        let listener_settings = config.modules.proxy.as_ref().and_then(|proxy| proxy.httpserver.as_ref());
        let websocket_access = listener_settings.map(|server| websocket::access(server, &config.added));
        let mut dispatch = Self {
            core,
            listener,
            dialled: DialledPeers::default(),
            ssh_turns: ssh::SshTurns::default(),
            connections: Connections::default(),
            calls: Calls::default(),
            unsent: Unsent::default(),
            budget: Budget::new(config.core.max_memory),
            flow: copies::Flow::default(),
            touched: BTreeSet::new(),
            gathered: BTreeSet::new(),
            timers: Timers::default(),
            armed: (None, None),
            effects: VecDeque::new(),
            storing: Storing::new(commits, beside),
            complaints: Complaints::default(),
            unready: UnreadyPeers::default(),
            keys: KnownKeys { own: own_key, fingerprints, hosts: stored.host_keys.into_iter().collect() },
            random: surroundings.session_random,
            config: Rc::new(config),
            api_access,
            websocket_access,
            web_tokens: WebTokens::default(),
            tally: Tally::default(),
            rotation: KeyRotation::default(),
            standby: None,
        };
        dispatch.connections.strangers().expect(external::expected_clients(&dispatch.config));
        fault.into_iter().for_each(|line| dispatch.log(line));
        dispatch.open_pull_parent(now);
        dispatch.open_websocket_parent(now);
        dispatch.take_key_news(now);
        dispatch.drain(now);
        dispatch
    }

    // ---- events -------------------------------------------------------------------------------------------------

    /// Returns an id for a connection that the driver accepted.
    pub const fn next_connection_id(&mut self) -> ConnectionId {
        self.connections.next_id()
    }

    /// Handles an accepted connection; `connection` comes from [`Self::next_connection_id`].
    pub fn accepted(&mut self, connection: ConnectionId, listener: Listener, peer: PeerAddress, now: Now) {
        self.tally.connections += 1;
        match listener {
            Listener::External => self.accept_external(connection, peer, now),
            Listener::Api | Listener::Page => self.accept_api(connection, peer, now),
            Listener::WebSocket => self.accept_websocket(connection, peer, now),
            Listener::Shared => self.accept_shared(connection, peer, now),
        }
        self.drain(now);
    }

    /// What has passed through since the start.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let refused_calls = self.api_access.as_ref().map(|access| access.refused_calls()).unwrap_or_default();
        Tally { handshakes_refused: self.listener.refused(), refused_calls, ..self.tally.clone() }
    }

    /// Takes the result of a [`CryptoJob`].
    pub fn crypto_done(&mut self, outcome: CryptoOutcome, now: Now) {
        match outcome {
            CryptoOutcome::Hello(hello, outcome) => {
                self.listener.handle_hello(hello, outcome, now);
            }
            CryptoOutcome::Dial(key, outcome) => self.dial_job_done(key, outcome, now),
            CryptoOutcome::Login(connection, is_right) => self.login_checked(connection, is_right, now),
        }
        self.drain(now);
    }

    /// Takes the result of an [`Effect::Host`].
    pub fn host_done(&mut self, done: HostDone, now: Now) {
        self.tally.done(&done);
        let origin = match &done {
            HostDone::QueryAnswer { query, result } => {
                let bytes = result.as_ref().map_or(0, |page| page.rows.iter().map(|row| row.data.len()).sum());
                self.connections.answered(*query).map(|origin| (origin, bytes))
            }
            _ => None,
        };
        self.core.handle_input(Input::Host(done), now);
        self.drain(now);
        if let Some((origin, bytes)) = origin {
            self.question_answered(origin, bytes, now);
            // A caller of the API was pumped when it got its answer; the others may have waited for this one.
            if !matches!(self.connections.get(origin).map(|entry| &entry.kind), Some(connections::Kind::Api(_))) {
                self.pump(origin, now);
            }
        }
    }

    /// Notes that a purge is not finished and needs another commit.
    pub fn purge_left(&mut self, now: Now) {
        self.core.handle_input(Input::PurgeLeft, now);
        self.drain(now);
    }

    /// Notes a change of the command files of Centreon Web.
    #[cfg(feature = "centreon")]
    pub fn command_files_touched(&mut self, now: Now) {
        self.core.handle_input(Input::CommandFilesTouched, now);
        self.drain(now);
    }

    /// Takes all nodes that a source of registrations wants, after it was read again.
    pub fn nodes_wanted(&mut self, source: RegistrationSource, nodes: Vec<Registration>, now: Now) {
        self.core.handle_input(Input::NodesWanted { source, nodes }, now);
        self.drain(now);
    }

    /// Notes whether the machine's clock can be right.
    pub fn clock_is_right(&mut self, is_right: bool, now: Now) {
        self.core.handle_input(Input::ClockIsRight(is_right), now);
        self.drain(now);
    }

    /// Begins to stop the daemon, because the operating system requests it.
    pub fn stop(&mut self, now: Now) {
        self.storing.hurry();
        self.storing.gather_no_more();
        self.core.handle_input(Input::Stop, now);
        self.drain(now);
    }

    // ---- time ---------------------------------------------------------------------------------------------------

    /// Handles everything that is due.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(owner) = self.timers.pop(now.monotonic) {
            match owner {
                Owner::Core => {
                    self.armed.0 = None;
                    self.core.handle_timeout(now);
                }
                Owner::Listener => {
                    self.armed.1 = None;
                    self.listener.handle_timeout(now, self.random.as_mut());
                }
                Owner::Dialled(key) => self.dialled_timeout(key, now),
                Owner::Keys => self.keys_due(now),
                Owner::Unsent => self.close_idlers(now),
                Owner::Budget => self.close_who_stands_still(now),
                Owner::Connection(connection) => self.connection_timeout(connection, now),
            }
            self.drain(now);
        }
    }

    /// When to call [`Self::handle_timeout`] next; `None` if only an event can cause work.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        self.timers.next()
    }

    // ---- outputs ------------------------------------------------------------------------------------------------

    /// Whether some work may begin before its changes are stored. If so, call [`Self::begin_early`] if the database
    /// takes changes, and otherwise commit at once.
    #[must_use]
    pub fn may_begin_early(&self) -> bool {
        self.storing.may_begin()
    }

    /// Begins the work that may begin before its changes are stored.
    pub fn begin_early(&mut self, now: Now) {
        for receipt in self.storing.take_to_begin() {
            self.core.handle_input(Input::MayBegin(receipt), now);
        }
        self.drain(now);
    }

    /// Until when the current changes wait for others that will share their commit; `None` if there are none, or if
    /// some do not wait.
    #[must_use]
    pub fn waits_until(&self) -> Option<Monotonic> {
        self.storing.waits_until()
    }

    /// The changes to commit in this turn.
    pub fn take_batch(&mut self) -> Batch {
        self.storing.take_batch()
    }

    /// Notes that the commit of a batch takes place beside the loop; [`Self::committed`] ends it.
    pub fn commit_begun(&mut self, batch: &mut Batch) {
        self.storing.begin_beside(batch);
    }

    /// Number of changes that wait for the next commit.
    #[must_use]
    pub const fn pending_changes(&self) -> usize {
        self.storing.pending()
    }

    /// Takes the result of a commit. Changes that could not be stored and whose result nobody awaits are kept for
    /// [`Self::take_unstored`], up to a bound.
    pub fn committed(&mut self, batch: Batch, stored: bool, now: Now) {
        for message in self.storing.end_beside() {
            self.on_core(message, now);
        }
        self.commit_ended(batch, stored, true, now);
    }

    /// Refuses a batch whose commit is not tried, because an earlier one has failed.
    pub fn refused(&mut self, batch: Batch, now: Now) {
        self.commit_ended(batch, false, false, now);
    }

    fn commit_ended(&mut self, mut batch: Batch, stored: bool, was_tried: bool, now: Now) {
        for message in batch.take_messages() {
            self.on_core(message, now);
        }
        for connection in self.storing.take_held(was_tried) {
            self.connections.mark_dirty(connection);
        }
        let is_left_out = |index: &usize| stored && batch.left_out.binary_search(index).is_ok();
        let (left_out, awaited): (Vec<_>, Vec<_>) = batch.receipts.iter().partition(|(index, _)| is_left_out(index));
        for (_, receipt) in left_out {
            self.core.handle_input(Input::LeftOut(receipt), now);
        }
        let mut receipts: Vec<_> = awaited.into_iter().map(|(_, receipt)| receipt).collect();
        receipts.dedup();
        for receipt in receipts {
            let stored = stored || broken::is(Fault::ReceiptIgnored);
            self.core.handle_input(Input::Stored { receipt, stored }, now);
        }
        if self.storing.has_changed(stored) {
            self.core.handle_input(Input::Stores(stored), now);
        }
        if !stored {
            let given_up = self.storing.keep_unstored(batch, was_tried);
            if given_up > 0 {
                self.log(LogLine::error("core", format!("database: {given_up} changes given up, too many wait")));
            }
        }
        self.drain(now);
    }

    /// Takes the changes of earlier turns that could not be stored and are to be tried again.
    pub fn take_unstored(&mut self) -> Batch {
        self.storing.take_unstored()
    }

    /// Whether changes of earlier turns still wait for the database.
    #[must_use]
    pub fn has_unstored(&self) -> bool {
        self.storing.has_unstored()
    }

    /// Whether a commit or an effect is due.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.effects.is_empty() || !self.storing.is_idle() || self.connections.has_dirty()
    }

    /// The next effect to perform.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Connections whose send queue may hold bytes, in a stable order.
    pub fn take_dirty(&mut self, now: Now) -> BTreeSet<ConnectionId> {
        self.send_gathered(now);
        self.take_stock(now);
        let mut dirty = self.connections.take_dirty();
        dirty.retain(|connection| !self.storing.is_held(*connection));
        for connection in &dirty {
            self.note_unsent(*connection, now);
        }
        dirty
    }

    // ---- inside -------------------------------------------------------------------------------------------------

    /// Carries out the outputs of all parts until there are none.
    fn drain(&mut self, now: Now) {
        loop {
            if let Some(output) = self.listener.poll_output() {
                self.on_listener(output, now);
            } else if self.storing.gathers() && self.core.has_output() {
                self.drain_core(now);
            } else if let Some(output) = self.core.poll_output() {
                self.on_core(output, now);
            } else if let Some(touched) = self.touched.pop_first() {
                match touched {
                    Owner::Dialled(key) => self.drain_dialled(key, now),
                    Owner::Connection(connection) => self.drain_connection(connection, now),
                    Owner::Core | Owner::Listener | Owner::Keys | Owner::Unsent | Owner::Budget => {}
                }
            } else {
                break;
            }
        }
        let due = (self.core.poll_timeout(), self.listener.poll_timeout());
        if due != self.armed {
            self.armed = due;
            self.timers.replace(Owner::Core, due.0);
            self.timers.replace(Owner::Listener, due.1);
        }
    }

    /// Notes that the session of `owner` may have outputs; they are taken before the next effect.
    fn touch(&mut self, owner: Owner) {
        self.touched.insert(owner);
    }

    fn log(&mut self, line: LogLine) {
        self.effects.push_back(Effect::Log(line));
    }
}

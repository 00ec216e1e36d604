//! The event loop, the only place that waits: one mio poll over all sockets, children, signals and finished jobs.
//!
//! One turn: poll; pass every event to [`Dispatch`] within a budget; commit the history once; perform the effects; only
//! then flush the send queues. Thus every acknowledged message is stored, and load makes commits larger, not more
//! frequent.

mod added_nodes;
mod announcing;
#[cfg_attr(not(feature = "centreon"), path = "beside_absent.rs")]
mod beside;
mod children;
#[cfg_attr(not(feature = "centreon"), path = "cluster_absent.rs")]
mod cluster;
mod copies;
mod ending;
mod keys;
mod listeners;
#[cfg_attr(not(feature = "centreon"), path = "orders_absent.rs")]
mod orders;
mod output_budget;
mod questions;
mod register_file;
mod reload;
#[cfg_attr(not(feature = "status"), path = "reports_absent.rs")]
mod reports;
#[cfg_attr(not(feature = "centreon"), path = "server_commits_absent.rs")]
mod server_commits;
mod small_memory;
#[cfg_attr(not(feature = "ssh"), path = "ssh_absent.rs")]
mod ssh;
#[cfg_attr(not(feature = "centreon"), path = "statistics_absent.rs")]
mod statistics;
mod storage;
mod streams;
mod time_source;
mod upkeep;
mod vault_watch;
mod waiting;
#[cfg_attr(not(feature = "centreon"), path = "web_tokens_absent.rs")]
mod web_tokens;
mod work;
mod workers;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;
#[cfg(feature = "status")]
use std::time::Instant;

use mio::{Events, Interest, Poll, Token, Waker};

use crate::config::Config;
use crate::edge::child_process::Environment;
use crate::edge::jobs::Job;
use crate::edge::log::LogWriter;
use crate::edge::notify::ServiceState;
use crate::edge::random::{BlockRandom, SystemRandom};
use crate::edge::signals::{Signal, Signals};
use crate::edge::{self, child_process, clock, process_memory};
use crate::model::connection::ConnectionId;
use crate::model::log::{Level, LogLine};
use crate::model::number_map::NumberMap;
use crate::model::registration::Registration;
#[cfg(feature = "status")]
use crate::model::status::Histogram;
use crate::model::time::{Monotonic, Now};
use crate::model::time_zone::TimeZone;

use super::dispatch::{Dispatch, Effect, OwnKey, Surroundings};
use super::key_files::KeyPair;
use super::run_options::RunOptions;
use added_nodes::AddedNodes;
use children::Children;
use cluster::ClusterWatch;
use copies::CopyWork;
use keys::KeyFiles;
use listeners::Listening;
use orders::Orders;
use register_file::RegisterFile;
use ssh::SshConnections;
use storage::{JobResult, Storage};
use streams::Streams;
use time_source::TimeSource;
use upkeep::Upkeep;
use vault_watch::VaultWatch;
use work::Host;
use workers::{Rank, Workers};

const SIGNALS: Token = Token(0);
const WAKER: Token = Token(1);
const REGISTER_FILE: Token = Token(2);
const DATABASE: Token = Token(3);
/// Token number of the first listener; the others follow.
const FIRST_LISTENER: usize = 4;
/// Token of the watch of added nodes.
const ADDED_NODES: Token = Token(13);
/// Token of the watches of command files, above those of the listeners.
const COMMAND_FILE: Token = Token(14);
const COMMAND_DIR: Token = Token(15);
/// Tokens of connections are odd numbers above this one, those of children even numbers.
const FIRST_SOURCE: usize = 16;
/// Maximum number of names that wait for a lookup.
const LOOKUPS_MAX: usize = 4_096;
/// How long the daemon waits for jobs when it ends.
const LAST_JOBS: Duration = Duration::from_millis(100);
/// Delay before a member of a cluster begins anew that could not start.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a stopped daemon tries to send its last answers.
const LAST_FLUSH: Duration = Duration::from_millis(200);

/// Why a daemon could not start or had to end.
#[derive(Debug)]
pub struct RunError {
    text: String,
    /// Whether it may pass by itself, so that the program begins anew.
    passes: bool,
}

impl fmt::Display for RunError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl RunError {
    fn new(text: impl fmt::Display) -> Self {
        Self { text: text.to_string(), passes: false }
    }
}

struct EventLoop {
    poll: Poll,
    dispatch: Dispatch,
    storage: Storage,
    workers: Workers<JobResult>,
    host: Host,
    signals: Signals,
    log: LogWriter,
    listening: Listening,
    register_file: Option<RegisterFile>,
    added_nodes: AddedNodes,
    /// The added nodes of the start, until they are taken.
    first_added: Vec<Registration>,
    #[cfg_attr(not(feature = "centreon"), expect(dead_code, reason = "nothing in this build"))]
    orders: Orders,
    /// The top file, for [`reload`].
    options: RunOptions,
    key_files: KeyFiles,
    upkeep: Upkeep,
    streams: Streams,
    children: Children,
    ssh: SshConnections,
    copies: CopyWork,
    vault: VaultWatch,
    cluster: Option<ClusterWatch>,
    time_source: TimeSource,
    /// Durations of turns.
    #[cfg(feature = "status")]
    turns: Histogram,
    phase: Phase,
}

/// Whether the daemon is to end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// The daemon was asked to stop.
    Stopping,
    /// All work is done; the last answers may be sent until the given time.
    Stopped(Monotonic),
}

/// Runs a daemon until it is told to stop; returns whether the program must restart.
///
/// # Errors
/// Says what could not be opened, bound or read, with the remedy.
pub fn run(config: Config, keys: KeyPair, options: &RunOptions) -> Result<bool, RunError> {
    let mut log = {
        let (severity, format) = options.log(&config.core);
        LogWriter::open(options.logfile.as_deref(), severity, format).map_err(RunError::new)?
    };
    reload::protect_own_files(&config, options.logfile.as_ref());
    match EventLoop::start(config, keys, options, &mut log) {
        Ok(with_log) => with_log(log).run(),
        Err(error) => {
            if options.logfile.is_some() || error.passes {
                let wall = clock::read().wall;
                log.write(&LogLine::error("core", error.to_string()), wall);
                log.flush(wall);
            }
            if error.passes {
                std::thread::sleep(AGAIN);
                return Ok(true);
            }
            Err(error)
        }
    }
}

impl EventLoop {
    /// Opens everything that can fail to open; the returned loop takes over the log.
    fn start(
        mut config: Config,
        keys: KeyPair,
        options: &RunOptions,
        log: &mut LogWriter,
    ) -> Result<impl FnOnce(LogWriter) -> Self + use<>, RunError> {
        edge::keep_inherited_descriptors();
        let mut signals = Signals::open().map_err(RunError::new)?;
        let now = clock::read();
        edge::keep_freed_memory();
        let open_files = crate::edge::raise_open_file_limit().unwrap_or_else(|error| {
            log.write(&LogLine::warning("core", format!("the limit of open files stays low: {error}")), now.wall);
            1_024
        });
        if let Some(path) = &config.core.audit_log {
            log.open_audit(path).map_err(RunError::new)?;
        }
        config.retire_keys(now.wall.as_seconds());
        announcing::announce(&config, keys.origin, log, now);
        let small = small_memory::fit(&mut config);
        let has_little_memory = small.is_some();
        small.into_iter().for_each(|text| log.write(&LogLine::info("core", text), now.wall));
        let poll = Poll::new().map_err(RunError::new)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(RunError::new)?);
        let cluster = ClusterWatch::open(&config, log, now)?;
        let config = match &cluster {
            Some(cluster) => cluster.configuration(config),
            None => config,
        };
        let (mut storage, stored) = Storage::open(&config, log, now)?;
        if let Some(place) = cluster.as_ref().and_then(ClusterWatch::reads) {
            storage.read_from(place);
        }
        let time_source = TimeSource::start(log, clock::read());
        let now = clock::read();
        let registry = poll.registry();
        storage.register(registry).map_err(RunError::new)?;
        registry.register(signals.source(), SIGNALS, Interest::READABLE).map_err(RunError::new)?;
        let listening = Listening::open(&config, open_files, registry, log, now)?;
        let register_file = RegisterFile::open(&config, registry, log, now);
        let (added_nodes, first_added) = (AddedNodes::open(&config, registry), config.added.nodes.clone());
        let orders = Orders::new(&config);
        let threads = config.modules.proxy.as_ref().map_or(2, |proxy| proxy.pool);
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || drop(waker.wake()));
        let workers = Workers::new(threads, &wake);
        let vault = VaultWatch::start(options.vault.clone(), config.waiting.clone(), Arc::clone(&wake));
        let options = options.clone();
        let key_files = KeyFiles::new(&config);
        let ssh = SshConnections::new(Arc::clone(&wake));
        let copies = CopyWork::new(threads, wake);
        let own_key = OwnKey::new(&keys.private);
        let surroundings = Surroundings {
            core_random: Box::new(BlockRandom::new()),
            session_random: Box::new(SystemRandom::new()),
            debug: log.shows(Level::Debug),
            time_zone: local_time_zone(&config, log, now),
            memory: process_memory::anonymous_bytes,
        };
        let upkeep = Upkeep::new(config.core.max_memory, now);
        let environment = config.modules.action.as_ref().map(|action| Environment::new(&action.environment));
        let environment = environment.unwrap_or_else(|| Environment::new(&[])).killed_first(has_little_memory);
        let children = Children::new(environment, registry.try_clone().map_err(RunError::new)?);
        let host = Host::new(&config, keys.private);
        let mut dispatch = Dispatch::new(config, own_key, stored, surroundings, now);
        if let Some(cluster) = cluster.as_ref().filter(|cluster| cluster.is_standby()) {
            dispatch.stands_by(cluster.who());
        }
        dispatch.clock_is_right(time_source.is_right(), now);
        Ok(move |log| Self {
            poll,
            dispatch,
            storage,
            workers,
            host,
            signals,
            log,
            listening,
            register_file,
            added_nodes,
            first_added,
            orders,
            options,
            key_files,
            upkeep,
            streams: Streams::new(),
            children,
            ssh,
            copies,
            vault,
            cluster,
            time_source,
            #[cfg(feature = "status")]
            turns: Histogram::default(),
            phase: Phase::Running,
        })
    }

    /// Looks up a name on separate threads, so that dead name servers do not delay handshakes, questions or commands.
    fn submit_lookup(&mut self, job: Job<JobResult>, connection: ConnectionId, now: Now) {
        if !self.workers.submit_below(LOOKUPS_MAX, Rank::Lookup, job) {
            self.resolved(connection, Err("too many names are being looked up".to_owned()), now);
        }
    }

    fn run(&mut self) -> Result<bool, RunError> {
        let mut events = Events::with_capacity(1024);
        // The file may have changed between its first reading and the start of the watch.
        self.reload_register_file();
        let added = std::mem::take(&mut self.first_added);
        self.take_added_nodes(&added, clock::read());
        self.tell_service_manager(ServiceState::Ready);
        self.turn(clock::read());
        loop {
            let timeout = self.timeout(clock::read().monotonic);
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                return Err(RunError::new(format!("waiting for events failed: {error}")));
            }
            #[cfg(feature = "status")]
            let begin = Instant::now();
            let now = clock::read();
            self.check_lease(now);
            if self.storage.lost().is_none() {
                for event in &events {
                    self.event(event, now);
                }
                self.turn(now);
            }
            #[cfg(feature = "status")]
            self.turns.count(u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX));
            if let Some(reason) = self.storage.lost().map(RunError::new) {
                self.finish();
                // A member of a cluster stands by from now on.
                return if self.cluster.is_some() { Ok(true) } else { Err(reason) };
            }
            if let Phase::Stopped(until) = self.phase
                && (now.monotonic >= until || self.streams.all_flushed())
            {
                self.finish();
                return Ok(self.vault.begins_anew || self.cluster.as_ref().is_some_and(|cluster| cluster.begins_anew));
            }
        }
    }

    fn event(&mut self, event: &mio::event::Event, now: Now) {
        match event.token() {
            SIGNALS => self.read_signals(now),
            WAKER => {
                self.finished_jobs(now);
                self.finished_copies(now);
                self.hear_of_vault(now);
            }
            REGISTER_FILE => self.register_file_touched(),
            DATABASE => self.database_touched(now),
            ADDED_NODES => self.added_nodes_touched(),
            source @ (COMMAND_FILE | COMMAND_DIR) => self.command_files_touched(source, now),
            Token(source) if source < FIRST_SOURCE => self.listening.mark_waiting(source),
            Token(source) if source >= ssh::FIRST_SSH_SOURCE => self.ssh_event(source, now),
            Token(source) if source % 2 == 1 => self.stream_event(source, event, now),
            Token(_) => self.children.output_ready(event),
        }
    }

    /// Does everything between two waits.
    fn turn(&mut self, now: Now) {
        self.look_at_clock(now);
        self.look_at_cluster(now);
        self.workers.handle_timeout();
        self.ssh.handle_timeout();
        self.copies.handle_timeout();
        if self.copies.take_news() {
            // The copy threads get new work before messages are opened, because opening a chunk takes long.
            self.commit(now);
            self.perform_effects(now);
        }
        self.take_in(now);
        self.dispatch.handle_timeout(now);
        for _ in 0..8 {
            self.commit(now);
            self.perform_effects(now);
            if !self.dispatch.has_work() {
                break;
            }
        }
        self.flush_streams(now);
        self.release_memory(now);
        self.upkeep.tend_watchdog(&mut self.log, now);
        self.log.flush(now.wall);
    }

    fn perform_effects(&mut self, now: Now) {
        while let Some(effect) = self.dispatch.poll_effect() {
            match effect {
                Effect::Connect { connection, endpoint } => self.connect(connection, &endpoint, now),
                Effect::StartTls { connection, server_name } => self.start_tls(connection, &server_name, now),
                Effect::Close(connection) => self.streams.close(connection, self.poll.registry()),
                Effect::Shutdown(connection) => self.streams.shutdown(connection),
                Effect::CloseAfterFlush(connection) => self.streams.close_after_flush(connection),
                Effect::Crypto(job) => {
                    let (rank, job) = self.host.crypto_job(job);
                    self.workers.submit(rank, job);
                }
                Effect::Host(work) => self.host_work(work, now),
                Effect::AskWebApi { account, name } => self.ask_web_api(account, name, now),
                Effect::Ssh { node, connection, work } => self.ssh_work(node, connection, work, now),
                Effect::Admit(admitted) => self.admit(admitted),
                Effect::Keys(work) => self.key_work(work),
                Effect::Log(line) => self.log.write(&line, now.wall),
                Effect::SetLogLevel(level) => self.log.set_severity(level),
                Effect::LearnTime(passed) => clock::learn(passed),
                Effect::Stopped => self.phase = Phase::Stopped(now.monotonic + LAST_FLUSH),
            }
        }
        self.submit_questions();
    }

    fn finished_jobs(&mut self, now: Now) {
        // Jobs that end meanwhile are left to the next turn, so that this one sends first.
        let results: Vec<JobResult> = std::iter::from_fn(|| self.workers.poll_finished()).collect();
        for result in results {
            match result {
                JobResult::Crypto(outcome) => self.dispatch.crypto_done(*outcome, now),
                JobResult::Handshake(connection, step) => self.handshake_went_on(connection, *step),
                JobResult::Answered(answers) => self.questions_answered(answers, now),
                JobResult::Spawned(command, spawned) => self.spawned(command, spawned, now),
                JobResult::CheckTakesLong(check) => self.check_slowly(check),
                JobResult::Host(done) => self.dispatch.host_done(done, now),
                #[cfg(feature = "centreon")]
                JobResult::WebApiAnswered(name, answer) => self.dispatch.web_api_answered(&name, answer, now),
                JobResult::Resolved(connection, addresses) => self.resolved(connection, addresses, now),
                JobResult::CertificateLoaded(listener, loaded) => self.certificate_loaded(listener, *loaded, now),
                JobResult::RegisterFileRead(reading) => self.register_file_read(reading, now),
                JobResult::Key(done) => self.key_done(done, now),
                JobResult::Admitted(result) => self.admitted(result, now),
                JobResult::ConfigurationRead(reading) => self.configuration_read(reading, now),
                #[cfg(feature = "centreon")]
                JobResult::Committed(finished) => self.commit_ended(*finished, now),
                #[cfg(feature = "centreon")]
                JobResult::ClusterSeen(seen) => self.cluster_seen(seen, now),
                JobResult::Verified(result) => self.database_verified(result, now),
                JobResult::Checkpointed(result) => self.storage.checkpointed(result, &mut self.log, now),
            }
        }
        while let Some(finished) = self.ssh.poll_finished() {
            self.ssh_finished(finished, now);
        }
    }

    fn read_signals(&mut self, now: Now) {
        for signal in self.signals.read() {
            match signal {
                Signal::Stop if self.phase != Phase::Running => self.phase = Phase::Stopped(now.monotonic),
                Signal::Stop => {
                    self.phase = Phase::Stopping;
                    self.tell_service_manager(ServiceState::Stopping);
                    self.log.write(&LogLine::info("core", "stopping"), now.wall);
                    self.dispatch.stop(now);
                }
                Signal::Reopen => {
                    if let Err(error) = self.log.reopen(now.wall) {
                        self.log.write(&LogLine::error("core", format!("log not reopened: {error}")), now.wall);
                    }
                    self.reload_configuration();
                    self.reload_certificates(now);
                    self.reload_register_file();
                }
                Signal::Child => {
                    child_process::reap_abandoned();
                    self.children.mark_all();
                }
            }
        }
    }
}

/// The time zone of the times of `cron`.
fn local_time_zone(config: &Config, log: &mut LogWriter, now: Now) -> TimeZone {
    edge::time_zone::read().unwrap_or_else(|reason| {
        if config.modules.cron.is_some() {
            let text = format!("the local time zone is not known, so jobs run by universal time: {reason}");
            log.write(&LogLine::warning("cron", text), now.wall);
        }
        TimeZone::utc()
    })
}

/// The mio token of a connection.
fn stream_source(connection: ConnectionId) -> usize {
    FIRST_SOURCE + 1 + usize::try_from(connection.0).unwrap_or(0).wrapping_mul(2)
}

type SourceMap<T> = NumberMap<usize, T>;

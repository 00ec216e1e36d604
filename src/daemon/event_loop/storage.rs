//! The database of the loop: commits run on the loop, questions and checkpoints on workers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use mio::{Interest, Registry};

use crate::config::Config;
use crate::config::settings::{self, Commits};
use crate::daemon::dispatch::{Batch, CryptoOutcome, KeyDone};
use crate::edge::child_process::ChildProcess;
use crate::edge::clock;
use crate::edge::history_store::{self, Applied, HistoryStore, StoreError, StoreErrorKind, StoreOptions};
use crate::edge::jobs::Job;
use crate::edge::log::LogWriter;
use crate::edge::memory_folder;
#[cfg(feature = "centreon")]
use crate::edge::server_store::Finished;
use crate::edge::sockets::HandshakeStep;
use crate::edge::store::{Commit, Store, StorePlace};
use crate::edge::tls::TlsError;
use crate::edge::tls::server::ServerContext;
use crate::model::command::{CommandEnd, CommandId};
use crate::model::connection::ConnectionId;
#[cfg(feature = "centreon")]
use crate::model::history::StoreChange;
use crate::model::host_work::HostDone;
use crate::model::joining::Admitted;
use crate::model::log::LogLine;
#[cfg(feature = "status")]
use crate::model::status::Histogram;
use crate::model::stored::Stored;
use crate::model::time::{Monotonic, Now, WallTime};

use super::beside::{self, Beside, Opened};
use super::questions::{Answers, Questions};
use super::work::Check;
use super::workers::Rank;
use super::{DATABASE, EventLoop, RunError, register_file, reload};

/// The result of a worker's job.
pub(super) enum JobResult {
    Crypto(Box<CryptoOutcome>),
    Answered(Answers),
    Spawned(CommandId, Result<Box<ChildProcess>, CommandEnd>),
    Host(HostDone),
    /// The quick check against the allow-list was cut off and must be repeated without hurry.
    CheckTakesLong(Check),
    /// A step of the TLS handshake of a connection.
    Handshake(ConnectionId, Box<HandshakeStep>),
    Resolved(ConnectionId, Result<Vec<SocketAddr>, String>),
    Checkpointed(Result<(), String>),
    /// Who is active in the cluster.
    #[cfg(feature = "centreon")]
    ClusterSeen(Result<Box<crate::edge::server_store::Seen>, String>),
    /// A commit on a server has ended.
    #[cfg(feature = "centreon")]
    Committed(Box<Finished>),
    /// The content of the database after another program has written to its file.
    Verified(Result<(), String>),
    /// The web API's answer about the token of this name.
    #[cfg(feature = "centreon")]
    WebApiAnswered(String, Result<Option<crate::session::web_tokens::WebToken>, String>),
    /// The certificate of the listener with this index, with warnings.
    CertificateLoaded(usize, Box<Result<(ServerContext, Vec<String>), TlsError>>),
    RegisterFileRead(register_file::Reading),
    /// A node that has joined was noted, or why not.
    Admitted(Result<Admitted, String>),
    Key(KeyDone),
    ConfigurationRead(reload::Reading),
}

/// Growth in bytes of the write-ahead log after which a checkpoint moves it into the database.
const CHECKPOINT_BYTES: u64 = 8 << 20;
/// The same for a history in memory, where the log takes memory, too.
const CHECKPOINT_IN_MEMORY_BYTES: u64 = 512 << 10;
/// Minimum interval between log lines about rows that a full history in memory has lost.
const TELL_DROPPED_EVERY: Duration = Duration::from_secs(600);
/// How long to wait before changes that could not be stored are tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long changes wait for another program that writes to the database (a backup, `VACUUM`, a shell).
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
/// Delay of the first check whether the other program is still writing, and the maximum delay between two checks.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LAST_LOOK: Duration = Duration::from_millis(100);
/// When this many changes wait for the other program, no more input is read: senders are slowed down, not refused.
const WAITING_MAX: usize = 5_000;

/// Size in KiB of the page cache of a daemon without nodes. This is most of its memory under load; a smaller cache
/// makes large commits slower.
const CACHE_KIB: u32 = 256;

/// Size in KiB of the page cache of a daemon with nodes, which store thousands of rows. Four times as much was no
/// faster.
const CACHE_WITH_NODES_KIB: u32 = 1_024;

/// Changes that wait for another program, in order, with their receipts.
struct Waiting {
    batch: Batch,
    since: Monotonic,
    look_at: Monotonic,
    pause: Duration,
}

pub(super) struct Storage {
    store: Store,
    /// What commits on a server need.
    pub(super) beside: Beside,
    /// Questions that workers answer.
    pub(super) questions: Questions,
    place: StorePlace,
    path: PathBuf,
    checkpoint_bytes: u64,
    /// Whether the history is in memory (`storage: memory`).
    #[cfg(feature = "status")]
    pub(super) is_in_memory: bool,
    /// When it was last logged that the full history in memory has lost rows, and how many it has lost since.
    dropped: (Option<Monotonic>, usize),
    /// Durations of commits.
    #[cfg(feature = "status")]
    pub(super) commits: Histogram,
    checkpointing: bool,
    /// The content is being checked, because another program wrote to the file.
    verifying: bool,
    /// A purge made the database smaller; the next checkpoint shrinks the file.
    checkpoint_wanted: bool,
    /// When to retry the changes that could not be stored; `None` if there are none.
    retry_at: Option<Monotonic>,
    failing: bool,
    waiting: Option<Waiting>,
    /// The reason why nothing may be written any more.
    lost: Option<String>,
}

/// A database that was opened, and the growth of its log after which a checkpoint follows.
type File = (Opened, u64);

fn open_file(config: &Config, log: &mut LogWriter, now: Now) -> Result<File, RunError> {
    let core = &config.core;
    let (max_bytes, checkpoint_bytes) = match core.storage {
        settings::Storage::Disk => (None, CHECKPOINT_BYTES),
        settings::Storage::Memory(max_bytes) => {
            let folder = core.database.parent().unwrap_or(&core.database);
            memory_folder::make(folder).map_err(RunError::new)?;
            (Some(max_bytes), CHECKPOINT_IN_MEMORY_BYTES)
        }
    };
    let options = StoreOptions {
        create_schema: core.create_schema,
        synchronous_full: core.commits != Commits::Normal,
        max_bytes,
        cache_kib: if config.modules.proxy.is_some() { CACHE_WITH_NODES_KIB } else { CACHE_KIB },
    };
    let mut store = HistoryStore::open(&core.database, options).map_err(RunError::new)?;
    if let Err(reason) = store.make_shrinkable() {
        log.write(&LogLine::info("core", reason), now.wall);
    }
    let mut stored = store.load().map_err(RunError::new)?;
    stored.restored.newest_ctime = store.newest_ctime();
    let (store, place) = (Store::File(Box::new(store)), StorePlace::from(core.database.as_path()));
    Ok(((store, stored, place, Beside::default()), checkpoint_bytes))
}

impl Storage {
    pub(super) fn open(config: &Config, log: &mut LogWriter, now: Now) -> Result<(Self, Stored), RunError> {
        let (opened, checkpoint_bytes) = match beside::open(config, log, now)? {
            Some(opened) => (opened, u64::MAX),
            None => open_file(config, log, now)?,
        };
        let (store, mut stored, place, beside) = opened;
        for warning in stored.warnings.drain(..) {
            log.write(&LogLine::warning("core", warning), now.wall);
        }
        // A machine whose clock starts in 1970 goes on from there.
        clock::learn(WallTime::from_seconds(stored.restored.newest_ctime.ceil() as i64));
        let path = config.core.database.clone();
        Ok((
            Self {
                store,
                beside,
                questions: Questions::new(place.clone()),
                place,
                path,
                checkpoint_bytes,
                #[cfg(feature = "status")]
                is_in_memory: matches!(config.core.storage, settings::Storage::Memory(_)),
                dropped: (None, 0),
                #[cfg(feature = "status")]
                commits: Histogram::default(),
                checkpointing: false,
                verifying: false,
                checkpoint_wanted: false,
                retry_at: None,
                failing: false,
                waiting: None,
                lost: None,
            },
            stored,
        ))
    }

    /// Where questions go.
    pub(super) const fn place(&self) -> &StorePlace {
        &self.place
    }

    pub(super) fn poll_timeout(&self) -> Option<Monotonic> {
        let looks = self.waiting.as_ref().map(|waiting| waiting.look_at);
        looks.into_iter().chain(self.retry_at).chain(self.beside.poll_timeout()).min()
    }

    /// Whether a commit can be expected to succeed: the last one did, and the disk has space.
    fn is_well(&self) -> bool {
        let is_free = !self.failing && self.waiting.is_none() && self.retry_at.is_none() && self.lost.is_none();
        is_free && self.store.has_room()
    }

    /// Tries whether the database takes rows now; returns the reason if not.
    #[cfg(feature = "status")]
    pub(super) fn takes_no_rows(&self) -> Option<String> {
        if self.failing || self.retry_at.is_some() || self.lost.is_some() {
            return Some("the database does not take rows; the log says why".to_owned());
        }
        if !self.store.has_room() {
            return Some("the disk of the database is full".to_owned());
        }
        self.store.try_to_write().err().map(|error| error.to_string())
    }

    /// The time of the next check, while no input may be read.
    pub(super) fn full_until(&self) -> Option<Monotonic> {
        let waiting = self.waiting.as_ref().filter(|waiting| waiting.batch.changes.len() >= WAITING_MAX);
        waiting.map(|waiting| waiting.look_at).or_else(|| self.beside.full_until())
    }

    /// Registers the watch of the database's files in the poll.
    pub(super) fn register(&mut self, registry: &Registry) -> std::io::Result<()> {
        match self.store.watch() {
            Some(events) => registry.register(events, DATABASE, Interest::READABLE),
            None => Ok(()),
        }
    }

    /// The reason why nothing may be written any more and the daemon must end.
    pub(super) fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    pub(super) fn checkpointed(&mut self, result: Result<(), String>, log: &mut LogWriter, now: Now) {
        self.checkpointing = false;
        if let Some(file) = self.store.file_mut() {
            file.note_checkpoint();
        }
        if let Err(reason) = result {
            log.write(&LogLine::warning("core", format!("database checkpoint: {reason}")), now.wall);
        }
    }

    /// Stores the waiting changes if possible, and closes the database so that a single file remains.
    pub(super) fn finish(&mut self, unstored: Batch, wall: WallTime) -> Result<(), String> {
        let mut last = self.waiting.take().map(|waiting| waiting.batch).unwrap_or_default();
        last.append(unstored);
        if self.lost.is_some() {
            return Err(format!("{} changes are lost", last.changes.len()));
        }
        let stored = self.store.finish(&last.changes, wall);
        stored.map(drop).map_err(|error| format!("{} changes are lost: {error}", last.changes.len()))
    }

    /// Asks another place from now on.
    pub(super) fn read_from(&mut self, place: StorePlace) {
        self.questions = Questions::new(place.clone());
        self.place = place;
    }

    /// Stores nothing more, because another central may.
    #[cfg(feature = "centreon")]
    pub(super) fn is_taken_over(&mut self, reason: &str) {
        self.lost.get_or_insert_with(|| reason.to_owned());
    }

    /// Takes the end of a commit on a server.
    #[cfg(feature = "centreon")]
    pub(super) fn take_back(&mut self, finished: Finished) -> (Vec<StoreChange>, Result<Applied, StoreError>) {
        self.store.take_back(finished)
    }

    /// Returns memory to the system after a burst.
    pub(super) fn release_memory(&self) {
        self.store.release_memory();
        crate::edge::release_free_memory();
        crate::edge::release_program_pages();
    }

    fn checkpoint_job(&mut self) -> Option<Job<JobResult>> {
        let file = self.store.file()?;
        let is_due = self.checkpoint_wanted || file.wal_backlog_bytes() >= self.checkpoint_bytes;
        if self.checkpointing || !is_due {
            return None;
        }
        self.checkpoint_wanted = false;
        self.checkpointing = true;
        let path = self.path.clone();
        Some(Box::new(move || {
            let result = history_store::checkpoint(&path).map(drop).map_err(|error| error.to_string());
            JobResult::Checkpointed(result)
        }))
    }
}

impl EventLoop {
    /// Stores all changes of this turn in one transaction. Changes that could not be stored before come first, so that
    /// an older state of a session never overwrites a newer one. While they wait, later changes are refused at once.
    pub(super) fn commit(&mut self, now: Now) {
        self.commit_waiting(now);
        if self.storage.retry_at.is_some_and(|when| when <= now.monotonic) {
            self.storage.retry_at = None;
            let batch = self.dispatch.take_unstored();
            if self.storage.beside.is_on() {
                self.commit_or_wait(batch, now.monotonic, FIRST_LOOK, now);
            } else {
                self.commit_batch(batch, now);
            }
        }
        self.renew_lease(now);
        let is_well = self.dispatch.may_begin_early() && self.storage.is_well();
        while is_well && self.dispatch.may_begin_early() {
            self.dispatch.begin_early(now);
        }
        if self.dispatch.waits_until().is_some_and(|until| now.monotonic < until) {
            return;
        }
        let is_refused = self.storage.beside.is_on() && self.storage.failing;
        if self.storage.beside.is_under_way() && !is_refused {
            // They share the next commit.
            let is_full = self.dispatch.pending_changes() >= WAITING_MAX;
            self.storage.beside.set_full(is_full.then(|| now.monotonic + LAST_LOOK));
            return;
        }
        let batch = self.dispatch.take_batch();
        if batch.is_empty() {
            return;
        }
        if is_refused || self.dispatch.has_unstored() {
            self.dispatch.refused(batch, now);
            return;
        }
        if let Some(waiting) = &mut self.storage.waiting {
            waiting.batch.append(batch);
            return;
        }
        self.commit_batch(batch, now);
        if let Some(job) = self.storage.checkpoint_job() {
            self.workers.submit(Rank::Own, job);
        }
    }

    /// Retries the changes that wait for another program.
    fn commit_waiting(&mut self, now: Now) {
        if let Some(waiting) = self.storage.waiting.take_if(|waiting| waiting.look_at <= now.monotonic) {
            let Waiting { batch, since, pause, .. } = waiting;
            self.commit_or_wait(batch, since, (pause * 2).min(LAST_LOOK), now);
        }
    }

    fn commit_batch(&mut self, batch: Batch, now: Now) {
        if !batch.is_empty() {
            self.commit_or_wait(batch, now.monotonic, FIRST_LOOK, now);
        }
    }

    /// Logs, now and then, that the full history in memory loses rows.
    fn tell_dropped(&mut self, rows: usize, now: Now) {
        let (told, dropped) = &mut self.storage.dropped;
        *dropped += rows;
        if rows == 0 || told.is_some_and(|told| now.monotonic.since(told) < TELL_DROPPED_EVERY) {
            return;
        }
        let text = format!(
            "the history in memory is full: {dropped} of its oldest rows were deleted; raise 'storage_max' if the \
             central does not have them"
        );
        (*told, *dropped) = (Some(now.monotonic), 0);
        self.log.write(&LogLine::warning("core", text), now.wall);
    }

    /// Handles a change of the database's files.
    pub(super) fn database_touched(&mut self, now: Now) {
        if let Some(file) = self.storage.store.file_mut() {
            file.take_events();
        }
        self.check_database(now);
    }

    /// Ends the daemon if the database is no longer the file that was opened, because acknowledged data would be lost.
    fn check_database(&mut self, now: Now) {
        // A checkpoint may make the file shorter.
        if self.storage.checkpointing || self.storage.lost.is_some() {
            return;
        }
        let Some(file) = self.storage.store.file_mut() else { return };
        if let Err(reason) = file.check_identity() {
            return self.database_is_lost(&reason, now);
        }
        if !self.storage.verifying && file.was_written_by_others() {
            let (path, last) = (self.storage.path.clone(), file.newest_id());
            self.storage.verifying = true;
            let job = move || JobResult::Verified(history_store::verify(&path, last));
            self.workers.submit(Rank::Own, Box::new(job));
        }
    }

    /// Takes the result of [`history_store::verify`].
    pub(super) fn database_verified(&mut self, result: Result<(), String>, now: Now) {
        self.storage.verifying = false;
        match result {
            Err(reason) if self.storage.lost.is_none() => self.database_is_lost(&reason, now),
            _ => {}
        }
    }

    fn database_is_lost(&mut self, reason: &str, now: Now) {
        let text = format!(
            "{reason}: nothing can be stored any more, so the daemon ends; restore the file or restart the daemon"
        );
        self.log.write(&LogLine::error("core", text.clone()), now.wall);
        self.storage.lost = Some(text);
    }

    pub(super) fn commit_or_wait(&mut self, mut batch: Batch, since: Monotonic, pause: Duration, now: Now) {
        self.check_database(now);
        if self.storage.lost.is_some() {
            return self.dispatch.refused(batch, now);
        }
        #[cfg(feature = "status")]
        let begin = std::time::Instant::now();
        let applied = match self.storage.store.begin(&mut batch.changes, batch.doubtful, now.wall) {
            Commit::Done(applied) => applied,
            #[cfg(feature = "centreon")]
            Commit::Later(job) => return self.commit_beside(batch, job, now),
            #[cfg(feature = "centreon")]
            Commit::Busy => return self.dispatch.refused(batch, now),
        };
        #[cfg(feature = "status")]
        self.storage.commits.count(u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX));
        if let Err(error) = &applied
            && error.kind == StoreErrorKind::Busy
            && now.monotonic.since(since) < LOCK_PATIENCE
        {
            self.storage.waiting = Some(Waiting { batch, since, look_at: now.monotonic + pause, pause });
            return;
        }
        self.applied(batch, applied, now);
    }

    /// Takes the end of a commit.
    pub(super) fn applied(&mut self, mut batch: Batch, applied: Result<Applied, StoreError>, now: Now) {
        let mut purge_left = false;
        let stored = match applied {
            Ok(applied) => {
                self.storage.checkpoint_wanted |= applied.is_shorter && !applied.purge_left;
                purge_left = applied.purge_left;
                self.tell_dropped(applied.dropped, now);
                batch.left_out = applied.left_out;
                if std::mem::take(&mut self.storage.failing) {
                    self.log.write(&LogLine::info("core", "the database takes changes again"), now.wall);
                }
                true
            }
            Err(error) => {
                if let (StoreErrorKind::InUse(_), true) = (error.kind, self.storage.beside.is_on()) {
                    self.log.write(&LogLine::error("core", error.to_string()), now.wall);
                    self.storage.lost = Some(error.to_string());
                }
                if !std::mem::replace(&mut self.storage.failing, true) {
                    self.log.write(&LogLine::error("core", error.to_string()), now.wall);
                }
                false
            }
        };
        self.dispatch.committed(batch, stored, now);
        if purge_left {
            self.dispatch.purge_left(now);
        }
        // A server is asked again by itself, because nothing is sent to it meanwhile.
        let is_asked = self.dispatch.has_unstored() || !stored && self.storage.beside.is_on();
        if is_asked && self.storage.retry_at.is_none() {
            self.storage.retry_at = Some(now.monotonic + RETRY);
        }
    }
}

//! The writer's connection: one transaction for a turn, made again where that is safe.
//!
//! Each transaction begins with a change of the one row of `stheno_store`: its `tag` must be the one that this writer
//! wrote last, and becomes a new one. So a second writer is noticed before anything is written, and after a commit
//! whose answer was lost the tag tells whether it took place.

use std::thread;
use std::time::{Duration, Instant};

use super::lanes::{self, Lanes};
use super::lease::Lease;
use super::purge;
use super::session::{Session, Trouble};
use super::text::Columns;
use crate::config::database::HistoryServer;
use crate::edge::history_store::{Applied, CommitClock, StoreError, StoreErrorKind};
use crate::edge::random::SystemRandom;
use crate::model::history::StoreChange;
use crate::model::queue::{QueueChange, QueuedRequest};
use crate::model::random::Random;
use crate::model::time::WallTime;

/// How long changes are tried before their commit counts as failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Delay before the next try.
const PAUSE: Duration = Duration::from_millis(100);
/// Maximum number of statements whose answers are not read yet.
const TOGETHER: usize = 64;

/// What every commit continues from.
#[derive(Clone, Copy)]
struct State {
    tag: i64,
    last_row: i64,
    clock: CommitClock,
}

/// A commit whose answer was lost.
struct Doubt {
    /// The state if it took place.
    state: State,
    applied: Applied,
    /// Number of the connection on which it was sent, and the index of its server.
    connection: (u32, usize),
    /// Whether it was sent by an earlier call.
    is_old: bool,
}

/// The only writer of the history.
pub struct Writer {
    server: HistoryServer,
    lease: Lease,
    session: Option<Session>,
    state: State,
    doubt: Option<Doubt>,
    random: SystemRandom,
}

impl Writer {
    /// Takes over the history.
    ///
    /// # Errors
    /// Another daemon has it, or it is unusable.
    pub(super) fn open(server: HistoryServer, lease: Lease, create: bool) -> Result<Self, StoreError> {
        let deadline = Instant::now() + PATIENCE;
        let mut random = SystemRandom::new();
        let mut session = loop {
            match Self::prepare(&server, create, deadline) {
                Ok(session) => break session,
                Err(trouble) if trouble.passes && Instant::now() < deadline => thread::sleep(PAUSE),
                Err(trouble) => return Err(trouble.into_error(&server)),
            }
        };
        let tag = new_tag(&mut random);
        let taken = lease.take(&mut session, tag).map_err(|trouble| trouble.into_error(&server))?;
        let clock = CommitClock::at_ticks(taken.ticks);
        let state = State { tag, last_row: taken.last_row, clock };
        Ok(Self { server, lease: taken.lease, session: Some(session), state, doubt: None, random })
    }

    fn prepare(server: &HistoryServer, create: bool, deadline: Instant) -> Result<Session, Trouble> {
        let mut session = Session::open(server, deadline)?;
        session.allow(Duration::from_secs(60));
        super::schema::complete(&mut session, create)?;
        Ok(session)
    }

    /// The `ctime` of the newest row in seconds.
    pub(super) fn newest_ctime(&self) -> f64 {
        self.state.clock.seconds()
    }

    /// The connection, for what a start reads.
    pub(super) fn session(&mut self) -> Result<&mut Session, Trouble> {
        if self.session.is_none() {
            self.session = Some(Session::open(&self.server, Instant::now() + PATIENCE)?);
        }
        let session = self.session.as_mut().ok_or_else(|| Trouble::new(StoreErrorKind::Other, "", true))?;
        session.allow(PATIENCE * 2);
        Ok(session)
    }

    /// The server, for messages.
    pub(super) const fn server(&self) -> &HistoryServer {
        &self.server
    }

    /// Applies changes in order in one transaction. The first `doubtful` of them were part of the last call, which
    /// failed; they are left out if it took place after all. With `gives_back`, another daemon may take over at once.
    pub(super) fn apply(
        &mut self,
        changes: &[StoreChange],
        doubtful: usize,
        wall: WallTime,
        gives_back: bool,
    ) -> Result<Applied, StoreError> {
        if let Some(doubt) = &mut self.doubt {
            doubt.is_old = true;
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.attempt(changes, doubtful, wall, gives_back) {
                Ok(applied) => return Ok(applied),
                Err(trouble) => {
                    // It is not known what the server made of the statements before, so nothing continues on them.
                    self.session = None;
                    if !trouble.passes || Instant::now() + PAUSE >= deadline {
                        return Err(trouble.into_error(&self.server));
                    }
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    fn attempt(
        &mut self,
        changes: &[StoreChange],
        doubtful: usize,
        wall: WallTime,
        gives_back: bool,
    ) -> Result<Applied, Trouble> {
        let mut changes = changes;
        if let Some(doubt) = self.settle_doubt()? {
            if !doubt.is_old {
                return Ok(doubt.applied);
            }
            changes = changes.get(doubtful..).unwrap_or_default();
        }
        let next = State { tag: new_tag(&mut self.random), ..self.state };
        let guard = self.lease.guard(self.state.tag, next.tag, gives_back);
        let session = self.session()?;
        let first = vec!["START TRANSACTION".to_owned(), guard];
        let (lanes, applied) = (Lanes::default(), Applied::default());
        let mut turn = Turn { session, first, lanes, state: next, applied, is_ours: true };
        turn.fill(changes, wall)?;
        let Turn { state: next, applied, is_ours, .. } = turn;
        let connection = (session.number(), session.index);
        if !is_ours {
            return Err(self.taken_over());
        }
        self.doubt = Some(Doubt { state: next, applied: applied.clone(), connection, is_old: false });
        self.session()?.run("COMMIT")?;
        self.doubt = None;
        self.state = next;
        Ok(applied)
    }

    /// Finds out whether a commit whose answer was lost took place; returns it if so.
    fn settle_doubt(&mut self) -> Result<Option<Doubt>, Trouble> {
        let Some(doubt) = self.doubt.take() else { return Ok(None) };
        let (sent, known) = (doubt.state, self.state.tag);
        let (number, index) = doubt.connection;
        self.doubt = Some(doubt);
        let session = self.session()?;
        if session.index == index && session.number() != number {
            // It may still hold its locks, if the server has not noticed that its client is gone.
            let _gone_by_itself = session.run(&format!("KILL {number}"));
        }
        // Waits for the end of the transaction in doubt.
        session.run("START TRANSACTION")?;
        let row = session.rows("SELECT tag FROM stheno_store WHERE id = 1 FOR UPDATE")?.pop();
        session.run("ROLLBACK")?;
        let tag = row.and_then(|row| Columns::of(row).number());
        let doubt = self.doubt.take();
        match tag {
            Some(tag) if tag == sent.tag => {
                self.state = sent;
                Ok(doubt)
            }
            Some(tag) if tag == known => Ok(None),
            _ => Err(self.taken_over()),
        }
    }

    /// Says who writes now.
    fn taken_over(&mut self) -> Trouble {
        let who = self.session().and_then(|session| {
            session.run("ROLLBACK")?;
            let row = session.rows("SELECT member FROM stheno_store WHERE id = 1")?.pop();
            Ok(row.and_then(|row| Columns::of(row).text()).unwrap_or_default())
        });
        let text = match who {
            Ok(member) => format!("another daemon ('{member}') has taken the history over"),
            Err(trouble) => trouble.text,
        };
        Trouble::new(StoreErrorKind::InUse(None), text, false)
    }
}

/// A tag that no other commit has.
fn new_tag(random: &mut SystemRandom) -> i64 {
    i64::try_from(1 + random.below((1 << 62) - 1)).unwrap_or(1)
}

/// A transaction that is being filled.
struct Turn<'a> {
    session: &'a mut Session,
    /// The statements that begin it, until they are sent: the last one must change a row.
    first: Vec<String>,
    is_ours: bool,
    lanes: Lanes,
    state: State,
    applied: Applied,
}

impl Turn<'_> {
    fn fill(&mut self, changes: &[StoreChange], wall: WallTime) -> Result<(), Trouble> {
        let passes = lanes::passes(changes);
        let mut puts = Vec::new();
        for (index, change) in changes.iter().enumerate() {
            match change {
                StoreChange::InsertRow(row) => {
                    self.state.last_row += 1;
                    self.lanes.row(row, self.state.last_row, self.state.clock.next(wall));
                    self.applied.inserted += 1;
                }
                StoreChange::Queue(QueueChange::Put(request)) => puts.push((index, request)),
                StoreChange::Queue(_) => {
                    self.put_requests(&mut puts)?;
                    self.lanes.add(change);
                }
                StoreChange::Purge { used_before, rows_before, instant_before } => {
                    self.send()?;
                    let before = purge::Before {
                        now: wall.as_seconds(),
                        used: *used_before,
                        rows: *rows_before,
                        instant: *instant_before,
                    };
                    let (purged, is_left) = purge::step(self.session, before)?;
                    self.applied.purged += purged;
                    self.applied.purge_left |= is_left;
                }
                change if passes(change) => {}
                change => self.lanes.add(change),
            }
        }
        self.put_requests(&mut puts)?;
        self.lanes.state(self.state.last_row, self.state.clock.ticks());
        self.send()
    }

    /// Puts requests into the queue, but for those with a token that is there already.
    fn put_requests(&mut self, puts: &mut Vec<(usize, &QueuedRequest)>) -> Result<(), Trouble> {
        if puts.is_empty() {
            return Ok(());
        }
        self.send()?;
        let hash = |request: &QueuedRequest| request.head.token.digest();
        let mut known = std::collections::BTreeSet::new();
        for some in puts.chunks(1_000) {
            let hashes: Vec<String> = some.iter().map(|(_, request)| hash(request).to_string()).collect();
            let sql = format!("SELECT hash FROM stheno_outbox WHERE hash IN ({})", hashes.join(","));
            known.extend(self.session.rows(&sql)?.into_iter().filter_map(|row| Columns::of(row).number()));
        }
        for (index, request) in puts.drain(..) {
            if known.insert(hash(request)) {
                self.lanes.put_request(request);
            } else {
                self.applied.left_out.push(index);
            }
        }
        Ok(())
    }

    /// Runs the statements so far.
    fn send(&mut self) -> Result<(), Trouble> {
        let mut statements = std::mem::take(&mut self.first);
        let guard = statements.len().checked_sub(1);
        statements.extend(self.lanes.take());
        for (index, some) in statements.chunks(TOGETHER).enumerate() {
            let affected = self.session.run_all(some.iter().map(String::as_str))?;
            if let (0, Some(guard)) = (index, guard) {
                self.is_ours = affected.get(guard) == Some(&1);
            }
        }
        Ok(())
    }
}

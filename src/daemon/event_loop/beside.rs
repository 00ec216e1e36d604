//! Commits on a database server, which take place beside the loop. One is under way at a time; the changes of the turns
//! meanwhile share the next one. What was asked of the history waits for the changes before it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::config::cluster::ClusterSettings;
use crate::daemon::dispatch::Batch;
use crate::edge::history_store::{DatabaseLock, StoreErrorKind};
use crate::edge::log::LogWriter;
use crate::edge::server_store::{Lease, ServerStore};
use crate::edge::store::{Store, StorePlace};
use crate::model::host_work::HostWork;
use crate::model::log::LogLine;
use crate::model::stored::Stored;
use crate::model::time::{Monotonic, Now};

use super::RunError;

/// The commit that is under way, and what waits for it. A history in a file has none.
#[derive(Default)]
pub(super) struct Beside {
    lease: Option<Duration>,
    /// Keeps another daemon of this machine from the same folder.
    _lock: Option<DatabaseLock>,
    batch: Option<(Batch, Monotonic)>,
    /// Number of commits begun so far.
    begun: u64,
    /// Questions, with the number of the commit that they wait for.
    questions: VecDeque<(u64, HostWork)>,
    renew_at: Option<Monotonic>,
    /// When another central of the cluster may take over.
    ends_at: Option<Monotonic>,
    full_until: Option<Monotonic>,
}

/// The writer, what a start continues from, where questions go, and the commits.
pub(super) type Opened = (Store, Stored, StorePlace, Beside);

/// Opens the history of a database server; `None` if the configuration names a file.
pub(super) fn open(config: &Config, log: &mut LogWriter, now: Now) -> Result<Option<Opened>, RunError> {
    let core = &config.core;
    let Some(server) = &core.server else { return Ok(None) };
    std::fs::create_dir_all(core.database.parent().unwrap_or(Path::new("."))).map_err(RunError::new)?;
    let lock = DatabaseLock::take(&core.database).map_err(RunError::new)?;
    let lease = lease_of(config);
    let time = Duration::from_millis(lease.millis);
    let opened = ServerStore::open(server.clone(), lease, core.create_schema);
    let (store, stored) = opened.map_err(|error| RunError {
        // Another member was faster, or the server is away.
        passes: core.cluster.is_some()
            && !matches!(error.kind, StoreErrorKind::SchemaMissing | StoreErrorKind::PermissionDenied),
        ..RunError::new(error)
    })?;
    log.write(&LogLine::info("core", format!("the history is in the database {server}")), now.wall);
    let renew_at = Some(now.monotonic + time / 3);
    // A cluster has others who would write.
    let ends_at = core.cluster.is_some().then(|| now.monotonic + time);
    let beside = Beside { lease: Some(time), _lock: Some(lock), renew_at, ends_at, ..Beside::default() };
    let place = StorePlace::Server(Arc::new(server.clone()));
    Ok(Some((Store::Server(store), stored, place, beside)))
}

/// The terms under which this daemon writes: those of its cluster, or of a daemon that stands alone.
pub(super) fn lease_of(config: &Config) -> Lease {
    /// How long a daemon that stands alone may write after a commit.
    const ALONE: Duration = Duration::from_secs(15);
    let core = &config.core;
    let place = format!("{}:{}", core.hostname, core.database.display());
    let of = |read: fn(&ClusterSettings) -> &String| core.cluster.as_ref().map(read).cloned();
    let time = core.cluster.as_ref().map_or(ALONE, |cluster| cluster.lease);
    Lease {
        cluster: of(|cluster| &cluster.name).unwrap_or_default(),
        member: of(|cluster| &cluster.member).unwrap_or_else(|| place.clone()),
        address: of(|cluster| &cluster.address).unwrap_or_default(),
        millis: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
        epoch: 0,
        place,
    }
}

impl Beside {
    /// Whether commits take place beside the loop.
    pub(super) const fn is_on(&self) -> bool {
        self.lease.is_some()
    }

    pub(super) const fn is_under_way(&self) -> bool {
        self.batch.is_some()
    }

    /// When the lease is renewed if nothing is committed before.
    pub(super) fn poll_timeout(&self) -> Option<Monotonic> {
        let renew_at = self.renew_at.filter(|_| self.batch.is_none());
        renew_at.into_iter().chain(self.ends_at).min()
    }

    /// Until when no input may be read, because too much waits for the next commit.
    pub(super) fn full_until(&self) -> Option<Monotonic> {
        self.full_until.filter(|_| self.batch.is_some())
    }

    pub(super) const fn set_full(&mut self, until: Option<Monotonic>) {
        self.full_until = until;
    }

    /// Keeps a question that must see changes which are not stored yet; returns it if there are none.
    pub(super) fn keep(&mut self, work: HostWork, pending: usize) -> Option<HostWork> {
        let is_under_way = self.batch.is_some();
        if self.lease.is_none() || (pending == 0 && !is_under_way) {
            return Some(work);
        }
        self.questions.push_back((self.begun + u64::from(pending > 0), work));
        None
    }

    /// Notes that the commit of a batch is under way.
    pub(super) fn begin(&mut self, batch: Batch, now: Monotonic) {
        self.begun += 1;
        self.batch = Some((batch, now));
        self.renew_at = self.lease.map(|lease| now + lease / 3);
    }

    /// Notes that a commit begun at the given time has lengthened the lease.
    pub(super) fn lengthen(&mut self, begun: Monotonic) {
        if let (Some(ends_at), Some(lease)) = (&mut self.ends_at, self.lease) {
            *ends_at = begun + lease;
        }
    }

    /// Whether another central may have taken over.
    pub(super) fn is_over(&self, now: Monotonic) -> bool {
        self.ends_at.is_some_and(|end| end <= now)
    }

    /// Takes the batch of the commit that has ended, and when it was begun.
    pub(super) const fn end(&mut self) -> Option<(Batch, Monotonic)> {
        self.batch.take()
    }

    /// Whether the lease must be renewed now; once.
    pub(super) fn take_renewal(&mut self, now: Monotonic) -> bool {
        let is_due = self.batch.is_none() && self.renew_at.is_some_and(|when| when <= now);
        if is_due {
            self.renew_at = None;
        }
        is_due
    }

    /// Takes the questions that wait no longer.
    pub(super) fn take_questions(&mut self, all: bool) -> Vec<HostWork> {
        let begun = self.begun;
        let count = self.questions.iter().take_while(|(number, _)| all || *number <= begun).count();
        self.questions.drain(..count).map(|(_, work)| work).collect()
    }
}

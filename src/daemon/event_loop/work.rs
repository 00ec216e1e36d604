//! Blocking work of modules, done by workers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::config::allow_list::AllowList;
use crate::config::database::DatabaseSettings;
use crate::daemon::dispatch::CryptoJob;
use crate::edge::centreon_database;
use crate::edge::command_pipe;
use crate::edge::jobs::Job;
use crate::edge::packages;
use crate::edge::store;
use crate::model::host_work::{HostDone, HostWork};
use crate::model::time::Now;
use crate::model::work::{PipeReport, Work, WorkId, WorkOutcome};

use crate::wire::gorgone::keys::PrivateKey;

use super::storage::JobResult;
use super::workers::Rank;
use super::{EventLoop, LOOKUPS_MAX};

/// Maximum duration of checking one request against the allow-list, plus the current match.
const CHECK_MAX: Duration = Duration::from_secs(2);
/// Maximum duration of the first check against the allow-list. A longer check continues at a lower rank, so that it
/// does not delay others.
pub(super) const LOOK_MAX: Duration = Duration::from_millis(10);
/// Maximum number of waiting writes to pipes.
const PIPES_MAX: usize = 1_000;

const fn done(id: WorkId, outcome: WorkOutcome) -> JobResult {
    JobResult::Host(HostDone::WorkDone { id, outcome })
}

/// Command lines to be checked against the allow-list.
pub(super) struct Check {
    id: WorkId,
    lines: Vec<String>,
    wanted: usize,
}

/// Checks command lines. With `may_return`, a check that is not done after `patience` is handed back; without it, the
/// current line counts as refused.
fn check_job(check: Check, allowed: &AllowList, patience: Duration, may_return: bool) -> Job<JobResult> {
    let allowed = allowed.clone();
    Box::new(move || {
        let (deadline, mut is_late) = (Instant::now() + patience, false);
        let found = allowed.check(&check.lines, check.wanted, || {
            is_late |= Instant::now() >= deadline;
            is_late
        });
        if is_late && may_return {
            return JobResult::CheckTakesLong(check);
        }
        done(check.id, WorkOutcome::Checked(found))
    })
}

/// The parts of the configuration that work on this machine needs.
pub(super) struct Host {
    /// Our own key.
    key: Arc<PrivateKey>,
    /// The commands that may be run.
    allowed: AllowList,
    /// The Centreon database, if module `nodes` reads it.
    pollers: Option<DatabaseSettings>,
    /// Settings of the module `statistics`, if loaded.
    #[cfg(feature = "centreon")]
    pub(super) statistics: Option<crate::config::modules::statistics::StatisticsSettings>,
    /// Of the web API.
    #[cfg(feature = "centreon")]
    pub(super) web_login: Arc<crate::edge::web_tokens::WebLogin>,
}

impl Host {
    pub(super) fn new(config: &Config, key: PrivateKey) -> Self {
        let pollers = config.modules.nodes.as_ref().map(|nodes| nodes.database.clone());
        let mut host = Self {
            key: Arc::new(key),
            allowed: AllowList::default(),
            pollers,
            #[cfg(feature = "centreon")]
            statistics: config.modules.statistics.clone(),
            #[cfg(feature = "centreon")]
            web_login: Arc::default(),
        };
        host.take_list(config);
        host
    }

    /// Replaces our own key.
    pub(super) fn set_key(&mut self, key: PrivateKey) {
        self.key = Arc::new(key);
    }

    /// Takes the allow-list of a configuration.
    pub(super) fn take_list(&mut self, config: &Config) {
        let allowed = config.modules.action.as_ref().and_then(|action| action.allowed.as_ref());
        self.allowed = allowed.map(|allowed| allowed.list.clone()).unwrap_or_default();
    }

    /// Returns the job for a step of a handshake, with its rank.
    pub(super) fn crypto_job(&self, job: CryptoJob) -> (Rank, Job<JobResult>) {
        let rank = match job {
            CryptoJob::Hello { is_known: false, .. } | CryptoJob::Login { .. } => Rank::Stranger,
            CryptoJob::Hello { .. } | CryptoJob::Dial(..) => Rank::Handshake,
        };
        let key = Arc::clone(&self.key);
        (rank, Box::new(move || JobResult::Crypto(Box::new(job.run(&key)))))
    }
}

impl EventLoop {
    /// Starts work that the deciding core requests of this machine.
    pub(super) fn host_work(&mut self, work: HostWork, now: Now) {
        let asks = matches!(work, HostWork::Query { .. } | HostWork::Work { work: Work::Queue(_), .. });
        let pending = self.dispatch.pending_changes();
        let work = if asks { self.storage.beside.keep(work, pending) } else { Some(work) };
        if let Some(work) = work {
            self.begin_host_work(work, now);
        }
    }

    /// The same for work that need not wait for changes.
    pub(super) fn begin_host_work(&mut self, work: HostWork, now: Now) {
        match work {
            HostWork::Query { query, filter, limit } => self.storage.questions.ask((query, filter, limit)),
            HostWork::RunCommand { command, spec } => {
                self.workers.submit(Rank::Spawn, self.children.spawn_job(command, spec))
            }
            HostWork::KillCommand(command) => self.children.kill(command),
            HostWork::EndCommand(command) => self.children.end(command, now.monotonic),
            HostWork::Work { id, work } => self.start_work(id, work, now),
            HostWork::ReadSource { source, step } => self.copies.read(source, step),
            HostWork::WriteSink { sink, steps } => self.copies.write(sink, steps),
            HostWork::ReadPollers => self.read_pollers(now),
        }
    }

    fn start_work(&mut self, id: WorkId, work: Work, now: Now) {
        match work {
            Work::CheckCommands { lines, wanted } => {
                let job = check_job(Check { id, lines, wanted }, &self.host.allowed, LOOK_MAX, true);
                self.workers.submit(Rank::Match, job);
            }
            Work::ReadPlugins { file } => {
                let read = move || done(id, WorkOutcome::PluginsRead(packages::read_plugins(file.as_deref())));
                self.workers.submit(Rank::Match, Box::new(read));
            }
            Work::Legacy(work) => self.legacy_work(id, work, now),
            Work::Queue(query) => {
                let place = self.storage.place().clone();
                let ask = move || done(id, WorkOutcome::Queue(store::query_queue(&place, &query)));
                self.workers.submit(Rank::QuickQuestion, Box::new(ask));
            }
            Work::Statistics(work) => self.statistics_work(id, work, now),
            Work::Report(order) => self.report(id, *order, now),
            Work::WritePipe { file, requests, timeout } => {
                let write = move || {
                    let reports = command_pipe::write_requests(&file, &requests, timeout);
                    done(id, WorkOutcome::PipeWritten(reports))
                };
                if !self.workers.submit_below(PIPES_MAX, Rank::Pipe, Box::new(write)) {
                    let failure = "submit engine command issue: too many pipes are written to, try again later";
                    let report = PipeReport { submitted: 0, failure: Some(failure.to_owned()) };
                    let outcome = WorkOutcome::PipeWritten(vec![report]);
                    self.dispatch.host_done(HostDone::WorkDone { id, outcome }, now);
                }
            }
        }
    }

    /// Repeats a check that was cut off, at a rank where it may take longer.
    pub(super) fn check_slowly(&mut self, check: Check) {
        self.workers.submit(Rank::SlowMatch, check_job(check, &self.host.allowed, CHECK_MAX, false));
    }

    /// Reads the Centreon database on the threads for lookups, because it may be as slow as a name server.
    fn read_pollers(&mut self, now: Now) {
        let Some(settings) = self.host.pollers.clone() else { return };
        let job = Box::new(move || {
            let tables = centreon_database::read(&settings).map_err(|fault| fault.text);
            JobResult::Host(HostDone::PollersRead(tables))
        });
        if !self.workers.submit_below(LOOKUPS_MAX, Rank::Lookup, job) {
            let failure = Err("too much waits for the network".to_owned());
            self.dispatch.host_done(HostDone::PollersRead(failure), now);
        }
    }
}

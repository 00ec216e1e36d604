//! Blocking work of modules, done on a worker.

use std::time::{Duration, Instant};

use crate::config::allow_list::AllowList;
use crate::edge::command_pipe;
use crate::edge::jobs::Job;
use crate::edge::packages;
use crate::model::host_work::{HostDone, HostWork};
use crate::model::time::Now;
use crate::model::work::{PipeReport, Work, WorkId, WorkOutcome};

use super::EventLoop;
use super::children::Children;
use super::storage::JobResult;

/// A check of one request against the allow-list takes no longer than this, and the match in hand.
const CHECK_MAX: Duration = Duration::from_secs(2);

/// Pipes that are written to at once; others wait.
pub(super) const PIPE_THREADS: usize = 4;
/// Pipes that may wait.
pub(super) const PIPES_MAX: usize = 1_000;

const fn done(id: WorkId, outcome: WorkOutcome) -> JobResult {
    JobResult::Host(HostDone::WorkDone { id, outcome })
}

/// The job that does a piece of work.
fn job(id: WorkId, work: Work, allowed: &AllowList) -> Job<JobResult> {
    match work {
        Work::CheckCommands { lines, wanted } => {
            let allowed = allowed.clone();
            Box::new(move || {
                let deadline = Instant::now() + CHECK_MAX;
                let check = allowed.check(&lines, wanted, || Instant::now() >= deadline);
                done(id, WorkOutcome::Checked(check))
            })
        }
        Work::ReadPlugins { file } => {
            Box::new(move || done(id, WorkOutcome::PluginsRead(packages::read_plugins(file.as_deref()))))
        }
        Work::WritePipe { file, lines, patience } => {
            Box::new(move || done(id, WorkOutcome::PipeWritten(command_pipe::write_lines(&file, &lines, patience))))
        }
    }
}

impl EventLoop {
    /// Does what the deciding part wants of this machine.
    pub(super) fn host_work(&mut self, work: HostWork, now: Now) {
        match work {
            HostWork::Query { query, filter, limit } => self.storage.questions.ask((query, filter, limit)),
            HostWork::RunCommand { command, spec } => self.submit(Children::spawn_job(command, spec)),
            HostWork::KillCommand(command) => self.children.kill(command),
            HostWork::Work { id, work } => self.start_work(id, work, now),
            HostWork::ReadSource { source, step } => self.copies.read(source, step),
            HostWork::WriteSink { sink, steps } => self.copies.write(sink, steps),
            HostWork::ReadPollers => self.read_pollers(now),
        }
    }

    /// Work that waits for somebody else has threads of its own, so that it holds up nothing.
    fn start_work(&mut self, id: WorkId, work: Work, now: Now) {
        let waits = matches!(work, Work::WritePipe { .. });
        let job = job(id, work, &self.allowed);
        if !waits {
            self.submit(job);
        } else if self.pipes.submit(job).is_err() {
            let failure = "submit engine command issue: too many pipes are written to, try again later".to_owned();
            let report = PipeReport { submitted: 0, failure: Some(failure) };
            let outcome = WorkOutcome::PipeWritten(report);
            self.dispatch.host_done(HostDone::WorkDone { id, outcome }, now);
        }
    }
}

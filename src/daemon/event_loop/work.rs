//! Blocking work of modules, done on a worker.

use std::time::{Duration, Instant};

use crate::config::allow_list::AllowList;
use crate::edge::command_pipe;
use crate::edge::jobs::Job;
use crate::edge::packages;
use crate::model::time::Now;
use crate::model::work::{PipeReport, Work, WorkId, WorkOutcome};

use super::EventLoop;
use super::storage::JobResult;

/// A check of one request against the allow-list takes no longer than this, and the match in hand.
const CHECK_MAX: Duration = Duration::from_secs(2);

/// Pipes that are written to at once; others wait.
pub(super) const PIPE_THREADS: usize = 4;
/// Pipes that may wait.
pub(super) const PIPES_MAX: usize = 1_000;

/// The job that does a piece of work.
fn job(id: WorkId, work: Work, allowed: &AllowList) -> Job<JobResult> {
    match work {
        Work::CheckCommands { lines, wanted } => {
            let allowed = allowed.clone();
            Box::new(move || {
                let deadline = Instant::now() + CHECK_MAX;
                let check = allowed.check(&lines, wanted, || Instant::now() >= deadline);
                JobResult::Worked(id, WorkOutcome::Checked(check))
            })
        }
        Work::ReadPlugins { file } => {
            Box::new(move || JobResult::Worked(id, WorkOutcome::PluginsRead(packages::read_plugins(file.as_deref()))))
        }
        Work::WritePipe { file, lines, patience } => Box::new(move || {
            JobResult::Worked(id, WorkOutcome::PipeWritten(command_pipe::write_lines(&file, &lines, patience)))
        }),
    }
}

impl EventLoop {
    /// Work that waits for somebody else has threads of its own, so that it holds up nothing.
    pub(super) fn start_work(&mut self, id: WorkId, work: Work, now: Now) {
        let waits = matches!(work, Work::WritePipe { .. });
        let job = job(id, work, &self.allowed);
        if !waits {
            self.submit(job);
        } else if self.pipes.submit(job).is_err() {
            let failure = "submit engine command issue: too many pipes are written to, try again later".to_owned();
            let report = PipeReport { submitted: 0, failure: Some(failure) };
            self.dispatch.work_done(id, WorkOutcome::PipeWritten(report), now);
        }
    }
}

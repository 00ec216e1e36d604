//! Commands as child processes, each in a process group of its own and without a terminal.
//!
//! [`ChildProcess::spawn`] may block, so it runs in a job. Everything else runs on the loop's thread and never blocks.
//! The loop calls [`ChildProcess::poll`] once after the spawn and then for every child at each `SIGCHLD`, because a
//! signal does not reliably tell which child ended. Out of scope: how many run at once, and what a result means.

use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::child_output::{ChildEnds, ChildOutput};
use super::process_group;
use crate::model::command::{CommandEnd, CommandOutcome, CommandSpec, Program};
use crate::model::time::{Monotonic, Now, WallTime};
pub use environment::Environment;

pub use super::child_output::ReadState;

mod environment;
#[cfg(test)]
mod tests;

/// Maximum time after the exit that a pipe held open by a grandchild delays the result.
const PIPE_GRACE: Duration = Duration::from_millis(200);
/// Minimum interval between reports of output.
const NEWS_EVERY: Duration = Duration::from_millis(250);
/// Time after which a killed process that does not end (it hangs in the kernel) is abandoned.
const KILL_GRACE: Duration = Duration::from_secs(5);
/// Time that a command has to end by itself when it is asked to.
const END_GRACE: Duration = Duration::from_secs(5);
/// Interval between two looks at the group of such a command.
const END_LOOK_EVERY: Duration = Duration::from_millis(100);
/// Maximum number of bytes read after the exit. A full pipe holds 64 KiB, or 1 MiB if a program has enlarged it.
const DRAIN_BUDGET: usize = 1 << 20;

/// Children that were abandoned before they ended.
static ABANDONED: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// A running command. Dropping it before its end kills its whole group.
pub struct ChildProcess {
    /// The child until it is reaped.
    child: Option<Child>,
    id: u32,
    output: ChildOutput,
    /// When its output is reported next, if somebody follows it.
    news_at: Option<Monotonic>,
    started: WallTime,
    phase: Phase,
}

enum Phase {
    /// It is running, until its time-out.
    Running { deadline: Monotonic },
    /// Its group was asked to end. The group is looked at, and killed at the deadline. The leader is reaped with the
    /// last member, because until then its number belongs to the group.
    Ending { look_at: Monotonic, kill_at: Monotonic },
    /// It was killed after its time-out.
    Killed { give_up: Monotonic },
    /// It is reaped. The rest of its output is awaited until this time.
    Exited { end: CommandEnd, until: Monotonic },
    /// Its outcome has been reported.
    Reported,
}

impl ChildProcess {
    /// Starts a command: its own process group, `/dev/null` as stdin, a pipe for each output, no inherited descriptors
    /// (see [`system::keep_inherited_descriptors`]), `/` as its directory and `environment`. Its time-out runs from
    /// `now` on.
    ///
    /// Nothing runs between `fork` and `exec`, so that the standard library takes `posix_spawn`, which copies no page
    /// tables. `watch` gets number and descriptor of each output before the command starts: events of outputs that are
    /// watched later would not show which of them was written to first.
    ///
    /// # Errors
    /// Why it could not be started, as a sentence that names the program but not its arguments.
    pub fn spawn(
        spec: &CommandSpec,
        environment: &Environment,
        now: Now,
        watch: impl FnMut((usize, RawFd)),
    ) -> Result<Self, CommandEnd> {
        reap_abandoned();
        let (name, arguments) = match &spec.program {
            Program::Shell(line) => ("/bin/sh", ["-c", line.as_str()].to_vec()),
            Program::Words(words) => {
                let empty = || CommandEnd::NotStarted("the command is empty".to_owned());
                let (program, arguments) = words.split_first().ok_or_else(empty)?;
                (program.as_str(), arguments.iter().map(String::as_str).collect())
            }
        };
        let failed = |error| not_started(name, &error);
        let (output, ends) = ChildOutput::open(spec.output_limit).map_err(failed)?;
        output.descriptors().for_each(watch);
        let ChildEnds { stdout, stderr } = ends;
        // With a path the standard library does not search, which it would do after a `fork`.
        let mut command = Command::new(environment.find(name).map_err(failed)?);
        command.arg0(name).args(arguments).env_clear().envs(environment.variables());
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).process_group(0).current_dir("/");
        let child = command.spawn().map_err(failed)?;
        environment.mark(child.id());
        // The `Command` holds copies of the writing ends. If it lived on, the pipes would never close.
        drop(command);
        Ok(Self {
            id: child.id(),
            child: Some(child),
            output,
            news_at: spec.streams.then_some(now.monotonic),
            started: now.wall,
            phase: Phase::Running { deadline: now.monotonic + spec.timeout },
        })
    }

    /// The process id, which is also the id of its group.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Notes that an output became readable, or (`is_hung_up`) that nobody holds its other end any more. Call it in the
    /// order of the events.
    pub fn output_ready(&mut self, number: usize, is_hung_up: bool) {
        self.output.mark_ready(number, is_hung_up);
    }

    /// Reads up to about `budget` bytes of output. What exceeds the limits is dropped, so that the command never waits
    /// for us.
    pub fn read_output(&mut self, budget: usize) -> ReadState {
        self.output.read(budget)
    }

    /// Number of kept bytes of its output.
    #[must_use]
    pub const fn kept_bytes(&self) -> usize {
        self.output.kept_bytes()
    }

    /// Whether both limits are reached, so that no more output is kept.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.output.is_full()
    }

    /// The output since the last call if somebody follows it, at intervals.
    pub fn take_news(&mut self, now: Monotonic) -> Option<Vec<u8>> {
        self.news_at.filter(|at| *at <= now)?;
        let news = self.output.take_news()?;
        self.news_at = Some(now + NEWS_EVERY);
        Some(news)
    }

    /// Kills the whole process group. The end is still reported. Does nothing once the process is reaped.
    pub fn kill_group(&mut self) {
        // The number belongs to the process until it is reaped.
        if let Some(child) = &mut self.child {
            // It can only fail for a program of another user.
            if process_group::kill(self.id).is_err() {
                let _ = child.kill();
            }
        }
    }

    /// Asks the whole process group to end (`SIGTERM`), and kills what is left of it after [`END_GRACE`]. The end is
    /// still reported. Does nothing once the process is reaped or killed.
    pub fn end_group(&mut self, now: Monotonic) {
        if matches!(self.phase, Phase::Running { .. }) {
            // It can only fail for programs of another user, which cannot be killed either.
            let _not_allowed = process_group::terminate(self.id);
            self.phase = Phase::Ending { look_at: now + END_LOOK_EVERY, kill_at: now + END_GRACE };
        }
    }

    /// Checks whether the command has ended, and kills it at its time-out. Returns the outcome once.
    pub fn poll(&mut self, now: Now) -> Option<CommandOutcome> {
        match &self.phase {
            Phase::Running { deadline } => {
                let expired = now.monotonic >= *deadline;
                if !self.reap(now, CommandEnd::Exited) && expired {
                    self.kill_group();
                    self.phase = Phase::Killed { give_up: now.monotonic + KILL_GRACE };
                }
            }
            Phase::Ending { kill_at, .. } => {
                let (kill_at, look_at) = (*kill_at, now.monotonic + END_LOOK_EVERY);
                if process_group::is_over(self.id) {
                    self.reap(now, CommandEnd::Exited);
                } else if now.monotonic >= kill_at {
                    self.kill_group();
                    self.phase = Phase::Killed { give_up: now.monotonic + KILL_GRACE };
                } else {
                    self.phase = Phase::Ending { look_at, kill_at };
                }
            }
            Phase::Killed { give_up } => {
                let hopeless = now.monotonic >= *give_up;
                if !self.reap(now, |_| CommandEnd::TimedOut) && hopeless {
                    return Some(self.report(CommandEnd::TimedOut, now));
                }
            }
            Phase::Exited { .. } | Phase::Reported => {}
        }
        let Phase::Exited { end, until } = &self.phase else { return None };
        let (end, is_late) = (end.clone(), now.monotonic >= *until);
        let complete = self.read_output(DRAIN_BUDGET) == ReadState::Eof;
        (complete || is_late).then(|| self.report(end, now))
    }

    /// When to call [`ChildProcess::poll`] without an event.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        match self.phase {
            Phase::Running { deadline } => {
                let news_at = self.news_at.filter(|_| self.output.has_news());
                Some(news_at.map_or(deadline, |at| at.min(deadline)))
            }
            Phase::Ending { look_at, kill_at } => Some(look_at.min(kill_at)),
            Phase::Killed { give_up } => Some(give_up),
            Phase::Exited { until, .. } => Some(until),
            Phase::Reported => None,
        }
    }

    /// Reaps the process if it has ended.
    fn reap(&mut self, now: Now, end: impl Fn(i32) -> CommandEnd) -> bool {
        let code = match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(None)) => return false,
            Some(Ok(Some(status))) => exit_code(status),
            // Something else has reaped it, so its code is lost.
            Some(Err(_)) | None => 255,
        };
        self.child = None;
        self.phase = Phase::Exited { end: end(code), until: now.monotonic + PIPE_GRACE };
        true
    }

    fn report(&mut self, end: CommandEnd, now: Now) -> CommandOutcome {
        self.abandon();
        self.phase = Phase::Reported;
        let (output, cut) = self.output.take();
        CommandOutcome { end, output, cut, started: self.started, ended: now.wall }
    }

    /// Leaves an unreaped process to [`reap_abandoned`].
    fn abandon(&mut self) {
        if let Some(mut child) = self.child.take()
            && matches!(child.try_wait(), Ok(None))
        {
            ABANDONED.lock().unwrap_or_else(PoisonError::into_inner).push(child);
        }
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        self.kill_group();
        self.abandon();
    }
}

/// Reaps abandoned children that have ended since. It is cheap and is called at each `SIGCHLD`.
pub fn reap_abandoned() {
    let mut abandoned = ABANDONED.lock().unwrap_or_else(PoisonError::into_inner);
    abandoned.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
}

/// The exit code of a status, as shells number it.
fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}

fn not_started(name: &str, error: &io::Error) -> CommandEnd {
    let name = name.escape_debug();
    match error.kind() {
        io::ErrorKind::NotFound => {
            CommandEnd::NoProgram(127, format!("program '{name}' was not found; give its full path or install it"))
        }
        io::ErrorKind::PermissionDenied => {
            CommandEnd::NoProgram(126, format!("program '{name}' may not be executed; check its mode and owner"))
        }
        io::ErrorKind::ArgumentListTooLong => {
            CommandEnd::NotStarted(format!("program '{name}': the command line is too long"))
        }
        _ => CommandEnd::NotStarted(format!("program '{name}' could not be started: {error}")),
    }
}

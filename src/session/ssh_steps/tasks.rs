//! The tasks of one host: which wait, which run, and until when. No time of its own.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::ssh::{SshEnd, SshTask, SshTaskId};
use crate::model::time::Monotonic;

/// Commands at once. With the channel of SFTP, that of a ping and the one that listens it makes ten, as many as
/// OpenSSH's sshd allows by default (`MaxSessions`).
const COMMANDS_MAX: usize = 7;
/// A transfer that does not move for so long is given up: nobody reads the pipe, or the host hangs.
const TRANSFER_SILENCE: Duration = Duration::from_secs(15);

/// Packing a directory takes no longer.
const PACK_PATIENCE: Duration = Duration::from_secs(3_600);

struct Waiting {
    id: SshTaskId,
    task: SshTask,
    /// Without a connection it is not kept longer.
    until: Monotonic,
}

struct Begun {
    task: SshTask,
    since: Monotonic,
    moved: Monotonic,
    has_moved: bool,
}

/// See the module's page.
pub(super) struct Tasks {
    commands: VecDeque<Waiting>,
    transfers: VecDeque<Waiting>,
    begun: BTreeMap<SshTaskId, Begun>,
    /// Commands that the host lets run at once, as far as it is known.
    limit: usize,
}

impl Default for Tasks {
    fn default() -> Self {
        Self { commands: VecDeque::new(), transfers: VecDeque::new(), begun: BTreeMap::new(), limit: COMMANDS_MAX }
    }
}

fn is_urgent(task: &SshTask) -> bool {
    matches!(task, SshTask::Run(command) if command.is_urgent)
}

impl Begun {
    fn deadline(&self) -> Monotonic {
        match &self.task {
            SshTask::Run(command) => (self.since + command.timeout).min(self.moved + command.timeout_nodata),
            SshTask::Upload(_) if !self.has_moved => self.moved + PACK_PATIENCE,
            _ => self.moved + TRANSFER_SILENCE,
        }
    }

    fn end(&self, at: Monotonic) -> SshEnd {
        match &self.task {
            SshTask::Run(command) if self.since + command.timeout <= at => SshEnd::TimedOut,
            SshTask::Run(_) => SshEnd::Silent,
            SshTask::Submit { pipe, .. } => {
                SshEnd::Failed(format!("command file '{pipe}' must be writeable: nobody reads it"))
            }
            _ => SshEnd::Failed(format!("nothing moved for {} s", TRANSFER_SILENCE.as_secs())),
        }
    }
}

impl Tasks {
    pub fn add(&mut self, id: SshTaskId, task: SshTask, until: Monotonic) {
        let waiting = Waiting { id, until, task };
        if waiting.task.is_transfer() {
            self.transfers.push_back(waiting);
        } else if is_urgent(&waiting.task) {
            self.commands.push_front(waiting);
        } else {
            self.commands.push_back(waiting);
        }
    }

    /// The next task that may begin now; from then on it runs.
    pub fn begin(&mut self, at: Monotonic) -> Option<(SshTaskId, SshTask)> {
        let commands = self.begun.values().filter(|begun| !begun.task.is_transfer() && !is_urgent(&begun.task)).count();
        let front_is_urgent = self.commands.front().is_some_and(|waiting| is_urgent(&waiting.task));
        let waiting = if front_is_urgent || commands < self.limit { self.commands.pop_front() } else { None };
        let transfers = self.begun.values().any(|begun| begun.task.is_transfer());
        let waiting = waiting.or_else(|| if transfers { None } else { self.transfers.pop_front() })?;
        let Waiting { id, task, .. } = waiting;
        self.begun.insert(id, Begun { task: task.clone(), since: at, moved: at, has_moved: false });
        Some((id, task))
    }

    pub fn moved(&mut self, id: SshTaskId, at: Monotonic) {
        if let Some(begun) = self.begun.get_mut(&id) {
            begun.moved = at;
            begun.has_moved = true;
        }
    }

    /// The host has no channel for a command: it waits for the end of another one, if there is any.
    pub fn no_channel(&mut self, id: SshTaskId, reason: &str, at: Monotonic) -> Option<SshEnd> {
        let begun = self.begun.remove(&id)?;
        let others = self.begun.values().filter(|begun| !begun.task.is_transfer()).count();
        if others == 0 {
            return Some(SshEnd::Failed(format!("the host gives no channel: {reason}")));
        }
        self.limit = others.clamp(1, COMMANDS_MAX);
        self.commands.push_front(Waiting { id, task: begun.task, until: at });
        None
    }

    /// Until the connection ends, each command waits for the one before it.
    pub const fn run_one_at_a_time(&mut self) {
        self.limit = 1;
    }

    /// Forgets a task; whether it was known.
    pub fn remove(&mut self, id: SshTaskId) -> bool {
        if self.begun.remove(&id).is_some() {
            return true;
        }
        let before = self.commands.len() + self.transfers.len();
        self.commands.retain(|waiting| waiting.id != id);
        self.transfers.retain(|waiting| waiting.id != id);
        before > self.commands.len() + self.transfers.len()
    }

    /// What ran is lost; what waits stays unless the host `is_refusing`. The lost ones, and whether they had begun.
    pub fn connection_lost(&mut self, is_refusing: bool) -> Vec<(SshTaskId, bool)> {
        self.limit = COMMANDS_MAX;
        let mut lost: Vec<_> = std::mem::take(&mut self.begun).into_keys().map(|id| (id, true)).collect();
        if is_refusing {
            lost.extend(self.commands.drain(..).chain(self.transfers.drain(..)).map(|waiting| (waiting.id, false)));
        }
        lost
    }

    pub fn take_all(&mut self) -> Vec<SshTaskId> {
        self.connection_lost(true).into_iter().map(|(id, _)| id).collect()
    }

    /// The tasks that have taken too long, how each ends, and whether it had begun.
    pub fn due(&mut self, at: Monotonic, is_up: bool) -> Vec<(SshTaskId, SshEnd, bool)> {
        let late: Vec<SshTaskId> =
            self.begun.iter().filter(|(_, begun)| begun.deadline() <= at).map(|(id, _)| *id).collect();
        let mut due: Vec<_> =
            late.into_iter().filter_map(|id| self.begun.remove(&id).map(|begun| (id, begun.end(at), true))).collect();
        if !is_up {
            for queue in [&mut self.commands, &mut self.transfers] {
                let late = queue.iter().filter(|waiting| waiting.until <= at).map(|waiting| waiting.id);
                due.extend(late.map(|id| (id, SshEnd::NotConnected(String::new()), false)));
                queue.retain(|waiting| waiting.until > at);
            }
        }
        due
    }

    pub fn poll_timeout(&self, is_up: bool) -> Option<Monotonic> {
        let begun = self.begun.values().map(Begun::deadline).min();
        let waiting = self.commands.iter().chain(&self.transfers).map(|waiting| waiting.until);
        let waiting = if is_up { None } else { waiting.min() };
        begun.into_iter().chain(waiting).min()
    }
}

//! The tasks of one host: which wait, which run, and their deadlines. It reads no clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::ssh::{SshEnd, SshTask, SshTaskId};
use crate::model::time::Monotonic;

/// Maximum number of commands at once. With the channels of SFTP, a ping and the one that listens there are ten, the
/// default of `MaxSessions` of OpenSSH's sshd.
const COMMANDS_MAX: usize = 7;
/// Maximum time that a task waits for a connection.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// Time without progress after which a transfer is aborted: nobody reads the pipe, or the host hangs.
const TRANSFER_SILENCE: Duration = Duration::from_secs(15);

/// Maximum time for packing a directory.
const PACK_PATIENCE: Duration = Duration::from_secs(3_600);

struct Waiting {
    id: SshTaskId,
    task: SshTask,
    /// Deadline while there is no connection.
    until: Monotonic,
}

struct Begun {
    task: SshTask,
    /// Deadline if it has to wait again.
    until: Monotonic,
    since: Monotonic,
    moved: Monotonic,
    has_moved: bool,
    /// The host has been asked to run it.
    is_asked: bool,
}

/// All tasks of one host; see the module's documentation.
pub(super) struct Tasks {
    commands: VecDeque<Waiting>,
    transfers: VecDeque<Waiting>,
    begun: BTreeMap<SshTaskId, Begun>,
    /// Number of commands that the host allows at once, as far as known.
    limit: usize,
    /// Number of channels that the host gives at once for commands and SFTP together, known after it has refused one.
    channels: Option<usize>,
    /// If channels are few, commands and transfers take turns.
    last_was_transfer: bool,
    /// The host gives only one channel in the life of a connection.
    is_single: bool,
}

/// What to do with a task for which the host gave no channel.
pub(super) enum NoChannel {
    /// The task is no longer known, or waits for the end of another one.
    Waits,
    /// The task ends: it is a ping, and the host has answered.
    Ends,
    /// The task waits although no other task has a channel.
    Alone,
}

/// A task that was lost with its connection.
pub(super) struct Lost {
    pub id: SshTaskId,
    pub was_begun: bool,
    pub is_command: bool,
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            commands: VecDeque::new(),
            transfers: VecDeque::new(),
            begun: BTreeMap::new(),
            limit: COMMANDS_MAX,
            channels: None,
            last_was_transfer: false,
            is_single: false,
        }
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
    pub fn add(&mut self, id: SshTaskId, task: SshTask, at: Monotonic) {
        let waiting = Waiting { id, until: at + MAX_WAIT, task };
        if waiting.task.is_transfer() {
            self.transfers.push_back(waiting);
        } else if is_urgent(&waiting.task) {
            self.commands.push_front(waiting);
        } else {
            self.commands.push_back(waiting);
        }
    }

    /// The next task that may begin now. It then counts as running.
    pub fn begin(&mut self, at: Monotonic) -> Option<(SshTaskId, SshTask)> {
        let is_urgent_next = self.commands.front().is_some_and(|waiting| is_urgent(&waiting.task));
        let is_full = self.channels.is_some_and(|channels| self.begun.len() >= channels);
        if self.is_single && !self.begun.is_empty() || is_full && !is_urgent_next {
            return None;
        }
        let commands = self.begun.values().filter(|begun| !begun.task.is_transfer() && !is_urgent(&begun.task)).count();
        let may_command = is_urgent_next || commands < self.limit;
        let may_transfer = !self.begun.values().any(|begun| begun.task.is_transfer());
        let is_transfers_turn = self.channels.is_some() && !self.last_was_transfer && !is_urgent_next;
        let mut queues = [(may_command, &mut self.commands), (may_transfer, &mut self.transfers)];
        if is_transfers_turn {
            queues.reverse();
        }
        let mut queues = queues.into_iter().filter(|(may, _)| *may);
        let Waiting { id, task, until } = queues.find_map(|(_, queue)| queue.pop_front())?;
        self.last_was_transfer = task.is_transfer();
        self.begun
            .insert(id, Begun { task: task.clone(), until, since: at, moved: at, has_moved: false, is_asked: false });
        Some((id, task))
    }

    pub fn asked(&mut self, id: SshTaskId) {
        if let Some(begun) = self.begun.get_mut(&id) {
            begun.is_asked = true;
        }
    }

    /// Whether no task runs on the host.
    pub fn is_host_idle(&self) -> bool {
        !self.begun.values().any(|begun| begun.is_asked)
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.begun.is_empty()
    }

    pub fn moved(&mut self, id: SshTaskId, at: Monotonic) {
        if let Some(begun) = self.begun.get_mut(&id) {
            begun.moved = at;
            begun.has_moved = true;
        }
    }

    /// Notes that the host has no channel for a task.
    pub fn no_channel(&mut self, id: SshTaskId) -> NoChannel {
        let Some(begun) = self.begun.remove(&id) else { return NoChannel::Waits };
        let others = self.begun.len();
        self.channels = Some(others.max(1));
        if others > 0 && is_urgent(&begun.task) {
            return NoChannel::Ends;
        }
        self.put_back(id, begun);
        if others > 0 { NoChannel::Waits } else { NoChannel::Alone }
    }

    /// Gives each task a connection of its own from now on.
    pub const fn run_one_for_each_connection(&mut self) {
        self.is_single = true;
    }

    /// Whether each task has a connection of its own.
    pub const fn has_one_for_each_connection(&self) -> bool {
        self.is_single
    }

    /// Lets each command wait for the one before it until the connection ends.
    pub const fn run_one_at_a_time(&mut self) {
        self.limit = 1;
    }

    /// Forgets a task. Returns whether it was known.
    pub fn remove(&mut self, id: SshTaskId) -> bool {
        if self.begun.remove(&id).is_some() {
            return true;
        }
        let before = self.commands.len() + self.transfers.len();
        self.commands.retain(|waiting| waiting.id != id);
        self.transfers.retain(|waiting| waiting.id != id);
        before > self.commands.len() + self.transfers.len()
    }

    fn put_back(&mut self, id: SshTaskId, begun: Begun) {
        let Begun { task, until, .. } = begun;
        let queue = if task.is_transfer() { &mut self.transfers } else { &mut self.commands };
        queue.push_front(Waiting { id, task, until });
    }

    /// Takes out the tasks lost with the connection: those that the host was asked to run. The others stay, unless the
    /// host `is_refusing`.
    pub fn connection_lost(&mut self, is_refusing: bool) -> Vec<Lost> {
        (self.limit, self.channels) = (COMMANDS_MAX, None);
        let lost = |id, was_begun, task: &SshTask| Lost { id, was_begun, is_command: !task.is_transfer() };
        let mut all = Vec::new();
        for (id, begun) in std::mem::take(&mut self.begun).into_iter().rev() {
            if begun.is_asked {
                all.push(lost(id, true, &begun.task));
            } else {
                self.put_back(id, begun);
            }
        }
        all.reverse();
        if is_refusing {
            let waiting = self.commands.drain(..).chain(self.transfers.drain(..));
            all.extend(waiting.map(|waiting| lost(waiting.id, false, &waiting.task)));
        }
        all
    }

    pub fn take_all(&mut self) -> Vec<SshTaskId> {
        self.connection_lost(true).into_iter().map(|lost| lost.id).collect()
    }

    /// The tasks past their deadline, how each ends, and whether it had begun.
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

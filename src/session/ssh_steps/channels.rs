//! Fits tasks to the channels that a host gives. OpenSSH's sshd with a small `MaxSessions` gives few at once. Other
//! servers give one in the life of a connection, and some close the connection with it.

use std::time::Duration;

use crate::model::log::Level;
use crate::model::ssh::{SshEnd, SshOrder, SshTaskId};
use crate::model::time::{Monotonic, Now};

use super::tasks::NoChannel;
use super::{KEEP_ALIVE, SshSteps, State, StepsOutput};

/// Pause and number of retries when a host gives no channel although none is open: it may still be closing the last
/// one.
const CHANNEL_PAUSE: Duration = Duration::from_millis(300);
const CHANNEL_TRIES: u32 = 3;
/// A host that closes the connection within this time after its first task, twice in a row, does so each time.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
const ENDS_WITH_TASK: u32 = 2;
/// A connection with a login.
pub(super) struct Up {
    pub since: Monotonic,
    pub keep_alive: Monotonic,
    pub heard: Monotonic,
    /// A task has begun on this connection.
    is_used: bool,
    /// Number of tasks that have ended on it, and when the last one did.
    ended: u32,
    last_end: Monotonic,
    /// The host gave no channel although none was open: the time of the next try, and the number of tries.
    pub channel_pause: Option<Monotonic>,
    refusals: u32,
}

impl Up {
    pub fn new(at: Monotonic) -> Self {
        Self {
            since: at,
            keep_alive: at + KEEP_ALIVE,
            heard: at,
            is_used: false,
            ended: 0,
            last_end: at,
            channel_pause: None,
            refusals: 0,
        }
    }

    /// Whether a host that closes now does so because its first task has ended.
    pub fn has_ended_with_its_task(&self, at: Monotonic) -> bool {
        self.ended == 1 && at.since(self.last_end) <= ENDS_WITHIN
    }
}

impl SshSteps {
    /// Notes that a task has ended on the connection.
    pub(super) fn task_ended(&mut self, at: Monotonic) {
        if let State::Up(up) = &mut self.state {
            (up.refusals, up.ended, up.last_end) = (0, up.ended + 1, at);
            self.ends_with_task = if up.ended > 1 { 0 } else { self.ends_with_task };
        }
    }

    /// Handles a host that has closed the connection with its first task.
    pub(super) fn ended_with_its_task(&mut self, now: Now) {
        self.ends_with_task += 1;
        if self.ends_with_task >= ENDS_WITH_TASK {
            self.has_one_for_each_connection(now);
        }
        self.renew(now.monotonic);
    }

    /// Handles a host that gives no channel for a task.
    pub(super) fn no_channel(&mut self, id: SshTaskId, reason: &str, had_one: bool, now: Now) {
        let refused = || SshEnd::Refused(format!("the host gives no channel: {reason}"));
        let State::Up(up) = &mut self.state else { return };
        match self.tasks.no_channel(id) {
            NoChannel::Waits => {}
            NoChannel::Ends => self.outputs.push_back(StepsOutput::Ended(id, refused())),
            NoChannel::Alone if up.refusals < CHANNEL_TRIES => {
                up.refusals += 1;
                up.channel_pause = Some(now.monotonic + CHANNEL_PAUSE);
            }
            NoChannel::Alone if had_one && !self.tasks.has_one_for_each_connection() => {
                self.tasks.run_one_for_each_connection();
                let text =
                    "it gives one channel in the life of a connection, so each task gets a connection of its own";
                self.log(Level::Info, text.to_owned(), now);
                self.renew(now.monotonic);
            }
            NoChannel::Alone => {
                self.tasks.remove(id);
                self.outputs.push_back(StepsOutput::Ended(id, refused()));
            }
        }
    }

    fn has_one_for_each_connection(&mut self, now: Now) {
        if !self.tasks.has_one_for_each_connection() {
            self.tasks.run_one_for_each_connection();
            let text = "it gives one channel in the life of a connection, so each task gets a connection of its own";
            self.log(Level::Info, text.to_owned(), now);
        }
    }

    /// Makes a new connection without reporting it. Nothing is lost, because what has begun did not reach the host.
    fn renew(&mut self, at: Monotonic) {
        self.tasks.connection_lost(false);
        self.is_renewing = true;
        self.outputs.push_back(StepsOutput::Disconnect);
        self.connect(at);
    }

    /// Starts waiting tasks, as far as there is room.
    pub(super) fn begin_tasks(&mut self, at: Monotonic) {
        let State::Up(up) = &mut self.state else { return };
        if up.channel_pause.is_some() {
            return;
        }
        if self.tasks.has_one_for_each_connection() && up.is_used {
            if self.tasks.is_idle() {
                self.renew(at);
            }
            return;
        }
        while let Some((id, task)) = self.tasks.begin(at) {
            up.is_used = true;
            self.outputs.push_back(StepsOutput::Order(SshOrder::Start(id, task)));
        }
    }
}

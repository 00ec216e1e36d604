//! The conversation with one SSH host as a state machine (docs/protocol.md section 10): when to connect and reconnect,
//! whether its key is trusted, which tasks run now, and how long each step may take.
//!
//! Out of scope: sockets, libssh2, files and clocks (`edge::ssh` takes orders and gives news), and the meaning of
//! tasks.

mod channels;
mod host_keys;
mod tasks;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::log::{Level, LogLine};
use crate::model::random::Random;
use crate::model::ssh::{HostKeyReport, SshEnd, SshNews, SshOrder, SshTarget, SshTask, SshTaskId};
use crate::model::time::{Monotonic, Now};
use crate::session::back_off::{BackOff, Severity};
use crate::session::log_throttle::LogThrottle;

use channels::Up;
use host_keys::Verdict;
use tasks::{Lost, Tasks};

const MODULE: &str = "proxy";
/// Extra time for a login beyond that for a key exchange: hosts delay failures, and keys are decrypted.
const LOGIN_EXTRA: Duration = Duration::from_secs(15);
/// Time after which we speak first to a silent host, or half of its time limit if that is less.
const GREETING: Duration = Duration::from_secs(1);
/// Interval of checks while waiting for a turn.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Maximum duration of a key exchange, as a multiple of the time limit for one answer.
const EXCHANGE_FACTOR: u32 = 4;
/// Time after which a session counts as a success, whatever ends it.
const STABLE_AFTER: Duration = Duration::from_secs(5);
/// Time after which a host that does not answer may be gone.
const SILENCE: Duration = Duration::from_secs(4);
/// Interval between keep-alives.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Pause after a host turned the connection away.
const TURNED_AWAY_PAUSE: Duration = Duration::from_secs(30);
/// Pause after a host refused the login, so that nobody is locked out by repeated attempts.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

/// A side effect.
#[derive(Clone, PartialEq, Eq)]
pub enum StepsOutput {
    /// Connect, then call `handle_connected` or `handle_closed`.
    Connect,
    /// Drop the connection or the attempt. Report nothing more about it.
    Disconnect,
    /// An order for the session of the library.
    Order(SshOrder),
    /// The login succeeded.
    Up,
    /// The connection broke, or an attempt failed.
    Down {
        /// The cause, as a sentence for the log and for rows.
        reason: String,
    },
    Ended(SshTaskId, SshEnd),
    /// Store the key of the host in the database.
    StoreHostKey {
        /// The host in the form of known-hosts lines.
        host: String,
        /// The known-hosts line.
        line: String,
    },
    /// Write to the log.
    Log(LogLine),
}

enum State {
    /// Not started or stopped.
    Stopped,
    /// Between two attempts. If there is a reason, no task waits for the next attempt.
    Waiting { until: Monotonic, refused: Option<String> },
    /// The TCP connection is being made.
    Connecting { deadline: Monotonic },
    /// TCP is connected. SSH hosts speak first, so a silent peer may not be one and gets no turn.
    Greeting { since: Monotonic },
    /// The host has spoken. Its key exchange waits until fewer others are under way.
    Queued { look: Monotonic },
    /// Banner and key exchange. The deadline moves while the host speaks, at most to `last`.
    Exchanging { deadline: Monotonic, last: Monotonic },
    /// The key is trusted. The login is under way.
    LoggingIn { deadline: Monotonic },
    /// The login succeeded.
    Up(Up),
}

/// One conversation; see the module's documentation.
pub struct SshSteps {
    target: Box<SshTarget>,
    remembered: Vec<String>,
    state: State,
    tasks: Tasks,
    back_off: BackOff,
    throttle: LogThrottle,
    last_failure: String,
    /// Number of successive connections that the host closed at the end of their first task.
    ends_with_task: u32,
    /// The connection is being made again for the next task. Its loss is not reported.
    is_renewing: bool,
    outputs: VecDeque<StepsOutput>,
}

impl SshSteps {
    /// A host without a connection. `remembered` are its known-hosts lines from the database.
    #[must_use]
    pub fn new(target: Box<SshTarget>, remembered: Vec<String>) -> Self {
        Self {
            target,
            remembered,
            state: State::Stopped,
            tasks: Tasks::default(),
            back_off: BackOff::default(),
            throttle: LogThrottle::default(),
            last_failure: String::new(),
            ends_with_task: 0,
            is_renewing: false,
            outputs: VecDeque::new(),
        }
    }

    #[must_use]
    pub fn target(&self) -> &SshTarget {
        &self.target
    }

    /// Starts connecting.
    pub fn handle_start(&mut self, now: Now) {
        self.connect(now.monotonic);
    }

    /// Ends everything. All tasks fail with `reason`.
    pub fn stop(&mut self, reason: &str) {
        self.state = State::Stopped;
        for id in self.tasks.take_all() {
            self.outputs.push_back(StepsOutput::Ended(id, SshEnd::Failed(reason.to_owned())));
        }
    }

    /// Forgets the remembered key of the host. A waiting attempt is made at once, and its result is logged again.
    pub fn forget_host_key(&mut self, now: Now) {
        self.remembered.clear();
        self.back_off.reset();
        self.throttle = LogThrottle::default();
        if matches!(self.state, State::Waiting { .. }) {
            self.connect(now.monotonic);
        }
    }

    /// Drops the connection and makes a new one. If the host is only slow, the connection is kept, because what runs
    /// there would be lost.
    pub fn reset(&mut self, now: Now, random: &mut dyn Random) {
        if let State::Up(Up { heard, .. }) = self.state
            && now.monotonic.since(heard) >= SILENCE
        {
            self.outputs.push_back(StepsOutput::Disconnect);
            self.fail("it does not answer", Severity::TransientUnhurried, None, now, random);
        }
    }

    /// Starts a task as soon as there is a connection and room.
    pub fn start_task(&mut self, id: SshTaskId, task: SshTask, now: Now) {
        if let State::Waiting { refused: Some(reason), .. } = &self.state {
            self.outputs.push_back(StepsOutput::Ended(id, SshEnd::NotConnected(reason.clone())));
            return;
        }
        self.tasks.add(id, task, now.monotonic);
        self.begin_tasks(now.monotonic);
    }

    /// Aborts a task. Its end is [`SshEnd::Failed`] with `reason`.
    pub fn abort_task(&mut self, id: SshTaskId, reason: &str, now: Now) {
        if self.tasks.remove(id) {
            self.outputs.push_back(StepsOutput::Order(SshOrder::Abort(id)));
            self.outputs.push_back(StepsOutput::Ended(id, SshEnd::Failed(reason.to_owned())));
            self.begin_tasks(now.monotonic);
        }
    }

    /// TCP is connected.
    pub fn handle_connected(&mut self, now: Now) {
        if matches!(self.state, State::Connecting { .. }) {
            self.state = State::Greeting { since: now.monotonic };
        }
    }

    /// The host has sent its first bytes.
    pub fn handle_spoken(&mut self, now: Now) {
        if matches!(self.state, State::Greeting { .. }) {
            self.state = State::Queued { look: now.monotonic + LOOK_EVERY };
        }
    }

    /// Whether a key exchange should begin; see [`Self::begin_exchange`].
    #[must_use]
    pub const fn wants_turn(&self) -> bool {
        matches!(self.state, State::Queued { .. })
    }

    /// Whether a key exchange or a login is under way.
    #[must_use]
    pub const fn has_turn(&self) -> bool {
        matches!(self.state, State::Exchanging { .. } | State::LoggingIn { .. })
    }

    /// Begins the key exchange of this host, whose turn it is.
    pub fn begin_exchange(&mut self, now: Now) {
        if self.wants_turn() {
            self.exchange(now.monotonic);
        }
    }

    /// Begins the key exchange. Its time counts from `since`.
    fn exchange(&mut self, since: Monotonic) {
        let timeout = self.target.connect_timeout;
        self.state = State::Exchanging { deadline: since + timeout, last: since + timeout * EXCHANGE_FACTOR };
        let is_sparing = self.tasks.has_one_for_each_connection();
        let order = SshOrder::Open { target: self.target.clone(), remembered: self.remembered.clone(), is_sparing };
        self.outputs.push_back(StepsOutput::Order(order));
    }

    /// When we speak first to a silent host.
    fn greeting_end(&self, since: Monotonic) -> Monotonic {
        since + GREETING.min(self.target.connect_timeout / 2)
    }

    /// The connection broke or could not be made.
    pub fn handle_closed(&mut self, reason: &str, now: Now, random: &mut dyn Random) {
        match &self.state {
            State::Stopped | State::Waiting { .. } => {}
            State::Up(up) if up.has_ended_with_its_task(now.monotonic) && self.tasks.is_host_idle() => {
                self.ended_with_its_task(now);
            }
            _ => self.fail(reason, self.severity(), None, now, random),
        }
    }

    /// Handles news from the session of the library.
    pub fn handle_news(&mut self, news: SshNews, now: Now, random: &mut dyn Random) {
        match news {
            SshNews::HostKey(report) => self.host_key(&report, now, random),
            SshNews::Notice(text) => self.log(Level::Warning, text, now),
            SshNews::LoggedIn(how) => self.logged_in(&how, now),
            SshNews::LoginRefused(account) if matches!(self.state, State::LoggingIn { .. }) => {
                self.outputs.push_back(StepsOutput::Disconnect);
                let reason = format!("login as '{}' failed: {account}", self.target.username);
                self.refused(reason, now, random);
            }
            SshNews::LoginRefused(_) => {}
            SshNews::OneCommandAtATime => self.tasks.run_one_at_a_time(),
            SshNews::Heard => match &mut self.state {
                State::Up(up) => up.heard = now.monotonic,
                State::Exchanging { deadline, last } => {
                    *deadline = (now.monotonic + self.target.connect_timeout).min(*last);
                }
                _ => {}
            },
            SshNews::Asked(id) => self.tasks.asked(id),
            SshNews::Moved(id) => self.tasks.moved(id, now.monotonic),
            SshNews::NoChannel { id, reason, had_one } => self.no_channel(id, &reason, had_one, now),
            SshNews::Ended(id, end) => {
                if self.tasks.remove(id) {
                    self.outputs.push_back(StepsOutput::Ended(id, end));
                }
                self.task_ended(now.monotonic);
                self.begin_tasks(now.monotonic);
            }
            SshNews::Closed(reason) => {
                self.outputs.push_back(StepsOutput::Disconnect);
                self.handle_closed(&reason, now, random);
            }
            SshNews::TurnedAway(reason) => {
                self.outputs.push_back(StepsOutput::Disconnect);
                self.fail(&reason.clone(), Severity::NeedsOperator, Some((reason, TURNED_AWAY_PAUSE)), now, random);
            }
        }
    }

    /// Handles deadlines that have passed.
    pub fn handle_timeout(&mut self, now: Now, random: &mut dyn Random) {
        let at = now.monotonic;
        match &mut self.state {
            State::Waiting { until, .. } if *until <= at => self.connect(at),
            State::Connecting { deadline } if *deadline <= at => {
                let text = format!("no connection within {} s", self.target.connect_timeout.as_secs_f64());
                self.give_up(&text, now, random);
            }
            State::Greeting { since } => {
                let since = *since;
                if self.greeting_end(since) <= at {
                    self.exchange(since);
                }
            }
            State::Queued { look } if *look <= at => *look = at + LOOK_EVERY,
            State::Exchanging { deadline, .. } if *deadline <= at => {
                let seconds = self.target.connect_timeout.as_secs_f64();
                self.give_up(&format!("it accepts connections, but no key exchange within {seconds} s"), now, random);
            }
            State::LoggingIn { deadline } if *deadline <= at => self.give_up("the login takes too long", now, random),
            State::Up(up) => {
                up.channel_pause = up.channel_pause.filter(|until| *until > at);
                if up.keep_alive <= at {
                    up.keep_alive = at + KEEP_ALIVE;
                    self.outputs.push_back(StepsOutput::Order(SshOrder::KeepAlive));
                }
            }
            _ => {}
        }
        let is_up = self.counts_as_up();
        for (id, end, was_begun) in self.tasks.due(at, is_up) {
            if was_begun {
                self.outputs.push_back(StepsOutput::Order(SshOrder::Abort(id)));
            }
            let end = match end {
                SshEnd::NotConnected(_) => SshEnd::NotConnected(self.last_failure.clone()),
                end => end,
            };
            self.outputs.push_back(StepsOutput::Ended(id, end));
        }
        self.begin_tasks(at);
    }

    /// The next side effect. Drain them all after every event.
    pub fn poll_output(&mut self) -> Option<StepsOutput> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        let own = match &self.state {
            State::Stopped => None,
            State::Waiting { until, .. } => Some(*until),
            State::Greeting { since } => Some(self.greeting_end(*since)),
            State::Queued { look } => Some(*look),
            State::Connecting { deadline } | State::Exchanging { deadline, .. } | State::LoggingIn { deadline } => {
                Some(*deadline)
            }
            State::Up(up) => up.channel_pause.into_iter().chain([up.keep_alive]).min(),
        };
        own.into_iter().chain(self.tasks.poll_timeout(self.counts_as_up())).min()
    }

    fn connect(&mut self, at: Monotonic) {
        self.state = State::Connecting { deadline: at + self.target.connect_timeout };
        self.outputs.push_back(StepsOutput::Connect);
    }

    fn give_up(&mut self, reason: &str, now: Now, random: &mut dyn Random) {
        self.outputs.push_back(StepsOutput::Disconnect);
        self.fail(reason, self.severity(), None, now, random);
    }

    /// Key exchanges and logins are expensive for both sides, and hosts ban clients that try too often.
    const fn severity(&self) -> Severity {
        match self.state {
            State::Exchanging { .. } | State::LoggingIn { .. } => Severity::NeedsOperator,
            _ => Severity::TransientUnhurried,
        }
    }

    /// Whether waiting tasks can expect a connection.
    const fn counts_as_up(&self) -> bool {
        self.is_renewing || matches!(self.state, State::Up(_))
    }

    /// Ends the attempt or the connection. With `refused`, tasks do not wait for the next attempt, which is not made
    /// before that time.
    fn fail(
        &mut self,
        reason: &str,
        severity: Severity,
        refused: Option<(String, Duration)>,
        now: Now,
        random: &mut dyn Random,
    ) {
        self.is_renewing = false;
        if let State::Up(Up { since, .. }) = self.state
            && now.monotonic.since(since) >= STABLE_AFTER
        {
            self.back_off.reset();
        }
        let mut pause = self.back_off.next_delay(severity, random);
        if let Some((_, least)) = refused {
            pause = pause.max(least);
        }
        let lost = self.tasks.connection_lost(refused.is_some());
        self.state = State::Waiting { until: now.monotonic + pause, refused: refused.map(|(reason, _)| reason) };
        reason.clone_into(&mut self.last_failure);
        self.log(Level::Warning, reason.to_owned(), now);
        self.outputs.push_back(StepsOutput::Down { reason: reason.to_owned() });
        for Lost { id, was_begun, is_command } in lost {
            let end = match (was_begun, is_command) {
                (false, _) => SshEnd::NotConnected(reason.to_owned()),
                (true, true) => SshEnd::Failed(format!("the connection broke before the exit status: {reason}")),
                (true, false) => SshEnd::Failed(format!("the connection broke: {reason}")),
            };
            self.outputs.push_back(StepsOutput::Ended(id, end));
        }
    }

    fn host_key(&mut self, report: &HostKeyReport, now: Now, random: &mut dyn Random) {
        if !matches!(self.state, State::Exchanging { .. }) {
            return;
        }
        let verdict = host_keys::judge(&self.target, report);
        let add = match verdict {
            Verdict::Refuse(reason) => {
                self.outputs.push_back(StepsOutput::Disconnect);
                return self.refused(reason, now, random);
            }
            Verdict::Take { warning } => {
                if let Some(text) = warning {
                    self.log(Level::Warning, text, now);
                }
                None
            }
            Verdict::Remember { level, text } => {
                self.log(level, text, now);
                self.remembered.push(report.line.clone());
                let is_for_file = self.target.known_hosts.is_some();
                if !is_for_file {
                    let (host, line) = (self.target.known_as(), report.line.clone());
                    self.outputs.push_back(StepsOutput::StoreHostKey { host, line });
                }
                is_for_file.then(|| report.line.clone())
            }
        };
        self.state = State::LoggingIn { deadline: now.monotonic + self.target.connect_timeout + LOGIN_EXTRA };
        self.outputs.push_back(StepsOutput::Order(SshOrder::Trust { add }));
    }

    /// Ends an attempt that an administrator must correct first.
    fn refused(&mut self, reason: String, now: Now, random: &mut dyn Random) {
        self.fail(&reason.clone(), Severity::NeedsOperator, Some((reason, REFUSED_PAUSE)), now, random);
    }

    fn logged_in(&mut self, how: &str, now: Now) {
        if !matches!(self.state, State::LoggingIn { .. }) {
            return;
        }
        self.state = State::Up(Up::new(now.monotonic));
        if !std::mem::take(&mut self.is_renewing) {
            self.log(Level::Info, format!("logged in by {how}"), now);
            self.outputs.push_back(StepsOutput::Up);
        }
        self.begin_tasks(now.monotonic);
    }

    fn log(&mut self, level: Level, text: String, now: Now) {
        let line = self.throttle.line(level, MODULE, format!("{}: {text}", self.target), now.monotonic);
        self.outputs.push_back(StepsOutput::Log(line));
    }
}

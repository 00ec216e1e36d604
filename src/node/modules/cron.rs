//! The module `cron` (docs/protocol.md section 15): requests of this daemon to itself or to a node at given times.
//!
//! The clock is read when a job is due, twice an hour (time zones change at such times), and after it was set. A job
//! whose last run has not ended is not started again; a failed run is logged. Out of scope: the meaning of times
//! ([`crate::model::cron_expression`]), and minutes that changes of the clock skip or repeat ([`schedule`]).

mod definitions;
mod schedule;
#[cfg(test)]
mod tests;

use crate::node::context::Context;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::config::modules::cron::CronJob;
use crate::model::action::{Action, Module};
use crate::model::log::LogLine;
use crate::model::text::quoted;
use crate::model::time::Monotonic;
use crate::model::time_zone::minute_of;
use crate::model::token::Token;

use crate::node::journal::Ended;
use crate::node::peer::{Handled, OwnRequest};
use crate::node::timers::Timer;
use schedule::Schedule;

/// Number of microseconds of a second and of a minute.
const SECOND_MICROS: i64 = 1_000_000;
const MINUTE_MICROS: i64 = 60 * SECOND_MICROS;
/// Interval at which the clock is read in any case, because time zones change at such times.
const LOOK_MINUTES: i64 = 30;
/// A change of the difference between wall clock and monotonic clock by this much means that the clock was set.
const CLOCK_SET_MICROS: i64 = SECOND_MICROS;
/// Maximum number of characters of a failed run's message in the log.
const MESSAGE_SHOWN: usize = 200;
/// Time after which a run without an end counts as ended: the maximum duration of a command here, an hour on a node.
const RUN_MAX: Duration = Duration::from_secs(86_400);
const RUN_ON_NODE_MAX: Duration = Duration::from_secs(3_600);

/// A job and its last run.
pub(super) struct Job {
    definition: CronJob,
    last_token: Option<Token>,
    /// Time until which the last run counts as running.
    runs_until: Option<Monotonic>,
}

impl Job {
    fn new(definition: CronJob) -> Self {
        Self { definition, last_token: None, runs_until: None }
    }
}

/// Returns whether a job is for this daemon.
fn is_here(context: &Context, target: &str) -> bool {
    target.is_empty() || context.is_own(target)
}

/// Returns the second of the current minute.
const fn second(context: &Context) -> i64 {
    context.now.wall.as_micros().rem_euclid(MINUTE_MICROS) / SECOND_MICROS
}

/// Returns the bits of the seconds of a minute up to this one.
const fn passed(second: i64) -> u64 {
    (2 << second) - 1
}

/// The jobs of this daemon.
#[derive(Default)]
pub(in crate::node) struct Cron {
    /// Runs that are due and not handed over yet.
    due: VecDeque<OwnRequest>,
    jobs: BTreeMap<String, Job>,
    schedule: Option<Schedule>,
    /// The running jobs, by token.
    running: BTreeMap<String, String>,
    /// Jobs with a field of seconds in whose minute we are: a bit for each second to come.
    this_minute: BTreeMap<String, u64>,
    /// Wall clock minus monotonic clock at the time the timer was set, in microseconds.
    clock_offset: i64,
}

impl Cron {
    /// Returns the log line about a run that ended with an error.
    fn complaint(&self, ended: &Ended) -> Option<LogLine> {
        let token = &ended.token;
        let (id, data) = self.running.get(token).zip(ended.error.as_deref())?;
        let data: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
        let message = data.get("message").and_then(serde_json::Value::as_str).unwrap_or("without a message");
        let shown = |text: &str, most| text.chars().take(most).flat_map(char::escape_debug).collect::<String>();
        let (id, message) = (shown(id, 64), shown(message, MESSAGE_SHOWN));
        let line = LogLine::warning("cron", format!("job '{id}' failed (token {token}): {message}"));
        Some(LogLine { token: Token::parse(token).ok(), ..line })
    }

    /// Handles the end of a token. A run that ended with an error is logged.
    pub(in crate::node) fn token_ended(&mut self, context: &mut Context, ended: &Ended) {
        if let Some(line) = self.complaint(ended) {
            context.log(line);
        }
        self.run_ended(&ended.token);
    }

    fn run_ended(&mut self, token: &str) {
        let job = self.running.remove(token).and_then(|id| self.jobs.get_mut(&id));
        if let Some(job) = job.filter(|job| job.last_token.as_ref().is_some_and(|last| last.as_str() == token)) {
            job.runs_until = None;
        }
    }
}

impl Cron {
    /// Takes the jobs of the configuration and starts to watch the clock.
    pub(in crate::node) fn start(&mut self, context: &mut Context) {
        let Some(definitions) = context.options.modules.cron.as_mut().map(std::mem::take) else { return };
        self.jobs = definitions.into_iter().map(|job| (job.id.clone(), Job::new(job))).collect();
        self.schedule = Some(Schedule::new(self.local_minute(context)));
        let ids: Vec<String> = self.jobs.keys().cloned().collect();
        ids.iter().for_each(|id| self.join_minute(context, id));
        self.set_cron_timer(context);
    }

    /// Adds the rest of this minute for a new or changed job with a field of seconds.
    fn join_minute(&mut self, context: &Context, id: &str) {
        self.this_minute.remove(id);
        let local = self.local_minute(context);
        let Some(expression) = self.jobs.get(id).map(|job| &job.definition.expression) else { return };
        let to_come = expression.seconds().filter(|_| expression.fits(local)).unwrap_or(0) & !passed(second(context));
        if to_come != 0 {
            self.this_minute.insert(id.to_owned(), to_come);
        }
    }

    fn local_minute(&self, context: &Context) -> i64 {
        context.options.time_zone.local_minute(minute_of(context.now.wall))
    }

    /// Sets the timer for the next reading of the clock; none without jobs.
    fn set_cron_timer(&mut self, context: &mut Context) {
        self.clock_offset = self.clock_offset(context);
        if self.jobs.is_empty() {
            context.timers.cancel(&Timer::Cron);
            return;
        }
        let in_minute = context.now.wall.as_micros().rem_euclid(MINUTE_MICROS);
        let next_second = self.this_minute.values().map(|seconds| seconds.trailing_zeros()).min();
        let at = match next_second {
            Some(second) => i64::from(second) * SECOND_MICROS,
            None => self.minutes_to_next_look(context) * MINUTE_MICROS,
        };
        let left = Duration::from_micros(u64::try_from(at - in_minute).unwrap_or(0)) + Duration::from_millis(1);
        context.timers.set(Timer::Cron, context.now.monotonic + left);
    }

    fn minutes_to_next_look(&self, context: &Context) -> i64 {
        let local = self.local_minute(context);
        let is_due = |minute: i64| self.jobs.values().any(|job| job.definition.expression.fits(minute));
        let looks = |minute: i64| minute.rem_euclid(LOOK_MINUTES) == 0 || is_due(minute);
        (1..=LOOK_MINUTES).find(|minutes| looks(local + minutes)).unwrap_or(LOOK_MINUTES)
    }

    fn clock_offset(&self, context: &Context) -> i64 {
        let monotonic = i64::try_from(context.now.monotonic.as_millis()).unwrap_or(i64::MAX);
        context.now.wall.as_micros().saturating_sub(monotonic.saturating_mul(1_000))
    }

    /// Reads the clock at once if it was set since the timer was.
    pub(in crate::node) fn notice_clock(&mut self, context: &mut Context) {
        if self.schedule.is_none() || self.jobs.is_empty() {
            return;
        }
        let change = self.clock_offset(context).saturating_sub(self.clock_offset);
        if change.saturating_abs() > CLOCK_SET_MICROS {
            self.clock_offset = self.clock_offset(context);
            context.timers.set(Timer::Cron, context.now.monotonic);
        }
    }

    /// Handles [`Timer::Cron`], or a coming change of the jobs: queues the runs that are due.
    pub(in crate::node) fn look_at_clock(&mut self, context: &mut Context) {
        let ids = self.jobs_due(context);
        if !context.is_stopping() && context.is_loaded(Module::Cron) {
            for id in ids {
                if let Some(run) = self.start_job(context, &id) {
                    self.due.push_back(run);
                }
            }
        }
        self.set_cron_timer(context);
    }

    /// Returns the request of the next job that is due.
    pub(in crate::node) fn next_due(&mut self) -> Option<OwnRequest> {
        self.due.pop_front()
    }

    /// Returns the jobs to start now.
    fn jobs_due(&mut self, context: &mut Context) -> Vec<String> {
        let local = self.local_minute(context);
        let second = second(context);
        let Cron { jobs, schedule: Some(schedule), this_minute, .. } = self else { return Vec::new() };
        let mut ids = Vec::new();
        if schedule.is_later(local) {
            // A second of the minute before, which a busy machine missed.
            ids.extend(std::mem::take(this_minute).into_keys());
        }
        let due = schedule.advance(local);
        for job in jobs.values().filter(|job| due.includes(&job.definition.expression)) {
            let expression = &job.definition.expression;
            match expression.seconds().filter(|_| expression.fits(local)) {
                Some(seconds) => {
                    this_minute.insert(job.definition.id.clone(), seconds);
                }
                None => ids.push(job.definition.id.clone()),
            }
        }
        let passed = passed(second);
        this_minute.retain(|id, seconds| {
            if *seconds & passed != 0 {
                ids.push(id.clone());
            }
            *seconds &= !passed;
            *seconds != 0
        });
        ids
    }

    /// Returns the request of a job, unless its last run has not ended.
    fn start_job(&mut self, context: &mut Context, id: &str) -> Option<OwnRequest> {
        let now = context.now.monotonic;
        let fresh = context.generate_token();
        let job = self.jobs.get_mut(id)?;
        let shown = quoted(id);
        if job.runs_until.is_some_and(|until| until > now) {
            let text = format!("job {shown} is left out this time: its last run has not ended");
            context.log(LogLine::warning("cron", text));
            return None;
        }
        let CronJob { action, parameters, target, keep_token, .. } = job.definition.clone();
        let token = keep_token.then(|| Token::parse(id).ok()).flatten().unwrap_or(fresh);
        job.runs_until = Some(now + if is_here(context, &target) { RUN_MAX } else { RUN_ON_NODE_MAX });
        job.last_token = Some(token.clone());
        self.running.insert(token.as_str().to_owned(), id.to_owned());
        context.log(LogLine::info("cron", format!("launching job {shown} (token {token})")).of_token(&token));
        let data = format!("{{\"content\":{parameters}}}");
        Some(OwnRequest { action: Action::parse(&action), token, target, data })
    }

    /// Notes that a job was handed over. It is done if it leaves nothing open here. A run that has just ended is
    /// reported like any other.
    pub(in crate::node) fn job_started(&mut self, context: &mut Context, token: &Token, handled: &Handled) {
        let job = self.running.get(token.as_str()).and_then(|id| self.jobs.get(id));
        if job.is_none_or(|job| is_here(context, &job.definition.target))
            && matches!(handled, Handled::Reply(..))
            && !context.journal.is_open(token)
            && !context.journal.has_just_ended(token)
        {
            self.run_ended(token.as_str());
        }
    }
}

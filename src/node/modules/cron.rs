//! The module `cron` (docs/protocol.md section 15): requests of this daemon to itself or to a node at given times.
//!
//! The clock is looked at when a job is due, twice an hour (time zones change at such times), and when it was set. A
//! job whose last run has not ended is not started again; a run that ends with an error is a line of the log. Absent on
//! purpose: what times mean ([`crate::model::cron_expression`]), and the minutes that changes of the clock skip or
//! repeat ([`schedule`]).

mod definitions;
mod schedule;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::settings::CronJob;
use crate::model::action::Action;
use crate::model::log::LogLine;
use crate::model::module::Module;
use crate::model::time::Monotonic;
use crate::model::time_zone::minute_of;
use crate::model::token::Token;

use crate::node::core::Core;
use crate::node::journal::Ended;
use crate::node::peer::{Handled, Peer};
use crate::node::timers::Timer;
use schedule::Schedule;

/// Microseconds of a second and of a minute.
const SECOND_MICROS: i64 = 1_000_000;
const MINUTE_MICROS: i64 = 60 * SECOND_MICROS;
/// Minutes after which the clock is looked at in any case: changes of time zones come at such times.
const LOOK_MINUTES: i64 = 30;
/// A difference of the clock on the wall to the monotonic one that has changed by so much: somebody set it.
const CLOCK_SET_MICROS: i64 = SECOND_MICROS;
/// Characters of a failed run's message that the log shows.
const MESSAGE_SHOWN: usize = 200;
/// A run that is never heard of again counts as ended: here a command's longest time, on a node an hour.
const RUN_MAX: Duration = Duration::from_secs(86_400);
const RUN_ON_NODE_MAX: Duration = Duration::from_secs(3_600);

/// A job and its last run.
pub(super) struct Job {
    definition: CronJob,
    last_token: Option<Token>,
    /// Until when the last run counts as running.
    runs_until: Option<Monotonic>,
}

impl Job {
    fn new(definition: CronJob) -> Self {
        Self { definition, last_token: None, runs_until: None }
    }
}

/// The jobs of this daemon.
#[derive(Default)]
pub(in super::super) struct Cron {
    jobs: BTreeMap<String, Job>,
    schedule: Option<Schedule>,
    /// The jobs that run, by token.
    running: BTreeMap<String, String>,
    /// Jobs with a field of seconds whose minute it is: the seconds to come, a bit for each.
    this_minute: BTreeMap<String, u64>,
    /// Wall clock minus monotonic clock when the timer was set, in microseconds.
    clock_offset: i64,
}

impl Cron {
    /// The log line about a run that ends with an error.
    pub(in super::super) fn complaint(&self, ended: &Ended) -> Option<LogLine> {
        let token = &ended.token;
        let (id, data) = self.running.get(token).zip(ended.error.as_deref())?;
        let data: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
        let message = data.get("message").and_then(serde_json::Value::as_str).unwrap_or("without a message");
        let shown = |text: &str, most| text.chars().take(most).flat_map(char::escape_debug).collect::<String>();
        let (id, message) = (shown(id, 64), shown(message, MESSAGE_SHOWN));
        Some(LogLine::warning("cron", format!("job '{id}' failed (token {token}): {message}")))
    }

    /// A terminal row is written.
    pub(in super::super) fn token_ended(&mut self, token: &str) {
        let job = self.running.remove(token).and_then(|id| self.jobs.get_mut(&id));
        if let Some(job) = job.filter(|job| job.last_token.as_ref().is_some_and(|last| last.as_str() == token)) {
            job.runs_until = None;
        }
    }
}

impl Core {
    /// Takes the jobs of the configuration and begins to look at the clock.
    pub(in super::super) fn start_cron(&mut self) {
        let Some(definitions) = self.context.options.cron.as_mut().map(std::mem::take) else { return };
        self.cron.jobs = definitions.into_iter().map(|job| (job.id.clone(), Job::new(job))).collect();
        self.cron.schedule = Some(Schedule::new(self.local_minute()));
        self.set_cron_timer();
    }

    fn local_minute(&self) -> i64 {
        self.context.options.time_zone.local_minute(minute_of(self.context.now.wall))
    }

    /// When the clock is looked at next; never while there is no job.
    fn set_cron_timer(&mut self) {
        self.cron.clock_offset = self.clock_offset();
        if self.cron.jobs.is_empty() {
            self.context.timers.cancel(&Timer::Cron);
            return;
        }
        let in_minute = self.context.now.wall.as_micros().rem_euclid(MINUTE_MICROS);
        let next_second = self.cron.this_minute.values().map(|seconds| seconds.trailing_zeros()).min();
        let at = match next_second {
            Some(second) => i64::from(second) * SECOND_MICROS,
            None => self.minutes_to_next_look() * MINUTE_MICROS,
        };
        let left = Duration::from_micros(u64::try_from(at - in_minute).unwrap_or(0)) + Duration::from_millis(1);
        self.context.timers.set(Timer::Cron, self.context.now.monotonic + left);
    }

    fn minutes_to_next_look(&self) -> i64 {
        let local = self.local_minute();
        let is_due = |minute: i64| self.cron.jobs.values().any(|job| job.definition.expression.fits(minute));
        let looks = |minute: i64| minute.rem_euclid(LOOK_MINUTES) == 0 || is_due(minute);
        (1..=LOOK_MINUTES).find(|minutes| looks(local + minutes)).unwrap_or(LOOK_MINUTES)
    }

    fn clock_offset(&self) -> i64 {
        let monotonic = i64::try_from(self.context.now.monotonic.as_millis()).unwrap_or(i64::MAX);
        self.context.now.wall.as_micros().saturating_sub(monotonic.saturating_mul(1_000))
    }

    /// Looks at the clock at once when it was set since the timer was.
    pub(in super::super) fn notice_clock(&mut self) {
        let is_waiting = self.cron.schedule.is_some() && !self.cron.jobs.is_empty();
        let change = self.clock_offset().saturating_sub(self.cron.clock_offset);
        if is_waiting && change.saturating_abs() > CLOCK_SET_MICROS {
            self.cron.clock_offset = self.clock_offset();
            self.context.timers.set(Timer::Cron, self.context.now.monotonic);
        }
    }

    /// [`Timer::Cron`]
    pub(in super::super) fn cron_due(&mut self) {
        let ids = self.jobs_due();
        if !self.context.is_stopping() && self.context.is_loaded(Module::Cron) {
            ids.iter().for_each(|id| self.run_job(id));
        }
        self.set_cron_timer();
    }

    /// The jobs to start now.
    fn jobs_due(&mut self) -> Vec<String> {
        let local = self.local_minute();
        let second = self.context.now.wall.as_micros().rem_euclid(MINUTE_MICROS) / SECOND_MICROS;
        let Cron { jobs, schedule: Some(schedule), this_minute, .. } = &mut self.cron else { return Vec::new() };
        let mut ids = Vec::new();
        if schedule.is_later(local) {
            // A second of the minute before that a busy machine was too late for.
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
        let passed = (2 << second) - 1;
        this_minute.retain(|id, seconds| {
            if *seconds & passed != 0 {
                ids.push(id.clone());
            }
            *seconds &= !passed;
            *seconds != 0
        });
        ids
    }

    fn run_job(&mut self, id: &str) {
        let now = self.context.now.monotonic;
        let fresh = self.context.generate_token();
        let Some(job) = self.cron.jobs.get_mut(id) else { return };
        let shown: String = id.chars().take(64).flat_map(char::escape_debug).collect();
        if job.runs_until.is_some_and(|until| until > now) {
            let text = format!("job '{shown}' is left out this time: its last run has not ended");
            self.context.log(LogLine::warning("cron", text));
            return;
        }
        let CronJob { action, parameters, target, keep_token, .. } = job.definition.clone();
        let token = keep_token.then(|| Token::parse(id).ok()).flatten().unwrap_or(fresh);
        let is_here = target.is_empty() || self.context.is_own(&target);
        job.runs_until = Some(now + if is_here { RUN_MAX } else { RUN_ON_NODE_MAX });
        job.last_token = Some(token.clone());
        self.cron.running.insert(token.as_str().to_owned(), id.to_owned());
        self.context.log(LogLine::info("cron", format!("launching job '{shown}' (token {token})")));
        let data = format!("{{\"content\":{parameters}}}");
        let handled = self.request(Peer::Ourselves, Action::parse(&action), &token, &target, data);
        // What leaves nothing open here is done.
        if is_here && matches!(handled, Handled::Reply(..)) && !self.context.journal.is_open(&token) {
            self.cron.token_ended(token.as_str());
        }
    }
}

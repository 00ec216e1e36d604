//! The module `cron` (docs/protocol.md section 15): requests of this daemon to itself or to a node at given times.
//!
//! The clock is looked at once a minute. A job whose last run has not ended is not started again. Absent on purpose:
//! what times mean ([`crate::model::cron_expression`]), and the minutes that changes of the clock skip or repeat
//! ([`schedule`]).

mod definitions;
mod schedule;
#[cfg(test)]
mod tests;

use crate::node::context::Context;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::settings::CronJob;
use crate::model::action::Action;
use crate::model::log::LogLine;
use crate::model::module::Module;
use crate::model::time::Monotonic;
use crate::model::time_zone::minute_of;
use crate::model::token::Token;

use crate::node::peer::Handled;
use crate::node::timers::Timer;
use schedule::Schedule;

/// Microseconds of a minute.
const MINUTE_MICROS: i64 = 60_000_000;
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

/// A request that a job is.
pub(in crate::node) struct Run {
    pub action: Action,
    pub token: Token,
    pub target: String,
    pub data: String,
    /// Whether it is for this daemon.
    pub is_here: bool,
}

/// The jobs of this daemon.
#[derive(Default)]
pub(in crate::node) struct Cron {
    jobs: BTreeMap<String, Job>,
    schedule: Option<Schedule>,
    /// The jobs that run, by token.
    running: BTreeMap<String, String>,
}

impl Cron {
    /// A terminal row is written.
    pub(in crate::node) fn token_ended(&mut self, token: &str) {
        let job = self.running.remove(token).and_then(|id| self.jobs.get_mut(&id));
        if let Some(job) = job.filter(|job| job.last_token.as_ref().is_some_and(|last| last.as_str() == token)) {
            job.runs_until = None;
        }
    }
}

impl Cron {
    /// Takes the jobs of the configuration and begins to look at the clock.
    pub(in crate::node) fn start_cron(&mut self, context: &mut Context) {
        let Some(definitions) = context.options.cron.as_mut().map(std::mem::take) else { return };
        self.jobs = definitions.into_iter().map(|job| (job.id.clone(), Job::new(job))).collect();
        self.schedule = Some(Schedule::new(self.local_minute(context)));
        self.set_cron_timer(context);
    }

    fn local_minute(&self, context: &Context) -> i64 {
        context.options.time_zone.local_minute(minute_of(context.now.wall))
    }

    /// The beginning of the next minute.
    fn set_cron_timer(&mut self, context: &mut Context) {
        let left = MINUTE_MICROS - context.now.wall.as_micros().rem_euclid(MINUTE_MICROS);
        let left = Duration::from_micros(left.unsigned_abs()) + Duration::from_millis(1);
        context.timers.set(Timer::Cron, context.now.monotonic + left);
    }

    /// [`Timer::Cron`]: the jobs that are due.
    pub(in crate::node) fn cron_due(&mut self, context: &mut Context) -> Vec<String> {
        self.set_cron_timer(context);
        let local = self.local_minute(context);
        let Some(due) = self.schedule.as_mut().map(|schedule| schedule.advance(local)) else { return Vec::new() };
        if context.is_stopping() || !context.is_loaded(Module::Cron) {
            return Vec::new();
        }
        let jobs = self.jobs.values().filter(|job| due.includes(&job.definition.expression));
        jobs.map(|job| job.definition.id.clone()).collect()
    }

    /// The request that a job is, unless its last run has not ended.
    pub(in crate::node) fn start_job(&mut self, context: &mut Context, id: &str) -> Option<Run> {
        let now = context.now.monotonic;
        let fresh = context.generate_token();
        let job = self.jobs.get_mut(id)?;
        let shown: String = id.chars().take(64).flat_map(char::escape_debug).collect();
        if job.runs_until.is_some_and(|until| until > now) {
            let text = format!("job '{shown}' is left out this time: its last run has not ended");
            context.log(LogLine::warning("cron", text));
            return None;
        }
        let CronJob { action, parameters, target, keep_token, .. } = job.definition.clone();
        let token = keep_token.then(|| Token::parse(id).ok()).flatten().unwrap_or(fresh);
        let is_here = target.is_empty() || context.is_own(&target);
        job.runs_until = Some(now + if is_here { RUN_MAX } else { RUN_ON_NODE_MAX });
        job.last_token = Some(token.clone());
        self.running.insert(token.as_str().to_owned(), id.to_owned());
        context.log(LogLine::info("cron", format!("launching job '{shown}' (token {token})")));
        let data = format!("{{\"content\":{parameters}}}");
        Some(Run { action: Action::parse(&action), token, target, data, is_here })
    }

    /// A job was handed over; what leaves nothing open here is done.
    pub(in crate::node) fn job_started(
        &mut self,
        context: &mut Context,
        token: &Token,
        is_here: bool,
        handled: &Handled,
    ) {
        if is_here && matches!(handled, Handled::Reply(..)) && !context.journal.is_open(token) {
            self.token_ended(token.as_str());
        }
    }
}

//! The module `cron` (docs/protocol.md section 15): requests of this daemon to itself or to a node at given times.
//!
//! The clock is looked at once a minute. A job whose last run has not ended is not started again. Absent on purpose:
//! what times mean ([`crate::model::cron_expression`]), and the minutes that changes of the clock skip or repeat
//! ([`schedule`]).

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
use crate::node::peer::{Handled, Peer};
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

/// The jobs of this daemon.
#[derive(Default)]
pub(in super::super) struct Cron {
    jobs: BTreeMap<String, Job>,
    schedule: Option<Schedule>,
    /// The jobs that run, by token.
    running: BTreeMap<String, String>,
}

impl Cron {
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

    /// The beginning of the next minute.
    fn set_cron_timer(&mut self) {
        let left = MINUTE_MICROS - self.context.now.wall.as_micros().rem_euclid(MINUTE_MICROS);
        let left = Duration::from_micros(left.unsigned_abs()) + Duration::from_millis(1);
        self.context.timers.set(Timer::Cron, self.context.now.monotonic + left);
    }

    /// [`Timer::Cron`]
    pub(in super::super) fn cron_due(&mut self) {
        self.set_cron_timer();
        let local = self.local_minute();
        let Some(due) = self.cron.schedule.as_mut().map(|schedule| schedule.advance(local)) else { return };
        if self.context.is_stopping() || !self.context.is_loaded(Module::Cron) {
            return;
        }
        let jobs = self.cron.jobs.values().filter(|job| due.includes(&job.definition.expression));
        let ids: Vec<String> = jobs.map(|job| job.definition.id.clone()).collect();
        for id in ids {
            self.run_job(&id);
        }
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

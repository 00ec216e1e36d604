//! Reports about this daemon: what the status page, `/metrics` and `/readyz` show.
//!
//! The room counts ended requests and keeps the last failures. A report begins as an [`Overview`], which is taken here
//! within an event; a worker makes the text.

mod begun;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use crate::model::api::{ApiAnswer, ApiCall, CallId};
use crate::model::node_id::NodeId;
use crate::model::status::{Counted, Failure, MINUTES, Overview, ReportForm, ReportOrder, Revision};
use crate::model::time::{Monotonic, Now};
use crate::model::token::Token;
use crate::model::work::{Work, WorkId};

use super::context::Context;
use super::journal::Ended;
use super::nodes::Nodes;
use super::output::Output;
use super::queue::Queue;
use begun::Begun;

/// Maximum number of kept failures.
const FAILURES_MAX: usize = 50;
/// Maximum number of characters of the data of a failure.
const DATA_MAX: usize = 600;
/// Maximum number of reports in the making.
const REPORTS_MAX: usize = 16;

/// Number of requests in the rooms for commands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    pub running: usize,
    pub waiting: usize,
}

/// The state of the room.
#[derive(Default)]
pub(super) struct Status {
    counted: Counted,
    begun: Begun,
    /// The newest first.
    failures: VecDeque<Failure>,
    /// Number of changes that a reader sees, without those of nodes.
    version: u64,
    instance: u64,
    started_at: i64,
    started: Monotonic,
    /// Minutes since the start that `counted.minutes` has.
    minute: u64,
    waiting: BTreeMap<WorkId, CallId>,
}

impl Status {
    /// Returns the state of a daemon that starts.
    pub(super) fn new(context: &Context) -> Self {
        Self {
            instance: u64::try_from(context.now.wall.as_micros()).unwrap_or(0),
            started_at: context.now.wall.as_seconds(),
            started: context.now.monotonic,
            ..Self::default()
        }
    }

    /// Notes the acceptance of a COMMAND.
    pub(super) fn command_begins(&mut self, token: &Token, now: Now) {
        self.begun.note(token, now.monotonic.as_millis());
    }

    /// Counts the end of a token that was sent to `node`.
    pub(super) fn ended(&mut self, ended: &Ended, node: Option<NodeId>, now: Now) {
        let duration = self.begun.take(&ended.token).map(|at| now.monotonic.as_millis().saturating_sub(at));
        let is_ok = ended.error.is_none();
        let counted = &mut self.counted;
        *(if is_ok { &mut counted.ended_ok } else { &mut counted.ended_failed }) += 1;
        if let Some(duration_ms) = duration {
            counted.durations.count(duration_ms.saturating_mul(1_000));
            *(if is_ok { &mut counted.commands_ok } else { &mut counted.commands_failed }) += 1;
        }
        self.version += 1;
        self.of_minute(now, if is_ok { 0 } else { 1 });
        if let Some(error) = &ended.error {
            let data = error.chars().take(DATA_MAX).collect();
            let at = now.wall.as_seconds();
            self.failures.push_front(Failure { at, token: ended.token.clone(), node, data });
            self.failures.truncate(FAILURES_MAX);
        }
    }

    /// Counts in the current minute.
    fn of_minute(&mut self, now: Now, which: usize) {
        self.pass_minutes(now);
        if let Some(count) = self.counted.minutes.last_mut().and_then(|minute| minute.get_mut(which)) {
            *count = count.saturating_add(1);
        }
    }

    /// Begins the minutes that have passed.
    fn pass_minutes(&mut self, now: Now) {
        let minute = now.monotonic.since(self.started).as_secs() / 60 + 1;
        let passed = usize::try_from(minute.saturating_sub(self.minute)).unwrap_or(MINUTES).min(MINUTES);
        self.minute = minute;
        let minutes = &mut self.counted.minutes;
        minutes.extend(std::iter::repeat_n([0; 2], passed));
        let beyond = minutes.len().saturating_sub(MINUTES);
        minutes.drain(..beyond);
    }

    /// Begins a report for a call; the answer follows, or is returned if it is known.
    pub(super) fn report(
        &mut self,
        context: &mut Context,
        (nodes, queue): (&Nodes, &Queue),
        load: Load,
        (id, call, form): (CallId, &ApiCall, ReportForm),
    ) -> Option<ApiAnswer> {
        self.pass_minutes(context.now);
        let known = call.wishes.if_none_match.as_deref().and_then(Revision::read);
        let is_current = |known: Revision| {
            (known.instance, known.nodes_version, known.version) == (self.instance, nodes.version(), self.version)
        };
        if form == ReportForm::Json && known.is_some_and(is_current) {
            return Some(ApiAnswer::empty(304));
        }
        if self.waiting.len() >= REPORTS_MAX {
            return Some(super::api::busy());
        }
        let since = call.query.iter().find(|(key, _)| key == "since").and_then(|(_, value)| Revision::read(value));
        let since = since.filter(|since| since.instance == self.instance && form == ReportForm::Json);
        let overview = self.overview(context, (nodes, queue), load, since, call);
        let order = ReportOrder { form, gzip: call.wishes.gzip, overview };
        let work = context.start_work(Work::Report(Box::new(order)));
        self.waiting.insert(work, id);
        None
    }

    fn overview(
        &self,
        context: &Context,
        (nodes, queue): (&Nodes, &Queue),
        load: Load,
        since: Option<Revision>,
        call: &ApiCall,
    ) -> Overview {
        let has_counts = since.is_none_or(|since| since.version != self.version);
        let mut facts = nodes.facts(context, since.map(|since| since.nodes_version));
        for node in &mut facts.nodes {
            node.queue = queue.depth_of(node.id);
        }
        let dialled = [context.options.modules.pull.is_some(), context.options.modules.pullwss.is_some()];
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Overview {
            instance: self.instance,
            nodes_version: facts.version,
            version: self.version,
            now: context.now.wall.as_seconds(),
            started_at: self.started_at,
            id: context.own_id,
            hostname: context.options.hostname.clone(),
            stores: context.stores,
            is_stopping: context.is_stopping(),
            running: count(load.running),
            waiting: count(load.waiting),
            open_tokens: count(context.journal.open_count()),
            queue: queue.counters(context),
            parents: (
                count(context.connected_parents.len()),
                count(dialled.into_iter().filter(|is_dialled| *is_dialled).count()),
            ),
            states: facts.states,
            is_whole: facts.removed.is_none(),
            nodes: facts.nodes,
            removed: facts.removed.unwrap_or_default(),
            has_counts,
            failures: if has_counts { self.failures.iter().cloned().collect() } else { Vec::new() },
            counted: self.counted.clone(),
            allowed: super::audit::allowed(&call.caller),
        }
    }

    /// Passes a finished report to its call.
    pub(super) fn reported(&mut self, context: &mut Context, work: WorkId, answer: ApiAnswer) {
        if let Some(call) = self.waiting.remove(&work) {
            context.output(Output::Answer { call, answer });
        }
    }
}

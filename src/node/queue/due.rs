//! Requests whose time is over, and those whose time has come.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::history::StoreChange;
use crate::model::log::LogLine;
use crate::model::node_id::NodeId;
use crate::model::queue::{QueueAnswer, QueueChange, QueueQuery, QueuedHead};
use crate::model::work::Work;

use super::{Asked, KEEP_BEYOND, Queue, Sent};
use crate::node::context::Context;
use crate::node::timers::Timer;

/// Seconds within which the database says whether a request that was sent has its end.
const LOOKED_UP_WITHIN: i64 = 2;

/// Pause before the database is asked again that could not be read.
const RETRY: Duration = Duration::from_secs(10);

impl Queue {
    /// Sets the timer for the next request whose time is over or has come.
    pub(super) fn set_due(&self, context: &mut Context) {
        let now = context.now;
        let expiry = self.next_expiry.map(|at| at.saturating_sub(self.clock.time(now)));
        let begin = self.next_begin.map(|at| at.saturating_sub(now.wall.as_seconds()));
        let seconds = expiry.into_iter().chain(begin).min().map(|seconds| u64::try_from(seconds).unwrap_or(0));
        // Within its second a time has not passed yet.
        let at = seconds.map(|seconds| now.monotonic + Duration::from_secs(seconds) + Duration::from_millis(50));
        context.timers.replace(Timer::QueueDue, at);
    }

    /// Handles [`Timer::QueueDue`].
    pub(in crate::node) fn look_for_due(&mut self, context: &mut Context) {
        if self.asked.values().any(|asked| matches!(asked, Asked::Due)) {
            return;
        }
        if !context.stores {
            context.timers.set(Timer::QueueDue, context.now.monotonic + RETRY);
            return;
        }
        let (now, wall) = (self.clock.time(context.now), context.now.wall.as_seconds());
        let work = context.start_work(Work::Queue(QueueQuery::Due { now, wall }));
        self.asked.insert(work, Asked::Due);
        (self.next_expiry, self.next_begin) = (None, None);
    }

    pub(super) fn due_answered(&mut self, context: &mut Context, answer: QueueAnswer) {
        let QueueAnswer::Due { expired, begun, next_expiry, next_begin } = answer else {
            context.timers.set(Timer::QueueDue, context.now.monotonic + RETRY);
            return;
        };
        let least = |known: Option<i64>, next: Option<i64>| known.into_iter().chain(next).min();
        (self.next_expiry, self.next_begin) =
            (least(self.next_expiry, next_expiry), least(self.next_begin, next_begin));
        let mut counts: BTreeMap<NodeId, usize> = BTreeMap::new();
        for head in expired.iter().filter(|head| !self.gone.contains(&head.sequence)).collect::<Vec<_>>() {
            if self.expire(context, head) {
                *counts.entry(head.target).or_default() += 1;
                self.may_send(head.target);
            }
        }
        for (target, count) in counts {
            let text = format!("{count} requests that waited for node '{target}' have expired");
            context.log(LogLine::warning("queue", text).of_node(target));
        }
        for head in begun.iter().filter(|head| !self.gone.contains(&head.sequence)).collect::<Vec<_>>() {
            self.begin(context, head);
            self.may_send(head.target);
        }
        self.set_due(context);
    }

    /// Ends a request whose time is over. Returns `false` if its node has taken it, which then owes the end.
    fn expire(&mut self, context: &mut Context, head: &QueuedHead) -> bool {
        let target = head.target;
        let ttl = head.expires.saturating_sub(head.created);
        let sent = self.sent.get_mut(&head.token.digest());
        let text = match sent {
            Some(sent) if sent.is_taken && !sent.is_overdue => {
                sent.is_overdue = true;
                self.postpone(context, head, KEEP_BEYOND);
                // Its end may have come by a way that does not lead to the node.
                self.ask_for_end(context, &head.token);
                return false;
            }
            Some(sent) if sent.is_taken => {
                format!("expired: node '{target}' has taken it, and has not reported its end for a day")
            }
            Some(Sent { looked_up_after: Some(ttl), .. }) => format!(
                "expired: it was sent to node '{target}', which has not confirmed it within {ttl} s; it may have run"
            ),
            Some(sent) => {
                sent.looked_up_after = Some(ttl);
                self.postpone(context, head, LOOKED_UP_WITHIN);
                self.look_up(context, &head.token);
                return false;
            }
            None => format!("expired: node '{target}' could not be reached within {ttl} s"),
        };
        self.numbers.expired += 1;
        self.end(context, head, &text);
        true
    }

    /// Keeps a request whose time is over for some seconds more.
    fn postpone(&mut self, context: &mut Context, head: &QueuedHead, seconds: i64) {
        let expires = self.clock.time(context.now).saturating_add(seconds);
        self.next_expiry = Some(self.next_expiry.map_or(expires, |next| next.min(expires)));
        let QueuedHead { target, sequence, .. } = *head;
        context.store(StoreChange::Queue(QueueChange::Postpone { target, sequence, expires }));
    }

    /// Puts a request whose time has come behind those that are queued.
    fn begin(&mut self, context: &mut Context, head: &QueuedHead) {
        let QueuedHead { target, sequence, .. } = *head;
        self.last = self.last.saturating_add(1);
        let place = self.last;
        context.store(StoreChange::Queue(QueueChange::Release { target, sequence, place }));
        if let Some(way) = self.ways.get_mut(&target) {
            way.begin_scheduled();
        }
        self.gone.insert(sequence);
    }
}

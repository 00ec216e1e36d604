//! Received copies whose sender has gone silent: how long their data is kept, and which copy takes it over.

use crate::model::host_work::HostWork;
use std::collections::VecDeque;
use std::time::Duration;

use crate::model::code::Code;
use crate::model::copy::{CopyFailure, SinkStep};
use crate::model::log::LogLine;
use crate::model::token::Token;

use super::request::Asked;
use super::{Hears, Incoming, Receiving};
use crate::node::context::Context;
use crate::node::copies::ending::failure_data;
use crate::node::json;
use crate::node::output::Output;
use crate::node::timers::Timer;

/// Time without a message after which a copy ends.
pub(super) const IDLE: Duration = Duration::from_secs(600);
/// Time for which the received part of a copy is kept for a sender that may ask again.
const LEFT: Duration = Duration::from_secs(86_400);

impl Receiving {
    /// Takes over the data of a copy whose sender was restarted or gave up and asks for the same copy under another
    /// token. The sender itself ends the old token.
    pub(super) fn take_over(&mut self, context: &mut Context, token: &Token, identity: &str) {
        if self.all.contains_key(token) {
            return;
        }
        let is_same = |incoming: &Incoming| incoming.identity.as_deref() == Some(identity);
        let is_broken = |incoming: &Incoming| incoming.ended.is_none() && !incoming.is_ending();
        let mut all = self.all.iter();
        let found = all.find(|(_, incoming)| is_same(incoming) && is_broken(incoming)).map(|(token, _)| token.clone());
        let Some(before) = found else { return };
        let Some(mut incoming) = self.all.remove(&before) else { return };
        for (_, hears) in incoming.waiting.drain(..) {
            self.bytes = self.bytes.saturating_sub(hears.len_bytes);
        }
        for hears in &mut incoming.running {
            hears.client = None;
        }
        context.timers.cancel(&Timer::Sink(before.clone()));
        context.journal.work_is_over(&before);
        self.tokens.insert(incoming.sink, token.clone());
        self.all.insert(token.clone(), incoming);
        context.log(LogLine::info("action", format!("copy {before} continues as {token}")).of_token(token));
    }

    /// Makes room by closing the copies of silent senders. Their data stays on the disk.
    pub(super) fn close_left(&mut self, context: &mut Context) {
        let left = self.all.iter().find(|(_, incoming)| incoming.is_left && incoming.running.is_empty());
        if let Some((token, incoming)) = left.map(|(token, incoming)| (token.clone(), incoming.sink)) {
            context.output(Output::Host(HostWork::WriteSink { sink: incoming, steps: vec![SinkStep::Keep] }));
            self.forget(context, &token);
        }
    }

    /// Aborts the copies that we receive; each ends with `reason`.
    pub(in crate::node) fn kill(&mut self, context: &mut Context, reason: &str) {
        let tokens: Vec<Token> = self.all.keys().cloned().collect();
        for token in tokens {
            let Some(incoming) = self.all.get_mut(&token).filter(|incoming| incoming.ended.is_none()) else {
                continue;
            };
            incoming.killed = Some(reason.to_owned());
            let nobody = Hears { client: None, wants_ack: false, asked: Asked::Nothing, len_bytes: 0 };
            let dropped = std::mem::replace(&mut incoming.waiting, VecDeque::from([(SinkStep::Discard, nobody)]));
            for (_, hears) in dropped {
                self.bytes = self.bytes.saturating_sub(hears.len_bytes);
                self.answer(context, &token, &hears, Code::FINISHED_KO, json::message(reason));
            }
            self.run_sink(context, &token);
        }
    }

    /// Handles [`Timer::Sink`].
    pub(in crate::node) fn timer_due(&mut self, context: &mut Context, token: &Token) {
        let Some(incoming) = self.all.get(token) else { return };
        if !incoming.running.is_empty() {
            return context.timers.set(Timer::Sink(token.clone()), context.now.monotonic + IDLE);
        }
        if incoming.ended.is_none() && incoming.identity.is_some() {
            let sink = incoming.sink;
            if !incoming.is_left {
                // The sender ends its token, and may ask for the copy again.
                if let Some(incoming) = self.all.get_mut(token) {
                    incoming.is_left = true;
                }
                let text = format!(
                    "no chunk of copy {token} came for {} s: the received part is kept for a day",
                    IDLE.as_secs()
                );
                context.log(LogLine::warning("action", text).of_token(token));
                return context.timers.set(Timer::Sink(token.clone()), context.now.monotonic + LEFT);
            }
            context.output(Output::Host(HostWork::WriteSink { sink, steps: vec![SinkStep::Discard] }));
        } else if incoming.ended.is_none() {
            let failure = CopyFailure {
                message: "process copy failed".to_owned(),
                detail: format!("no chunk came for {} s", IDLE.as_secs()),
            };
            // A sender of our own kind, which shows by sending the total size, ends its token itself.
            let (sink, is_owed) = (incoming.sink, incoming.total.is_none());
            context.output(Output::Host(HostWork::WriteSink { sink, steps: vec![SinkStep::Discard] }));
            self.log_failure(context, token, &failure);
            if is_owed {
                self.end(context, token, Code::FINISHED_KO, failure_data(&failure));
            }
        }
        self.forget(context, token);
    }
}

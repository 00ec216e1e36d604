//! The daemons that pinged us lately: they hear SYNCLOGS when there is something new for them (docs/protocol.md section
//! 7).
//!
//! Each hears it after rows of our nodes were stored, as the original does it. One that pages its GETLOG is one of ours
//! and also hears it when a token of our own ends, so that a result is with it at once; so does a central that we
//! dialled.

use crate::node::context::Context;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::message::Reply;
use crate::model::time::Monotonic;

use super::peer::Peer;
use super::timers::Timer;

/// Subscribers at most; the one that was silent longest goes first.
const SUBSCRIBERS_MAX: usize = 64;
/// Silence after which a subscriber is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(1_800);
/// What happens within this time is told at once.
const GATHER: Duration = Duration::from_millis(50);
/// A subscriber is told at most this often.
const PACE: Duration = Duration::from_millis(200);
/// The same for a Perl central that we dialled: it asks all of its nodes when it hears of something new.
const PERL_PACE: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Subscriber {
    pinged: Monotonic,
    pages: bool,
    told: Option<Monotonic>,
}

/// Those who pinged us.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    all: BTreeMap<ClientId, Subscriber>,
    /// Clients that are other daemons, whether they pinged or not.
    daemons: BTreeSet<ClientId>,
}

impl Subscribers {
    /// A client pinged.
    pub(super) fn pinged(&mut self, client: ClientId, now: Monotonic) {
        if let Some(subscriber) = self.all.get_mut(&client) {
            subscriber.pinged = now;
            return;
        }
        if self.all.len() >= SUBSCRIBERS_MAX
            && let Some(oldest) = self.all.iter().min_by_key(|(_, subscriber)| subscriber.pinged).map(|(id, _)| *id)
        {
            self.all.remove(&oldest);
        }
        self.all.insert(client, Subscriber { pinged: now, pages: false, told: None });
    }

    /// A client asked for pages.
    pub(super) fn pages(&mut self, client: ClientId, now: Monotonic) {
        self.pinged(client, now);
        if let Some(subscriber) = self.all.get_mut(&client) {
            subscriber.pages = true;
        }
    }

    /// A client's session has ended.
    pub(super) fn gone(&mut self, client: ClientId) {
        self.all.remove(&client);
        self.daemons.remove(&client);
    }

    /// A client is another daemon.
    pub(super) fn is_daemon(&mut self, client: ClientId) {
        self.daemons.insert(client);
    }

    /// Whether a request comes from another daemon, which looks for a trace of it here when it gets no reply.
    pub(super) fn are_asked_by(&self, peer: Peer) -> bool {
        matches!(peer, Peer::Client(client) if client.parent().is_some() || self.daemons.contains(&client))
    }
}

impl Subscribers {
    /// Something new is stored: `for_all` when it came from our nodes.
    pub(super) fn tell_subscribers(&mut self, context: &mut Context, for_all: bool) {
        let now = context.now.monotonic;
        for (client, subscriber) in &self.all {
            let dialled = client.parent().is_some();
            if (for_all || subscriber.pages || dialled) && now.since(subscriber.pinged) < FORGOTTEN_AFTER {
                let at = subscriber.told.map_or(now + GATHER, |told| {
                    (told + if subscriber.pages || !dialled { PACE } else { PERL_PACE }).max(now + GATHER)
                });
                context.timers.set_if_unset(Timer::Subscriber(*client), at);
            }
        }
    }

    /// [`Timer::Parent`]
    pub(super) fn tell_subscriber(&mut self, context: &mut Context, client: ClientId) {
        match self.all.get_mut(&client) {
            Some(subscriber) => subscriber.told = Some(context.now.monotonic),
            // A central that we dialled has not pinged yet.
            None if client.parent().is_some() => {}
            None => return,
        }
        let data = format!("{{\"id\":{}}}", context.id_json());
        let reply = Reply { kind: Action::SyncLogs, token: None, code: Code::BEGIN, data };
        context.reply(client, reply);
    }
}

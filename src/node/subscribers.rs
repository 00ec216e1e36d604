//! The daemons that pinged us recently. They get SYNCLOGS when there is something new for them (docs/protocol.md
//! section 7).
//!
//! Each gets it after rows of our nodes were stored, as from the original. A daemon that pages its GETLOG is of our own
//! kind and also gets it when a token of our own ends, so that it has the result at once; so does a central that we
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

/// Maximum number of subscribers. Beyond that the one that was silent longest is removed.
const SUBSCRIBERS_MAX: usize = 64;
/// Silence after which a subscriber is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(1_800);
/// Events within this time are reported together.
const GATHER: Duration = Duration::from_millis(50);
/// Minimum interval between two reports to a subscriber.
const PACE: Duration = Duration::from_millis(200);
/// The same for a Perl central that we dialled, which queries all of its nodes after a report.
const PERL_PACE: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Subscriber {
    pinged: Monotonic,
    pages: bool,
    told: Option<Monotonic>,
}

#[derive(Debug, Default)]
pub(super) struct Subscribers {
    all: BTreeMap<ClientId, Subscriber>,
    /// Clients that are other daemons, whether they have pinged or not.
    daemons: BTreeSet<ClientId>,
}

impl Subscribers {
    /// Notes a ping of a client.
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

    /// Notes that a client asked for pages.
    pub(super) fn pages(&mut self, client: ClientId, now: Monotonic) {
        self.pinged(client, now);
        if let Some(subscriber) = self.all.get_mut(&client) {
            subscriber.pages = true;
        }
    }

    /// Returns whether a client that has asked for our history does so by pages, as our own kind does.
    pub(super) fn pages_of(&self, client: ClientId) -> Option<bool> {
        self.all.get(&client).map(|subscriber| subscriber.pages)
    }

    /// Handles the end of a client's session.
    pub(super) fn gone(&mut self, client: ClientId) {
        self.all.remove(&client);
        self.daemons.remove(&client);
    }

    /// Notes that a client is another daemon.
    pub(super) fn is_daemon(&mut self, client: ClientId) {
        self.daemons.insert(client);
    }

    /// Returns whether a request comes from another daemon, which looks for a trace of it here if it gets no reply.
    pub(super) fn are_asked_by(&self, peer: Peer) -> bool {
        matches!(peer, Peer::Client(client) if client.parent().is_some() || self.daemons.contains(&client))
    }
}

impl Subscribers {
    /// Schedules reports about newly stored rows; `for_all` if they came from our nodes.
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

    /// Handles [`Timer::Subscriber`].
    pub(super) fn tell_subscriber(&mut self, context: &mut Context, client: ClientId) {
        match self.all.get_mut(&client) {
            Some(subscriber) => subscriber.told = Some(context.now.monotonic),
            // A central that we dialled and that has not pinged yet.
            None if client.parent().is_some() => {}
            None => return,
        }
        let data = format!("{{\"id\":{}}}", context.id_json());
        let reply = Reply { kind: Action::SyncLogs, token: None, code: Code::BEGIN, data };
        context.reply(client, reply);
    }
}

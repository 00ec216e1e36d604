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
use crate::model::node_id::NodeId;
use crate::model::time::Monotonic;

use super::peer::Peer;
use super::timers::Timer;

/// Maximum number of subscribers. Beyond that the one that was silent longest is removed.
const SUBSCRIBERS_MAX: usize = 64;
/// Silence after which a subscriber is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(1_800);
/// How often a client gets a whole PONG although little has changed.
const WHOLE_PONG_EVERY: Duration = Duration::from_secs(600);
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
    /// Whether it takes packed rows and short PONGs.
    packs: bool,
    /// How many rows had been written when it last asked for all that it did not have.
    has_rows: Option<u64>,
    /// What the last whole PONG said, and when.
    pong: Option<(PongKey, Monotonic)>,
}

/// What a PONG says about this daemon, but for its memory: the version of the status, our id, the running requests.
pub(super) type PongKey = ((u64, Option<NodeId>), usize);

/// What the next PONG for a client of our own kind may leave out, and what it adds.
pub(super) struct PongFor {
    /// Whether it can be short.
    pub is_same: bool,
    /// Whether the client has all rows.
    pub has_all: bool,
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
        let known = Subscriber { pinged: now, pages: false, told: None, packs: false, has_rows: None, pong: None };
        self.all.insert(client, known);
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

    /// Notes that a client takes packed rows and short PONGs.
    pub(super) fn packs(&mut self, client: ClientId) {
        if let Some(subscriber) = self.all.get_mut(&client) {
            subscriber.packs = true;
        }
    }

    /// Notes that a client has been given all of the first `rows` rows.
    pub(super) fn has_rows(&mut self, client: ClientId, rows: u64) {
        if let Some(subscriber) = self.all.get_mut(&client) {
            subscriber.has_rows = Some(rows);
        }
    }

    /// Returns how to answer a ping of a client of our own kind, which says `key`; `None` for any other.
    pub(super) fn pong_for(&mut self, client: ClientId, key: PongKey, rows: u64, now: Monotonic) -> Option<PongFor> {
        let subscriber = self.all.get_mut(&client).filter(|subscriber| subscriber.packs)?;
        let is_same = subscriber.pong.is_some_and(|(before, at)| before == key && now.since(at) < WHOLE_PONG_EVERY);
        if !is_same {
            subscriber.pong = Some((key, now));
        }
        Some(PongFor { is_same, has_all: subscriber.has_rows == Some(rows) })
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

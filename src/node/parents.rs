//! The daemons that pinged us lately: they hear SYNCLOGS when there is something new for them (docs/protocol.md section
//! 7).
//!
//! Every parent hears it after rows of our nodes were stored, as the original does it. A parent that pages its GETLOG
//! is one of ours and also hears it when a token of our own ends, so that a result is with it at once; so does a
//! central that we dialled.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::message::Reply;
use crate::model::time::Monotonic;

use super::core::Core;
use super::peer::Peer;
use super::timers::Timer;

/// Parents at most; the one that was silent longest goes first.
const PARENTS_MAX: usize = 64;
/// A parent that was silent for so long is none any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(1_800);
/// What happens within this time is told at once.
const GATHER: Duration = Duration::from_millis(50);
/// A parent is told at most this often.
const PACE: Duration = Duration::from_millis(200);
/// The same for a Perl central that we dialled: it asks all of its nodes when it hears of something new.
const PERL_PACE: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Parent {
    pinged: Monotonic,
    pages: bool,
    told: Option<Monotonic>,
}

/// Those who pinged us.
#[derive(Debug, Default)]
pub(super) struct Parents {
    parents: BTreeMap<ClientId, Parent>,
    /// Clients that are other daemons, whether they pinged or not.
    daemons: BTreeSet<ClientId>,
}

impl Parents {
    /// A client pinged.
    pub(super) fn pinged(&mut self, client: ClientId, now: Monotonic) {
        if let Some(parent) = self.parents.get_mut(&client) {
            parent.pinged = now;
            return;
        }
        if self.parents.len() >= PARENTS_MAX
            && let Some(oldest) = self.parents.iter().min_by_key(|(_, parent)| parent.pinged).map(|(id, _)| *id)
        {
            self.parents.remove(&oldest);
        }
        self.parents.insert(client, Parent { pinged: now, pages: false, told: None });
    }

    /// A client asked for pages.
    pub(super) fn pages(&mut self, client: ClientId, now: Monotonic) {
        self.pinged(client, now);
        if let Some(parent) = self.parents.get_mut(&client) {
            parent.pages = true;
        }
    }

    /// A client's session has ended.
    pub(super) fn gone(&mut self, client: ClientId) {
        self.parents.remove(&client);
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

impl Core {
    /// Something new is stored: `for_all` when it came from our nodes.
    pub(super) fn tell_parents(&mut self, for_all: bool) {
        let now = self.context.now.monotonic;
        for (client, parent) in &self.parents.parents {
            let dialled = client.parent().is_some();
            if (for_all || parent.pages || dialled) && now.since(parent.pinged) < FORGOTTEN_AFTER {
                let at = parent.told.map_or(now + GATHER, |told| {
                    (told + if parent.pages || !dialled { PACE } else { PERL_PACE }).max(now + GATHER)
                });
                self.context.timers.set_if_unset(Timer::Parent(*client), at);
            }
        }
    }

    /// [`Timer::Parent`]
    pub(super) fn tell_parent(&mut self, client: ClientId) {
        let Some(parent) = self.parents.parents.get_mut(&client) else { return };
        parent.told = Some(self.context.now.monotonic);
        let data = format!("{{\"id\":{}}}", self.context.id_json());
        let reply = Reply { kind: Action::SyncLogs, token: None, code: Code::BEGIN, data };
        self.context.reply(client, reply);
    }
}

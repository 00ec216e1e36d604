//! Back-pressure: the one place that pauses reading from senders. A client is paused while there is any reason to hold
//! it.

use std::collections::BTreeSet;

use crate::model::connection::ClientId;

use super::output::Output;

/// Why a client is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// Its data waits for our disk.
    Disk,
    /// Its data waits for a node behind us.
    Relay,
}

/// The clients that are held, and why.
#[derive(Debug, Default)]
pub(super) struct Flow {
    held: BTreeSet<(Why, ClientId)>,
}

impl Flow {
    fn is_held(&self, client: ClientId) -> bool {
        [Why::Disk, Why::Relay].into_iter().any(|why| self.held.contains(&(why, client)))
    }

    /// Holds a client for a reason.
    pub fn hold(&mut self, why: Why, client: ClientId) -> Option<Output> {
        let was_held = self.is_held(client);
        self.held.insert((why, client));
        (!was_held).then_some(Output::PauseSender { sender: client, paused: true })
    }

    /// Removes one reason for a client.
    pub fn release(&mut self, why: Why, client: ClientId) -> Option<Output> {
        let is_free = self.held.remove(&(why, client)) && !self.is_held(client);
        is_free.then_some(Output::PauseSender { sender: client, paused: false })
    }

    /// Returns the clients that are held for one reason.
    pub fn held_for(&self, why: Why) -> Vec<ClientId> {
        self.held.iter().filter(|(held_for, _)| *held_for == why).map(|(_, client)| *client).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_two_rooms_hold_is_read_again_only_when_both_have_let_it_go() {
        let (mut flow, client) = (Flow::default(), ClientId::Zmq(7));
        let pause = |paused| Some(Output::PauseSender { sender: client, paused });
        assert!(flow.hold(Why::Disk, client) == pause(true));
        assert!(flow.hold(Why::Relay, client).is_none() && flow.hold(Why::Disk, client).is_none());
        assert!(flow.release(Why::Disk, client).is_none() && flow.release(Why::Disk, client).is_none());
        assert_eq!(flow.held_for(Why::Relay), [client]);
        assert!(flow.release(Why::Relay, client) == pause(false));
        assert!(flow.release(Why::Relay, client).is_none());
    }
}

//! Log lines about clients that send malformed messages: one line per client and period, however many messages it
//! sends.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::action::Action;
use crate::model::connection::ClientId;
use crate::model::log::LogLine;
use crate::model::time::Monotonic;

use super::context::Context;
use super::peer::{Handled, Peer};

/// Minimum time between two lines about a client.
const PERIOD: Duration = Duration::from_secs(10);
/// Maximum number of remembered clients. Beyond that the one with the lowest number is forgotten.
const CLIENTS_MAX: usize = 1_000;

/// Recent lines about clients.
#[derive(Debug, Default)]
pub(super) struct MalformedLog {
    clients: BTreeMap<ClientId, Said>,
}

#[derive(Debug)]
struct Said {
    at: Monotonic,
    /// Number of messages since then that were not logged.
    hidden: u64,
}

impl MalformedLog {
    /// Notes a malformed message.
    pub(super) fn note(&mut self, context: &mut Context, client: ClientId, reason: &str) {
        if let Some(line) = self.line(client, reason, context.now.monotonic) {
            context.log(line);
        }
    }

    /// Handles an answer of a node from a client that has not registered as one.
    pub(super) fn answer_of_no_node(&mut self, context: &mut Context, peer: Peer, action: &Action) -> Handled {
        if let Some(client) = peer.client() {
            let reason = format!("{} of a client that has not registered as a node: ignored", action.as_str());
            self.note(context, client, &reason);
        }
        Handled::accepted()
    }

    /// Returns the line about one more message, unless there was one about the client a moment ago.
    fn line(&mut self, client: ClientId, reason: &str, now: Monotonic) -> Option<LogLine> {
        let mut hidden = 0;
        if let Some(said) = self.clients.get_mut(&client) {
            if now.since(said.at) < PERIOD {
                said.hidden = said.hidden.saturating_add(1);
                return None;
            }
            hidden = said.hidden;
        } else if self.clients.len() >= CLIENTS_MAX {
            self.clients.pop_first();
        }
        self.clients.insert(client, Said { at: now, hidden: 0 });
        let more = if hidden > 0 { format!(" ({hidden} more were not logged)") } else { String::new() };
        Some(LogLine::warning("core", format!("a client sent something that is not a request: {reason}{more}")))
    }

    /// Forgets a client that is gone.
    pub(super) fn forget(&mut self, client: ClientId) {
        self.clients.remove(&client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_malformed_messages_writes_one_line_per_client_and_counts_the_rest() {
        let mut log = MalformedLog::default();
        let at = Monotonic::from_millis;
        let mut lines =
            |client, time| (0..1000).filter_map(|_| log.line(ClientId::Zmq(client), "no", at(time))).count();
        assert_eq!((lines(1, 0), lines(2, 0), lines(1, 9_999)), (1, 1, 0));
        let line = log.line(ClientId::Zmq(1), "no", at(10_000)).unwrap();
        assert_eq!(line.text, "a client sent something that is not a request: no (1999 more were not logged)");
        for client in 0..2 * CLIENTS_MAX as u64 {
            log.line(ClientId::Zmq(client), "no", at(20_000));
        }
        assert_eq!(log.clients.len(), CLIENTS_MAX);
    }
}

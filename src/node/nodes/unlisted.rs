//! Nodes that dial in and are in no list: a WebSocket with a shared token may use any id.
//!
//! Such a node is forgotten with its connection. Their number is limited, per address and in total, and none is
//! accepted if only listed nodes may connect (`only_listed`).

use std::collections::BTreeMap;

use crate::model::connection::{ClientId, PeerAddress};
use crate::model::log::LogLine;
use crate::model::node_id::NodeId;
use crate::model::refusal_log::RefusalLog;
use crate::model::time::Monotonic;

/// Maximum number of unlisted nodes at a time. Every PONG contains each of them.
const UNLISTED_MAX: usize = 1_000;
/// The same for one address; for IPv6 a /64 network counts as one address.
const UNLISTED_OF_ADDRESS_MAX: usize = 100;

/// The unlisted nodes and the addresses of clients.
pub(in crate::node) struct Unlisted {
    nodes: BTreeMap<NodeId, Option<PeerAddress>>,
    /// The addresses of the clients that register themselves.
    addresses: BTreeMap<ClientId, PeerAddress>,
    refusals: RefusalLog,
}

impl Default for Unlisted {
    fn default() -> Self {
        Self { nodes: BTreeMap::new(), addresses: BTreeMap::new(), refusals: RefusalLog::new("proxy") }
    }
}

impl Unlisted {
    pub(in crate::node) fn note_address(&mut self, client: ClientId, address: PeerAddress) {
        self.addresses.insert(client, address);
    }

    /// Returns the address of a client that has registered itself.
    pub(in crate::node) fn address_of(&self, client: ClientId) -> Option<PeerAddress> {
        self.addresses.get(&client).copied()
    }

    /// Returns the network that counts as one address.
    fn network_of(&self, client: ClientId) -> Option<PeerAddress> {
        self.address_of(client).map(PeerAddress::network)
    }

    /// Forgets a client that is gone.
    pub(in crate::node) fn forget_client(&mut self, client: ClientId) {
        self.addresses.remove(&client);
    }

    /// Returns whether a node is unlisted.
    pub(in crate::node) fn contains(&self, id: NodeId) -> bool {
        self.nodes.contains_key(&id)
    }

    /// Removes a node that is gone, or listed now.
    pub(in crate::node) fn remove(&mut self, id: NodeId) {
        self.nodes.remove(&id);
    }

    /// Adds an unlisted node.
    pub(in crate::node) fn insert(&mut self, id: NodeId, client: ClientId) {
        self.nodes.insert(id, self.network_of(client));
    }

    /// Checks whether a client may register one more unlisted node.
    ///
    /// # Errors
    /// Returns why not.
    pub(in crate::node) fn admit(&self, id: NodeId, client: ClientId, takes_only_listed: bool) -> Result<(), String> {
        let refusal = match takes_only_listed {
            true => Err("it is in no list, and 'only_listed' is set".to_owned()),
            false => self.has_room(client),
        };
        let remedy = "list it in the register file or in the Centreon database";
        refusal.map_err(|reason| format!("node '{id}' is not registered: {reason}; {remedy}"))
    }

    /// Returns the line about a refused client, unless there were many lately.
    pub(in crate::node) fn refusal_line(&self, client: ClientId, reason: &str, now: Monotonic) -> Option<LogLine> {
        let address = self.network_of(client).unwrap_or(PeerAddress::Local);
        self.refusals.line(address, reason, now)
    }

    fn has_room(&self, client: ClientId) -> Result<(), String> {
        let address = self.network_of(client);
        let of_address = self.nodes.values().filter(|other| **other == address).count();
        if of_address >= UNLISTED_OF_ADDRESS_MAX {
            return Err(format!("{of_address} nodes that are in no list are already connected from its address"));
        }
        if self.nodes.len() >= UNLISTED_MAX {
            return Err(format!("{UNLISTED_MAX} nodes that are in no list are already connected"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use serde_json::Value;

    use super::*;
    use crate::model::connection::ConnectionId;
    use crate::model::registration::{NodeKind, Registration, RegistrationSource};
    use crate::node::CoreOptions;
    use crate::node::input::Input;
    use crate::node::testing::{Bench, message, options, push_node};

    fn address(last: u8) -> PeerAddress {
        PeerAddress::Ip(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)))
    }

    fn socket(number: u64) -> ClientId {
        ClientId::WebSocket(ConnectionId(number))
    }

    /// Registers node `number` over its own WebSocket. Returns whether it is accepted.
    fn comes(bench: &mut Bench, number: u64, from: u8) -> bool {
        let client = socket(number);
        bench.give(Input::ClientAddress { client, address: address(from) });
        let data = format!(r#"{{"nodes":[{{"id":{number},"type":"wss","identity":{number}}}]}}"#);
        let message = message("REGISTERNODES", "", Some(""), &data);
        !bench.give(Input::WebSocketMessage { client, message }).iter().any(|line| line.contains("please register"))
    }

    fn comes_pulled(bench: &mut Bench, number: u64) -> bool {
        let client = ClientId::Zmq(number);
        bench.give(Input::ClientAddress { client, address: address(1) });
        let data = format!(r#"{{"nodes":[{{"id":{number},"type":"pull","identity":"gorgone-{number}"}}]}}"#);
        bench.give(Input::ClientMessage { client, message: message("REGISTERNODES", "t", Some(""), &data) });
        bench.constatus(number) != Value::Null
    }

    fn only_listed(option: Option<bool>, nodes: Vec<Registration>) -> CoreOptions {
        let mut options = options(nodes);
        if let Some(proxy) = &mut options.modules.proxy {
            proxy.only_listed = option;
        }
        options
    }

    fn wss(number: u64) -> Registration {
        Registration { kind: NodeKind::WebSocket, ..push_node(number) }
    }

    #[test]
    fn an_unlisted_node_is_forgotten_with_its_connection_and_a_listed_one_is_not() {
        let mut bench = Bench::new(only_listed(Some(false), vec![wss(6)]));
        assert!(comes(&mut bench, 6, 1) && comes(&mut bench, 7, 1));
        bench.give(Input::ClientGone(socket(6)));
        bench.give(Input::ClientGone(socket(7)));
        assert_ne!(bench.constatus(6), Value::Null);
        assert_eq!(bench.constatus(7), Value::Null);
        assert!(comes(&mut bench, 7, 1), "it may come again");
        bench.list(RegistrationSource::File, vec![wss(6), wss(7)]);
        bench.give(Input::ClientGone(socket(7)));
        assert_ne!(bench.constatus(7), Value::Null, "it was listed meanwhile");
    }

    #[test]
    fn few_unlisted_nodes_are_known_at_once_and_listed_ones_always_come_in() {
        let mut bench = Bench::new(only_listed(Some(false), vec![wss(5)]));
        let come = |bench: &mut Bench, from: u8| {
            (0..150).filter(|n| comes(bench, 1_000 + 1_000 * u64::from(from) + n, from)).count()
        };
        assert_eq!(come(&mut bench, 1), 100);
        let all: usize = (2..20).map(|from| come(&mut bench, from)).sum();
        assert_eq!(all, UNLISTED_MAX - 100);
        assert!(comes(&mut bench, 5, 1), "a listed one");
        bench.give(Input::ClientGone(socket(2_000)));
        assert!(comes(&mut bench, 2_000, 1), "there is room again");
        assert!(!comes(&mut bench, 2_777, 30));
    }

    #[test]
    fn where_nodes_that_dial_in_are_listed_no_others_come_in_unless_the_option_says_so() {
        let mut bench = Bench::new(options(vec![push_node(3)]));
        assert!(comes(&mut bench, 7, 1), "a list of nodes that we dial says nothing about others");
        let mut bench = Bench::new(options(vec![wss(6)]));
        assert!(comes(&mut bench, 6, 1));
        assert!(!comes(&mut bench, 7, 1));
        assert!(!comes_pulled(&mut bench, 8));
        let mut bench = Bench::new(only_listed(Some(true), Vec::new()));
        assert!(!comes(&mut bench, 7, 1));
    }

    #[test]
    fn a_pull_node_that_nobody_lists_has_a_while_to_come_back_with_its_session() {
        let mut bench = Bench::new(options(Vec::new()));
        assert!(comes_pulled(&mut bench, 8));
        let away = || Input::ClientNotReached { client: ClientId::Zmq(8), token: None };
        bench.give(away());
        bench.pass_seconds(200);
        assert_ne!(bench.constatus(8), Value::Null);
        assert!(comes_pulled(&mut bench, 8));
        bench.pass_seconds(1_000);
        assert_ne!(bench.constatus(8), Value::Null, "it has come back");
        bench.give(away());
        bench.pass_seconds(301);
        assert_eq!(bench.constatus(8), Value::Null);
    }
}

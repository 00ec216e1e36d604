//! The choice of the node through which a target is reached (docs/protocol.md section 5).

use std::time::Duration;

use crate::model::node_id::NodeId;
use crate::model::time::Monotonic;

use super::node::Node;
use super::registry::Registry;

/// The route to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) struct Route {
    /// The node that the message goes to.
    pub through: NodeId,
    pub target: NodeId,
    /// The name of the target for the node that the message goes to.
    pub name: NodeId,
}

impl Route {
    /// Returns the third field of the message: empty if the chosen node is the target itself.
    pub(in crate::node) fn target_field(&self) -> Box<str> {
        if self.through == self.target { "".into() } else { self.name.to_string().into() }
    }
}

/// The time limits after which a node counts as dead.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Patience {
    /// Time since its last PONG.
    pub pong_discard: Duration,
    /// Time for which the connection that we make to it has been down.
    pub failover_after: Duration,
}

/// The state of a candidate for a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) enum Standing {
    /// It answers, or has never been pinged.
    Live,
    /// It dials in and has never done so, so it is no candidate.
    NeverConnected,
    /// It dials in and is not connected now.
    NotConnected,
    /// Our connection to it has been down for this time.
    Down(Duration),
    /// Time since its last PONG, which is too long.
    Silent(Duration),
}

/// Returns the state of a candidate.
pub(in crate::node) fn standing(node: &Node, now: Monotonic, patience: Patience) -> Standing {
    if node.never_connected() {
        return Standing::NeverConnected;
    }
    if node.dials_in() && node.client.is_none() {
        return Standing::NotConnected;
    }
    if let Some(down) = node.down_since.map(|since| now.since(since)).filter(|down| *down >= patience.failover_after)
        && node.endpoint().is_some()
    {
        return Standing::Down(down);
    }
    let silent = node.liveness.last_pong.map(|pong| now.since(pong));
    silent.filter(|silent| *silent >= patience.pong_discard).map_or(Standing::Live, Standing::Silent)
}

/// Chooses a route: the first candidate that is live, or else the first that was ever connected.
///
/// # Errors
/// Returns the message of the history row that ends the token.
pub(in crate::node) fn choose(
    registry: &Registry,
    target: &str,
    now: Monotonic,
    patience: Patience,
) -> Result<Route, String> {
    let unknown = || format!("proxy - unknown target {}", shown(target));
    let target_id: NodeId = target.parse().map_err(|_| unknown())?;
    if !registry.knows(target_id) {
        return Err(unknown());
    }
    let mut first = None;
    for (through, _, node) in registry.candidates(target_id) {
        let route = Route { through, target: target_id, name: node.name_of(target_id) };
        match standing(node, now, patience) {
            Standing::Live => return Ok(route),
            Standing::NeverConnected => {}
            Standing::NotConnected | Standing::Down(_) | Standing::Silent(_) => _ = first.get_or_insert(route),
        }
    }
    if first.is_none()
        && let Some(node) = registry.get(target_id)
    {
        node.reachable()?;
    }
    first.ok_or_else(|| format!("proxy - no pathway for target {}", shown(target)))
}

/// Returns a target, shortened for a message.
fn shown(target: &str) -> String {
    target.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use crate::model::connection::Endpoint;
    use crate::model::history::SyncMark;
    use crate::model::registration::{NodeKind, Registration, Subnode};

    use super::super::node::{Announced, Distance};

    use super::*;

    const PATIENCE: Patience =
        Patience { pong_discard: Duration::from_secs(300), failover_after: Duration::from_secs(30) };

    fn id(number: u64) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn push(number: u64, subnodes: &[(u64, i64)]) -> Registration {
        Registration {
            id: id(number),
            uid: None,
            kind: NodeKind::PushZmq { endpoint: Endpoint::Tcp { host: "192.0.2.1".to_owned(), port: 5556 } },
            identity: None,
            link: None,
            prevail: false,
            subnodes: subnodes
                .iter()
                .map(|(n, path_score)| Subnode { id: id(*n), path_score: *path_score, uid: None })
                .collect(),
        }
    }

    fn registry(registrations: Vec<Registration>) -> Registry {
        let mut registry = Registry::default();
        for registration in registrations {
            registry.register(registration, SyncMark::default());
        }
        registry
    }

    fn steps(steps: u8) -> Distance {
        Distance { web_sockets: 0, steps }
    }

    fn through(registry: &Registry, target: &str, seconds: u64) -> Result<u64, String> {
        choose(registry, target, Monotonic::from_millis(seconds * 1000), PATIENCE).map(|route| route.through.get())
    }

    #[test]
    fn a_registered_node_is_reached_directly_and_a_subnode_by_the_smallest_score() {
        let registry = registry(vec![push(2, &[(7, 5)]), push(3, &[(7, 1), (4, 1)]), push(4, &[])]);
        assert_eq!(through(&registry, "4", 0), Ok(4));
        assert_eq!(through(&registry, "7", 0), Ok(3));
        let route = choose(&registry, "7", Monotonic::default(), PATIENCE).unwrap();
        assert_eq!(&*route.target_field(), "7");
        assert_eq!(&*choose(&registry, "2", Monotonic::default(), PATIENCE).unwrap().target_field(), "");
    }

    #[test]
    fn a_silent_node_is_passed_over_unless_all_are_silent() {
        let mut registry = registry(vec![push(2, &[(7, 1)]), push(3, &[(7, 2)])]);
        registry.get_mut(id(2)).unwrap().liveness.last_pong = Some(Monotonic::default());
        assert_eq!(through(&registry, "7", 299), Ok(2));
        assert_eq!(through(&registry, "7", 300), Ok(3));
        registry.get_mut(id(3)).unwrap().liveness.last_pong = Some(Monotonic::default());
        assert_eq!(through(&registry, "7", 300), Ok(2));
    }

    #[test]
    fn dynamic_routes_come_after_static_ones_and_go_with_their_node() {
        let mut registry = registry(vec![push(2, &[]), push(3, &[])]);
        assert_eq!(through(&registry, "9", 0), Err("proxy - unknown target 9".to_owned()));
        registry.announce(id(3), [(id(9), steps(2)), (id(3), steps(1))].into());
        assert_eq!(through(&registry, "9", 0), Ok(3));
        registry.register(push(2, &[(9, 1)]), SyncMark::default());
        assert_eq!(through(&registry, "9", 0), Ok(2));
        registry.unregister(id(2));
        assert_eq!(through(&registry, "9", 0), Ok(3));
        registry.announce(id(3), Announced::new());
        assert_eq!(through(&registry, "9", 0), Err("proxy - unknown target 9".to_owned()));
    }

    #[test]
    fn a_way_without_web_sockets_comes_before_a_shorter_one_with_them() {
        let web_socket = Registration { kind: NodeKind::WebSocket, identity: Some("2".to_owned()), ..push(2, &[]) };
        let mut registry = registry(vec![web_socket, push(3, &[]), push(4, &[])]);
        registry.get_mut(id(2)).unwrap().client = Some(crate::model::connection::ClientId::Zmq(1));
        registry.announce(id(2), [(id(9), steps(1))].into());
        registry.announce(id(4), [(id(9), Distance { web_sockets: 1, steps: 4 })].into());
        assert_eq!(through(&registry, "9", 0), Ok(2));
        registry.announce(id(3), [(id(9), steps(5))].into());
        assert_eq!(through(&registry, "9", 0), Ok(3));
    }

    #[test]
    fn of_dynamic_routes_the_shortest_comes_first() {
        let mut registry = registry(vec![push(2, &[]), push(3, &[])]);
        registry.announce(id(2), [(id(9), steps(3))].into());
        registry.announce(id(3), [(id(9), steps(2))].into());
        assert_eq!(through(&registry, "9", 0), Ok(3));
        registry.announce(id(2), [(id(9), steps(2))].into());
        assert_eq!(through(&registry, "9", 0), Ok(2));
    }

    #[test]
    fn a_connection_that_is_down_for_a_while_is_passed_over_until_it_is_back() {
        let mut registry = registry(vec![push(2, &[(7, 1)]), push(3, &[(7, 2)])]);
        let preferred = registry.get_mut(id(2)).unwrap();
        preferred.liveness.last_pong = Some(Monotonic::default());
        preferred.down_since = Some(Monotonic::default());
        assert_eq!(through(&registry, "7", 29), Ok(2));
        assert_eq!(through(&registry, "7", 30), Ok(3));
        assert_eq!(through(&registry, "2", 30), Ok(2), "the last resort");
        registry.get_mut(id(2)).unwrap().down_since = None;
        assert_eq!(through(&registry, "7", 30), Ok(2));
    }

    #[test]
    fn a_relay_that_connects_to_us_and_is_gone_is_passed_over() {
        let pull =
            |number| Registration { kind: NodeKind::Pull, identity: Some("x".to_owned()), ..push(number, &[(7, 1)]) };
        let mut registry = registry(vec![pull(2), push(3, &[(7, 2)])]);
        assert_eq!(through(&registry, "7", 0), Ok(3));
        registry.get_mut(id(2)).unwrap().client = Some(crate::model::connection::ClientId::Zmq(5));
        assert_eq!(through(&registry, "7", 0), Ok(2));
    }

    #[test]
    fn a_node_that_never_connected_is_no_way() {
        let pull = Registration { kind: NodeKind::Pull, ..push(6, &[]) };
        let mut registry = registry(vec![pull.clone()]);
        assert_eq!(through(&registry, "6", 0), Err("proxy - node '6' had never been connected".to_owned()));
        registry.register(Registration { identity: Some("gorgone-6-x".to_owned()), ..pull }, SyncMark::default());
        assert_eq!(through(&registry, "6", 0), Ok(6));
    }

    #[test]
    fn a_target_that_is_no_id_is_unknown() {
        for target in ["x", "../1", "-1", "0"] {
            assert_eq!(through(&Registry::default(), target, 0), Err(format!("proxy - unknown target {target}")));
        }
    }

    #[test]
    fn what_prevails_is_not_overridden() {
        use super::super::registry::Registered;
        let mut registry = registry(vec![Registration { prevail: true, ..push(2, &[(8, 1)]) }]);
        assert_eq!(
            registry.register(push(8, &[]), SyncMark::default()),
            Registered::Refused("it is already defined as a subnode that prevails")
        );
        assert_eq!(
            registry.register(push(2, &[]), SyncMark::default()),
            Registered::Refused("it already has a registration that prevails")
        );
        assert_eq!(through(&registry, "8", 0), Ok(2));
    }
}

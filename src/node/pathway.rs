//! The choice of the node through which a target is reached (protocol.md section 5).

use std::time::Duration;

use crate::model::node_id::NodeId;
use crate::model::time::Monotonic;

use super::registry::Registry;

/// The way to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The node that the message goes to.
    pub through: NodeId,
    /// The node that it is for.
    pub target: NodeId,
}

impl Route {
    /// The third field of the message: empty when the chosen node is the target itself.
    pub(super) fn target_field(&self) -> Box<str> {
        if self.through == self.target { "".into() } else { self.target.to_string().into() }
    }
}

/// Chooses a way. A node whose last PONG is older than `pong_discard_timeout` is taken only when there is no better one.
///
/// # Errors
/// The message of the history row that ends the token.
pub(super) fn choose(
    registry: &Registry,
    target: &str,
    now: Monotonic,
    pong_discard_timeout: Duration,
) -> Result<Route, String> {
    let unknown = || format!("proxy - unknown target {}", shown(target));
    let target_id: NodeId = target.parse().map_err(|_| unknown())?;
    if !registry.knows(target_id) {
        return Err(unknown());
    }
    let mut first = None;
    for (through, node) in registry.candidates(target_id).filter(|(_, node)| !node.never_connected()) {
        let route = Route { through, target: target_id };
        if node.liveness.last_pong.is_none_or(|pong| now.since(pong) < pong_discard_timeout) {
            return Ok(route);
        }
        first.get_or_insert(route);
    }
    if first.is_none()
        && let Some(node) = registry.get(target_id)
    {
        node.reachable()?;
    }
    first.ok_or_else(|| format!("proxy - no pathway for target {}", shown(target)))
}

/// A target as far as it is worth showing.
fn shown(target: &str) -> String {
    target.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use crate::model::connection::Endpoint;
    use crate::model::history::SyncMark;
    use crate::model::registration::{NodeKind, Registration, Subnode};

    use super::*;

    const DISCARD: Duration = Duration::from_secs(300);

    fn id(number: u64) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn push(number: u64, subnodes: &[(u64, i64)]) -> Registration {
        Registration {
            id: id(number),
            kind: NodeKind::PushZmq { endpoint: Endpoint::Tcp { host: "192.0.2.1".to_owned(), port: 5556 } },
            identity: None,
            prevail: false,
            subnodes: subnodes.iter().map(|(n, path_score)| Subnode { id: id(*n), path_score: *path_score }).collect(),
        }
    }

    fn registry(registrations: Vec<Registration>) -> Registry {
        let mut registry = Registry::default();
        for registration in registrations {
            registry.register(registration, SyncMark::default());
        }
        registry
    }

    fn through(registry: &Registry, target: &str, seconds: u64) -> Result<u64, String> {
        choose(registry, target, Monotonic::from_millis(seconds * 1000), DISCARD).map(|route| route.through.get())
    }

    #[test]
    fn a_registered_node_is_reached_directly_and_a_subnode_by_the_smallest_score() {
        let registry = registry(vec![push(2, &[(7, 5)]), push(3, &[(7, 1), (4, 1)]), push(4, &[])]);
        assert_eq!(through(&registry, "4", 0), Ok(4));
        assert_eq!(through(&registry, "7", 0), Ok(3));
        let route = choose(&registry, "7", Monotonic::default(), DISCARD).unwrap();
        assert_eq!(&*route.target_field(), "7");
        assert_eq!(&*choose(&registry, "2", Monotonic::default(), DISCARD).unwrap().target_field(), "");
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
        registry.announce(id(3), [id(9), id(3)].into());
        assert_eq!(through(&registry, "9", 0), Ok(3));
        registry.register(push(2, &[(9, 1)]), SyncMark::default());
        assert_eq!(through(&registry, "9", 0), Ok(2));
        registry.unregister(id(2));
        assert_eq!(through(&registry, "9", 0), Ok(3));
        registry.announce(id(3), [].into());
        assert_eq!(through(&registry, "9", 0), Err("proxy - unknown target 9".to_owned()));
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
            Registered::Refused("a registration that prevails is there already")
        );
        assert_eq!(through(&registry, "8", 0), Ok(2));
    }
}

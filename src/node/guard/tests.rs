use std::sync::Arc;

use crate::model::connection::ClientId;
use crate::model::node_id::NodeId;
use crate::model::rights::{BoundKey, Rights};

use super::super::input::Input;
use super::super::testing::{Bench, id, message, options, push_node};

const CLIENT: ClientId = ClientId::Zmq(7);

/// Returns a bench whose client has a bound key.
fn bound(node: Option<NodeId>, may: &[&str]) -> Bench {
    let mut options = options(vec![push_node(2)]);
    options.audits = true;
    let mut bench = Bench::new(options);
    let mut rights = Rights::default();
    assert!(may.iter().all(|word| rights.add(word)));
    let key = BoundKey { name: "poller".to_owned(), node, rights };
    bench.give(Input::ClientBound { client: CLIENT, key: Arc::new(key) });
    bench
}

fn say(bench: &mut Bench, action: &str, data: &str) -> Vec<String> {
    bench.give(Input::ClientMessage { client: CLIENT, message: message(action, "t", None, data) })
}

#[test]
fn a_key_of_a_node_registers_that_node_and_asks_for_nothing() {
    let mut bench = bound(Some(id(6)), &["node"]);
    let register =
        |id: u64, kind: &str| format!(r#"{{"nodes":[{{"id":{id},"type":"{kind}","identity":"gorgone-{id}"}}]}}"#);
    for (action, data) in [
        ("REGISTERNODES", register(5, "pull")),
        ("REGISTERNODES", r#"{"nodes":[{"id":6,"type":"push_zmq","address":"192.0.2.1"}]}"#.to_owned()),
        ("REGISTERNODES", r#"{"nodes":[]}"#.to_owned()),
        ("UNREGISTERNODES", r#"{"nodes":[{"id":2}]}"#.to_owned()),
        ("COMMAND", r#"{"content":[{"command":"id"}]}"#.to_owned()),
        ("BCASTLOGGER", r#"{"content":{"severity":"debug"}}"#.to_owned()),
    ] {
        let outputs = say(&mut bench, action, &data);
        let refused = |line: &String| line.starts_with("row t 1 ") && line.contains("poller may not ask for");
        assert!(outputs.iter().any(refused), "{action} {data}: {outputs:?}");
        assert!(!outputs.iter().any(|line| line.starts_with("run ") || line.starts_with("level ")), "{outputs:?}");
    }
    assert!(bench.core.nodes.get(id(2)).is_some() && bench.core.nodes.get(id(5)).is_none());
    say(&mut bench, "REGISTERNODES", &register(6, "pull"));
    assert_eq!(bench.core.nodes.get(id(6)).unwrap().client, Some(CLIENT));
}

#[test]
fn a_plain_key_asks_for_everything_and_a_client_that_is_gone_is_forgotten() {
    let mut bench = bound(None, &["read"]);
    assert!(say(&mut bench, "COMMAND", r#"{"content":[{"command":"id"}]}"#)[0].starts_with("row t 1 "));
    bench.give(Input::ClientGone(CLIENT));
    let outputs = say(&mut bench, "COMMAND", r#"{"content":[{"command":"id"}]}"#);
    assert!(outputs.iter().any(|line| line.starts_with("run ")), "{outputs:?}");
}

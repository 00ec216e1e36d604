use std::time::Duration;

use crate::model::api::{CallId, Method};
use crate::model::connection::ClientId;
use crate::model::registration::{NodeKind, Registration, Subnode};

use crate::node::input::Input;
use crate::node::testing::{Bench, id, message, node_message, options, push_node};

const CALL: &str = "core/action/command?log_wait=60000000";
const QUESTION: &str = r#"node 2: [GETLOG] [] [] {"ctime":0,"last_id":0}"#;
const NO_ROWS: &str = r#"{"code":0,"data":{"action":"getlog","result":[]}}"#;

fn token() -> String {
    "01".repeat(64)
}

fn millis(bench: &mut Bench, millis: u64) -> Vec<String> {
    bench.pass(Duration::from_millis(millis))
}

#[test]
fn a_node_that_does_not_announce_its_rows_is_asked_until_the_token_has_ended() {
    let mut bench = Bench::linked(&[2]);
    bench.call(1, Method::Post, &format!("nodes/2/{CALL}"), "[]");
    bench.give(node_message(2, "ACK", &token(), r#"{"code":0,"data":null}"#));
    for distance in [150, 300, 600, 1_200, 2_000, 2_000] {
        assert_eq!(millis(&mut bench, distance - 1), Vec::<String>::new());
        assert_eq!(millis(&mut bench, 1), [QUESTION]);
        bench.give(node_message(2, "ACK", "", NO_ROWS));
    }
    assert_eq!(millis(&mut bench, 2_000), [QUESTION]);
    assert_eq!(millis(&mut bench, 2_000), Vec::<String>::new(), "the question is not doubled");
    let row = format!(r#"{{"id":1,"ctime":2.5,"token":"{}","code":2,"data":"{{}}"}}"#, token());
    let answer = format!(r#"{{"code":0,"data":{{"action":"getlog","result":[{row}]}}}}"#);
    let outputs = bench.give(node_message(2, "ACK", "", &answer));
    assert!(outputs[2].starts_with("query 0"), "{outputs:?}");
    assert_eq!(bench.pass_seconds(20), Vec::<String>::new(), "nobody waits any more");
}

#[test]
fn a_node_of_our_own_kind_and_a_call_that_is_cancelled_cause_no_questions() {
    let mut bench = Bench::linked(&[2]);
    bench.call(1, Method::Post, &format!("nodes/2/{CALL}"), "[]");
    bench.give(Input::ApiCancelled(CallId(1)));
    assert_eq!(bench.pass_seconds(20), Vec::<String>::new());
    bench.give(node_message(2, "SYNCLOGS", "", r#"{"code":0,"data":{"id":2}}"#));
    let pages = r#"{"code":0,"data":{"action":"getlog","result":[],"last_id":0,"more":false}}"#;
    bench.give(node_message(2, "ACK", "", pages));
    bench.call(2, Method::Post, &format!("nodes/2/{CALL}"), "[]");
    assert_eq!(bench.pass_seconds(20), Vec::<String>::new());
}

#[test]
fn a_node_behind_a_relay_is_asked_through_it_and_once_for_all_that_wait() {
    let relay = Registration { subnodes: vec![Subnode { id: id(9), path_score: 1, uid: None }], ..push_node(2) };
    let mut bench = Bench::new(options(vec![relay]));
    bench.give(Input::LinkUp(id(2)));
    bench.give(node_message(2, "PONG", "", r#"{"code":0,"data":{"action":"ping","data":{}}}"#));
    bench.give(node_message(2, "ACK", "", NO_ROWS));
    for call in 0..3 {
        bench.call(call, Method::Post, &format!("nodes/9/{CALL}"), "[]");
    }
    assert_eq!(millis(&mut bench, 150), ["node 2: [GETLOG] [] [9] {}", QUESTION]);
}

#[test]
fn a_perl_node_with_a_websocket_is_asked_again_as_it_says_nothing_when_it_has_no_rows() {
    let node = Registration { kind: NodeKind::WebSocket, prevail: true, ..push_node(6) };
    let mut bench = Bench::new(options(vec![node]));
    let data = r#"{"nodes":[{"id":6,"type":"wss","identity":6}]}"#;
    let client = ClientId::Zmq(8);
    bench.give(Input::WebSocketMessage { client, message: message("REGISTERNODES", "", None, data) });
    bench.call(1, Method::Post, &format!("nodes/6/{CALL}"), "[]");
    let question = [r#"client 8: [GETLOG] [] [] {"ctime":0,"last_id":0}"#];
    assert_eq!(millis(&mut bench, 150), question);
    assert_eq!(millis(&mut bench, 300), question);
}

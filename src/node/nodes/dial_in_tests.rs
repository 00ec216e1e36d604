use crate::config::modules::proxy::ProxySettings;
use crate::model::connection::ClientId;
use crate::model::registration::{NodeKind, Registration, Subnode};
use crate::model::token::Token;

use crate::node::input::Input;
use crate::node::testing::{Bench, id, message, options, push_node};

const QUESTION: &str = r#"[GETLOG] [] [6] {"ctime":0,"last_id":0}"#;
const ACCEPTED: &str = "client 7: [ACK] [t] 0 null";

fn pull_node(number: u64) -> Registration {
    Registration { kind: NodeKind::Pull, ..push_node(number) }
}

fn web_socket_node(number: u64) -> Registration {
    Registration { kind: NodeKind::WebSocket, ..push_node(number) }
}

fn registers(number: u64, kind: &str, identity: &str) -> String {
    format!(r#"{{"nodes":[{{"id":"{number}","type":"{kind}","identity":"{identity}"}}]}}"#)
}

fn registers_as(number: u64, kind: &str, identity: &str, instance: &str) -> String {
    registers(number, kind, identity).replace("\"}]", &format!("\",\"instance\":\"{instance}\"}}]"))
}

fn ended(text: &str) -> String {
    format!(r#"row t 1 {{"message":"{text}"}}"#)
}

fn says(client: u64, action: &str, data: &str) -> Input {
    Input::WebSocketMessage { client: ClientId::Zmq(client), message: message(action, "", Some(""), data) }
}

fn gone(client: u64) -> Input {
    Input::ClientGone(ClientId::Zmq(client))
}

/// Returns a central with the pull node 6, which client 7 has registered and which has answered.
fn pulled() -> Bench {
    let mut bench = Bench::new(options(vec![pull_node(6)]));
    bench.request("REGISTERNODES", "t", "", &registers(6, "pull", "gorgone-6-ab"));
    bench.request("PONG", "", "", r#"{"code":0,"data":{"action":"ping","id":6,"data":{}}}"#);
    bench.request("SETLOGS", "x", "", r#"{"code":0,"data":{"action":"getlog","id":6,"result":[]}}"#);
    bench
}

/// Returns a central with the WebSocket node 6 as client 70, which has answered.
fn connected() -> Bench {
    let mut options = options(vec![web_socket_node(6)]);
    options.modules.proxy = options.modules.proxy.map(|proxy| ProxySettings { only_listed: Some(false), ..proxy });
    let mut bench = Bench::new(options);
    bench.give(says(70, "REGISTERNODES", &registers(6, "wss", "6")));
    bench.give(says(70, "PONG", r#"{"code":0,"data":{"action":"ping","id":"6","data":{}}}"#));
    bench.give(says(70, "SETLOGS", r#"{"code":0,"data":{"action":"getlog","id":6,"result":[]}}"#));
    bench
}

#[test]
fn a_pull_node_that_registers_is_pinged_and_synced_at_once_with_its_id_in_the_third_field() {
    let mut bench = Bench::new(options(Vec::new()));
    let outputs = bench.request("REGISTERNODES", "", "", &registers(6, "pull", "gorgone-6-ab"));
    assert_eq!(outputs[..2], ["client 7: [PING] [] [6] {}".to_owned(), format!("client 7: {QUESTION}")]);
    assert!(outputs.len() == 3 && outputs[2].ends_with(" 0 null"), "{outputs:?}");
    let pong = r#"{"code":0,"data":{"action":"ping","id":6,"data":{"9":{"type":"push_zmq","nodes":{}}}}}"#;
    assert_eq!(bench.request("PONG", "", "", pong), Vec::<String>::new());
    let entry = bench.constatus(6);
    assert_eq!((&entry["type"], &entry["ping_ok"]), (&"pull".into(), &1.into()));
    assert_eq!(bench.request("COMMAND", "t", "6", "{}"), ["client 7: [COMMAND] [t] [6] {}", ACCEPTED]);
    assert_eq!(bench.request("COMMAND", "t", "9", "{}"), ["client 7: [COMMAND] [t] [9] {}", ACCEPTED]);
}

#[test]
fn a_web_socket_takes_over_neither_a_pull_node_nor_one_that_we_connect_to() {
    let mut bench = pulled();
    bench.request("REGISTERNODES", "r", "", r#"{"nodes":[{"id":8,"type":"push_zmq","address":"a"}]}"#);
    for number in [6, 8] {
        let outputs = bench.give(says(70, "REGISTERNODES", &registers(number, "wss", "6")));
        assert!(outputs.iter().any(|line| line.contains("please registernodes")), "{number}: {outputs:?}");
        assert!(outputs.iter().all(|line| !line.contains("[PING]") && !line.contains("[GETLOG]")), "{outputs:?}");
    }
    assert_eq!(bench.request("COMMAND", "t", "6", "{}"), ["client 7: [COMMAND] [t] [6] {}", ACCEPTED]);
}

#[test]
fn what_a_node_owes_ends_when_it_is_registered_as_one_of_another_kind() {
    for node in [r#"{"id":6,"type":"push_ssh","address":"a"}"#, r#"{"id":6,"type":"push_zmq","address":"a"}"#] {
        let mut bench = pulled();
        bench.request("COMMAND", "owed", "6", "{}");
        let mut outputs = bench.request("REGISTERNODES", "", "", &format!(r#"{{"nodes":[{node}]}}"#));
        outputs.extend(bench.pass_seconds(301));
        let ends = outputs.iter().filter(|line| line.starts_with("row owed 1 ")).count();
        assert_eq!(ends, 1, "{node}: {outputs:?}");
    }
}

#[test]
fn a_registration_that_is_repeated_is_answered_and_changes_nothing() {
    let mut bench = pulled();
    for _ in 0..3 {
        let again = bench.request("REGISTERNODES", "", "", &registers(6, "pull", "gorgone-6-ab"));
        assert!(again.len() == 1 && again[0].ends_with(" 0 null"), "{again:?}");
    }
    let data = r#"{"message":"nodes registered"}"#;
    assert_eq!(
        bench.request("REGISTERNODES", "t", "", &registers(6, "pull", "gorgone-6-ab")),
        [format!("row t 2 {data}"), format!("client 7: [ACK] [t] 2 {data}")],
        "a token of its own ends"
    );
}

#[test]
fn a_keep_alive_keeps_what_others_registered_of_a_node() {
    let subnodes = vec![Subnode { id: id(9), path_score: 1, uid: None }];
    let node = Registration { subnodes, prevail: true, ..pull_node(6) };
    let mut bench = Bench::new(options(vec![node]));
    bench.request("REGISTERNODES", "t", "", &registers(6, "pull", "gorgone-6-ab"));
    assert_eq!(bench.request("COMMAND", "t", "9", "{}"), ["client 7: [COMMAND] [t] [9] {}", ACCEPTED]);
    // The module `nodes` has no identities.
    let register = |subnode: u64| format!(r#"{{"nodes":[{{"id":4,"type":"pull","nodes":[{{"id":{subnode}}}]}}]}}"#);
    bench.request("REGISTERNODES", "t", "", &register(8));
    bench.request("REGISTERNODES", "t", "", &registers(4, "pull", "gorgone-4-ab"));
    bench.request("REGISTERNODES", "t", "", &register(11));
    assert_eq!(bench.request("COMMAND", "t", "11", "{}"), ["client 7: [COMMAND] [t] [11] {}", ACCEPTED]);
}

#[test]
fn the_rows_of_a_pull_node_are_stored_and_a_later_sync_confirms_what_was_sent() {
    let mut bench = pulled();
    bench.request("KILL", "t", "6", "{}");
    bench.request("COMMAND", "u", "6", "{}");
    assert_eq!(bench.request("SYNCLOGS", "", "", r#"{"code":0,"data":{"id":6}}"#), [format!("client 7: {QUESTION}")]);
    let rows = r#"[{"id":3,"ctime":2.5,"token":"u","code":2,"data":"{}"}]"#;
    let answer = format!(r#"{{"code":0,"data":{{"action":"getlog","id":6,"result":{rows}}}}}"#);
    assert_eq!(
        bench.request("SETLOGS", "x", "", &answer),
        ["row u 2 {}", "mark 6 2.5 3", r#"row t 2 {"message":"done"}"#]
    );
}

#[test]
fn a_node_says_nothing_in_the_name_of_another() {
    let mut bench = pulled();
    let answer = r#"{"code":0,"data":{"action":"getlog","id":4,"result":[{"id":3,"ctime":2.5,"token":"u","code":2}]}}"#;
    assert_eq!(bench.request("SETLOGS", "x", "", answer), Vec::<String>::new());
    let mut bench = connected();
    assert_eq!(bench.give(says(70, "SETLOGS", answer)), Vec::<String>::new());
    let before = bench.constatus(6)["ping_ok"].clone();
    bench.give(says(70, "PONG", r#"{"code":0,"data":{"action":"ping","id":4,"data":{}}}"#));
    assert_eq!(bench.constatus(6)["ping_ok"], before);
}

#[test]
fn a_pull_node_that_is_not_reached_ends_the_token_and_fails_the_ping() {
    let mut bench = pulled();
    bench.request("COMMAND", "t", "6", "{}");
    let not_reached =
        |token: &str| Input::ClientNotReached { client: ClientId::Zmq(7), token: Token::parse(token).ok() };
    assert_eq!(bench.give(not_reached("t")), [ended("Send message problem for '6': it is not connected")]);
    assert_eq!(
        bench.request("PONG", "", "", r#"{"code":0,"data":{"id":6,"data":{}}}"#),
        ["client 7: [PING] [] [6] {}".to_owned(), format!("client 7: {QUESTION}")],
        "it is heard again"
    );
    bench.pass_seconds(60);
    bench.give(not_reached(""));
    assert_eq!(bench.constatus(6)["ping_failed"], 1);
}

#[test]
fn a_pull_node_with_a_new_session_is_the_same_node() {
    let mut bench = Bench::new(options(vec![pull_node(6)]));
    bench.request("REGISTERNODES", "t", "", &registers_as(6, "pull", "gorgone-6-ab", "start1"));
    let message = message("REGISTERNODES", "", Some(""), &registers_as(6, "pull", "gorgone-6-cd", "start1"));
    let outputs = bench.give(Input::ClientMessage { client: ClientId::Zmq(8), message });
    assert_eq!(outputs[..2], ["node 6 moves from 7 to 8: Again", "client 8: [PING] [] [6] {}"]);
    assert_eq!(bench.give(gone(7)), Vec::<String>::new(), "the old session is of no interest any more");
    assert_eq!(bench.request("COMMAND", "t", "6", "{}"), ["client 8: [COMMAND] [t] [6] {}", ACCEPTED]);
    bench.give(gone(8));
    let text = "Send message problem for '6': it is not connected";
    assert_eq!(bench.request("COMMAND", "u", "6", "{}")[0], ended(text).replace("row t", "row u"));
}

#[test]
fn a_ping_without_an_answer_is_forgotten_after_thirty_seconds_and_counts_nothing() {
    let mut bench = pulled();
    bench.pass_seconds(60);
    assert_eq!(bench.constatus(6)["in_progress_ping"], 1);
    bench.pass_seconds(29);
    assert_eq!(bench.constatus(6)["in_progress_ping"], 1);
    bench.pass_seconds(1);
    let entry = bench.constatus(6);
    assert_eq!(
        (&entry["in_progress_ping"], &entry["ping_failed"], &entry["ping_timeout"]),
        (&0.into(), &0.into(), &0.into())
    );
    assert!(bench.pass_seconds(30).contains(&"client 7: [PING] [] [6] {}".to_owned()));
}

#[test]
fn a_prevailing_node_that_unregisters_stays_known_and_comes_back_at_once() {
    let mut bench = Bench::new(options(vec![Registration { prevail: true, ..web_socket_node(6) }]));
    let text = ended("cannot get connection from target node '6'");
    assert_eq!(bench.request("COMMAND", "t", "6", "{}"), [text.clone(), ACCEPTED.to_owned()]);
    let register = registers(6, "wss", "6");
    assert_eq!(bench.give(says(70, "REGISTERNODES", &register))[0], "client 70: [PING] [] [] {}");
    bench.give(says(70, "UNREGISTERNODES", r#"{"nodes":[{"id":6}]}"#));
    assert_eq!(bench.request("COMMAND", "t", "6", "{}"), [text, ACCEPTED.to_owned()]);
    assert_eq!(bench.pass_seconds(200).iter().filter(|line| line.contains("[PING]")).count(), 0);
    assert_eq!(bench.give(says(71, "REGISTERNODES", &register))[0], "client 71: [PING] [] [] {}");
    assert_eq!(bench.request("COMMAND", "t", "6", "{}"), ["client 71: [COMMAND] [t] [] {}", ACCEPTED]);
}

#[test]
fn a_web_socket_gets_no_ack_and_may_say_five_things() {
    let mut bench = connected();
    assert_eq!(bench.constatus(6)["type"], "wss");
    assert_eq!(bench.give(says(70, "REGISTERNODES", &registers(6, "pullwss", "6"))), Vec::<String>::new());
    assert_eq!(bench.give(says(70, "SYNCLOGS", r#"{"code":0,"data":{"id":6}}"#)).len(), 1);
    for action in ["COMMAND", "PING", "GETLOG", "PUTLOG", "KILL", "FOO", "SETCOREID", "ACK"] {
        assert_eq!(bench.give(says(70, action, "{}")), Vec::<String>::new(), "{action}");
    }
}

#[test]
fn a_web_socket_that_does_not_register_itself_first_is_closed() {
    let mut bench = Bench::new(options(vec![push_node(2)]));
    let closed = [r#"close client 70: Some("{\"code\":500,\"message\":\"please registernodes\"}")"#];
    for (action, data) in [
        ("PONG", "{}".to_owned()),
        ("COMMAND", "{}".to_owned()),
        ("REGISTERNODES", "{".to_owned()),
        ("REGISTERNODES", r#"{"nodes":[]}"#.to_owned()),
        ("REGISTERNODES", registers(6, "pull", "6")),
        ("REGISTERNODES", registers(0, "wss", "0")),
        ("REGISTERNODES", registers(1, "wss", "1")),
        ("REGISTERNODES", registers(2, "wss", "2")),
        ("REGISTERNODES", r#"{"nodes":[{"id":6,"type":"wss"},{"id":7,"type":"wss"}]}"#.to_owned()),
    ] {
        assert_eq!(bench.give(says(70, action, &data)), closed, "{action} {data}");
    }
    assert_eq!(bench.constatus(2)["type"], "push_zmq");
}

#[test]
fn a_web_socket_that_registers_another_node_is_closed_and_unregisters_none() {
    let mut bench = connected();
    bench.give(says(71, "REGISTERNODES", &registers(8, "wss", "8")));
    bench.give(says(70, "UNREGISTERNODES", r#"{"nodes":[{"id":8}]}"#));
    assert_eq!(bench.request("COMMAND", "t", "8", "{}")[0], "client 71: [COMMAND] [t] [] {}");
    let outputs = bench.give(says(70, "REGISTERNODES", &registers(8, "wss", "8")));
    assert_eq!(outputs, [r#"close client 70: Some("{\"code\":500,\"message\":\"please registernodes\"}")"#]);
    assert_eq!(bench.request("COMMAND", "u", "8", "{}")[0], "client 71: [COMMAND] [u] [] {}");
    assert!(bench.request("COMMAND", "t", "6", "{}")[0].contains("cannot get connection from target node '6'"));
}

const TWICE: &str = "another daemon is connected as node '6' and answers";
const PONG: &str = r#"{"code":0,"data":{"action":"ping","id":6,"data":{}}}"#;

/// Returns a central whose node 6 is client 70, and a second daemon, client 71, which has just registered as node 6.
fn twice() -> Bench {
    let mut bench = connected();
    bench.give(says(70, "REGISTERNODES", &registers_as(6, "wss", "6", "start1")));
    let outputs = bench.give(says(71, "REGISTERNODES", &registers_as(6, "wss", "6", "start2")));
    assert_eq!(outputs, ["client 70: [PING] [] [] {}"], "the first is asked");
    bench
}

#[test]
fn a_second_daemon_with_the_id_of_one_that_answers_is_refused_with_a_line() {
    let mut bench = twice();
    assert_eq!(bench.give(says(71, "SYNCLOGS", "{}")), Vec::<String>::new(), "it waits");
    assert_eq!(bench.request("COMMAND", "t", "6", "{}")[0], "client 70: [COMMAND] [t] [] {}");
    let outputs = bench.give(says(70, "PONG", PONG));
    let refusal = format!(r#"close client 71: Some("{{\"code\":500,\"message\":\"{TWICE}\"}}")"#);
    assert_eq!(outputs, ["node 6 moves from 70 to 71: Refused".to_owned(), refusal]);
    bench.give(gone(71));
    assert_eq!(bench.pass_seconds(10), Vec::<String>::new());
    assert_eq!(bench.request("COMMAND", "u", "6", "{}")[0], "client 70: [COMMAND] [u] [] {}");
}

#[test]
fn a_second_connection_takes_the_place_of_one_that_does_not_answer_or_goes() {
    let moves = ["node 6 moves from 70 to 71: Silent", "close client 70: None", "client 71: [PING] [] [] {}"];
    let mut bench = twice();
    assert_eq!(bench.pass_seconds(6)[..3], moves);
    assert_eq!(bench.give(gone(70)), Vec::<String>::new());
    assert_eq!(bench.request("COMMAND", "t", "6", "{}")[0], "client 71: [COMMAND] [t] [] {}");
    for goes in [gone(70), says(70, "UNREGISTERNODES", r#"{"nodes":[{"id":6}]}"#)] {
        let mut bench = twice();
        assert_eq!(bench.give(goes)[0], "client 71: [PING] [] [] {}");
        assert_eq!(bench.request("COMMAND", "t", "6", "{}")[0], "client 71: [COMMAND] [t] [] {}");
    }
}

#[test]
fn a_third_daemon_is_refused_while_the_second_waits_and_a_second_that_goes_is_forgotten() {
    let mut bench = twice();
    let outputs = bench.give(says(72, "REGISTERNODES", &registers(6, "wss", "6")));
    assert!(outputs[1].starts_with("close client 72: Some"), "{outputs:?}");
    bench.give(gone(71));
    assert_eq!(bench.give(says(70, "PONG", PONG)), Vec::<String>::new());
    assert_eq!(bench.pass_seconds(10), Vec::<String>::new());
}

#[test]
fn a_second_pull_daemon_is_told_why_it_is_not_taken() {
    let mut bench = pulled();
    let message = message("REGISTERNODES", "", Some(""), &registers(6, "pull", "gorgone-6-cd"));
    let outputs = bench.give(Input::ClientMessage { client: ClientId::Zmq(8), message });
    assert_eq!(outputs[0], "client 7: [PING] [] [6] {}");
    let outputs = bench.request("PONG", "", "", PONG);
    let refusal = format!(r#"client 8: [ACK] [] 1 {{"message":"{TWICE}"}}"#);
    assert_eq!(outputs, ["node 6 moves from 7 to 8: Refused".to_owned(), refusal]);
    assert_eq!(bench.request("COMMAND", "t", "6", "{}"), ["client 7: [COMMAND] [t] [6] {}", ACCEPTED]);
}

#[test]
fn the_same_daemon_or_any_where_the_configuration_says_so_takes_the_place_at_once() {
    let mut bench = connected();
    bench.give(says(70, "REGISTERNODES", &registers_as(6, "wss", "6", "start1")));
    let outputs = bench.give(says(71, "REGISTERNODES", &registers_as(6, "wss", "6", "start1")));
    assert_eq!(outputs[..2], ["node 6 moves from 70 to 71: Again", "close client 70: None"]);
    let mut replacing = options(vec![web_socket_node(6)]);
    replacing.modules.proxy.get_or_insert_default().replaces_twice = true;
    let mut bench = Bench::new(replacing);
    bench.give(says(70, "REGISTERNODES", &registers(6, "wss", "6")));
    let outputs = bench.give(says(71, "REGISTERNODES", &registers(6, "wss", "6")));
    assert_eq!(outputs[..2], ["node 6 moves from 70 to 71: Replaced", "close client 70: None"]);
}

#[test]
fn a_registration_of_a_node_may_not_prevail() {
    let mut bench = connected();
    let data = r#"{"nodes":[{"id":8,"type":"wss","prevail":1,"nodes":[{"id":6}]}]}"#;
    bench.give(says(71, "REGISTERNODES", data));
    assert_eq!(bench.request("COMMAND", "t", "6", "{}")[0], "client 70: [COMMAND] [t] [] {}");
}

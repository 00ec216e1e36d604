use crate::model::connection::ParentKind;
use crate::model::connection::ParentKind::{Pull, WebSocket};
use crate::node::CoreOptions;
use crate::node::input::Input;
use crate::node::testing::{Bench, id, message, options, pull_settings, pullwss_settings, push_node, row};

const REGISTERS: &str = r#"parent Pull: [REGISTERNODES] [] [] {"nodes":[{"id":6,"identity":"gorgone-6-ab","instance":"01010101010101010101010101010101","type":"pull"}]}"#;

fn node() -> Bench {
    let mut options = CoreOptions { id: Some(id(6)), ..options(vec![push_node(9)]) };
    options.modules.pull = Some(pull_settings());
    options.modules.pullwss = Some(pullwss_settings());
    Bench::new(options)
}

fn up(kind: ParentKind) -> Input {
    Input::ParentUp { kind, identity: "gorgone-6-ab".to_owned() }
}

fn asks(kind: ParentKind, action: &str, token: &str, target: &str, data: &str) -> Input {
    Input::ParentMessage { kind, message: message(action, token, Some(target), data) }
}

fn ack() -> Input {
    asks(Pull, "ACK", "x", "", r#"{"code":0,"data":null}"#)
}

#[test]
fn a_node_registers_when_it_is_connected_and_again_with_every_ping() {
    let mut bench = node();
    assert_eq!(bench.give(up(Pull)), [REGISTERS]);
    assert_eq!(bench.give(ack()), Vec::<String>::new());
    let registers = |line: &String| line.contains("REGISTERNODES");
    assert_eq!(bench.pass_seconds(59).iter().filter(|line| registers(line)).count(), 0);
    assert!(bench.pass_seconds(1).contains(&REGISTERS.to_owned()));
    let node = r#"{"id":6,"identity":6,"instance":"01010101010101010101010101010101","type":"wss"}"#;
    let registers = format!(r#"parent WebSocket: [REGISTERNODES] [] [] {{"nodes":[{node}]}}"#);
    assert_eq!(bench.give(up(WebSocket)), std::slice::from_ref(&registers));
    bench.give(ack());
    assert!(bench.pass_seconds(30).contains(&registers));
}

#[test]
fn a_central_that_is_silent_for_thirty_seconds_gets_a_new_session() {
    let mut bench = node();
    bench.give(up(Pull));
    let resets = |lines: Vec<String>| lines.iter().filter(|line| *line == "reset parent Pull").count();
    assert_eq!(resets(bench.pass_seconds(29)), 0);
    assert_eq!(resets(bench.pass_seconds(1)), 1);
    assert_eq!(resets(bench.pass_seconds(300)), 0, "nothing is asked until it is connected again");
    bench.give(up(Pull));
    bench.give(asks(Pull, "PING", "", "6", "{}"));
    assert_eq!(resets(bench.pass_seconds(59)), 0, "any message counts");
}

#[test]
fn a_connection_that_is_down_is_not_spoken_into() {
    let mut bench = node();
    bench.give(up(Pull));
    bench.give(Input::ParentDown { kind: Pull, reason: "reset".to_owned() });
    let lines = bench.pass_seconds(600);
    assert!(!lines.iter().any(|line| line.contains("parent")), "{lines:?}");
}

#[test]
fn a_central_hears_pong_synclogs_and_setlogs_and_no_ack() {
    let mut bench = node();
    bench.give(up(Pull));
    let pong = bench.give(asks(Pull, "PING", "p", "6", "{}"));
    assert!(
        pong[0].starts_with(r#"parent Pull: [PONG] [p] 0 {"action":"ping","message":"ping ok","id":6,"#),
        "{pong:?}"
    );
    assert_eq!(bench.give(asks(Pull, "GETLOG", "g", "6", r#"{"ctime":2}"#)), ["query 0 up to 100000 ctime>=2"]);
    let answer = bench.answer(0, vec![row(4, "a", 2, "{}")], false);
    let rows = r#"[{"id":4,"token":"a","code":2,"etime":5,"ctime":6.5,"instant":0,"data":"{}"}]"#;
    assert_eq!(
        answer,
        [format!(r#"parent Pull: [SETLOGS] [g] [] {{"code":0,"data":{{"action":"getlog","id":6,"result":{rows}}}}}"#)]
    );
    let command = bench.give(asks(Pull, "COMMAND", "c", "6", r#"{"content":[{"command":"true"}]}"#));
    assert!(command.iter().all(|line| !line.contains("parent") && !line.contains("client")), "{command:?}");
    assert_eq!(
        bench.command_exits(0, 0, "").last().unwrap(),
        r#"row c 2 {"message":"commands processing has finished successfully"}"#
    );
    let lines = bench.pass_seconds(1);
    assert!(lines.contains(&r#"parent Pull: [SYNCLOGS] [] 0 {"id":6}"#.to_owned()), "{lines:?}");
}

#[test]
fn a_reply_that_ends_a_token_without_a_row_becomes_one() {
    let mut bench = node();
    bench.give(up(Pull));
    let row = r#"row k 1 {"action":"kill","message":"cannot find module"}"#;
    assert_eq!(bench.give(asks(Pull, "KILL", "k", "", "{}")), [row]);
    assert_eq!(bench.give(asks(Pull, "GETTHUMBPRINT", "t", "", "{}")).len(), 1);
    assert_eq!(bench.give(asks(Pull, "FOO", "f", "", "{}")).len(), 1);
    assert_eq!(bench.give(asks(Pull, "KILL", "", "", "{}")), Vec::<String>::new(), "nobody knows the token");
}

#[test]
fn a_relay_passes_on_what_is_for_a_node_behind_it() {
    let mut bench = node();
    bench.give(up(WebSocket));
    assert_eq!(
        bench.give(asks(WebSocket, "COMMAND", "c", "9", "{}")),
        [r#"row c 0 instant {"message":"proxy - passed on to node '9'"}"#, "node 9: [COMMAND] [c] [] {}"]
    );
}

#[test]
fn an_answer_over_a_web_socket_comes_in_numbered_parts_and_an_empty_one_too() {
    let mut bench = node();
    bench.give(up(WebSocket));
    bench.give(asks(WebSocket, "GETLOG", "g", "", r#"{"ctime":0,"last_id":0}"#));
    let data = format!("\"{}\"", "x".repeat(60_000));
    let rows = (1..=4).map(|number| row(number, "a", 2, &data)).collect();
    let parts = bench.answer(0, rows, true);
    assert_eq!(parts.len(), 2);
    for part in parts {
        assert!(part.starts_with("parent WebSocket: [SETLOGS] [g] []") && part.len() < 130_000);
        assert!(part.ends_with(r#","nb_total_msg":2,"last_id":4,"more":true}}"#));
    }
    bench.give(asks(WebSocket, "GETLOG", "g", "", r#"{"ctime":0,"last_id":0}"#));
    let parts = bench.answer(1, Vec::new(), false);
    assert_eq!(parts.len(), 1);
    assert!(parts[0].contains(r#""result":[],"nb_total_msg":1,"last_id":0"#), "{parts:?}");
}

#[test]
fn a_node_unregisters_before_it_stops() {
    let mut bench = node();
    bench.give(up(Pull));
    bench.give(up(WebSocket));
    let unregisters = |kind: &str| format!(r#"parent {kind}: [UNREGISTERNODES] [] [] {{"nodes":[{{"id":6}}]}}"#);
    assert_eq!(bench.give(Input::Stop), [unregisters("Pull"), unregisters("WebSocket"), "stopped".to_owned()]);
}

#[test]
fn a_central_that_refuses_the_registration_is_a_warning_once_an_hour() {
    let mut bench = node();
    bench.give(up(Pull));
    let refusal = || asks(Pull, "ACK", "", "", r#"{"code":1,"data":{"message":"another daemon is connected"}}"#);
    bench.give(refusal());
    let warned = |bench: &Bench| bench.logged("the central refuses us: another daemon is connected; check 'id'");
    assert_eq!(warned(&bench), 1);
    bench.give(refusal());
    bench.pass_seconds(3_600);
    assert_eq!(warned(&bench), 1);
    bench.give(refusal());
    assert_eq!(warned(&bench), 2);
}

use crate::model::connection::ClientId;
use crate::model::registration::{NodeKind, Registration, Subnode};

use crate::model::history::{StoreChange, SyncMark};
use crate::model::stored::Restored;
use crate::model::token::Token;
use crate::node::input::Input;
use crate::node::output::Output;
use crate::node::testing::{Bench, id, message, node_message, options, push_node, ssh_node};

const ACCEPTED: &str = "client 7: [ACK] [t] 0 null";

fn ended(code: i64, text: &str) -> String {
    format!("row t {code} {{\"message\":\"{text}\"}}")
}

fn down(number: u64) -> Input {
    Input::LinkDown { node: id(number), reason: "reset".to_owned() }
}

fn synced(rows: &str) -> Input {
    node_message(2, "ACK", "", &format!(r#"{{"code":0,"data":{{"action":"getlog","result":[{rows}]}}}}"#))
}

#[test]
fn a_request_goes_to_its_node_as_it_came_and_a_subnode_stands_in_the_third_field() {
    let subnodes = vec![Subnode { id: id(9), path_score: 1, uid: None }];
    let mut bench = Bench::new(options(vec![Registration { subnodes, ..push_node(2) }]));
    let data = r#"{"content": [ {"command":"echo é"} ]}"#;
    assert_eq!(
        bench.request("COMMAND", "t", "2", data),
        [format!("node 2: [COMMAND] [t] [] {data}"), ACCEPTED.to_owned()]
    );
    assert_eq!(
        bench.request("COMMAND", "t", "9", data),
        [format!("node 2: [COMMAND] [t] [9] {data}"), ACCEPTED.to_owned()]
    );
    assert_eq!(bench.request("GETLOG", "t", "9", "{}"), ["node 2: [GETLOG] [t] [9] {}", ACCEPTED]);
}

#[test]
fn a_request_that_cannot_be_passed_on_ends_with_the_words_of_the_original() {
    let ssh = ssh_node(4);
    let pull = Registration { kind: NodeKind::Pull, ..push_node(6) };
    let mut bench = Bench::new(options(vec![push_node(2), ssh, pull]));
    for (action, target, data, text) in [
        ("COMMAND", "99", "{}", "proxy - unknown target 99"),
        ("COMMAND", "x", "{}", "proxy - unknown target x"),
        ("COMMAND", "6", "{}", "proxy - node '6' had never been connected"),
        ("GETLOG", "4", "{}", "proxy - can't get log a ssh target or through a ssh node"),
        #[cfg(feature = "ssh")]
        ("PUTLOG", "4", "{}", "unsupported action"),
        #[cfg(not(feature = "ssh"))]
        ("COMMAND", "4", "{}", "push_ssh needs a build with ssh"),
        ("COMMAND", "2", "{broken", "proxy - cannot decode json"),
    ] {
        assert_eq!(bench.request(action, "t", target, data), [ended(1, text), ACCEPTED.to_owned()]);
    }
    assert_eq!(
        bench.request("REMOTECOPY", "t", "", "{}"),
        [ended(1, "proxy - need a valid node id"), ACCEPTED.to_owned()]
    );
    let mut without = options(Vec::new());
    without.modules.proxy = None;
    let data = r#"{"error":"no_proxy","message":"no proxy configured. cannot manage target."}"#;
    assert_eq!(
        Bench::new(without).request("PING", "t", "2", "{}"),
        [format!("row t 1 {data}"), format!("client 7: [ACK] [t] 1 {data}")]
    );
}

#[test]
fn a_message_that_leaves_the_queue_unsent_ends_its_token_at_once() {
    let mut bench = Bench::linked(&[2]);
    bench.request("COMMAND", "t", "2", "{}");
    let failed =
        || Input::SendFailed { node: id(2), token: Token::parse("t").ok(), reason: "handshake timeout".to_owned() };
    assert_eq!(bench.give(failed()), [ended(1, "Send message problem for '2': handshake timeout")]);
    assert_eq!(bench.give(failed()), Vec::<String>::new());
}

#[test]
fn an_unconfirmed_token_ends_with_the_sync_after_the_reconnection_unless_that_brings_its_row() {
    let mut bench = Bench::linked(&[2]);
    for token in ["t", "done", "confirmed"] {
        bench.request("COMMAND", token, "2", "{}");
    }
    bench.give(node_message(2, "ACK", "confirmed", r#"{"code":0,"data":null}"#));
    bench.give(down(2));
    bench.give(Input::LinkUp(id(2)));
    let row = r#"{"id":1,"ctime":2.5,"token":"done","code":2,"data":"{}"}"#;
    let lost = "proxy - connection to node '2' was lost before it confirmed the message";
    assert_eq!(bench.give(synced(row)), ["row done 2 {}".to_owned(), "mark 2 2.5 1".to_owned(), ended(1, lost)]);
}

#[test]
fn an_unconfirmed_token_ends_when_the_node_does_not_come_back() {
    let mut bench = Bench::linked(&[2]);
    bench.request("COMMAND", "t", "2", "{}");
    bench.give(down(2));
    let lost = ended(1, "proxy - connection to node '2' was lost before it confirmed the message");
    assert!(!bench.pass_seconds(299).contains(&lost));
    assert_eq!(bench.pass_seconds(1), [lost]);
}

#[test]
fn a_reply_that_says_it_all_ends_the_token() {
    let mut bench = Bench::linked(&[2]);
    bench.request("PUTLOG", "t", "2", "{}");
    let outputs = bench.give(node_message(2, "ACK", "t", r#"{"code":0,"data":{"message":"message inserted"}}"#));
    assert_eq!(outputs, [ended(2, "message inserted")]);
    bench.request("KILL", "t", "2", "{}");
    let data = r#"{"code":1,"data":{"message":"cannot find module"}}"#;
    let question = r#"node 2: [GETLOG] [] [] {"ctime":0,"last_id":0}"#;
    assert_eq!(bench.give(node_message(2, "ACK", "t", data)), [question]);
    assert_eq!(bench.give(synced("")), [ended(1, "cannot find module")]);
}

#[test]
fn so_many_tokens_may_be_owed_by_a_node() {
    let mut bench = Bench::linked(&[2]);
    for number in 0..crate::node::nodes::owed::OWED_MAX {
        bench.request("COMMAND", &format!("t{number}"), "2", "{}");
    }
    let text = "proxy - too many messages to node '2' wait to be confirmed";
    assert_eq!(bench.request("COMMAND", "t", "2", "{}"), [ended(1, text), ACCEPTED.to_owned()]);
}

#[test]
fn nodes_are_registered_moved_and_dropped_by_message() {
    let mut bench = Bench::new(options(Vec::new()));
    let register = |address: &str| {
        format!(
            r#"{{"nodes":[{{"id":"5","type":"push_zmq","address":"{address}","port":"5556","nodes":[{{"id":8}}]}}]}}"#
        )
    };
    let done = |what: &str| {
        let data = format!("{{\"message\":\"nodes {what}\"}}");
        [format!("row t 2 {data}"), format!("client 7: [ACK] [t] 2 {data}")]
    };
    let [row, ack] = done("registered");
    let opened = |address: &str| [format!("open 5 tcp://{address}:5556"), row.clone(), ack.clone()];
    assert_eq!(bench.request("REGISTERNODES", "t", "", &register("10.0.0.1")), opened("10.0.0.1"));
    let outputs = bench.request("REGISTERNODES", "t", "", &register("10.0.0.1"));
    assert_eq!(outputs, done("registered"), "nothing has changed");
    assert_eq!(bench.request("REGISTERNODES", "t", "", &register("10.0.0.2")), opened("10.0.0.2"));
    assert_eq!(bench.request("COMMAND", "t", "8", "{}"), ["node 5: [COMMAND] [t] [8] {}", ACCEPTED]);
    let text = "proxy - node '5' was unregistered before it confirmed the message";
    let outputs = bench.request("UNREGISTERNODES", "t", "", r#"{"nodes":[{"id":5},{"id":77}]}"#);
    assert_eq!(outputs[..2], [ended(1, text), "close 5".to_owned()]);
    assert_eq!(outputs[2..], done("unregistered"));
    assert_eq!(bench.request("COMMAND", "t", "8", "{}")[0], ended(1, "proxy - unknown target 8"));
}

#[test]
fn registrations_that_make_no_sense_change_nothing() {
    let mut bench = Bench::new(options(Vec::new()));
    let push = |id: u64| format!(r#"{{"id":{id},"type":"push_zmq","address":"a"}}"#);
    let no_id = "cannot register a node: it has no id; allowed: a whole number from 1 to 18446744073709551615";
    for (node, reason) in [
        (r#"{"type":"push_zmq","address":"a"}"#, no_id),
        (
            r#"{"id":5,"type":"push_zmq"}"#,
            "cannot register a node: node '5' has no address; allowed: a host name, an IPv4 or an IPv6 address, \
                without a port",
        ),
        (
            r#"{"id":5,"type":"push_zmq","address":"a","port":70000}"#,
            "cannot register a node: node '5' has the invalid port '70000'; allowed: a whole number from 1 to 65535",
        ),
        (
            r#"{"id":5,"type":"carrier pigeon"}"#,
            "cannot register a node: node '5' has the invalid type 'carrier pigeon'; allowed: push_zmq, push_ssh, \
                pull, wss or pullwss",
        ),
        (&push(1), "node '1' is not registered: that is our own id"),
        ("7", no_id),
    ] {
        let data = format!(r#"{{"nodes":[{node}]}}"#);
        let message = format!("{{\"message\":\"proxy - {reason}\"}}");
        let ends = [format!("row t 1 {message}"), format!("client 7: [ACK] [t] 1 {message}")];
        assert_eq!(bench.request("REGISTERNODES", "t", "", &data), ends, "{node}");
        assert_eq!(bench.request("REGISTERNODES", "", "", &data).len(), 1, "without a token there is no row");
    }
    for action in ["REGISTERNODES", "UNREGISTERNODES"] {
        assert_eq!(bench.request(action, "t", "", "[")[0], ended(1, "proxy - cannot decode json"));
        let outputs = bench.request(action, "", "", r#"{"nodes":[]}"#);
        assert!(outputs.len() == 1 && outputs[0].ends_with(" 0 null"), "{outputs:?}");
    }
    let many = format!("7,{}", push(4));
    let outputs =
        bench.request("REGISTERNODES", "t", "", &format!(r#"{{"nodes":[{many},{}]}}"#, "7,".repeat(19) + "7"));
    assert_eq!(outputs[0], "open 4 tcp://a:5556", "the others are registered all the same");
    assert!(outputs[1].starts_with("row t 1") && outputs[1].contains("; and 11 more"), "{outputs:?}");
}

#[test]
fn more_nodes_than_can_be_known_are_refused_as_a_whole_and_any_number_is_unregistered() {
    let mut bench = Bench::linked(&[2]);
    let data = format!(r#"{{"nodes":[{}{{"id":2}}]}}"#, r#"{"id":5,"type":"pull"},"#.repeat(20_000));
    let reason =
        "20001 nodes in one request, and none of them is registered: at most 20000 can be known; send a shorter list";
    let outputs = bench.request("REGISTERNODES", "t", "", &data);
    assert_eq!(outputs[0], ended(1, &format!("proxy - {reason}")));
    assert!(bench.constatus(5).is_null());
    // The last of them is removed, too.
    let outputs = bench.request("UNREGISTERNODES", "t", "", &data);
    assert!(outputs.contains(&ended(2, "nodes unregistered")), "{outputs:?}");
    assert!(bench.constatus(2).is_null());
}

#[test]
fn a_node_asks_nothing_of_us_over_its_link() {
    let mut bench = Bench::linked(&[2]);
    for action in ["COMMAND", "PING", "GETLOG", "PUTLOG", "FOO"] {
        let asked = Input::NodeMessage { node: id(2), message: message(action, "t", Some(""), r#"{"content":[]}"#) };
        assert_eq!(bench.give(asked), Vec::<String>::new());
    }
    assert_eq!(bench.give(node_message(99, "PONG", "", "{}")), Vec::<String>::new());
}

#[test]
fn what_waits_for_a_dead_link_ends_when_the_daemon_stops() {
    let mut bench = Bench::new(options(vec![push_node(2)]));
    bench.request("COMMAND", "t", "2", "{}");
    let text = "gorgone is stopping/restarting. Cannot proceed request.";
    assert_eq!(bench.give(Input::Stop), [ended(1, text), "stopped".to_owned()]);
}

#[test]
fn a_request_that_comes_back_by_another_way_ends_and_says_so() {
    let subnodes = vec![Subnode { id: id(9), path_score: 1, uid: None }];
    let mut bench = Bench::new(options(vec![Registration { subnodes, ..push_node(2) }]));
    let sent = "node 2: [COMMAND] [t] [9] {}";
    assert_eq!(bench.request("COMMAND", "t", "9", "{}"), [sent, ACCEPTED]);
    // The same client may repeat a message, such as a query.
    assert_eq!(bench.request("COMMAND", "t", "9", "{}"), [sent, ACCEPTED]);
    let from = |client| Input::ClientMessage {
        client: ClientId::Zmq(client),
        message: message("COMMAND", "t", Some("9"), "{}"),
    };
    // So may a client that is not a daemon, from a new session.
    assert_eq!(bench.give(from(6)), [sent, &ACCEPTED.replace("client 7", "client 6")]);
    bench.give(Input::ClientIsDaemon(ClientId::Zmq(8)));
    let returned = from(8);
    let text = "proxy - the way to target 9 goes in a circle: the message came back to us";
    assert_eq!(bench.give(returned), [ended(1, text), ACCEPTED.replace("client 7", "client 8")]);
    // It is not ended a second time if the connection breaks before node 2 has confirmed it.
    bench.give(down(2));
    assert!(bench.pass_seconds(400).iter().all(|line| !line.starts_with("row t ")));
}

#[test]
fn a_message_of_another_daemon_that_goes_on_leaves_a_row_in_the_same_commit_and_is_remembered() {
    let mut bench = Bench::linked(&[2]);
    bench.give(Input::ClientIsDaemon(ClientId::Zmq(7)));
    let message = message("PUTLOG", "t", Some("2"), "{}");
    let input = Input::ClientMessage { client: ClientId::Zmq(7), message };
    bench.core.handle_input(input, crate::model::time::Now::default());
    let stored: Vec<StoreChange> = std::iter::from_fn(|| bench.core.poll_output())
        .filter_map(|output| if let Output::Store { change, .. } = output { Some(change) } else { None })
        .collect();
    let [StoreChange::OpenToken { token, node: Some(node) }, StoreChange::InsertRow(row)] = &stored[..] else {
        panic!("{} changes", stored.len());
    };
    assert_eq!((token.as_str(), node.get()), ("t", 2));
    assert_eq!((row.token.as_deref(), row.code.0, row.instant), (Some("t"), 0, true));
    assert_eq!(row.data, r#"{"message":"proxy - passed on to node '2'"}"#);
}

#[test]
fn the_mark_of_a_node_that_is_gone_is_forgotten_when_our_history_has_none_of_its_rows_any_more() {
    let wall = Bench::new(options(Vec::new())).core.context.now.wall.as_seconds_f64();
    let mark = |days: f64| SyncMark { ctime: wall - days * 86_400.0, last_id: 3, ..SyncMark::default() };
    let marks = vec![(id(2), mark(8.0)), (id(5), mark(8.0)), (id(6), mark(6.0))];
    let restored = Restored { marks, ..Restored::default() };
    let mut bench = Bench::restored(options(vec![push_node(2)]), restored);
    let outputs = bench.pass_seconds(3_601);
    let forgotten: Vec<_> = outputs.iter().filter(|line| line.starts_with("mark ")).collect();
    assert_eq!(forgotten, ["mark 5 forgotten"]);
}

use super::*;
use crate::config::modules::nodes::NodesSettings;
use crate::model::api::Method;
use crate::model::connection::ClientId;
use crate::model::host_work::HostDone;
use crate::model::poller::{PollerRow, RelationRow};
use crate::model::registration::NodeKind;

use crate::model::action::Module;
use crate::node::CoreOptions;
use crate::node::input::Input;
use crate::node::testing::{Bench, database, id, message, options, push_node};

fn bench_with(nodes: Vec<Registration>, own_id: Option<NodeId>) -> (Bench, Vec<String>) {
    let database = database();
    let pollers = NodesSettings { resync_time: Duration::from_secs(600), ssh_username: None, database };
    let mut options = CoreOptions { id: own_id, ..options(nodes) };
    options.modules.nodes = Some(pollers);
    options.modules.loaded.insert("nodes".to_owned(), Module::Nodes.package().to_owned());
    let mut bench = Bench::fresh(options);
    let outputs = bench.drain();
    (bench, outputs)
}

fn bench() -> Bench {
    bench_with(Vec::new(), Some(id(1))).0
}

fn row(number: u64) -> PollerRow {
    PollerRow {
        id: number.to_string(),
        name: format!("poller {number}"),
        address: Some("192.0.2.1".to_owned()),
        port: Some((5_000 + number).to_string()),
        ..PollerRow::default()
    }
}

fn tables(numbers: &[u64]) -> PollerTables {
    PollerTables { pollers: numbers.iter().map(|number| row(*number)).collect(), ..PollerTables::default() }
}

fn read(bench: &mut Bench, tables: PollerTables) -> Vec<String> {
    bench.give(Input::Host(HostDone::PollersRead(Ok(tables))))
}

fn fail(bench: &mut Bench, reason: &str) -> Vec<String> {
    bench.give(Input::Host(HostDone::PollersRead(Err(reason.to_owned()))))
}

/// Returns the outputs about links or readings.
fn links(outputs: &[String]) -> Vec<&str> {
    let is_one = |line: &&str| ["open", "close", "read"].iter().any(|word| line.starts_with(word));
    outputs.iter().map(String::as_str).filter(is_one).collect()
}

#[test]
fn the_database_is_read_at_the_start_every_resync_time_and_ten_seconds_after_a_failure() {
    let (mut bench, outputs) = bench_with(Vec::new(), Some(id(1)));
    assert_eq!(links(&outputs), ["read pollers"]);
    assert_eq!(links(&read(&mut bench, tables(&[2]))), ["open 2 tcp://192.0.2.1:5002"]);
    assert_eq!(links(&bench.pass_seconds(599)), Vec::<&str>::new());
    assert_eq!(links(&bench.pass_seconds(1)), ["read pollers"]);
    // There is no second query during a reading.
    assert_eq!(links(&bench.pass_seconds(700)), Vec::<&str>::new());
    fail(&mut bench, "no");
    assert_eq!(links(&bench.pass_seconds(9)), Vec::<&str>::new());
    assert_eq!(links(&bench.pass_seconds(1)), ["read pollers"]);
    assert_eq!(links(&read(&mut bench, tables(&[2]))), Vec::<&str>::new());
    assert_eq!(links(&bench.pass_seconds(599)), Vec::<&str>::new());
}

#[test]
fn only_the_difference_is_applied_and_the_row_of_a_request_tells_it() {
    let mut bench = bench();
    read(&mut bench, tables(&[2, 3, 4]));
    let outputs = bench.request("CENTREONNODESSYNC", "t", "", "{}");
    assert!(outputs.contains(&r#"row t 0 {"message":"action nodesresync proceed"}"#.to_owned()), "{outputs:?}");
    assert_eq!(links(&outputs), ["read pollers"]);
    let mut changed = tables(&[2, 3, 5]);
    changed.pollers[1].port = Some("6000".to_owned());
    let outputs = read(&mut bench, changed);
    assert_eq!(links(&outputs), ["close 4", "open 3 tcp://192.0.2.1:6000", "open 5 tcp://192.0.2.1:5005"]);
    let end =
        r#"{"added":[5],"changed":[3],"message":"action nodesresync finished","nodes":3,"refused":[],"removed":[4]}"#;
    assert!(outputs.contains(&format!("row t 2 {end}")), "{outputs:?}");
}

#[test]
fn a_request_during_a_reading_waits_for_the_next_one() {
    let (mut bench, _) = bench_with(Vec::new(), Some(id(1)));
    let outputs = bench.request("CENTREONNODESSYNC", "late", "", "{}");
    assert_eq!(links(&outputs), Vec::<&str>::new());
    let outputs = read(&mut bench, tables(&[2]));
    assert_eq!(links(&outputs), ["open 2 tcp://192.0.2.1:5002", "read pollers"]);
    assert!(!outputs.iter().any(|line| line.starts_with("row late 2")));
    let outputs = fail(&mut bench, "the server is gone");
    let row = r#"row late 1 {"message":"cannot find nodes configuration: the server is gone"}"#;
    assert!(outputs.contains(&row.to_owned()), "{outputs:?}");
}

#[test]
fn a_failure_changes_nothing() {
    let mut bench = bench();
    read(&mut bench, tables(&[2, 3]));
    bench.pass_seconds(600);
    assert_eq!(links(&fail(&mut bench, "no")), Vec::<&str>::new());
    assert!(bench.core.nodes.get(id(2)).is_some() && bench.core.nodes.get(id(3)).is_some());
}

#[test]
fn our_id_comes_from_the_database_unless_the_configuration_fixes_it() {
    let own = |number: u64| PollerRow { localhost: Some("1".to_owned()), ..row(number) };
    let (mut bench, _) = bench_with(Vec::new(), None);
    read(&mut bench, PollerTables { pollers: vec![own(9), row(2)], ..PollerTables::default() });
    assert_eq!(bench.core.own_id(), Some(id(9)));
    let (mut bench, _) = bench_with(Vec::new(), Some(id(1)));
    read(&mut bench, PollerTables { pollers: vec![own(9), row(2)], ..PollerTables::default() });
    assert_eq!(bench.core.own_id(), Some(id(1)));
}

#[test]
fn the_register_file_prevails_and_that_is_no_refusal() {
    let elsewhere = Registration { prevail: true, ..push_node(77) };
    let (mut bench, _) = bench_with(vec![Registration { id: id(2), ..elsewhere }], Some(id(1)));
    read(&mut bench, PollerTables::default());
    bench.request("CENTREONNODESSYNC", "t", "", "{}");
    let outputs = read(&mut bench, tables(&[2]));
    assert_eq!(links(&outputs), Vec::<&str>::new());
    assert!(outputs.iter().any(|line| line.starts_with("row t 2") && line.contains(r#""refused":[]"#)), "{outputs:?}");
    assert!(bench.core.nodes.get(id(2)).is_some_and(|node| node.registration.prevail));
}

#[test]
fn a_row_that_goes_wrong_leaves_its_node_as_it_was() {
    let mut bench = bench();
    read(&mut bench, tables(&[2, 3]));
    bench.request("CENTREONNODESSYNC", "t", "", "{}");
    let mut wrong = tables(&[2, 3]);
    wrong.pollers[0].address = Some("../x y".to_owned());
    let outputs = read(&mut bench, wrong);
    assert_eq!(links(&outputs), Vec::<&str>::new());
    assert!(outputs.iter().any(
        |line| line.starts_with("row t 2") && line.contains("poller 2 'poller 2' has the invalid address '../x y'")
    ));
    assert!(bench.core.nodes.get(id(2)).is_some());
    bench.request("CENTREONNODESSYNC", "u", "", "{}");
    assert_eq!(links(&read(&mut bench, tables(&[3]))), ["close 2"]);
}

#[test]
fn the_option_debug_gorgone_switches_the_log_when_it_changes() {
    let with =
        |value: Option<&str>| PollerTables { debug_gorgone: value.map(str::to_owned), ..PollerTables::default() };
    let mut bench = bench();
    for (value, expected) in [
        (None, None),
        (Some("1"), Some("level Some(Debug)")),
        (Some("1"), None),
        (Some("0"), Some("level None")),
        (None, None),
    ] {
        bench.request("CENTREONNODESSYNC", "t", "", "{}");
        let outputs = read(&mut bench, with(value));
        let found = outputs.iter().map(String::as_str).find(|line| line.starts_with("level"));
        assert_eq!(found, expected, "{value:?}");
    }
}

#[test]
fn a_relation_is_a_further_route() {
    let mut bench = bench();
    let relations = vec![RelationRow { remote_id: "2".to_owned(), poller_id: "3".to_owned() }];
    let mut pollers = tables(&[2, 3, 4]).pollers;
    pollers[2].remote_id = Some("2".to_owned());
    pollers[2].use_as_proxy = Some("1".to_owned());
    read(&mut bench, PollerTables { pollers, relations, debug_gorgone: None });
    let mut ways = |target: u64| {
        let lines = bench.call(1, Method::Get, &format!("internal/routes/{target}"), "");
        let answer: serde_json::Value = serde_json::from_str(lines[0].trim_start_matches("answer 1 200 ")).unwrap();
        let ways = answer["data"][target.to_string()]["candidates"].as_array().unwrap().clone();
        ways.iter().map(|way| way["through"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((ways(3), ways(4)), (vec![3, 2], vec![2]));
}

#[test]
fn the_api_starts_a_reading_and_its_token_ends_with_it() {
    let mut bench = bench();
    read(&mut bench, tables(&[2]));
    let outputs = bench.call(1, Method::Post, "centreon/nodes/sync", "{}");
    assert_eq!(links(&outputs), ["read pollers"]);
    assert!(outputs.iter().any(|line| line.starts_with("answer 1 200 {\"token\":")), "{outputs:?}");
    let outputs = read(&mut bench, tables(&[2, 3]));
    assert!(outputs.iter().any(|line| line.starts_with("row ") && line.contains(r#"2 {"added":[3]"#)), "{outputs:?}");
}

#[test]
fn a_stop_ends_what_waits_for_the_database() {
    let (mut bench, _) = bench_with(Vec::new(), Some(id(1)));
    bench.request("CENTREONNODESSYNC", "t", "", "{}");
    let outputs = bench.give(Input::Stop);
    assert!(outputs.iter().any(|line| line.starts_with("row t 1") && line.contains("stopping")), "{outputs:?}");
    assert_eq!(links(&read(&mut bench, tables(&[2]))), Vec::<&str>::new());
}

#[test]
fn what_a_node_still_answers_after_it_was_taken_away_does_not_cost_its_connection() {
    let mut bench = bench();
    let dials_in = PollerRow { communication_type: Some("4".to_owned()), ..row(7) };
    let present = PollerTables { pollers: vec![dials_in], ..PollerTables::default() };
    read(&mut bench, present.clone());
    let says = |action, data| Input::WebSocketMessage {
        client: crate::model::connection::ClientId::WebSocket(crate::model::connection::ConnectionId(70)),
        message: message(action, "", Some(""), data),
    };
    bench.give(says("REGISTERNODES", r#"{"nodes":[{"id":"7","type":"wss","identity":"7"}]}"#));
    bench.pass_seconds(600);
    read(&mut bench, PollerTables::default());
    assert_eq!(bench.give(says("PONG", r#"{"code":0,"data":{}}"#)), Vec::<String>::new());
    bench.pass_seconds(600);
    read(&mut bench, present);
    assert_eq!(
        bench.core.nodes.get(id(7)).and_then(|node| node.client),
        Some(crate::model::connection::ClientId::WebSocket(crate::model::connection::ConnectionId(70)))
    );
    bench.pass_seconds(600);
    read(&mut bench, PollerTables::default());
    let outputs = bench.give(says("COMMAND", "{}"));
    assert!(outputs.iter().any(|line| line.starts_with("close client 70")), "{outputs:?}");
}

const UID: u64 = u64::MAX;

impl Bench {
    fn map(&mut self) -> String {
        self.core.nodes.constatus_text(&self.core.context, false).0
    }
}

fn with_uid(number: u64, uid: u64, kind: &str) -> PollerRow {
    PollerRow { uid: Some(uid.to_string()), communication_type: Some(kind.to_owned()), ..row(number) }
}

fn of(pollers: Vec<PollerRow>) -> PollerTables {
    PollerTables { pollers, ..PollerTables::default() }
}

fn web_socket_says(action: &str, data: &str) -> Input {
    Input::WebSocketMessage { client: ClientId::Zmq(70), message: message(action, "", Some(""), data) }
}

#[test]
fn a_poller_is_reached_by_its_uid_and_stands_under_its_id_with_the_uid_beside_it() {
    let mut bench = bench();
    read(&mut bench, of(vec![with_uid(2, UID, "1")]));
    bench.give(Input::LinkUp(id(2)));
    let outputs = bench.request("ENGINECOMMAND", "t", &UID.to_string(), "{}");
    assert!(outputs.iter().any(|line| line.starts_with("node 2: [ENGINECOMMAND] [t] [] {}")), "{outputs:?}");
    let map = bench.map();
    assert!(map.contains(&format!(",\"uid\":\"{UID}\"}}")) && map.contains("\"2\":{"), "{map}");
    let routes = bench.call(1, Method::Get, &format!("internal/routes/{UID}"), "");
    assert!(routes[0].contains("\"2\":{\"candidates\":") && routes[0].contains("\"uid\":\"18"), "{routes:?}");
}

#[test]
fn a_node_that_registers_with_its_uid_is_the_poller_with_that_id() {
    let mut bench = bench();
    read(&mut bench, of(vec![with_uid(6, UID, "4"), with_uid(7, 77, "3")]));
    let registers = format!(r#"{{"nodes":[{{"id":{UID},"type":"wss","identity":{UID}}}]}}"#);
    let outputs = bench.give(web_socket_says("REGISTERNODES", &registers));
    assert!(outputs.iter().any(|line| line.starts_with("client 70: [PING] [] []")), "{outputs:?}");
    let pong = format!(r#"{{"code":0,"data":{{"action":"ping","id":"{UID}","data":{{}}}}}}"#);
    bench.give(web_socket_says("PONG", &pong));
    assert_eq!(bench.core.nodes.get(id(6)).unwrap().liveness.ping_ok, 1);
    assert!(bench.core.nodes.get(id(UID)).is_none());
    // A pull node gets the name with which it has registered.
    let outputs =
        bench.request("REGISTERNODES", "", "", r#"{"nodes":[{"id":"77","type":"pull","identity":"gorgone-77-ab"}]}"#);
    assert!(outputs.iter().any(|line| line == "client 7: [PING] [] [77] {}"), "{outputs:?}");
}

#[test]
fn a_relay_that_knows_a_poller_by_its_uid_hears_the_uid() {
    let mut bench = bench();
    let (remote, proxy) = (Some("2".to_owned()), Some("1".to_owned()));
    let behind = PollerRow { remote_id: remote, use_as_proxy: proxy, ..with_uid(9, 99, "1") };
    read(&mut bench, of(vec![row(2), behind]));
    bench.give(Input::LinkUp(id(2)));
    let pong = r#"{"code":0,"data":{"action":"ping","data":{"99":{"type":"wss","nodes":{}}}}}"#;
    bench.give(crate::node::testing::node_message(2, "PONG", "", pong));
    for target in ["9", "99"] {
        let outputs = bench.request("ENGINECOMMAND", target, target, "{}");
        let expected = format!("node 2: [ENGINECOMMAND] [{target}] [99] {{}}");
        assert!(outputs.contains(&expected), "{outputs:?}");
    }
    let map = bench.map();
    assert!(map.contains(r#""nodes":{"9":{"nodes":{},"type":"wss","uid":99}}"#), "{map}");
}

#[test]
fn our_own_uid_means_here_whichever_of_both_the_configuration_has() {
    let central = PollerRow { localhost: Some("1".to_owned()), ..with_uid(1, UID, "1") };
    for own in [Some(id(1)), Some(id(UID)), None] {
        let (mut bench, _) = bench_with(Vec::new(), own);
        let outputs = read(&mut bench, of(vec![central.clone(), row(2)]));
        assert!(!outputs.iter().any(|line| line.contains("own id")), "{outputs:?}");
        for target in ["1".to_owned(), UID.to_string()] {
            let outputs = bench.request("CONSTATUS", "t", &target, "{}");
            assert!(outputs.iter().any(|line| line.contains("[CONSTATUS] [t] 2")), "{own:?} {target} {outputs:?}");
        }
    }
}

#[test]
fn an_entry_of_the_register_file_is_merged_into_the_row_with_that_id_or_uid() {
    let behind = |number: u64| crate::model::registration::Subnode { id: id(number), path_score: 1, uid: None };
    let of_file = |number: u64| Registration { subnodes: vec![behind(8)], ..push_node(number) };
    for number in [2, 22] {
        let (mut bench, _) = bench_with(vec![of_file(number)], Some(id(1)));
        let outputs = read(&mut bench, of(vec![with_uid(2, 22, "1")]));
        assert!(bench.core.nodes.get(id(22)).is_none(), "{outputs:?}");
        let node = &bench.core.nodes.get(id(2)).unwrap().registration;
        // The database sets its address; the file sets the nodes behind it.
        assert_eq!(
            node.kind,
            NodeKind::PushZmq {
                endpoint: crate::model::connection::Endpoint::Tcp { host: "192.0.2.1".to_owned(), port: 5_002 }
            }
        );
        assert_eq!(node.subnodes, [behind(8)]);
        bench.pass_seconds(600);
        read(&mut bench, of(Vec::new()));
        assert!(bench.core.nodes.get(id(2)).is_some(), "the file still has it");
    }
}

#[test]
fn a_node_that_the_database_does_not_have_is_refused_and_one_that_it_loses_is_disconnected() {
    let mut bench = bench();
    let registers = |number: u64| format!(r#"{{"nodes":[{{"id":{number},"type":"wss","identity":{number}}}]}}"#);
    // It is not known before the first reading.
    bench.give(web_socket_says("REGISTERNODES", &registers(5)));
    assert!(bench.core.nodes.get(id(5)).is_some());
    let outputs = read(&mut bench, of(vec![with_uid(6, 66, "4")]));
    assert!(bench.core.nodes.get(id(5)).is_none(), "{outputs:?}");
    assert!(
        outputs.iter().any(|line| line.contains("close") && line.contains("node '5' is not known here")),
        "{outputs:?}"
    );
    bench.give(Input::ClientGone(ClientId::Zmq(70)));
    let outputs = bench.give(web_socket_says("REGISTERNODES", &registers(7)));
    assert!(outputs.iter().any(|line| line.contains("please registernodes")), "{outputs:?}");
    bench.give(Input::ClientGone(ClientId::Zmq(70)));
    bench.give(web_socket_says("REGISTERNODES", &registers(6)));
    bench.pass_seconds(600);
    let outputs = read(&mut bench, of(Vec::new()));
    assert!(outputs.iter().any(|line| line.contains("node '6' is not known here")), "{outputs:?}");
}

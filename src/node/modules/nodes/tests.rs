use super::*;
use crate::config::database::{DatabasePlace, DatabaseSettings, NodesSettings, Secret};
use crate::model::api::Method;
use crate::model::host_work::HostDone;
use crate::model::poller::{PollerRow, RelationRow};

use crate::model::module::Module;
use crate::node::CoreOptions;
use crate::node::input::Input;
use crate::node::testing::{Bench, id, message, options, push_node};

fn bench_with(nodes: Vec<Registration>, own_id: Option<NodeId>) -> (Bench, Vec<String>) {
    let database = DatabaseSettings {
        place: DatabasePlace::Local,
        database: "centreon".to_owned(),
        username: String::new(),
        password: Secret::default(),
        tls: None,
        connect_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_secs(10),
    };
    let pollers = NodesSettings { resync_time: Duration::from_secs(600), ssh_username: None, database };
    let mut options = CoreOptions { id: own_id, pollers: Some(pollers), ..options(nodes) };
    options.loaded.insert("nodes".to_owned(), Module::Nodes.package().to_owned());
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

/// The outputs that are about links or readings.
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
    // While it is read, nothing asks again.
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

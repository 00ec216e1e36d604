use crate::node::input::Input;
use crate::node::testing::{Bench, id, node_message, options, push_node};

fn down(number: u64) -> Input {
    Input::LinkDown { node: id(number), reason: "refused".to_owned() }
}

fn pong(number: u64) -> Input {
    node_message(number, "PONG", "", r#"{"code":0,"data":{"action":"ping","message":"ping ok","id":"2","data":{}}}"#)
}

fn answer(number: u64) -> Input {
    node_message(number, "ACK", "", r#"{"code":0,"data":{"action":"getlog","id":2,"result":[]}}"#)
}

fn one_node() -> Bench {
    Bench::new(options(vec![push_node(2)]))
}

/// Returns `ping_ok`, `ping_failed` and `ping_timeout`.
fn counts(bench: &mut Bench) -> (u64, u64, u64) {
    let entry = bench.constatus(2);
    let number = |key: &str| entry[key].as_u64().unwrap();
    (number("ping_ok"), number("ping_failed"), number("ping_timeout"))
}

fn pings(outputs: &[String]) -> usize {
    outputs.iter().filter(|line| line.contains("[PING]")).count()
}

#[test]
fn the_first_ping_goes_out_as_soon_as_the_link_is_up_and_the_next_a_period_later() {
    let mut bench = one_node();
    bench.pass_seconds(3);
    assert_eq!(bench.give(Input::LinkUp(id(2)))[0], "node 2: [PING] [] [] {}");
    bench.give(pong(2));
    bench.give(answer(2));
    assert_eq!(counts(&mut bench), (1, 0, 0));
    assert_eq!(pings(&bench.pass_seconds(59)), 0);
    assert_eq!(pings(&bench.pass_seconds(1)), 1);
}

#[test]
fn a_node_that_comes_up_within_seconds_shows_no_failed_ping() {
    let mut bench = one_node();
    for _ in 0..3 {
        bench.give(down(2));
        bench.pass_seconds(3);
    }
    bench.give(Input::LinkUp(id(2)));
    bench.give(pong(2));
    bench.pass_seconds(20);
    assert_eq!(counts(&mut bench), (1, 0, 0));
}

#[test]
fn a_refused_connection_fails_one_ping_within_15_seconds_and_then_one_per_period() {
    let mut bench = one_node();
    let mut seen = Vec::new();
    for second in 1..=200 {
        bench.give(down(2));
        bench.pass_seconds(1);
        if counts(&mut bench).1 != seen.len() as u64 {
            seen.push(second);
        }
    }
    assert_eq!(seen, [10, 70, 130, 190]);
}

#[test]
fn flapping_does_not_count_more_than_one_failure_per_period() {
    let mut bench = one_node();
    bench.give(Input::LinkUp(id(2)));
    bench.give(pong(2));
    for _ in 0..8 {
        bench.give(Input::LinkUp(id(2)));
        bench.give(down(2));
        bench.pass_seconds(14);
    }
    let (ok, failed, _) = counts(&mut bench);
    assert!(ok == 1 && (1..=2).contains(&failed), "{failed}");
}

#[test]
fn a_silent_node_is_counted_and_every_third_time_its_link_is_reset() {
    let mut bench = one_node();
    bench.give(Input::LinkUp(id(2)));
    let resets = |outputs: Vec<String>| outputs.iter().filter(|line| *line == "reset 2").count();
    assert_eq!(resets(bench.pass_seconds(299)), 0);
    assert_eq!(counts(&mut bench), (0, 0, 0));
    let outputs = bench.pass_seconds(1);
    assert_eq!(pings(&outputs), 1, "a new ping follows at once");
    assert_eq!(counts(&mut bench), (0, 1, 1));
    assert_eq!(resets(bench.pass_seconds(599)), 0);
    assert_eq!(resets(bench.pass_seconds(1)), 1);
    assert_eq!(counts(&mut bench), (0, 3, 3));
    bench.give(pong(2));
    assert_eq!(counts(&mut bench), (1, 3, 0));
}

#[test]
fn a_history_answer_counts_as_a_pong() {
    let mut bench = one_node();
    bench.give(Input::LinkUp(id(2)));
    bench.pass_seconds(300);
    assert_eq!(bench.constatus(2)["in_progress_ping"], 1);
    bench.give(answer(2));
    assert_eq!(bench.constatus(2)["in_progress_ping"], 0);
    assert_eq!(counts(&mut bench), (0, 1, 0));
    assert_eq!(bench.constatus(2)["last_ping_recv"], crate::node::testing::START_SECONDS + 300);
}

#[test]
fn a_pong_brings_the_map_of_the_node_and_the_routes_through_it() {
    let mut bench = one_node();
    bench.give(Input::LinkUp(id(2)));
    let data = r#"{"code":0,"data":{"action":"ping","data":{"8":{"type":"pull","nodes":{"9":{"nodes":{}}}}}}}"#;
    bench.give(node_message(2, "PONG", "", data));
    assert_eq!(bench.constatus(2)["nodes"]["8"]["nodes"]["9"], serde_json::json!({"nodes": {}}));
    let outputs = bench.request("COMMAND", "t", "9", r#"{"content":[]}"#);
    assert_eq!(outputs, [r#"node 2: [COMMAND] [t] [9] {"content":[]}"#, "client 7: [ACK] [t] 0 null"]);
}

#[test]
fn a_pong_of_any_shape_is_a_sign_of_life() {
    let mut bench = one_node();
    bench.give(Input::LinkUp(id(2)));
    for data in ["{}", "null", r#"{"data":null}"#, r#"{"data":{"data":[]}}"#, r#"{"code":"0","data":{"data":{"x":1}}}"#]
    {
        bench.give(node_message(2, "PONG", "", data));
    }
    bench.give(node_message(2, "PONG", "", "{broken"));
    assert_eq!(counts(&mut bench).0, 5 - 1, "null is no reply");
}

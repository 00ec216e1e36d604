use std::time::Duration;

use crate::model::api::{CallId, Method};

use crate::node::input::Input;
use crate::node::testing::{Bench, id, node_message, options, row};

const NO_LOG: &str = r#"{"error":"no_log","message":"No log found for token","data":[],"token":"tok"}"#;
const LOGS: &str = r#"{"message":"Logs found","token":"tok","data":[{"id":1,"token":"tok","code":2,"etime":5,"ctime":6.5,"instant":0,"data":"{}"}]}"#;
const QUESTION: &str = r#"node 2: [GETLOG] [] [] {"ctime":0,"last_id":0}"#;

fn bench() -> Bench {
    Bench::new(options(Vec::new()))
}

fn synced(rows: &str) -> Input {
    node_message(2, "ACK", "", &format!(r#"{{"code":0,"data":{{"action":"getlog","result":[{rows}]}}}}"#))
}

/// Returns the first token that a test's core generates.
fn token() -> String {
    "01".repeat(64)
}

#[test]
fn a_post_runs_the_action_and_answers_with_its_token() {
    let mut bench = Bench::linked(&[2]);
    let outputs = bench.call(1, Method::Post, "nodes/2/core/action/command?x=1", r#" [{"command":"a"}] "#);
    assert_eq!(
        outputs,
        [
            format!(
                r#"node 2: [COMMAND] [{}] [] {{"content":[{{"command":"a"}}],"parameters":{{"x":"1"}},"variables":[]}}"#,
                token()
            ),
            format!(r#"answer 1 200 {{"token":"{}"}}"#, token()),
        ]
    );
    let outputs = bench.call(2, Method::Post, "nodes/1/core/action/command", r#"[{"command":"a"}]"#);
    assert!(outputs.iter().any(|line| line == "run 0 for 30s: sh: a"), "{outputs:?}");
}

#[test]
fn an_action_that_fails_at_once_still_answers_with_its_token() {
    let outputs = bench().call(1, Method::Post, "core/proxy/remotecopy", "{}");
    assert_eq!(
        outputs,
        [
            format!(r#"row {} 1 {{"message":"proxy - need a valid node id"}}"#, token()),
            format!(r#"answer 1 200 {{"token":"{}"}}"#, token()),
        ]
    );
}

#[test]
fn internal_endpoints_answer_with_the_data_of_the_reply() {
    let mut bench = bench();
    let outputs = bench.call(1, Method::Get, "internal/constatus", "");
    assert_eq!(outputs[1], r#"answer 1 200 {"action":"constatus","message":"ok","data":{}}"#);
    let outputs = bench.call(2, Method::Get, "internal/thumbprint", "");
    assert_eq!(outputs[1], r#"answer 2 200 {"action":"getthumbprint","data":{"thumbprint":"thumb"},"message":"ok"}"#);
    assert!(
        bench.call(3, Method::Get, "internal/information", "")[1]
            .starts_with(r#"answer 3 200 {"action":"information""#)
    );
    let outputs = bench.call(4, Method::Post, "internal/logger", r#"{"severity":"debug"}"#);
    assert_eq!(outputs, ["level Some(Debug)", "answer 4 204 "]);
}

#[test]
fn a_page_that_asks_for_the_status_all_the_time_leaves_a_row_only_when_the_status_is_another_one() {
    let mut bench = Bench::linked(&[2]);
    let is_row = |line: &&String| line.starts_with("row ");
    let rows_of_a_call = |bench: &mut Bench| {
        let outputs = bench.call(1, Method::Get, "internal/constatus", "");
        assert!(outputs.last().unwrap().starts_with(r#"answer 1 200 {"action":"constatus""#), "{outputs:?}");
        outputs.iter().filter(is_row).count()
    };
    assert_eq!([1, 0, 0], [(); 3].map(|()| rows_of_a_call(&mut bench)));
    bench.request("UNREGISTERNODES", "t", "", r#"{"nodes":[{"id":2}]}"#);
    assert_eq!([1, 0, 0], [(); 3].map(|()| rows_of_a_call(&mut bench)));
    let of_a_client = bench.request("CONSTATUS", "u", "", "{}");
    assert_eq!(of_a_client.iter().filter(is_row).count(), 1, "a client looks for it by its token");
}

#[test]
fn an_internal_endpoint_of_a_node_answers_with_a_token() {
    let mut bench = Bench::linked(&[2]);
    let outputs = bench.call(1, Method::Get, "nodes/2/internal/constatus", "");
    assert!(outputs[0].starts_with("node 2: [CONSTATUS] ["), "{outputs:?}");
    assert_eq!(outputs[1], format!(r#"answer 1 200 {{"token":"{}"}}"#, token()));
}

#[test]
fn an_internal_endpoint_under_the_own_id_answers_with_a_token_whose_row_has_the_content() {
    let mut bench = bench();
    for (method, name, body, content) in [
        (Method::Get, "thumbprint", "", r#"{"action":"getthumbprint","data":{"thumbprint":"thumb"},"message":"ok"}"#),
        (Method::Get, "constatus", "", r#"{"action":"constatus","message":"ok","data":{}}"#),
        (Method::Get, "constatus", "", r#"{"action":"constatus","message":"ok","data":{}}"#),
        (Method::Get, "information", "", r#"{"action":"information","#),
        (Method::Post, "logger", r#"{"severity":"info"}"#, "null"),
    ] {
        let outputs = bench.call(1, method, &format!("nodes/1/internal/{name}"), body);
        let answer = outputs.last().unwrap().strip_prefix("answer 1 200 ").unwrap();
        let token = answer.strip_prefix(r#"{"token":""#).unwrap().strip_suffix(r#""}"#).unwrap();
        let rows: Vec<&String> = outputs.iter().filter(|line| line.starts_with("row ")).collect();
        assert!(rows.len() == 1 && rows[0].starts_with(&format!("row {token} 2 {content}")), "{name}: {outputs:?}");
    }
}

#[test]
fn a_wait_or_a_filter_that_is_no_number_runs_the_action_and_finds_no_row() {
    let mut bench = bench();
    for query in ["log_wait=word", "log_wait=1000&code=abc", "log_wait=1000&limit=abc"] {
        let outputs = bench.call(1, Method::Post, &format!("core/action/command?{query}"), r#"[{"command":"a"}]"#);
        let is_no_log = |line: &String| line.starts_with(r#"answer 1 200 {"error":"no_log""#);
        assert!(outputs.iter().any(is_no_log), "{query}: {outputs:?}");
        assert!(outputs.iter().any(|line| line.starts_with("run ")), "{query}: {outputs:?}");
    }
}

#[test]
fn unknown_paths_wrong_methods_and_broken_bodies_have_their_errors() {
    let mut bench = bench();
    let unknown = r#"{"error":"method_unknown","message":"Method not implemented"}"#;
    for path in
        ["", "x", "core/action", "core/action/nothing", "nodes/2", "nodes", "nodes/2/log", "core/cron/definitions"]
    {
        assert_eq!(bench.call(1, Method::Get, path, ""), [format!("answer 1 404 {unknown}")], "{path}");
    }
    assert_eq!(bench.call(1, Method::Get, "core/proxy/remotecopy", ""), [format!("answer 1 404 allow POST {unknown}")]);
    assert_eq!(bench.call(1, Method::Post, "log/x", "{}"), [format!("answer 1 404 allow GET {unknown}")]);
    assert_eq!(
        bench.call(1, Method::Other, "core/action/command", ""),
        [format!("answer 1 404 allow POST {unknown}")],
        "OPTIONS"
    );
    assert_eq!(bench.call(1, Method::Other, "core/nothing/here", ""), [format!("answer 1 404 {unknown}")]);
    let broken = r#"{"error":"decode_error","message":"POST content must be JSON-formated"}"#;
    for body in ["", "{", "x"] {
        assert_eq!(
            bench.call(1, Method::Post, "core/action/command", body),
            [format!("answer 1 400 {broken}")],
            "{body}"
        );
    }
}

#[test]
fn cron_definitions_take_four_methods_and_path_variables() {
    let mut options = options(Vec::new());
    options.modules.cron = Some(Vec::new());
    options.modules.loaded.insert("cron".to_owned(), "gorgone::modules::core::cron::hooks".to_owned());
    options.nodes = vec![crate::node::testing::push_node(2)];
    let mut bench = Bench::new(options);
    let outputs = bench.call(1, Method::Get, "nodes/2/core/cron/definitions/job/status", "");
    assert!(outputs[0].starts_with("node 2: [GETCRON]"), "{outputs:?}");
    assert!(outputs[0].ends_with(r#"{"content":null,"parameters":{},"variables":["job","status"]}"#), "{outputs:?}");
    assert!(
        bench.call(1, Method::Put, "core/cron/definitions", "{}")[0].contains("404 allow GET, POST, PATCH, DELETE")
    );
}

#[test]
fn the_log_of_a_token_is_looked_up_with_the_parameters_as_filters() {
    let mut bench = bench();
    let outputs = bench.call(1, Method::Get, "log/tok?code=2&limit=3&ctime=1.5&token=other", "");
    assert_eq!(outputs, ["query 0 up to 100000 token=tok ctime>=1.5 code=2 newest=3"]);
    assert_eq!(bench.answer(0, vec![row(1, "tok", 2, "{}")], false), [format!("answer 1 200 {LOGS}")]);
    bench.call(2, Method::Get, "log/tok", "");
    assert_eq!(bench.answer(1, vec![], false), [format!("answer 2 200 {NO_LOG}")]);
    // An answer with omitted rows says so.
    bench.call(3, Method::Get, "log/tok", "");
    let outputs = bench.answer(2, vec![row(1, "tok", 2, "{}")], true);
    assert_eq!(outputs[0], format!("answer 3 200 {},\"more\":true}}", LOGS.strip_suffix('}').unwrap()));
    for query in ["code=abc", "limit=abc", "id=x", "ctime=x", "etime=x"] {
        let outputs = bench.call(3, Method::Get, &format!("log/tok?{query}"), "");
        assert_eq!(outputs, [format!("answer 3 200 {NO_LOG}")], "{query}");
    }
}

#[test]
fn the_log_of_a_node_is_answered_when_its_sync_is_complete() {
    let mut bench = Bench::linked(&[2]);
    assert_eq!(bench.call(1, Method::Get, "nodes/2/log/tok?sync_wait=5000000", ""), [QUESTION]);
    let outputs = bench.give(synced(r#"{"id":1,"ctime":2.5,"token":"tok","code":2,"data":"{}"}"#));
    assert_eq!(outputs, ["row tok 2 {}", "mark 2 2.5 1", "query 0 up to 100000 token=tok"]);
    assert_eq!(bench.answer(0, vec![row(1, "tok", 2, "{}")], false), [format!("answer 1 200 {LOGS}")]);
}

#[test]
fn the_log_of_a_node_waits_no_longer_than_sync_wait_and_not_for_a_sync_that_began_before() {
    let mut bench = Bench::linked(&[2]);
    bench.call(1, Method::Get, "nodes/2/log/tok", "");
    assert_eq!(bench.pass(Duration::from_millis(9)), Vec::<String>::new());
    assert_eq!(bench.pass(Duration::from_millis(1)), ["query 0 up to 100000 token=tok"]);
    bench.call(2, Method::Get, "nodes/2/log/tok?sync_wait=5000000", "");
    assert_eq!(bench.give(synced("")), [QUESTION], "the sync in progress may be too old");
    assert_eq!(bench.give(synced("")), ["query 1 up to 100000 token=tok"]);
}

#[test]
fn log_wait_ends_as_soon_as_the_token_has_ended() {
    let mut bench = bench();
    let outputs = bench.call(1, Method::Post, "core/action/command?log_wait=60000000", r#"[{"command":"a"}]"#);
    assert!(!outputs.iter().any(|line| line.starts_with("answer")), "{outputs:?}");
    let outputs = bench.command_exits(0, 0, "x");
    assert_eq!(outputs.last().unwrap(), &format!("query 0 up to 100000 token={}", token()));
    let outputs = bench.answer(0, vec![row(1, "tok", 2, "{}")], false);
    assert!(outputs[0].starts_with(r#"answer 1 200 {"message":"Logs found""#), "{outputs:?}");
    // The token ends before the wait begins.
    let outputs = bench.call(2, Method::Post, "core/proxy/remotecopy?log_wait=60000000", "{}");
    assert!(outputs[1].starts_with("query 1 "), "{outputs:?}");
}

#[test]
fn log_wait_on_a_node_ends_with_its_synced_row_or_with_one_last_sync() {
    let mut bench = Bench::linked(&[2]);
    bench.call(1, Method::Post, "nodes/2/core/action/command?log_wait=60000000", "[]");
    bench.give(node_message(2, "SYNCLOGS", "", r#"{"code":0,"data":{"id":2}}"#));
    let outputs =
        bench.give(synced(&format!(r#"{{"id":1,"ctime":2.5,"token":"{}","code":2,"data":"{{}}"}}"#, token())));
    assert!(outputs[2].starts_with("query 0"), "{outputs:?}");
    let mut bench = Bench::linked(&[2]);
    bench.call(1, Method::Post, "nodes/2/core/action/command?log_wait=1000000&sync_wait=500000", "[]");
    assert_eq!(bench.pass_seconds(1), [QUESTION]);
    let outputs = bench.pass(Duration::from_millis(500));
    assert_eq!(outputs, [format!("query 0 up to 100000 token={}", token())]);
}

#[test]
fn so_many_calls_may_wait_and_one_that_is_cancelled_waits_no_more() {
    let mut bench = Bench::linked(&[2]);
    for number in 0..1_000 {
        bench.call(number, Method::Get, "nodes/2/log/tok?sync_wait=60000000", "");
    }
    assert!(bench.call(1_000, Method::Get, "log/tok", "")[0].starts_with("answer 1000 503"));
    bench.give(Input::ApiCancelled(CallId(5)));
    assert_eq!(bench.call(1_001, Method::Get, "log/tok", ""), ["query 0 up to 100000 token=tok"]);
    let outputs = bench.give(synced(""));
    assert_eq!(outputs.iter().filter(|line| line.starts_with("query")).count(), 1, "the others wait for the next sync");
}

#[test]
fn calls_that_wait_are_answered_when_the_daemon_stops() {
    let mut bench = Bench::linked(&[2]);
    bench.call(1, Method::Get, "nodes/2/log/tok?sync_wait=60000000", "");
    assert_eq!(bench.give(Input::Stop), ["query 0 up to 100000 token=tok"]);
    assert_eq!(bench.answer(0, vec![], false), [format!("answer 1 200 {NO_LOG}"), "stopped".to_owned()]);
    assert!(bench.call(2, Method::Get, "internal/constatus", "")[1].starts_with("answer 2 503"));
    bench.give(Input::LinkUp(id(2)));
}

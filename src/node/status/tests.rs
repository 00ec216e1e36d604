//! Tests of the room `status`.

use crate::model::api::{ApiAnswer, ApiCall, CallId, Caller, Method, Wishes};
use crate::model::host_work::HostDone;
use crate::model::work::{WorkId, WorkOutcome};
use crate::node::input::Input;
use crate::node::testing::{Bench, id, node_message, options, push_node};

const PONG: &str =
    r#"{"code":0,"data":{"action":"ping","hostname":"two","about":{"version":"9","memory":"x"},"data":{}}}"#;

fn bench() -> Bench {
    let mut bench = Bench::new(options(vec![push_node(2), push_node(3)]));
    bench.give(Input::LinkUp(id(2)));
    bench.give(node_message(2, "PONG", "", PONG));
    bench
}

/// Returns the output that orders the report, without the number of the work: the revision and the nodes.
fn report(bench: &mut Bench, path: &str) -> (String, String) {
    let lines = bench.call(1, Method::Get, path, "");
    let found = lines.iter().find_map(|line| line.split_once(" report ")).map(|(_, report)| report.to_owned());
    let report = found.unwrap_or_else(|| panic!("{lines:?}"));
    let mut words = report.splitn(3, ' ').skip(1).map(str::to_owned);
    (words.next().unwrap(), words.next().unwrap_or_default())
}

#[test]
fn a_report_has_all_nodes_or_those_that_have_changed_since() {
    let mut bench = bench();
    let (first, nodes) = report(&mut bench, "status");
    assert_eq!(nodes, "2=up 3=never");
    let (second, nodes) = report(&mut bench, &format!("status?since={first}"));
    assert_eq!((second.as_str(), nodes.as_str()), (first.as_str(), ""));
    bench.give(Input::LinkDown { node: id(2), reason: "cable".to_owned() });
    let (_, nodes) = report(&mut bench, &format!("status?since={first}"));
    assert_eq!(nodes, "2=down");
    for other in ["0-1-1", "", "x"] {
        assert_eq!(report(&mut bench, &format!("status?since={other}")).1, "2=down 3=never", "{other}");
    }
}

#[test]
fn a_caller_that_knows_the_state_hears_that_nothing_has_changed() {
    let mut bench = bench();
    let (revision, _) = report(&mut bench, "status");
    let ask = |bench: &mut Bench| {
        let call = ApiCall {
            below_api: true,
            method: Method::Get,
            path: vec!["status".to_owned()],
            query: Vec::new(),
            wishes: Wishes { if_none_match: Some(format!("\"{revision}\"").into()), ..Wishes::default() },
            body: Vec::new(),
            caller: Caller::default(),
        };
        bench.give(Input::ApiCall { id: CallId(5), call }).concat()
    };
    assert_eq!(ask(&mut bench), "answer 5 304 ");
    bench.request("COMMAND", "t1", "9", r#"{"content":[{"command":"x"}]}"#);
    assert!(ask(&mut bench).contains("report Json"), "a failed request shows");
}

#[test]
fn few_reports_are_made_at_a_time_and_each_answer_finds_its_call() {
    let mut bench = bench();
    for call in 0..16 {
        assert!(bench.call(call, Method::Get, "status", "").concat().contains("report"));
    }
    assert!(bench.call(16, Method::Get, "status", "").concat().starts_with("answer 16 503 "));
    let outcome = WorkOutcome::Reported(ApiAnswer::json(200, "x"));
    let done = |work| Input::Host(HostDone::WorkDone { id: WorkId(work), outcome: outcome.clone() });
    assert_eq!(bench.give(done(3)).concat(), "answer 3 200 x");
    assert!(bench.give(done(3)).is_empty());
}

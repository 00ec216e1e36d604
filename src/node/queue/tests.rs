//! Tests of the queue of a core: what is stored, sent, sent again and ended.

use std::time::Duration;

use crate::model::api::Method;
use crate::model::host_work::HostDone;
use crate::model::queue::{QueueAnswer, QueuedHead, QueuedRequest};
use crate::model::token::Token;
use crate::model::work::{WorkId, WorkOutcome};
use crate::node::input::Input;
use crate::node::output::ReceiptId;
use crate::node::testing::{Bench, id, node_message, options, push_node};

const COMMAND: &str = r#"{"content":[{"command":"true"}],"ttl":60}"#;

fn is_stored(bench: &mut Bench, receipt: u64, stored: bool) -> Vec<String> {
    bench.give(Input::Stored { receipt: ReceiptId(receipt), stored })
}

fn request(sequence: i64, token: &str, sent: i64) -> QueuedRequest {
    let head = QueuedHead {
        sequence,
        token: Token::parse(token).unwrap(),
        target: id(2),
        action: crate::model::action::Action::Command,
        created: 0,
        expires: i64::MAX,
        not_before: 0,
        sent,
        len_bytes: 2,
    };
    QueuedRequest { head, data: "{}".to_owned() }
}

fn answer(bench: &mut Bench, work: u64, answer: QueueAnswer) -> Vec<String> {
    bench.give(Input::Host(HostDone::WorkDone { id: WorkId(work), outcome: WorkOutcome::Queue(answer) }))
}

/// Answers a question for a page with these requests.
fn page(bench: &mut Bench, outputs: &[String], requests: &[QueuedRequest]) -> Vec<String> {
    let question = outputs.iter().find(|line| line.contains("Page {")).unwrap_or_else(|| panic!("{outputs:?}"));
    let work = question.split(' ').nth(1).unwrap().parse().unwrap();
    answer(bench, work, QueueAnswer::Page(requests.to_vec()))
}

/// Returns the messages to nodes, each as its token.
fn sent(outputs: &[String]) -> Vec<String> {
    let sent = outputs.iter().filter(|line| line.starts_with("node 2: ") && line.contains("\"queue\""));
    sent.map(|line| line.split(['[', ']']).nth(3).unwrap_or_default().to_owned()).collect()
}

fn comes_up(bench: &mut Bench) -> Vec<String> {
    let mut outputs = bench.give(Input::LinkUp(id(2)));
    let log = r#"{"code":0,"data":{"action":"getlog","result":[],"last_id":0,"history":7,"once":true}}"#;
    outputs.extend(bench.give(node_message(2, "ACK", "", log)));
    outputs
}

fn says(bench: &mut Bench, token: &str, code: u8, data: &str) -> Vec<String> {
    bench.give(node_message(2, "ACK", token, &format!("{{\"code\":{code},\"data\":{data}}}")))
}

#[test]
fn a_request_is_confirmed_when_it_is_stored_and_sent_when_the_node_is_there() {
    let mut bench = Bench::new(options(vec![push_node(2)]));
    assert_eq!(bench.request("COMMAND", "t", "2", COMMAND), ["another change (receipt 0)"]);
    assert_eq!(is_stored(&mut bench, 0, true), ["client 7: [ACK] [t] 0 null"]);
    let outputs = comes_up(&mut bench);
    assert_eq!(sent(&outputs), Vec::<String>::new());
    let outputs = page(&mut bench, &outputs, &[request(1, "t", 0)]);
    assert_eq!(sent(&outputs), ["t"], "{outputs:?}");
    assert!(outputs[1].contains(r#""once":true,"queue":{"of":"#), "{outputs:?}");
}

#[test]
fn what_cannot_be_stored_does_not_wait_and_its_sender_is_told() {
    let mut bench = Bench::new(options(vec![push_node(2)]));
    bench.request("COMMAND", "t", "2", COMMAND);
    let outputs = is_stored(&mut bench, 0, false);
    assert_eq!(outputs[0], r#"row t 1 {"message":"database issue"}"#);
    assert_eq!(outputs[1], r#"client 7: [ACK] [t] 1 {"message":"database issue"}"#);
    bench.call(1, Method::Post, "nodes/2/core/action/command?ttl=60", "[]");
    let outputs = is_stored(&mut bench, 1, false);
    assert!(outputs.iter().any(|line| line.starts_with("answer 1 503 ")), "{outputs:?}");
}

#[test]
fn a_token_that_waits_already_counts_once_and_its_sender_is_told_that_it_waits() {
    let mut bench = Bench::new(options(vec![push_node(2)]));
    bench.request("COMMAND", "t", "2", COMMAND);
    is_stored(&mut bench, 0, true);
    bench.request("COMMAND", "t", "2", COMMAND);
    let outputs = bench.give(Input::LeftOut(ReceiptId(1)));
    assert_eq!(outputs, ["client 7: [ACK] [t] 0 null"]);
    bench.call(1, Method::Get, "nodes/2/queue", "");
    let outputs = answer(&mut bench, 0, QueueAnswer::List(vec![request(1, "t", 0).head], false));
    assert!(outputs.iter().any(|line| line.contains(r#""messages":1"#)), "{outputs:?}");
}

#[test]
fn the_next_page_is_read_before_the_last_request_of_one_is_sent() {
    let tokens: Vec<String> = (1..=600).map(|number| format!("t{number}")).collect();
    let mut bench = Bench::new(options(vec![push_node(2)]));
    let mut requests = Vec::new();
    for (number, token) in tokens.iter().enumerate() {
        bench.request("COMMAND", token, "2", COMMAND);
        is_stored(&mut bench, number as u64, true);
        requests.push(request(number as i64 + 1, token, 0));
    }
    let outputs = comes_up(&mut bench);
    let (first, rest) = requests.split_at(300);
    let outputs = page(&mut bench, &outputs, first);
    assert_eq!(sent(&outputs), ["t1"]);
    assert!(outputs.iter().any(|line| line.contains("Page {") && line.contains("after: 300,")), "{outputs:?}");
    let all: Vec<String> = sent(&page(&mut bench, &outputs, rest));
    let mut all: Vec<String> = ["t1".to_owned()].into_iter().chain(all).collect();
    for token in &tokens {
        all.extend(sent(&says(&mut bench, token, 0, "null")));
    }
    assert_eq!(all, tokens);
}

/// Returns a bench with a node of our kind and these requests of an earlier run.
fn with_backlog(tokens: &[&str]) -> (Bench, Vec<QueuedRequest>, Vec<String>) {
    let mut bench = Bench::new(options(vec![push_node(2)]));
    let mut requests = Vec::new();
    for (number, token) in tokens.iter().enumerate() {
        bench.request("COMMAND", token, "2", COMMAND);
        is_stored(&mut bench, number as u64, true);
        requests.push(request(number as i64 + 1, token, 0));
    }
    let outputs = comes_up(&mut bench);
    let outputs = page(&mut bench, &outputs, &requests);
    (bench, requests, outputs)
}

#[test]
fn sending_begins_with_one_request_and_widens_with_each_that_is_taken() {
    let (mut bench, _, outputs) = with_backlog(&["a", "b", "c", "d"]);
    assert_eq!(sent(&outputs), ["a"]);
    let outputs = says(&mut bench, "a", 0, "null");
    assert_eq!(sent(&outputs), ["b", "c"]);
    assert_eq!(sent(&says(&mut bench, "b", 0, "null")), ["d"]);
}

#[test]
fn after_a_broken_link_what_was_not_taken_is_read_and_sent_again_in_its_order() {
    let (mut bench, requests, _) = with_backlog(&["a", "b", "c", "d"]);
    says(&mut bench, "a", 0, "null");
    bench.give(Input::LinkDown { node: id(2), reason: "broken".to_owned() });
    let outputs = comes_up(&mut bench);
    let outputs = page(&mut bench, &outputs, &requests);
    assert_eq!(sent(&outputs), ["b"], "the node has taken the first");
    assert_eq!(sent(&says(&mut bench, "b", 0, r#"{"queue":"taken"}"#)), ["c", "d"]);
}

#[test]
fn a_node_that_says_nothing_or_misses_one_gets_it_again() {
    let (mut bench, requests, _) = with_backlog(&["a", "b", "c"]);
    let outputs = bench.pass_seconds(2);
    assert_eq!(sent(&page(&mut bench, &outputs, &requests)), ["a"]);
    says(&mut bench, "a", 0, "null");
    says(&mut bench, "c", 0, r#"{"queue":"gap"}"#);
    let outputs = bench.pass(Duration::from_millis(200));
    // The taken one is a sign, so only what the gap concerns is in doubt.
    assert_eq!(sent(&page(&mut bench, &outputs, &requests)), ["b"], "{outputs:?}");
}

#[test]
fn a_node_with_a_new_database_does_not_get_what_was_sent_before() {
    let mut bench = Bench::new(options(vec![push_node(2)]));
    for (receipt, token) in ["a", "b"].into_iter().enumerate() {
        bench.request("COMMAND", token, "2", COMMAND);
        is_stored(&mut bench, receipt as u64, true);
    }
    let outputs = comes_up(&mut bench);
    let outputs = page(&mut bench, &outputs, &[request(1, "a", 5), request(2, "b", 0)]);
    assert!(outputs.iter().any(|line| line.starts_with("row a 1 ") && line.contains("new database")), "{outputs:?}");
    assert_eq!(sent(&outputs), ["b"]);
}

#[test]
fn what_a_node_had_taken_before_its_database_was_replaced_ends_although_nothing_else_waits_for_it() {
    let (mut bench, _, _) = with_backlog(&["a"]);
    says(&mut bench, "a", 0, "null");
    let log = r#"{"code":0,"data":{"action":"getlog","result":[],"last_id":0,"history":8,"once":true}}"#;
    let outputs = bench.give(node_message(2, "ACK", "", log));
    let outputs = page(&mut bench, &outputs, &[request(1, "a", 7)]);
    assert!(outputs.iter().any(|line| line.starts_with("row a 1 ") && line.contains("new database")), "{outputs:?}");
}

#[test]
fn a_node_of_another_kind_is_handed_a_request_once() {
    let mut bench = Bench::new(options(vec![push_node(2)]));
    bench.request("COMMAND", "a", "2", COMMAND);
    is_stored(&mut bench, 0, true);
    let mut outputs = bench.give(Input::LinkUp(id(2)));
    let log = r#"{"code":0,"data":{"action":"getlog","result":[]}}"#;
    outputs.extend(bench.give(node_message(2, "ACK", "", log)));
    let outputs = page(&mut bench, &outputs, &[request(1, "a", 0)]);
    assert!(outputs.contains(&"node 2: [COMMAND] [a] [] {}".to_owned()), "{outputs:?}");
    assert_eq!(sent(&bench.pass_seconds(120)), Vec::<String>::new());
}

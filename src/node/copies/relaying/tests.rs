use crate::model::connection::ParentKind;
use crate::model::registration::{Registration, Subnode};
use crate::node::input::Input;
use crate::node::testing::{Bench, id, message, node_message, options, pull_settings, push_node};

/// Returns a relay with node 8 and node 9 behind it.
fn relay() -> Bench {
    let mut bench = Bench::linked(&[8, 9]);
    pages(&mut bench, 8);
    bench
}

/// Lets a node show that it is of our own kind.
fn pages(bench: &mut Bench, node: u64) {
    bench.pass_seconds(61);
    let answer = r#"{"code":0,"data":{"action":"getlog","result":[],"last_id":0,"history":5,"more":false}}"#;
    bench.give(node_message(node, "ACK", "", answer));
}

fn copy(status: &str, more: &str) -> String {
    format!(
        r#"{{"content":{{"status":"{status}","type":"regular","chunk":{{"data":"dGV4dA==","size":4}},"destination":"/a","ack":1{more}}}}}"#
    )
}

fn copies(outputs: &[String]) -> Vec<&str> {
    outputs.iter().map(String::as_str).filter(|line| !line.contains("GETLOG") && !line.contains("PING")).collect()
}

fn answer(text: &str) -> String {
    format!("client 7: [ACK] [t] 0 {text}")
}

#[test]
fn a_question_goes_on_to_a_node_of_our_kind_and_its_answer_comes_back() {
    let mut bench = relay();
    let question = copy("query", r#","query":3"#);
    let sent = bench.request("PROCESSCOPY", "t", "8", &question);
    assert_eq!(sent, [format!("node 8: [PROCESSCOPY] [t] [] {question}")]);
    let reply = r#"{"code":0,"data":{"query":3,"received":4}}"#;
    assert_eq!(bench.give(node_message(8, "ACK", "t", reply)), [answer(r#"{"query":3,"received":4}"#)]);
    let chunk = copy("inprogress", "");
    assert_eq!(bench.request("PROCESSCOPY", "t", "8", &chunk), [format!("node 8: [PROCESSCOPY] [t] [] {chunk}")]);
    let reply = r#"{"code":0,"data":{"received":8}}"#;
    assert_eq!(bench.give(node_message(8, "ACK", "t", reply)), [answer(r#"{"received":8}"#)]);
}

#[test]
fn for_a_node_of_another_kind_the_relay_answers_so_that_the_copy_goes_plainly() {
    let mut bench = relay();
    let outputs = bench.request("PROCESSCOPY", "t", "9", &copy("query", r#","query":3"#));
    assert_eq!(outputs, [answer(r#"{"query":3,"plain":true}"#)]);
}

#[test]
fn a_copy_whose_last_row_is_here_ends_no_second_time_when_its_way_breaks() {
    let mut bench = Bench::linked(&[9]);
    let plain = copy("inprogress", "").replace(r#","ack":1"#, "");
    bench.request("PROCESSCOPY", "t", "9", &plain);
    let failed = r#"{"id":1,"ctime":9.5,"token":"t","code":1,"instant":0,"data":"{}"}"#;
    let answer = format!(r#"{{"code":0,"data":{{"action":"getlog","id":9,"result":[{failed}]}}}}"#);
    assert_eq!(bench.give(node_message(9, "ACK", "", &answer))[0], "row t 1 {}");
    let refused = r#"client 7: [ACK] [t] 1 {"message":"the copy has ended"}"#;
    for late in [&plain, &copy("query", r#","query":3"#)] {
        assert_eq!(bench.request("PROCESSCOPY", "t", "9", late), [refused], "it has a row, so nobody ends it again");
    }
    let outputs = bench.give(Input::LinkDown { node: id(9), reason: "gone".to_owned() });
    assert_eq!(copies(&outputs), [refused], "the part that was on its way");
}

#[test]
fn a_copy_whose_last_row_is_here_ends_no_second_time_when_its_target_is_unknown_since() {
    let mut bench = Bench::linked(&[8]);
    let announce = |bench: &mut Bench, nodes: &str| {
        let pong = format!(r#"{{"code":0,"data":{{"action":"ping","data":{nodes}}}}}"#);
        bench.give(node_message(8, "PONG", "", &pong))
    };
    announce(&mut bench, r#"{"20":{"type":"pull","nodes":{}}}"#);
    let plain = |status: &str| copy(status, "").replace(r#","ack":1"#, "");
    let sent = bench.request("PROCESSCOPY", "t", "20", &plain("inprogress"));
    assert_eq!(sent, [format!("node 8: [PROCESSCOPY] [t] [20] {}", plain("inprogress"))]);
    let failed = r#"{"id":1,"ctime":9.5,"token":"t","code":1,"instant":0,"data":"{}"}"#;
    let answer = format!(r#"{{"code":0,"data":{{"action":"getlog","id":8,"result":[{failed}]}}}}"#);
    assert_eq!(bench.give(node_message(8, "ACK", "", &answer))[0], "row t 1 {}");
    announce(&mut bench, "{}");
    let outputs = bench.request("PROCESSCOPY", "t", "20", &plain("end"));
    assert_eq!(outputs, [r#"client 7: [ACK] [t] 1 {"message":"the copy has ended"}"#]);
}

#[test]
fn a_way_that_breaks_interrupts_a_copy_of_our_kind_and_ends_any_other() {
    let mut bench = relay();
    bench.request("PROCESSCOPY", "t", "8", &copy("inprogress", ""));
    bench.request("PROCESSCOPY", "t", "8", &copy("inprogress", ""));
    let interrupted = answer(r#"{"interrupted":true}"#);
    let outputs = bench.give(Input::LinkDown { node: id(8), reason: "gone".to_owned() });
    assert_eq!(copies(&outputs), [&interrupted, &interrupted]);
    // Messages that arrive in the meantime are dropped, and a query is answered here.
    assert_eq!(bench.request("PROCESSCOPY", "t", "8", &copy("inprogress", "")), [interrupted]);
    let outputs = bench.request("PROCESSCOPY", "t", "8", &copy("query", r#","query":4"#));
    assert_eq!(outputs, [answer(r#"{"query":4,"interrupted":true}"#)]);
    bench.give(Input::LinkUp(id(8)));
    // A chunk that was sent before the sender knew of it.
    let interrupted = answer(r#"{"interrupted":true}"#);
    assert_eq!(bench.request("PROCESSCOPY", "t", "8", &copy("inprogress", "")), [interrupted]);
    let outputs = bench.request("PROCESSCOPY", "t", "8", &copy("query", r#","query":5"#));
    assert!(outputs[0].starts_with("node 8: [PROCESSCOPY] [t]"), "{outputs:?}");

    bench.request("PROCESSCOPY", "u", "9", &copy("inprogress", ""));
    let outputs = bench.give(Input::LinkDown { node: id(9), reason: "gone".to_owned() });
    // The sender is of our own kind, so it writes the row.
    let ended = r#"{"failed":"proxy - connection to node '9' was lost during the copy"}"#;
    assert_eq!(copies(&outputs), [format!("client 7: [ACK] [u] 0 {ended}")]);
}

#[test]
fn an_end_that_may_have_arrived_is_owed_by_the_relay_and_by_nobody_else() {
    let mut bench = relay();
    for node in ["8", "9"] {
        bench.request("PROCESSCOPY", node, node, &copy("end", ""));
        let outputs = bench.give(Input::LinkDown { node: id(node.parse().unwrap()), reason: "gone".to_owned() });
        assert_eq!(copies(&outputs), [format!("client 7: [ACK] [{node}] 0 null")], "no row before the next sync");
    }
}

#[test]
fn a_message_that_the_link_did_not_take_interrupts_the_copy_without_a_row() {
    let mut bench = relay();
    bench.request("PROCESSCOPY", "t", "8", &copy("inprogress", ""));
    let token = message("ACK", "t", None, "").token;
    let outputs = bench.give(Input::SendFailed { node: id(8), token, reason: "full".to_owned() });
    assert_eq!(outputs, [answer(r#"{"interrupted":true}"#)]);
}

#[test]
fn a_central_that_the_relay_dials_hears_what_it_asks_for_and_no_more() {
    let mut settings = options(vec![push_node(8)]);
    settings.modules.pull = Some(pull_settings());
    let mut bench = Bench::new(settings);
    bench.give(Input::LinkUp(id(8)));
    pages(&mut bench, 8);
    bench.give(Input::ParentUp { kind: ParentKind::Pull, identity: "gorgone-1-2".to_owned() });
    let mut say = |data: &str| {
        let message = message("PROCESSCOPY", "t", Some("8"), data);
        let sent = bench.give(Input::ParentMessage { kind: ParentKind::Pull, message });
        assert!(sent.iter().any(|line| line.starts_with("node 8: [PROCESSCOPY]")), "{sent:?}");
        let reply = r#"{"code":0,"data":{"received":4}}"#;
        bench.give(node_message(8, "ACK", "t", reply))
    };
    let heard = say(&copy("inprogress", ""));
    assert_eq!(heard, [r#"parent Pull: [ACK] [t] 0 {"received":4}"#]);
    assert_eq!(say(&copy("inprogress", "").replace(r#","ack":1"#, "")), Vec::<String>::new());
}

#[test]
fn a_copy_that_ends_at_the_relay_has_one_row_whatever_still_comes_of_it() {
    let mut bench = relay();
    let plain = copy("inprogress", "").replace(r#","ack":1"#, "");
    for _ in 0..3 {
        bench.request("PROCESSCOPY", "u", "9", &plain);
    }
    let failed =
        || Input::SendFailed { node: id(9), token: message("ACK", "u", None, "").token, reason: "full".to_owned() };
    let mut rows = 0;
    for _ in 0..3 {
        rows += bench.give(failed()).iter().filter(|line| line.starts_with("row u 1")).count();
    }
    assert_eq!(rows, 1);
    let over = [r#"client 7: [ACK] [u] 1 {"message":"the copy has ended"}"#];
    assert_eq!(bench.request("PROCESSCOPY", "u", "9", &plain), over);
    let end = plain.replace("inprogress", "end");
    assert_eq!(bench.request("PROCESSCOPY", "u", "9", &end), over);
}

#[test]
fn a_plain_copy_whose_way_breaks_ends_only_when_the_next_relay_has_not_ended_it() {
    let behind = vec![Subnode { id: id(20), uid: None, path_score: 1 }];
    let mut bench = Bench::new(options(vec![Registration { subnodes: behind, ..push_node(8) }]));
    bench.give(Input::LinkUp(id(8)));
    let plain = copy("inprogress", "").replace(r#","ack":1"#, "");
    let ends = |outputs: &[String], token: &str| {
        let row = format!("row {token} 1 ");
        outputs.iter().filter(|line| line.starts_with(&row)).count()
    };
    bench.request("PROCESSCOPY", "u", "8", &plain);
    bench.request("PROCESSCOPY", "t", "20", &plain);
    let outputs = bench.give(Input::LinkDown { node: id(8), reason: "gone".to_owned() });
    assert_eq!((ends(&outputs, "u"), ends(&outputs, "t")), (1, 0), "{outputs:?}");
    let outputs = bench.pass_seconds(400);
    assert_eq!((ends(&outputs, "u"), ends(&outputs, "t")), (0, 1), "it does not come back: {outputs:?}");
}

#[test]
fn a_sender_that_ends_its_token_itself_is_never_promised_a_row() {
    let mut bench = relay();
    bench.request("PROCESSCOPY", "u", "9", &copy("inprogress", ""));
    bench.give(Input::LinkDown { node: id(9), reason: "gone".to_owned() });
    let outputs = bench.request("PROCESSCOPY", "u", "9", &copy("inprogress", ""));
    assert_eq!(outputs, [r#"client 7: [ACK] [u] 0 {"failed":"the copy has ended"}"#]);
}

#[test]
fn that_a_sender_gives_a_copy_up_ends_nothing_however_far_it_comes() {
    let mut bench = relay();
    let abort = copy("abort", "").replace(r#","ack":1"#, "");
    let is_end = |line: &String| ["row t 1", "row u 1", "row v 1"].iter().any(|row| line.starts_with(row));
    let has_row = |outputs: Vec<String>| outputs.iter().any(is_end);
    bench.request("PROCESSCOPY", "t", "8", &copy("inprogress", ""));
    assert!(!has_row(bench.request("PROCESSCOPY", "t", "99", &abort)), "nobody knows the way");
    bench.request("PROCESSCOPY", "u", "8", &abort);
    let token = message("ACK", "u", None, "").token;
    assert!(!has_row(bench.give(Input::SendFailed { node: id(8), token, reason: "full".to_owned() })));
    bench.request("PROCESSCOPY", "v", "9", &abort);
    assert!(!has_row(bench.give(Input::LinkDown { node: id(9), reason: "gone".to_owned() })));
    assert!(!has_row(bench.pass_seconds(400)));
}

#[test]
fn a_relay_that_looks_before_it_ends_a_copy_tells_the_sender_that_the_end_comes_from_it() {
    let mut bench = relay();
    bench.request("PROCESSCOPY", "t", "8", &copy("inprogress", ""));
    let outputs = bench.request("PROCESSCOPY", "t", "99", &copy("end", ""));
    assert_eq!(copies(&outputs), ["client 7: [ACK] [t] 0 null"]);
}

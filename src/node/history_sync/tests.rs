use crate::model::history::SyncMark;

use super::super::Restored;
use super::super::input::Input;
use super::super::testing::{Bench, id, node_message, options, push_node};

const QUESTION: &str = r#"node 2: [GETLOG] [] [] {"ctime":0,"last_id":0}"#;

fn answer(rows: &str, rest: &str) -> Input {
    let data = format!(r#"{{"code":0,"data":{{"action":"getlog","id":2,"result":[{rows}]{rest}}}}}"#);
    node_message(2, "ACK", "", &data)
}

fn row(number: i64, ctime: f64, token: &str, code: i64) -> String {
    format!(r#"{{"id":{number},"ctime":{ctime},"etime":3,"token":"{token}","code":{code},"instant":0,"data":"{{}}"}}"#)
}

fn marked(ctime: f64, last_id: i64) -> Bench {
    let restored = Restored { marks: vec![(id(2), SyncMark { ctime, last_id, history: 0 })], ..Restored::default() };
    let mut bench = Bench::restored(options(vec![push_node(2)]), restored);
    bench.give(Input::LinkUp(id(2)));
    bench
}

#[test]
fn every_linked_node_is_asked_once_per_period() {
    let mut bench = Bench::linked(&[2, 3]);
    let outputs = bench.pass_seconds(60);
    let asked: Vec<_> = outputs.iter().filter(|line| line.contains("GETLOG")).collect();
    assert_eq!(asked, [QUESTION, &QUESTION.replace("node 2", "node 3")]);
}

#[test]
fn a_page_is_stored_with_its_mark_and_the_next_is_asked_for_at_once() {
    let mut bench = marked(0.0, 0);
    let page = answer(&[row(4, 7.5, "a", 0), row(9, 8.25, "a", 2)].join(","), r#","last_id":9,"more":true"#);
    assert_eq!(
        bench.give(page),
        ["row a 0 {}", "row a 2 {}", "mark 2 8.25 9", r#"node 2: [GETLOG] [] [] {"ctime":8.25,"last_id":9}"#,]
    );
    let page = answer(&row(11, 8.5, "b", 4), r#","last_id":11,"more":false"#);
    assert_eq!(bench.give(page), ["row b 4 {}", "mark 2 8.5 11"]);
}

#[test]
fn a_row_that_comes_twice_is_stored_once() {
    let mut bench = marked(8.5, 11);
    let rows = [row(11, 8.5, "a", 0), row(12, 8.5, "b", 0)].join(",");
    assert_eq!(bench.give(answer(&rows, r#","last_id":12,"more":false"#)), ["row b 0 {}", "mark 2 8.5 12"]);
    assert_eq!(bench.give(answer(&rows, r#","last_id":12,"more":false"#)), Vec::<String>::new());
    // A peer that pages goes by id alone, whatever its clock does.
    assert_eq!(bench.give(answer(&row(12, 9.5, "b", 0), r#","last_id":12,"more":false"#)), ["mark 2 9.5 12"]);
    let mut bench = marked(8.5, 12);
    // A peer that goes by ctime: a row is known only when its id is known too.
    let rows = [row(12, 8.5, "b", 0), row(13, 8.5, "c", 0), row(2, 9.0, "d", 0)].join(",");
    assert_eq!(bench.give(answer(&rows, "")), ["row d 0 {}", "row c 0 {}", "mark 2 9 13"]);
}

#[test]
fn a_mark_that_a_perl_daemon_left_is_asked_for_by_ctime_alone() {
    let restored = Restored {
        marks: vec![(id(2), SyncMark { ctime: 1_795_450_546.059_45, last_id: 0, history: 0 })],
        ..Restored::default()
    };
    let mut bench = Bench::restored(options(vec![push_node(2)]), restored);
    let outputs = bench.give(Input::LinkUp(id(2)));
    assert_eq!(outputs[1], r#"node 2: [GETLOG] [] [] {"ctime":1795450546.05945}"#);
}

#[test]
fn a_node_whose_ids_start_over_is_asked_by_ctime() {
    let mut bench = marked(8.5, 11);
    assert_eq!(
        bench.give(answer("", r#","last_id":2,"more":false"#)),
        ["mark 2 8.5 0", r#"node 2: [GETLOG] [] [] {"ctime":8.5}"#,]
    );
    assert_eq!(bench.give(answer(&row(1, 9.5, "a", 2), "")), ["row a 2 {}", "mark 2 9.5 1"]);
}

#[test]
fn an_answer_that_does_not_come_ends_in_a_row_and_a_late_one_is_still_taken() {
    let mut bench = marked(0.0, 0);
    assert_eq!(bench.pass_seconds(29), Vec::<String>::new());
    assert_eq!(bench.pass_seconds(1), [r#"row - 1 {"message":"proxy - getlog in timeout for '2'"}"#]);
    assert_eq!(bench.give(answer(&row(1, 2.5, "a", 0), "")), ["row a 0 {}", "mark 2 2.5 1"]);
}

#[test]
fn a_getlog_with_a_node_as_target_starts_a_sync_and_its_token_ends_with_it() {
    let mut bench = Bench::linked(&[2]);
    let accepted = |token: &str| format!("client 7: [ACK] [{token}] 0 null");
    assert_eq!(bench.request("GETLOG", "t", "2", "{}"), [QUESTION.to_owned(), accepted("t")]);
    let refused = r#"row u 1 {"message":"proxy - getlog already in progress"}"#;
    assert_eq!(bench.request("GETLOG", "u", "2", "{}"), [refused.to_owned(), accepted("u")]);
    assert_eq!(bench.give(answer("", "")), [r#"row t 2 {"message":"proxy - getlog finished"}"#]);
    bench.request("GETLOG", "t", "2", "{}");
    assert_eq!(bench.pass_seconds(30)[0], r#"row t 1 {"message":"proxy - getlog in timeout for '2'"}"#);
    bench.request("GETLOG", "", "2", "{}");
    assert_eq!(bench.give(answer("", "")), Vec::<String>::new(), "nobody knows the token");
}

#[test]
fn a_question_waits_for_a_link_that_is_down() {
    let mut bench = Bench::linked(&[2]);
    bench.give(Input::LinkDown { node: id(2), reason: "reset".to_owned() });
    assert_eq!(bench.request("GETLOG", "t", "2", "{}"), ["client 7: [ACK] [t] 0 null"]);
    assert_eq!(bench.give(Input::LinkUp(id(2)))[1], QUESTION);
    assert_eq!(bench.give(answer("", "")), [r#"row t 2 {"message":"proxy - getlog finished"}"#]);
}

#[test]
fn a_node_that_says_synclogs_is_asked_now_or_right_after_the_sync_in_progress() {
    let mut bench = Bench::linked(&[2]);
    let hint = || node_message(2, "SYNCLOGS", "", r#"{"code":0,"data":{"id":2}}"#);
    assert_eq!(bench.give(hint()), [QUESTION]);
    assert_eq!(bench.give(hint()), Vec::<String>::new());
    assert_eq!(bench.give(answer("", "")), [QUESTION]);
    assert_eq!(bench.give(answer("", "")), Vec::<String>::new());
}

#[test]
fn parents_hear_of_stored_rows_and_our_own_kind_also_of_ended_tokens_gathered_and_paced() {
    let mut bench = Bench::linked(&[2]);
    bench.request("PING", "t", "", "{}");
    let hint = r#"client 7: [SYNCLOGS] [] 0 {"id":1}"#;
    let millis = std::time::Duration::from_millis;
    bench.give(answer(&[row(1, 2.5, "a", 0), row(2, 2.5, "a", 2)].join(","), ""));
    assert_eq!(bench.pass(millis(49)), Vec::<String>::new());
    assert_eq!(bench.pass(millis(1)), [hint]);
    let end_a_token = |bench: &mut Bench| bench.request("REMOTECOPY", "x", "", "{}");
    end_a_token(&mut bench);
    assert_eq!(bench.pass(millis(1_000)), Vec::<String>::new(), "a Perl parent does not want that");
    bench.request("GETLOG", "g", "", r#"{"ctime":0,"last_id":0}"#);
    end_a_token(&mut bench);
    end_a_token(&mut bench);
    assert_eq!(bench.pass(millis(50)), [hint]);
    end_a_token(&mut bench);
    assert_eq!(bench.pass(millis(199)), Vec::<String>::new());
    assert_eq!(bench.pass(millis(1)), [hint]);
    bench.give(Input::ClientGone(crate::model::connection::ClientId(7)));
    end_a_token(&mut bench);
    assert_eq!(bench.pass(millis(1_000)), Vec::<String>::new());
}

#[test]
fn a_page_that_cannot_be_stored_is_asked_for_again() {
    let mut bench = marked(0.0, 0);
    let page = || answer(&row(4, 7.5, "a", 0), r#","last_id":4,"more":true"#);
    bench.stores = false;
    assert_eq!(bench.give(page()), ["row a 0 {}", "mark 2 7.5 4"]);
    assert_eq!(bench.pass_seconds(30), [r#"row - 1 {"message":"proxy - getlog in timeout for '2'"}"#]);
    bench.stores = true;
    assert_eq!(bench.give(page())[..2], ["row a 0 {}", "mark 2 7.5 4"]);
}

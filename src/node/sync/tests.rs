use crate::model::history::{Origins, SyncMark};

use crate::model::stored::Restored;
use crate::model::token::Token;
use crate::node::input::Input;
use crate::node::testing::{Bench, id, message, node_message, options, push_node};

const QUESTION: &str = r#"node 2: [GETLOG] [] [] {"ctime":0,"last_id":0}"#;

fn answer(rows: &str, rest: &str) -> Input {
    let data = format!(r#"{{"code":0,"data":{{"action":"getlog","id":2,"result":[{rows}]{rest}}}}}"#);
    node_message(2, "ACK", "", &data)
}

fn row(number: i64, ctime: f64, token: &str, code: i64) -> String {
    format!(r#"{{"id":{number},"ctime":{ctime},"etime":3,"token":"{token}","code":{code},"instant":0,"data":"{{}}"}}"#)
}

fn marked(ctime: f64, last_id: i64) -> Bench {
    let restored = Restored {
        marks: vec![(id(2), SyncMark { ctime, newest: ctime, last_id, history: 0 })],
        ..Restored::default()
    };
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
    // A peer that pages is queried by id alone, whatever its clock shows.
    assert_eq!(bench.give(answer(&row(12, 9.5, "b", 0), r#","last_id":12,"more":false"#)), ["mark 2 9.5 12"]);
    let mut bench = marked(8.5, 12);
    // With a peer that is queried by ctime, a row is only known if its id is known, too.
    let rows = [row(12, 8.5, "b", 0), row(13, 8.5, "c", 0), row(2, 9.0, "d", 0)].join(",");
    assert_eq!(bench.give(answer(&rows, "")), ["row d 0 {}", "row c 0 {}", "mark 2 9 13"]);
}

#[test]
fn a_mark_that_a_perl_daemon_left_is_asked_for_by_ctime_alone() {
    let ctime = 1_795_449_546.059_45;
    let mark = SyncMark { ctime, newest: ctime, ..SyncMark::default() };
    let restored = Restored { marks: vec![(id(2), mark)], ..Restored::default() };
    let mut bench = Bench::restored(options(vec![push_node(2)]), restored);
    let outputs = bench.give(Input::LinkUp(id(2)));
    assert_eq!(outputs[1], r#"node 2: [GETLOG] [] [] {"ctime":1795449546.05945}"#);
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
    let will_end = |bench: &Bench, token: &str| bench.core.context.journal.is_under_way(&Token::parse(token).unwrap());
    assert!(will_end(&bench, "t") && !will_end(&bench, "u"));
    assert_eq!(bench.give(answer("", "")), [r#"row t 2 {"message":"proxy - getlog finished"}"#]);
    assert!(!will_end(&bench, "t"));
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
    bench.give(Input::ClientGone(crate::model::connection::ClientId::Zmq(7)));
    end_a_token(&mut bench);
    assert_eq!(bench.pass(millis(1_000)), Vec::<String>::new());
}

#[test]
fn a_page_that_cannot_be_stored_is_asked_for_again() {
    let mut bench = marked(0.0, 0);
    let page = || answer(&row(4, 7.5, "a", 0), r#","last_id":4,"more":true"#);
    bench.stores = false;
    assert_eq!(bench.give(page()), ["row a 0 {}", "mark 2 7.5 4"]);
    bench.stores = true;
    let grown = node_message(2, "SYNCLOGS", "", r#"{"code":0,"data":{"id":2}}"#);
    assert_eq!(bench.give(grown), [QUESTION], "from where it was");
    assert_eq!(bench.give(page())[..2], ["row a 0 {}", "mark 2 7.5 4"]);
}

#[test]
fn what_a_web_socket_node_owes_is_not_given_up_when_its_page_cannot_be_stored() {
    use crate::model::connection::{ClientId, ConnectionId};
    let mut bench = Bench::new(options(Vec::new()));
    let says = |client: u64, action: &str, data: &str| Input::WebSocketMessage {
        client: ClientId::WebSocket(ConnectionId(client)),
        message: message(action, "", Some(""), data),
    };
    let registers = r#"{"nodes":[{"id":6,"type":"wss","identity":6}]}"#;
    bench.give(says(70, "REGISTERNODES", registers));
    bench.request("COMMAND", "t", "6", "{}");
    bench.give(Input::ClientGone(ClientId::WebSocket(ConnectionId(70))));
    bench.give(says(71, "REGISTERNODES", registers));
    bench.stores = false;
    let rows = row(4, 7.5, "t", 0);
    let page =
        format!(r#"{{"code":0,"data":{{"action":"getlog","id":6,"result":[{rows}],"last_id":4,"more":false}}}}"#);
    bench.give(says(71, "SETLOGS", &page));
    bench.give(says(71, "REGISTERNODES", registers));
    let outputs = bench.pass_seconds(40);
    assert!(!outputs.iter().any(|line| line.starts_with("row t ")), "{outputs:?}");
}

/// Returns a page of `node`, which is of our own kind and has the history `number`.
fn page(node: u64, number: i64, rows: &[String], last_id: i64) -> Input {
    let rows = rows.join(",");
    let data = format!(
        r#"{{"code":0,"data":{{"action":"getlog","id":{node},"result":[{rows}],"last_id":{last_id},"history":{number},"more":false}}}}"#
    );
    node_message(node, "ACK", "", &data)
}

/// Returns a row that was first written on node 9, in the history 77 with this id.
fn row_of_nine(number: i64, token: &str, first_id: i64) -> String {
    let row = row(number, 7.5, token, 2);
    format!("{},\"origin\":[9,77,{first_id}]}}", row.strip_suffix('}').unwrap())
}

#[test]
fn a_row_that_comes_by_two_relays_is_stored_once() {
    let mut bench = Bench::linked(&[2, 3]);
    assert_eq!(bench.give(page(2, 50, &[row_of_nine(4, "a", 1)], 4)), ["row a 2 {}", "mark 2 7.5 4"]);
    let rows = [row_of_nine(8, "a", 1), row_of_nine(9, "b", 2)];
    assert_eq!(bench.give(page(3, 60, &rows, 9)), ["row b 2 {}", "mark 3 7.5 9"]);
    assert_eq!(bench.give(page(2, 50, &[row_of_nine(5, "b", 2)], 5)), ["mark 2 7.5 5"]);
    // A copy of the same image: another node with a history of the same number.
    let copy = row_of_nine(6, "c", 1).replace("[9,77", "[10,77");
    assert_eq!(bench.give(page(2, 50, &[copy], 6)), ["row c 2 {}", "mark 2 7.5 6"]);
}

#[test]
fn our_own_row_that_a_relay_sends_back_is_not_stored_again() {
    let origins = Origins { own: 33, marks: Vec::new() };
    let restored = Restored { origins, ..Restored::default() };
    let mut bench = Bench::restored(options(vec![push_node(2)]), restored);
    bench.give(Input::LinkUp(id(2)));
    let own = row_of_nine(4, "a", 1).replace("[9,77,1]", "[1,33,12]");
    assert_eq!(bench.give(page(2, 50, &[own], 4)), ["mark 2 7.5 4"]);
}

#[test]
fn rows_that_could_not_be_stored_are_taken_from_the_other_relay() {
    let mut bench = Bench::linked(&[2, 3]);
    bench.stores = false;
    bench.give(page(2, 50, &[row_of_nine(4, "a", 1)], 4));
    bench.stores = true;
    assert_eq!(bench.give(page(3, 60, &[row_of_nine(8, "a", 1)], 8)), ["row a 2 {}", "mark 3 7.5 8"]);
}

#[test]
fn a_history_with_another_number_is_taken_from_its_start_whatever_its_ids_and_times_are() {
    let mut bench = Bench::linked(&[2]);
    let rows = |token: &str| [row(1, 7.5, token, 0), row(2, 7.5, token, 2)];
    assert_eq!(bench.give(page(2, 50, &rows("a"), 2)), ["row a 0 {}", "row a 2 {}", "mark 2 7.5 2"]);
    let asked = bench.pass_seconds(60);
    let question = r#"node 2: [GETLOG] [] [] {"ctime":7.5,"last_id":2,"history":50,"sync":2}"#;
    assert!(asked.contains(&question.to_owned()), "{asked:?}");
    // Its clock was set back as well.
    let earlier: Vec<String> = rows("b").iter().map(|row| row.replace("7.5", "3.5")).collect();
    assert_eq!(bench.give(page(2, 51, &earlier, 2)), ["row b 0 {}", "row b 2 {}", "mark 2 3.5 2"]);
}

#[test]
fn an_answer_to_an_earlier_query_does_not_complete_the_sync() {
    let mut bench = Bench::linked(&[2]);
    bench.give(page(2, 50, &[row(1, 7.5, "a", 0)], 1));
    bench.pass_seconds(60);
    bench.request("COMMAND", "mine", "2", r#"{"content":[{"command":"a"}]}"#);
    bench.give(Input::LinkDown { node: id(2), reason: "gone".to_owned() });
    let asked = bench.give(Input::LinkUp(id(2)));
    let question = r#"node 2: [GETLOG] [] [] {"ctime":7.5,"last_id":1,"history":50,"sync":3,"owed":["mine"]}"#;
    assert!(asked.contains(&question.to_owned()), "{asked:?}");
    let late = answer("", r#","last_id":1,"history":50,"more":false,"sync":2"#);
    assert_eq!(bench.give(late), Vec::<String>::new(), "it was written before the command was sent");
    let open = answer("", r#","last_id":1,"history":50,"more":false,"sync":3,"open":["mine"]"#);
    assert_eq!(bench.give(open), Vec::<String>::new(), "the node has it");
    bench.pass_seconds(60);
    let outputs = bench.give(answer("", r#","last_id":1,"history":50,"more":false,"sync":4,"open":[]"#));
    assert!(outputs[0].starts_with("row mine 1 "), "{outputs:?}");
}

#[test]
fn a_row_of_the_target_shows_that_a_relay_had_the_message_though_the_relay_has_lost_its_database() {
    let ends = |writer: u64| {
        let mut bench = Bench::linked(&[2]);
        bench.give(page(2, 50, &[], 0));
        bench.give(node_message(
            2,
            "PONG",
            "",
            r#"{"code":0,"data":{"action":"ping","data":{"9":{"type":"pull","nodes":{}}}}}"#,
        ));
        bench.request("COMMAND", "mine", "9", r#"{"content":[{"command":"a"}]}"#);
        bench.give(Input::LinkDown { node: id(2), reason: "gone".to_owned() });
        bench.give(Input::LinkUp(id(2)));
        let begun = row(1, 7.5, "mine", 0);
        let begun = format!("{},\"origin\":[{writer},77,1]}}", begun.strip_suffix('}').unwrap());
        bench.give(answer(&begun, r#","last_id":1,"history":51,"more":false,"open":[]"#));
        bench.core.context.late.has("mine")
    };
    assert!(!ends(9), "it will end there");
    assert!(ends(8), "another node proves nothing");
}

/// Returns the outputs of a central for rows of node 2, which does not page.
fn told(bench: &mut Bench, rows: &[String]) -> Vec<String> {
    bench.give(answer(&rows.join(","), ""))
}

#[test]
fn a_row_from_the_future_does_not_keep_later_rows_away() {
    let restored = Restored { marks: vec![(id(2), SyncMark::default())], ..Restored::default() };
    let mut bench = Bench::restored(options(vec![push_node(2)]), restored);
    bench.give(Input::LinkUp(id(2)));
    let wall = bench.core.context.now.wall.as_seconds_f64();
    let year = 31_536_000.0;
    let outputs = told(&mut bench, &[row(7, wall - 1.0, "a", 0), row(8, wall + year, "b", 0)]);
    assert_eq!(outputs, ["row a 0 {}".to_owned(), "row b 0 {}".to_owned(), format!("mark 2 {} 8", wall + 5.0)]);
    // The node sends the row from the future each time; it is known by its id.
    let outputs = told(&mut bench, &[row(8, wall + year, "b", 0), row(9, wall + 6.0, "c", 0)]);
    assert_eq!(outputs, ["row c 0 {}".to_owned(), format!("mark 2 {} 9", wall + 5.0)]);
}

#[test]
fn a_mark_from_the_future_is_clamped_when_it_is_read() {
    let mark = SyncMark { ctime: 4e9, newest: 4e9, last_id: 1 << 52, history: 0 };
    let restored = Restored { marks: vec![(id(2), mark)], ..Restored::default() };
    let mut bench = Bench::restored(options(vec![push_node(2)]), restored);
    let wall = bench.core.context.now.wall.as_seconds_f64();
    let outputs = bench.give(Input::LinkUp(id(2)));
    assert_eq!(outputs[1], format!(r#"node 2: [GETLOG] [] [] {{"ctime":{},"last_id":{}}}"#, wall + 5.0, 1_i64 << 52));
    assert!(told(&mut bench, &[row(3, wall + 7.0, "new", 0)])[0].starts_with("row new 0 {}"));
}

#[test]
fn a_row_beyond_the_last_id_of_its_own_history_is_refused() {
    let mut bench = marked(8.5, 11);
    let rows = [row(12, 9.0, "b", 0), row(1 << 50, 9.5, "forged", 0)].join(",");
    let outputs = bench.give(answer(&rows, r#","last_id":12,"more":false"#));
    assert_eq!(outputs, ["row b 0 {}", "mark 2 9 12"]);
}

#[test]
fn rows_of_a_node_end_only_tokens_that_were_sent_there() {
    let mut bench = Bench::new(options(vec![push_node(2), push_node(3)]));
    bench.give(Input::LinkUp(id(2)));
    bench.give(Input::LinkUp(id(3)));
    bench.request("COMMAND", "mine", "2", r#"{"content":[{"command":"a"}]}"#);
    let forged =
        Input::NodeMessage { node: id(3), message: message("ACK", "", None, &getlog_of(3, &row(1, 9.0, "mine", 2))) };
    assert_eq!(bench.give(forged)[0], "row mine 2 {}", "it is stored");
    assert!(bench.core.context.journal.opened_for("mine").is_some(), "but it ends nothing");
    bench.give(Input::NodeMessage {
        node: id(2),
        message: message("ACK", "", None, &getlog_of(2, &row(1, 9.0, "mine", 2))),
    });
    assert!(bench.core.context.journal.opened_for("mine").is_none());
}

fn getlog_of(node: u64, rows: &str) -> String {
    format!(r#"{{"code":0,"data":{{"action":"getlog","id":{node},"result":[{rows}]}}}}"#)
}

#[test]
fn an_end_that_comes_after_the_token_was_given_up_is_a_row_that_ends_nothing() {
    let mut bench = Bench::linked(&[2]);
    bench.request("COMMAND", "late", "2", r#"{"content":[{"command":"true"}]}"#);
    bench.give(Input::LinkDown { node: id(2), reason: "broken".to_owned() });
    let given_up = bench.pass_seconds(301);
    assert!(given_up.iter().any(|line| line.starts_with("row late 1 ")), "{given_up:?}");
    bench.give(Input::LinkUp(id(2)));
    let rows = r#"[{"id":1,"token":"late","code":2,"etime":1,"ctime":1,"instant":0,"data":"{\"message\":\"done\"}"}]"#;
    let log =
        format!("{{\"code\":0,\"data\":{{\"action\":\"getlog\",\"result\":{rows},\"last_id\":1,\"history\":7}}}}");
    let outputs = bench.give(node_message(2, "ACK", "", &log));
    let late = r#"row late 100 {"message":"node '2' reports the end after the token had ended here","code":2,"data":{"message":"done"}}"#;
    assert!(outputs.iter().any(|line| line.starts_with(late)), "{outputs:?}");
}

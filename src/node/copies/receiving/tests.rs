use crate::model::copy::SinkDone;
use crate::model::host_work::HostDone;

use super::*;
use crate::model::stored::Restored;
use crate::node::input::Input;
use crate::node::testing::{Bench, message, options};

fn content(status: &str, more: &str) -> String {
    format!(
        r#"{{"content":{{"status":"{status}","type":"regular","destination":"/to","cache_dir":"/cache"{more}}},"parameters":{{"no_fork":1}}}}"#
    )
}

fn chunk(more: &str) -> String {
    content("inprogress", &format!(r#","chunk":{{"data":"dGV4dA==","size":4{more}}},"md5":null"#))
}

fn end() -> String {
    content("end", r#","chunk":null,"md5":"ab""#)
}

fn query(more: &str) -> String {
    content("query", &format!(r#","chunk":null,"query":3,"total":40{more}"#))
}

const ALONE: &str = r#","sender":1,"alone":true"#;

/// Returns a node that receives copies.
fn bench() -> Bench {
    Bench::new(options(Vec::new()))
}

fn say(bench: &mut Bench, token: &str, data: &str) -> Vec<String> {
    bench.request("PROCESSCOPY", token, "", data)
}

fn done(bench: &mut Bench, sink: u64, done: Vec<SinkDone>) -> Vec<String> {
    bench.give(Input::Host(HostDone::SinkDone { sink: SinkId(sink), done }))
}

/// Returns the steps of a job, each as its first word.
fn steps(outputs: &[String], sink: u64) -> Vec<&'static str> {
    let prefix = format!("sink {sink}: ");
    let Some(job) = outputs.iter().find_map(|line| line.strip_prefix(&prefix)) else { return Vec::new() };
    let words = ["Query {", "Chunk {", "End {", "Discard", "Keep"];
    let mut found: Vec<(usize, &str)> =
        words.iter().flat_map(|word| job.match_indices(word).map(|(at, _)| (at, *word))).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, word)| word.trim_end_matches(" {")).collect()
}

fn row(token: &str, code: i64, data: &str) -> String {
    format!("row {token} {code} {data}")
}

fn answer(token: &str, code: i64, data: &str) -> String {
    format!("client 7: [ACK] [{token}] {code} {data}")
}

const FINISHED: &str = r#"{"message":"process copy finished successfully"}"#;

#[test]
fn the_chunks_of_a_perl_sender_are_written_in_their_order_with_a_row_each() {
    let mut bench = bench();
    let first = say(&mut bench, "t", &chunk(""));
    assert_eq!(steps(&first, 0), ["Chunk"]);
    // More arrives while that is written.
    for _ in 0..2 {
        assert_eq!(say(&mut bench, "t", &chunk("")), Vec::<String>::new());
    }
    let progress = |received: u64| format!(r#"{{"message":"process copy inprogress","received":{received}}}"#);
    let outputs = done(&mut bench, 0, vec![SinkDone::Written(4)]);
    assert_eq!(outputs[..2], [row("t", 101, &progress(4)), answer("t", 0, r#"{"received":4}"#)]);
    assert_eq!(steps(&outputs, 0), ["Chunk", "Chunk"]);
    assert_eq!(say(&mut bench, "t", &end()), Vec::<String>::new());
    let outputs = done(&mut bench, 0, vec![SinkDone::Written(8), SinkDone::Written(12)]);
    assert_eq!(steps(&outputs, 0), ["End"]);
    assert_eq!(outputs.iter().filter(|line| line.starts_with("row t 101")).count(), 2);
    let outputs = done(&mut bench, 0, vec![SinkDone::Finished(Vec::new())]);
    assert_eq!(outputs, [row("t", 2, FINISHED), answer("t", 0, r#"{"unchanged":false}"#)]);
}

#[test]
fn a_copy_that_failed_has_one_last_row_and_what_comes_late_is_answered_with_it() {
    let mut bench = bench();
    say(&mut bench, "t", &chunk(r#","offset":0"#));
    say(&mut bench, "t", &chunk(r#","offset":8"#));
    say(&mut bench, "t", &chunk(r#","offset":12"#));
    done(&mut bench, 0, vec![SinkDone::Written(4)]);
    let failure = CopyFailure { message: "process copy failed".to_owned(), detail: "a gap".to_owned() };
    let gone = SinkDone::Failed(failure.clone());
    let outputs = done(&mut bench, 0, vec![gone, SinkDone::Failed(failure)]);
    let data = r#"{"detail":"a gap","message":"process copy failed"}"#;
    assert_eq!(outputs, [row("t", 1, data), answer("t", 1, data), answer("t", 1, data)]);
    assert_eq!(say(&mut bench, "t", &end()), [answer("t", 1, data)]);
    // A sender of our own kind that has not heard of the end asks what is there.
    assert_eq!(say(&mut bench, "t", &query("")), [answer("t", 1, data)]);
}

#[test]
fn a_copy_whose_destination_is_compared_is_open_for_a_daemon_that_asks() {
    let mut bench = bench();
    let is_open = |bench: &Bench, token: &str| bench.core.context.journal.is_under_way(&Token::parse(token).unwrap());
    let found = || SinkDone::Found { received: 0, md5: "cd".to_owned(), pieces: String::new(), same_size: true };
    let compare = query(&format!(r#","md5":"ab"{ALONE}"#));
    say(&mut bench, "t", &query(ALONE));
    assert!(!is_open(&bench, "t"), "it cannot end with this");
    done(&mut bench, 0, vec![found()]);
    say(&mut bench, "t", &compare);
    assert!(is_open(&bench, "t"));
    done(&mut bench, 0, vec![found()]);
    assert!(!is_open(&bench, "t"), "the destination is another");
    say(&mut bench, "t", &compare);
    // Its sender was restarted and asks again, so the old token does not end here.
    say(&mut bench, "u", &compare);
    assert_eq!((is_open(&bench, "t"), is_open(&bench, "u")), (false, true));
    done(&mut bench, 0, vec![found(), SinkDone::Unchanged(Vec::new())]);
    assert!(!is_open(&bench, "u"));
}

#[test]
fn a_copy_that_is_being_put_in_place_is_open_for_a_daemon_that_asks() {
    let mut bench = bench();
    let is_open = |bench: &Bench| bench.core.context.journal.is_under_way(&Token::parse("t").unwrap());
    say(&mut bench, "t", &chunk(""));
    done(&mut bench, 0, vec![SinkDone::Written(4)]);
    assert!(!is_open(&bench), "its sender would end it");
    say(&mut bench, "t", &end());
    assert!(is_open(&bench));
    done(&mut bench, 0, vec![SinkDone::Finished(Vec::new())]);
    assert!(!is_open(&bench));
}

#[test]
fn a_copy_that_ended_before_a_restart_ends_no_second_time() {
    let ended = [("good", Code::FINISHED_OK), ("bad", Code::FINISHED_KO)];
    let ended_copies = ended.map(|(token, code)| (Token::parse(token).unwrap(), code)).to_vec();
    let mut bench = Bench::restored(options(Vec::new()), Restored { ended_copies, ..Restored::default() });
    assert_eq!(say(&mut bench, "good", &query("")), [answer("good", 2, FINISHED)]);
    assert_eq!(say(&mut bench, "bad", &query("")), [answer("bad", 1, r#"{"message":"process copy failed"}"#)]);
}

#[test]
fn a_daemon_that_cannot_store_rows_takes_no_copy_and_goes_on_with_those_that_it_has() {
    let mut bench = bench();
    say(&mut bench, "t", &chunk(""));
    bench.give(Input::Stores(false));
    let refusal = answer("u", 1, r#"{"message":"database issue"}"#);
    assert!(say(&mut bench, "u", &query("")).contains(&refusal));
    assert!(say(&mut bench, "v", &chunk("")).iter().all(|line| !line.starts_with("sink")));
    done(&mut bench, 0, vec![SinkDone::Written(4)]);
    assert_eq!(steps(&say(&mut bench, "t", &chunk("")), 0), ["Chunk"]);
}

#[test]
fn a_repeated_chunk_is_no_progress_and_no_end() {
    let mut bench = bench();
    say(&mut bench, "t", &chunk(r#","offset":0"#));
    let outputs = done(&mut bench, 0, vec![SinkDone::Repeated(4)]);
    assert_eq!(outputs, [answer("t", 0, r#"{"received":4}"#)]);
}

#[test]
fn what_a_silent_perl_sender_left_is_removed_and_what_one_of_our_kind_left_stays_for_a_day() {
    let mut bench = bench();
    say(&mut bench, "t", &chunk(""));
    done(&mut bench, 0, vec![SinkDone::Written(4)]);
    let outputs = bench.pass_seconds(601);
    assert_eq!(steps(&outputs, 0), ["Discard"]);
    let text = r#"{"detail":"no chunk came for 600 s","message":"process copy failed"}"#;
    assert!(outputs.contains(&row("t", 1, text)), "{outputs:?}");

    say(&mut bench, "u", &query(ALONE));
    done(
        &mut bench,
        1,
        vec![SinkDone::Found { received: 0, md5: "d4".to_owned(), pieces: String::new(), same_size: false }],
    );
    say(&mut bench, "u", &chunk(r#","offset":0"#));
    done(&mut bench, 1, vec![SinkDone::Written(4)]);
    let outputs = bench.pass_seconds(80_000);
    assert_eq!(steps(&outputs, 1), Vec::<&str>::new());
    let outputs = bench.pass_seconds(10_000);
    assert_eq!(steps(&outputs, 1), ["Discard"]);
    assert!(!outputs.iter().any(|line| line.starts_with("row u")), "its sender ends its token: {outputs:?}");
}

#[test]
fn a_copy_that_is_asked_for_again_takes_over_what_is_there() {
    let mut bench = bench();
    say(&mut bench, "t", &query(ALONE));
    done(
        &mut bench,
        0,
        vec![SinkDone::Found { received: 0, md5: "d4".to_owned(), pieces: String::new(), same_size: false }],
    );
    say(&mut bench, "t", &chunk(r#","offset":0"#));
    say(&mut bench, "t", &chunk(r#","offset":4"#));
    // The sender was killed; the first chunk is still being written.
    let outputs = say(&mut bench, "u", &query(ALONE));
    assert_eq!(outputs, Vec::<String>::new());
    let outputs = done(&mut bench, 0, vec![SinkDone::Written(4)]);
    assert_eq!(steps(&outputs, 0), ["Query"], "the same place, and nothing of what the old sender sent last");
    assert!(!outputs.iter().any(|line| line.contains("[t]") || line.starts_with("row t")), "{outputs:?}");
    let found = SinkDone::Found { received: 4, md5: "ab".to_owned(), pieces: String::new(), same_size: false };
    let told = r#"{"query":3,"received":4,"md5":"ab","same_size":false}"#;
    assert_eq!(done(&mut bench, 0, vec![found]), [answer("u", 0, told)]);
    // Another file, another size, or a sender that has both in progress gets a place of its own.
    for (number, more) in [r#","sender":2,"alone":true"#, r#","sender":1"#, ""].into_iter().enumerate() {
        let outputs = say(&mut bench, &format!("v{number}"), &query(more));
        assert_eq!(steps(&outputs, number as u64 + 1), ["Query"], "{more}");
    }
}

#[test]
fn a_copy_whose_end_has_come_is_not_taken_over() {
    let mut bench = bench();
    say(&mut bench, "t", &query(ALONE));
    done(
        &mut bench,
        0,
        vec![SinkDone::Found { received: 0, md5: "d4".to_owned(), pieces: String::new(), same_size: false }],
    );
    say(&mut bench, "t", &end());
    assert_eq!(steps(&say(&mut bench, "u", &query(ALONE)), 1), ["Query"]);
}

#[test]
fn kill_gives_up_what_is_being_copied() {
    let mut bench = bench();
    say(&mut bench, "t", &chunk(""));
    say(&mut bench, "t", &chunk(""));
    let reason = r#"{"message":"the module 'action' was killed"}"#;
    let outputs = bench.request("KILL", "k", "", r#"{"content":{"name":"action"}}"#);
    assert_eq!(outputs[0], answer("t", 1, reason));
    let outputs = done(&mut bench, 0, vec![SinkDone::Written(4)]);
    assert_eq!(steps(&outputs, 0), ["Discard"]);
    assert_eq!(done(&mut bench, 0, vec![SinkDone::Discarded]), [row("t", 1, reason)]);
    assert_eq!(say(&mut bench, "t", &end()), [answer("t", 1, reason)]);
}

#[test]
fn a_sender_is_read_no_further_while_much_waits_for_the_disk() {
    let mut bench = bench();
    let large = chunk("").replace("dGV4dA==", &"dGV4".repeat(HIGH_BYTES / 12));
    let pauses = |outputs: &[String]| outputs.iter().filter(|line| line.starts_with("pause ")).count();
    let paused: Vec<usize> = (0..5).map(|_| pauses(&say(&mut bench, "t", &large))).collect();
    assert_eq!(paused, [0, 0, 1, 0, 0], "{HIGH_BYTES} bytes wait at most");
    assert_eq!(pauses(&done(&mut bench, 0, vec![SinkDone::Written(4)])), 0);
    let resumed: usize = (0..4).map(|_| pauses(&done(&mut bench, 0, vec![SinkDone::Written(4); STEPS_MAX]))).sum();
    assert_eq!(resumed, 1);
}

#[test]
fn a_central_that_we_dial_hears_of_a_message_only_where_it_asks() {
    use crate::model::connection::ParentKind;
    let mut settings = options(Vec::new());
    settings.modules.pull = Some(crate::node::testing::pull_settings());
    let mut bench = Bench::new(settings);
    bench.give(Input::ParentUp { kind: ParentKind::Pull, identity: "gorgone-1-2".to_owned() });
    for (more, heard) in [(r#","ack":1"#, 1), ("", 0)] {
        let data = content("inprogress", &format!(r#","chunk":{{"data":"dGV4dA==","size":4}}{more}"#));
        let message = message("PROCESSCOPY", "t", None, &data);
        bench.give(Input::ParentMessage { kind: ParentKind::Pull, message });
        let outputs = done(&mut bench, 0, vec![SinkDone::Written(4)]);
        assert_eq!(outputs.iter().filter(|line| line.starts_with("parent Pull: [ACK]")).count(), heard, "{outputs:?}");
    }
}

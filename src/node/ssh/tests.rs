use std::time::Duration;

use crate::model::ssh::{SshEnd, SshExit, SshRun, SshTaskId};
use crate::node::input::Input;
use crate::node::testing::{Bench, id, options, ssh_node};

const ACCEPTED: &str = "client 7: [ACK] [t] 0 null";

const PING: &str = "ssh 4 0: run for 5s, 5s of silence: hostname";

fn bench() -> Bench {
    let mut bench = Bench::new(options(vec![ssh_node(4)]));
    assert_eq!(bench.give(Input::LinkUp(id(4))), [PING]);
    assert_eq!(over(&mut bench, 0, ran(0, "host\n", "")), [""; 0]);
    bench
}

fn ran(status: i32, stdout: &str, stderr: &str) -> SshEnd {
    let (stdout, stderr) = (stdout.as_bytes().to_vec(), stderr.as_bytes().to_vec());
    SshEnd::Ran(SshRun { exit: SshExit::Status(status), stdout, stderr, output_cut: false })
}

fn ended(code: u32, text: &str) -> String {
    row(code, &format!("{{\"message\":\"{text}\"}}"))
}

fn over(bench: &mut Bench, task: u64, end: SshEnd) -> Vec<String> {
    bench.give(Input::SshEnded { task: SshTaskId(task), end })
}

fn row(code: u32, data: &str) -> String {
    format!("row t {code} {data}")
}

#[test]
fn the_commands_of_a_request_run_one_after_the_other_with_rows_of_ours() {
    let mut bench = bench();
    let content = r#"[{"command":"a","metadata":{"x":1}},{"command":"b","timeout":7,"timeout_nodata":"3"}]"#;
    let begun = bench.request("COMMAND", "t", "4", &format!("{{\"content\":{content}}}"));
    assert_eq!(
        begun,
        [
            row(0, &format!("{{\"message\":\"commands processing has started\",\"request_content\":{content}}}")),
            row(0, r#"{"message":"command has started","command":"a","metadata":{"x":1}}"#),
            "ssh 4 1: run for 60s, 30s of silence: a".to_owned(),
            ACCEPTED.to_owned(),
        ]
    );
    let next = over(&mut bench, 1, ran(3, "out\n", "err\n"));
    assert!(
        next[0].starts_with("row t 100 {\"message\":\"command has finished successfully\",\"command\":\"a\""),
        "{next:?}"
    );
    assert!(next[0].contains(r#""result":{"exit_code":3,"stdout":"out","stderr":"err"}"#), "{next:?}");
    assert_eq!(next[2], "ssh 4 2: run for 7s, 3s of silence: b");
    let last = over(&mut bench, 2, SshEnd::Silent);
    assert!(last[0].contains("Command without output for 3 s (timeout_nodata)..."), "{last:?}");
    assert_eq!(last[1], ended(1, "commands processing has finished with errors"));
}

#[test]
fn continue_on_error_decides_whether_a_request_goes_on_after_a_failure() {
    let mut bench = bench();
    let content = r#"[{"command":"a","continue_on_error":0},{"command":"b"}]"#;
    bench.request("COMMAND", "t", "4", &format!("{{\"content\":{content}}}"));
    let last = over(&mut bench, 1, SshEnd::TimedOut);
    assert_eq!(last.len(), 2, "{last:?}");
    assert_eq!(last[1], ended(1, "commands processing has been interrupted because of error"));
}

#[test]
fn a_host_that_cannot_be_reached_ends_the_token_and_says_why() {
    let mut bench = bench();
    bench.request("COMMAND", "t", "4", r#"{"content":[{"command":"a"},{"command":"b"}]}"#);
    let end = SshEnd::NotConnected("Connection refused".to_owned());
    assert_eq!(over(&mut bench, 1, end), [ended(1, "cannot connect on target node '4': Connection refused")]);
}

#[test]
fn bad_requests_end_with_the_words_of_the_original() {
    let mut bench = bench();
    for (data, text) in [
        (r#"{"content":{"command":"a"}}"#, "expected array, found 'HASH'"),
        (r#"{"content":"a"}"#, "expected array, found ''"),
        (r#"{"content":[{"command":"a"},{}]}"#, "need command argument at array index '1'"),
    ] {
        assert_eq!(bench.request("COMMAND", "t", "4", data), [ended(1, text), ACCEPTED.to_owned()]);
    }
}

#[test]
fn words_without_a_shell_reach_the_remote_shell_quoted() {
    let mut bench = bench();
    let data = r#"{"content":[{"command":"p 'a b' \"it's\" $HOME","no_shell_interpretation":1}],"logging":false}"#;
    let begun = bench.request("COMMAND", "t", "4", data);
    assert_eq!(begun[0], r"ssh 4 1: run for 60s, 30s of silence: 'p' 'a b' 'it'\''s' '$HOME'");
}

#[test]
fn a_ping_that_is_not_answered_counts_as_failed_and_builds_the_connection_anew() {
    let mut bench = bench();
    assert_eq!(bench.pass_seconds(60), ["ssh 4 1: run for 5s, 5s of silence: hostname"]);
    assert_eq!(over(&mut bench, 1, SshEnd::TimedOut), ["reset 4"]);
    let status = bench.constatus(4);
    assert_eq!((&status["ping_ok"], &status["ping_failed"]), (&1.into(), &1.into()), "{status}");
}

#[test]
fn a_stop_ends_what_runs_and_a_host_without_a_daemon_has_no_log() {
    let mut bench = bench();
    assert_eq!(bench.give(Input::LinkDown { node: id(4), reason: "x".to_owned() }), [""; 0]);
    bench.request("COMMAND", "t", "4", r#"{"content":[{"command":"a"}]}"#);
    assert_eq!(bench.give(Input::Stop), [""; 0]);
    assert_eq!(
        bench.pass(Duration::from_millis(1_500)),
        ["abort 4 1: gorgone is stopping/restarting. Cannot proceed request."]
    );
    let last = over(&mut bench, 1, SshEnd::Failed("stopped".to_owned()));
    assert_eq!(last.last().map(String::as_str), Some("stopped"));
    assert!(last[1].starts_with("row t 1"), "{last:?}");
}

#[test]
fn a_cancelled_command_is_aborted_and_the_next_one_does_not_begin() {
    let mut bench = bench();
    bench.request("COMMAND", "t", "4", r#"{"content":[{"command":"a"},{"command":"b"}]}"#);
    let listed = bench.request("RUNNING", "l", "4", "{}");
    assert!(listed[0].contains(r#""command":"a""#) && listed[0].contains(r#""token":"t""#), "{listed:?}");
    let cancel = |bench: &mut Bench| bench.request("CANCEL", "k", "4", r#"{"content":{"token":"t","by":"ops"}}"#);
    let outputs = cancel(&mut bench);
    assert!(outputs[0].starts_with("row k 2 instant"), "{outputs:?}");
    assert!(outputs.iter().any(|line| line.contains("cancelled by ops") && !line.starts_with("row")), "{outputs:?}");
    let last = over(&mut bench, 1, SshEnd::Failed("cancelled by ops".to_owned()));
    assert_eq!((last.len(), last[1].as_str()), (2, ended(1, "cancelled by ops").as_str()), "{last:?}");
    assert!(cancel(&mut bench)[0].contains("not_running"));
}

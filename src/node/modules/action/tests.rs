use crate::model::command::{CommandEnd, CommandId, OutputCut};
use crate::model::host_work::HostDone;

use crate::node::input::Input;
use crate::node::testing::{Bench, options};

const BEGUN: &str = "row t 0 {\"message\":\"commands processing has started\",\"request_content\":";
const METRICS: &str = "\"metrics\":{\"start\":1795450000,\"end\":1795450002,\"duration\":2}";

fn bench(max_concurrent: usize) -> Bench {
    let mut options = options(Vec::new());
    options.modules.action.as_mut().unwrap().max_concurrent = max_concurrent;
    Bench::new(options)
}

fn started(command: &str) -> String {
    format!("row t 0 {{\"message\":\"command has started\",\"command\":\"{command}\",\"metadata\":null}}")
}

fn finished(command: &str, exit_code: i32, stdout: &str) -> String {
    format!(
        "row t 100 {{\"message\":\"command has finished successfully\",\"command\":\"{command}\",\"metadata\":null,\
         \"result\":{{\"exit_code\":{exit_code},\"stdout\":\"{stdout}\"}},{METRICS}}}"
    )
}

fn failed(command: &str, stdout: &str) -> String {
    format!(
        "row t 1 {{\"message\":\"command execution issue\",\"command\":\"{command}\",\"metadata\":null,\
         \"result\":{{\"exit_code\":-1,\"stdout\":\"{stdout}\"}},{METRICS}}}"
    )
}

fn ended(code: i64, text: &str) -> String {
    format!("row t {code} {{\"message\":\"{text}\"}}")
}

const ACCEPTED: &str = "client 7: [ACK] [t] 0 null";
const WELL: &str = "commands processing has finished successfully";
const WITH_ERRORS: &str = "commands processing has finished with errors";

#[test]
fn the_commands_of_a_request_run_one_after_the_other_with_the_rows_of_the_original() {
    let mut bench = bench(64);
    let content = r#"[{"command":"echo a"},{"command":"false","timeout":"5"}]"#;
    let outputs = bench.request("COMMAND", "t", "", &format!("{{\"content\":{content}}}"));
    assert_eq!(
        outputs,
        [format!("{BEGUN}{content}}}"), started("echo a"), "run 0 for 30s: sh: echo a".to_owned(), ACCEPTED.to_owned(),]
    );
    let outputs = bench.command_exits(0, 0, "a\n");
    assert_eq!(outputs, [finished("echo a", 0, "a"), started("false"), "run 1 for 5s: sh: false".to_owned()]);
    assert_eq!(bench.command_exits(1, 1, ""), [finished("false", 1, ""), ended(2, WELL)]);
    assert_eq!(bench.command_exits(1, 1, ""), Vec::<String>::new());
}

#[test]
fn a_timeout_is_an_error_and_the_next_command_runs_unless_the_command_forbids_it() {
    let mut bench = bench(64);
    let text = "Command too long to execute (timeout)...";
    bench.request("COMMAND", "t", "", r#"{"content":[{"command":"a"},{"command":"b"}]}"#);
    let outputs = bench.command_ends(0, CommandEnd::TimedOut, Vec::new(), OutputCut::default());
    assert_eq!(outputs, [failed("a", text), started("b"), "run 1 for 30s: sh: b".to_owned()]);
    assert_eq!(bench.command_exits(1, 0, "x"), [finished("b", 0, "x"), ended(1, WITH_ERRORS)]);
    for no in ["0", "false", "\"0\"", "\"false\""] {
        let data = format!(r#"{{"content":[{{"command":"a","continue_on_error":{no}}},{{"command":"b"}}]}}"#);
        let run = bench.request("COMMAND", "t", "", &data);
        let number = run[2].split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(
            bench.command_ends(number, CommandEnd::NotStarted("no fork".to_owned()), Vec::new(), OutputCut::default()),
            [failed("a", "no fork"), ended(1, "commands processing has been interrupted because of error"),]
        );
    }
}

#[test]
fn a_failed_command_does_not_end_the_wait_for_a_request_that_goes_on() {
    let mut bench = bench(64);
    let body = r#"[{"command":"a"},{"command":"b"}]"#;
    bench.call(1, crate::model::api::Method::Post, "core/action/command?log_wait=60000000", body);
    let outputs = bench.command_ends(0, CommandEnd::TimedOut, Vec::new(), OutputCut::default());
    assert!(!outputs.iter().any(|line| line.starts_with("query")), "{outputs:?}");
    assert!(bench.command_exits(1, 0, "").iter().any(|line| line.starts_with("query")));
}

#[test]
fn metadata_instant_and_cut_output_appear_in_the_result() {
    let mut bench = bench(64);
    let data = r#"{"instant":1,"content":[{"command":"a","metadata":{"k": [1]}}]}"#;
    assert_eq!(
        bench.request("COMMAND", "t", "", data)[1],
        r#"row t 0 {"message":"command has started","command":"a","metadata":{"k": [1]}}"#
    );
    let cut = OutputCut { stdout: Some(5), stderr: None };
    let outputs = bench.command_ends(0, CommandEnd::Exited(0), b"caf\xe9\n".to_vec(), cut);
    assert_eq!(
        outputs,
        [
            format!(
                "row t 100 instant {{\"message\":\"command has finished \
                    successfully\",\"command\":\"a\",\"metadata\":{{\"k\": [1]}},\
             \"result\":{{\"exit_code\":0,\"stdout\":\"caf\u{e9}\\n[stdout cut after 5 \
                 bytes]\",\"output_cut\":true,\"stdout_cut\":true,\"stderr_cut\":false}},{METRICS}}}"
            ),
            ended(2, WELL),
        ]
    );
}

#[test]
fn requests_that_make_no_sense_end_with_the_words_of_the_original() {
    let mut bench = bench(64);
    for (data, text) in [
        ("{}", "expected array, found ''"),
        (r#"{"content":null}"#, "expected array, found ''"),
        (r#"{"content":"x"}"#, "expected array, found ''"),
        (r#"{"content":{"command":"x"}}"#, "expected array, found 'HASH'"),
        (r#"{"content":[{"command":"x"},{}]}"#, "need command argument at array index '1'"),
        (r#"{"content":[{"command":""}]}"#, "need command argument at array index '0'"),
        (r#"{"content":["x"]}"#, "need command argument at array index '0'"),
        ("{", "request not well formatted"),
    ] {
        assert_eq!(bench.request("COMMAND", "t", "", data), [ended(1, text), ACCEPTED.to_owned()], "{data}");
    }
    assert_eq!(bench.request("COMMAND", "t", "", r#"{"logging":false,"content":{}}"#), [ACCEPTED]);
}

#[test]
fn without_logging_the_command_runs_and_no_row_is_written() {
    let mut bench = bench(64);
    for no in ["false", "0", "\"false\""] {
        let data = format!(r#"{{"logging":{no},"content":[{{"command":"a"}}]}}"#);
        let outputs = bench.request("COMMAND", "t", "", &data);
        assert!(outputs[0].starts_with("run ") && outputs.len() == 2, "{outputs:?}");
        let number = outputs[0].split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(bench.command_exits(number, 0, "x"), Vec::<String>::new());
    }
}

#[test]
fn without_a_shell_the_line_is_split_into_words() {
    let mut bench = bench(64);
    let data = r#"{"content":[{"command":"echo 'a b' ; c","no_shell_interpretation":1}]}"#;
    assert_eq!(bench.request("COMMAND", "t", "", data)[2], r#"run 0 for 30s: words: ["echo", "a b", ";", "c"]"#);
    let data = r#"{"content":[{"command":"echo it's","no_shell_interpretation":"1"}]}"#;
    let outputs = bench.request("COMMAND", "t", "", data);
    assert!(outputs[2].contains("Error executing the command echo, does the command require a shell"), "{outputs:?}");
    assert_eq!(outputs[3], ended(1, WITH_ERRORS));
}

#[test]
fn so_many_run_at_once_and_the_rest_waits_in_order() {
    let mut bench = bench(2);
    for name in ["a", "b", "c", "d"] {
        bench.request("COMMAND", "t", "", &format!(r#"{{"content":[{{"command":"{name}"}}]}}"#));
    }
    let outputs = bench.command_exits(1, 0, "");
    assert_eq!(outputs.last().unwrap(), "run 2 for 30s: sh: c");
    let outputs = bench.command_exits(0, 0, "");
    assert_eq!(outputs.last().unwrap(), "run 3 for 30s: sh: d");
}

#[test]
fn when_too_many_wait_the_next_is_refused() {
    let mut bench = bench(1);
    let data = r#"{"content":[{"command":"a"}]}"#;
    for _ in 0..=super::WAITING_MAX {
        assert!(!bench.request("COMMAND", "t", "", data).iter().any(|line| line.contains("too many")));
    }
    let refused = ended(1, "too many commands wait, try again later");
    assert_eq!(bench.request("COMMAND", "t", "", data), [refused, ACCEPTED.to_owned()]);
}

#[test]
fn kill_ends_what_runs() {
    let mut bench = bench(1);
    bench.request("COMMAND", "t", "", r#"{"content":[{"command":"a"},{"command":"b"}]}"#);
    let outputs = bench.request("KILL", "k", "", r#"{"content":{"name":"action"}}"#);
    assert_eq!(
        outputs,
        ["kill 0", r#"client 7: [ACK] [k] 2 {"action":"kill","message":"module 'action' kill in progress"}"#,]
    );
    let reason = "the module 'action' was killed";
    assert_eq!(bench.command_exits(0, 137, ""), [failed("a", reason), ended(1, reason)]);
}

#[test]
fn kill_also_ends_what_waits_for_its_turn() {
    let mut bench = bench(1);
    bench.request("COMMAND", "u", "", r#"{"content":[{"command":"a"}]}"#);
    bench.request("COMMAND", "t", "", r#"{"content":[{"command":"b"}]}"#);
    let reason = "the module 'action' was killed";
    let outputs = bench.request("KILL", "k", "", r#"{"content":{"name":"action"}}"#);
    assert_eq!(outputs[..2], [ended(1, reason), "kill 0".to_owned()]);
    let outputs = bench.command_exits(0, 137, "");
    assert!(!outputs.iter().any(|line| line.starts_with("run")), "{outputs:?}");
}

#[test]
fn output_is_told_while_a_command_runs_where_its_request_wants_it() {
    let mut bench = bench(64);
    let printed = |bench: &mut Bench, output: &[u8]| {
        bench.give(Input::Host(HostDone::CommandPrinted { command: CommandId(0), output: output.to_vec() }))
    };
    let outputs = bench.request("COMMAND", "t", "", r#"{"content":[{"command":"a","stream":true}]}"#);
    assert!(outputs.contains(&"run 0 for 30s, streamed: sh: a".to_owned()), "{outputs:?}");
    let row = |text: &str| format!("row t 600 instant {{\"message\":\"command output\",{text}}}");
    assert_eq!(printed(&mut bench, b"one\n"), [row(r#""offset":0,"output":"one\n""#)]);
    assert_eq!(printed(&mut bench, b"two"), [row(r#""offset":4,"output":"two""#)]);
    bench.command_exits(0, 0, "one\ntwo");
    assert_eq!(printed(&mut bench, b"late"), Vec::<String>::new());
}

#[test]
fn a_stopping_daemon_waits_a_little_then_kills_and_ends_every_token() {
    let mut bench = bench(1);
    bench.request("COMMAND", "t", "", r#"{"content":[{"command":"a"},{"command":"b"}]}"#);
    bench.request("COMMAND", "w", "", r#"{"content":[{"command":"c"}]}"#);
    let stopping = r#"{"message":"gorgone is stopping/restarting. Cannot proceed request."}"#;
    assert_eq!(bench.give(crate::node::input::Input::Stop), [format!("row w 1 {stopping}")]);
    assert_eq!(
        bench.request("PING", "p", "", "{}"),
        [format!("row p 1 {stopping}"), format!("client 7: [ACK] [p] 1 {stopping}")]
    );
    assert_eq!(bench.pass(std::time::Duration::from_millis(1_500)), ["kill 0"]);
    let outputs = bench.command_exits(0, 137, "");
    assert_eq!(outputs[1..], [format!("row t 1 {stopping}"), "stopped".to_owned()]);
}

#[test]
fn a_command_that_ends_in_time_is_the_last_of_its_request_when_the_daemon_stops() {
    let mut bench = bench(1);
    bench.request("COMMAND", "t", "", r#"{"content":[{"command":"a"},{"command":"b"}]}"#);
    bench.give(crate::node::input::Input::Stop);
    let stopping = ended(1, "gorgone is stopping/restarting. Cannot proceed request.");
    assert_eq!(bench.command_exits(0, 0, "x"), [finished("a", 0, "x"), stopping, "stopped".to_owned()]);
}

#[test]
fn a_command_that_is_never_reported_does_not_hold_up_the_stop() {
    let mut bench = bench(1);
    bench.request("COMMAND", "t", "", r#"{"content":[{"command":"a"}]}"#);
    bench.give(crate::node::input::Input::Stop);
    let stopping = ended(1, "gorgone is stopping/restarting. Cannot proceed request.");
    assert_eq!(bench.pass_seconds(2), ["kill 0".to_owned(), stopping, "stopped".to_owned()]);
}

#[test]
fn a_command_whose_first_rows_cannot_be_stored_is_refused_and_not_run() {
    let mut bench = bench(1);
    bench.stores = false;
    let outputs = bench.request("COMMAND", "t", "", r#"{"content":[{"command":"a"}]}"#);
    assert_eq!(outputs[2..], [r#"client 7: [ACK] [t] 1 {"message":"database issue"}"#]);
    bench.stores = true;
    let outputs = bench.request("COMMAND", "t", "", r#"{"content":[{"command":"a"}]}"#);
    assert_eq!(outputs[2..], ["run 0 for 30s: sh: a".to_owned(), ACCEPTED.to_owned()], "no slot is lost");
}

#[test]
fn a_command_that_waited_or_whose_asker_hears_no_ack_ends_with_one_row_when_it_cannot_be_stored() {
    let mut bench = bench(1);
    for token in ["r", "t"] {
        bench.request("COMMAND", token, "", r#"{"content":[{"command":"a"}]}"#);
    }
    bench.stores = false;
    let outputs = bench.command_exits(0, 0, "");
    assert_eq!(outputs.last().unwrap(), &ended(1, "database issue"));
    assert!(!outputs.iter().any(|line| line.starts_with("run")), "{outputs:?}");
    let outputs = bench.call(1, crate::model::api::Method::Post, "core/action/command", r#"[{"command":"a"}]"#);
    let ends = outputs.iter().filter(|line| line.contains(r#" 1 {"message":"database issue"}"#)).count();
    assert_eq!(ends, 1, "{outputs:?}");
}

#[test]
fn what_is_killed_or_stopped_before_its_rows_are_stored_ends_with_one_row() {
    use crate::node::input::Input;
    use crate::node::testing::message;
    let mut bench = bench(1);
    let client = crate::model::connection::ClientId::Zmq(7);
    let data = r#"{"content":[{"command":"a"}]}"#;
    let now = crate::model::time::Now::default();
    let command = Input::ClientMessage { client, message: message("COMMAND", "t", Some(""), data) };
    bench.core.handle_input(command, now);
    bench.core.handle_input(Input::Stop, now);
    let outputs = bench.drain();
    let stopping = ended(1, "gorgone is stopping/restarting. Cannot proceed request.");
    assert_eq!(outputs[2..], [stopping, ACCEPTED.to_owned(), "stopped".to_owned()]);
}

const PENDING: &str = " (receipt 0)";

fn early_bench() -> Bench {
    let mut bench = bench(64);
    bench.begins_early = true;
    bench
}

#[test]
fn a_command_that_begins_before_its_rows_are_stored_is_confirmed_after_that() {
    let mut bench = early_bench();
    let outputs = bench.request("COMMAND", "t", "", r#"{"content":[{"command":"a"}]}"#);
    assert_eq!(outputs[1..], [started("a") + PENDING, "run 0 for 30s: sh: a".to_owned()], "not confirmed yet");
    assert_eq!(bench.command_exits(0, 0, "x"), [finished("a", 0, "x"), ended(2, WELL)]);
    assert_eq!(bench.commit(), [ACCEPTED]);
}

#[test]
fn a_command_that_began_is_killed_where_its_rows_cannot_be_stored_and_nothing_else_is_said_of_it() {
    let mut bench = early_bench();
    bench.stores = false;
    bench.request("COMMAND", "t", "", r#"{"content":[{"command":"a"}]}"#);
    assert_eq!(bench.commit(), ["kill 0", r#"client 7: [ACK] [t] 1 {"message":"database issue"}"#]);
    assert_eq!(bench.command_ends(0, CommandEnd::Exited(137), Vec::new(), OutputCut::default()), [""; 0]);
}

#[test]
fn the_end_of_a_command_whose_first_rows_cannot_be_stored_stands_alone() {
    let mut bench = early_bench();
    bench.stores = false;
    bench.request("COMMAND", "t", "", r#"{"content":[{"command":"a"}]}"#);
    assert_eq!(bench.command_exits(0, 0, "x"), [finished("a", 0, "x"), ended(2, WELL)], "kept until it can be stored");
    assert_eq!(bench.commit(), [""; 0]);
}

#[test]
fn a_cancelled_token_ends_once_and_its_next_commands_do_not_begin() {
    let mut bench = bench(1);
    bench.request("COMMAND", "t", "", r#"{"content":[{"command":"a"},{"command":"b"}]}"#);
    bench.request("COMMAND", "w", "", r#"{"content":[{"command":"c"}]}"#);
    let cancel = |bench: &mut Bench, of: &str| {
        let data = format!("{{\"content\":{{\"token\":\"{of}\",\"by\":\"user 'x'\"}}}}");
        bench.request("CANCEL", "k", "", &data)
    };
    let waiting = cancel(&mut bench, "w");
    assert_eq!(waiting[0], r#"row w 1 {"message":"cancelled by user 'x'"}"#);
    let running = cancel(&mut bench, "t");
    assert_eq!(running[0], "end 0", "{running:?}");
    assert!(running[1].starts_with("row k 2 instant {\"action\":\"cancel\""), "{running:?}");
    let reason = "cancelled by user 'x'";
    assert_eq!(bench.command_exits(0, 143, ""), [failed("a", reason), ended(1, reason)]);
    let again = cancel(&mut bench, "t");
    assert!(again[0].starts_with("row k 1 instant {\"error\":\"not_running\""), "{again:?}");
    assert_eq!(bench.request("CANCEL", "k", "", "{}")[0], r#"row k 1 {"message":"please set a token to cancel"}"#);
}

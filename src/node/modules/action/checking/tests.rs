use crate::config::allow_list::AllowList;
use crate::config::modules::action::CommandList;
use crate::model::api::Method;
use crate::model::host_work::HostDone;
use crate::model::work::{CommandCheck, WorkOutcome};

use crate::node::input::Input;
use crate::node::output::Output;
use crate::node::testing::{Bench, message, options};

fn bench(is_audit: bool) -> Bench {
    let mut options = options(Vec::new());
    options.modules.action.as_mut().unwrap().allowed = Some(CommandList { list: AllowList::default(), is_audit });
    Bench::new(options)
}

fn checked(refused: &[usize]) -> WorkOutcome {
    WorkOutcome::Checked(CommandCheck { refused: refused.to_vec(), complaints: Vec::new() })
}

fn ended(text: &str) -> String {
    format!("row t 1 {{\"message\":\"{text}\"}}")
}

const ACCEPTED: &str = "client 7: [ACK] [t] 0 null";

#[test]
fn a_request_is_silent_until_its_commands_are_found_in_the_list_and_then_runs() {
    let mut bench = bench(false);
    let data = r#"{"content":[{"command":"a"},{"command":"b c"}]}"#;
    assert_eq!(bench.request("COMMAND", "t", "", data), [r#"work 0 check ["a", "b c"] for 1"#]);
    let outputs = bench.work_done(0, checked(&[]));
    assert!(outputs[0].starts_with("row t 0 {\"message\":\"commands processing has started\""), "{outputs:?}");
    assert_eq!(outputs[2..], ["run 0 for 30s: sh: a", ACCEPTED]);
    assert_eq!(bench.work_done(0, checked(&[])), Vec::<String>::new());
}

#[test]
fn one_command_that_is_not_allowed_refuses_all_and_its_arguments_stay_out_of_sight() {
    let mut bench = bench(false);
    for (content, index, shown) in [
        (r#"[{"command":"uptime"}]"#, 0, "uptime"),
        (r#"[{"command":"mysql -psecret"},{}]"#, 0, "mysql ..."),
        (r#"[{"command":"a"},{"command":"'my tool' x"}]"#, 1, "my tool ..."),
        (r#"[{"command":"echo it's secret"}]"#, 0, "echo ..."),
    ] {
        let work = bench.request("COMMAND", "t", "", &format!("{{\"content\":{content}}}"));
        let number = work[0].split(' ').nth(1).unwrap().parse().unwrap();
        let text = format!("command not allowed (whitelist) at array index '{index}' : {shown}");
        assert_eq!(bench.work_done(number, checked(&[index])), [ended(&text), ACCEPTED.to_owned()]);
    }
}

#[test]
fn what_stands_before_a_command_that_makes_no_sense_is_checked_and_named_first() {
    let mut bench = bench(false);
    let text = ended("need command argument at array index '0'");
    let data = r#"{"content":[{},{"command":"a"}]}"#;
    assert_eq!(bench.request("COMMAND", "t", "", data), [text, ACCEPTED.to_owned()]);
    let data = r#"{"content":[{"command":"a"},{}]}"#;
    assert_eq!(bench.request("COMMAND", "t", "", data), [r#"work 0 check ["a"] for 1"#]);
    let text = ended("need command argument at array index '1'");
    assert_eq!(bench.work_done(0, checked(&[])), [text, ACCEPTED.to_owned()]);
}

#[test]
fn without_logging_a_refusal_leaves_no_row() {
    let mut bench = bench(false);
    bench.request("COMMAND", "t", "", r#"{"logging":false,"content":[{"command":"a"}]}"#);
    assert_eq!(bench.work_done(0, checked(&[0])), [ACCEPTED]);
}

#[test]
fn audit_logs_what_would_be_refused_and_runs_it() {
    let mut bench = bench(true);
    let now = bench.core.context.now;
    bench.request("COMMAND", "t", "", r#"{"content":[{"command":"a"},{"command":"rm -r x"}]}"#);
    let outcome = CommandCheck { refused: vec![1], complaints: vec!["'(a+)+' was cut off".to_owned()] };
    let (id, outcome) = (crate::model::work::WorkId(0), WorkOutcome::Checked(outcome));
    bench.core.handle_input(Input::Host(HostDone::WorkDone { id, outcome }), now);
    let mut lines = Vec::new();
    while let Some(output) = bench.core.poll_output() {
        if let Output::Log(line) = output {
            lines.push(line.text);
        }
    }
    let audited = "command would not be allowed (whitelist): rm ... (token t, array index '1')";
    assert_eq!(lines, ["'(a+)+' was cut off", audited]);
    assert!(bench.drain().contains(&"run 0 for 30s: sh: a".to_owned()));
}

#[test]
fn a_call_of_the_api_waits_for_the_check_as_it_waits_for_the_command() {
    let mut bench = bench(false);
    let outputs = bench.call(1, Method::Post, "core/action/command?log_wait=60000000", r#"[{"command":"a"}]"#);
    assert_eq!(outputs, [r#"work 0 check ["a"] for 1"#]);
    let outputs = bench.work_done(0, checked(&[0]));
    assert!(outputs.iter().any(|line| line.starts_with("query")), "{outputs:?}");
}

#[test]
fn a_stop_ends_what_is_being_checked() {
    let mut bench = bench(false);
    let client = crate::model::connection::ClientId::Zmq(7);
    let data = r#"{"content":[{"command":"a"}]}"#;
    bench.give(Input::ClientMessage { client, message: message("COMMAND", "t", Some(""), data) });
    let stopping = ended("gorgone is stopping/restarting. Cannot proceed request.");
    assert_eq!(bench.give(Input::Stop), [stopping, ACCEPTED.to_owned(), "stopped".to_owned()]);
    assert_eq!(bench.work_done(0, checked(&[])), Vec::<String>::new());
}

#[test]
fn so_many_requests_are_checked_at_once_and_the_next_is_refused() {
    let mut bench = bench(false);
    let data = r#"{"content":[{"command":"a"}]}"#;
    for _ in 0..super::CHECKING_MAX {
        assert_eq!(bench.request("COMMAND", "t", "", data).len(), 1);
    }
    let refused = ended("too many commands wait, try again later");
    assert_eq!(bench.request("COMMAND", "t", "", data), [refused, ACCEPTED.to_owned()]);
    bench.work_done(0, checked(&[0]));
    assert!(bench.request("COMMAND", "t", "", data)[0].starts_with("work "));
}

#[test]
fn what_is_killed_while_it_is_checked_never_runs() {
    let mut bench = bench(false);
    bench.request("COMMAND", "t", "", r#"{"content":[{"command":"a"}]}"#);
    let reason = "the module 'action' was killed";
    let outputs = bench.request("KILL", "k", "", r#"{"content":{"name":"action"}}"#);
    let killed = r#"client 7: [ACK] [k] 2 {"action":"kill","message":"module 'action' kill in progress"}"#;
    assert_eq!(outputs, [ended(reason), ACCEPTED.to_owned(), killed.to_owned()]);
    assert_eq!(bench.work_done(0, checked(&[])), Vec::<String>::new());
    // Nothing is being checked any more.
    bench.request("COMMAND", "t", "", r#"{"content":[{"command":"a"}]}"#);
    assert!(bench.work_done(1, checked(&[])).contains(&"run 0 for 30s: sh: a".to_owned()));
}

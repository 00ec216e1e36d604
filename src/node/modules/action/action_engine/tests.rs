use crate::config::allow_list::AllowList;
use crate::config::modules::action::CommandList;
use crate::model::command::{CommandEnd, OutputCut};
use crate::model::work::{CommandCheck, PluginsRead, WorkOutcome};

use crate::node::input::Input;
use crate::node::testing::{Bench, options};

fn bench(max: usize) -> Bench {
    let mut options = options(Vec::new());
    options.modules.action.as_mut().unwrap().max_concurrent_engine = max;
    Bench::new(options)
}

fn ended(code: i64, text: &str) -> String {
    format!("row t {code} {{\"message\":\"{text}\"}}")
}

const ACCEPTED: &str = "client 7: [ACK] [t] 0 null";
const DATA: &str = r#"{"content":{"command":"centengine -v x"}}"#;
const METRICS: &str = "\"metrics\":{\"start\":1795450000,\"end\":1795450002,\"duration\":2}";

#[test]
fn one_command_runs_and_leaves_one_row() {
    let mut bench = bench(3);
    assert_eq!(bench.request("ACTIONENGINE", "t", "", DATA), ["run 0 for 30s: sh: centengine -v x", ACCEPTED]);
    assert_eq!(
        bench.command_exits(0, 3, "fine\n"),
        [format!(
            "row t 2 {{\"message\":\"actionengine has finished successfully\",\"command\":\"centengine -v x\",\
             \"result\":{{\"exit_code\":3,\"stdout\":\"fine\"}},{METRICS}}}"
        )]
    );
    bench.request("ACTIONENGINE", "t", "", DATA);
    let outputs = bench.command_ends(1, CommandEnd::TimedOut, Vec::new(), OutputCut::default());
    assert!(outputs[0].starts_with(
        "row t 1 {\"message\":\"command execution issue\",\"command\":\"centengine -v x\",\"result\":{\"exit_code\":-1,"
    ));
}

#[test]
fn a_failed_command_ends_its_token() {
    let mut bench = bench(3);
    let body = r#"{"command":"x"}"#;
    bench.call(1, crate::model::api::Method::Post, "core/action/engine?log_wait=60000000", body);
    let outputs = bench.command_ends(0, CommandEnd::TimedOut, Vec::new(), OutputCut::default());
    assert!(outputs.iter().any(|line| line.starts_with("query")), "{outputs:?}");
}

#[test]
fn more_than_the_limit_are_refused() {
    let mut bench = bench(2);
    for _ in 0..2 {
        assert!(bench.request("ACTIONENGINE", "t", "", DATA)[0].starts_with("run "));
    }
    let refused = ended(1, "max_concurrent_engine limit reached (2/2)");
    assert_eq!(bench.request("ACTIONENGINE", "t", "", DATA), [refused, ACCEPTED.to_owned()]);
    bench.command_exits(0, 0, "");
    assert!(bench.request("ACTIONENGINE", "t", "", DATA)[0].starts_with("run "));
}

#[test]
fn requests_that_make_no_sense_end_with_the_words_of_the_original() {
    let mut bench = bench(1);
    for (data, text) in [
        ("{}", "no content"),
        (r#"{"content":""}"#, "no content"),
        (r#"{"content":[]}"#, "need valid command argument"),
        (r#"{"content":{"command":{}}}"#, "need valid command argument"),
    ] {
        assert_eq!(bench.request("ACTIONENGINE", "t", "", data), [ended(1, text), ACCEPTED.to_owned()], "{data}");
    }
    assert_eq!(bench.request("ACTIONENGINE", "t", "", r#"{"logging":"0"}"#), [ACCEPTED]);
}

#[test]
fn the_allow_list_holds_for_it_as_well() {
    let mut options = options(Vec::new());
    let allowed = |is_audit| Some(CommandList { list: AllowList::default(), is_audit });
    options.modules.action.as_mut().unwrap().allowed = allowed(false);
    let mut bench = Bench::new(options.clone());
    let check = |refused: Vec<usize>| WorkOutcome::Checked(CommandCheck { refused, complaints: Vec::new() });
    assert_eq!(bench.request("ACTIONENGINE", "t", "", DATA), [r#"work 0 check ["centengine -v x"] for 1"#, ACCEPTED]);
    assert_eq!(bench.work_done(0, check(vec![0])), [ended(1, "command not allowed (whitelist)centengine ...")]);
    bench.request("ACTIONENGINE", "t", "", DATA);
    assert_eq!(bench.work_done(1, check(Vec::new())), ["run 0 for 30s: sh: centengine -v x"]);
    options.modules.action.as_mut().unwrap().allowed = allowed(true);
    let mut bench = Bench::new(options);
    bench.request("ACTIONENGINE", "t", "", DATA);
    assert_eq!(bench.work_done(0, check(vec![0])), ["run 0 for 30s: sh: centengine -v x"]);
}

#[test]
fn plugins_that_are_missing_stop_a_paranoid_daemon_only() {
    for is_paranoid in [false, true] {
        let mut options = options(Vec::new());
        options.modules.action.as_mut().unwrap().paranoid_plugins = is_paranoid;
        let mut bench = Bench::new(options);
        let data = r#"{"content":{"command":"x","plugins":"/plugins.json"}}"#;
        assert_eq!(bench.request("ACTIONENGINE", "t", "", data)[0], r#"work 0 plugins Some("/plugins.json")"#);
        let outputs =
            bench.work_done(0, WorkOutcome::PluginsRead(PluginsRead { manager: None, content: Ok("{".to_owned()) }));
        let expected = if is_paranoid { ended(1, "cannot decode json") } else { "run 0 for 30s: sh: x".to_owned() };
        assert_eq!(outputs, [expected]);
    }
}

#[test]
fn kill_and_stop_end_it() {
    let mut bench = bench(1);
    bench.request("ACTIONENGINE", "t", "", DATA);
    let outputs = bench.request("KILL", "k", "", r#"{"content":{"name":"action"}}"#);
    assert_eq!(outputs[0], "kill 0");
    assert!(bench.command_exits(0, 137, "")[0].contains("the module 'action' was killed"));
    bench.request("ACTIONENGINE", "t", "", DATA);
    bench.give(Input::Stop);
    let stopping = ended(1, "gorgone is stopping/restarting. Cannot proceed request.");
    assert_eq!(bench.pass_seconds(2), ["kill 1".to_owned(), stopping, "stopped".to_owned()]);
}

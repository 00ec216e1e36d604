use std::time::Duration;

use crate::config::modules::engine::EngineSettings;
use crate::model::work::{PipeReport, WorkOutcome};

use crate::node::input::Input;
use crate::node::testing::{Bench, options};

fn bench(command_file: Option<&str>) -> Bench {
    let mut options = options(Vec::new());
    options.modules.loaded.insert("engine".to_owned(), crate::model::action::Module::Engine.package().to_owned());
    let command_file = command_file.map(str::to_owned);
    options.modules.engine = Some(EngineSettings { command_file, timeout: Duration::from_secs(5) });
    Bench::new(options)
}

fn written(submitted: usize, failure: Option<&str>) -> WorkOutcome {
    WorkOutcome::PipeWritten(vec![PipeReport { submitted, failure: failure.map(str::to_owned) }])
}

fn row(code: i64, text: &str) -> String {
    format!("row t {code} {{\"message\":\"{text}\"}}")
}

fn submitted(line: &str) -> String {
    format!("row t 2 {{\"message\":\"command has been submitted\",\"command\":\"{line}\"}}")
}

fn begun(content: &str) -> String {
    format!("row t 0 {{\"message\":\"commands processing has started\",\"request_content\":{content}}}")
}

const ACCEPTED: &str = "client 7: [ACK] [t] 0 null";

#[test]
fn lines_are_written_to_the_pipe_of_the_request_or_of_the_module() {
    let mut bench = bench(Some("/run/engine.cmd"));
    let content = r#"{"commands":["[1] A","[2] B"]}"#;
    assert_eq!(
        bench.request("ENGINECOMMAND", "t", "", &format!("{{\"content\":{content}}}")),
        [
            begun(content),
            r#"work 0 write to /run/engine.cmd ["[1] A", "[2] B"] within 5s"#.to_owned(),
            ACCEPTED.to_owned()
        ]
    );
    let finished = row(2, "commands processing has finished");
    assert_eq!(bench.work_done(0, written(2, None)), [submitted("[1] A"), submitted("[2] B"), finished.clone()]);
    let content = r#"{"command_file":"/other","commands":[]}"#;
    let outputs = bench.request("ENGINECOMMAND", "t", "", &format!("{{\"content\":{content}}}"));
    assert_eq!(outputs[1], "work 1 write to /other [] within 5s");
    assert_eq!(bench.work_done(1, written(0, None)), [finished]);
}

#[test]
fn requests_for_one_pipe_wait_for_each_other_and_no_longer_than_their_time() {
    let mut bench = bench(None);
    let data = |file: &str| format!(r#"{{"content":{{"command_file":"{file}","commands":["x"]}}}}"#);
    bench.request("ENGINECOMMAND", "t", "", &data("/a"));
    bench.pass_seconds(2);
    assert_eq!(bench.request("ENGINECOMMAND", "t", "", &data("/a")).len(), 2, "it waits");
    assert_eq!(bench.request("ENGINECOMMAND", "t", "", &data("/b"))[1], r#"work 1 write to /b ["x"] within 5s"#);
    bench.pass_seconds(3);
    let outputs = bench.work_done(0, written(0, Some("nobody reads")));
    assert_eq!(outputs, [r#"work 2 write to /a ["x"] within 2s"#.to_owned(), row(1, "nobody reads")]);
    assert_eq!(bench.work_done(2, written(1, Some("cut"))), [submitted("x"), row(1, "cut")]);
}

#[test]
fn requests_that_wait_for_one_pipe_are_written_together_and_those_not_tried_are_written_next() {
    let mut bench = bench(Some("/a"));
    let mut request = |token: &str| {
        bench.request(
            "ENGINECOMMAND",
            token,
            "",
            &format!(r#"{{"logging":false,"content":{{"commands":["{token}"]}}}}"#),
        )
    };
    ["a", "b", "c", "d"].into_iter().for_each(|token| drop(request(token)));
    let all = |outputs: &[String]| outputs.iter().filter(|line| line.starts_with("work")).cloned().collect::<Vec<_>>();
    let outputs = bench.work_done(0, written(1, None));
    let expected = r#"work 1 write to /a ["b"] within 5s, ["c"] within 5s, ["d"] within 5s"#;
    assert_eq!(all(&outputs), [expected]);
    // The second one failed, and the third was not tried.
    let reports = [None, Some("cut".to_owned())].map(|failure| PipeReport { submitted: 1, failure });
    let outputs = bench.work_done(1, WorkOutcome::PipeWritten(reports.to_vec()));
    assert_eq!(all(&outputs), [r#"work 2 write to /a ["d"] within 5s"#]);
    bench.request("ENGINECOMMAND", "e", "", r#"{"content":{"commands":["e"]}}"#);
    bench.give(Input::Stop);
    // A stop ends what was not tried.
    assert_eq!(bench.work_done(2, written(1, None)), ["stopped"]);
}

#[test]
fn what_cannot_be_written_says_why() {
    let mut bench = bench(None);
    for (content, text) in [
        ("{}", "need command_file (config or call) argument"),
        ("null", "need command_file (config or call) argument"),
        (r#"{"command_file":"","commands":["a"]}"#, "need command_file (config or call) argument"),
        (r#"{"command_file":"/a"}"#, "need commands argument: a list of lines"),
        (
            r#"[{"command_file":"/a","commands":["b"]}]"#,
            "expected an object with 'command_file' and 'commands', found a list: send it without the brackets",
        ),
        (
            r#"["/a",["b"]]"#,
            "expected an object with 'command_file' and 'commands', found a list: send it without the \
             brackets",
        ),
        (r#""text""#, "expected an object with 'command_file' and 'commands'"),
        (r#"{"command_file":"/a","commands":"b"}"#, "submit engine command issue: 'commands' is not a list of lines"),
        (r#"{"command_file":"/a","commands":[{}]}"#, "submit engine command issue: 'commands' is not a list of lines"),
    ] {
        let outputs = bench.request("ENGINECOMMAND", "t", "", &format!("{{\"content\":{content}}}"));
        assert_eq!(outputs, [begun(content), row(1, text), ACCEPTED.to_owned()], "{content}");
    }
    let outputs =
        bench.request("ENGINECOMMAND", "t", "", r#"{"logging":0,"content":{"command_file":"/a","commands":["b"]}}"#);
    assert_eq!(outputs.len(), 2);
    assert_eq!(bench.work_done(0, written(1, None)), Vec::<String>::new());
}

#[test]
fn a_stop_lets_the_writing_in_hand_finish_and_ends_the_rest() {
    let mut bench = bench(Some("/a"));
    let data = r#"{"content":{"commands":["x"]}}"#;
    bench.request("ENGINECOMMAND", "t", "", data);
    bench.request("ENGINECOMMAND", "t", "", data);
    let stopping = row(1, "gorgone is stopping/restarting. Cannot proceed request.");
    assert_eq!(bench.give(Input::Stop), [stopping]);
    let outputs = bench.work_done(0, written(1, None));
    assert_eq!(outputs, [submitted("x"), row(2, "commands processing has finished"), "stopped".to_owned()]);
}

#[test]
fn a_writing_that_does_not_end_does_not_hold_up_the_stop() {
    let mut bench = bench(Some("/a"));
    bench.request("ENGINECOMMAND", "t", "", r#"{"content":{"commands":["x"]}}"#);
    bench.give(Input::Stop);
    let stopping = row(1, "gorgone is stopping/restarting. Cannot proceed request.");
    assert_eq!(bench.pass_seconds(3), [stopping, "stopped".to_owned()]);
}

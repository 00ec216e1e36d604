//! The clock of the tests begins at 16:06:40 universal time.

use crate::config::modules::cron::CronJob;
use crate::model::api::Method;
use crate::model::cron_expression::CronExpression;
use crate::model::token::Token;
use crate::node::core::Core;
use crate::node::journal::Ended;
use crate::node::peer::Handled;

use crate::node::testing::{Bench, node_message, options, push_node, row};

fn job(id: &str, timespec: &str, action: &str, target: &str, keep_token: bool) -> CronJob {
    CronJob {
        id: id.to_owned(),
        timespec: timespec.to_owned(),
        expression: CronExpression::parse(timespec).unwrap(),
        action: action.to_owned(),
        parameters: r#"[{"command":"date"}]"#.to_owned(),
        target: target.to_owned(),
        keep_token,
    }
}

fn bench(jobs: Vec<CronJob>) -> Bench {
    let mut options = options(vec![push_node(2)]);
    options.modules.loaded.insert("cron".to_owned(), super::Module::Cron.package().to_owned());
    options.modules.cron = Some(jobs);
    let mut bench = Bench::new(options);
    bench.give(crate::node::input::Input::LinkUp(crate::node::testing::id(2)));
    bench
}

fn commands(outputs: &[String]) -> Vec<&str> {
    outputs.iter().map(String::as_str).filter(|line| line.starts_with("run ")).collect()
}

fn ended(token: &str, code: i64, text: &str) -> String {
    format!("row {token} {code} {{\"message\":\"{text}\"}}")
}

#[test]
fn a_job_runs_at_its_minute_and_not_again_before_its_last_run_has_ended() {
    let mut bench = bench(vec![job("date", "* * * * *", "COMMAND", "", true)]);
    assert_eq!(commands(&bench.pass_seconds(19)), Vec::<&str>::new());
    let outputs = bench.pass_seconds(2);
    assert_eq!(commands(&outputs), ["run 0 for 30s: sh: date"]);
    assert!(outputs.iter().any(|line| line.starts_with("row date 0 ")), "{outputs:?}");
    assert_eq!(commands(&bench.pass_seconds(180)), Vec::<&str>::new());
    bench.command_exits(0, 0, "x");
    assert_eq!(commands(&bench.pass_seconds(60)), ["run 1 for 30s: sh: date"]);
}

#[test]
fn a_job_for_a_node_is_sent_there_and_ends_with_the_rows_of_the_node() {
    let mut bench = bench(vec![job("far", "*/2 * * * *", "COMMAND", "2", true)]);
    let sent = |outputs: Vec<String>| outputs.into_iter().filter(|line| line.contains("[COMMAND]")).count();
    let outputs = bench.pass_seconds(90);
    assert!(
        outputs.iter().any(|line| line == r#"node 2: [COMMAND] [far] [] {"content":[{"command":"date"}]}"#),
        "{outputs:?}"
    );
    assert_eq!(sent(bench.pass_seconds(120)), 0);
    let data = r#"{"code":0,"data":{"action":"getlog","result":[{"id":1,"token":"far","code":2,"etime":1,"ctime":1.5,"instant":0,"data":"{}"}]}}"#;
    bench.give(node_message(2, "ACK", "", data));
    assert_eq!(sent(bench.pass_seconds(120)), 1);
    assert_eq!(sent(bench.pass_seconds(3_480)), 0, "silence keeps it from running");
    assert_eq!(sent(bench.pass_seconds(120)), 1, "but not for ever");
}

#[test]
fn what_ends_at_once_runs_every_time() {
    let mut bench =
        bench(vec![job("info", "* * * * *", "INFORMATION", "", true), job("no", "* * * * *", "NOSUCH", "", true)]);
    let outputs = bench.pass_seconds(150);
    assert_eq!(outputs.iter().filter(|line| line.starts_with("row info 2 ")).count(), 3, "{outputs:?}");
    assert_eq!(outputs.iter().filter(|line| line.starts_with("row no 1 ")).count(), 3, "{outputs:?}");
}

#[test]
fn without_keep_token_each_run_has_a_token_of_its_own() {
    let mut bench = bench(vec![job("date", "* * * * *", "INFORMATION", "", false)]);
    let outputs = bench.pass_seconds(90);
    let tokens: std::collections::BTreeSet<&str> = outputs
        .iter()
        .filter(|line| line.contains("information"))
        .map(|line| line.split(' ').nth(1).unwrap())
        .collect();
    assert_eq!(tokens.len(), 2);
    assert!(tokens.iter().all(|token| token.len() == 128));
}

#[test]
fn definitions_are_listed_added_changed_and_deleted_through_the_api() {
    let mut bench = bench(vec![job("a", "* * * * *", "COMMAND", "", true)]);
    let mut number = 0;
    let mut call = |bench: &mut Bench, method, path: &str, body: &str| {
        number += 1;
        let outputs = bench.call(number, method, path, body);
        let row = outputs.iter().find(|line| line.starts_with("row ")).unwrap_or_else(|| panic!("{outputs:?}"));
        row.split_once(' ').unwrap().1.split_once(' ').unwrap().1.to_owned()
    };
    let path = "core/cron/definitions";
    let next: Vec<String> = (7..12).map(|minute| format!("2026-11-23 16:{minute:02}")).collect();
    let first = format!(
        r#"{{"action":"COMMAND","id":"a","keep_token":true,"next_runs":{},"parameters":[{{"command":"date"}}],"timespec":"* * * * *"}}"#,
        serde_json::json!(next)
    );
    assert_eq!(call(&mut bench, Method::Get, path, ""), format!("2 [{first}]"));
    let body = r#"[{"id":"b","timespec":"5 4 * * *","action":"PING","target":2}]"#;
    assert_eq!(call(&mut bench, Method::Post, path, body), r#"2 {"message":"add succeed"}"#);
    assert_eq!(call(&mut bench, Method::Post, path, body), r#"1 {"message":"id 'b' already exists"}"#);
    let next: Vec<String> = (24..29).map(|day| format!("2026-11-{day} 04:05")).collect();
    let second = format!(
        r#"{{"action":"PING","id":"b","keep_token":false,"next_runs":{},"parameters":null,"target":"2","timespec":"5 4 * * *"}}"#,
        serde_json::json!(next)
    );
    assert_eq!(call(&mut bench, Method::Get, &format!("{path}/b"), ""), format!("2 [{second}]"));
    let changed = call(
        &mut bench,
        Method::Patch,
        &format!("{path}/b"),
        r#"{"timespec":"* * * * *","action":"INFORMATION","target":""}"#,
    );
    assert_eq!(changed, r#"2 {"message":"update succeed"}"#);
    assert!(bench.pass_seconds(60).iter().any(|line| line.contains(r#""action":"information""#)));
    assert_eq!(call(&mut bench, Method::Delete, &format!("{path}/b"), ""), r#"2 {"message":"delete succeed"}"#);
    for (method, path, body, text) in [
        (Method::Get, "core/cron/definitions/b", "", "no entry found for id"),
        (Method::Delete, "core/cron/definitions/b", "", "no entry found for id"),
        (Method::Delete, "core/cron/definitions", "", "missing id"),
        (Method::Patch, "core/cron/definitions", "{}", "missing id"),
        (Method::Patch, "core/cron/definitions/b", "{}", "no entry found for id"),
        (Method::Patch, "core/cron/definitions/a", "{}", "missing arguments"),
        (Method::Patch, "core/cron/definitions/a", r#"{"target":"x"}"#, "update failed: target: "),
        (Method::Post, "core/cron/definitions", r#"[{"id":"c","action":"PING"}]"#, "missing arguments"),
        (Method::Post, "core/cron/definitions", "[3]", "missing arguments"),
        (
            Method::Post,
            "core/cron/definitions",
            r#"{"id":"c","action":"PING","timespec":"61 * * * *"}"#,
            "add failed: timespec '61' is not a valid minute",
        ),
        (
            Method::Post,
            "core/cron/definitions",
            r#"{"id":"c d","action":"PING","timespec":"* * * * *","keep_token":1}"#,
            "add failed: the id cannot be kept",
        ),
    ] {
        let found = call(&mut bench, method, path, body);
        assert!(found.starts_with(&format!("1 {{\"message\":\"{text}")), "{path} {body}: {found}");
    }
}

#[test]
fn the_status_of_a_job_is_the_rows_of_its_last_run() {
    let mut bench = bench(vec![job("a", "* * * * *", "COMMAND", "", true)]);
    bench.pass_seconds(30);
    let outputs = bench.call(1, Method::Get, "core/cron/definitions/a/status?limit=5", "");
    assert_eq!(outputs[0], "query 0 up to 1000 token=a newest=5");
    let outputs = bench.answer(0, vec![row(3, "a", 0, "{}")], false);
    assert!(outputs[0].contains(r#" 2 [{"id":3,"token":"a","code":0,"#), "{outputs:?}");
}

#[test]
fn an_unloaded_module_starts_nothing_and_a_job_that_is_gone_hurts_nobody() {
    let mut bench = bench(vec![job("a", "* * * * *", "COMMAND", "", true)]);
    assert_eq!(commands(&bench.pass_seconds(30)).len(), 1);
    bench.request("DELETECRON", "d", "", r#"{"variables":["a"]}"#);
    assert!(bench.command_exits(0, 0, "").contains(&ended("a", 2, "commands processing has finished successfully")));
    bench.request("ADDCRON", "d", "", r#"{"content":[{"id":"a","timespec":"* * * * *","action":"INFORMATION"}]}"#);
    bench.request("UNLOADMODULE", "u", "", r#"{"content":{"name":"cron"}}"#);
    assert_eq!(bench.pass_seconds(300).iter().filter(|line| line.contains("information")).count(), 0);
    let package = format!(r#"{{"content":{{"name":"cron","package":"{}"}}}}"#, super::Module::Cron.package());
    bench.request("LOADMODULE", "u", "", &package);
    assert_eq!(bench.pass_seconds(60).iter().filter(|line| line.contains("information")).count(), 1);
}

#[test]
fn a_field_of_seconds_starts_a_job_at_each_of_them() {
    let mut bench = bench(vec![job("often", "* * * * * */10", "INFORMATION", "", true)]);
    let starts = |outputs: Vec<String>| outputs.iter().filter(|line| line.starts_with("row often 2 ")).count();
    assert_eq!(starts(bench.pass_seconds(9)), 0);
    let counts: Vec<usize> = (0..12).map(|_| starts(bench.pass_seconds(10))).collect();
    assert_eq!(counts, [1; 12], "from 16:06:50 on: the minute that has begun counts");
    bench.request("DELETECRON", "d", "", r#"{"variables":["often"]}"#);
    assert_eq!(starts(bench.pass_seconds(120)), 0);
}

#[test]
fn a_run_that_ends_with_an_error_is_a_warning_with_its_message() {
    let mut cron = super::Cron::default();
    cron.running.insert("t".to_owned(), "broken".to_owned());
    let ended = |token: &str, error: Option<&str>| {
        let (token, error) = (token.to_owned(), error.map(str::to_owned));
        Ended { token, owed_by: None, of_node: false, error }
    };
    let data = r#"{"message":"expected array, found 'HASH'"}"#;
    let line = cron.complaint(&ended("t", Some(data))).unwrap();
    assert_eq!(line.text, "job 'broken' failed (token t): expected array, found \\'HASH\\'");
    assert!(cron.complaint(&ended("t", None)).is_none());
    assert!(cron.complaint(&ended("another", Some(data))).is_none());
}

#[test]
fn the_clock_is_looked_at_when_something_is_due_twice_an_hour_and_when_it_was_set() {
    for (timespec, minutes) in [("* * * * *", 1), ("10 16 * * *", 4), ("40 16 * * *", 24), ("0 3 * * *", 24)] {
        let bench = bench(vec![job("a", timespec, "INFORMATION", "", true)]);
        assert_eq!(bench.core.modules.cron.minutes_to_next_look(&bench.core.context), minutes, "{timespec}");
    }
    let mut bench = bench(vec![job("a", "0 3 * * *", "INFORMATION", "", true)]);
    let now = bench.core.context.now.monotonic;
    assert!(bench.core.poll_timeout().is_none_or(|next| next > now));
    // This acts as if the wall clock had shown two hours more when the timer was set.
    bench.core.modules.cron.clock_offset += 7_200_000_000;
    bench.core.modules.cron.notice_clock(&mut bench.core.context);
    assert_eq!(bench.core.poll_timeout(), Some(now));
}

#[test]
fn without_a_job_nothing_wakes_and_an_added_one_runs_at_its_next_time() {
    let mut bench = bench(Vec::new());
    let starts =
        |outputs: Vec<String>| outputs.iter().filter(|line| line.contains(r#""action":"information""#)).count();
    bench.pass_seconds(7_200);
    let add = |timespec: &str| {
        format!(r#"{{"content":[{{"id":"{timespec}","timespec":"{timespec}","action":"INFORMATION"}}]}}"#)
    };
    bench.request("ADDCRON", "t", "", &add("0 18 * * *"));
    assert_eq!(starts(bench.pass_seconds(1_800)), 0, "18:00 had passed");
    bench.request("ADDCRON", "t", "", &add("0 19 * * *"));
    assert_eq!(starts(bench.pass_seconds(3_600)), 1);
}

#[test]
fn a_run_that_fails_at_once_is_not_forgotten_before_it_is_told() {
    let mut bench = bench(Vec::new());
    let token = Token::parse("t").unwrap();
    let Core { modules, context, .. } = &mut bench.core;
    let cron = &mut modules.cron;
    cron.running.insert("t".to_owned(), "bad".to_owned());
    context.fail(&token, "expected array, found 'HASH'");
    cron.job_started(context, &token, &Handled::accepted());
    assert!(cron.running.contains_key("t"));
    // Nothing is written, so nothing is waited for.
    cron.running.insert("silent".to_owned(), "silent".to_owned());
    cron.job_started(context, &Token::parse("silent").unwrap(), &Handled::accepted());
    assert!(!cron.running.contains_key("silent"));
}

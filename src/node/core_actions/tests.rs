use crate::model::connection::{ClientId, ParentKind};
use crate::model::history::SyncMark;
use crate::model::host_work::HostDone;

use crate::model::stored::Restored;
use crate::node::input::Input;
use crate::node::output::ReceiptId;
use crate::node::testing::{Bench, id, message, options, push_node, row};

fn bench() -> Bench {
    Bench::new(options(Vec::new()))
}

const UNKNOWN: &str = r#"{"error":"unknown_action","message":"action 'FOO' is unknown"}"#;

#[test]
fn a_start_writes_its_row_and_asks_for_the_links_of_the_register_file() {
    let now = crate::model::time::Now::default();
    struct Zero;
    impl crate::model::random::Random for Zero {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }
    let restored = Restored {
        marks: vec![(id(2), SyncMark { ctime: 4.5, newest: 4.5, last_id: 3, history: 0 })],
        ..Restored::default()
    };
    let core = crate::node::core::Core::new(options(vec![push_node(2)]), restored, Box::new(Zero), now);
    let mut bench = Bench { core, millis: 0, stores: true, begins_early: false, log: Vec::new() };
    assert_eq!(bench.drain(), [r#"row - 3 {"message":"gorgoned is starting..."}"#, "open 2 tcp://192.0.2.1:5002"]);
    let outputs = bench.give(Input::LinkUp(id(2)));
    assert_eq!(outputs, ["node 2: [PING] [] [] {}", r#"node 2: [GETLOG] [] [] {"ctime":4.5,"last_id":3}"#]);
}

#[test]
fn ping_is_answered_with_the_constatus_map() {
    let plain = r#"{"action":"ping","message":"ping ok","id":1,"hostname":"central","data":{}"#;
    let version = env!("CARGO_PKG_VERSION");
    let about = format!(r#"{plain},"about":{{"version":"{version}","running":0,"memory":4096}}}}"#);
    let mut bench = bench();
    assert_eq!(bench.request("PING", "t", "", "{}"), [format!("client 7: [PONG] [t] 0 {about}")]);
    // Only one answer a second says more.
    assert_eq!(bench.request("PING", "t", "1", "{}"), [format!("client 7: [PONG] [t] 0 {plain}}}")]);
    bench.millis += 1_000;
    assert_eq!(bench.request("PING", "t", "1", "{}"), [format!("client 7: [PONG] [t] 0 {about}")]);
}

#[test]
fn a_request_without_a_token_gets_one() {
    let outputs = bench().request("PING", "", "", "{}");
    assert!(outputs[0].starts_with(&format!("client 7: [PONG] [{}] 0", "01".repeat(64))), "{outputs:?}");
}

#[test]
fn a_ping_shows_what_has_changed_since_the_last() {
    let mut bench = Bench::linked(&[2]);
    assert!(bench.request("PING", "t", "", "{}")[0].contains(r#""2":{"type":"push_zmq","nodes":{},"last_ping_sent":1795450000,"last_ping_recv":1795450000,"next_ping":1795450060,"in_progress_ping":0,"ping_ok":1,"ping_failed":0,"ping_timeout":0}"#));
    bench.give(Input::LinkUp(id(2)));
    assert!(bench.request("PING", "t", "", "{}")[0].contains(r#""in_progress_ping":1"#));
}

#[test]
fn constatus_thumbprint_and_information_leave_a_row_too() {
    let mut bench = bench();
    let data = r#"{"action":"constatus","message":"ok","data":{}}"#;
    assert_eq!(
        bench.request("CONSTATUS", "t", "", "{}"),
        [format!("row t 2 {data}"), format!("client 7: [CONSTATUS] [t] 2 {data}")]
    );
    let data = r#"{"action":"getthumbprint","data":{"thumbprint":"thumb"},"message":"ok"}"#;
    assert_eq!(
        bench.request("GETTHUMBPRINT", "t", "", "{}"),
        [format!("row t 2 {data}"), format!("client 7: [GETTHUMBPRINT] [t] 2 {data}")]
    );
    let outputs = bench.request("INFORMATION", "t", "", "{}");
    let data = outputs[1].strip_prefix("client 7: [INFORMATION] [t] 2 ").unwrap();
    assert_eq!(outputs[0], format!("row t 2 {data}"));
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(
        data["data"]["counters"],
        serde_json::json!({
            "total": 3,
            "external": { "total": 3, "constatus": 1, "getthumbprint": 1, "information": 1 },
            "internal": { "total": 0 },
            "proxy": { "total": 0 },
        })
    );
    assert_eq!(data["data"]["modules"]["action"], "gorgone::modules::core::action::hooks");
    assert_eq!(data["data"]["api_endpoints"]["POST_/core/action/command"], "COMMAND");
    assert_eq!(data["data"]["api_endpoints"]["GET_/internal/constatus"], "CONSTATUS");
    assert_eq!(data["data"]["api_endpoints"].get("POST_/centreon/engine/command"), None);
}

#[test]
fn without_a_proxy_the_constatus_map_is_empty() {
    let mut options = options(Vec::new());
    options.modules.proxy = None;
    let mut bench = Bench::new(options);
    let data = r#"{"action":"constatus","message":"ok","data":{}}"#;
    assert_eq!(
        bench.request("CONSTATUS", "t", "", "{}"),
        [format!("row t 2 {data}"), format!("client 7: [CONSTATUS] [t] 2 {data}")]
    );
}

#[test]
fn putlog_is_answered_once_the_row_is_stored() {
    let mut bench = bench();
    let data = r#"{"code":"4","etime":12,"token":"x","instant":"1","data":{"a": [1,"é"]}}"#;
    assert_eq!(bench.request("PUTLOG", "t", "", data), [r#"row x 4 instant {"a": [1,"é"]} (receipt 0)"#]);
    assert_eq!(bench.request("PUTLOG", "u", "", "{}"), ["row - 0 null (receipt 1)"]);
    assert_eq!(
        bench.give(Input::Stored { receipt: ReceiptId(0), stored: true }),
        [r#"client 7: [ACK] [t] 0 {"message":"message inserted"}"#]
    );
    assert_eq!(
        bench.give(Input::Stored { receipt: ReceiptId(1), stored: false }),
        [r#"client 7: [ACK] [u] 1 {"message":"database issue"}"#]
    );
    assert_eq!(
        bench.request("PUTLOG", "t", "", "{"),
        [r#"client 7: [ACK] [t] 1 {"message":"request not well formatted"}"#]
    );
}

#[test]
fn getlog_asks_the_history_and_answers_with_its_rows() {
    let mut bench = bench();
    let filter = r#"{"id":"3","token":"x","ctime":1.5,"etime":"2","code":2,"limit":"9"}"#;
    assert_eq!(
        bench.request("GETLOG", "t", "", filter),
        ["query 0 up to 100000 id>=3 token=x ctime>=1.5 etime>=2 code=2 newest=9"]
    );
    assert_eq!(
        bench.answer(0, vec![row(4, "x", 2, "{\"a\":\"b\"}")], false),
        [
            r#"client 7: [ACK] [t] 0 {"action":"getlog","result":[{"id":4,"token":"x","code":2,"etime":5,"ctime":6.5,"instant":0,"data":"{\"a\":\"b\"}"}],"id":1}"#,
        ]
    );
    for (data, text) in [
        ("{}", "need at least one filter"),
        (r#"{"limit":5,"token":""}"#, "need at least one filter"),
        (r#"{"id":"x"}"#, "request not well formatted"),
        (r#"{"token":{}}"#, "request not well formatted"),
        ("[", "request not well formatted"),
    ] {
        assert_eq!(
            bench.request("GETLOG", "t", "", data),
            [format!("client 7: [ACK] [t] 1 {{\"message\":\"{text}\"}}")],
            "{data}"
        );
    }
    bench.request("GETLOG", "t", "", r#"{"code":2}"#);
    let query = crate::model::host_work::QueryId(1);
    let outputs = bench.give(Input::Host(HostDone::QueryAnswer { query, result: Err("disk".to_owned()) }));
    assert_eq!(outputs, [r#"client 7: [ACK] [t] 1 {"message":"database issue"}"#]);
}

fn ask_for_page(bench: &mut Bench, query: u64) {
    let outputs = bench.request("GETLOG", "t", "", r#"{"ctime":9.5,"last_id":7}"#);
    assert_eq!(outputs, [format!("query {query} up to 1000 id>=6")], "the row of the mark itself comes first");
}

fn page(rest: &str) -> [String; 1] {
    [format!(r#"client 7: [ACK] [t] 0 {{"action":"getlog","result":[],"id":1,{rest}}}"#)]
}

#[test]
fn getlog_goes_by_pages_for_a_peer_that_names_the_last_id() {
    let mut bench = bench();
    ask_for_page(&mut bench, 0);
    let outputs = bench.answer(0, vec![row(7, "w", 2, "{}"), row(8, "x", 2, "{}"), row(12, "y", 2, "{}")], true);
    assert!(outputs[0].contains(r#""result":[{"id":8,"#), "{outputs:?}");
    assert!(outputs[0].ends_with(r#""id":1,"last_id":12,"more":true}"#), "{outputs:?}");
    ask_for_page(&mut bench, 1);
    assert_eq!(bench.answer(1, vec![row(7, "w", 2, "{}")], false), page(r#""last_id":7,"more":false"#));
    // The row of the mark fills a page.
    ask_for_page(&mut bench, 2);
    assert_eq!(bench.answer(2, vec![row(7, "w", 2, "{}")], true), ["query 3 up to 1000 id>=7"]);
    assert!(bench.answer(3, vec![row(8, "x", 2, "{}")], false)[0].ends_with(r#""last_id":8,"more":false}"#));
}

#[test]
fn getlog_by_pages_tells_a_peer_that_its_mark_belongs_to_another_database() {
    let mut bench = bench();
    // It has rows up to 5 only.
    ask_for_page(&mut bench, 0);
    assert_eq!(bench.answer(0, vec![], false), ["query 1 up to 1000 id>=0 newest=1"]);
    assert_eq!(bench.answer(1, vec![row(5, "y", 2, "{}")], false), page(r#""last_id":5,"more":false"#));
    // A row 7 that is younger than the mark.
    ask_for_page(&mut bench, 2);
    let younger = crate::model::history::HistoryRow { ctime: 9.6, ..row(7, "x", 2, "{}") };
    assert_eq!(bench.answer(2, vec![younger, row(8, "y", 2, "{}")], false), page(r#""last_id":0,"more":false"#));
    // The marked row was cleaned away, and so was everything after it.
    ask_for_page(&mut bench, 3);
    bench.answer(3, vec![], false);
    assert_eq!(bench.answer(4, vec![row(9, "y", 2, "{}")], false), page(r#""last_id":7,"more":false"#));
}

#[test]
fn so_many_questions_may_be_open() {
    let mut bench = bench();
    for _ in 0..1_000 {
        assert!(bench.request("GETLOG", "t", "", r#"{"code":2}"#)[0].starts_with("query"));
    }
    let outputs = bench.request("GETLOG", "t", "", r#"{"code":2}"#);
    assert_eq!(outputs, [r#"client 7: [ACK] [t] 1 {"message":"busy: too many questions are open, try again"}"#]);
}

#[test]
fn setcoreid_counts_only_where_the_configuration_leaves_it_open() {
    let reply =
        |code, text: &str| format!("client 7: [ACK] [t] {code} {{\"action\":\"setcoreid\",\"message\":\"{text}\"}}");
    assert_eq!(
        bench().request("SETCOREID", "t", "", r#"{"id":9}"#),
        [reply(2, "setcoreid unchanged, use config value")]
    );
    let mut bench = Bench::new(super::CoreOptions { id: None, ..options(Vec::new()) });
    assert!(bench.request("PING", "t", "", "{}")[0].contains(r#""id":null"#));
    assert_eq!(bench.request("SETCOREID", "t", "", "{}"), [reply(1, "please set id for setcoreid")]);
    assert_eq!(bench.request("SETCOREID", "t", "", r#"{"id":"9"}"#), [reply(2, "setcoreid changed")]);
    assert!(bench.request("PING", "t", "9", "{}")[0].contains(r#""id":9"#));
}

#[test]
fn the_log_level_changes_and_goes_back() {
    let mut bench = bench();
    let accepted = "client 7: [ACK] [t] 0 null";
    assert_eq!(
        bench.request("BCASTLOGGER", "t", "", r#"{"content":{"severity":"debug"}}"#),
        ["level Some(Debug)", accepted]
    );
    let now = bench.core.context.now;
    let message = crate::node::testing::message("PING", "t", Some(""), "{}");
    bench.core.handle_input(Input::ClientMessage { client: ClientId::Zmq(7), message }, now);
    let first = crate::node::testing::describe(&bench.core.poll_output().unwrap());
    assert_eq!(first, "log Message received external - [PING] [t] [] {}");
    bench.drain();
    assert_eq!(
        bench.request("BCASTLOGGER", "t", "", r#"{"content":{"severity":"default"}}"#),
        ["level None", accepted]
    );
    assert_eq!(
        bench.request("BCASTLOGGER", "t", "", r#"{"content":{"severity":"loud"}}"#),
        [r#"client 7: [ACK] [t] 1 {"message":"unknown severity: use debug, info, warning, error or default"}"#,]
    );
}

#[test]
fn a_module_can_be_unloaded_and_loaded_again() {
    let mut bench = bench();
    let reply = |kind: &str, action: &str, code, text: &str| {
        [format!("client 7: [{kind}] [t] {code} {{\"action\":\"{action}\",\"message\":\"{text}\"}}")]
    };
    let module = r#"{"content":{"name":"action","package":"gorgone::modules::core::action::hooks"}}"#;
    assert_eq!(
        bench.request("UNLOADMODULE", "t", "", r#"{"content":{"name":"action"}}"#),
        reply("UNLOADMODULE", "unloadmodule", 0, "module 'action' unload in progress")
    );
    assert!(bench.request("COMMAND", "t", "", "{}")[0].contains("unknown_action"));
    assert_eq!(
        bench.request("LOADMODULE", "t", "", module),
        reply("LOADMODULE", "loadmodule", 0, "module 'action' is loaded")
    );
    assert!(bench.request("COMMAND", "t", "", "{}")[0].contains("expected array"));
    assert_eq!(
        bench.request("LOADMODULE", "t", "", module),
        reply("LOADMODULE", "loadmodule", 1, "cannot load module 'action'")
    );
    assert_eq!(
        bench.request("UNLOADMODULE", "t", "", r#"{"content":{"name":"x"}}"#),
        reply("UNLOADMODULE", "unloadmodule", 1, "cannot find unload module")
    );
    assert_eq!(
        bench.request("KILL", "t", "", r#"{"content":{"name":"x"}}"#),
        reply("ACK", "kill", 1, "cannot find module")
    );
}

#[test]
fn an_answer_that_nobody_waits_for_ends_no_token_and_is_not_answered() {
    let mut bench = bench();
    let answer = r#"{"code":0,"data":{"received":4}}"#;
    for target in ["", "2", "99"] {
        let outputs = bench.request("ACK", "t", target, answer);
        assert!(outputs.iter().all(|line| line.starts_with("log ")), "{outputs:?}");
    }
    let message = message("ACK", "t", None, answer);
    let outputs = bench.give(Input::ParentMessage { kind: ParentKind::Pull, message });
    assert_eq!(outputs, Vec::<String>::new());
}

#[test]
fn what_is_unknown_or_internal_is_refused_with_a_row() {
    let mut bench = bench();
    assert_eq!(
        bench.request("FOO", "t", "", "{}"),
        [format!("row t 1 {UNKNOWN}"), format!("client 7: [ACK] [t] 1 {UNKNOWN}")]
    );
    for word in ["PROXYREADY", "PROXYADDNODE", "PONGRESET", "SETMODULEKEY", "BCASTCOREKEY"] {
        assert!(bench.request(word, "t", "", "{}")[1].contains("unknown_action"), "{word}");
    }
    assert!(bench.request("PROXYADDNODE", "t", "2", "{}")[1].contains("unknown_action"));
    let malformed = Input::ClientMalformed { client: ClientId::Zmq(7), token: None, reason: "no brackets".to_owned() };
    assert_eq!(bench.give(malformed), [r#"client 7: [ACK] [] 1 {"message":"request not well formatted"}"#]);
}

#[test]
fn synclogs_starts_a_sync_of_every_linked_node() {
    let mut bench = Bench::linked(&[2, 3]);
    bench.give(Input::LinkDown { node: id(3), reason: "reset".to_owned() });
    assert_eq!(
        bench.request("SYNCLOGS", "t", "", r#"{"code":0,"data":{"id":5}}"#),
        [
            r#"node 2: [GETLOG] [] [] {"ctime":0,"last_id":0}"#,
            r#"client 7: [ACK] [t] 0 {"action":"synclog","message":"synclog launched"}"#,
        ]
    );
    assert_eq!(
        bench.request("SYNCLOGS", "t", "", "{}"),
        [r#"client 7: [ACK] [t] 1 {"action":"synclog","message":"please set id for synclog"}"#]
    );
}

#[test]
fn a_listener_runs_its_action_for_each_row_and_polls_the_target_until_it_ends() {
    let mut bench = Bench::linked(&[2]);
    let data = r#"[{"event":"PUTLOG","target":2,"token":"x","log_pace":"20","timeout":50}]"#;
    let outputs = bench.request("ADDLISTENER", "t", "", data);
    assert!(outputs[0].starts_with(r#"client 7: [ACK] [t] 2 {"action":"addlistener","data":[{"#), "{outputs:?}");
    let question = r#"node 2: [GETLOG] [] [] {"ctime":0,"last_id":0}"#;
    assert_eq!(bench.pass_seconds(0), [question]);
    let outputs = bench.request("PUTLOG", "u", "", r#"{"code":4,"token":"x","data":{"a":1}}"#);
    assert_eq!(outputs, [r#"row x 4 {"a":1} (receipt 0)"#, r#"row - 4 {"a":1}"#]);
    let outputs = bench.pass_seconds(55);
    let timeout = r#"{"message":"listener token x timeout reached"}"#;
    assert_eq!(outputs[outputs.len() - 2..], [format!("row x 1 {timeout}"), format!("row - 1 {timeout}")]);
    assert_eq!(bench.request("PUTLOG", "u", "", r#"{"code":4,"token":"x"}"#).len(), 1);
    assert_eq!(
        bench.request("ADDLISTENER", "t", "", r#"[{"event":"FOO","token":"x"}]"#),
        [r#"client 7: [ACK] [t] 1 {"action":"addlistener","message":"action 'FOO' is unknown"}"#]
    );
    assert_eq!(
        bench.request("ADDLISTENER", "t", "", "{}"),
        [r#"client 7: [ACK] [t] 1 {"message":"request not well formatted"}"#]
    );
}

#[test]
fn a_listener_that_triggers_rows_of_its_own_token_does_not_run_for_ever() {
    let mut bench = bench();
    bench.request("ADDLISTENER", "t", "", r#"[{"event":"COMMAND","token":"x"},{"event":"INFORMATION","token":"x"}]"#);
    let outputs = bench.request("PUTLOG", "u", "", r#"{"code":4,"token":"x","data":{}}"#);
    assert_eq!(outputs[1], r#"row x 1 {"message":"expected array, found ''"}"#);
    assert!(outputs.len() < 8, "{outputs:?}");
}

#[test]
fn the_database_is_cleaned_every_hour_in_steps() {
    let mut options = options(Vec::new());
    options.modules.proxy = None;
    let mut bench = Bench::new(options);
    let seconds = crate::node::testing::START_SECONDS + 3_600;
    let purge = |later: i64| {
        format!("purge {} {} {}", seconds + later - 3_600, seconds + later - 604_800, seconds + later - 86_400)
    };
    assert_eq!(bench.pass_seconds(3_600), [purge(0)]);
    bench.give(crate::node::input::Input::PurgeLeft);
    assert_eq!(bench.pass_seconds(1), [purge(0)]);
    assert_eq!(bench.pass_seconds(3_500), Vec::<String>::new());
}

#[test]
fn an_idle_daemon_has_stopped_at_once() {
    assert_eq!(bench().give(Input::Stop), ["stopped"]);
}

/// Sends every action with data of every shape: each request gets exactly one answer, at once or when the database has
/// answered.
#[test]
fn garbage_gets_an_answer_and_breaks_nothing() {
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let long = format!(r#"{{"token":"{}","content":[{{"command":"x"}}]}}"#, "x".repeat(100_000));
    let shapes = [
        "",
        " ",
        "{",
        "null",
        "0",
        "1e999",
        "\"x\"",
        "[]",
        "[null]",
        "[[]]",
        "{}",
        "{\"id\":{}}",
        "{\"nodes\":[null,{},{\"id\":-1}]}",
        "{\"nodes\":{\"id\":5}}",
        "{\"content\":5}",
        "{\"content\":[{\"command\":{}}]}",
        "{\"data\":{\"id\":null}}",
        "{\"code\":{},\"etime\":[],\"token\":{},\"instant\":{},\"data\":null}",
        "{\"code\":1e400}",
        "{\"last_id\":[]}",
        "{\"last_id\":-9223372036854775808,\"ctime\":-1e308}",
        "{\"id\":1e308,\"limit\":-5}",
        "{\"token\":\"\\u0000€\"}",
        "{\"a\":1,\"a\":2}",
        &deep,
        &long,
    ];
    let words = "ACK ACTIONENGINE ADDCRON ADDLISTENER BCASTLOGGER CENTREONNODESSYNC COMMAND CONSTATUS DELETECRON \
        ENGINECOMMAND GETCRON GETLOG GETTHUMBPRINT INFORMATION KILL LOADMODULE PING PONG PONGRESET PROCESSCOPY PROXYADDNODE \
        PROXYREADY PUTLOG REGISTERNODES REMOTECOPY SETCOREID SETLOGS SYNCLOGS UNLOADMODULE UNREGISTERNODES UPDATECRON é";
    let mut bench = Bench::linked(&[2]);
    for word in words.split_whitespace() {
        for data in shapes {
            for target in ["", "1", "2", "9", "../x", "€"] {
                let outputs = bench.request(word, "t", target, data);
                let replies = outputs.iter().filter(|line| line.starts_with("client 7: [")).count();
                // A chunk that is passed on to a node is answered after the node has answered.
                let goes_on = |line: &str| line.starts_with("node 2: [PROCESSCOPY]");
                let waits = |line: &String| line.contains("(receipt ") || line.starts_with("query ") || goes_on(line);
                let later = outputs.iter().any(waits);
                // An ACK is an answer itself.
                let is_answered = !later && word != "ACK";
                assert_eq!(replies, usize::from(is_answered), "{word} {target} {data:.80} {outputs:?}");
                bench.give(crate::node::testing::node_message(2, word, "t", data));
            }
        }
    }
}

use serde_json::{Value, json};

use crate::config::modules::statistics::{ArchiveSettings, StatisticsSettings};
use crate::model::action::Module;
use crate::model::api::Method;
use crate::model::host_work::HostDone;
use crate::model::statistics::{BrokerRow, EngineRow, StatisticsDone, StatisticsTables};
use crate::model::work::{WorkId, WorkOutcome};
use crate::node::input::Input;
use crate::node::testing::{Bench, database, id, node_message, options, push_node};

fn settings() -> StatisticsSettings {
    let archive = ArchiveSettings { interval_s: 300, rows: 10, heartbeat_s: 3_000 };
    let (broker_dir, engine_dir) = ("/broker/".into(), "/engine/".into());
    StatisticsSettings {
        broker_dir,
        engine_dir,
        archive,
        rrdtool: "rrdtool".into(),
        database: database(),
        realtime: None,
    }
}

fn bench(nodes: u64) -> Bench {
    let nodes: Vec<_> = (2..2 + nodes).map(push_node).collect();
    let mut options = options(nodes.clone());
    options.modules.statistics = Some(settings());
    options.modules.loaded.insert("statistics".to_owned(), Module::Statistics.package().to_owned());
    let mut bench = Bench::new(options);
    for node in nodes {
        bench.give(Input::LinkUp(node.id));
    }
    bench
}

fn engine(node: u64) -> EngineRow {
    let text = |text: &str| Some(text.to_owned());
    let (cfg_dir, cfg_file) = (text("/etc/centreon-engine/"), text("centengine.cfg"));
    EngineRow { node: node.to_string(), program: text("/usr/sbin/centenginestats"), cfg_dir, cfg_file }
}

fn broker(node: u64, name: &str) -> BrokerRow {
    BrokerRow {
        node: node.to_string(),
        is_localhost: node == 1,
        cache_directory: Some("/var/lib/centreon-broker/".to_owned()),
        config_name: Some(name.to_owned()),
    }
}

fn done(bench: &mut Bench, number: u64, done: StatisticsDone) -> Vec<String> {
    let outcome = WorkOutcome::Statistics(done);
    bench.give(Input::Host(HostDone::WorkDone { id: WorkId(number), outcome }))
}

fn tables(bench: &mut Bench, number: u64, tables: StatisticsTables) -> Vec<String> {
    done(bench, number, StatisticsDone::Tables(Ok(tables)))
}

/// Gives the rows of one of our commands, from a node.
fn answers(bench: &mut Bench, node: u64, token: &str, rows: &[(i64, Value)]) -> Vec<String> {
    let rows: Vec<Value> = rows
        .iter()
        .enumerate()
        .map(|(index, (code, data))| {
            json!({
                "id": index + 1, "token": token, "code": code, "etime": 1, "ctime": index + 1, "instant": 1,
                "data": data.to_string(),
            })
        })
        .collect();
    let data = json!({ "code": 0, "data": { "action": "getlog", "result": rows, "id": node } });
    bench.give(node_message(node, "ACK", "", &data.to_string()))
}

fn printed(text: &str, status: i64, metadata: &Value) -> (i64, Value) {
    (100, json!({ "metadata": metadata, "result": { "exit_code": status, "stdout": text } }))
}

fn finished() -> (i64, Value) {
    (2, json!({ "message": "commands processing has finished successfully" }))
}

/// Returns the lines that end a token.
fn ends<'a>(outputs: &'a [String], token: &str) -> Vec<&'a String> {
    outputs
        .iter()
        .filter(|line| line.starts_with(&format!("row {token} 1 ")) || line.starts_with(&format!("row {token} 2 ")))
        .collect()
}

#[test]
fn engines_are_asked_and_what_they_say_is_written_before_the_token_ends() {
    let mut bench = bench(2);
    let outputs = bench.request("ENGINESTATS", "t", "", r#"{"content":{"timeout":10}}"#);
    assert!(outputs.iter().any(|line| line.contains("ReadTables")), "{outputs:?}");
    let no_engine = EngineRow { cfg_dir: None, cfg_file: None, ..engine(3) };
    let outputs = tables(&mut bench, 0, StatisticsTables { engines: vec![engine(2), no_engine], ..Default::default() });
    let command = "/usr/sbin/centenginestats -c /etc/centreon-engine/centengine.cfg";
    assert!(
        outputs.iter().any(|line| line.starts_with("node 2: [COMMAND] [t-2] []") && line.contains(command)),
        "{outputs:?}"
    );
    assert!(!outputs.iter().any(|line| line.contains("[t-3]")), "{outputs:?}");
    let metadata = json!({ "poller_id": 2, "source": "enginestats" });
    let outputs = answers(&mut bench, 2, "t-2", &[printed("Hosts", 0, &metadata), finished()]);
    assert!(
        outputs
            .iter()
            .any(|line| line.contains("Write([Collected { node: NodeId(2), broker: None, text: \"Hosts\" }])")),
        "{outputs:?}"
    );
    assert!(ends(&outputs, "t").is_empty(), "{outputs:?}");
    let outputs = done(&mut bench, 1, StatisticsDone::Written(vec![vec!["the file x is not written".to_owned()]]));
    let end = ends(&outputs, "t");
    assert!(
        end.len() == 1 && end[0].contains("action enginestats finished") && end[0].contains("\"nodes\":2"),
        "{outputs:?}"
    );
    assert!(end[0].contains("node '3': it has") && end[0].contains("node '2': the file x"), "{outputs:?}");
}

#[test]
fn brokers_are_asked_only_where_that_is_switched_on_and_not_those_of_the_central() {
    for (value, is_on) in [(None, false), (Some("0"), false), (Some("1"), true)] {
        let mut bench = bench(1);
        bench.request("BROKERSTATS", "t", "", "{}");
        let brokers = vec![broker(1, "central"), broker(2, "one"), broker(2, "two")];
        let enable_broker_stats = value.map(str::to_owned);
        let outputs = tables(&mut bench, 0, StatisticsTables { enable_broker_stats, brokers, ..Default::default() });
        let sent: Vec<_> = outputs.iter().filter(|line| line.contains("[COMMAND]")).collect();
        if !is_on {
            assert!(sent.is_empty() && ends(&outputs, "t")[0].contains("no collection configured"), "{outputs:?}");
            continue;
        }
        assert_eq!(sent.len(), 1, "{outputs:?}");
        for name in ["one", "two"] {
            assert!(sent[0].contains(&format!("cat /var/lib/centreon-broker/{name}-stats.json")), "{sent:?}");
        }
        let metadata = |name: &str| json!({ "poller_id": 2, "config_name": name, "source": "brokerstats" });
        let rows = [printed("{}", 0, &metadata("one")), printed("no such file", 1, &metadata("two")), finished()];
        let outputs = answers(&mut bench, 2, "t-2", &rows);
        assert!(outputs.iter().any(|line| line.contains("broker: Some(\"one\")")), "{outputs:?}");
        let outputs = done(&mut bench, 1, StatisticsDone::Written(vec![Vec::new()]));
        assert!(ends(&outputs, "t")[0].contains("ended with status 1: no such file"), "{outputs:?}");
    }
}

#[test]
fn one_node_may_be_asked_over_the_api_and_a_node_that_is_silent_ends_in_time() {
    let mut bench = bench(2);
    let lines = bench.call(1, Method::Get, "centreon/statistics/engine/3", "");
    assert!(lines.iter().any(|line| line.contains("answer 1 200") && line.contains("token")), "{lines:?}");
    let outputs = tables(&mut bench, 0, StatisticsTables { engines: vec![engine(2), engine(3)], ..Default::default() });
    let sent: Vec<_> = outputs.iter().filter(|line| line.contains("[COMMAND]")).collect();
    assert!(sent.len() == 1 && sent[0].starts_with("node 3:"), "{outputs:?}");
    let outputs: Vec<String> = bench.pass_seconds(700);
    assert!(
        outputs.iter().any(|line| line.contains("action enginestats finished") && line.contains("timeout reached")),
        "{outputs:?}"
    );
    let _ = id(3);
}

#[test]
fn a_database_that_cannot_be_read_ends_the_token_and_paths_that_a_shell_would_read_are_refused() {
    let mut bench = bench(1);
    bench.request("ENGINESTATS", "t", "", "{}");
    let outputs = done(&mut bench, 0, StatisticsDone::Tables(Err("it does not run".to_owned())));
    assert!(ends(&outputs, "t")[0].contains("cannot find configuration: it does not run"), "{outputs:?}");
    bench.request("ENGINESTATS", "u", "", "{}");
    let evil = EngineRow { cfg_file: Some("x; reboot".to_owned()), ..engine(2) };
    let outputs = tables(&mut bench, 1, StatisticsTables { engines: vec![evil], ..Default::default() });
    assert!(ends(&outputs, "u")[0].contains("would not take as one word"), "{outputs:?}");
    let outputs = bench.request("ENGINESTATS", "v", "", r#"{"variables":["x"]}"#);
    assert!(ends(&outputs, "v")[0].contains("a node id is a whole number"), "{outputs:?}");
}

//! The history on a real MariaDB (`gorgone_db_type: mysql`).

use std::process::Command;
use std::time::Instant;

use serde_json::json;

use crate::mariadb::{Server, is_installed};
use crate::platform::api::{data, number};
use crate::platform::client::Client;
use crate::platform::{Daemon, Plan, Platform, program, seconds, until};

#[test]
fn rows_and_commands_of_a_central_are_kept_by_mariadb_and_are_there_after_restarts_of_both() {
    if !is_installed() {
        return;
    }
    let platform = Platform::new();
    let mut server = Server::start();
    let (lines, tokens) = {
        let history = server.history();
        (history.lines(), format!("SELECT COUNT(*) FROM {}.stheno_open_tokens", history.name))
    };
    let poller = Daemon::start(platform.plan("poller", 2));
    let plan = platform.plan("central", 1).with_api().with_node(2, poller.plan.port).with_server(&lines);
    let mut central = Daemon::start(plan);
    let mut client = central.client();
    let put =
        json!({ "code": 100, "etime": 1_770_000_000, "instant": 0, "token": "kept", "data": {"text": "it's \\ é 😀"} });
    client.request("PUTLOG", "put", "", &put);
    let answer = client.request("GETLOG", "get", "", &json!({ "token": "kept" }));
    let rows = answer.json["data"]["result"].as_array().unwrap();
    assert_eq!(data(&rows[0])["text"], "it's \\ é 😀");
    central.api().wait_for_pong(2, seconds(20));
    assert_eq!(central.api().output_of(2, "echo by mariadb", seconds(20)), "by mariadb");

    server.end("TERM");
    server.start_again();
    assert_eq!(central.api().output_of(2, "echo after it", seconds(30)), "after it");

    central.kill();
    central.start_again();
    central.api().wait_for_pong(2, seconds(20));
    assert_eq!(central.api().rows(0, "kept").len(), 1);
    assert_eq!(central.api().output_of(2, "echo again", seconds(20)), "again");
    until("all tokens have ended", seconds(20), || (server.run(&tokens).trim() == "0").then_some(()));
}

/// A central without nodes whose history is on a server.
fn alone(platform: &Platform, name: &str, lines: &[String]) -> Plan {
    platform.plan(name, 1).with_api().with_server(lines)
}

#[track_caller]
fn refusal(plan: Plan) -> String {
    let (status, said) = Daemon::refused(plan);
    assert!(!status.success(), "{said}");
    said
}

fn put(client: &mut Client, token: &str, text: &str) -> i64 {
    let row = json!({ "code": 100, "etime": 1_770_000_000, "instant": 0, "token": token, "data": { "text": text } });
    number(&client.request("PUTLOG", &format!("put-{token}"), "", &row).json["code"])
}

#[track_caller]
fn texts(client: &mut Client, token: &str) -> Vec<String> {
    let answer = client.request("GETLOG", &format!("get-{token}"), "", &json!({ "token": token }));
    let rows = answer.json["data"]["result"].as_array().cloned().unwrap_or_default();
    rows.iter().map(|row| data(row)["text"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_database_that_is_not_ours_or_that_another_daemon_writes_to_is_refused_with_a_sentence() {
    if !is_installed() {
        return;
    }
    let (platform, server) = (Platform::new(), Server::shared());
    let foreign = server.history();
    foreign.run("CREATE TABLE gorgone_history (id INT)");
    let said = refusal(alone(&platform, "foreign", &foreign.lines()));
    assert!(said.contains("a table 'gorgone_history' of another program"), "{said}");

    let poor = server.history();
    poor.run(&format!("REVOKE CREATE ON {0}.* FROM '{0}'@'%'; FLUSH PRIVILEGES", poor.name));
    let said = refusal(alone(&platform, "poor", &poor.lines()));
    assert!(said.contains("GRANT ALL ON") && said.contains("CREATE command denied"), "{said}");

    let ours = server.history();
    let mut first = Daemon::start(alone(&platform, "first", &ours.lines()));
    let said = refusal(alone(&platform, "second", &ours.lines()));
    assert!(said.contains("another daemon, 'first:") && said.contains("writes to it"), "{said}");
    first.stop();
    ours.run("UPDATE stheno_store SET version = 7");
    let said = refusal(alone(&platform, "third", &ours.lines()));
    assert!(said.contains("its schema has version 7, made by a later version"), "{said}");
    // An earlier version had fewer columns.
    ours.run("UPDATE stheno_store SET version = 0; ALTER TABLE stheno_store DROP COLUMN address");
    Daemon::start(alone(&platform, "fourth", &ours.lines()));
    assert_eq!(ours.run("SELECT version FROM stheno_store").trim(), "1");

    let wrong = ours.lines().into_iter().map(|line| line.replace("pass\"", "other\"")).collect::<Vec<_>>();
    let said = refusal(alone(&platform, "wrong", &wrong));
    assert!(said.contains("correct gorgone_db_user and gorgone_db_password"), "{said}");
}

#[test]
fn texts_that_are_larger_than_the_server_takes_at_once_are_kept_whole() {
    if !is_installed() {
        return;
    }
    let (platform, server) = (Platform::new(), Server::start());
    server.run("SET GLOBAL max_allowed_packet = 1048576");
    let history = server.history();
    let central = Daemon::start(alone(&platform, "central", &history.lines()));
    let mut client = central.client();
    client.set_timeout(seconds(60));
    let text = "it's 'é'\\ ".repeat(500_000);
    assert_eq!(put(&mut client, "large", &text), 0);
    let kept = texts(&mut client, "large");
    assert!(
        kept.len() == 1 && kept[0] == text,
        "{} rows, {} bytes",
        kept.len(),
        kept.iter().map(String::len).sum::<usize>()
    );
    assert!(number(&json!(history.run("SELECT COUNT(*) FROM stheno_pieces").trim().parse::<i64>().unwrap())) >= 20);
}

#[test]
fn a_server_that_hangs_or_takes_no_changes_costs_refusals_and_no_row_that_was_acknowledged() {
    if !is_installed() {
        return;
    }
    let (platform, server) = (Platform::new(), Server::start());
    let history = server.history();
    let central = Daemon::start(alone(&platform, "central", &history.lines()));
    let (mut client, mut other) = (central.client(), central.client());
    client.set_timeout(seconds(60));
    let mut kept = Vec::new();
    let mut put_some = |client: &mut Client, name: &str| {
        let is_kept = put(client, name, name) == 0;
        if is_kept {
            kept.push(name.to_owned());
        }
        is_kept
    };
    assert!(put_some(&mut client, "before"));
    server.freeze();
    let begin = Instant::now();
    let row = json!({ "code": 100, "etime": 1, "instant": 0, "token": "hangs", "data": {} });
    client.send("PUTLOG", "hangs", "", &row).unwrap();
    let pong = other.request("PING", "ping", "", &json!({}));
    assert!(begin.elapsed() < seconds(2), "a PING waits for nothing: {:?} {:?}", begin.elapsed(), pong.json);
    let refused = client.receive().unwrap();
    assert_ne!(number(&refused.json["code"]), 0, "{:?}", refused.json);
    assert!(begin.elapsed() < seconds(40), "{:?}", begin.elapsed());
    assert!(!put_some(&mut client, "refused-at-once"));
    central.wait_for_log("does not answer in time", seconds(5));
    let ready = central.api().get("/readyz");
    assert_eq!(ready.status, 503, "{}", String::from_utf8_lossy(&ready.body));
    server.thaw();
    central.wait_for_log("the database takes changes again", seconds(30));
    assert!(put_some(&mut client, "thawed"));

    server.run("SET GLOBAL read_only = 1");
    assert!(!put_some(&mut client, "read-only"));
    central.wait_for_log("SET GLOBAL read_only = 0", seconds(5));
    server.run("SET GLOBAL read_only = 0");
    until("the server takes rows", seconds(30), || put_some(&mut client, "written-again").then_some(()));
    for name in kept {
        assert_eq!(texts(&mut client, &name), [name.as_str()], "what was acknowledged is there once");
    }
}

/// Runs `stheno migrate-store` and returns what it says.
fn migrate(plan: &Plan, arguments: &[&str]) -> Result<String, String> {
    plan.write();
    let output = Command::new(program())
        .arg("migrate-store")
        .args(arguments)
        .arg("--config")
        .arg(plan.config_file())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn a_history_moves_from_a_file_to_mariadb_and_back_also_when_the_move_is_cut_off() {
    if !is_installed() {
        return;
    }
    let (platform, history) = (Platform::new(), Server::shared().history());
    let in_file = platform.plan("central", 1).with_api().with_dial_in_node(7, "pull");
    let on_server = in_file.clone().with_server(&history.lines());
    let large = "é'\\".repeat(400_000);
    let mut central = Daemon::start(in_file.clone());
    let mut client = central.client();
    for number in 0..2_500 {
        put(&mut client, &format!("row-{number}"), "small");
    }
    assert_eq!(put(&mut client, "large", &large), 0);
    central.stop();

    let file = in_file.database.display().to_string();
    assert!(migrate(&in_file, &[&file]).unwrap_err().contains("names no database server"));
    let said = migrate(&on_server, &[&file]).unwrap();
    assert!(said.contains("both have the same counts"), "{said}");
    assert!(migrate(&on_server, &[&file]).unwrap_err().contains("has a history already"));
    // As after a kill in the middle.
    history.run(
        "DELETE FROM gorgone_history WHERE id > 1000; UPDATE stheno_store SET cluster = '(unfinished migrate-store)', \
         epoch = 1",
    );
    let said = refusal(on_server.clone());
    assert!(said.contains("run 'stheno migrate-store' again"), "{said}");
    migrate(&on_server, &[&file]).unwrap();

    let mut central = Daemon::start(on_server.clone());
    let mut client = central.client();
    assert_eq!(texts(&mut client, "row-2499"), ["small"]);
    assert!(texts(&mut client, "large") == [large.as_str()]);
    assert_eq!(put(&mut client, "on-the-server", "new"), 0);
    assert!(migrate(&on_server, &["--back", "/nowhere"]).unwrap_err().contains("stop it first"));
    central.stop();

    let again = platform.path("again.sdb").display().to_string();
    migrate(&on_server, &["--back", &again]).unwrap();
    let central = Daemon::start(Plan { database: platform.path("again.sdb"), ..in_file });
    let mut client = central.client();
    assert_eq!(texts(&mut client, "on-the-server"), ["new"]);
    assert_eq!(texts(&mut client, "row-0"), ["small"]);
    assert!(texts(&mut client, "large") == [large.as_str()]);
}

//! The history on disk: acknowledged rows survive everything (docs/protocol.md section 4).

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::platform::client::{Client, SystemRandom};
use crate::platform::{Daemon, Plan, Platform, STHENO, seconds, until};

/// Keeps 50 PUTLOGs open until the connection breaks, and records every one that was acknowledged.
fn put_until_cut_off(mut client: Client, round: u64, acknowledged: &Mutex<BTreeSet<u64>>, count: &AtomicU64) {
    let put = |client: &mut Client, number: u64| {
        let row =
            json!({ "code": 4, "etime": 1, "token": "stream", "instant": 0, "data": { "round": round, "n": number } });
        client.send("PUTLOG", &number.to_string(), "", &row)
    };
    for number in 0..50 {
        put(&mut client, number).unwrap();
    }
    let mut next = 50;
    while let Ok(reply) = client.receive() {
        assert_eq!(reply.json["data"]["message"], json!("message inserted"));
        acknowledged.lock().unwrap().insert(reply.token.parse().unwrap());
        count.fetch_add(1, Ordering::Relaxed);
        if put(&mut client, next).is_err() {
            break;
        }
        next += 1;
    }
}

#[test]
fn a_kill_in_the_middle_of_a_stream_loses_no_acknowledged_row() {
    let platform = Platform::new();
    kill_in_streams(platform.plan("central", 1), 8);
}

#[test]
fn a_kill_loses_no_acknowledged_row_where_commits_are_batched() {
    let platform = Platform::new();
    let plan = platform.plan("poller", 1).with_core("gorgone_db_synchronous: batched").with_core("db_batch_ms: 40");
    kill_in_streams(Plan { has_proxy: false, ..plan }, 4);
}

fn kill_in_streams(plan: Plan, rounds: u64) {
    use rsa::rand_core::TryRng as _;
    let mut central = Daemon::start(plan);
    for round in 0..rounds {
        let client = central.client();
        let (acknowledged, count) = (Arc::new(Mutex::new(BTreeSet::new())), Arc::new(AtomicU64::new(0)));
        let stream = {
            let (acknowledged, count) = (Arc::clone(&acknowledged), Arc::clone(&count));
            thread::spawn(move || put_until_cut_off(client, round, &acknowledged, &count))
        };
        until("the stream flows", seconds(10), || (count.load(Ordering::Relaxed) > 100).then_some(()));
        // The moment of the kill is random on purpose.
        let moment = SystemRandom.try_next_u32().unwrap() % 150_000;
        thread::sleep(Duration::from_micros(u64::from(moment)));
        central.kill();
        stream.join().unwrap();
        central.start_again();
        let stored = stored_numbers(&central.database(), round);
        let lost: Vec<u64> = acknowledged.lock().unwrap().difference(&stored).copied().collect();
        assert!(lost.is_empty(), "round {round}, kill after {moment} µs: lost {lost:?}");
    }
}

#[test]
fn a_kill_loses_no_acknowledged_row_where_a_central_batches_its_commits() {
    let platform = Platform::new();
    kill_in_streams(
        platform.plan("central", 1).with_core("gorgone_db_synchronous: batched").with_core("db_batch_ms: 40"),
        4,
    );
}

#[test]
fn batched_rows_share_a_commit_and_are_acknowledged_after_it() {
    const ROWS: i64 = 20;
    let platform = Platform::new();
    let plan = platform.plan("poller", 1).with_core("gorgone_db_synchronous: batched").with_core("db_batch_ms: 4000");
    let mut central = Daemon::start(Plan { has_proxy: false, ..plan });
    let mut client = central.client();
    let stored = |central: &Daemon| {
        let sql = "SELECT count(*), ifnull(max(ctime) - min(ctime), 0) < 0.01 FROM gorgone_history \
                   WHERE token = 'together'";
        let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?));
        central.database().query_row(sql, [], row).unwrap()
    };
    for number in 0..ROWS {
        let row = json!({ "code": 4, "etime": 1, "token": "together", "instant": 0, "data": { "n": number } });
        client.send("PUTLOG", &number.to_string(), "", &row).unwrap();
    }
    client.send("PING", "ping", "", &json!({})).unwrap();
    assert_eq!(client.receive().unwrap().kind, "PONG", "what changes nothing is answered at once");
    assert_eq!(stored(&central), (0, true));
    client.set_timeout(seconds(10));
    for _ in 0..ROWS {
        assert_eq!(client.receive().unwrap().json["data"]["message"], json!("message inserted"));
    }
    assert_eq!(stored(&central), (ROWS, true), "of one commit");
    let (status, time) = central.stop();
    assert!(status.success() && time < seconds(3), "a stop waits for no batch: {time:?}");
}

fn stored_numbers(database: &Connection, round: u64) -> BTreeSet<u64> {
    let mut query = database.prepare("SELECT data FROM gorgone_history WHERE token = 'stream'").unwrap();
    let rows = query.query_map([], |row| row.get::<_, String>(0)).unwrap();
    rows.map(|data| serde_json::from_str::<Value>(&data.unwrap()).unwrap())
        .filter(|data| data["round"] == round)
        .map(|data| data["n"].as_u64().unwrap())
        .collect()
}

/// The tables of an early release of the original: without `mtime`, `oldkey`, `iv`, `oldiv`, `last_id`.
const OLD_SCHEMA: &str = "
    CREATE TABLE gorgone_information (key varchar(1024), value varchar(1024));
    CREATE TABLE gorgone_identity (id INTEGER PRIMARY KEY, ctime int, identity varchar(2048), key varchar(1024),
        parent int DEFAULT 0);
    CREATE TABLE gorgone_history (id INTEGER PRIMARY KEY AUTOINCREMENT, token varchar(2048), code int, etime int,
        ctime int, instant int DEFAULT 0, data TEXT);
    CREATE TABLE gorgone_synchistory (id int NOT NULL, ctime FLOAT);
    CREATE TABLE gorgone_target_fingerprint (id INTEGER PRIMARY KEY, target varchar(2048), fingerprint varchar(4096));
    INSERT INTO gorgone_information VALUES ('version', '22.04');
    INSERT INTO gorgone_identity (ctime, identity, key) VALUES (1, 'not hexadecimal', 'neither');
    INSERT INTO gorgone_history (token, code, etime, ctime, data) VALUES ('old', 2, 1000, 1000, '{\"message\":\"kept\"}');
    INSERT INTO gorgone_synchistory VALUES (2, 1234.5);
";

#[test]
fn an_old_history_of_the_original_opens_and_is_used() {
    let platform = Platform::new();
    let plan = platform.plan("central", 1);
    Connection::open(&plan.database).unwrap().execute_batch(OLD_SCHEMA).unwrap();
    let central = Daemon::start(plan);
    let mut client = central.client();
    let rows = client.request("GETLOG", "read", "", &json!({ "token": "old" })).json;
    assert_eq!(rows["data"]["result"][0]["data"], json!("{\"message\":\"kept\"}"), "{rows}");
    let row = json!({ "code": 2, "etime": 1, "token": "new", "instant": 0, "data": { "message": "new" } });
    assert_eq!(client.request("PUTLOG", "put", "", &row).json["code"], json!(0));
    let database = central.database();
    let columns = "SELECT mtime, oldkey, iv, oldiv, parent FROM gorgone_identity";
    assert!(database.prepare(columns).is_ok(), "missing columns are added");
    let mark: f64 =
        database.query_row("SELECT ctime FROM gorgone_synchistory WHERE id = 2", [], |row| row.get(0)).unwrap();
    assert!((mark - 1234.5).abs() < 0.001);
}

#[test]
fn a_history_that_cannot_be_opened_is_refused_by_name() {
    let platform = Platform::new();
    let below_a_file = platform.write("file", "").join("history.sdb");
    let corrupt = platform.write("corrupt.sdb", "this is no database, ".repeat(1000));
    let folder = platform.path("a-folder");
    std::fs::create_dir(&folder).unwrap();
    for path in [below_a_file, corrupt, folder, "/proc/history.sdb".into()] {
        let mut plan = platform.plan("central", 1);
        plan.database = path.clone();
        let (status, said) = Daemon::refused(plan);
        assert!(!status.success(), "{}: {said}", path.display());
        assert!(said.contains(path.to_str().unwrap()), "the message names {}: {said}", path.display());
        std::fs::remove_file(platform.path("central.log")).unwrap_or_default();
    }
}

#[test]
fn a_second_daemon_on_one_database_is_refused_and_the_first_goes_on() {
    let platform = Platform::new();
    let first = Daemon::start(platform.plan("first", 1));
    let mut plan = platform.plan("second", 1);
    plan.database.clone_from(&first.plan.database);
    let (status, said) = Daemon::refused(plan);
    assert!(!status.success(), "{said}");
    assert!(said.contains("first.sdb"), "the message names the file: {said}");
    assert_eq!(first.client().request("PING", "alive", "", &json!({})).kind, "PONG");
}

#[test]
fn a_full_disk_is_told_to_whoever_asks_to_store_and_everyone_else_is_served() {
    let platform = Platform::new();
    // A limit on the size of files replaces a full disk: writes fail, and the process goes on.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 2000; exec \"$0\" run \"$@\"", STHENO]);
    let mut central = Daemon::start_as(platform.plan("central", 1).with_api(), command);
    let mut client = central.client();
    let row = json!({ "code": 4, "etime": 1, "token": "big", "instant": 0, "data": { "m": "x".repeat(100_000) } });
    let refusal = (0..200).map(|number| client.request("PUTLOG", &format!("n{number}"), "", &row).json).find(|reply| {
        let refused = reply["code"] != json!(0);
        assert!(refused || reply["data"]["message"] == json!("message inserted"), "{reply}");
        refused
    });
    let refusal = refusal.expect("200 rows of 100 kB do not fit into 1 MB");
    assert_eq!((&refusal["code"], &refusal["data"]["message"]), (&json!(1), &json!("database issue")));
    assert_eq!(client.request("PING", "alive", "", &json!({})).kind, "PONG");
    let mark = platform.path("mark");
    let command = json!([{ "command": format!("touch {}", mark.display()) }]);
    let answer = until("not even the rows of a command fit", seconds(10), || {
        let _may_be_there = std::fs::remove_file(&mark);
        let row = json!({ "code": 4, "etime": 1, "token": "small", "instant": 0, "data": { "m": "x".repeat(2_000) } });
        for number in 0..50 {
            client.request("PUTLOG", &format!("s{number}"), "", &row);
        }
        let answer = central.api().post("/api/core/action/command?log_wait=60000000", &command);
        (answer.status != 200).then_some(answer)
    });
    assert_eq!((answer.status, &answer.json()["error"]), (503, &json!("database_error")), "{answer:?}");
    assert!(!mark.exists(), "a command without rows is not run");
    assert_eq!(central.api().get("/api/internal/constatus").status, 200);
    central.assert_running();
}

#[test]
fn a_lock_of_another_program_is_waited_for_and_stops_nobody() {
    let platform = Platform::new();
    let central = Daemon::start(platform.plan("central", 1).with_api());
    let (mut client, mut other) = (central.client(), central.client());
    let lock = Connection::open(&central.plan.database).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let row = json!({ "code": 2, "etime": 1, "token": "waits", "data": {} });
    client.send("PUTLOG", "first", "", &row).unwrap();
    // This is longer than a commit itself waits.
    let start = std::time::Instant::now();
    while start.elapsed() < seconds(2) {
        assert_eq!(other.request("PING", "ping", "", &json!({})).kind, "PONG");
    }
    lock.execute_batch("ROLLBACK").unwrap();
    let reply = client.receive().unwrap();
    assert_eq!((reply.token.as_str(), &reply.json["code"]), ("first", &json!(0)), "{}", reply.json);
    let rows = "SELECT count(*) FROM gorgone_history WHERE token = 'waits'";
    assert_eq!(lock.query_row(rows, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
}

#[test]
fn while_another_program_holds_the_database_senders_are_slowed_down_and_not_refused() {
    const COUNT: usize = 12_000;
    let platform = Platform::new();
    let daemon = Daemon::start(platform.plan("poller", 2));
    let mut client = daemon.client();
    let lock = Connection::open(&daemon.plan.database).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let held = std::thread::spawn(move || {
        std::thread::sleep(seconds(2));
        lock.execute_batch("ROLLBACK").unwrap();
    });
    for number in 0..COUNT {
        let row = json!({ "code": 2, "etime": 1, "token": "many", "data": {} });
        client.send("PUTLOG", &format!("put-{number}"), "", &row).unwrap();
    }
    for number in 0..COUNT {
        let reply = client.receive().unwrap();
        assert_eq!((reply.token, &reply.json["code"]), (format!("put-{number}"), &json!(0)), "{}", reply.json);
    }
    held.join().unwrap();
}

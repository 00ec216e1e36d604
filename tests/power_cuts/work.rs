//! A busy platform whose central and poller are recorded: rows, commands, a queue, copies, keys and added nodes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::Connection;
use serde_json::json;

use crate::Recorded;
use crate::facts::Fact;
use crate::platform::api::{Api, code, is_last};
use crate::platform::{Daemon, Plan, Platform, STHENO, free_port, keys, seconds};
use crate::trace::{Trace, recording};

/// A recorded daemon; killed when dropped, because killing only strace would leave it.
struct Running {
    name: &'static str,
    daemon: Daemon,
    trace: Option<Trace>,
    file: PathBuf,
    facts: Vec<(f64, Fact)>,
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

impl Running {
    fn start(name: &'static str, platform: &Platform, plan: Plan) -> Self {
        plan.write();
        let trace = Trace::before(&plan.folder);
        let file = platform.path(&format!("{name}.strace"));
        let mut command = recording(&file);
        command.args([STHENO, "run"]);
        Self { name, daemon: Daemon::start_as(plan, command), trace: Some(trace), file, facts: Vec::new() }
    }

    fn note(&mut self, fact: Fact) {
        self.facts.push((now(), fact));
    }

    /// The process id of the daemon, which it writes into the lock of its database.
    fn pid(&self) -> Option<u32> {
        let mut lock = self.daemon.plan.database.as_os_str().to_owned();
        lock.push(".stheno-lock");
        fs::read_to_string(lock).ok()?.trim().parse().ok()
    }

    fn signal(&self, name: &str) {
        if let Some(pid) = self.pid() {
            let _gone = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
        }
    }

    /// Stops it, and reads what it did.
    fn finish(mut self) -> Recorded {
        self.signal("TERM");
        let status = self.daemon.wait_for_exit(seconds(60));
        assert!(status.success(), "{}: {status}", self.name);
        let mut trace = self.trace.take().unwrap();
        trace.read(&self.file);
        let (plan, facts) = (self.daemon.plan.clone(), std::mem::take(&mut self.facts));
        Recorded { name: self.name, plan, is_daemon: true, trace, facts }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.signal("KILL");
        }
    }
}

/// Records both daemons twice, the second time with a database that was closed, and a change of the added nodes.
pub fn record(platform: &Platform) -> Vec<Recorded> {
    for name in ["c", "p"] {
        fs::create_dir_all(platform.path(name)).unwrap();
    }
    let folder = |name: &str| platform.path(name);
    let mut poller = Plan::new(&folder("p"), "poller", 2);
    poller.keys = folder("p").join("keys");
    poller.action = vec![format!("copy_roots: ['{}']", folder("p").display())];
    let mut central = Plan::new(&folder("c"), "central", 1).with_api().with_node(2, poller.port);
    central = central.with_node(3, free_port()).with_proxy("ping: 1");
    earlier_database(&central.database);
    let mut all = Vec::new();
    for (round, names) in [("first", ["central", "poller"]), ("second", ["central, batched", "poller, batched"])] {
        if round == "second" {
            let batched = ["gorgone_db_synchronous: batched", "db_batch_ms: 40"].map(str::to_owned);
            central.core.extend(batched.clone());
            poller.core.extend(batched);
        }
        let mut poller = Running::start(names[1], platform, poller.clone());
        let key = fs::read(poller.daemon.plan.keys.join(keys::PRIVATE_FILE)).unwrap();
        poller.note(Fact::Keys(key));
        let mut central = Running::start(names[0], platform, central.clone());
        central.daemon.api().wait_for_pong(2, seconds(30));
        central.facts.extend((0..EARLIER_ROWS).map(|number| (0.0, Fact::Row(format!("earlier-{number}")))));
        work(round, platform, &mut central, &mut poller);
        all.push(added_nodes(round, platform, &central.daemon.plan));
        all.push(central.finish());
        all.push(poller.finish());
        let page = Connection::open(&all[1].plan.database).unwrap();
        assert_eq!(page.query_row("PRAGMA page_size", [], |row| row.get::<_, i64>(0)), Ok(1_024));
    }
    all
}

/// Number of rows of a database that the first start of the central takes over.
const EARLIER_ROWS: u32 = 100;

/// Makes a database as an earlier version had it, with large pages, so that the central rewrites it at its start.
fn earlier_database(path: &Path) {
    let database = Connection::open(path).unwrap();
    database.execute_batch("PRAGMA page_size = 4096; PRAGMA auto_vacuum = 2; PRAGMA journal_mode = WAL").unwrap();
    let table = "CREATE TABLE gorgone_history (id INTEGER PRIMARY KEY, token varchar(2048), code int(11), \
                 etime int(11), ctime FLOAT, instant int(11) DEFAULT '0', data TEXT);
                 CREATE INDEX idx_gorgone_history_token ON gorgone_history (token)";
    database.execute_batch(table).unwrap();
    let insert = "INSERT INTO gorgone_history (token, code, etime, ctime, data) VALUES (?1, 4, 1, 1600000000 + ?2, ?3)";
    for number in 0..EARLIER_ROWS {
        let data = format!("{{\"is\":\"{}\"}}", "x".repeat(300));
        database.execute(insert, (format!("earlier-{number}"), number, data)).unwrap();
    }
}

fn work(round: &str, platform: &Platform, central: &mut Running, poller: &mut Running) {
    let api = central.daemon.api();
    let mut client = poller.daemon.client();
    for number in 0..12 {
        let token = format!("{round}-put-{number}");
        let data = "x".repeat(if number % 4 == 3 { 9_000 } else { 60 });
        let row = json!({ "code": 4, "etime": 1, "token": token, "instant": 0, "data": { "is": data } });
        let reply = client.request("PUTLOG", &format!("{token}-ack"), "", &row).json;
        assert_eq!(reply["data"]["message"], json!("message inserted"));
        poller.note(Fact::Row(token));

        let token = api.command(2, "echo done");
        let rows = api.finished_rows(2, &token, seconds(30));
        assert!(rows.iter().any(|row| is_last(row) && code(row) == 2), "{rows:?}");
        // Between the node's confirmation and its rows the node alone has the token.
        poller.note(Fact::Row(token.clone()));
        central.note(Fact::Row(token));

        let waiting = api.post("/api/nodes/3/core/action/command?ttl=600", &json!([{ "command": "echo later" }]));
        central.note(Fact::Request(waiting.json()["token"].as_str().unwrap().to_owned()));
    }
    let source = platform.write("source", "a line of a file\n".repeat(3_000));
    let destination = poller.daemon.plan.folder.join(format!("{round}.copy"));
    copy(&api, poller, &source, &destination, "regular");
    copy_folder(round, platform, &api, poller);
    let placed = poller.trace.as_ref().unwrap().root.join(format!("{round}.copy"));
    poller.note(Fact::File(placed, fs::read(&source).unwrap()));
}

fn copy(api: &Api, poller: &mut Running, source: &Path, destination: &Path, kind: &str) {
    let cache = poller.daemon.plan.folder.clone();
    let body = json!({ "source": source, "destination": destination, "cache_dir": cache, "type": kind });
    let answer = api.post("/api/nodes/2/core/proxy/remotecopy", &body);
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    let rows = api.finished_rows(2, &token, seconds(30));
    assert!(rows.iter().any(|row| is_last(row) && code(row) == 2), "{rows:?}");
    poller.note(Fact::Row(token));
}

/// Copies a folder with files of several sizes, in a new folder.
fn copy_folder(round: &str, platform: &Platform, api: &Api, poller: &mut Running) {
    let source = platform.path("folder");
    fs::create_dir_all(source.join("inner")).unwrap();
    let content = |number: usize| format!("{round} {number}\n").repeat(number * 50 + 1).into_bytes();
    let name = |number: usize| if number.is_multiple_of(2) { format!("{number}") } else { format!("inner/{number}") };
    for number in 0..6 {
        fs::write(source.join(name(number)), content(number)).unwrap();
    }
    let destination = poller.daemon.plan.folder.join(format!("{round}-folder"));
    copy(api, poller, &source, &destination, "archive");
    let placed = poller.trace.as_ref().unwrap().root.join(format!("{round}-folder"));
    for number in 0..6 {
        poller.note(Fact::File(placed.join(name(number)), content(number)));
    }
}

/// A node is added to a running central, which only takes it from the file that this writes.
fn added_nodes(round: &str, platform: &Platform, plan: &Plan) -> Recorded {
    let before = if round == "first" { vec![] } else { vec![(0.0, Fact::Node(7))] };
    let id = if round == "first" { 7 } else { 8 };
    let mut trace = Trace::before(&plan.folder);
    let file = platform.path("added.strace");
    let output = recording(&file)
        .args([STHENO, "node", "add", &id.to_string(), "--kind", "pull", "--central", "127.0.0.1", "--config"])
        .arg(plan.config_file())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let facts = [before, vec![(now(), Fact::Node(id))]].concat();
    trace.read(&file);
    Recorded { name: "node add", plan: plan.clone(), is_daemon: false, trace, facts }
}

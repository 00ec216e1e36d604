//! The module `legacycmd`: a real MariaDB, real command files, real pipes, and a central that is killed.

mod crashes;
mod web;

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::mariadb::{Database, Server, is_installed};
use crate::platform::api::{code, data, is_last};
use crate::platform::{Daemon, Plan, Platform, seconds, until};

/// The tables that the module reads in addition to those of the module `nodes`.
const SCHEMA: &str = "
ALTER TABLE nagios_server ADD engine_start_command VARCHAR(255), ADD engine_stop_command VARCHAR(255),
  ADD engine_restart_command VARCHAR(255), ADD engine_reload_command VARCHAR(255),
  ADD broker_reload_command VARCHAR(255), ADD centreonbroker_cfg_path VARCHAR(255),
  ADD snmp_trapd_path_conf VARCHAR(255), ADD init_script_centreontrapd VARCHAR(255);
CREATE TABLE cfg_nagios (nagios_id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, nagios_name VARCHAR(255),
  nagios_server_id INT, cfg_dir VARCHAR(255), command_file VARCHAR(255), nagios_activate ENUM('0','1') DEFAULT '0');
CREATE TABLE task (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, type VARCHAR(40), status VARCHAR(40), parent_id INT,
  params TEXT, created_at DATETIME, completed_at DATETIME);
";

/// A named pipe and everything that was read from it.
struct Engine {
    path: PathBuf,
    lines: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Engine {
    fn new(path: PathBuf) -> Self {
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let lines = Arc::new(Mutex::new(Vec::new()));
        // The thread has a writing end of its own, so that reading never ends; it ends with the process.
        let pipe = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let read = Arc::clone(&lines);
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n') {
                read.lock().unwrap().push(line.unwrap());
            }
        });
        Self { path, lines }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    /// Waits until so many lines have come.
    #[track_caller]
    fn wait_for(&self, count: usize) -> Vec<String> {
        until(&format!("{count} lines in {}", self.path.display()), seconds(30), || {
            (self.lines.lock().unwrap().len() >= count).then_some(())
        });
        self.lines()
    }
}

/// A central with a database, a poller with an engine, and the folders of a web interface.
struct World {
    platform: Platform,
    database: Database<'static>,
    engine: Engine,
    poller: Daemon,
}

impl World {
    fn new() -> Self {
        Self::with_database(Server::shared().database())
    }

    fn with_database(database: Database<'static>) -> Self {
        let platform = Platform::new();
        for dir in ["centcore", "cache/config/engine/2", "cache/config/broker/2", "etc", "broker", "traps/2", "bin"] {
            fs::create_dir_all(platform.path(dir)).unwrap();
        }
        let log = platform.path("done.log");
        // The commands that the daemon's user may run.
        let sudo = format!("#!/bin/sh\necho \"$*\" >>{}\n", log.display());
        let sudo = platform.write("bin/sudo", sudo);
        fs::set_permissions(&sudo, fs::Permissions::from_mode(0o755)).unwrap();
        let engine = Engine::new(platform.path("engine.cmd"));
        let poller = Daemon::start(with_path(platform.plan("poller", 2), &platform).with_module("engine", &[]));
        database.run(SCHEMA);
        let world = Self { platform, database, engine, poller };
        world.add_poller(2, world.poller.plan.port, &world.engine.path);
        world
    }

    fn add_poller(&self, id: u32, port: u16, pipe: &Path) {
        self.database.add(id, "Poller", "127.0.0.1", port);
        self.describe(id, pipe);
    }

    /// Gives a poller everything that orders need.
    fn describe(&self, id: u32, pipe: &Path) {
        let dir = |name: &str| self.platform.path(name).display().to_string();
        self.database.run(&format!(
            "UPDATE nagios_server SET engine_start_command = 'systemctl start centengine', \
             engine_stop_command = 'systemctl stop centengine', engine_restart_command = 'systemctl restart centengine', \
             engine_reload_command = 'systemctl reload centengine', broker_reload_command = 'systemctl reload cbd', \
             centreonbroker_cfg_path = '{}', snmp_trapd_path_conf = '{}', init_script_centreontrapd = 'centreontrapd' \
             WHERE id = {id}; INSERT INTO cfg_nagios (nagios_server_id, cfg_dir, command_file, nagios_activate) \
             VALUES ({id}, '/wrong', '/wrong', '0'), ({id}, '{}', '{}', '1');",
            dir("broker"),
            dir("snmp"),
            dir("etc"),
            pipe.display()
        ));
    }

    fn central(&self) -> Plan {
        let dir = |name: &str| self.platform.path(name).display().to_string();
        let lines = [
            format!("cmd_file: {}", dir("centcore.cmd")),
            format!("cmd_dir: {}", dir("centcore")),
            format!("cache_dir: {}", dir("cache")),
            format!("cache_dir_trap: {}", dir("traps")),
            format!("remote_dir: {}", dir("remote-data/")),
            format!("centreon_dir: {}", dir("web")),
        ];
        let plan = with_path(self.platform.plan("central", 1).with_api(), &self.platform);
        plan.with_pollers_of(&self.database.settings(), &["resync_time: 600"])
            .with_module("engine", &[])
            .with_module("legacycmd", &lines)
    }

    fn start(&self) -> Daemon {
        let central = Daemon::start(self.central());
        central.api().wait_for_pong(2, seconds(20));
        central
    }

    /// Writes a file as the web interface does: into the directory, whole.
    fn order(&self, name: &str, text: impl AsRef<[u8]>) {
        self.platform.write(&format!("centcore/{name}"), text);
    }

    /// Returns what the commands have written.
    fn done(&self) -> Vec<String> {
        let text = fs::read_to_string(self.platform.path("done.log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn wait_for_done(&self, line: &str) {
        until(&format!("'{line}' is done"), seconds(30), || self.done().iter().any(|done| done == line).then_some(()));
    }

    #[track_caller]
    fn wait_until_files_are_gone(&self) {
        until("the command files are gone", seconds(30), || {
            let is_empty = fs::read_dir(self.platform.path("centcore")).unwrap().next().is_none();
            let file = self.platform.path("centcore.cmd");
            (is_empty && !file.exists() && !self.platform.path("centcore.cmd_read").exists()).then_some(())
        });
    }
}

/// Commands find `sudo` in the platform's folder.
fn with_path(plan: Plan, platform: &Platform) -> Plan {
    plan.with_action(&format!("environment: [\"PATH={}:/usr/bin:/bin\"]", platform.path("bin").display()))
}

/// The rows of a request and its last code.
#[track_caller]
fn finish(central: &Daemon, body: &Value) -> (Vec<Value>, i64, Value) {
    let token =
        central.api().post("/api/centreon/legacycmd/command", body).json()["token"].as_str().unwrap().to_owned();
    let rows = central.api().finished_rows(0, &token, seconds(30));
    let last = rows.iter().find(|row| is_last(row)).unwrap().clone();
    (rows, code(&last), data(&last))
}

#[test]
fn commands_for_the_engine_reach_its_pipe_byte_by_byte_in_their_order_and_the_files_are_removed() {
    if !is_installed() {
        return;
    }
    let world = World::new();
    // The files are older than the daemon; one was left by an earlier daemon that was killed.
    world.platform.write("centcore.cmd_read", "EXTERNALCMD:2:[0] LEFT\n");
    world.platform.write("centcore.cmd", "EXTERNALCMD:2:[1] FIRST;a:b`c\nEXTERNALCMD:2:[1] SECOND;caf\u{e9}");
    let _central = world.start();
    world.engine.wait_for(3);
    world.order("1.cmd", b"EXTERNALCMD:2:[2] LATIN;caf\xe9 \xc3\xa9\r\n");
    world.engine.wait_for(4);
    let lines = world.engine.lines.lock().unwrap().clone();
    let expected: [&[u8]; 4] =
        [b"[0] LEFT", b"[1] FIRST;a:bc", "[1] SECOND;caf\u{e9}".as_bytes(), b"[2] LATIN;caf\xe9 \xc3\xa9"];
    assert_eq!(lines, expected);
    world.wait_until_files_are_gone();
}

#[test]
fn an_export_is_there_before_the_engine_reloads_and_lines_keep_their_order() {
    if !is_installed() {
        return;
    }
    let world = World::new();
    world.platform.write("cache/config/engine/2/centengine.cfg", "new");
    world.platform.write("cache/config/broker/2/central-broker.json", "{}");
    world.platform.write("traps/2/centreontrapd.sdb", "traps");
    let reader = format!(
        "#!/bin/sh\necho \"$*\" >>{0}\ncase \"$*\" in *reload*centengine) echo \"with $(cat {1})\" >>{0};; esac\n",
        world.platform.path("done.log").display(),
        world.platform.path("etc/centengine.cfg").display()
    );
    world.platform.write("bin/sudo", reader);
    fs::create_dir(world.platform.path("snmp")).unwrap();
    let central = world.start();
    world.order("1.cmd", "SENDCFGFILE:2\nSYNCTRAP:2\nRELOAD:2\nRELOADBROKER:2\nRELOADCENTREONTRAPD:2\n");
    for line in ["systemctl reload centengine", "with new", "systemctl reload cbd", "service centreontrapd reload"] {
        world.wait_for_done(line);
    }
    assert!(world.platform.path("broker/central-broker.json").exists());
    let traps = world.platform.path("snmp/centreontrapd.sdb");
    assert_eq!(fs::metadata(traps).unwrap().permissions().mode() & 0o777, 0o664);
    world.wait_until_files_are_gone();
    // The missing configuration of the VMware daemon delays nothing.
    assert!(world.done().iter().any(|line| line == "systemctl restart centreon_vmware.service"));
    assert!(central.log().contains("RELOAD for 2 (token "));
}

#[test]
fn a_request_over_the_api_ends_when_its_orders_have_and_names_their_tokens() {
    if !is_installed() {
        return;
    }
    let world = World::new();
    let central = world.start();
    let body = json!([
        { "command": "EXTERNALCMD", "target": 2, "param": "[1] A" },
        { "command": "RELOAD", "target": "2" },
        { "command": "EXTERNALCMD", "target": "2", "param": "[1] B" },
    ]);
    let (rows, last, end) = finish(&central, &body);
    assert_eq!((last, &end["message"]), (2, &json!("action centreoncommand finished")), "{rows:?}");
    assert_eq!(data(&rows[0])["message"], "action centreoncommand proceed");
    assert_eq!(world.engine.wait_for(2), ["[1] A", "[1] B"]);
    assert!(world.done().iter().any(|line| line == "systemctl reload centengine"));
    let tokens: Vec<(Value, String)> = rows[1..4]
        .iter()
        .map(|row| (data(row)["command"].clone(), data(row)["token"].as_str().unwrap().to_owned()))
        .collect();
    for (order, token) in &tokens {
        let rows = central.api().finished_rows(0, token, seconds(20));
        assert_eq!(code(rows.iter().find(|row| is_last(row)).unwrap()), 2, "{order} {rows:?}");
    }
    // The short form.
    let short = json!([{ "command": "STOP", "target": 2 }]);
    let token = central.api().post("/api/centreon/command", &short).json()["token"].as_str().unwrap().to_owned();
    central.api().finished_rows(0, &token, seconds(20));
    world.wait_for_done("systemctl stop centengine");
}

#[test]
fn what_cannot_be_carried_out_ends_with_an_error_that_says_why_and_the_rest_is_done() {
    if !is_installed() {
        return;
    }
    let world = World::new();
    world.database.run("INSERT INTO nagios_server (id, name, gorgone_communication_type) VALUES (3, 'bare', '3');");
    let central = world.start();
    let (_, last, end) = finish(&central, &json!({ "command": "RELOAD", "target": 2 }));
    assert_eq!((last, &end["message"]), (1, &json!("expected array, found 'HASH'")));
    let body = json!([
        { "command": "RELOAD", "target": "1;2" },
        { "command": "SENDCBCFG", "target": 2 },
        { "command": "RELOAD", "target": 3 },
        { "command": "STOP", "target": 2 },
        { "target": 2 },
    ]);
    let (_, last, end) = finish(&central, &body);
    assert_eq!((last, &end["orders"]), (1, &json!(5)), "{end}");
    let failed: Vec<&str> = end["failed"].as_array().unwrap().iter().map(|f| f["message"].as_str().unwrap()).collect();
    let said = [
        "RELOAD for '1;2' is not carried out: the target '1;2' is not the id of a poller",
        "the order 'SENDCBCFG' is unknown: it is not carried out",
        "RELOAD for '3' is not carried out: the database has no 'engine_reload_command' of poller 3 (nagios_server): \
         set it in the web interface",
        "the order '' is unknown: it is not carried out",
    ];
    assert_eq!(failed, said);
    world.wait_for_done("systemctl stop centengine");
    // A wrong line in a file is logged once, and the other lines are carried out.
    world.order("1.cmd", "SENDCBCFG:2\nexternalcmd:2:x\nEXTERNALCMD:9:x\nEXTERNALCMD:3:x\nEXTERNALCMD:2:[1] OK");
    world.order("2.cmd", "SENDCBCFG:2\nSENDCBCFG:2\nEXTERNALCMD:2:[2] OK\n");
    assert_eq!(world.engine.wait_for(2), ["[1] OK", "[2] OK"]);
    let log = central.log();
    for said in [
        "the order 'SENDCBCFG' is unknown",
        "the order 'externalcmd' is unknown: it is not carried out; did you mean 'EXTERNALCMD'? Case matters",
        "EXTERNALCMD for '9' is not carried out: the database has no poller with the id or uid '9'",
        "EXTERNALCMD for '3' is not carried out: poller 3 has no active engine configuration",
    ] {
        assert_eq!(log.matches(said).count(), 1, "{said}\n{log}");
    }
}

#[test]
fn files_wait_while_the_database_is_away_and_nothing_of_them_is_lost() {
    if !is_installed() {
        return;
    }
    // The test has its own server because it stops it.
    let server: &'static mut Server = Box::leak(Box::new(Server::start()));
    server.end("TERM");
    let platform = Platform::new();
    drop(platform);
    server.start_again();
    let server: &'static Server = server;
    let world = World::with_database(server.database());
    server.freeze();
    let central = Daemon::start(world.central());
    world.order("1.cmd", "EXTERNALCMD:2:[1] WAITS\n");
    central.wait_for_log("cannot get configuration for pollers", seconds(40));
    assert!(world.platform.path("centcore/1.cmd").exists());
    let (_, last, end) = finish(&central, &json!([{ "command": "STOP", "target": 2 }]));
    assert_eq!((last, &end["message"]), (1, &json!("cannot get centreon database configuration")));
    server.thaw();
    assert_eq!(world.engine.wait_for(1), ["[1] WAITS"]);
    world.wait_until_files_are_gone();
}

#[test]
fn twenty_thousand_acknowledgements_of_one_file_arrive_in_their_order() {
    if !is_installed() {
        return;
    }
    let world = World::new();
    let _central = world.start();
    let line =
        |number: usize| format!("[1700000000] ACKNOWLEDGE_SVC_PROBLEM;host{number};service;2;1;1;admin;{number}");
    let text: String = (0..20_000).map(|number| format!("EXTERNALCMD:2:{}\n", line(number))).collect();
    let start = std::time::Instant::now();
    world.order("flood.cmd", text);
    let lines = world.engine.wait_for(20_000);
    eprintln!("20,000 lines took {:?}", start.elapsed());
    for (number, found) in lines.iter().enumerate() {
        assert_eq!(*found, line(number));
    }
    world.wait_until_files_are_gone();
}

#[test]
#[ignore = "50 MB take a minute; the loop is looked at meanwhile"]
fn fifty_megabytes_arrive_in_their_order_within_bounded_memory_and_the_daemon_answers_meanwhile() {
    if !is_installed() {
        return;
    }
    let world = World::new();
    let central = world.start();
    let line = |number: usize| format!("[1700000000] ACKNOWLEDGE_SVC_PROBLEM;host{number:07};service;2;1;1;admin;x");
    let count = (50 << 20) / (line(0).len() + "EXTERNALCMD:2:\n".len());
    let text: String = (0..count).map(|number| format!("EXTERNALCMD:2:{}\n", line(number))).collect();
    let before = central.resident_kib();
    let start = std::time::Instant::now();
    world.order("flood.cmd", text);
    let (mut slowest, mut total, mut calls) = (std::time::Duration::ZERO, std::time::Duration::ZERO, 0);
    while world.engine.lines.lock().unwrap().len() < count {
        let asked = std::time::Instant::now();
        assert_eq!(central.api().get("/api/internal/thumbprint").status, 200);
        slowest = slowest.max(asked.elapsed());
        total += asked.elapsed();
        calls += 1;
        thread::sleep(std::time::Duration::from_millis(5));
    }
    let (peak, took) = (central.peak_kib(), start.elapsed());
    eprintln!(
        "{count} lines took {took:?}; before {before} KiB, peak {peak} KiB; a call of the API {:?} on average, {slowest:?} at most",
        total / calls
    );
    let lines = world.engine.lines();
    assert!(lines.iter().enumerate().all(|(number, found)| *found == line(number)));
    assert!(peak < before + (64 << 10), "{before} to {peak} KiB");
    world.wait_until_files_are_gone();
}

#[test]
fn a_file_that_is_being_written_loses_nothing() {
    if !is_installed() {
        return;
    }
    let world = World::new();
    let _central = world.start();
    let mut file = OpenOptions::new().create(true).append(true).open(world.platform.path("centcore/slow.cmd")).unwrap();
    for number in 0..20 {
        let line = format!("EXTERNALCMD:2:[1] {number}\n");
        let (start, end) = line.split_at(line.len() / 2);
        file.write_all(start.as_bytes()).unwrap();
        thread::sleep(std::time::Duration::from_millis(40));
        file.write_all(end.as_bytes()).unwrap();
    }
    drop(file);
    let expected: Vec<String> = (0..20).map(|number| format!("[1] {number}")).collect();
    assert_eq!(world.engine.wait_for(20), expected);
    world.wait_until_files_are_gone();
}

#[test]
fn two_centrals_on_one_directory_do_each_order_once() {
    if !is_installed() {
        return;
    }
    let world = World::new();
    let _first = world.start();
    let mut second = world.central();
    second.name = "second".to_owned();
    second.port = crate::platform::free_port();
    second.api_port = Some(crate::platform::free_port());
    second.database = world.platform.path("second.sdb");
    let second = Daemon::start(second);
    second.api().wait_for_pong(2, seconds(20));
    for number in 0..100 {
        world.order(&format!("{number:03}.cmd"), format!("EXTERNALCMD:2:[1] {number:03}\n"));
    }
    let mut lines = world.engine.wait_for(100);
    world.wait_until_files_are_gone();
    lines = if lines.len() == 100 { lines } else { world.engine.lines() };
    lines.sort();
    let expected: Vec<String> = (0..100).map(|number| format!("[1] {number:03}")).collect();
    assert_eq!(lines, expected);
}

#[test]
fn a_reload_that_the_pollers_allow_list_refuses_ends_with_its_row() {
    if !is_installed() {
        return;
    }
    let mut world = World::new();
    world.poller.stop();
    let plan = with_path(world.platform.plan("strict", 2), &world.platform)
        .with_module("engine", &[])
        .with_action("whitelist_cmds: true")
        .with_action("allowed_cmds: ['^sudo systemctl stop centengine$']");
    world.database.run(&format!("UPDATE nagios_server SET gorgone_port = {} WHERE id = 2;", plan.port));
    world.poller = Daemon::start(plan);
    let central = world.start();
    let body = json!([{ "command": "RELOAD", "target": 2 }, { "command": "STOP", "target": 2 }]);
    let (_, last, end) = finish(&central, &body);
    assert_eq!((last, end["failed"].as_array().unwrap().len()), (1, 1), "{end}");
    assert!(end["message"].as_str().unwrap().contains("command not allowed (whitelist)"), "{end}");
    assert_eq!(world.done(), ["systemctl stop centengine"]);
}

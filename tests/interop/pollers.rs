//! Pollers from a real MariaDB (module `nodes`).

use serde_json::{Value, json};

use crate::mariadb::{Database, Server, is_installed};
use crate::platform::api::{code, data};
use crate::platform::{Daemon, Plan, Platform, STHENO, free_port, seconds, until};

/// A central that knows nodes from a database only.
fn central(platform: &Platform, database: &Database<'_>) -> Plan {
    platform.plan("central", 1).with_api().with_pollers_of(&database.settings(), &["resync_time: 600"])
}

/// Requests a reading of the database and returns the last row.
#[track_caller]
fn sync(central: &Daemon) -> (i64, Value) {
    let token = central.api().post("/api/centreon/nodes/sync", &json!({})).json()["token"].as_str().unwrap().to_owned();
    let rows = central.api().finished_rows(0, &token, seconds(90));
    let last = rows.last().unwrap();
    (code(last), data(last))
}

#[track_caller]
fn wait_for_nodes(central: &Daemon, ids: &[u32]) {
    until(&format!("nodes {ids:?}"), seconds(30), || {
        let map = central.api().get("/api/internal/constatus").json();
        let found: Vec<&String> = map["data"].as_object()?.keys().collect();
        (found.len() == ids.len() && ids.iter().all(|id| found.contains(&&id.to_string()))).then_some(())
    });
}

#[test]
fn a_poller_of_the_database_is_registered_and_runs_commands() {
    if !is_installed() {
        return;
    }
    let platform = Platform::new();
    let database = Server::shared().database();
    let poller = Daemon::start(platform.plan("poller", 2));
    database.add(2, "Poller", "127.0.0.1", poller.plan.port);
    let central = Daemon::start(central(&platform, &database));
    central.api().wait_for_pong(2, seconds(20));
    assert_eq!(central.api().output_of(2, "echo from the database", seconds(20)), "from the database");
    let (code, end) = sync(&central);
    let expected = json!({
        "message": "action nodesresync finished", "nodes": 1, "added": [], "changed": [], "removed": [], "refused": [],
    });
    assert_eq!((code, end), (2, expected));
}

#[test]
fn only_what_changed_in_the_database_is_touched_and_the_row_of_a_sync_says_what() {
    if !is_installed() {
        return;
    }
    let platform = Platform::new();
    let database = Server::shared().database();
    let poller = Daemon::start(platform.plan("poller", 2));
    database.add(2, "stays", "127.0.0.1", poller.plan.port);
    database.add(3, "goes", "127.0.0.1", 9);
    database.add(4, "moves", "127.0.0.1", 9);
    let central = Daemon::start(central(&platform, &database));
    central.api().wait_for_pong(2, seconds(20));
    wait_for_nodes(&central, &[2, 3, 4]);
    database.run(
        "DELETE FROM nagios_server WHERE id = 3; UPDATE nagios_server SET gorgone_port = 10 WHERE id = 4; \
         INSERT INTO nagios_server (id, name, gorgone_communication_type) VALUES (5, 'dials in', '3'), (6, 'as well', '4'); \
         INSERT INTO nagios_server (id, name, ns_activate) VALUES (7, 'sleeps', '0');",
    );
    let (code, end) = sync(&central);
    assert_eq!(code, 2, "{end}");
    let of = |name: &str| end[name].clone();
    assert_eq!((of("added"), of("changed"), of("removed")), (json!([5, 6]), json!([4]), json!([3])));
    wait_for_nodes(&central, &[2, 4, 5, 6]);
    assert_eq!(central.api().node_status(5)["type"], "pull");
    assert_eq!(central.api().node_status(6)["type"], "wss");
    assert_eq!(central.log().matches("node '2' is registered").count(), 1, "{}", central.log());
    assert_eq!(poller.log().matches("node '2'").count(), 0);
    assert_eq!(central.api().output_of(2, "echo still here", seconds(20)), "still here");
}

#[test]
fn a_database_that_goes_away_changes_nothing_and_is_read_again_when_it_is_back() {
    if !is_installed() {
        return;
    }
    let platform = Platform::new();
    let mut server = Server::start();
    let (settings, name) = {
        let database = server.database();
        database.add(2, "Poller", "127.0.0.1", 9);
        (
            database.settings_of(&format!(
                "mysql:host=127.0.0.1:port={};dbname={};mysql_read_timeout=2",
                server.port, database.name
            )),
            database.name,
        )
    };
    server.end("TERM");
    // The daemon starts and answers without the database.
    let central = Daemon::start(platform.plan("central", 1).with_api().with_pollers_of(&settings, &["resync_time: 1"]));
    central.wait_for_log("nothing listens there", seconds(20));
    assert_eq!(central.api().output_of(0, "echo alone", seconds(20)), "alone");
    server.start_again();
    wait_for_nodes(&central, &[2]);
    // The server stops during the test.
    server.end("KILL");
    central.wait_for_log("cannot find nodes configuration", seconds(20));
    let (code, end) = sync(&central);
    assert_eq!(code, 1, "{end}");
    wait_for_nodes(&central, &[2]);
    server.start_again();
    assert_eq!(sync(&central).0, 2);
    // The server is frozen: a request ends with a time-out, and the daemon answers meanwhile.
    server.freeze();
    let token = central.api().post("/api/centreon/nodes/sync", &json!({})).json()["token"].as_str().unwrap().to_owned();
    assert_eq!(central.api().output_of(0, "echo alive", seconds(20)), "alive");
    let rows = central.api().finished_rows(0, &token, seconds(60));
    assert!(data(rows.last().unwrap())["message"].as_str().unwrap().contains("does not answer in time"), "{rows:?}");
    server.thaw();
    assert_eq!(sync(&central).0, 2);
    // The server is killed during a query, which cannot end because the table is locked.
    let holder = server.hold(&format!("LOCK TABLES {name}.nagios_server WRITE; SELECT SLEEP(600);"));
    until("the table is locked", seconds(20), || server.run("SHOW PROCESSLIST").contains("SLEEP(600)").then_some(()));
    let token = central.api().post("/api/centreon/nodes/sync", &json!({})).json()["token"].as_str().unwrap().to_owned();
    until("the query waits for the lock", seconds(20), || {
        server.run("SHOW PROCESSLIST").contains("Waiting for table metadata lock").then_some(())
    });
    server.end("KILL");
    drop(holder);
    let rows = central.api().finished_rows(0, &token, seconds(60));
    assert_eq!(code_of(&rows), 1, "{rows:?}");
    wait_for_nodes(&central, &[2]);
    server.start_again();
    assert_eq!(sync(&central).0, 2);
    // The password changes and changes back.
    server.run(&format!("ALTER USER '{name}'@'%' IDENTIFIED BY 'other';"));
    let (code, end) = sync(&central);
    assert_eq!(code, 1);
    assert!(end["message"].as_str().unwrap().contains(&format!("refuses the user '{name}'")), "{end}");
    server.run(&format!("ALTER USER '{name}'@'%' IDENTIFIED BY 'pass';"));
    assert_eq!(sync(&central).0, 2);
    wait_for_nodes(&central, &[2]);
    assert!(!central.log().contains("'pass'") && !central.log().contains("\"pass\""));
}

fn code_of(rows: &[Value]) -> i64 {
    rows.last().map_or(-1, code)
}

/// Runs `stheno check` on a plan and returns its status and output.
fn check(plan: &Plan, arguments: &[&str]) -> (Option<i32>, String) {
    plan.write();
    let mut command = std::process::Command::new(STHENO);
    let output = command.arg("check").arg("--config").arg(plan.config_file()).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn hostile_values_and_names_in_every_script_concern_one_poller_each() {
    if !is_installed() {
        return;
    }
    let platform = Platform::new();
    let database = Server::shared().database();
    let names =
        ["São Paulo", "Zürich", "Москва", "東京", "القاهرة", "ירושלים", "กรุงเทพ", "😀 smile", "दिल्ली", "line\\nbreak"];
    for (id, name) in (2..).zip(names) {
        database.add(id, name, "127.0.0.1", 9);
    }
    let hostile = [
        "''",
        "NULL",
        "'10.0.0.1 '",
        "'10.0.0.1\\n[ERROR] x'",
        "'a\"b'",
        "'a''b'",
        "'../../etc/passwd'",
        "REPEAT('x', 10000)",
        "'10.0.0.1:5556'",
        "'tcp://10.0.0.1'",
        "'10.0.0.1; rm -rf /'",
        "'\\0'",
        "'*'",
    ];
    for (id, address) in (100..).zip(hostile) {
        database.run(&format!(
            "INSERT INTO nagios_server (id, name, ns_ip_address, gorgone_port) VALUES ({id}, 'bad {id}', {address}, 9);"
        ));
    }
    database.run("INSERT INTO nagios_server (id, name, ns_ip_address, gorgone_port) VALUES (200, 'port', '127.0.0.1', 70000), (-3, 'minus', '127.0.0.1', 9);");
    let central = Daemon::start(central(&platform, &database));
    let expected: Vec<u32> = (2..2 + u32::try_from(names.len()).unwrap()).collect();
    wait_for_nodes(&central, &expected);
    let log = central.log();
    for id in 100..100 + hostile.len() {
        let is_about = |line: &&str| line.contains(&format!("poller {id} 'bad {id}' has "));
        let line = log.lines().find(|line| is_about(line) && line.contains(" address"));
        assert!(line.is_some_and(|line| line.len() < 400), "{id}: {log}");
    }
    assert!(log.contains("poller 200 'port' has the invalid port '70000'"), "{log}");
    assert!(log.contains("a poller 'minus' has the invalid id '-3'"), "{log}");
    assert!(log.lines().all(|line| line.starts_with("20")), "one line for one thing: {log}");
    // A name is shown unchanged.
    database.run("UPDATE nagios_server SET ns_ip_address = 'a b' WHERE id < 12 AND id > 1;");
    let (code, end) = sync(&central);
    assert_eq!((code, end["changed"].clone(), end["removed"].clone()), (2, json!([]), json!([])));
    let refused = end["refused"].to_string();
    assert!(names.iter().filter(|name| !name.contains('\\')).take(3).all(|name| refused.contains(name)), "{refused}");
}

#[test]
fn five_thousand_pollers_are_registered_and_taken_away_again() {
    if !is_installed() {
        return;
    }
    let platform = Platform::new();
    let database = Server::shared().database();
    database.run(
        "INSERT INTO nagios_server (id, name, ns_ip_address, gorgone_communication_type, remote_id) \
         SELECT seq + 1, CONCAT('poller ', seq), '127.0.0.1', '3', NULL FROM seq_1_to_5000; \
         UPDATE nagios_server SET remote_id = 2 WHERE id > 4001; \
         INSERT INTO rs_poller_relation SELECT 3, seq FROM seq_4002_to_5001;",
    );
    let central = Daemon::start(central(&platform, &database));
    central.wait_for_log("4000 nodes from the database: 4000 new", seconds(60));
    assert_eq!(sync(&central).1["nodes"], 4000);
    let (status, text) = check(&central.plan, &[]);
    assert_eq!(status, Some(0));
    let behind_3 = text.lines().find(|line| line.starts_with("  3 ")).unwrap();
    assert!(behind_3.contains("4002, 4003") && behind_3.ends_with("5001"), "{behind_3}");
    database.run("DELETE FROM nagios_server WHERE id > 11;");
    let (code, end) = sync(&central);
    assert_eq!((code, end["nodes"].clone()), (2, json!(10)));
    wait_for_nodes(&central, &(2..12).collect::<Vec<_>>());
}

#[test]
fn check_prints_the_nodes_and_a_sentence_for_each_mistake() {
    if !is_installed() {
        return;
    }
    let platform = Platform::new();
    let server = Server::shared();
    let database = server.database();
    database.add(2, "good", "10.0.0.2", 5556);
    database.add(3, "bad", "10.0.0.3:1", 5556);
    let mut plan = platform.plan("central", 0).with_pollers_of(&database.settings(), &[]);
    let (status, text) = check(&plan, &[]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("  2   push_zmq  tcp://10.0.0.2:5556") || text.contains("  2   push_zmq"), "{text}");
    assert!(text.contains("id           1, by the Centreon database"), "{text}");
    assert!(text.contains("poller 3 'bad' has the invalid address '10.0.0.3:1'"), "{text}");
    let (_, json) = check(&plan, &["--json"]);
    let document: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(document["database_nodes"][0]["address"], "tcp://10.0.0.2:5556");
    let name = &database.name;
    let with = |lines: &[String]| lines.to_vec();
    let wrong_password =
        with(&["password: wrong".to_owned(), format!("username: {name}"), database.settings()[0].clone()]);
    let dsn = |text: &str| database.settings_of(text);
    let at = format!("mysql:host=127.0.0.1;port={}", server.port);
    let cases = [
        (wrong_password, format!("refuses the user '{name}' or its password")),
        (dsn(&format!("{at};dbname=nowhere")), "does not let the user".to_owned()),
        (dsn(&format!("mysql:host=127.0.0.1;port={};dbname=c", free_port())), "nothing listens there".to_owned()),
        (
            dsn("mysql:host=no.such.host.invalid;dbname=c"),
            "cannot find the address of host 'no.such.host.invalid'".to_owned(),
        ),
        (
            dsn(&format!("mysql:host=127.0.0.1;port={};dbname=c;mysql_read_timeout=2", server.silent_port())),
            "does not answer in time".to_owned(),
        ),
        (
            dsn("mysql:mysql_socket=/nowhere/sock;dbname=c"),
            "at /nowhere/sock does not run: nothing listens there".to_owned(),
        ),
    ];
    for (lines, sentence) in cases {
        plan.centreon = lines;
        let (_, text) = check(&plan, &[]);
        assert!(text.contains(&sentence), "{sentence}: {text}");
        assert!(!text.contains("wrong") && !text.contains("pass\""), "{text}");
    }
    plan.centreon = database.settings();
    server.run(&format!("DROP TABLE {name}.rs_poller_relation"));
    let (status, text) = check(&plan, &[]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains(&format!("lacks a table (Table '{name}.rs_poller_relation' doesn't exist)")), "{text}");
    server.run(&format!("DROP DATABASE {name}; GRANT SELECT ON *.* TO '{name}'@'%';"));
    let (status, text) = check(&plan, &[]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains(&format!("has no database '{name}'")), "{text}");
}

#[test]
fn the_socket_tls_and_schemas_of_other_versions_are_read() {
    if !is_installed() {
        return;
    }
    let platform = Platform::new();
    let server = Server::shared();
    let database = server.database();
    database.add(2, "one", "127.0.0.1", 9);
    // An old schema lacks columns, and a table may have no active rows.
    database.run(
        "ALTER TABLE nagios_server DROP gorgone_communication_type, DROP gorgone_port, DROP remote_id, \
         DROP remote_server_use_as_proxy, DROP uid, DROP gorgone_auth_token;",
    );
    let name = &database.name;
    let socket = server.socket();
    let folder = server.folder.display();
    let at = format!("mysql:host=127.0.0.1:port={};dbname={name};mysql_ssl=1", server.port);
    for dsn in [
        format!("mysql:mysql_socket={};dbname={name}", socket.display()),
        at.clone(),
        format!("{at};mysql_ssl_ca_file={folder}/ca.pem"),
        format!("{at};mysql_ssl_ca_file={folder}/ca.pem;mysql_ssl_verify_server_cert=1"),
    ] {
        let plan = platform.plan("central", 1).with_pollers_of(&database.settings_of(&dsn), &[]);
        let (status, text) = check(&plan, &[]);
        assert_eq!(status, Some(0), "{dsn}: {text}");
        assert!(text.contains("tcp://127.0.0.1:5556"), "{dsn}: {text}");
    }
    // The certificate has another authority, or another name.
    for (dsn, sentence) in [
        (format!("{at};mysql_ssl_ca_file={folder}/other.pem"), "its certificate was not issued by an authority in"),
        (
            at.replace("127.0.0.1", "localhost")
                + &format!(";mysql_ssl_ca_file={folder}/ca.pem;mysql_ssl_verify_server_cert=1"),
            "its certificate is for another host",
        ),
    ] {
        let plan = platform.plan("central", 1).with_pollers_of(&database.settings_of(&dsn), &[]);
        let (status, text) = check(&plan, &[]);
        assert_eq!(status, Some(1), "{dsn}: {text}");
        assert!(text.contains(sentence), "{dsn}: {text}");
    }
    // A user that requires TLS connects with TLS and is refused without it.
    server.run(&format!("ALTER USER '{name}'@'%' REQUIRE SSL;"));
    let plan = platform.plan("central", 1).with_pollers_of(&database.settings_of(&at), &[]);
    assert_eq!(check(&plan, &[]).0, Some(0));
    let plan = platform.plan("central", 1).with_pollers_of(&database.settings(), &[]);
    assert_eq!(check(&plan, &[]).0, Some(1));
}

#[test]
fn our_id_and_the_severity_of_the_log_come_from_the_database() {
    if !is_installed() {
        return;
    }
    let platform = Platform::new();
    let database = Server::shared().database();
    database.run("UPDATE nagios_server SET id = 12 WHERE id = 1; INSERT INTO options VALUES ('debug_gorgone', '1');");
    let plan = platform.plan("central", 0).with_api().with_pollers_of(&database.settings(), &[]);
    let central = Daemon::start(plan);
    central.wait_for_log("Setcoreid changed 12", seconds(20));
    central.wait_for_log("switches the log to 'debug'", seconds(20));
    central.api().output_of(0, "true", seconds(20));
    central.wait_for_log(" - DEBUG - ", seconds(20));
    database.run("UPDATE options SET value = '0';");
    assert_eq!(sync(&central).0, 2);
    let debug_lines = || central.log().matches(" - DEBUG - ").count();
    let before = debug_lines();
    central.api().output_of(0, "true", seconds(20));
    assert_eq!(debug_lines(), before);
}

#[test]
fn nodes_that_dial_in_are_taken_as_soon_as_the_database_has_them() {
    if !is_installed() {
        return;
    }
    let platform = Platform::new();
    let database = Server::shared().database();
    let port = free_port();
    let mut plan = central(&platform, &database).with_authorized("poller");
    for line in ["httpserver:", "  enable: true", "  address: 127.0.0.1", "  token: t0k3n"] {
        plan = plan.with_proxy(line);
    }
    let plan = plan.with_proxy(&format!("  port: {port}"));
    let central = Daemon::start(plan);
    // The nodes connect before the central knows them.
    let pull =
        platform.plan("node-6", 6).with_module("pull", &[format!("target_path: 127.0.0.1:{}", central.plan.port)]);
    let lines = ["address: 127.0.0.1".to_owned(), format!("port: {port}"), "token: t0k3n".to_owned()];
    let _nodes = [pull, platform.plan("node-7", 7).with_module("pullwss", &lines)].map(Daemon::start);
    database.run(
        "INSERT INTO nagios_server (id, name, gorgone_communication_type) VALUES (6, 'pull', '3'), (7, 'pullwss', '4');",
    );
    assert_eq!(sync(&central).0, 2);
    for id in [6, 7] {
        central.api().wait_for_pong(id, seconds(20));
        assert_eq!(central.api().output_of(id, "echo welcome", seconds(20)), "welcome", "node {id}");
    }
    // The nodes are removed while they are connected, and added again.
    database.run("UPDATE nagios_server SET ns_activate = '0' WHERE id IN (6, 7);");
    assert_eq!(sync(&central).1["removed"], json!([6, 7]));
    database.run("UPDATE nagios_server SET ns_activate = '1' WHERE id IN (6, 7);");
    assert_eq!(sync(&central).0, 2);
    for id in [6, 7] {
        // The pull node stays connected; the WebSocket was closed, and its node reconnects.
        central.api().wait_for_pong(id, seconds(20));
        assert_eq!(central.api().output_of(id, "echo again", seconds(20)), "again", "node {id}");
    }
}

#[test]
fn users_log_in_with_ed25519_and_a_wrong_password_is_told_as_such() {
    if !is_installed() {
        return;
    }
    let platform = Platform::new();
    let server = Server::start();
    let database = server.database();
    // The server's own tool makes the key of the password.
    database.run(
        "INSTALL SONAME 'auth_ed25519'; CREATE USER 'edward'@'%' IDENTIFIED VIA ed25519 USING PASSWORD('s3cret é'); \
         GRANT ALL ON *.* TO 'edward'@'%';",
    );
    for (password, expected) in [("s3cret é", 0), ("wrong", 1)] {
        let lines = database.settings().into_iter().map(|line| match line.trim().split_once(':').unwrap().0 {
            "username" => "username: edward".to_owned(),
            "password" => format!("password: \"{password}\""),
            _ => line.clone(),
        });
        let plan = platform.plan("central", 1).with_pollers_of(&lines.collect::<Vec<_>>(), &[]);
        let (status, text) = check(&plan, &[]);
        assert_eq!(status, Some(expected), "{password}: {text}");
        assert!(expected == 0 || text.contains("refuses the user 'edward' or its password"), "{text}");
    }
}

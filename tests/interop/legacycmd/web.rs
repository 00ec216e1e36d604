//! The calls of Centreon Web's own client, in its order and with the answers that it expects: status 200, a
//! `token`, then rows by `nodes/<id>/log/<token>` until the last one no longer says that work has begun.

use super::*;
use crate::platform::api::Answer;

/// Sends a request as that client does: with a form's content type, even for JSON, and a body for every method.
fn call(central: &Daemon, method: &str, path: &str, body: &str) -> Answer {
    let mut api = central.api();
    api.headers = "Content-Type: application/x-www-form-urlencoded\r\nAccept: */*\r\n".to_owned();
    api.call(method, &format!("/api/{path}"), body.as_bytes())
}

/// Sends a command and returns its token.
#[track_caller]
fn send(central: &Daemon, method: &str, path: &str, body: &str) -> String {
    let answer = call(central, method, path, body);
    assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()["token"].as_str().unwrap_or_else(|| panic!("{path}: no token")).to_owned()
}

/// Polls the rows of a token until its last row and returns the code and data of that row.
#[track_caller]
fn wait(central: &Daemon, node: u32, token: &str) -> (i64, Value) {
    until(&format!("the end of {token}"), seconds(30), || {
        let answer = call(central, "GET", &format!("nodes/{node}/log/{token}"), "");
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let answer = answer.json();
        if answer["error"].is_string() {
            return None;
        }
        assert_eq!(answer["token"], token);
        let rows = answer["data"].as_array().unwrap();
        for row in rows {
            for member in ["id", "token", "code", "etime", "ctime", "instant", "data"] {
                assert!(row.get(member).is_some(), "{member}: {row}");
            }
        }
        let last = rows.last()?;
        is_last(last).then(|| (code(last), data(last)))
    })
}

#[test]
fn the_calls_of_the_web_interface_get_what_it_expects() {
    if !is_installed() {
        return;
    }
    let world = World::new();
    let central = world.start();
    // 'Display Gorgone configuration' of a poller asks for the key of the central, whose id it takes from the database.
    for node in [1, 2] {
        let token = send(&central, "GET", &format!("nodes/{node}/internal/thumbprint"), "");
        let (code, data) = wait(&central, node, &token);
        assert_eq!((code, data["data"]["thumbprint"].as_str().map(str::len)), (2, Some(43)), "node {node}: {data}");
    }
    let direct = call(&central, "GET", "internal/thumbprint", "").json();
    assert_eq!(direct["data"]["thumbprint"].as_str().map(str::len), Some(43));
    // The administrator adds a poller.
    world.database.run("INSERT INTO nagios_server (id, name, gorgone_communication_type) VALUES (7, 'new', '4');");
    let token = send(&central, "POST", "centreon/nodes/sync", "{}");
    let (code, data) = wait(&central, 1, &token);
    assert_eq!((code, &data["added"]), (2, &json!([7])));
    assert_eq!(central.api().node_status(7)["type"], "wss");
    // Orders by the option 'gorgone_command_transport': their rows are asked for below the poller.
    let token = send(&central, "POST", "centreon/legacycmd/command", r#"[{"command":"RELOAD","target":2}]"#);
    let (code, data) = wait(&central, 2, &token);
    assert_eq!((code, &data["message"]), (2, &json!("action centreoncommand finished")));
    let commands = json!({ "commands": ["[1] FROM THE WEB"], "command_file": world.engine.path }).to_string();
    let token = send(&central, "POST", "nodes/2/centreon/engine/command", &commands);
    assert_eq!(wait(&central, 2, &token).0, 2);
    assert_eq!(world.engine.wait_for(1), ["[1] FROM THE WEB"]);
    let token = send(&central, "POST", "nodes/2/core/action/command", r#"[{"command":"echo hello"}]"#);
    let (code, data) = wait(&central, 2, &token);
    assert_eq!((code, &data["message"]), (2, &json!("commands processing has finished successfully")));
    // The module for discovery is absent: the answer says so instead of returning a token that never ends.
    let answer = call(&central, "POST", "centreon/autodiscovery/hosts", "{}");
    assert_eq!(answer.json()["message"], "Method not implemented");
    // This token is unknown.
    let unknown = call(&central, "GET", "nodes/2/log/unknown", "");
    assert_eq!((unknown.status, unknown.json()["error"].is_string()), (200, true));
}

#[test]
fn an_import_on_a_remote_server_inserts_the_task_runs_the_worker_and_reloads_broker() {
    if !is_installed() {
        return;
    }
    let world = World::new();
    let name = &world.database.name;
    world.database.run(&format!("GRANT INSERT ON {name}.task TO '{name}'@'%';"));
    fs::create_dir_all(world.platform.path("web/bin")).unwrap();
    let done = world.platform.path("done.log");
    let worker = format!("#!/bin/sh\nfor word; do echo \"worker $word\"; done >>{}\n", done.display());
    let worker = world.platform.write("web/bin/centreon", worker);
    fs::set_permissions(&worker, fs::Permissions::from_mode(0o755)).unwrap();
    let mut plan = world.central();
    plan.severity = "debug".to_owned();
    let remote = Daemon::start(plan.with_tpapi("clapi", "gorgone", "s3cr$t\"`x"));
    remote.wait_for_log("the pollers of the Centreon database are known", seconds(20));
    // The request comes from its central.
    let mut client = remote.client();
    let content = json!({ "content": { "parent_id": "12", "cbd_reload": "sudo systemctl reload cbd" } });
    client.request("ADDIMPORTTASKWITHPARENT", "import", "", &content);
    let rows = remote.api().finished_rows(0, "import", seconds(30));
    let last = rows.iter().find(|row| is_last(row)).unwrap();
    assert_eq!((code(last), &data(last)["message"]), (2, &json!("Task inserted on Remote Server")), "{rows:?}");
    assert_eq!(world.database.run("SELECT type, status, parent_id FROM task;").trim(), "import\tpending\t12");
    let words = ["-u", "gorgone", "-p", "s3cr$t\"`x", "-w", "-o", "CentreonWorker", "-a", "processQueue"];
    let mut expected: Vec<String> = words.iter().map(|word| format!("worker {word}")).collect();
    expected.extend(["--commandTimeout", "30", "--taskId", "12"].map(|word| format!("worker {word}")));
    expected.push("systemctl reload cbd".to_owned());
    assert_eq!(world.done(), expected);
    // STARTWORKER of the central's own web interface.
    world.order("1.cmd", "STARTWORKER:1\n");
    until("the worker runs again", seconds(20), || {
        (world.done().iter().filter(|line| *line == "worker processQueue").count() == 2).then_some(())
    });
    world.wait_until_files_are_gone();
    // Neither rows nor the log nor what waits in the database shows the password.
    let shows = |text: &str| text.contains("s3cr");
    assert!(!shows(&remote.log()), "{}", remote.log());
    let bytes = fs::read(&remote.plan.database).unwrap();
    let log = fs::read(format!("{}-wal", remote.plan.database.display())).unwrap_or_default();
    assert!(!shows(&String::from_utf8_lossy(&bytes)) && !shows(&String::from_utf8_lossy(&log)));
    // These requests are invalid.
    client.request("ADDIMPORTTASKWITHPARENT", "bad", "", &json!({ "content": { "parent_id": "x" } }));
    let rows = remote.api().finished_rows(0, "bad", seconds(20));
    assert!(rows.iter().any(|row| data(row)["message"] == "expected parent_id task ID, found 'x'"), "{rows:?}");
}

#[test]
fn an_older_and_a_newer_schema_of_the_database_are_read() {
    if !is_installed() {
        return;
    }
    let world = World::new();
    // A newer schema has uids of 64 bits and columns that we do not know.
    let uid = u64::MAX;
    world.database.run(&format!(
        "ALTER TABLE nagios_server MODIFY uid BIGINT UNSIGNED, ADD brand_new JSON; \
         UPDATE nagios_server SET uid = {uid} WHERE id = 2; \
         INSERT INTO options VALUES ('gorgone_illegal_characters', '`;');"
    ));
    let mut central = world.start();
    world.order("1.cmd", format!("EXTERNALCMD:{uid}:[1] a;`b$\n"));
    assert_eq!(world.engine.wait_for(1), ["[1] ab$"]);
    // An older schema has no uid and no reload of the broker.
    central.stop();
    world.database.run("ALTER TABLE nagios_server DROP uid, DROP broker_reload_command, DROP snmp_trapd_path_conf;");
    central.start_again();
    central.api().wait_for_pong(2, seconds(20));
    world.order("1.cmd", "RELOADBROKER:2\nRELOAD:2\nEXTERNALCMD:2:[2] c\n");
    assert_eq!(world.engine.wait_for(2), ["[1] ab$", "[2] c"]);
    world.wait_for_done("systemctl reload centengine");
    assert!(central.log().contains("the database has no 'broker_reload_command' of poller 2 (nagios_server)"));
}

//! Pollers from a real MariaDB (module `nodes`).

use serde_json::{Value, json};

use crate::mariadb::{Database, Server, is_installed};
use crate::platform::api::{code, data};
use crate::platform::{Daemon, Plan, Platform, seconds, until};

/// A central that knows nodes from a database only.
fn central(platform: &Platform, database: &Database<'_>) -> Plan {
    platform.plan("central", 1).with_api().with_pollers_of(&database.settings(), &["resync_time: 600"])
}

/// Asks for a reading of the database; the last row of the request.
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
    // It starts and serves without the database.
    let central = Daemon::start(platform.plan("central", 1).with_api().with_pollers_of(&settings, &["resync_time: 1"]));
    central.wait_for_log("nothing listens there", seconds(20));
    assert_eq!(central.api().output_of(0, "echo alone", seconds(20)), "alone");
    server.start_again();
    wait_for_nodes(&central, &[2]);
    // Stopped in the middle.
    server.end("KILL");
    central.wait_for_log("cannot find nodes configuration", seconds(20));
    let (code, end) = sync(&central);
    assert_eq!(code, 1, "{end}");
    wait_for_nodes(&central, &[2]);
    server.start_again();
    assert_eq!(sync(&central).0, 2);
    // Frozen: a request ends with a time-out, and the daemon serves meanwhile.
    server.freeze();
    let token = central.api().post("/api/centreon/nodes/sync", &json!({})).json()["token"].as_str().unwrap().to_owned();
    assert_eq!(central.api().output_of(0, "echo alive", seconds(20)), "alive");
    let rows = central.api().finished_rows(0, &token, seconds(60));
    assert!(data(rows.last().unwrap())["message"].as_str().unwrap().contains("does not answer in time"), "{rows:?}");
    server.thaw();
    assert_eq!(sync(&central).0, 2);
    // Killed in the middle of a query: the table is locked, so the query cannot end by itself.
    let holder = server.hold(&format!("LOCK TABLES {name}.nagios_server WRITE; SELECT SLEEP(600);"));
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
    // Another password, and the old one again.
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

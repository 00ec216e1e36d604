//! The module `statistics`: a real MariaDB, real processes, and Debian's `rrdtool` as the judge of what is written.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::mariadb::{Database, Server, is_installed};
use crate::platform::api::{code, data};
use crate::platform::{Daemon, Plan, Platform, seconds, until};

/// Part of the output of Centreon Engine's `nagiostats`.
const ENGINE: &str = "#!/bin/sh
[ \"$1 $2\" = \"-c /etc/centreon-engine/centengine.cfg\" ] || exit 3
cat <<END
Centreon Engine Stats 24.10.0
Used/High/Total Command Buffers:        0 / 3 / 4096
Active Service Latency:                 0.000 / 1.250 / 0.138 sec
Active Service Execution Time:          0.001 / 9.000 / 0.500 sec
Active Services Last 1/5/15/60 min:     1 / 20 / 21 / 22
Services Ok/Warn/Unk/Crit:              10 / 1 / 2 / 9
Active Host Latency:                    0.001 / 0.002 / 0.003 sec
Active Host Execution Time:             0.010 / 0.020 / 0.030 sec
Active Hosts Last 1/5/15/60 min:        3 / 4 / 5 / 6
Hosts Up/Down/Unreach:                  5 / 1 / 0
END
";

const SCHEMA: &str = "
ALTER TABLE nagios_server ADD COLUMN nagiostats_bin VARCHAR(255);
CREATE TABLE cfg_nagios (nagios_id INT AUTO_INCREMENT PRIMARY KEY, nagios_server_id INT, cfg_dir VARCHAR(255), cfg_file VARCHAR(255),
  nagios_activate ENUM('0','1') DEFAULT '1');
CREATE TABLE cfg_centreonbroker (config_id INT AUTO_INCREMENT PRIMARY KEY, config_name VARCHAR(100), config_activate ENUM('0','1') DEFAULT '1',
  ns_nagios_server INT, stats_activate ENUM('0','1') DEFAULT '1', cache_directory VARCHAR(255));
CREATE TABLE nagios_stats (instance_id INT NOT NULL, stat_key VARCHAR(255) NOT NULL, stat_value VARCHAR(255) NOT NULL,
  stat_label VARCHAR(255) NOT NULL);
INSERT INTO options (`key`, `value`) VALUES ('enable_broker_stats', '1');
";

fn is_there() -> bool {
    let found = Path::new("/usr/bin/rrdtool").exists();
    if !found {
        eprintln!("SKIPPED: rrdtool is not installed (apt-get install rrdtool)");
    }
    found && is_installed()
}

#[track_caller]
fn rrdtool(arguments: &[&str]) -> String {
    let output = Command::new("rrdtool").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn database() -> Database<'static> {
    let database = Server::shared().database();
    database.run(SCHEMA);
    Server::shared().run(&format!("GRANT ALL ON {name}.* TO '{name}'@'%';", name = database.name));
    database
}

fn central(platform: &Platform, database: &Database<'_>, more: &[&str]) -> Plan {
    let mut lines = vec![
        format!("broker_cache_dir: {}", platform.path("broker").display()),
        format!("engine_stats_dir: {}", platform.path("engine").display()),
        "length: 1".to_owned(),
    ];
    lines.extend(more.iter().map(|line| (*line).to_owned()));
    let plan = platform.plan("central", 1).with_api().with_pollers_of(&database.settings(), &["resync_time: 600"]);
    plan.with_module("statistics", &lines)
}

/// Requests statistics and returns the last row.
#[track_caller]
fn collect(central: &Daemon, path: &str) -> Value {
    let answer = central.api().get(&format!("/api/centreon/statistics/{path}"));
    let token = answer.json()["token"].as_str().unwrap_or_else(|| panic!("{:?}", answer.json())).to_owned();
    let rows = central.api().finished_rows(0, &token, seconds(60));
    let last = rows.last().unwrap();
    assert_eq!(code(last), 2, "{rows:?}");
    data(last)
}

#[test]
fn statistics_of_an_engine_and_a_broker_are_where_the_web_interface_reads_them() {
    if !is_there() {
        return;
    }
    let (platform, database) = (Platform::new(), database());
    let poller = Daemon::start(platform.plan("poller", 2));
    database.add(2, "Poller", "127.0.0.1", poller.plan.port);
    let program = platform.write("nagiostats", ENGINE);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    platform.write("poller-broker-stats.json", "{\"version\":\"24.10\"}");
    database.run(&format!(
        "UPDATE nagios_server SET nagiostats_bin = '{}'; \
         INSERT INTO cfg_nagios (nagios_server_id, cfg_dir, cfg_file) VALUES (2, '/etc/centreon-engine/', 'centengine.cfg'); \
         INSERT INTO cfg_centreonbroker (config_name, ns_nagios_server, cache_directory) VALUES ('poller-broker', 2, '{}'); \
         INSERT INTO nagios_stats VALUES (2, 'Min', '9', 'Service Check Latency'), (3, 'Min', '9', 'Service Check Latency');",
        program.display(),
        platform.path("").display(),
    ));
    let central = Daemon::start(central(&platform, &database, &[]));
    central.api().wait_for_pong(2, seconds(20));

    let end = collect(&central, "engine");
    // The central has no engine configured.
    assert_eq!(end["nodes"], 2, "{end}");
    let failed = end["failed"][0].as_str().unwrap();
    assert!(
        end["failed"].as_array().unwrap().len() == 1 && failed.contains("node '1': it has no active engine"),
        "{end}"
    );
    let rows = database
        .run("SELECT CONCAT(stat_label, '|', stat_key, '|', stat_value) FROM nagios_stats WHERE instance_id = 2");
    let rows: Vec<&str> = rows.lines().collect();
    assert_eq!(rows.len(), 12, "{rows:?}");
    for row in
        ["Service Check Latency|Max|1.250", "Host Check Latency |Average|0.003", "Host Check Execution Time|Min|0.010"]
    {
        assert!(rows.contains(&row), "{row} {rows:?}");
    }
    assert_eq!(database.run("SELECT count(*) FROM nagios_stats WHERE instance_id = 3").trim(), "1");
    let folder = platform.path("engine").join("perfmon-2");
    let mut files: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(
        files,
        [
            "nagios_active_host_execution.rrd",
            "nagios_active_host_last.rrd",
            "nagios_active_host_latency.rrd",
            "nagios_active_service_execution.rrd",
            "nagios_active_service_last.rrd",
            "nagios_active_service_latency.rrd",
            "nagios_cmd_buffer.rrd",
            "nagios_hosts_states.rrd",
            "nagios_services_states.rrd",
        ]
    );
    let last = folder.join("nagios_active_host_last.rrd").display().to_string();
    let info = rrdtool(&["info", &last]);
    for line in ["ds[Last_15_Min].last_ds = \"5\"", "ds[Last_Hour].minimal_heartbeat = 3000", "rra[1].rows = 288"] {
        assert!(info.contains(line), "{line}\n{info}");
    }
    assert!(rrdtool(&["fetch", &last, "AVERAGE"]).contains("Last_Min"));
    let definition = format!("DEF:v1={last}:Last_Min:AVERAGE");
    let image = platform.path("graph.png").display().to_string();
    rrdtool(&["graph", &image, &definition, "AREA:v1#19EE11:minute"]);
    assert!(fs::read(&image).unwrap().starts_with(b"\x89PNG"));

    let end = collect(&central, "broker/2");
    assert_eq!(end, json!({ "message": "action brokerstats finished", "nodes": 1 }));
    let file = platform.path("broker").join("2/poller-broker.json");
    assert_eq!(fs::read_to_string(file).unwrap(), "{\"version\":\"24.10\"}");
    database.run("UPDATE options SET `value` = '0' WHERE `key` = 'enable_broker_stats'");
    assert_eq!(collect(&central, "broker"), json!({ "message": "no collection configured" }));
}

#[test]
fn jobs_of_the_module_run_without_the_module_cron_and_a_poller_that_is_down_spoils_nothing() {
    if !is_there() {
        return;
    }
    let (platform, database) = (Platform::new(), database());
    let program = platform.write("nagiostats", ENGINE);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    database.add(7, "down", "127.0.0.1", 9);
    database.run(&format!(
        "UPDATE nagios_server SET nagiostats_bin = '{}'; \
         INSERT INTO cfg_nagios (nagios_server_id, cfg_dir, cfg_file) VALUES (1, '/etc/centreon-engine', 'centengine.cfg'), \
         (7, '/etc/centreon-engine', 'centengine.cfg');",
        program.display()
    ));
    let jobs = "cron: [{id: engine_stats, timespec: '*/1 * * * * *', action: ENGINESTATS, parameters: {timeout: 2}}]";
    let central = Daemon::start(central(&platform, &database, &[jobs]));
    central.wait_for_log("no statistics of the engine of node '7'", seconds(60));
    let folder = platform.path("engine");
    until("the central's own files", seconds(60), || {
        folder.join("perfmon-1/nagios_hosts_states.rrd").exists().then_some(())
    });
    assert!(!folder.join("perfmon-7").exists());
}

//! `stheno demo --central`: a complete central on one machine. It has MariaDB with the tables of Centreon, two pollers,
//! for each an engine that only reads its pipe, and a web interface that only writes command files. It shows the path
//! of an export, a reload, an acknowledgement and a downtime, each with its rows.
//!
//! Out of scope: Centreon itself.

mod files;
mod mariadb;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::edge::signals::Signals;

use super::api::Api;
use super::{Demo, print, progress, table_line};
use files::Platform;

/// The orders that the web interface writes: description, poller and line.
const ORDERS: [(&str, u64, &str); 5] = [
    ("an export of the configuration", 2, "SENDCFGFILE:2"),
    ("a reload of the engine", 2, "RELOAD:2"),
    ("an acknowledgement", 2, "EXTERNALCMD:2:[{now}] ACKNOWLEDGE_HOST_PROBLEM;web-server;2;1;1;admin;seen"),
    ("a downtime", 3, "EXTERNALCMD:3:[{now}] SCHEDULE_HOST_DOWNTIME;db-server;{now};{later};1;0;3600;admin;upgrade"),
    ("a reload of the other engine", 3, "RELOAD:3"),
];

/// Creates and starts the platform, and shows the orders.
///
/// # Errors
/// Says what failed.
pub(super) fn play(demo: &mut Demo, signals: &mut Signals) -> Result<Platform, String> {
    let program = mariadb::find()?;
    progress(&format!("making a database in {}", demo.folder.display()));
    let database = mariadb::make(&program, &demo.folder)?;
    demo.start_program("mariadbd", database.command())?;
    demo.wait(signals, "an answer of MariaDB", || database.run("SELECT 1").ok())?;
    let platform = files::write(&demo.program, &demo.folder, &database)?;
    database.run(&platform.tables())?;
    for poller in platform.pollers() {
        demo.start_program(&format!("engine of {}", poller.name), platform.engine(poller))?;
    }
    for daemon in platform.daemons() {
        progress(&format!("starting {}: stheno run --config {}", daemon.name, daemon.config.display()));
        demo.start(daemon)?;
    }
    let api = Api::new(platform.api_port);
    demo.wait_for_nodes(signals, &api, &[2, 3])?;
    progress("what the original sends for a VMware daemon first ends with code 1 or does nothing: there is none here");
    table_line("node", "code", "what");
    for (number, (what, node, order)) in ORDERS.into_iter().enumerate() {
        show(demo, signals, &platform, &api, (number, what, node, order))?;
    }
    demo.wait(signals, "lines in both pipes", || {
        platform.pollers().all(|poller| !platform.engine_lines(poller).is_empty()).then_some(())
    })?;
    print("\nWhat came out of the engines' pipes");
    for poller in platform.pollers() {
        for line in platform.engine_lines(poller) {
            print(&format!("{:>4}  {line}", poller.id));
        }
    }
    Ok(platform)
}

/// Writes one command file and prints the rows of the messages that result from it.
fn show(
    demo: &mut Demo,
    signals: &mut Signals,
    platform: &Platform,
    api: &Api,
    (number, what, node, order): (usize, &str, u64, &str),
) -> Result<(), String> {
    let now = crate::edge::clock::read().wall.as_seconds();
    let order = order.replace("{now}", &now.to_string()).replace("{later}", &(now + 3_600).to_string());
    print(&format!("\n{what}: {order}"));
    let before = tokens(&platform.central_log()).len();
    platform.order(number, &order)?;
    let expected = if order.starts_with("SENDCFGFILE") { 3 } else { 1 + usize::from(order.starts_with("RELOAD")) };
    let found = demo.wait(signals, "a message of the order", || {
        let all = tokens(&platform.central_log());
        let new = all.get(before..)?.to_vec();
        (new.len() >= expected).then_some(new)
    })?;
    for token in found {
        let mut shown = 0;
        demo.wait(signals, "the end of the order", || {
            let rows = api.rows(node, &token)?;
            for row in rows.iter().skip(shown) {
                table_line(&node.to_string(), &row.code.to_string(), &row.text);
            }
            shown = shown.max(rows.len());
            rows.iter().any(|row| row.is_last).then_some(())
        })?;
    }
    Ok(())
}

/// Returns the tokens in the central's log, in order.
fn tokens(log: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let orders = text.lines().filter(|line| line.contains("[legacycmd]") && line.contains(" for "));
    let token = |line: &str| Some(line.split_once("(token ")?.1.split_once(')')?.0.to_owned());
    orders.filter_map(token).collect()
}

/// Prints what the user can try next.
pub(super) fn describe(platform: &Platform, folder: &Path) {
    let url = Api::new(platform.api_port).url();
    print(&format!(
        "\nREST API of the central\n  {url}/api/internal/constatus\n\nTry it\n  \
         curl -d '[{{\"command\":\"RELOAD\",\"target\":2}}]' {url}/api/centreon/legacycmd/command\n  \
         echo 'EXTERNALCMD:3:[0] ENABLE_NOTIFICATIONS' >{}\n\nFiles in {}\n  *.yaml, *.log, mysql/, centcore/, \
         engine-2.log and engine-3.log",
        platform.cmd_dir().join("mine.cmd").display(),
        folder.display()
    ));
}

/// Runs a program until it ends.
///
/// # Errors
/// A sentence with the output of the program.
fn run(mut command: Command, what: &str) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{what}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim_end()))
}

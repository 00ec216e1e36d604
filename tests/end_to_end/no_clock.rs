//! Machines without a clock of their own: they start in 1970, 2001, 2038 or later, and are set when the network is
//! there.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::platform::api::{code, number};
use crate::platform::daemon::open_database;
use crate::platform::fake_clock::{FakeClock, now};
use crate::platform::{Daemon, Plan, Platform, free_port, seconds, until};

const TOKEN: &str = "t0k3n-0f-the-test";
/// Nothing can have happened before this build was made.
const BUILT: i64 = 1_793_491_200;

/// The clock of a plan; says that the test is skipped if there can be none.
fn clock_of(plan: &mut Plan) -> Option<FakeClock> {
    FakeClock::of(plan).map_err(|reason| println!("SKIPPED: {reason}")).ok()
}

/// `etime` and `ctime` of the rows of a daemon, by id.
fn times(database: &Connection) -> Vec<(i64, f64)> {
    let mut query = database.prepare("SELECT etime, ctime FROM gorgone_history ORDER BY id").unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn end_time(rows: &[Value]) -> i64 {
    rows.iter().filter(|row| code(row) == 2).map(|row| number(&row["etime"])).max().unwrap()
}

#[test]
fn a_node_that_starts_at_an_impossible_time_takes_the_centrals_until_its_clock_is_set() {
    for start in [12, 1_000_000_000, 2_147_483_640, 4_294_967_290] {
        let platform = Platform::new();
        let mut plan = platform.plan("poller", 2);
        let Some(clock) = clock_of(&mut plan) else { return };
        clock.set(start);
        let poller = Daemon::start(plan);
        poller.wait_for_log("this machine's clock is wrong: it says ", seconds(5));
        let central = Daemon::start(platform.central_with(&[&poller]));
        central.api().wait_for_pong(2, seconds(10));
        until("the node has the central's time", seconds(10), || {
            let token = central.api().command(2, "true");
            let rows = central.api().finished_rows(2, &token, seconds(20));
            (end_time(&rows).abs_diff(now()) < 30).then_some(())
        });
        clock.ahead(0);
        let token = central.api().command(2, "true");
        let rows = central.api().finished_rows(2, &token, seconds(20));
        assert!(end_time(&rows).abs_diff(now()) < 30, "{rows:?}");
        poller.wait_for_log("this machine's clock is right again", seconds(5));
        let times = times(&open_database(&poller.plan.database));
        assert!(times.iter().all(|(etime, _)| *etime >= BUILT), "no row is older than the program: {times:?}");
        assert!(times.is_sorted_by(|one, next| one.1 < next.1), "rows are in order: {times:?}");
        assert!(times.iter().all(|(etime, _)| *etime <= now() + 5), "no row is of the future: {times:?}");
    }
}

/// A certificate for 127.0.0.1 that is valid for a day from now on, and that of its issuer.
fn certificates(folder: &Path) {
    let openssl = |words: &str| {
        let words = format!("req -x509 -newkey rsa:2048 -nodes {words}");
        let output = Command::new("openssl").args(words.split(' ')).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    openssl("-days 9999 -subj /CN=issuer -out ca.pem -keyout ca.key");
    openssl(
        "-days 1 -subj /CN=central -addext basicConstraints=CA:FALSE -addext subjectAltName=IP:127.0.0.1 -CA ca.pem -CAkey ca.key -out cert.pem -keyout key.pem",
    );
}

#[test]
fn tls_says_that_the_clock_is_wrong_and_goes_by_the_newest_row_until_it_is_set() {
    let platform = Platform::new();
    certificates(&platform.path(""));
    let [certificate, key, issuer] =
        ["cert.pem", "key.pem", "ca.pem"].map(|name| platform.path(name).display().to_string());
    let port = free_port();
    let plan = platform.plan("central", 1).with_api().with_dial_in_node(7, "wss").with_proxy("httpserver:");
    let plan = [
        "  enable: true".to_owned(),
        "  address: 127.0.0.1".to_owned(),
        format!("  port: {port}"),
        format!("  token: {TOKEN}"),
        "  ssl: true".to_owned(),
        format!("  ssl_cert_file: {certificate}"),
        format!("  ssl_key_file: {key}"),
    ]
    .iter()
    .fold(plan, |plan, line| plan.with_proxy(line));
    let central = Daemon::start(plan);
    let lines = [
        "address: 127.0.0.1".to_owned(),
        format!("port: {port}"),
        format!("token: {TOKEN}"),
        "ssl: true".to_owned(),
        format!("ssl_ca_file: {issuer}"),
    ];
    let mut plan = platform.plan("node", 7).with_module("pullwss", &lines);
    let Some(clock) = clock_of(&mut plan) else { return };
    clock.set(12);
    let mut node = Daemon::start(plan);
    // The history is empty, so nothing is known but when the program was made.
    node.wait_for_log("this machine's clock is wrong: it says 1970-01-01 00:00:", seconds(5));
    node.wait_for_log("the certificate of '127.0.0.1' is refused: this machine's clock is wrong: it says", seconds(10));
    assert!(!node.log().contains("not valid yet"), "{}", node.log());
    clock.ahead(0);
    central.api().wait_for_pong(7, seconds(40));
    assert_eq!(central.api().output_of(7, "echo set", seconds(20)), "set");

    for start in [12, 978_307_200, 2_147_483_640] {
        node.kill();
        fs::write(node.plan.log_file(), "").unwrap();
        clock.set(start);
        node.start_again();
        until("the node is back by the time of its newest row", seconds(30), || {
            node.log().contains("connected to ").then_some(())
        });
        assert_eq!(central.api().output_of(7, "echo again", seconds(30)), "again");
        assert!(!node.log().contains("is refused"), "{}", node.log());
    }
}

#[test]
fn a_clock_that_runs_backwards_for_an_hour_neither_loses_nor_ends_anything_early() {
    let platform = Platform::new();
    let mut plan = platform.plan("poller", 2);
    let Some(clock) = clock_of(&mut plan) else { return };
    let mut poller = Daemon::start(plan);
    let mut plan = platform.central_with(&[&poller]).with_proxy("ping: 1");
    let centrals = clock_of(&mut plan).unwrap();
    let central = Daemon::start(plan);
    central.api().wait_for_pong(2, seconds(10));
    poller.kill();
    let answer = central.api().post("/api/nodes/2/core/action/command?ttl=600", &json!([{ "command": "true" }]));
    let waiting = answer.json()["token"].as_str().unwrap().to_owned();
    poller.start_again();
    let file = platform.path("words");
    let mut tokens = vec![waiting];
    for step in 1..=60 {
        // An hour back within some seconds, on both machines, one before the other.
        [&clock, &centrals].iter().for_each(|clock| clock.ahead(-60 * step));
        tokens.push(central.api().command(2, &format!("echo {step} >> {}", file.display())));
        thread::sleep(Duration::from_millis(50));
    }
    for token in &tokens {
        let rows = central.api().finished_rows(2, token, seconds(60));
        let ends = rows.iter().filter(|row| crate::platform::api::is_last(row)).count();
        assert_eq!((ends, rows.iter().filter(|row| code(row) == 2).count()), (1, 1), "{rows:?}");
    }
    let mut words: Vec<i64> = fs::read_to_string(&file).unwrap().lines().map(|word| word.parse().unwrap()).collect();
    words.sort_unstable();
    assert_eq!(words, (1..=60).collect::<Vec<_>>(), "each command ran once");
    assert_eq!(number(&central.api().node_status(2)["ping_failed"]), 0, "pings go by the other clock");
    for daemon in [&central, &poller] {
        let times = times(&open_database(&daemon.plan.database));
        assert!(times.is_sorted_by(|one, next| one.1 < next.1), "rows of {} are in order", daemon.plan.name);
    }
    clock.ahead(0);
    centrals.ahead(0);
    assert_eq!(central.api().output_of(2, "echo end", seconds(20)), "end");
}

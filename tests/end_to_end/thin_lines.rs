//! Lines that are thin and long: what an idle node costs, how large its history is, and what overtakes what.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::platform::api::{code, is_last};
use crate::platform::daemon::open_database;
use crate::platform::thin_line::ThinLine;
use crate::platform::{Daemon, Plan, Platform, free_port, seconds, until};

const TOKEN: &str = "t0k3n-0f-the-test";
/// A line that slows nothing.
const WIDE: u64 = 1 << 30;

/// A central for pullwss nodes that pings and syncs every second, and the plan of its node 7 behind a line.
fn pair(platform: &Platform) -> (Daemon, Plan, ThinLine) {
    let port = free_port();
    let plan = platform.plan("central", 1).with_api().with_dial_in_node(7, "wss").with_proxy("ping: 1");
    let lines = ["httpserver:", "  enable: true", "  address: 127.0.0.1"].map(str::to_owned);
    let more = [format!("  port: {port}"), format!("  token: {TOKEN}"), "synchistory_time: 1".to_owned()];
    let plan = lines.iter().chain(&more).fold(plan, |plan, line| plan.with_proxy(line));
    let line = ThinLine::new(port, WIDE, Duration::ZERO);
    let lines = ["address: 127.0.0.1".to_owned(), format!("port: {}", line.port), format!("token: {TOKEN}")];
    (Daemon::start(plan), platform.plan("node", 7).with_module("pullwss", &lines), line)
}

#[test]
fn an_idle_node_answers_pings_in_few_words_and_is_asked_for_nothing() {
    let platform = Platform::new();
    let (central, node, line) = pair(&platform);
    let _node = Daemon::start(node);
    central.api().wait_for_pong(7, seconds(10));
    // The first PONG is a whole one, and the rows of the start have to come over.
    std::thread::sleep(seconds(4));
    line.take_bytes();
    let begun = Instant::now();
    std::thread::sleep(seconds(6));
    let pings = begun.elapsed().as_secs() + 2;
    let [up, down] = line.take_bytes();
    assert!(up <= pings * 120 && down <= pings * 40, "{up} and {down} bytes for {pings} pings");
    assert!(up >= 3 * 60, "it is pinged: {up}");
    // What is new comes at once all the same.
    assert_eq!(central.api().output_of(7, "echo new", seconds(10)), "new");
}

#[test]
fn the_rows_of_a_node_come_over_in_a_fraction_of_their_size() {
    let platform = Platform::new();
    let (central, node, line) = pair(&platform);
    let mut node = Daemon::start(node);
    node.kill();
    let data = r#"{"result":{"exit_code":0,"stdout":"PING OK - Packet loss = 0%, RTA = 0.42 ms"},"metadata":null}"#;
    let mut database = rusqlite::Connection::open(&node.plan.database).unwrap();
    let change = database.transaction().unwrap();
    let now = crate::platform::fake_clock::now() as f64;
    for number in 1..=3_000_i64 {
        let sql =
            "INSERT INTO gorgone_history (token, code, etime, ctime, instant, data) VALUES (?1, 100, ?2, ?3, 0, ?4)";
        let ctime = now + number as f64 / 1_000.0;
        change.execute(sql, (format!("token-{number:08}"), now as i64, ctime, data)).unwrap();
    }
    change.commit().unwrap();
    drop(database);
    line.take_bytes();
    node.start_again();
    let here = open_database(&central.plan.database);
    until("every row is here", seconds(30), || {
        let sql = "SELECT count(*) FROM gorgone_history WHERE token LIKE 'token-%'";
        let count: i64 = here.query_row(sql, [], |row| row.get(0)).unwrap();
        (count == 3_000).then_some(())
    });
    let [up, _] = line.take_bytes();
    let plain = 3_000 * u64::try_from(data.len() + 100).unwrap();
    assert!(up * 5 < plain, "{up} bytes for rows of {plain}");
}

#[test]
fn a_message_overtakes_a_copy_over_a_line_of_20_kbit_a_second() {
    const ONE_WAY: Duration = Duration::from_millis(300);
    let platform = Platform::new();
    let node = Daemon::start(platform.plan("poller", 2));
    let line = ThinLine::new(node.plan.port, WIDE, ONE_WAY);
    let plan = platform.plan("central", 1).with_api().with_node(2, line.port).with_proxy("ping: 2");
    let central = Daemon::start(plan);
    central.api().wait_for_pong(2, seconds(20));
    line.carries(2_500);
    let source = platform.write("source", vec![b'x'; 200_000]);
    let destination = platform.path("destination");
    let body = json!({ "source": source, "destination": destination, "cache_dir": platform.path("") });
    let answer = central.api().post("/api/nodes/2/core/proxy/remotecopy", &body);
    let copy = answer.json()["token"].as_str().unwrap().to_owned();
    // The first chunks show how thin the line is. Commands wait for the copy on purpose; pings do not.
    std::thread::sleep(seconds(8));
    let mut round_trips = Vec::new();
    for _ in 0..10 {
        std::thread::sleep(seconds(2));
        let status = central.api().get("/api/status").json();
        let nodes = status["nodes"].as_array().unwrap();
        round_trips.push(nodes.iter().find(|node| node["id"] == 2).unwrap()["ping_ms"].as_u64().unwrap());
    }
    assert!(!destination.exists(), "the copy is still under way");
    let worst = round_trips.iter().max().unwrap();
    // The copy takes 80 s on this line: none of the pings waited for it. A quiet machine says how fast they are.
    assert!(*worst <= 20_000, "{round_trips:?} ms, where a round trip takes 600 ms");
    line.carries(WIDE);
    let rows = central.api().finished_rows(2, &copy, seconds(60));
    assert!(rows.iter().any(|row| is_last(row) && code(row) == 2), "{rows:?}");
    assert_eq!(fs::read(&destination).unwrap().len(), 200_000);
    println!("{round_trips:?}");
}

//! Requests that wait on disk for their nodes run once and in order and end once, also when either end crashes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::platform::api::{Api, code, data, is_last};
use crate::platform::{Daemon, Platform, seconds, until};

/// Asks node 2 to append a word to a file.
fn append(api: &Api, word: &str, file: &Path, options: &str) -> String {
    let line = format!("echo {word} >> {}", file.display());
    let answer = api.post(&format!("/api/nodes/2/core/action/command{options}"), &json!([{ "command": line }]));
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()["token"].as_str().unwrap().to_owned()
}

/// Returns the ends of a token in the history.
fn ends(daemon: &Daemon, token: &str) -> Vec<Value> {
    let rows = daemon.api().get(&format!("/api/log/{token}")).json();
    rows["data"].as_array().unwrap().iter().filter(|row| is_last(row)).cloned().collect()
}

fn wait_for_end(daemon: &Daemon, token: &str) -> Value {
    let end = until("the token ends", seconds(30), || ends(daemon, token).first().cloned());
    assert_eq!(ends(daemon, token).len(), 1);
    end
}

fn message(row: &Value) -> String {
    data(row)["message"].as_str().unwrap_or_default().to_owned()
}

fn queued(daemon: &Daemon) -> Value {
    daemon.api().get("/api/nodes/2/queue").json()
}

#[test]
fn commands_for_a_node_that_is_away_run_once_and_in_order_when_it_comes_whoever_is_killed_meanwhile() {
    let platform = Platform::new();
    let (mut central, mut poller) = platform.pair();
    central.api().wait_for_pong(2, seconds(5));
    poller.kill();
    let file = platform.path("words");
    let tokens: Vec<String> =
        (0..20).map(|number| append(&central.api(), &number.to_string(), &file, "?ttl=600")).collect();
    central.kill();
    central.start_again();
    assert_eq!(queued(&central)["messages"], 20);
    poller.start_again();
    for token in &tokens {
        let end = wait_for_end(&central, token);
        assert_eq!(code(&end), 2, "{end}");
    }
    let words: String = (0..20).map(|number| format!("{number}\n")).collect();
    assert_eq!(fs::read_to_string(&file).unwrap(), words);
    until("the queue is empty", seconds(5), || (queued(&central)["messages"] == 0).then_some(()));
}

#[test]
fn killing_both_ends_again_and_again_runs_every_command_once() {
    let platform = Platform::new();
    let (mut central, mut poller) = platform.pair();
    central.api().wait_for_pong(2, seconds(5));
    let file = platform.path("words");
    let mut tokens = Vec::new();
    for round in 0..6 {
        for number in 0..20 {
            let word = (round * 20 + number).to_string();
            tokens.push(append(&central.api(), &word, &file, "?ttl=600"));
        }
        if round % 2 == 0 {
            poller.kill();
            central.kill();
            central.start_again();
        } else {
            poller.start_again();
            std::thread::sleep(Duration::from_millis(200));
            central.kill();
            central.start_again();
        }
    }
    let ends: Vec<Value> = tokens.iter().map(|token| wait_for_end(&central, token)).collect();
    let words = fs::read_to_string(&file).unwrap();
    let run: Vec<u32> = words.lines().map(|word| word.parse().unwrap()).collect();
    for (number, end) in ends.iter().enumerate() {
        let count = run.iter().filter(|word| **word as usize == number).count();
        // A command that was running when its daemon was killed may or may not have run; all others have.
        let range = if code(end) == 2 { 1..=1 } else { 0..=1 };
        assert!(range.contains(&count), "{number} ran {count} times: {end}");
    }
}

#[test]
fn a_request_expires_and_another_is_cancelled_and_each_has_one_end() {
    let platform = Platform::new();
    let central = Daemon::start(platform.plan("central", 1).with_api().with_node(2, crate::platform::free_port()));
    let file = platform.path("words");
    let expires = append(&central.api(), "no", &file, "?ttl=1");
    let cancelled = append(&central.api(), "no", &file, "?ttl=600");
    let listed = queued(&central);
    assert_eq!(listed["queue"][1]["token"], cancelled.as_str(), "{listed}");
    assert_eq!((&listed["queue"][1]["state"], &listed["queue"][1]["action"]), (&json!("waiting"), &json!("COMMAND")));
    let path = |node: u32, token: &str| format!("/api/nodes/{node}/queue/{token}");
    assert_eq!(central.api().call("DELETE", &path(2, "nothing"), b"").status, 404);
    assert_eq!(central.api().call("DELETE", &path(3, &cancelled), b"").status, 404);
    assert_eq!(central.api().call("DELETE", &path(2, &cancelled), b"").status, 200);
    assert_eq!(central.api().call("DELETE", &path(2, &cancelled), b"").status, 409);
    let end = wait_for_end(&central, &cancelled);
    assert!(code(&end) == 1 && message(&end).starts_with("cancelled"), "{end}");
    let end = wait_for_end(&central, &expires);
    assert!(code(&end) == 1 && message(&end).starts_with("expired"), "{end}");
    assert_eq!(central.api().call("DELETE", &path(2, &expires), b"").status, 409);
    assert_eq!(central.api().get("/api/queue").json()["messages"], 0);
    for bad in ["-1", "1000000000", "x", "1.5"] {
        let answer = central.api().post(&format!("/api/nodes/2/core/action/command?ttl={bad}"), &json!([]));
        assert_eq!(answer.status, 400, "{bad}");
        assert!(answer.json()["message"].as_str().unwrap().contains(bad), "{}", answer.json());
    }
    // Nothing waits without a `ttl`.
    let token = append(&central.api(), "no", &file, "?ttl=0");
    assert_eq!(queued(&central)["messages"], 0, "{token}");
    assert!(!file.exists());
}

#[test]
fn a_full_queue_ends_a_token_at_once_and_says_so() {
    let platform = Platform::new();
    let plan = platform.plan("central", 1).with_api().with_node(2, crate::platform::free_port());
    let central = Daemon::start(plan.with_proxy("queue: {ttl: 60, max_messages: 3}"));
    let file = platform.path("words");
    let tokens: Vec<String> = (0..4).map(|_| append(&central.api(), "no", &file, "")).collect();
    let end = wait_for_end(&central, &tokens[3]);
    assert!(code(&end) == 1 && message(&end).starts_with("queue full"), "{end}");
    assert_eq!(queued(&central)["messages"], 3);
}

#[test]
fn a_scheduled_command_runs_at_its_time_here_and_on_a_node() {
    let platform = Platform::new();
    let (central, _poller) = platform.pair();
    central.api().wait_for_pong(2, seconds(5));
    let file = platform.path("words");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let then = now + 2;
    let scheduled = append(&central.api(), "later", &file, &format!("?not_before={then}&ttl=60"));
    let first = append(&central.api(), "first", &file, "?ttl=60");
    assert_eq!(queued(&central)["queue"][0]["not_before"], then);
    let line = format!("date +%s > {}", platform.path("here").display());
    let path = format!("/api/core/action/command?not_before={then}");
    let here = central.api().post(&path, &json!([{ "command": line }])).json()["token"].as_str().unwrap().to_owned();
    for token in [&scheduled, &first, &here] {
        assert_eq!(code(&wait_for_end(&central, token)), 2);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "first\nlater\n");
    let ran: u64 = fs::read_to_string(platform.path("here")).unwrap().trim().parse().unwrap();
    assert!(ran >= then, "{ran} is before {then}");
}

#[test]
fn the_same_token_with_the_same_request_runs_once_and_with_another_is_refused() {
    let platform = Platform::new();
    let (mut central, _poller) = platform.pair();
    central.api().wait_for_pong(2, seconds(5));
    let file = platform.path("words");
    let post = |central: &Daemon, path: &str, timeout: &str| {
        let body = format!(r#"[ {{"timeout":{timeout},"command":"echo x >> {}"}} ]"#, file.display());
        central.api().call("POST", path, body.as_bytes())
    };
    let path = "/api/nodes/2/core/action/command?token=script-1";
    assert_eq!(post(&central, path, "10").json(), json!({ "token": "script-1" }));
    assert_eq!(code(&wait_for_end(&central, "script-1")), 2);
    for _ in 0..2 {
        assert_eq!(post(&central, path, "1.0e1").json(), json!({ "token": "script-1" }), "equal as JSON");
        assert_eq!(post(&central, &format!("{path}&ttl=60"), "10").status, 200);
        let rows = post(&central, &format!("{path}&log_wait=5000000"), "10").json();
        assert!(rows["data"].as_array().unwrap().iter().any(is_last), "{rows}");
        let other = post(&central, path, "11");
        assert_eq!((other.status, &other.json()["error"]), (409, &json!("token_in_use")));
        assert_eq!(post(&central, "/api/core/action/command?token=script-1", "10").status, 409);
        central.kill();
        central.start_again();
    }
    assert_eq!(post(&central, "/api/core/action/command?token=a/b", "10").status, 400);
    assert_eq!(ends(&central, "script-1").len(), 1);
    assert_eq!(fs::read_to_string(&file).unwrap(), "x\n");
}

/// Asks a node to append a word to a file, and returns the token.
fn append_on(api: &Api, node: u32, word: &str, file: &Path) -> String {
    let line = format!("echo {word} >> {}", file.display());
    let path = format!("/api/nodes/{node}/core/action/command?ttl=600");
    let answer = api.post(&path, &json!([{ "command": line }]));
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()["token"].as_str().unwrap().to_owned()
}

fn assert_ran_once_in_order(central: &Daemon, tokens: &[String], file: &Path) {
    for token in tokens {
        let end = wait_for_end(central, token);
        assert_eq!(code(&end), 2, "{end}");
    }
    let words: String = (0..tokens.len()).map(|number| format!("{number}\n")).collect();
    assert_eq!(fs::read_to_string(file).unwrap(), words);
}

#[test]
fn what_waits_for_a_node_behind_a_relay_outlives_the_relay_and_takes_another_way() {
    let platform = Platform::new();
    let mut poller = Daemon::start(platform.plan("poller", 9).with_authorized("poller"));
    let relay = |name: &str, id: u32| {
        Daemon::start(platform.plan(name, id).with_authorized("poller").with_node(9, poller.plan.port))
    };
    let mut relays = [relay("first", 2), relay("second", 3)];
    let mut central = Daemon::start(platform.central_with(&[&relays[0], &relays[1]]).with_proxy("ping: 1"));
    let api = central.api();
    until("the central knows the way", seconds(20), || {
        (!api.get("/api/internal/routes/9").json()["data"]["9"]["in_use"].is_null()).then_some(())
    });
    poller.kill();
    let file = platform.path("words");
    let mut tokens: Vec<String> = (0..10).map(|number| append_on(&api, 9, &number.to_string(), &file)).collect();
    let in_use = api.get("/api/internal/routes/9").json()["data"]["9"]["in_use"].as_u64().unwrap();
    // The relay that would pass them on does not come back, and the central is killed, too.
    relays[usize::try_from(in_use - 2).unwrap()].kill();
    central.kill();
    central.start_again();
    until("the central knows the other way", seconds(20), || {
        let way = central.api().get("/api/internal/routes/9").json()["data"]["9"]["in_use"].as_u64();
        way.filter(|way| *way != in_use)
    });
    tokens.extend((10..12).map(|number| append_on(&central.api(), 9, &number.to_string(), &file)));
    poller.start_again();
    assert_ran_once_in_order(&central, &tokens, &file);
}

#[test]
fn what_waits_for_a_node_that_dials_in_runs_once_and_in_order_when_it_comes() {
    let platform = Platform::new();
    let central = platform.plan("central", 1).with_api().with_dial_in_node(6, "pull").with_authorized("poller");
    let mut central = Daemon::start(central.with_proxy("ping: 1"));
    let file = platform.path("words");
    let tokens: Vec<String> = (0..10).map(|number| append_on(&central.api(), 6, &number.to_string(), &file)).collect();
    central.kill();
    central.start_again();
    let pull = [format!("target_path: 127.0.0.1:{}", central.plan.port)];
    let mut node = Daemon::start(platform.plan("node", 6).with_module("pull", &pull));
    wait_for_end(&central, &tokens[2]);
    node.kill();
    node.start_again();
    for token in &tokens {
        wait_for_end(&central, token);
    }
    let words = fs::read_to_string(&file).unwrap();
    let mut seen: Vec<&str> = words.lines().collect();
    let all = seen.len();
    seen.dedup();
    assert_eq!(seen.len(), all, "none ran twice: {words}");
}

//! Two centrals with one history on a real MariaDB (`gorgonecore.cluster`).

use std::time::Instant;

use serde_json::{Value, json};

use crate::mariadb::{History, Server, is_installed};
use crate::platform::api::data;
use crate::platform::{Daemon, Plan, Platform, free_port, seconds, until};

/// A member of a cluster.
fn member(platform: &Platform, name: &str, history: &History<'_>, lines: &[&str]) -> Plan {
    let plan = platform.plan(name, 1).with_api().with_server(&history.lines());
    let port = plan.api_port.unwrap();
    let mut options = vec![format!("member: {name}"), format!("address: 127.0.0.1:{port}")];
    options.extend(lines.iter().map(|line| (*line).to_owned()));
    Plan { stands_by: true, ..plan.with_core(&format!("cluster: {{{}}}", options.join(", "))) }
}

fn ready(central: &Daemon) -> (u16, Value) {
    let answer = central.api().get("/readyz");
    (answer.status, answer.json())
}

#[track_caller]
fn wait_until_active(central: &Daemon) {
    until("the central is active", seconds(30), || {
        let alive = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ready(central).0 == 200));
        alive.unwrap_or(false).then_some(())
    });
}

#[test]
fn a_standby_says_who_is_active_reads_the_history_and_takes_over_after_a_stop_and_a_kill() {
    if !is_installed() {
        return;
    }
    let (platform, server) = (Platform::new(), Server::shared());
    let history = server.history();
    let poller = Daemon::start(platform.plan("poller", 2));
    let cluster = ["name: c", "lease: 3"];
    let with_node = |plan: Plan| plan.with_node(2, poller.plan.port);
    let mut first = Daemon::start(with_node(member(&platform, "first", &history, &cluster)));
    first.api().wait_for_pong(2, seconds(20));
    let plan = with_node(member(&platform, "second", &history, &cluster));
    let mut second = Daemon::start(plan);

    let (status, text) = ready(&second);
    assert_eq!((status, text["status"].as_str()), (503, Some("standby")), "{text}");
    let address = format!("127.0.0.1:{}", first.plan.api_port.unwrap());
    assert!(text["message"].as_str().unwrap().contains(&format!("'first' at {address}")), "{text}");
    assert_eq!(second.api().get("/healthz").status, 200);
    let token = first.api().command(2, "echo shared");
    first.api().finished_rows(2, &token, seconds(20));
    until("the standby reads the history", seconds(10), || {
        let rows = second.api().rows(0, &token);
        rows.iter().any(|row| data(row)["result"]["stdout"] == "shared").then_some(())
    });
    let refused = second.api().get("/api/internal/constatus");
    assert_eq!(refused.status, 503);
    assert!(refused.json()["message"].as_str().unwrap().contains(&address));
    let status = second.api().get("/api/status").json();
    let seen = &status["daemon"]["cluster"];
    assert_eq!((seen["state"].as_str(), seen["active"].as_str()), (Some("standby"), Some("first")), "{seen}");
    assert_eq!(seen["members"].as_array().unwrap().len(), 2);

    // A stop gives the lease back.
    let begin = Instant::now();
    first.stop();
    wait_until_active(&second);
    assert!(begin.elapsed() < seconds(4), "{:?}", begin.elapsed());
    second.api().wait_for_pong(2, seconds(20));
    assert_eq!(second.api().output_of(2, "echo by the second", seconds(20)), "by the second");

    // A kill leaves it to its time.
    first.start_again();
    assert_eq!(ready(&first).0, 503);
    let begin = Instant::now();
    second.kill();
    wait_until_active(&first);
    assert!(begin.elapsed() < seconds(3 + 3), "{:?}", begin.elapsed());
    first.api().wait_for_pong(2, seconds(20));
    assert_eq!(first.api().output_of(2, "echo by the first", seconds(20)), "by the first");
}

#[test]
fn members_that_cannot_share_a_history_are_refused_or_named() {
    if !is_installed() {
        return;
    }
    let (platform, server) = (Platform::new(), Server::shared());
    let history = server.history();
    let refusal = |plan: Plan| {
        let (status, said) = Daemon::refused(plan);
        assert!(!status.success(), "{said}");
        said
    };
    let first = Daemon::start(member(&platform, "first", &history, &["name: c", "lease: 3"]));
    let mut twin = member(&platform, "twin", &history, &["name: c", "lease: 3"]);
    twin.core = twin.core.iter().map(|line| line.replace("member: twin", "member: first")).collect();
    let said = refusal(twin);
    assert!(said.contains("give each its own gorgonecore.cluster.member"), "{said}");
    let said = refusal(member(&platform, "other", &history, &["name: d", "lease: 3"]));
    assert!(said.contains("it is the history of cluster 'c', and this daemon is of cluster 'd'"), "{said}");
    for lease in ["0", "1e9"] {
        let said = refusal(member(&platform, "lease", &history, &["name: c", &format!("lease: {lease}")]));
        assert!(said.contains("gorgonecore.cluster.lease") && said.contains("from 2 to 300"), "{said}");
    }
    let other = member(&platform, "third", &history, &["name: c", "lease: 3"]).with_authorized("poller");
    let other = Daemon::start(other.with_node(7, 9));
    other.wait_for_log("differ in gorgonecore.authorized_clients: make both alike", seconds(10));
    other.wait_for_log("differ in the nodes of the register file", seconds(10));

    // Somebody makes another one active in the table: who was active stores nothing more, and stands by or comes back.
    history.run("UPDATE stheno_store SET epoch = epoch + 1, member = 'third', place = 'x', lease_until = lease_until");
    first.wait_for_log("has taken the history over", seconds(10));
    until("one of both is active again", seconds(30), || {
        let is_active = |central: &Daemon| {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ready(central).0 == 200)).unwrap_or(false)
        };
        (is_active(&first) != is_active(&other)).then_some(())
    });
}

#[test]
fn a_central_that_was_stopped_for_longer_than_its_lease_sends_nothing_when_it_wakes() {
    if !is_installed() {
        return;
    }
    let (platform, server) = (Platform::new(), Server::shared());
    let history = server.history();
    let poller = Daemon::start(platform.plan("poller", 2));
    let cluster = ["name: c", "lease: 2"];
    let with_node = |plan: Plan| plan.with_node(2, poller.plan.port);
    let first = Daemon::start(with_node(member(&platform, "first", &history, &cluster)));
    first.api().wait_for_pong(2, seconds(20));
    let plan = with_node(member(&platform, "second", &history, &cluster));
    let second = Daemon::start(plan);
    let file = platform.path("ran");
    // The request reaches the first central while it is stopped.
    first.signal("STOP");
    let api = first.api();
    let line = format!("echo x >> {}", file.display());
    let body = json!([{ "command": line }]);
    let asked = std::thread::spawn(move || {
        let _no_answer = std::panic::catch_unwind(|| api.post("/api/nodes/2/core/action/command", &body));
    });
    wait_until_active(&second);
    first.signal("CONT");
    let _ = asked.join();
    until("the first stands by", seconds(20), || {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ready(&first).0 == 503)).unwrap_or(false).then_some(())
    });
    second.api().wait_for_pong(2, seconds(20));
    assert_eq!(second.api().output_of(2, "echo done", seconds(20)), "done");
    assert!(!file.exists(), "the command of the central that was stopped must not run");
}

#[test]
fn nodes_of_every_kind_are_with_the_new_central_soon_after_the_old_one_was_killed() {
    if !is_installed() {
        return;
    }
    let (platform, server) = (Platform::new(), Server::shared());
    let history = server.history();
    let push = Daemon::start(platform.plan("push", 2));
    let with_nodes = |name: &str| {
        let port = free_port();
        let plan = member(&platform, name, &history, &["name: c", "lease: 5"]);
        let plan = plan.with_node(2, push.plan.port).with_dial_in_node(6, "pull").with_dial_in_node(7, "wss");
        let plan = plan.with_authorized("poller");
        let listener =
            format!("httpserver: {{enable: true, address: 127.0.0.1, port: {port}, ssl: false, token: abc}}");
        (plan.with_proxy(&listener), port)
    };
    let ((first, first_port), (second, second_port)) = (with_nodes("first"), with_nodes("second"));
    let targets = format!("target_path: [\"127.0.0.1:{}\", \"127.0.0.1:{}\"]", first.port, second.port);
    let _pull = Daemon::start(platform.plan("node-6", 6).with_module("pull", &[targets]));
    let addresses = format!("address: [\"127.0.0.1:{first_port}\", \"127.0.0.1:{second_port}\"]");
    let _wss = Daemon::start(platform.plan("node-7", 7).with_module("pullwss", &[addresses, "token: abc".to_owned()]));
    let mut first = Daemon::start(first);
    let second = Daemon::start(second);
    let output_of_all = |central: &Daemon| {
        for node in [2, 6, 7] {
            until(&format!("a command on node {node} ends well"), seconds(60), || {
                (central.api().output_of(node, "echo here", seconds(40)) == "here").then_some(())
            });
        }
    };
    output_of_all(&first);
    let begin = Instant::now();
    first.kill();
    wait_until_active(&second);
    let connected = |name: &str| {
        let status = second.api().get("/api/status").json();
        status["daemon"]["nodes"][name].as_i64()
    };
    until("all nodes are there", seconds(30), || (connected("up") == Some(3)).then_some(()));
    assert!(begin.elapsed() < seconds(12), "{:?}", begin.elapsed());
    output_of_all(&second);
}

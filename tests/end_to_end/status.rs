//! What a daemon reports about itself: `GET /api/status`, `/metrics`, `/healthz`, `/readyz`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::platform::api::Connection;
use crate::platform::{Daemon, Platform, STHENO, free_port, seconds, until};

fn node(status: &Value, id: u64) -> &Value {
    let nodes = status["nodes"].as_array().unwrap();
    nodes.iter().find(|node| node["id"] == json!(id)).unwrap_or(&Value::Null)
}

#[test]
fn the_status_shows_the_daemon_its_nodes_and_those_behind_them() {
    let platform = Platform::new();
    let poller = Daemon::start(platform.plan("poller", 3));
    let relay = Daemon::start(platform.plan("relay", 2).with_node(3, poller.plan.port));
    let central =
        Daemon::start(platform.plan("central", 1).with_api().with_proxy("ping: 1").with_node(2, relay.plan.port));
    let api = central.api();
    let status = || api.get("/api/status").json();
    until("node 2 is up", seconds(20), || (node(&status(), 2)["state"] == json!("up")).then_some(()));
    until("node 3 is behind node 2", seconds(20), || (node(&status(), 3)["through"] == json!(2)).then_some(()));
    let shown = status();
    let relay_shown = node(&shown, 2);
    assert_eq!((&relay_shown["kind"], &relay_shown["link"]), (&json!("push_zmq"), &json!("sealed")));
    assert_eq!(relay_shown["version"], json!(env!("CARGO_PKG_VERSION")));
    assert!(relay_shown["last_ping"].as_i64() > Some(1_700_000_000) && relay_shown["memory"].as_u64() > Some(0));
    assert_eq!((&shown["daemon"]["id"], &shown["daemon"]["storage"]), (&json!(1), &json!("disk")));
    assert!(shown["daemon"]["database_bytes"].as_u64() > Some(0) && shown["daemon"]["descriptors"].as_u64() > Some(3));
    assert_eq!(shown["whole"], json!(true));
    drop(poller);
    let changed = format!("/api/status?since={}", shown["revision"].as_str().unwrap());
    drop(relay);
    until("the change is shown", seconds(3), || {
        let changed = api.get(&changed).json();
        (changed["whole"] == json!(false) && node(&changed, 2)["state"] == json!("down")).then_some(())
    });
}

#[test]
fn whoever_has_the_current_status_gets_no_body() {
    let platform = Platform::new();
    let central = Daemon::start(platform.plan("central", 1).with_api());
    let mut api = central.api();
    let tag = api.get("/api/status").header("etag").unwrap().to_owned();
    api.headers = format!("If-None-Match: {tag}\r\n");
    let again = api.get("/api/status");
    assert_eq!((again.status, again.body.len()), (304, 0));
    api.headers = "If-None-Match: \"x\"\r\n".to_owned();
    assert_eq!(api.get("/api/status").status, 200);
}

#[test]
fn health_and_readiness_need_no_login_and_say_whether_rows_are_stored() {
    let platform = Platform::new();
    let plan = platform.plan("central", 1).with_api();
    let central = Daemon::start(plan.with_api_option("auth: {enabled: \"true\", user: admin, password: x}"));
    let mut api = central.api();
    api.headers = String::new();
    assert_eq!(api.get("/api/status").status, 401);
    assert_eq!(api.get("/metrics").status, 401);
    assert_eq!(api.get("/healthz").json(), json!({ "status": "ok" }));
    assert_eq!(api.get("/readyz").json(), json!({ "status": "ready" }));
    let other = rusqlite::Connection::open(&central.plan.database).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = api.get("/readyz");
    assert_eq!((answer.status, answer.json()["status"].clone()), (503, json!("not ready")));
    assert_eq!(api.get("/healthz").status, 200);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(api.get("/readyz").status, 200);
}

/// Returns the value of a sample. The labels are part of its name.
fn sample(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// Returns the judgement of Prometheus's own tool; `None` if it is not installed.
fn promtool(arguments: &[&str], input: &str) -> Option<String> {
    let child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("SKIPPED: promtool (Debian package prometheus) is not installed");
        return None;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some(format!("{}{}", output.status, String::from_utf8_lossy(&said)))
}

#[test]
fn metrics_count_what_happened_and_prometheus_finds_no_fault_in_them() {
    let platform = Platform::new();
    let (central, _poller) = platform.pair();
    let mut api = central.api();
    api.wait_for_pong(2, seconds(20));
    assert_eq!(api.output_of(2, "echo metrics", seconds(20)).trim(), "metrics");
    let failed = api.command(9, "echo");
    api.finished_rows(1, &failed, seconds(20));
    let answer = api.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(answer.body).unwrap();
    for (name, expected) in [
        ("stheno_nodes{state=\"up\"}", 1.0),
        ("stheno_nodes{state=\"never\"}", 0.0),
        ("stheno_node_up{node=\"2\",kind=\"push_zmq\"}", 1.0),
        ("stheno_node_sync_lag_rows{node=\"2\",kind=\"push_zmq\"}", 0.0),
        ("stheno_commands_total{result=\"ok\"}", 1.0),
        ("stheno_commands_total{result=\"failed\"}", 1.0),
        ("stheno_command_duration_seconds_count", 2.0),
        ("stheno_api_requests_total{path=\"/api/core/action/command\",status=\"200\"}", 2.0),
        ("stheno_database_up", 1.0),
    ] {
        assert_eq!(sample(&text, name), Some(expected), "{name}: {text}");
    }
    for name in [
        "stheno_loop_turn_seconds_count",
        "stheno_database_commit_seconds_count",
        "stheno_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "stheno_database_size_bytes",
        "stheno_node_ping_seconds{node=\"2\",kind=\"push_zmq\"}",
    ] {
        assert!(sample(&text, name).is_some_and(|value| value >= 0.0), "{name}: {text}");
    }
    if let Some(said) = promtool(&["check", "metrics"], &text) {
        assert_eq!(said, "exit status: 0");
    }
    api.headers = "Accept: application/openmetrics-text; version=1.0.0\r\n".to_owned();
    let open = api.get("/metrics");
    assert!(open.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = String::from_utf8(open.body).unwrap();
    assert!(text.contains("# TYPE stheno_commands counter\n") && text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn the_certificate_of_a_listener_shows_the_time_that_is_left() {
    let platform = Platform::new();
    let (certificate, key) = (platform.path("api.pem"), platform.path("api.key"));
    let arguments = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3"];
    let made = Command::new("openssl")
        .args(arguments)
        .args(["-subj", "/CN=localhost", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    let plan = platform.plan("central", 1).with_api().with_api_option("ssl: true");
    let plan = plan.with_api_option(&format!("ssl_cert_file: {}", certificate.display()));
    let central = Daemon::start(plan.with_api_option(&format!("ssl_key_file: {}", key.display())));
    let url = format!("https://127.0.0.1:{}/metrics", central.plan.api_port.unwrap());
    let output = Command::new("curl").args(["-sk", &url]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let left = sample(&text, "stheno_certificate_remaining_seconds{listener=\"httpserver\"}").unwrap();
    assert!((200_000.0..=259_200.0).contains(&left), "{left}");
}

#[test]
fn the_alert_rules_and_the_dashboard_name_only_metrics_that_there_are() {
    let platform = Platform::new();
    let (central, _poller) = platform.pair();
    let api = central.api();
    api.wait_for_pong(2, seconds(20));
    let text = String::from_utf8(api.get("/metrics").body).unwrap();
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/monitoring");
    let rules = format!("{docs}/alerts.yml");
    let read = |name: &str| std::fs::read_to_string(format!("{docs}/{name}")).unwrap();
    for file in ["alerts.yml", "grafana.json", "README.md"] {
        let file_text = read(file);
        let words = file_text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        for word in words.filter(|word| word.starts_with("stheno_") && !word.contains("certificate")) {
            let family = word.trim_end_matches("_bucket");
            assert!(text.contains(&format!("# TYPE {family} ")), "{file}: {word}");
        }
    }
    serde_json::from_str::<Value>(&read("grafana.json")).unwrap();
    if let Some(said) = promtool(&["check", "rules", &rules], "") {
        assert!(said.starts_with("exit status: 0") && said.contains("rules found"), "{said}");
    }
}

/// Returns what `stheno status` prints, and its exit status.
fn status_of(daemon: &Daemon, arguments: &[&str]) -> (String, Option<i32>) {
    let output = Command::new(STHENO)
        .args(["status", "--config"])
        .arg(daemon.plan.config_file())
        .args(arguments)
        .output()
        .unwrap();
    (String::from_utf8([output.stdout, output.stderr].concat()).unwrap(), output.status.code())
}

#[test]
fn the_command_status_shows_a_daemon_and_is_a_plug_in_for_monitoring() {
    let platform = Platform::new();
    let poller = Daemon::start(platform.plan("poller", 2));
    let mut central = Daemon::start(platform.central_with(&[&poller]));
    central.api().wait_for_pong(2, seconds(20));
    let (screen, code) = status_of(&central, &[]);
    assert!(screen.contains("1 up") && screen.contains("push_zmq") && screen.contains(env!("CARGO_PKG_VERSION")));
    assert_eq!(code, Some(0));
    let (json_text, _) = status_of(&central, &["--json"]);
    assert_eq!(node(&serde_json::from_str(&json_text).unwrap(), 2)["state"], json!("up"));
    let (line, code) = status_of(&central, &["--check"]);
    assert!(line.starts_with("OK: 1 nodes are up | up=1 down=0;0;1;0;1 "), "{line}");
    assert_eq!((line.lines().count(), code), (1, Some(0)));
    drop(poller);
    until("the node is down", seconds(10), || (status_of(&central, &["--check"]).1 == Some(1)).then_some(()));
    assert_eq!(status_of(&central, &["--check", "--critical", "0"]).1, Some(2));
    assert_eq!(status_of(&central, &["--check", "--node", "2"]).1, Some(2));
    assert_eq!(status_of(&central, &["--check", "--warning", "x"]).1, Some(3));
    central.stop();
    let (line, code) = status_of(&central, &["--check"]);
    assert!(line.starts_with("CRITICAL: no connection to the REST API"), "{line}");
    assert_eq!(code, Some(2));
    assert_eq!(status_of(&central, &[]).1, Some(1));
}

#[test]
fn the_page_is_there_for_who_may_read_also_on_a_listener_of_its_own() {
    let platform = Platform::new();
    let (port, auth) = (free_port(), "auth: {enabled: \"true\", user: admin, password: x}");
    let plan = platform.plan("central", 1).with_api().with_node(2, free_port()).with_api_option(auth);
    let central = Daemon::start(plan.with_api_option(&format!("status: {{port: {port}}}")));
    let mut connection = Connection::open(port).unwrap();
    let mut ask = |path: &str, headers: &str| connection.call("GET", path, headers, b"").unwrap();
    let refused = ask("/", "");
    assert_eq!((refused.status, refused.header("www-authenticate").is_some()), (401, true));
    assert_eq!(ask("/page/page.js", "").status, 401);
    let login = "Authorization: Basic YWRtaW46eA==\r\n";
    let page = ask("/", login);
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'; script-src 'self'"));
    let html = String::from_utf8(page.body).unwrap();
    assert!(html.contains("<a href=\"#node/2\">2</a>") && html.contains("never"), "{html}");
    for name in ["page.css", "page.js", "icon.svg"] {
        let file = ask(&format!("/page/{name}"), &format!("{login}Accept-Encoding: gzip, br\r\n"));
        assert_eq!((file.status, file.header("content-encoding")), (200, Some("gzip")), "{name}");
    }
    assert_eq!(ask("/page/other.js", login).status, 404);
    assert_eq!(ask("/other", login).status, 403);
    let foreign =
        format!("{login}Origin: http://evil.example\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\n");
    assert_eq!(ask("/", &foreign).status, 403);
    assert_eq!(ask("/api/status", login).status, 200);
    assert!(central.log().contains(&format!("listening on tcp://127.0.0.1:{port}")));
}

#[test]
fn the_history_is_searched_by_node_code_text_and_time() {
    let platform = Platform::new();
    let (central, _poller) = platform.pair();
    let api = central.api();
    api.wait_for_pong(2, seconds(20));
    assert_eq!(api.output_of(2, "echo Needle-In-Hay", seconds(20)).trim(), "Needle-In-Hay");
    let rows = |query: &str| api.get(&format!("/api/log?{query}")).json()["data"].as_array().unwrap().clone();
    let found = rows("node=2&grep=needle-in-hay");
    assert!(!found.is_empty() && found.iter().all(|row| row["data"].as_str().unwrap().contains("Needle-In-Hay")));
    assert!(rows("node=1&grep=needle-in-hay&code=100").is_empty());
    assert!(rows("node=2&code=2").iter().all(|row| row["code"] == json!(2)));
    assert_eq!(rows("limit=1").len(), 1);
    assert!(rows("since=99999999999").is_empty());
    for wrong in ["node=two", "since=yesterday", "code=abc"] {
        let answer = api.get(&format!("/api/log?{wrong}"));
        assert_eq!((answer.status, answer.json()["error"].clone()), (400, json!("invalid_parameter")), "{wrong}");
    }
}

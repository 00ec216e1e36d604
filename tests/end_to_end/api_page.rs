//! Runs each example of `docs/api.md`, and checks that no endpoint is missing there.

use std::process::Command;

use serde_json::Value;

use crate::platform::{Daemon, Platform, free_port, seconds};

const PAGE: &str = include_str!("../../docs/api.md");

/// Returns the command lines of the page, one on each line.
fn examples() -> Vec<String> {
    let joined = PAGE.replace("\\\n", " ");
    joined
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with("curl "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_example_of_the_page_works_and_every_endpoint_has_one() {
    let platform = Platform::new();
    let there = platform.path("there").display().to_string();
    let plan = platform.plan("poller", 2).with_module("engine", &[]);
    let poller = Daemon::start(plan.with_action(&format!("read_roots: ['{}']", platform.path("").display())));
    let plan = platform.central_with(&[&poller]).with_proxy("ping: 1").with_module("engine", &[]);
    let database =
        [format!("dsn: \"mysql:host=127.0.0.1;port={};dbname=centreon\"", free_port()), "username: u".to_owned()];
    // The database is absent: orders are read and refused.
    let folder = platform.path("centcore");
    std::fs::create_dir(&folder).unwrap();
    let legacycmd = [format!("cmd_dir: {}", folder.display()), format!("cmd_file: {}", folder.join("cmd").display())];
    let plan = plan.with_module("cron", &[]).with_module("legacycmd", &legacycmd);
    let central = Daemon::start(plan.with_pollers_of(&database, &[]));
    let api = central.api();
    api.wait_for_pong(2, seconds(10));

    let lines = examples();
    assert!(lines.len() > 15, "{lines:?}");
    let mut token = String::new();
    for line in &lines {
        let run = line
            .replace("127.0.0.1:8085", &format!("127.0.0.1:{}", api.port))
            .replace("TOKEN", &token)
            .replace("/tmp/stheno-example", &there)
            .replacen("curl ", "curl -sS --max-time 30 ", 1);
        let output = Command::new("sh").args(["-c", &run]).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        if output.stdout.is_empty() {
            assert!(line.contains("internal/logger"), "{line}: an empty answer");
            continue;
        }
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{line}: {error}"));
        let error = answer.get("error").and_then(Value::as_str);
        assert!(error.is_none_or(|error| error == "no_log"), "{line}: {answer}");
        if let Some(text) = answer.get("token").and_then(Value::as_str) {
            token = text.to_owned();
        }
        if line.contains("log_wait") {
            assert!(answer["data"].as_array().is_some_and(|rows| !rows.is_empty()), "{line}: no row came: {answer}");
        }
    }

    let information = api.get("/api/internal/information").json();
    let endpoints = information["data"]["api_endpoints"].as_object().unwrap();
    assert!(endpoints.len() > 10, "{information}");
    for endpoint in endpoints.keys() {
        let (method, path) = endpoint.split_once('_').unwrap();
        let is_shown = lines.iter().any(|line| {
            let shown = if line.contains("-X ") {
                ""
            } else if line.contains("-d ") {
                "POST"
            } else {
                "GET"
            };
            line.contains(path) && (shown == method || line.contains(&format!("-X {method}")))
        });
        assert!(is_shown, "docs/api.md has no example of {method} /api{path}");
    }
}

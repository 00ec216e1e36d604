//! The platform that is disturbed: a central, a node of each kind, and a relay with a node behind it. Each connection
//! goes through a cable of the test.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::item::Trial;
use crate::ledger::Ledger;
use crate::link::{Link, State};
use crate::platform::api::Connection;
use crate::platform::{Daemon, Plan, Platform, free_port};

const WEBSOCKET_TOKEN: &str = "t0k3n-0f-the-test";
/// Ids of the nodes: push, pull, pullwss, a relay, and the node behind it.
pub const NODES: [u32; 5] = [2, 3, 4, 5, 6];
/// Maximum memory of a daemon in a debug build.
const MEMORY_MAX_KIB: u64 = 120 << 10;

/// A running platform.
pub struct Scene {
    /// The central first, then [`NODES`].
    pub daemons: Vec<Daemon>,
    /// The cables to nodes 2 and 5, from nodes 3 and 4 to the central, and from the relay to node 6.
    pub links: Vec<Link>,
    pub ledger: Ledger,
    /// Each command appends a line to this file when it runs.
    pub ran: PathBuf,
    next: u64,
    // This is dropped last, when no daemon writes to it any more.
    _platform: Platform,
}

impl Scene {
    /// Starts the platform and waits until each node has run a command.
    pub fn new() -> Self {
        Self::with(|plan| plan)
    }

    /// Does the same, but changes the plans before the daemons start.
    pub fn with(mut change: impl FnMut(Plan) -> Plan) -> Self {
        let platform = Platform::new();
        let websocket = free_port();
        let mut central = platform.plan("central", 1).with_api();
        let push = platform.plan("push", 2);
        let relay = platform.plan("relay", 5).with_authorized("poller");
        let behind = platform.plan("behind", 6).with_authorized("poller");
        let links = [push.port, relay.port, central.port, websocket, behind.port].map(Link::to);
        let [to_push, to_relay, from_pull, from_websocket, to_behind] = &links;
        for line in ["ping: 2", "synchistory_time: 2", "failover_after: 10", "httpserver:", "  enable: true"] {
            central = central.with_proxy(line);
        }
        for line in ["  address: 127.0.0.1", &format!("  port: {websocket}"), &format!("  token: {WEBSOCKET_TOKEN}")] {
            central = central.with_proxy(line);
        }
        central = central.with_authorized("poller").with_dial_in_node(3, "pull").with_dial_in_node(4, "wss");
        central = central.with_node(2, to_push.port).with_node(5, to_relay.port);
        let relay = relay.with_node(6, to_behind.port).with_proxy("ping: 2").with_proxy("synchistory_time: 2");
        let pull =
            platform.plan("pull", 3).with_module("pull", &[format!("target_path: 127.0.0.1:{}", from_pull.port)]);
        let address = ["address: 127.0.0.1".to_owned(), format!("port: {}", from_websocket.port)];
        let pullwss = platform
            .plan("pullwss", 4)
            .with_module("pullwss", &[&address[..], &[format!("token: {WEBSOCKET_TOKEN}")]].concat());
        let plans = [central, push, pull, pullwss, relay, behind];
        let daemons = plans.map(|plan| Daemon::start(change(plan))).into();
        let ran = platform.write("ran", "");
        let mut scene =
            Self { daemons, links: links.into(), ledger: Ledger::default(), ran, next: 0, _platform: platform };
        scene.wait_for_service(Duration::from_secs(60));
        scene
    }

    /// The central.
    pub fn central(&self) -> &Daemon {
        &self.daemons[0]
    }

    /// Asks the central to run a command on a node (1: on itself). If it accepts, the command is added to the ledger.
    pub fn command(&mut self, node: u32) -> Option<String> {
        self.next += 1;
        let (number, port) = (self.next, self.central().plan.api_port.unwrap());
        let line = format!("echo {number} >> {}", self.ran.display());
        let path = if node == 1 { String::new() } else { format!("nodes/{node}/") };
        let path = format!("/api/{path}core/action/command");
        let body = json!([{ "command": line }]).to_string();
        let answer = Connection::open(port).and_then(|mut open| {
            open.stream().set_read_timeout(Some(Duration::from_secs(5)))?;
            open.call("POST", &path, "Connection: close\r\n", body.as_bytes())
        });
        let token = answer.ok().filter(|answer| answer.status == 200)?.json()["token"].as_str()?.to_owned();
        self.ledger.accepted(token.clone(), number);
        Some(token)
    }

    /// Asks for commands on random nodes, some of them at the same time.
    pub fn some_commands(&mut self, trial: &mut Trial) {
        for _ in 0..=trial.below(4) {
            let node = 1 + u32::try_from(trial.below(1 + NODES.len())).unwrap();
            self.command(node);
        }
    }

    /// Checks that a command on each daemon succeeds.
    #[track_caller]
    pub fn wait_for_service(&mut self, limit: Duration) {
        for node in 1..=6 {
            let start = Instant::now();
            loop {
                let token = self.command(node);
                let ended_well = token.is_some_and(|token| self.ended_well(&token, start + limit));
                if ended_well {
                    break;
                }
                assert!(start.elapsed() < limit, "node {node} does no command within {limit:?}");
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }

    fn ended_well(&self, token: &str, until: Instant) -> bool {
        loop {
            let ends = crate::ledger::ends_of(&self.central().database(), token);
            if let Some(code) = ends.first() {
                return *code == 2;
            }
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Heals everything and checks it: each accepted request ends once, all rows arrive once and in order, each daemon
    /// carries out commands, and none has used too much memory.
    #[track_caller]
    pub fn settle(&mut self, trial: &mut Trial) {
        self.links.iter().for_each(|link| link.set(State::Whole));
        let healed = Instant::now();
        self.wait_for_service(Duration::from_secs(120));
        trial.worst("all serve after", healed.elapsed().as_secs_f64(), "s");
        self.ledger.check(&self.daemons, &self.ran, Duration::from_secs(180));
        trial.worst("all ended after", healed.elapsed().as_secs_f64(), "s");
        for daemon in &mut self.daemons {
            daemon.assert_running();
            let peak = daemon.peak_kib();
            trial.worst("memory", peak as f64 / 1024.0, "MB");
            assert!(peak < MEMORY_MAX_KIB, "{} had {peak} KiB", daemon.plan.name);
        }
        let accepted = self.ledger.len();
        trial.worst("commands a trial", accepted as f64, "");
    }
}

//! A central, a relay and a poller, each in its own network namespace. A firewall rule cuts the cable between two of
//! them and heals it. Needs root; where namespaces are not allowed, the test says so and ends.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::platform::api::{code, data};
use crate::platform::daemon::open_database;
use crate::platform::{Plan, Platform, STHENO, seconds, tail, until};

const RELAY_ABOVE: &str = "10.213.1.2";
const RELAY_BELOW: &str = "10.213.2.1";
const POLLER: &str = "10.213.2.2";
const PORT: u16 = 5_556;

fn run(program: &str, arguments: &[&str]) -> Result<Output, String> {
    let shown = || format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{}: {error}", shown()))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{}: {}", shown(), String::from_utf8_lossy(&output.stderr).trim()))
}

fn ip(line: &str) -> Result<Output, String> {
    run("ip", &line.split_whitespace().collect::<Vec<_>>())
}

/// Three namespaces in a row; removed with everything in them.
struct Network {
    prefix: String,
}

impl Network {
    /// # Errors
    /// Returns what is not allowed or missing.
    fn new() -> Result<Self, String> {
        let network = Self { prefix: format!("stheno{}", std::process::id()) };
        let [central, relay, poller] = ["c", "r", "p"].map(|end| network.name(end));
        for name in [&central, &relay, &poller] {
            ip(&format!("netns add {name}"))?;
            ip(&format!("-n {name} link set lo up"))?;
        }
        for (left, right, left_address, right_address) in
            [(&central, &relay, "10.213.1.1", RELAY_ABOVE), (&relay, &poller, RELAY_BELOW, POLLER)]
        {
            ip(&format!("link add name below netns {left} type veth peer name above netns {right}"))?;
            for (namespace, device, address) in [(left, "below", left_address), (right, "above", right_address)] {
                ip(&format!("-n {namespace} address add {address}/24 dev {device}"))?;
                ip(&format!("-n {namespace} link set dev {device} up"))?;
            }
        }
        network.inside("r", "iptables", &["-L", "INPUT"])?;
        Ok(network)
    }

    fn name(&self, end: &str) -> String {
        format!("{}{end}", self.prefix)
    }

    fn inside(&self, end: &str, program: &str, arguments: &[&str]) -> Result<Output, String> {
        let name = self.name(end);
        run("ip", &[&["netns", "exec", &name, program], arguments].concat())
    }

    /// Cuts the cable between the relay and the poller without telling either, or heals it.
    fn cut(&self, cut: bool) {
        let change = if cut { "-I" } else { "-D" };
        for (chain, side) in [("INPUT", "-s"), ("OUTPUT", "-d")] {
            self.inside("r", "iptables", &[change, chain, side, POLLER, "-j", "DROP"]).unwrap();
        }
    }

    fn start(&self, end: &str, plan: Plan) -> Inside {
        plan.write();
        let out = File::create(plan.folder.join(format!("{}.out", plan.name))).unwrap();
        let child = Command::new("ip")
            .args(["netns", "exec", &self.name(end), STHENO, "run"])
            .arg(format!("--config={}", plan.config_file().display()))
            .arg(format!("--logfile={}", plan.log_file().display()))
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        Inside { plan, child }
    }

    /// Calls the API of the central from within its namespace.
    fn call(&self, central: &Plan, path: &str, body: Option<&Value>) -> Value {
        let url = format!("http://127.0.0.1:{}{path}", central.api_port.unwrap());
        let body = body.map(Value::to_string);
        let mut arguments = vec!["-s", "-m", "10", &url];
        if let Some(body) = &body {
            arguments.extend(["-H", "Content-Type: application/json", "-d", body]);
        }
        let answer = self.inside("c", "curl", &arguments);
        answer.ok().and_then(|answer| serde_json::from_slice(&answer.stdout).ok()).unwrap_or_default()
    }

    fn command(&self, central: &Plan, line: &str) -> String {
        let body = json!([{ "command": line }]);
        let answer = self.call(central, "/api/nodes/4/core/action/command", Some(&body));
        answer["token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }

    fn output_of(&self, central: &Plan, token: &str) -> Option<String> {
        let rows = self.call(central, &format!("/api/log/{token}"), None);
        let rows = rows["data"].as_array()?;
        rows.iter().find(|row| code(row) == 2)?;
        let result = rows.iter().find(|row| code(row) == 100)?;
        data(result)["result"]["stdout"].as_str().map(str::to_owned)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for end in ["c", "r", "p"] {
            let _gone_already = ip(&format!("netns delete {}", self.name(end)));
        }
    }
}

/// A daemon in a namespace; killed and reaped when it is dropped.
struct Inside {
    plan: Plan,
    child: Child,
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the log of {} ends with\n{}", self.plan.name, tail(&self.plan.log_file(), 40));
        }
    }
}

/// Returns how often each row of a token is in a database.
fn rows_of_tokens(plan: &Plan) -> BTreeMap<(String, i64, i64, String), usize> {
    let database = open_database(&plan.database);
    let sql = "SELECT token, code, etime, data FROM gorgone_history WHERE token IS NOT NULL";
    let mut query = database.prepare(sql).unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
    let mut counts = BTreeMap::new();
    rows.for_each(|row| *counts.entry(row.unwrap()).or_default() += 1);
    counts
}

#[test]
fn a_cable_that_is_cut_and_healed_between_a_relay_and_its_poller_loses_and_doubles_nothing() {
    let network = match Network::new() {
        Ok(network) => network,
        Err(reason) => {
            println!("SKIPPED: network namespaces are not allowed here: {reason}");
            eprintln!("SKIPPED: network namespaces are not allowed here: {reason}");
            return;
        }
    };
    let platform = Platform::new();
    let outside = ("tcp".to_owned(), format!("*:{PORT}"));
    let poller = Plan { external: Some(outside.clone()), ..platform.plan("poller", 4) }.with_authorized("poller");
    let mut relay = Plan { external: Some(outside), ..platform.plan("relay", 3) }.with_proxy("ping: 1");
    relay.nodes.push((4, POLLER.to_owned(), PORT));
    let mut central = platform.plan("central", 1).with_api().with_proxy("ping: 1");
    central.nodes.push((3, RELAY_ABOVE.to_owned(), PORT));
    let poller = network.start("p", poller);
    let _relay = network.start("r", relay);
    let central = network.start("c", central);
    let central = &central.plan;

    until("the central learns of the poller", seconds(30), || {
        let routes = network.call(central, "/api/internal/routes/4", None);
        (routes["data"]["4"]["in_use"] == json!(3)).then_some(())
    });
    let first = network.command(central, "echo through");
    let output = until("a command goes through", seconds(20), || network.output_of(central, &first));
    assert_eq!(output, "through");

    network.cut(true);
    let tokens: Vec<String> = (0..5).map(|number| network.command(central, &format!("echo late {number}"))).collect();
    thread::sleep(seconds(4));
    assert!(tokens.iter().all(|token| network.output_of(central, token).is_none()), "nothing passes a cut cable");
    network.cut(false);
    for (number, token) in tokens.iter().enumerate() {
        let output = until("a command of the cut goes through", seconds(90), || network.output_of(central, token));
        assert_eq!(output, format!("late {number}"));
    }
    until("every row of the poller is in the central's history once", seconds(30), || {
        let (there, here) = (rows_of_tokens(&poller.plan), rows_of_tokens(central));
        there.iter().all(|(row, count)| here.get(row) == Some(count)).then_some(())
    });
}

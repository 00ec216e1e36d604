//! Sends every action with members of every type. A debug build panics on an overflow.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use stheno::model::random::Random as _;

use crate::item::{Skipped, Trial};
use crate::platform::client::Client;
use crate::platform::{Daemon, Platform, until};
use crate::seeded::Seeded;

const ACTIONS: &[&str] = &[
    "ACK",
    "ADDIMPORTTASKWITHPARENT",
    "BROKERSTATS",
    "ENGINESTATS",
    "CENTREONCOMMAND",
    "CENTREONNODESSYNC",
    "FORGETKEY",
    "TRUSTKEY",
    "LOADMODULE",
    "UNLOADMODULE",
    "PONGRESET",
    "PROXYADDNODE",
    "PROXYCLOSECONNECTION",
    "PROXYDELNODE",
    "PROXYREADY",
    "PROXYSTOPREADCHANNEL",
    "ROUTES",
    "ADDLISTENER",
    "BCASTCOREKEY",
    "BCASTLOGGER",
    "CENTREONSYNC",
    "COMMAND",
    "CONSTATUS",
    "DELETECRON",
    "ADDCRON",
    "GETCRON",
    "UPDATECRON",
    "ENGINECOMMAND",
    "GETLOG",
    "GETTHUMBPRINT",
    "INFORMATION",
    "KILL",
    "PING",
    "PONG",
    "PROCESSCOPY",
    "PROXYADDSUBNODE",
    "PUTLOG",
    "REGISTERNODES",
    "REMOTECOPY",
    "SETLOGS",
    "SYNCLOGS",
    "SETCOREID",
    "UNREGISTERNODES",
    "ACTIONENGINE",
    "NOSUCHACTION",
];
const MEMBERS: &[&str] = &[
    "content",
    "command",
    "commands",
    "timeout",
    "source",
    "destination",
    "cache_dir",
    "owner",
    "group",
    "mode",
    "type",
    "status",
    "chunk",
    "data",
    "size",
    "offset",
    "total",
    "md5",
    "query",
    "restart",
    "sender",
    "ack",
    "token",
    "ctime",
    "etime",
    "code",
    "instant",
    "last_id",
    "history",
    "id",
    "nodes",
    "pathscore",
    "address",
    "port",
    "identity",
    "parameters",
    "variables",
    "timespec",
    "action",
    "name",
    "enable",
    "key",
    "limit",
    "command_file",
    "result",
    "nb_total_msg",
    "more",
    "origin",
    "continue_on_error",
    "metadata",
    "log_pattern",
    "no_shell_interpretation",
    "target",
    "uid",
    "label",
    "severity",
    "plugins",
    "pkg_install",
    "ttl",
    "not_before",
];

fn pick<'a>(random: &mut Seeded, words: &[&'a str]) -> &'a str {
    words[usize::try_from(random.below(words.len() as u64)).unwrap()]
}

/// Returns a value of any type; limits of each type are more frequent than other values.
fn value(random: &mut Seeded, depth: u32) -> Value {
    match random.below(if depth == 0 { 12 } else { 16 }) {
        0 => Value::Null,
        1 => json!(random.once_in(2)),
        2 => json!(i64::MIN),
        3 => json!(i64::MAX),
        4 => json!(u64::MAX),
        5 => json!([-1_i64, 0, 1, 2, 255, 65_536, 1 << 53][usize::try_from(random.below(7)).unwrap()]),
        6 => json!([1e308, -1e308, 0.1, 1e-300][usize::try_from(random.below(4)).unwrap()]),
        7 => json!(""),
        8 => json!("x".repeat(usize::try_from(random.below(3_000)).unwrap())),
        9 => json!(
            ["true", "end", "query", "inprogress", "regular", "/tmp/x", "* * * * *", "../..", "é\u{0}", "2"]
                [usize::try_from(random.below(10)).unwrap()]
        ),
        10 => json!("9223372036854775808"),
        11 => json!("-1"),
        12 | 13 => object(random, depth - 1),
        _ => (0..random.below(4)).map(|_| value(random, depth - 1)).collect(),
    }
}

fn object(random: &mut Seeded, depth: u32) -> Value {
    let members = (0..random.below(7)).map(|_| (pick(random, MEMBERS).to_owned(), value(random, depth)));
    Value::Object(members.collect::<Map<_, _>>())
}

/// Sends messages of one session to a daemon with a node. Returns whether the daemon still serves.
pub fn fuzz(trial: &mut Trial) -> Result<(), Skipped> {
    let platform = Platform::new();
    let central = platform.plan("central", 1).with_api().with_node(2, 9).with_module("cron", &[]);
    let roots = format!("copy_roots: [{}]", platform.path("copies").display());
    let mut central = Daemon::start(central.with_action(&roots).with_action("whitelist_cmds: true"));
    let mut good = central.client();
    let mut client = None;
    while Instant::now() < trial.end || trial.tried == 0 {
        let session: &mut Client = client.get_or_insert_with(|| until_connected(&central));
        for number in 0..50 {
            let action = pick(&mut trial.random, ACTIONS);
            let target = pick(&mut trial.random, &["", "", "1", "2", "99", "-1", "x"]);
            let data = if trial.random.once_in(8) { value(&mut trial.random, 3) } else { object(&mut trial.random, 4) };
            trial.tried += 1;
            if session.send(action, &format!("fuzz-{number}"), target, &data).is_err() {
                break;
            }
        }
        // The message may have ended its session.
        let is_alive = session.send("PING", "alive", "", &json!({})).is_ok()
            && std::iter::from_fn(|| session.receive().ok()).any(|reply| reply.token == "alive");
        if !is_alive {
            client = None;
        }
        central.assert_running();
        let start = Instant::now();
        assert_eq!(good.request("PING", "good", "", &json!({})).kind, "PONG");
        trial.worst("PING of another", start.elapsed().as_secs_f64() * 1_000.0, "ms");
        assert!(!central.log().contains("panicked"), "a panic in the log of the daemon");
    }
    trial.worst("memory", central.peak_kib() as f64 / 1024.0, "MB");
    Ok(())
}

/// Many handshakes from one address have to wait for a moment.
fn until_connected(central: &Daemon) -> Client {
    until("a session", Duration::from_secs(20), || Client::connect(central.plan.port, "client", "gorgone-client").ok())
}

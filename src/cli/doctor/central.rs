//! The link of a node that dials in to its central.

use super::{known_key, machine};
use crate::config::Config;
use crate::config::modules::dial_in::{PullSettings, PullWssSettings};
use crate::daemon::doctor::{Answer, ZmqPeer, look_at_web_socket, look_at_zmq};
use crate::daemon::key_files;
use crate::model::connection::Endpoint;
use crate::model::diagnosis::{Cause, Report};
use crate::model::node_id::NodeId;

/// Looks at the links of the modules `pull` and `pullwss`; adds the steps.
pub(super) fn look(report: &mut Report, config: &Config) {
    if let Some(pull) = &config.modules.pull {
        let endpoints: Vec<_> = std::iter::once(&pull.endpoint).chain(&pull.others).collect();
        look_in_order(report, endpoints, |endpoint| {
            let mut steps = Report::default();
            look_at_pull(&mut steps, config, &PullSettings { endpoint: endpoint.clone(), ..pull.clone() });
            (endpoint.to_string(), steps)
        });
    }
    if let Some(pullwss) = &config.modules.pullwss {
        let first = (pullwss.host.clone(), pullwss.port);
        let places: Vec<_> = std::iter::once(&first).chain(&pullwss.others).collect();
        look_in_order(report, places, |(host, port)| {
            let mut steps = Report::default();
            let one = PullWssSettings { host: host.clone(), port: *port, ..pullwss.clone() };
            look_at_pullwss(&mut steps, config, &one);
            (Endpoint::Tcp { host: host.clone(), port: *port }.to_string(), steps)
        });
    }
}

/// Looks at the addresses of a list as the daemon tries them, up to the first that works. The others are named, and
/// count only if none works: then the first of them is shown.
fn look_in_order<T>(report: &mut Report, places: Vec<T>, look: impl Fn(T) -> (String, Report)) {
    let mut first = None;
    for place in places {
        let (name, steps) = look(place);
        if !steps.is_broken() {
            if let Some((broken, cause)) =
                first.as_ref().and_then(|(name, steps): &(String, Report)| steps.cause().map(|cause| (name, cause)))
            {
                let seen = format!("it does not ({}), and {name} does", cause.slug());
                let advice = "nothing if that central stands by or is down; else correct its address in the list";
                report.minor("address", format!("{broken} takes this node"), seen, cause, advice);
            }
            return report.append(steps);
        }
        first.get_or_insert((name, steps));
    }
    if let Some((_, steps)) = first {
        report.append(steps);
    }
}

fn look_at_pull(report: &mut Report, config: &Config, pull: &PullSettings) {
    // A missing or unusable key was reported before.
    let Ok(Some(keys)) = key_files::load(&config.core.private_key) else { return };
    let known_key = known_key(config, &pull.endpoint);
    let own_port = match &config.core.external {
        Some(Endpoint::Tcp { port, .. }) => vec![*port],
        _ => Vec::new(),
    };
    let peer = ZmqPeer {
        endpoint: &pull.endpoint,
        own_name: format!("gorgone-{}", config.core.id.map_or_else(String::new, |id| id.to_string())),
        link: pull.link.unwrap_or(config.core.link),
        was_met: known_key.is_some(),
        known_key,
        successors: &config.added.successors,
        id: None,
        own_id: config.core.id.map(NodeId::get),
        other_ports: own_port,
    };
    match look_at_zmq(report, &peer, &keys) {
        Some(Answer::Verdict(verdict)) => judge(report, config, &pull.endpoint, verdict),
        Some(Answer::Pong { .. }) => judge(report, config, &pull.endpoint, Ok(())),
        None => {}
    }
}

fn look_at_pullwss(report: &mut Report, config: &Config, pullwss: &PullWssSettings) {
    let Some(id) = config.core.id else { return };
    let Some(verdict) = look_at_web_socket(report, pullwss, id.get()) else { return };
    let (host, port) = match &pullwss.proxy {
        Some(proxy) => (proxy.host.clone(), proxy.port),
        None => (pullwss.host.clone(), pullwss.port),
    };
    judge(report, config, &Endpoint::Tcp { host, port }, verdict);
}

/// Adds the steps about the id of this node, and about the connection of the running daemon.
fn judge(report: &mut Report, config: &Config, endpoint: &Endpoint, verdict: Result<(), String>) {
    let Endpoint::Tcp { port, .. } = endpoint else { return };
    let is_connected = machine::is_connected(config, *port);
    let expected = format!("the central takes node {}", config.core.id.map_or_else(String::new, |id| id.to_string()));
    match verdict {
        Ok(()) => report.good("id", expected, "it does"),
        // The other daemon is the one of this machine.
        Err(text) if is_connected && text.contains(ANOTHER) => report.good("id", expected, "it has"),
        Err(text) => {
            let (cause, advice) = advice_on(&text);
            report.bad("id", expected, text, cause, advice);
        }
    }
    let seen = if is_connected { "it is" } else { "it is not, or does not run" };
    report.good("connection", "the running daemon is connected to its central", seen);
}

/// How a central says that another daemon has the id.
const ANOTHER: &str = "another daemon is connected";

fn advice_on(text: &str) -> (Cause, &'static str) {
    if text.contains(ANOTHER) {
        (Cause::IdTwice, "give one of the two daemons another 'gorgonecore.id'; the central's log names both addresses")
    } else if text.contains("token") {
        (Cause::WrongToken, "use the token that 'tokens' of httpserver on the central has for this node")
    } else if text.contains("of another node than") {
        (
            Cause::IdsSwapped,
            "correct 'gorgonecore.id' here, or 'node' of the entry of our key in authorized_clients of the central",
        )
    } else {
        (
            Cause::IdUnlisted,
            "correct 'gorgonecore.id' here, or list this node, with its type, in the register file of the central",
        )
    }
}

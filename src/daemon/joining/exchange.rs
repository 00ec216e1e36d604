//! What a joining node says to its central, over the link itself.

use std::thread;
use std::time::Duration;

use super::Word;
use crate::config::joined::JoinedKind;
use crate::config::modules::dial_in::PullWssSettings;
use crate::config::settings::ClientTls;
use crate::daemon::doctor::socket::{connect, explain};
use crate::daemon::doctor::zmq::{End, talk};
use crate::daemon::doctor::{Answer, ZmqPeer, look_at_web_socket};
use crate::daemon::key_files::KeyPair;
use crate::model::connection::Endpoint;
use crate::model::diagnosis::Report;
use crate::model::key_rotation::Successors;
use crate::model::link::LinkMode;
use crate::wire::gorgone::joining;
use crate::wire::http::bearer_auth::TokenHash;

/// How long to wait for each answer of the central.
const ANSWER: Duration = Duration::from_secs(5);
/// How often and in which interval the central is asked whether it has taken the node.
const TRIES: usize = 20;
const ASK_EVERY: Duration = Duration::from_millis(400);
/// What the central says to a node that has joined.
const JOINED: &str = "joined: come again";
/// What the central says of a node that has answered to PING.
const ANSWERED: &str = "and has answered";

const NOT_TAKEN: &str = "the central does not take the word: it was used already, is older than an hour, or the node \
    was removed; 'stheno node add' on the central prints a new one";

/// Makes the central of a word know this node by its key (`pull`) or by `token` (`pullwss`). A node that its central
/// connects to says nothing.
///
/// # Errors
/// A sentence with the remedy.
pub fn meet(word: &Word, keys: &KeyPair, token: &str) -> Result<(), String> {
    match word.kind {
        JoinedKind::PushZmq => Ok(()),
        JoinedKind::Pull => meet_by_key(word, keys),
        JoinedKind::Pullwss => meet_by_token(word, token),
    }
}

/// Whether the central has heard an answer of this node to PING.
#[must_use]
pub fn has_answered(word: &Word, keys: &KeyPair, token: &str) -> bool {
    let verdict = match word.kind {
        JoinedKind::PushZmq => return false,
        JoinedKind::Pull => match say(word, keys, &format!("gorgone-{}", word.node), LinkMode::Auto) {
            Ok(End::Up(Some(Answer::Verdict(verdict)))) => verdict,
            _ => return false,
        },
        JoinedKind::Pullwss => {
            let look = look_at_web_socket(&mut Report::default(), &settings(word, token), word.node.get());
            let Some(verdict) = look else { return false };
            verdict
        }
    };
    verdict.is_err_and(|text| text.contains(ANSWERED))
}

/// One conversation with the central of a pull node. Its key must be the one of the word.
fn say(word: &Word, keys: &KeyPair, own_name: &str, link: LinkMode) -> Result<End, String> {
    let endpoint = Endpoint::Tcp { host: word.host.clone(), port: word.port };
    let mut report = Report::default();
    let socket = match connect(&mut report, &endpoint) {
        Ok(socket) => socket,
        Err(refused) => {
            if let Some(refused) = refused {
                explain(&mut report, &endpoint, refused, None);
            }
            return Err(sentence(&report));
        }
    };
    let peer = ZmqPeer {
        successors: &Successors::default(),
        endpoint: &endpoint,
        own_name: own_name.to_owned(),
        link,
        known_key: None,
        id: None,
        own_id: Some(word.node.get()),
        was_met: true,
        other_ports: Vec::new(),
    };
    let (thumbprint, end) = talk(&peer, keys, socket, ANSWER);
    match thumbprint {
        Some(found) if found == word.central_thumbprint() => Ok(end),
        Some(found) => Err(format!(
            "the daemon on {endpoint} has the key {found}, but the word is from a central with the key {}: correct \
             --central of 'stheno node add', or somebody is in between",
            word.central_thumbprint()
        )),
        None => {
            Err(format!("what answers on {endpoint} is not a Gorgone daemon: correct --central of 'stheno node add'"))
        }
    }
}

/// The last finding as a sentence.
fn sentence(report: &Report) -> String {
    let wrong = report.steps().iter().rev().find_map(|step| Some((step, step.finding.as_ref()?)));
    wrong.map_or_else(String::new, |(step, finding)| format!("{}: {}; {}", step.expected, step.seen, finding.advice))
}

fn meet_by_key(word: &Word, keys: &KeyPair) -> Result<(), String> {
    let own_key = keys.public.thumbprint();
    // Refused whatever it proves: the central notes the key, and the next handshake succeeds.
    let _noted = say(word, keys, &joining::name(&word.secret, word.node, &own_key), LinkMode::Classic)?;
    for _ in 0..TRIES {
        thread::sleep(ASK_EVERY);
        if let End::Up(_) = say(word, keys, &format!("gorgone-{}", word.node), LinkMode::Auto)? {
            return Ok(());
        }
    }
    Err(NOT_TAKEN.to_owned())
}

fn settings(word: &Word, token: &str) -> PullWssSettings {
    PullWssSettings {
        others: Vec::new(),
        host: word.host.clone(),
        port: word.port,
        token: token.to_owned(),
        uri: "/".to_owned(),
        tls: word.is_tls.then_some(ClientTls::Pinned(word.central)),
        proxy: None,
        is_metered: false,
        ping: Duration::from_secs(30),
        max_message_size: 130_000,
    }
}

fn meet_by_token(word: &Word, token: &str) -> Result<(), String> {
    let hash = *TokenHash::of(token.as_bytes()).as_bytes();
    let once = settings(word, &joining::token(&word.secret, word.node, &hash));
    let mut report = Report::default();
    let _said_below = look_at_web_socket(&mut report, &once, word.node.get());
    let last = report.steps().last().map(|step| (step.name, step.seen.as_str()));
    match last {
        Some(("token", seen)) if seen.contains(JOINED) => {}
        Some(("token", _)) => return Err(NOT_TAKEN.to_owned()),
        _ => return Err(sentence(&report)),
    }
    for _ in 0..TRIES {
        thread::sleep(ASK_EVERY);
        if look_at_web_socket(&mut Report::default(), &settings(word, token), word.node.get()).is_some() {
            return Ok(());
        }
    }
    Err(NOT_TAKEN.to_owned())
}

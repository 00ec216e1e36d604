//! A new key of ours, told to our peers over the links that the old one authenticates, and new keys of peers
//! (docs/protocol.md section 22).
//!
//! A rotation ends when every peer has said that it knows the new key, or when its time has come. Peers are those that
//! we dial by ZeroMQ, and the owners of the authorised keys. Whoever does not learn it is named.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::config::rotation::RotationState;
use crate::daemon::key_files::KeyPair;
use crate::model::action::Action;
use crate::model::connection::ClientId;
use crate::model::key_rotation::{FOR_EVER, KeyNews, Rotation, Successor, Successors};
use crate::model::link::LinkKind;
use crate::model::log::LogLine;
use crate::model::message::{Message, Outgoing};
use crate::model::node_id::NodeId;
use crate::model::time::Now;
use crate::node::input::Input;
use crate::wire::gorgone::envelope;

use super::dialled::PeerKey;
use super::keys::{OwnKey, node_of};
use super::{Dispatch, Effect, Owner};

/// How often peers that have not learned the new key are told again.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How often each is told in a row.
const TOLD_MAX: u32 = 3;
/// Time from the start of a daemon to the use of a new key whose time has come meanwhile: peers are told first.
const FIRST_TELL: i64 = 20;
/// Time after which a switch that failed is tried again.
const SWITCH_AGAIN: Duration = Duration::from_secs(600);
/// Maximum time for which a peer's old key stays valid beside its new one, in seconds.
const OVERLAP_MAX: i64 = 31 * 86_400;

/// Work on key files for the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyWork {
    /// Store that a peer's key was replaced, and read the configuration again.
    Learn(Successor),
    /// Store how far our own rotation is.
    Note(RotationState),
    /// Put our new key, of this thumbprint, in the place of the old one.
    Switch(String),
    /// Read the configuration again: a replaced key has ceased to be valid.
    Reload,
}

/// The result of work on key files.
pub enum KeyDone {
    /// A peer's new key is stored.
    Learned(Result<(), String>),
    /// The state of our own rotation is stored.
    Noted(Result<(), String>),
    /// Our new key is in its place.
    Switched(Result<Box<KeyPair>, String>),
}

/// Whoever is at the other end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum LinkEnd {
    Dialled(PeerKey),
    Client(ClientId),
}

/// Our own rotation, and what we are learning.
#[derive(Default)]
pub(super) struct KeyRotation {
    own: Option<Own>,
    /// Peers whose new key is being stored, with that key. They are told when it is in effect.
    learning: BTreeMap<LinkEnd, String>,
}

struct Own {
    rotation: Rotation,
    learned_links: BTreeSet<PeerKey>,
    /// Thumbprints of authorised keys whose owner knows the new key.
    learned_keys: BTreeSet<String>,
    told: BTreeMap<LinkEnd, u32>,
    is_switching: bool,
    noted: Option<RotationState>,
}

impl Dispatch {
    /// Takes what the configuration says about keys: those of peers that were replaced, and a new one of our own.
    pub(super) fn take_key_news(&mut self, now: Now) {
        let successors = Arc::clone(&self.config.added.successors);
        self.listener.set_successors(Arc::clone(&successors));
        for key in self.dialled.zmq_peers() {
            if let Some(link) = self.dialled.link(key) {
                link.set_successors(Arc::clone(&successors));
            }
        }
        self.confirm_learned(&successors, now);
        match &self.config.added.rotation {
            Some(rotation) if rotation.key == self.keys.own.thumbprint => {
                let done = RotationState {
                    key: rotation.key.clone(),
                    switch_at: rotation.switch_at,
                    until: rotation.until,
                    done: true,
                    peers: BTreeMap::new(),
                };
                self.rotation.own = None;
                self.effects.push_back(Effect::Keys(KeyWork::Note(done)));
            }
            Some(rotation) if self.rotation.own.as_ref().is_none_or(|own| own.rotation.key != rotation.key) => {
                let mut rotation = rotation.clone();
                if rotation.switch_at <= now.wall.as_seconds() {
                    rotation.switch_at = now.wall.as_seconds().saturating_add(FIRST_TELL);
                }
                let text = format!("the new key {} is announced to our peers", rotation.key);
                self.log(LogLine::info("core", text));
                self.rotation.own = Some(Own {
                    rotation,
                    learned_links: BTreeSet::new(),
                    learned_keys: BTreeSet::new(),
                    told: BTreeMap::new(),
                    is_switching: false,
                    noted: None,
                });
                self.tell_new_key(now);
            }
            _ => {}
        }
        self.arm_keys(now);
    }

    /// Sets the timer for whatever is due next.
    fn arm_keys(&mut self, now: Now) {
        let seconds = now.wall.as_seconds();
        let own = self.rotation.own.as_ref().filter(|own| !own.is_switching).map(|own| own.rotation.switch_at);
        let ends = self.config.added.successors.next_end(seconds);
        let next = own.into_iter().chain(ends).min().map(|at| u64::try_from(at.saturating_sub(seconds)).unwrap_or(0));
        if let Some(delay) = next {
            // A clock that is set meanwhile is looked at once an hour.
            let delay = Duration::from_secs(delay.saturating_add(1).min(3_600));
            self.timers.replace(Owner::Keys, Some(now.monotonic + delay));
        }
    }

    /// Handles the timer [`Owner::Keys`].
    pub(super) fn keys_due(&mut self, now: Now) {
        let seconds = now.wall.as_seconds();
        let successors = &self.config.added.successors;
        let is_over = |key: &String| successors.is_over(key, seconds);
        if self.config.core.authorized_clients.iter().any(is_over) {
            self.effects.push_back(Effect::Keys(KeyWork::Reload));
        }
        self.arm_keys(now);
        self.tell_new_key(now);
    }

    /// Has a link that has just come up learn our new key.
    pub(super) fn tell_new_link(&mut self, now: Now) {
        if self.rotation.own.is_some() {
            self.tell_new_key(now);
        }
    }

    /// Tells the connected peers that have not said that they know our new key, and uses it if all do or it is time.
    pub(super) fn tell_new_key(&mut self, now: Now) {
        let Some(mut own) = self.rotation.own.take() else { return };
        let news = KeyNews::Announced { key: own.rotation.key.clone(), until: own.rotation.until }.text();
        let mut waits = false;
        for key in self.dialled.zmq_peers() {
            let kind = self.dialled.link(key).and_then(|link| link.kind());
            let Some(kind) = kind.filter(|_| !own.learned_links.contains(&key)) else { continue };
            if kind == LinkKind::Sealed || self.core.is_ours_at(key.client(), key.node()) == Some(true) {
                waits |= self.tell_once(&mut own, LinkEnd::Dialled(key), &news, now);
            }
        }
        let connected = self.listener.connected().filter(|(_, key)| !own.learned_keys.contains(*key));
        for client in connected.map(|(client, _)| client).collect::<Vec<_>>() {
            let is_sealed = self.listener.link_of(client) == Some(LinkKind::Sealed);
            if is_sealed || self.core.is_ours_at(Some(client), None) == Some(true) {
                waits |= self.tell_once(&mut own, LinkEnd::Client(client), &news, now);
            }
        }
        let unlearned = self.unlearned(&own);
        let is_time = own.rotation.switch_at <= now.wall.as_seconds();
        if (unlearned.is_empty() || is_time) && !own.is_switching {
            own.is_switching = true;
            self.effects.push_back(Effect::Keys(KeyWork::Switch(own.rotation.key.clone())));
        } else if waits {
            self.timers.set(Owner::Keys, now.monotonic + TELL_EVERY);
        }
        self.note_rotation(&mut own, unlearned, false);
        self.rotation.own = Some(own);
    }

    fn tell_once(&mut self, own: &mut Own, end: LinkEnd, news: &str, now: Now) -> bool {
        let told = own.told.entry(end).or_default();
        if *told >= TOLD_MAX {
            return false;
        }
        *told += 1;
        self.say_key(end, news.to_owned(), now);
        true
    }

    fn say_key(&mut self, end: LinkEnd, data: String, now: Now) {
        let message = Message { action: Action::NewKey, token: None, target: Some("".into()), data };
        let outgoing = Outgoing::Request(message);
        let text = envelope::text_of(&outgoing);
        match end {
            LinkEnd::Dialled(key) => {
                if let Some(link) = self.dialled.link(key) {
                    link.say(&text.parts(), now, self.random.as_mut());
                    self.touch(Owner::Dialled(key));
                }
            }
            LinkEnd::Client(client) => _ = self.send_to_zmq_client(client, &text),
        }
    }

    /// Takes a NEWKEY of a node or central that we dial.
    pub(super) fn key_news_of_dialled(&mut self, key: PeerKey, data: &str, now: Now) {
        self.key_news(LinkEnd::Dialled(key), data, now);
    }

    /// Takes a NEWKEY of a client.
    pub(super) fn key_news_of_client(&mut self, client: ClientId, data: &str, now: Now) {
        self.key_news(LinkEnd::Client(client), data, now);
    }

    fn key_news(&mut self, end: LinkEnd, data: &str, now: Now) {
        let known = match end {
            LinkEnd::Dialled(key) => self.dialled.link(key).and_then(|link| link.proved_key()),
            LinkEnd::Client(client) => self.listener.key_of(client).map(str::to_owned),
        };
        let name = self.name_of(end);
        match (KeyNews::read(data), known) {
            (Some(KeyNews::Learned { learned }), known) => self.peer_learned(end, &learned, known, &name, now),
            (Some(KeyNews::Announced { key, until }), Some(old)) => self.learn(end, (old, key, until), &name, now),
            _ => self.log(LogLine::info("core", format!("{name} sent a NEWKEY that makes no sense: ignored"))),
        }
    }

    fn peer_learned(&mut self, end: LinkEnd, learned: &str, known: Option<String>, name: &str, now: Now) {
        let Some(own) = self.rotation.own.as_mut().filter(|own| own.rotation.key == learned) else { return };
        let is_news = match (end, known) {
            (LinkEnd::Dialled(key), _) => own.learned_links.insert(key),
            (LinkEnd::Client(_), Some(known)) => own.learned_keys.insert(known),
            (LinkEnd::Client(_), None) => false,
        };
        if is_news {
            self.log(LogLine::info("core", format!("{name} knows our new key {learned}")));
            self.tell_new_key(now);
        }
    }

    /// Has a new key of a peer stored, if it may have it.
    fn learn(&mut self, end: LinkEnd, (old, new, until): (String, String, i64), name: &str, now: Now) {
        let seconds = now.wall.as_seconds();
        let successors = &self.config.added.successors;
        let known = successors.of(&old).any(|successor| successor.new == new);
        // A key that somebody else has here would get a second meaning.
        let is_taken = self.config.core.authorized_clients.contains(&new) && !known;
        let refusal = if old == new || is_taken || new == self.keys.own.thumbprint || successors.leads(&new, &old) {
            Some("it is known here for something else")
        } else if successors.0.len() >= Successors::MAX {
            Some("too many keys were replaced")
        } else {
            None
        };
        if let Some(why) = refusal {
            let text = format!("{name} announces the new key {new}, which is not taken: {why}");
            return self.log(LogLine::warning("core", text));
        }
        if known {
            return self.say_key(end, KeyNews::Learned { learned: new }.text(), now);
        }
        if self.rotation.learning.get(&end) == Some(&new) {
            return;
        }
        self.log(LogLine::info("core", format!("{name} will use the new key {new} in place of {old}")));
        self.rotation.learning.insert(end, new.clone());
        let mut until = until.clamp(seconds, seconds.saturating_add(OVERLAP_MAX));
        let nodes = self.nodes_with(&old);
        if nodes.len() > 1 {
            let names: Vec<String> = nodes.iter().map(ToString::to_string).collect();
            let text = format!(
                "the nodes {} have one key, {old}: it stays valid beside the new key of {name}; give each a key of its \
                 own",
                names.join(", ")
            );
            self.log(LogLine::warning("core", text));
            until = FOR_EVER;
        }
        self.effects.push_back(Effect::Keys(KeyWork::Learn(Successor { old, new, until })));
    }

    /// The nodes that are connected with a key.
    fn nodes_with(&mut self, key: &str) -> BTreeSet<NodeId> {
        let mut nodes = BTreeSet::new();
        for node in self.dialled.zmq_peers().into_iter().filter_map(PeerKey::node) {
            let proved = self.dialled.link(PeerKey::Node(node)).and_then(|link| link.proved_key());
            nodes.extend(proved.filter(|proved| proved == key).map(|_| node));
        }
        let clients = self.listener.connected().filter(|(_, other)| *other == key);
        nodes.extend(clients.filter_map(|(client, _)| node_of(self.listener.routing_id(client)?)));
        nodes
    }

    /// Tells peers whose new key is in effect now.
    fn confirm_learned(&mut self, successors: &Successors, now: Now) {
        let is_stored = |new: &str| successors.0.iter().any(|successor| successor.new == new);
        let learning = std::mem::take(&mut self.rotation.learning);
        for (end, new) in learning {
            if is_stored(&new) {
                self.say_key(end, KeyNews::Learned { learned: new }.text(), now);
            }
        }
    }

    /// Takes the new key, which is in its place now, or why it is not.
    pub fn key_switched(&mut self, switched: Result<OwnKey, String>, now: Now) {
        let Some(mut own) = self.rotation.own.take() else { return };
        let key = match switched {
            Ok(key) => key,
            Err(why) => {
                let text = format!(
                    "the new key {} cannot be put in its place, the old one stays in use until that works: {why}",
                    own.rotation.key
                );
                self.log(LogLine::error("core", text));
                own.is_switching = false;
                own.rotation.switch_at = now.wall.as_seconds().saturating_add(600);
                self.timers.replace(Owner::Keys, Some(now.monotonic + SWITCH_AGAIN));
                self.rotation.own = Some(own);
                return self.drain(now);
            }
        };
        self.listener
            .set_own_key(key.public_pem.clone(), key.server_tls().filter(|_| self.config.core.external.is_some()));
        for peer in self.dialled.zmq_peers() {
            if let Some(link) = self.dialled.link(peer) {
                link.set_own_key(&key.public_pem, key.client_tls());
            }
        }
        self.core.handle_input(Input::OwnKey(key.thumbprint.clone()), now);
        self.log(LogLine::info("core", format!("our new key {} is in use", key.thumbprint)));
        let unlearned = self.unlearned(&own);
        if !unlearned.is_empty() {
            let names: Vec<String> = unlearned.iter().map(|(name, why)| format!("{name} ({why})")).collect();
            let text = format!(
                "our new key {} is not known to {}: list it there by hand ('authorized_clients' of a daemon that we \
                 connect to, 'stheno keys trust' or the fingerprint of one that connects to us)",
                key.thumbprint,
                names.join(", ")
            );
            self.log(LogLine::warning("core", text));
        }
        self.keys.own = key;
        self.note_rotation(&mut own, unlearned, true);
        self.arm_keys(now);
        self.drain(now);
    }

    /// The peers that have not said that they know our new key, each with the reason.
    fn unlearned(&mut self, own: &Own) -> BTreeMap<String, String> {
        let mut unlearned = BTreeMap::new();
        for key in self.dialled.zmq_peers().into_iter().filter(|key| !own.learned_links.contains(key)) {
            let kind = self.dialled.link(key).and_then(|link| link.kind());
            let why = self.why(kind, self.core.is_ours_at(key.client(), key.node()));
            unlearned.insert(key.to_string(), why.to_owned());
        }
        let successors = Arc::clone(&self.config.added.successors);
        let keys = self.config.core.authorized_clients.clone();
        let is_open =
            |key: &String| !successors.has(key) && !own.learned_keys.contains(key) && *key != self.keys.own.thumbprint;
        for key in keys.into_iter().filter(is_open) {
            let learned_before = successors.0.iter().any(|one| one.new == key && own.learned_keys.contains(&one.old));
            if learned_before {
                continue;
            }
            let client = self.listener.connected().find(|(_, other)| *other == key).map(|(client, _)| client);
            let kind = client.and_then(|client| self.listener.link_of(client));
            let why = self.why(kind, client.and_then(|client| self.core.is_ours_at(Some(client), None)));
            let name = self.config.core.bound_keys.get(&key).map(|bound| bound.name.clone());
            unlearned.insert(name.unwrap_or_else(|| format!("the owner of the key {key}")), why.to_owned());
        }
        unlearned
    }

    const fn why(&self, kind: Option<LinkKind>, is_ours: Option<bool>) -> &'static str {
        match (kind, is_ours) {
            (None, _) => "not connected",
            (Some(LinkKind::Classic), Some(false)) => "a Perl daemon, which cannot learn it",
            (Some(LinkKind::Classic), None) => "no daemon of ours as far as is known",
            (Some(_), _) => "has not confirmed it: an older version, or busy",
        }
    }

    /// Stores how far the rotation is, if that has changed.
    fn note_rotation(&mut self, own: &mut Own, unlearned: BTreeMap<String, String>, done: bool) {
        let links = own.learned_links.iter().map(ToString::to_string);
        let names = own.learned_keys.iter().map(|key| match self.config.core.bound_keys.get(key) {
            Some(bound) => bound.name.clone(),
            None => format!("the owner of the key {key}"),
        });
        let learned = links.chain(names).map(|name| (name, "knows it".to_owned()));
        let peers = unlearned.into_iter().chain(learned).collect();
        let Rotation { key, switch_at, until } = own.rotation.clone();
        let state = RotationState { key, switch_at, until, done, peers };
        if own.noted.as_ref() != Some(&state) {
            own.noted = Some(state.clone());
            self.effects.push_back(Effect::Keys(KeyWork::Note(state)));
        }
    }

    fn name_of(&self, end: LinkEnd) -> String {
        match end {
            LinkEnd::Dialled(key) => key.to_string(),
            LinkEnd::Client(client) => {
                let key = self.listener.key_of(client).unwrap_or_default();
                let bound = self.config.core.bound_keys.get(key).map(|bound| bound.name.clone());
                bound.unwrap_or_else(|| format!("the owner of the key {key}"))
            }
        }
    }
}

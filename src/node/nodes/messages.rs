//! Messages over the link to a node: replies, and the hint that its history has grown. A node makes no requests this
//! way.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::log::LogLine;
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use super::Nodes;
use super::constatus::{self, NodeMap};
use super::node::Announced;
use crate::node::context::Context;
use crate::node::json;
use crate::node::sync::Answer;
use crate::node::sync::asking;

/// The parts of a node's message that concern other rooms.
#[derive(Debug, Default)]
pub(in crate::node) struct Said<'a> {
    /// Its answer to a GETLOG.
    pub answer: Option<Answer>,
    /// Its reply to a request: token, code and data.
    pub reply: Option<(&'a Token, Code, &'a str)>,
}

/// The row of a PING that was passed on to a node; the constatus map is of no use in it.
const PONG_ROW: &str = r#"{"action":"ping","message":"ping ok"}"#;

/// Maximum number of characters of a host name or version.
const WORD_MAX: usize = 120;

#[derive(Deserialize)]
struct ReplyText<'a> {
    #[serde(default)]
    code: Value,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct PongText<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    hostname: Option<&'a RawValue>,
    #[serde(borrow, default)]
    about: Option<&'a RawValue>,
    /// Whether the rest is as in the last one.
    #[serde(default)]
    same: bool,
    /// Whether we have all rows.
    #[serde(default)]
    synced: Option<bool>,
}

/// What our own kind tells about itself.
#[derive(Default, Deserialize)]
struct AboutText<'a> {
    #[serde(borrow, default)]
    version: Option<Cow<'a, str>>,
    #[serde(default)]
    memory: Option<u64>,
    #[serde(default)]
    running: Option<u64>,
}

impl Nodes {
    /// Notes that a daemon uses another id for itself than the one that it has here. Logged once per change.
    fn calls_itself(&mut self, context: &mut Context, id: NodeId, named: NodeId, action: &Action) {
        let Some(node) = self.get_quietly(id) else { return };
        let is_new = node.calls_itself != Some(named);
        // A PONG identifies the daemon. Rows may be those of a node that was taken for another.
        if *action == Action::Pong {
            node.calls_itself = Some(named);
        }
        let text = format!("node '{id}' sends {} of node '{named}': ignored", action.as_str());
        context.log(match action {
            Action::Pong if is_new => {
                let advice = "nothing is sent to it; compare its address and port here with 'gorgonecore.id' there";
                LogLine::error("proxy", format!("{text}, and {advice}"))
            }
            Action::SetLogs => LogLine::warning("proxy", text).of_node(id),
            _ => LogLine::debug("proxy", text).of_node(id),
        });
    }

    /// Handles a message that arrived over the link to a node.
    pub(in crate::node) fn said<'a>(&mut self, context: &mut Context, id: NodeId, message: &'a Message) -> Said<'a> {
        let Message { action, token, data, .. } = message;
        let word = action.as_str();
        if self.get(id).is_none() {
            return Said::default();
        }
        if context.debug {
            let text = format!("message received from node '{id}' - [{word}] {data}");
            context.log(LogLine::debug("proxy", text).of_node(id));
        }
        let named = named_id(data).map(|named| context.names.id_of(named));
        if let Some(named) = named.filter(|named| *named != id) {
            self.calls_itself(context, id, named, action);
            return Said::default();
        }
        if let Some(node) = self.get_quietly(id).filter(|node| named.is_some() && node.calls_itself.is_some()) {
            node.calls_itself = None;
            context.log(LogLine::info("proxy", format!("node '{id}' has the right id now")).of_node(id));
        }
        let Ok(reply) = serde_json::from_str::<ReplyText<'_>>(data) else {
            let text = format!("node '{id}' sent {word} with data that is not JSON: ignored");
            context.log(LogLine::warning("proxy", text).of_node(id));
            return Said::default();
        };
        let mut data = reply.data.map_or("null", RawValue::get);
        let mut answer = None;
        match action {
            Action::Pong => {
                self.pong(context, id, data);
                data = PONG_ROW;
            }
            Action::SyncLogs => {
                asking::sync_soon(context, self, id);
                return Said::default();
            }
            Action::Ack | Action::SetLogs => answer = Answer::read(data),
            Action::Information => context.delegate.learn(id, data),
            Action::ConStatus | Action::GetThumbprint | Action::LoadModule | Action::UnloadModule => {}
            _ => {
                let text = format!("node '{id}' sent {word}, which is not a reply: ignored");
                context.log(LogLine::warning("proxy", text).of_node(id));
                return Said::default();
            }
        }
        if let Some(answer) = &answer {
            self.log_came(context, id, answer.left_out);
        }
        let code = Code(json::integer(&reply.code).unwrap_or(0));
        Said { answer, reply: token.as_ref().map(|token| (token, code, data)) }
    }

    fn log_came(&mut self, context: &mut Context, id: NodeId, left_out: usize) {
        if left_out > 0 {
            let text = format!("{left_out} history rows of node '{id}' have an invalid ctime: they are left out");
            context.log(LogLine::warning("proxy", text).of_node(id));
        }
        if let Some(node) = self.get_quietly(id) {
            node.sync.is_unanswered = false;
        }
        self.node_is_alive(context, id);
    }

    fn pong(&mut self, context: &mut Context, id: NodeId, data: &str) {
        self.node_is_alive(context, id);
        let pong = serde_json::from_str::<PongText<'_>>(data).ok();
        if let Some(has_all) = pong.as_ref().and_then(|pong| pong.synced) {
            self.said_whether_synced(context, id, has_all);
        }
        if pong.as_ref().is_some_and(|pong| pong.same) {
            if let Some(node) = self.get_mut(id) {
                node.liveness.ping_ok += 1;
            }
            return;
        }
        let map = pong.as_ref().and_then(|pong| pong.data).map_or("{}", RawValue::get);
        let names = &context.names;
        let own = context.own_id.map(|own| names.id_of(own));
        let read = constatus::read_map(map, own.into_iter().chain([id]), names);
        let Some(node) = self.get_mut(id) else { return };
        node.liveness.ping_ok += 1;
        if let Some(PongText { hostname, about, .. }) = &pong {
            let about = about.and_then(|about| serde_json::from_str(about.get()).ok());
            let AboutText { version, memory, running } = about.unwrap_or_default();
            let hostname: Option<Cow<'_, str>> = hostname.and_then(|name| serde_json::from_str(name.get()).ok());
            let known = &mut node.liveness.about;
            keep(&mut known.hostname, hostname.as_deref());
            keep(&mut known.version, version.as_deref());
            (known.memory, known.running) = (memory, running);
        }
        let was_readable = std::mem::replace(&mut node.liveness.has_readable_map, read.is_some());
        if was_readable && read.is_none() {
            let text = format!(
                "node '{id}' announces the nodes behind it in a map that is invalid, larger than 1 MiB or too deep: \
                 no node is reached by it"
            );
            context.log(LogLine::warning("proxy", text).of_node(id));
        }
        let Some(node) = self.get_mut(id) else { return };
        let empty = || NodeMap { text: "{}".to_owned(), ids: Announced::new(), names: BTreeMap::new() };
        let NodeMap { text, ids, names } = read.unwrap_or_else(empty);
        node.liveness.nodes = text.into();
        node.calls_others(names);
        self.registry.announce(id, ids);
    }

    /// Notes whether we have all rows of a node of our own kind. Where a message is not settled, only a sync tells.
    fn said_whether_synced(&mut self, context: &mut Context, id: NodeId, has_all: bool) {
        let now = context.now;
        let Some(node) = self.get_mut(id) else { return };
        let has_all = has_all && node.owed.count() == 0;
        if node.sync.has_said(has_all, now) {
            asking::sync_soon(context, self, id);
        }
    }

    /// Handles a node's reply to a request that is not part of a copy.
    pub(in crate::node) fn replied(
        &mut self,
        context: &mut Context,
        id: NodeId,
        (token, code): (&Token, Code),
        data: &str,
    ) {
        let Some(node) = self.get_mut(id) else { return };
        if !code.is_terminal() && node.owed.outlasts(token, data) {
            return;
        }
        let (ending, sync) = node.owed.replied(token, code, data, node.sync.serial);
        if !code.is_terminal() {
            context.close_token(token.as_str());
        }
        if let Some(ending) = ending {
            ending.write(context, id, token);
        }
        if sync {
            asking::sync_soon(context, self, id);
        }
    }

    /// Handles a message that left the queue of a link unsent. Returns whether the node owed the token.
    pub(in crate::node) fn not_sent(&mut self, id: NodeId, token: &Token) -> bool {
        self.get_mut(id).is_some_and(|node| node.owed.ended(token))
    }
}

/// Keeps a word that a node tells, cut to a sensible length.
fn keep(known: &mut Option<Arc<str>>, told: Option<&str>) {
    let end = told.map_or(0, |told| told.char_indices().nth(WORD_MAX).map_or(told.len(), |(at, _)| at));
    let told = told.and_then(|told| told.get(..end)).filter(|told| !told.is_empty());
    if known.as_deref() != told {
        *known = told.map(Into::into);
    }
}

/// Returns the id in the data of a PONG, a SETLOGS or a SYNCLOGS, without parsing the rest.
fn named_id(data: &str) -> Option<NodeId> {
    #[derive(serde::Deserialize)]
    struct Outer {
        #[serde(default)]
        data: Option<Inner>,
    }
    #[derive(serde::Deserialize)]
    struct Inner {
        #[serde(default)]
        id: Value,
    }
    let outer: Outer = serde_json::from_str(data).ok()?;
    NodeId::from_json(&outer.data?.id).ok()
}

//! Copies (docs/protocol.md section 12): those that we send, receive and pass on, and the commands that wait for them.
//!
//! Out of scope: files (`edge::copy`), and copies to hosts without a daemon (`node::ssh`).

mod ending;
pub(super) mod fetch;
pub(super) mod held;
mod local;
mod pace;
pub(super) mod receiving;
mod relaying;
pub(super) mod request;
mod sending;

use crate::model::action::{Action, Also};
use crate::model::code::Code;
use crate::model::copy::{SinkDone, SinkId, SourceDone, SourceId};
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use super::context::Context;
use super::nodes::Nodes;
use super::peer::Handled;
use super::phase::STOPPING_TEXT;
use super::ssh::SshHosts;
use fetch::asking::{Fetcher, Fetching};
use fetch::serving::Serving;
use held::{Held, HeldCommands};
use local::{Local, LocalCopies};
use receiving::Receiving;
use relaying::{Relay, Relaying};
use sending::{Sender, Sending};

/// All copies of this daemon.
#[derive(Debug, Default)]
pub(super) struct Copies {
    sending: Sending,
    /// Copies that we receive.
    pub receiving: Receiving,
    relaying: Relaying,
    local: LocalCopies,
    fetching: Fetching,
    /// Sources that other daemons read.
    pub serving: Serving,
    held: HeldCommands,
}

impl Copies {
    /// Returns the state of a daemon that starts; these copies have ended here recently.
    pub fn new(ended: Vec<(Token, Code)>) -> Self {
        Self { receiving: Receiving::new(ended), ..Self::default() }
    }

    /// Returns the number of bytes of chunks and of requests that wait for copies.
    pub fn held_bytes(&self) -> usize {
        self.receiving.held_bytes() + self.relaying.held_bytes() + self.held.held_bytes()
    }

    /// Returns the copies that we send.
    pub fn sender<'a>(&'a mut self, context: &'a mut Context, nodes: &'a mut Nodes) -> Sender<'a> {
        Sender { context, nodes, sending: &mut self.sending }
    }

    /// Returns the copies that we pass on.
    pub fn relay<'a>(&'a mut self, context: &'a mut Context, nodes: &'a mut Nodes) -> Relay<'a> {
        Relay { context, nodes, relaying: &mut self.relaying }
    }

    /// Returns the copies that we fetch.
    pub fn fetcher<'a>(&'a mut self, context: &'a mut Context, nodes: &'a mut Nodes) -> Fetcher<'a> {
        Fetcher { context, nodes, receiving: &mut self.receiving, fetching: &mut self.fetching }
    }

    fn local<'a>(&'a mut self, context: &'a mut Context) -> Local<'a> {
        Local { context, receiving: &mut self.receiving, copies: &mut self.local }
    }

    /// Starts a REMOTECOPY whose target is this daemon.
    pub fn begin_local(&mut self, context: &mut Context, token: &Token, data: &str) -> Handled {
        self.local(context).begin(token, data)
    }

    /// Handles the result of a step of a source.
    pub fn source_done(&mut self, context: &mut Context, nodes: &mut Nodes, source: SourceId, done: SourceDone) {
        if self.local.has(source) {
            self.local(context).done(source, done);
        } else if self.serving.has(source) {
            self.serving.done(context, source, done);
        } else {
            self.sender(context, nodes).done(source, done);
        }
    }

    /// Handles the results of steps of a received copy.
    pub fn sink_done(&mut self, context: &mut Context, nodes: &mut Nodes, sink: SinkId, done: Vec<SinkDone>) {
        self.receiving.done(context, sink, done);
        self.local(context).go_on();
        for (token, data) in self.receiving.take_found() {
            self.fetcher(context, nodes).found(&token, &data);
        }
        if !self.fetching.is_empty() {
            self.fetcher(context, nodes).go_on();
        }
    }

    /// Ends the copies that are sent, because the daemon stops.
    pub fn stop_sending(&mut self, context: &mut Context, nodes: &mut Nodes) {
        self.sender(context, nodes).stop();
        self.local(context).stop(STOPPING_TEXT);
        self.fetcher(context, nodes).stop(STOPPING_TEXT);
    }

    /// Handles a node's reply to a token. Returns whether it concerned nothing but a copy.
    pub fn confirmed(
        &mut self,
        context: &mut Context,
        nodes: &mut Nodes,
        (id, token): (NodeId, &Token),
        code: Code,
        data: &str,
    ) -> bool {
        self.sender(context, nodes).confirmed(id, token, code, data)
            || self.fetcher(context, nodes).confirmed(id, token, code, data)
            || self.relay(context, nodes).confirmed(id, token, code, data)
    }

    /// Notes that a token has its last row, whoever wrote it.
    pub fn token_ended(&mut self, context: &mut Context, nodes: &mut Nodes, token: &str) {
        self.sender(context, nodes).token_ended(token);
        self.relaying.token_ended(token);
        self.local(context).token_ended(token);
        self.fetcher(context, nodes).token_ended(token);
    }

    /// Handles the loss of a link.
    pub fn link_down(&mut self, context: &mut Context, nodes: &mut Nodes, id: NodeId) {
        self.sender(context, nodes).link_down(id);
        self.relay(context, nodes).link_down(id);
        self.fetcher(context, nodes).link_down(id);
    }

    /// Handles a link that is up.
    pub fn link_up(&mut self, context: &mut Context, nodes: &mut Nodes, id: NodeId) {
        self.sender(context, nodes).link_up(id);
        self.fetcher(context, nodes).link_up(id);
    }

    /// Handles the unregistration of a node.
    pub fn node_gone(&mut self, context: &mut Context, nodes: &mut Nodes, id: NodeId) {
        self.sender(context, nodes).node_gone(id);
        self.fetcher(context, nodes).node_gone(id);
    }

    /// Handles a GETLOG answer of a node, which shows its kind.
    pub fn kind_known(&mut self, context: &mut Context, nodes: &mut Nodes, id: NodeId) {
        self.sender(context, nodes).kind_known(id);
        self.fetcher(context, nodes).kind_known(id);
    }

    /// Handles a message that left the queue of a link unsent. Returns whether its token is that of a copy from here or
    /// to here.
    pub fn not_sent(
        &mut self,
        context: &mut Context,
        nodes: &mut Nodes,
        (id, token): (NodeId, &Token),
        reason: &str,
    ) -> bool {
        self.sender(context, nodes).not_sent(id, token, reason) || self.fetcher(context, nodes).not_sent(token)
    }

    /// Notes that the send queue to a node has room.
    pub fn room(&mut self, context: &mut Context, nodes: &mut Nodes, id: NodeId) {
        self.sender(context, nodes).room(id);
        self.relay(context, nodes).room(id);
    }

    /// Returns whether a command has to wait for earlier copies to a node, or to us.
    pub fn must_wait(&self, ssh: &SshHosts, action: &Action, node: Option<NodeId>) -> bool {
        let is_copying = || match node {
            Some(node) => self.is_copying_to(ssh, node, None),
            None => self.receiving.is_ending() || !self.local.is_empty(),
        };
        action.is(Also::AfterCopies) && is_copying()
    }

    /// Holds a command back. Returns `false` if there is no room.
    pub fn hold(&mut self, context: &mut Context, held: Held) -> bool {
        self.held.hold(context, held)
    }

    /// Returns the next command that does not have to wait any more.
    pub fn next_freed(&mut self, context: &mut Context, ssh: &SshHosts) -> Option<Held> {
        let free = self.held.find(|node, before| match node {
            Some(node) => !self.is_copying_to(ssh, node, Some(before)),
            None => !self.receiving.is_ending() && self.local.is_empty(),
        })?;
        self.held.take(context, free)
    }

    /// Ends the waiting commands of a token. Returns whether there were any.
    pub fn cancel_held(&mut self, context: &mut Context, token: &str, reason: &str) -> bool {
        self.held.cancel(context, token, reason)
    }

    /// Releases all commands, whatever copies are in progress.
    pub fn free_all(&mut self) {
        self.held.free_all();
    }

    /// Aborts the copies that we receive, and the commands that wait for them.
    pub fn kill(&mut self, context: &mut Context, reason: &str) {
        self.held.drop_ours(context, reason);
        self.receiving.kill(context, reason);
    }

    /// Returns whether copies to a node are in progress; with a number, whether earlier ones are.
    fn is_copying_to(&self, ssh: &SshHosts, node: NodeId, before: Option<SourceId>) -> bool {
        self.sending.is_sending_to(node, before)
            || self.receiving.is_ending_for(node, before)
            || ssh.is_copying_to(node, before)
    }
}

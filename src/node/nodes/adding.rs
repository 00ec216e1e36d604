//! Adding nodes and dropping them: their links, their marks and what they owe.

use crate::model::history::SyncMark;
use crate::model::log::LogLine;
use crate::model::node_id::NodeId;
use crate::model::registration::Registration;

use super::Nodes;
use super::node::{Link, LinkChange, Node};
use super::owed::OwedTokens;
use super::registry::{NODES_MAX, Registered, Unregistered};
use crate::node::context::Context;
use crate::node::output::Output;
use crate::node::timers::Timer;

/// Marks of nodes that are not registered now at most.
const MARKS_MAX: usize = 2 * NODES_MAX;

impl Nodes {
    /// Adds a node, or replaces what is known of it, and asks for its link.
    ///
    /// # Errors
    /// Why nothing was done.
    pub(in crate::node) fn register(
        &mut self,
        context: &mut Context,
        registration: Registration,
    ) -> Result<(), String> {
        let id = registration.id;
        if context.options.proxy.is_none() {
            let text = format!("node '{id}' is not registered: the module proxy is not loaded");
            context.log(LogLine::warning("proxy", text.clone()));
            return Err(text);
        }
        if context.is_own_id(id) {
            let text = format!("node '{id}' is not registered: that is our own id");
            context.log(LogLine::warning("proxy", text.clone()));
            return Err(text);
        }
        context.names.add_all(&registration);
        for subnode in self.registry.claimed_by(&registration) {
            self.unregister(context, subnode);
        }
        let had_link = self.get(id).is_some_and(Node::is_dialled);
        let had_client = self.get(id).and_then(|node| node.client);
        let mark = self.marks.get(&id).copied().unwrap_or_default();
        let registered = self.registry.register(registration, mark);
        let opening = self.get(id).and_then(open_link);
        match registered {
            Registered::Refused(reason) => {
                let text = format!("cannot register node '{id}': {reason}");
                context.log(LogLine::info("proxy", text.clone()));
                return Err(text);
            }
            Registered::Kept => {}
            Registered::New | Registered::Moved => {
                if let Some(owed) = self.absent.remove(&id)
                    && let Some(node) = self.get_mut(id)
                {
                    node.owed = owed;
                }
                // Whatever comes of a page that is still being stored, it belongs to no sync from now on.
                if let Some(serial) = self.storing.remove(&id)
                    && let Some(node) = self.get_mut(id)
                {
                    node.sync.is_storing = true;
                    node.sync.serial = serial + 1;
                }
                context.log(LogLine::info("proxy", format!("node '{id}' is registered")));
                let now = context.now.monotonic;
                if let Some(node) = self.get_mut(id).filter(|node| node.link != Link::Up) {
                    node.down_since = Some(now);
                }
                match opening {
                    Some(opening) => {
                        if let Some(client) = had_client {
                            self.release_client(context, id, client);
                        }
                        if registered == Registered::Moved {
                            self.link_down(context, id, "its address has changed");
                        }
                        let is_ssh = matches!(opening, Output::OpenSsh { .. });
                        context.output(opening);
                        if registered == Registered::New && is_ssh {
                            // It confirms nothing that was sent to another kind of node.
                            self.end_all_owed(context, id);
                        }
                        if registered == Registered::New {
                            self.await_first_ping(context, id);
                        }
                    }
                    None if had_link => {
                        self.close_link(context, id);
                        self.end_all_owed(context, id);
                    }
                    None => {
                        if let Some(client) = had_client {
                            self.release_client(context, id, client);
                            self.end_all_owed(context, id);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The database has spoken about a page of a node that is not registered now. If it could not be stored, the mark
    /// is what it was before.
    pub(in crate::node) fn page_of_absent_settled(&mut self, id: NodeId, before: Option<SyncMark>) {
        self.storing.remove(&id);
        if let Some((known, before)) = self.marks.get_mut(&id).zip(before) {
            *known = before;
        }
    }

    /// A node that is not registered owes ends of tokens: it has the usual time to come back.
    pub(in crate::node) fn await_absent(&mut self, context: &mut Context, id: NodeId, mut owed: OwedTokens) {
        owed.link_lost();
        if owed.is_empty() {
            return;
        }
        if self.absent.len() >= MARKS_MAX {
            for token in owed.take_all() {
                context.fail(&token, &format!("proxy - node '{id}' is not registered any more"));
            }
            return;
        }
        self.absent.insert(id, owed);
        let patience = context.proxy_settings().pong_discard_timeout;
        context.timers.set_if_unset(Timer::Unconfirmed(id), context.now.monotonic + patience);
    }

    /// Nothing more comes from a node: what it owes ends.
    fn end_all_owed(&mut self, context: &mut Context, id: NodeId) {
        self.changes.push_back(LinkChange::Gone(id));
        let Some(node) = self.get_mut(id) else { return };
        let mut owed = node.owed.take_all();
        owed.extend(node.sync.abandon());
        for token in owed {
            context.fail(&token, &format!("proxy - node '{id}' was unregistered before it confirmed the message"));
        }
    }

    /// Drops a node, its routes and its sync state; what it owed ends.
    pub(in crate::node) fn unregister(&mut self, context: &mut Context, id: NodeId) {
        let Some(node) = self.get_mut(id) else { return };
        let had_link = node.is_dialled();
        let mark = node.sync.mark;
        let page = node.sync.is_storing.then_some(node.sync.serial);
        let client = node.client;
        if let Some(client) = client {
            self.release_client(context, id, client);
        }
        // A node that dials in says so when it stops; what it has taken it still has when it comes back.
        match self.get_mut(id).filter(|node| node.dials_in()) {
            None => self.end_all_owed(context, id),
            Some(node) if node.registration.prevail => {}
            Some(node) => {
                let (owed, asked) = (std::mem::take(&mut node.owed), node.sync.abandon());
                if let Some(token) = asked {
                    context.fail(&token, &format!("proxy - node '{id}' was unregistered before it answered"));
                }
                self.await_absent(context, id, owed);
            }
        }
        self.unlisted.remove(id);
        // The mark stays valid for the day the node comes back.
        let is_gone = self.registry.unregister(id) == Unregistered::Gone;
        if is_gone && self.marks.len() < MARKS_MAX && mark != SyncMark::default() {
            self.marks.insert(id, mark);
        }
        if let Some(serial) = page.filter(|_| is_gone) {
            self.storing.insert(id, serial);
        }
        if had_link {
            self.close_link(context, id);
        } else {
            self.forget_pings(context, id);
        }
        context.log(LogLine::info("proxy", format!("node '{id}' is unregistered")));
        self.older_is_silent(context, id);
    }
}

/// What keeps a connection to a node that we connect to.
fn open_link(node: &Node) -> Option<Output> {
    let id = node.registration.id;
    let kind = &node.registration.kind;
    let link = kind.endpoint().map(|endpoint| Output::OpenLink { node: id, endpoint: endpoint.clone() });
    link.or_else(|| kind.ssh_target().map(|target| Output::OpenSsh { node: id, target: Box::new(target.clone()) }))
}

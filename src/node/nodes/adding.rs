//! Adding and removing nodes: their links, their marks and the tokens that they owe.

use crate::model::history::{StoreChange, SyncMark};
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

/// Maximum number of marks of nodes that are not registered now.
const MARKS_MAX: usize = 2 * NODES_MAX;

impl Nodes {
    /// Adds a node, or replaces its registration, and requests its link.
    ///
    /// # Errors
    /// Returns why nothing was done.
    pub(in crate::node) fn register(
        &mut self,
        context: &mut Context,
        registration: Registration,
    ) -> Result<(), String> {
        let id = registration.id;
        if context.options.modules.proxy.is_none() {
            let text = format!("node '{id}' is not registered: the module proxy is not loaded");
            context.log(LogLine::warning("proxy", text.clone()).of_node(id));
            return Err(text);
        }
        if context.is_own_id(id) {
            let text = format!("node '{id}' is not registered: that is our own id");
            context.log(LogLine::warning("proxy", text.clone()).of_node(id));
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
                context.log(LogLine::info("proxy", text.clone()).of_node(id));
                return Err(text);
            }
            Registered::Kept => {}
            Registered::New | Registered::Moved => {
                if let Some(owed) = self.absent.remove(&id)
                    && let Some(node) = self.get_mut(id)
                {
                    node.owed = owed;
                }
                // A page that is still being stored belongs to no sync any more.
                if let Some(serial) = self.storing.remove(&id)
                    && let Some(node) = self.get_mut(id)
                {
                    node.sync.is_storing = true;
                    node.sync.serial = serial + 1;
                }
                context.log(LogLine::info("proxy", format!("node '{id}' is registered")).of_node(id));
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
                            // The new kind of node does not confirm what was sent to the old one.
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

    /// Forgets the marks of nodes that are not registered and whose rows are so old that our history has none of them
    /// any more. Part of each round of cleaning.
    pub(in crate::node) fn forget_old_marks(&mut self, context: &mut Context) {
        let wall = context.now.wall.as_seconds_f64();
        let oldest = wall - context.options.modules.dbcleaner.unwrap_or_default().history.as_secs_f64();
        let (registry, storing) = (&self.registry, &self.storing);
        let is_kept = |id: NodeId, mark: &SyncMark| {
            registry.get(id).is_some() || storing.contains_key(&id) || mark.ctime.max(mark.newest) >= oldest
        };
        self.marks.retain(|id, mark| {
            let is_kept = is_kept(*id, mark);
            if !is_kept {
                context.store(StoreChange::DeleteSyncMark(*id));
            }
            is_kept
        });
    }

    /// Handles the storing of a page of a node that is not registered now. If it failed, the earlier mark is restored.
    pub(in crate::node) fn page_of_absent_settled(&mut self, id: NodeId, before: Option<SyncMark>) {
        self.storing.remove(&id);
        if let Some((known, before)) = self.marks.get_mut(&id).zip(before) {
            *known = before;
        }
    }

    /// Gives a node that is not registered, but owes ends of tokens, the usual time to come back.
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

    /// Ends everything that a node owes, because nothing more will arrive from it.
    fn end_all_owed(&mut self, context: &mut Context, id: NodeId) {
        self.changes.push_back(LinkChange::Gone(id));
        let Some(node) = self.get_mut(id) else { return };
        let mut owed = node.owed.take_all();
        owed.extend(node.sync.abandon());
        for token in owed {
            context.fail(&token, &format!("proxy - node '{id}' was unregistered before it confirmed the message"));
        }
    }

    /// Removes a node, its routes and its sync state, and ends what it owed.
    pub(in crate::node) fn unregister(&mut self, context: &mut Context, id: NodeId) {
        let Some(node) = self.get_mut(id) else { return };
        let had_link = node.is_dialled();
        let mark = node.sync.mark;
        let page = node.sync.is_storing.then_some(node.sync.serial);
        let client = node.client;
        if let Some(client) = client {
            self.release_client(context, id, client);
        }
        // A node that dials in unregisters when it stops. It still has its accepted requests when it comes back.
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
        // The mark is kept for a return of the node.
        let is_gone = self.registry.unregister(id) == Unregistered::Gone;
        if is_gone && mark != SyncMark::default() {
            if self.marks.len() < MARKS_MAX {
                self.marks.insert(id, mark);
            } else {
                context.store(StoreChange::DeleteSyncMark(id));
            }
        }
        if let Some(serial) = page.filter(|_| is_gone) {
            self.storing.insert(id, serial);
        }
        if had_link {
            self.close_link(context, id);
        } else {
            self.forget_pings(context, id);
        }
        context.log(LogLine::info("proxy", format!("node '{id}' is unregistered")).of_node(id));
        self.older_is_silent(context, id);
    }
}

/// Returns the output that keeps a connection to a node that we dial.
fn open_link(node: &Node) -> Option<Output> {
    let id = node.registration.id;
    let kind = &node.registration.kind;
    let link = kind.endpoint().map(|endpoint| Output::OpenLink { node: id, endpoint: endpoint.clone() });
    link.or_else(|| kind.ssh_target().map(|target| Output::OpenSsh { node: id, target: Box::new(target.clone()) }))
}

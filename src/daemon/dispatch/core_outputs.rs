//! What the deciding core wants done.

use crate::model::connection::ParentKind;
use crate::model::history::StoreChange;
use crate::model::host_work::HostWork;
use crate::model::time::Now;
use crate::node::output::Output;

use super::{Dispatch, Effect, LinkKey};

impl Dispatch {
    pub(super) fn on_core(&mut self, output: Output, now: Now) {
        match output {
            Output::SendToClient { client, outgoing } => self.send_to_client(client, &outgoing, now),
            Output::SendToNode { node, outgoing } => self.send_to_node(node, &outgoing, now),
            Output::OpenLink { node, endpoint } => {
                self.close_ssh(node, now);
                self.open_link(node, endpoint, now);
            }
            Output::OpenSsh { node, target } => {
                self.close_link(LinkKey::Node(node), now);
                self.open_ssh(node, target, now);
            }
            Output::StartSshTask { node, task, work } => self.start_ssh_task(node, task, work, now),
            Output::AbortSshTask { node, task, reason } => self.abort_ssh_task(node, task, &reason, now),
            Output::ResetLink(node) if self.reset_ssh(node, now) => {}
            Output::ResetLink(node) => self.reset_link(LinkKey::Node(node), now),
            Output::CloseLink(node) if self.close_ssh(node, now) => {}
            Output::CloseLink(node) => self.close_link(LinkKey::Node(node), now),
            Output::Store { change, receipt } => {
                if let StoreChange::Purge { used_before, .. } = change {
                    self.keep_connected_sessions(used_before, now);
                }
                self.batch.receipts.extend(receipt.map(|receipt| (self.batch.changes.len(), receipt)));
                self.batch.changes.push(change);
            }
            Output::Host(work) => self.host_work(work),
            Output::AwaitRoom { node, client } => self.await_room(node, client, now),
            Output::PauseSender { sender, paused } => self.pause(sender, paused),
            Output::Answer { call, answer } => self.answer_call(call, answer, now),
            Output::CloseClient { client, refusal } => self.close_client(client, refusal.as_deref(), now),
            Output::SendToParent { kind, outgoing } => self.send_to_parent(kind, &outgoing, now),
            Output::ResetParent(ParentKind::Pull) => self.reset_link(LinkKey::Parent, now),
            Output::ResetParent(ParentKind::WebSocket) => self.reset_websocket_parent(now),
            Output::Log(line) => self.log(line),
            Output::SetLogLevel(level) => self.effects.push_back(Effect::SetLogLevel(level)),
            Output::Stopped => self.effects.push_back(Effect::Stopped),
        }
    }

    /// Sessions of connected clients are not purged, however long these have been silent.
    fn keep_connected_sessions(&mut self, used_before: i64, now: Now) {
        self.listener.keep_connected(used_before);
        while let Some(output) = self.listener.poll_output() {
            self.on_listener(output, now);
        }
    }

    /// Remembers which connection asked the history, so that it is read no further while its answers are not there.
    fn host_work(&mut self, work: HostWork) {
        if let HostWork::Query { query, .. } = &work
            && let Some(origin) = self.reading
            && let Some(entry) = self.connections.get_mut(&origin)
        {
            entry.open_queries += 1;
            self.query_origins.insert(*query, origin);
        }
        self.effects.push_back(Effect::Host(work));
    }
}

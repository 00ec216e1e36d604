//! Carries out the outputs of the deciding core.

use crate::model::history::StoreChange;
use crate::model::host_work::HostWork;
use crate::model::time::Now;
use crate::model::work::Work;
use crate::node::output::Output;

use super::{Dispatch, Effect, PeerKey};

impl Dispatch {
    /// Carries out what the core has decided on. Where changes are gathered, messages wait for the changes of their
    /// event, because they may acknowledge them. Later messages to the same peer wait with them and keep their order.
    pub(super) fn drain_core(&mut self, now: Now) {
        if !self.storing.gathers() {
            while let Some(output) = self.core.poll_output() {
                self.on_core(output, now);
            }
            return;
        }
        let outputs: Vec<Output> = std::iter::from_fn(|| self.core.poll_output()).collect();
        let changes = outputs.iter().any(|output| matches!(output, Output::Store { .. }));
        for output in outputs {
            if self.storing.may_have_to_wait(&output) && (changes || self.storing.has_message_like(&output)) {
                self.storing.send_when_stored(output);
            } else {
                self.on_core(output, now);
            }
        }
    }

    pub(super) fn on_core(&mut self, output: Output, now: Now) {
        match output {
            Output::SendToClient { client, outgoing } => self.send_to_client(client, &outgoing, now),
            Output::SendToNode { node, outgoing } => self.send_to_node(node, &outgoing, now),
            Output::OpenLink { node, endpoint } => self.open_link(node, endpoint, now),
            Output::OpenSsh { node, target } => self.open_ssh(node, target, now),
            Output::StartSshTask { node, task, work } => self.start_ssh_task(node, task, work, now),
            Output::AbortSshTask { node, task, reason } => self.abort_ssh_task(node, task, &reason, now),
            Output::ResetLink(node) => self.reset_dialled(PeerKey::Node(node), now),
            Output::SetNodeKey { node, thumbprint } => self.set_node_key(node, thumbprint, now),
            Output::CloseLink(node) => self.close_dialled(PeerKey::Node(node), now),
            Output::Store { change, receipt } => {
                if let StoreChange::Purge { used_before, .. } = change {
                    self.keep_connected_sessions(used_before, now);
                }
                match receipt {
                    Some(receipt) => self.storing.push_awaited(change, receipt, now.monotonic),
                    None => self.storing.push(change, now.monotonic),
                }
            }
            Output::StoreMayWait { receipt, patience } => self.storing.may_wait(receipt, now.monotonic + patience),
            Output::Host(work) => self.host_work(work),
            Output::AwaitRoom { node, client } => self.await_room(node, client, now),
            Output::PauseSender { sender, paused } => self.pause(sender, paused),
            Output::Answer { call, answer } => self.answer_call(call, answer, now),
            Output::NodeMoved { node, before, client, twice } => self.node_moved(node, before, client, twice, now),
            Output::CloseClient { client, refusal } => self.close_client(client, refusal.as_deref(), now),
            Output::SendToParent { kind, outgoing } => self.send_to_parent(kind, &outgoing, now),
            Output::ResetParent(kind) => self.reset_dialled(PeerKey::Parent(kind), now),
            Output::Log(line) => self.log(line),
            Output::SetLogLevel(level) => self.effects.push_back(Effect::SetLogLevel(level)),
            Output::LearnTime(passed) => self.effects.push_back(Effect::LearnTime(passed)),
            Output::Stopped => {
                self.stop_websocket_parent(now);
                self.effects.push_back(Effect::Stopped);
            }
        }
    }

    /// Keeps the sessions of connected clients from being purged, however long the clients have been silent.
    fn keep_connected_sessions(&mut self, used_before: i64, now: Now) {
        self.listener.keep_connected(used_before);
        while let Some(output) = self.listener.poll_output() {
            self.on_listener(output, now);
        }
    }

    fn host_work(&mut self, work: HostWork) {
        self.tally.ordered(&work);
        if matches!(work, HostWork::Query { .. } | HostWork::Work { work: Work::Queue(_), .. }) {
            // The answer must include everything written before.
            self.storing.hurry();
        }
        if let HostWork::Query { query, .. } = &work
            && let Some(connection) = self.connections.asked(*query)
        {
            return self.ask_in_turn(connection, work);
        }
        self.read_when_there_is_room(work);
    }
}

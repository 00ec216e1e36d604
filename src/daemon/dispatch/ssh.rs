//! Nodes that are reached by SSH.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::history::StoreChange;
use crate::model::node_id::NodeId;
use crate::model::ssh::{SshEnd, SshNews, SshTarget, SshTask, SshTaskId};
use crate::model::time::{Monotonic, Now};
use crate::node::input::Input;
use crate::session::ssh_steps::{SshSteps, StepsOutput};

use super::{Dispatch, Effect, Owner, SshWork};

/// Key exchanges and logins that are under way at once: each costs both ends some 100 ms of a processor at worst, and
/// all hosts are there at the same moment when this daemon starts.
const TURNS: usize = 12;
/// One that takes longer waits for its host, and another may begin.
const TURN: Duration = Duration::from_secs(3);

/// Whose key exchange is under way, and who waits for that.
#[derive(Default)]
pub(super) struct SshTurns {
    begun: BTreeMap<NodeId, Monotonic>,
    waiting: VecDeque<NodeId>,
}

/// One node.
pub(super) struct SshLink {
    steps: SshSteps,
    /// The connection in hand.
    attempt: u64,
}

impl Dispatch {
    /// The TCP connection of an [`Effect::Ssh`] is there.
    pub fn ssh_connected(&mut self, node: NodeId, attempt: u64, now: Now) {
        if let Some(link) = self.current_ssh(node, attempt) {
            link.steps.handle_connected(now);
            self.touched_ssh.push(node);
            self.drain(now);
        }
    }

    /// The host at the other end of an [`Effect::Ssh`] has said its first word.
    pub fn ssh_spoken(&mut self, node: NodeId, attempt: u64, now: Now) {
        if let Some(link) = self.current_ssh(node, attempt) {
            link.steps.handle_spoken(now);
            self.touched_ssh.push(node);
            self.drain(now);
        }
    }

    /// Begins key exchanges, the longest waiting first.
    fn grant_ssh_turns(&mut self, now: Now) {
        while !self.ssh_turns.waiting.is_empty() {
            let young = self.ssh_turns.begun.values().filter(|since| now.monotonic.since(**since) < TURN).count();
            if young >= TURNS {
                break;
            }
            let Some(node) = self.ssh_turns.waiting.pop_front() else { break };
            if let Some(link) = self.ssh.get_mut(&node).filter(|link| link.steps.wants_turn()) {
                link.steps.begin_exchange(now);
                self.ssh_turns.begun.insert(node, now.monotonic);
                self.touched_ssh.push(node);
            }
        }
    }

    /// The connection of an [`Effect::Ssh`] broke or could not be made.
    pub fn ssh_closed(&mut self, node: NodeId, attempt: u64, reason: &str, now: Now) {
        let Some(link) = self.ssh.get_mut(&node).filter(|link| link.attempt == attempt) else { return };
        link.steps.handle_closed(reason, now, self.random.as_mut());
        self.touched_ssh.push(node);
        self.drain(now);
    }

    /// The session of an [`Effect::Ssh`] has something to tell.
    pub fn ssh_news(&mut self, node: NodeId, attempt: u64, news: Vec<SshNews>, now: Now) {
        for news in news {
            // What came before may have ended this connection.
            let Some(link) = self.ssh.get_mut(&node).filter(|link| link.attempt == attempt) else { break };
            link.steps.handle_news(news, now, self.random.as_mut());
            self.touched_ssh.push(node);
            self.drain(now);
        }
    }

    fn current_ssh(&mut self, node: NodeId, attempt: u64) -> Option<&mut SshLink> {
        self.ssh.get_mut(&node).filter(|link| link.attempt == attempt)
    }

    pub(super) fn open_ssh(&mut self, node: NodeId, target: Box<SshTarget>, now: Now) {
        if self.ssh.get(&node).is_some_and(|link| *link.steps.target() == *target) {
            return;
        }
        self.close_ssh(node, now);
        let remembered = self.host_keys.get(&target.known_as()).cloned().into_iter().collect();
        let mut steps = SshSteps::new(target, remembered);
        steps.handle_start(now);
        self.ssh.insert(node, SshLink { steps, attempt: 0 });
        self.touched_ssh.push(node);
    }

    /// Drops the connection for good; whether there was one.
    pub(super) fn close_ssh(&mut self, node: NodeId, now: Now) -> bool {
        self.timers.cancel(&Owner::Ssh(node));
        self.ssh_turns.begun.remove(&node);
        let Some(mut link) = self.ssh.remove(&node) else { return false };
        link.steps.stop("its connection was closed");
        self.effects.push_back(Effect::Ssh { node, attempt: link.attempt, work: SshWork::Close });
        while let Some(output) = link.steps.poll_output() {
            if let StepsOutput::Ended(task, end) = output {
                self.core.handle_input(Input::SshEnded { task, end }, now);
            }
        }
        true
    }

    /// Builds the connection anew; whether there is one.
    pub(super) fn reset_ssh(&mut self, node: NodeId, now: Now) -> bool {
        let Some(link) = self.ssh.get_mut(&node) else { return false };
        link.steps.reset(now, self.random.as_mut());
        self.touched_ssh.push(node);
        true
    }

    pub(super) fn start_ssh_task(&mut self, node: NodeId, task: SshTaskId, work: SshTask, now: Now) {
        match self.ssh.get_mut(&node) {
            Some(link) => {
                link.steps.start_task(task, work, now);
                self.touched_ssh.push(node);
            }
            None => {
                let end = SshEnd::NotConnected("there is no link to it".to_owned());
                self.core.handle_input(Input::SshEnded { task, end }, now);
            }
        }
    }

    pub(super) fn abort_ssh_task(&mut self, node: NodeId, task: SshTaskId, reason: &str, now: Now) {
        if let Some(link) = self.ssh.get_mut(&node) {
            link.steps.abort_task(task, reason, now);
            self.touched_ssh.push(node);
        }
    }

    pub(super) fn ssh_timeout(&mut self, node: NodeId, now: Now) {
        if let Some(link) = self.ssh.get_mut(&node) {
            link.steps.handle_timeout(now, self.random.as_mut());
            self.touched_ssh.push(node);
        }
    }

    pub(super) fn drain_ssh(&mut self, node: NodeId, now: Now) {
        while let Some(output) = self.ssh.get_mut(&node).and_then(|link| link.steps.poll_output()) {
            self.on_steps(node, output, now);
        }
        let steps = self.ssh.get(&node).map(|link| &link.steps);
        if steps.is_some_and(SshSteps::wants_turn) && !self.ssh_turns.waiting.contains(&node) {
            self.ssh_turns.waiting.push_back(node);
        }
        if !steps.is_some_and(SshSteps::has_turn) {
            self.ssh_turns.begun.remove(&node);
        }
        let deadline = steps.and_then(SshSteps::poll_timeout);
        self.timers.replace(Owner::Ssh(node), deadline);
        self.grant_ssh_turns(now);
    }

    fn on_steps(&mut self, node: NodeId, output: StepsOutput, now: Now) {
        let Some(link) = self.ssh.get_mut(&node) else { return };
        let attempt = link.attempt;
        match output {
            StepsOutput::Connect => {
                self.next_ssh_attempt += 1;
                link.attempt = self.next_ssh_attempt;
                let target = link.steps.target();
                let work = SshWork::Connect { host: target.host.clone(), port: target.port };
                self.effects.push_back(Effect::Ssh { node, attempt: self.next_ssh_attempt, work });
            }
            StepsOutput::Disconnect => {
                self.effects.push_back(Effect::Ssh { node, attempt, work: SshWork::Close });
            }
            StepsOutput::Order(order) => {
                self.effects.push_back(Effect::Ssh { node, attempt, work: SshWork::Order(order) });
            }
            StepsOutput::Up => self.core.handle_input(Input::LinkUp(node), now),
            StepsOutput::Down { reason } => self.core.handle_input(Input::LinkDown { node, reason }, now),
            StepsOutput::Ended(task, end) => self.core.handle_input(Input::SshEnded { task, end }, now),
            StepsOutput::StoreHostKey { host, line } => {
                self.host_keys.insert(host.clone(), line.clone());
                self.batch.changes.push(StoreChange::PutHostKey { host, line });
            }
            StepsOutput::Log(mut line) => {
                line.text = format!("node '{node}': {}", line.text);
                self.log(line);
            }
        }
    }
}

//! Nodes that are reached by SSH.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::connection::{ConnectionId, Endpoint, PeerAddress};
use crate::model::history::StoreChange;
use crate::model::node_id::NodeId;
use crate::model::random::Random;
use crate::model::ssh::{SshEnd, SshNews, SshTarget, SshTask, SshTaskId};
use crate::model::time::{Monotonic, Now};
use crate::node::input::Input;
use crate::session::ssh_steps::{SshSteps, StepsOutput};
use crate::wire::send_queue::SendQueue;

use super::connections::{Connection, Kind};
use super::dialled::PeerKey;
use super::{Dispatch, Effect, Owner, SshWork};

/// Maximum number of simultaneous key exchanges and logins: each costs both ends up to 100 ms of processor time, and at
/// the start of this daemon all hosts connect at the same time.
const TURNS: usize = 12;
/// After this time a key exchange is waiting for its host, and another one may begin.
const TURN: Duration = Duration::from_secs(3);

/// Key exchanges in progress, and connections that wait for their turn.
#[derive(Default)]
pub(super) struct SshTurns {
    begun: BTreeMap<NodeId, Monotonic>,
    waiting: VecDeque<NodeId>,
}

/// The SSH link to one node.
pub(super) struct SshLink {
    steps: SshSteps,
    /// The current connection; it is in our table until its session takes it over.
    connection: Option<ConnectionId>,
    /// A build without SSH has no links, and the compiler leaves out what works on them.
    #[cfg(not(feature = "ssh"))]
    #[expect(dead_code, reason = "nothing makes one")]
    absent: std::convert::Infallible,
}

impl SshLink {
    pub(super) fn poll_timeout(&self) -> Option<Monotonic> {
        self.steps.poll_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Now, random: &mut dyn Random) {
        self.steps.handle_timeout(now, random);
    }

    pub(super) fn reset(&mut self, now: Now, random: &mut dyn Random) {
        self.steps.reset(now, random);
    }
}

impl Dispatch {
    /// Has the session of a host take over the connection that was just established.
    pub(super) fn ssh_host_connected(&mut self, connection: ConnectionId) {
        if let Some(Connection { kind: Kind::Ssh { node, .. }, .. }) = self.connections.get(connection) {
            let node = *node;
            self.forget(connection);
            self.effects.push_back(Effect::Ssh { node, connection, work: SshWork::TakeOver });
        }
    }

    /// Notes that the session of an [`Effect::Ssh`] has taken over its connection.
    pub fn ssh_connected(&mut self, node: NodeId, connection: ConnectionId, now: Now) {
        if let Some(link) = self.current_ssh(node, connection) {
            link.steps.handle_connected(now);
            self.touch(Owner::Dialled(PeerKey::Node(node)));
            self.drain(now);
        }
    }

    /// Notes that the host of an [`Effect::Ssh`] has sent its first bytes.
    pub fn ssh_spoken(&mut self, node: NodeId, connection: ConnectionId, now: Now) {
        if let Some(link) = self.current_ssh(node, connection) {
            link.steps.handle_spoken(now);
            self.touch(Owner::Dialled(PeerKey::Node(node)));
            self.drain(now);
        }
    }

    /// Starts key exchanges up to [`TURNS`], those that wait longest first.
    fn grant_ssh_turns(&mut self, now: Now) {
        while !self.ssh_turns.waiting.is_empty() {
            let young = self.ssh_turns.begun.values().filter(|since| now.monotonic.since(**since) < TURN).count();
            if young >= TURNS {
                break;
            }
            let Some(node) = self.ssh_turns.waiting.pop_front() else { break };
            if let Some(link) = self.dialled.ssh(node).filter(|link| link.steps.wants_turn()) {
                link.steps.begin_exchange(now);
                self.ssh_turns.begun.insert(node, now.monotonic);
                self.touch(Owner::Dialled(PeerKey::Node(node)));
            }
        }
    }

    /// Handles a connection of an [`Effect::Ssh`] that broke or could not be opened.
    pub fn ssh_closed(&mut self, node: NodeId, connection: ConnectionId, reason: &str, now: Now) {
        let link = self.dialled.ssh(node).filter(|link| link.connection == Some(connection));
        let Some(link) = link else { return };
        link.steps.handle_closed(reason, now, self.random.as_mut());
        self.touch(Owner::Dialled(PeerKey::Node(node)));
        self.drain(now);
    }

    /// Handles the reports of the session of an [`Effect::Ssh`].
    pub fn ssh_news(&mut self, node: NodeId, connection: ConnectionId, news: Vec<SshNews>, now: Now) {
        for news in news {
            // An earlier report may have ended this connection.
            let link = self.dialled.ssh(node).filter(|link| link.connection == Some(connection));
            let Some(link) = link else { break };
            link.steps.handle_news(news, now, self.random.as_mut());
            self.touch(Owner::Dialled(PeerKey::Node(node)));
            self.drain(now);
        }
    }

    fn current_ssh(&mut self, node: NodeId, connection: ConnectionId) -> Option<&mut SshLink> {
        self.dialled.ssh(node).filter(|link| link.connection == Some(connection))
    }

    pub(super) fn open_ssh(&mut self, node: NodeId, target: Box<SshTarget>, now: Now) {
        if self.dialled.ssh(node).is_some_and(|link| *link.steps.target() == *target) {
            return;
        }
        self.close_dialled(PeerKey::Node(node), now);
        #[cfg(feature = "ssh")]
        {
            let remembered = self.keys.hosts.get(&target.known_as()).cloned().into_iter().collect();
            let mut steps = SshSteps::new(target, remembered);
            steps.handle_start(now);
            let link = super::dialled::Dialled::Ssh(SshLink { steps, connection: None });
            self.dialled.insert(PeerKey::Node(node), link);
            self.touch(Owner::Dialled(PeerKey::Node(node)));
        }
    }

    /// Forgets the known host key of a node. An open connection stays open.
    pub(super) fn forget_host_key(&mut self, node: NodeId, now: Now) {
        let Some(link) = self.dialled.ssh(node) else { return };
        let host = link.steps.target().known_as();
        link.steps.forget_host_key(now);
        self.keys.hosts.remove(&host);
        self.storing.push(StoreChange::DeleteHostKey(host), now.monotonic);
        self.touch(Owner::Dialled(PeerKey::Node(node)));
    }

    pub(super) fn close_ssh(&mut self, key: PeerKey, mut link: SshLink, now: Now) {
        let PeerKey::Node(node) = key else { return };
        self.ssh_turns.begun.remove(&node);
        link.steps.stop("its connection was closed");
        self.disconnect_ssh(node, link.connection, now);
        while let Some(output) = link.steps.poll_output() {
            if let StepsOutput::Ended(task, end) = output {
                self.core.handle_input(Input::SshEnded { task, end }, now);
            }
        }
    }

    fn disconnect_ssh(&mut self, node: NodeId, connection: Option<ConnectionId>, now: Now) {
        let Some(connection) = connection else { return };
        if self.connections.get(connection).is_some() {
            self.close(connection, now);
        } else {
            self.effects.push_back(Effect::Ssh { node, connection, work: SshWork::Close });
        }
    }

    pub(super) fn start_ssh_task(&mut self, node: NodeId, task: SshTaskId, work: SshTask, now: Now) {
        match self.dialled.ssh(node) {
            Some(link) => {
                link.steps.start_task(task, work, now);
                self.touch(Owner::Dialled(PeerKey::Node(node)));
            }
            None => {
                let end = SshEnd::NotConnected("there is no link to it".to_owned());
                self.core.handle_input(Input::SshEnded { task, end }, now);
            }
        }
    }

    pub(super) fn abort_ssh_task(&mut self, node: NodeId, task: SshTaskId, reason: &str, now: Now) {
        if let Some(link) = self.dialled.ssh(node) {
            link.steps.abort_task(task, reason, now);
            self.touch(Owner::Dialled(PeerKey::Node(node)));
        }
    }

    pub(super) fn drain_ssh(&mut self, node: NodeId, now: Now) {
        while let Some(output) = self.dialled.ssh(node).and_then(|link| link.steps.poll_output()) {
            self.on_steps(node, output, now);
        }
        let steps = self.dialled.ssh(node).map(|link| &link.steps);
        let (wants_turn, has_turn) = steps.map_or((false, false), |steps| (steps.wants_turn(), steps.has_turn()));
        if wants_turn && !self.ssh_turns.waiting.contains(&node) {
            self.ssh_turns.waiting.push_back(node);
        }
        if !has_turn {
            self.ssh_turns.begun.remove(&node);
        }
        self.grant_ssh_turns(now);
    }

    fn on_steps(&mut self, node: NodeId, output: StepsOutput, now: Now) {
        let Some(link) = self.dialled.ssh(node) else { return };
        match output {
            StepsOutput::Connect => {
                let connection = self.connections.next_id();
                link.connection = Some(connection);
                let target = link.steps.target();
                let endpoint = Endpoint::Tcp { host: target.host.clone(), port: target.port };
                let kind = Kind::Ssh { node, send_queue: SendQueue::default() };
                self.connections.insert(connection, kind, PeerAddress::Local);
                self.effects.push_back(Effect::Connect { connection, endpoint });
            }
            StepsOutput::Disconnect => {
                let connection = link.connection.take();
                self.disconnect_ssh(node, connection, now);
            }
            StepsOutput::Order(order) => {
                if let Some(connection) = link.connection {
                    self.effects.push_back(Effect::Ssh { node, connection, work: SshWork::Order(order) });
                }
            }
            StepsOutput::Up => self.core.handle_input(Input::LinkUp(node), now),
            StepsOutput::Down { reason } => self.core.handle_input(Input::LinkDown { node, reason }, now),
            StepsOutput::Ended(task, end) => self.core.handle_input(Input::SshEnded { task, end }, now),
            StepsOutput::StoreHostKey { host, line } => {
                self.keys.hosts.insert(host.clone(), line.clone());
                self.storing.push(StoreChange::PutHostKey { host, line }, now.monotonic);
            }
            StepsOutput::Log(mut line) => {
                line.text = format!("node '{node}': {}", line.text);
                self.log(line.of_node(node));
            }
        }
    }
}

//! The file of nodes and tokens that were added by a subcommand: it is watched, and a node that has joined is noted in
//! it. Each change has the configuration read again.

use std::path::PathBuf;

use mio::{Interest, Registry};

use crate::config::Config;
use crate::config::joined::{self, Joined};
use crate::edge::file_watch::FileWatch;
use crate::edge::joined_file;
use crate::model::joining::{Admitted, AdmittedBy};
use crate::model::log::LogLine;
use crate::model::random::to_hex;
use crate::model::registration::{Registration, RegistrationSource};
use crate::model::time::Now;

use super::storage::JobResult;
use super::workers::Rank;
use super::{ADDED_NODES, EventLoop};

/// The file and its last nodes.
pub(super) struct AddedNodes {
    path: PathBuf,
    /// `None` if the system cannot report changes, or this daemon has no nodes.
    watch: Option<FileWatch>,
    nodes: Vec<Registration>,
}

impl AddedNodes {
    /// Watches the file if this daemon may have nodes.
    pub(super) fn open(config: &Config, registry: &Registry) -> Self {
        let path = joined::path_of(&config.core.database);
        let watch = config.modules.proxy.as_ref().and_then(|_| {
            let mut watch = FileWatch::open(&path).ok()?;
            registry.register(watch.source(), ADDED_NODES, Interest::READABLE).ok()?;
            Some(watch)
        });
        Self { path, watch, nodes: Vec::new() }
    }
}

/// Notes what a node that has joined is known by.
fn note(joined: &mut Joined, admitted: &Admitted) -> Result<(), String> {
    let id = admitted.node.get();
    let node = joined.nodes.iter_mut().find(|node| node.id == id && node.invited.is_some());
    let node = node.ok_or_else(|| format!("node '{id}' is not invited any more"))?;
    match &admitted.by {
        AdmittedBy::Key(thumbprint) => node.key = Some(thumbprint.clone()),
        AdmittedBy::Token(hash) => node.token = Some(to_hex(hash)),
    }
    node.invited = None;
    Ok(())
}

impl EventLoop {
    /// Handles a change of the file's directory.
    pub(super) fn added_nodes_touched(&mut self) {
        if self.added_nodes.watch.as_mut().is_some_and(FileWatch::take_changed) {
            self.reload_configuration();
        }
    }

    /// Takes the nodes of a configuration; returns whether they have changed.
    pub(super) fn take_added_nodes(&mut self, nodes: &[Registration], now: Now) -> bool {
        let is_other = self.added_nodes.nodes != nodes;
        if is_other {
            self.added_nodes.nodes = nodes.to_vec();
            self.dispatch.nodes_wanted(RegistrationSource::Added, nodes.to_vec(), now);
        }
        is_other
    }

    /// Has a worker note that a node has joined.
    pub(super) fn admit(&mut self, admitted: Admitted) {
        let path = self.added_nodes.path.clone();
        let write = move || {
            let noted = joined_file::change(&path, |joined| note(joined, &admitted));
            JobResult::Admitted(noted.map(|()| admitted))
        };
        self.workers.submit(Rank::Own, Box::new(write));
    }

    /// Takes the result of [`Self::admit`].
    pub(super) fn admitted(&mut self, result: Result<Admitted, String>, now: Now) {
        let line = match &result {
            Ok(Admitted { node, by: AdmittedBy::Key(key) }) => {
                LogLine::info("register", format!("node '{node}' has joined with the key {key}")).of_node(*node)
            }
            Ok(Admitted { node, .. }) => {
                LogLine::info("register", format!("node '{node}' has joined with a token of its own")).of_node(*node)
            }
            Err(text) => LogLine::warning("register", format!("a node cannot join: {text}")),
        };
        self.log.write(&line, now.wall);
        if result.is_ok() && self.added_nodes.watch.is_none() {
            self.reload_configuration();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::joined::{Invited, JoinedKind, JoinedNode};
    use crate::model::node_id::NodeId;

    #[test]
    fn an_invitation_works_once() {
        let invited = Some(Invited { secret: "00".to_owned(), until: 9 });
        let (address, port, key, token) = (None, None, None, None);
        let node = JoinedNode { id: 2, kind: JoinedKind::Pull, address, port, key, token, invited };
        let mut joined = Joined { nodes: vec![node], ..Joined::default() };
        let by = |key: &str| Admitted { node: NodeId::new(2).unwrap(), by: AdmittedBy::Key(key.to_owned()) };
        note(&mut joined, &by("first")).unwrap();
        assert_eq!(note(&mut joined, &by("second")).unwrap_err(), "node '2' is not invited any more");
        assert_eq!(joined.nodes[0].key.as_deref(), Some("first"));
    }
}

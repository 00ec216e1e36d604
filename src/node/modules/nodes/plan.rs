//! Turns rows of the Centreon database into registrations (docs/protocol.md sections 5 and 15). A pure function; an
//! error in a row affects only that row.

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::config::node_entry::{Fault, NodeEntry, ZMQ_PORT};
use crate::model::node_id::NodeId;
use crate::model::poller::{PollerRow, PollerTables};
use crate::model::registration::{NodeKind, Registration, Subnode};
use crate::model::text::quoted;

/// Score of a poller behind the remote server that it is reached through.
const PROXIED_SCORE: i64 = 1;
/// Score of a poller behind a further remote server.
const RELATION_SCORE: i64 = 100;

/// The result of interpreting the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollerPlan {
    /// The central's own id, from the row with `localhost`.
    pub own_id: Option<NodeId>,
    /// The central's other name.
    pub own_uid: Option<NodeId>,
    /// The nodes to register, by id.
    pub registrations: Vec<Registration>,
    /// Pollers whose row cannot be used at the moment.
    pub refused: BTreeSet<NodeId>,
    /// A sentence for each invalid row, with the poller's name.
    pub complaints: Vec<String>,
}

/// Interprets all rows. `fixed_id` is our own id if the configuration sets it, `ssh_username` the user of SSH pollers.
#[must_use]
pub fn plan(tables: &PollerTables, fixed_id: Option<NodeId>, ssh_username: Option<&str>) -> PollerPlan {
    let mut plan = PollerPlan::default();
    let mut pollers = BTreeMap::new();
    for row in &tables.pollers {
        let Ok(id) = row.id.parse::<NodeId>() else {
            plan.complaints.push(format!("a poller {} has the invalid id {}", quoted(&row.name), quoted(&row.id)));
            continue;
        };
        if row.localhost.as_deref() != Some("1") {
            pollers.insert(id, row);
        } else if let Some(own) = plan.own_id {
            plan.complaints.push(format!("{} is marked as localhost, but so is {own}, which counts", named(id, row)));
        } else {
            plan.own_id = Some(id);
            plan.own_uid = uid(row);
        }
    }
    let is_own_uid = fixed_id.is_some() && fixed_id == plan.own_uid;
    if let (Some(fixed), Some(found)) = (fixed_id.filter(|_| !is_own_uid), plan.own_id)
        && fixed != found
    {
        plan.complaints
            .push(format!("the database has our own id as {found}, the configuration as {fixed}, which counts"));
    }
    let own_id = fixed_id.filter(|_| !is_own_uid).or(plan.own_id);
    if let Some(row) = own_id.and_then(|own| pollers.remove(&own)) {
        plan.complaints.push(format!("poller {} has our own id {}", quoted(&row.name), row.id));
    }
    let mut subnodes = Subnodes::new(&pollers, own_id);
    let direct = subnodes.place_all(&mut plan);
    subnodes.add_relations(tables);
    for (id, row) in direct {
        match kind(row, ssh_username) {
            Ok(kind) => {
                let subnodes = subnodes.of(id);
                let uid = uid(row);
                plan.registrations.push(Registration {
                    id,
                    uid,
                    kind,
                    identity: None,
                    link: None,
                    prevail: false,
                    subnodes,
                });
            }
            Err(reason) => {
                plan.refused.insert(id);
                plan.complaints.push(format!("{} {reason}", named(id, row)));
            }
        }
    }
    plan
}

/// Which pollers are behind which remote servers.
struct Subnodes<'a> {
    pollers: &'a BTreeMap<NodeId, &'a PollerRow>,
    own_id: Option<NodeId>,
    /// The pollers behind each remote server, each with its best score.
    behind: BTreeMap<NodeId, BTreeMap<NodeId, i64>>,
}

impl<'a> Subnodes<'a> {
    const fn new(pollers: &'a BTreeMap<NodeId, &'a PollerRow>, own_id: Option<NodeId>) -> Self {
        Self { pollers, own_id, behind: BTreeMap::new() }
    }

    /// Returns the remote server through which a poller is reached; `None` for a poller that we reach directly.
    fn remote_of(&self, row: &PollerRow) -> Option<NodeId> {
        let remote = row.remote_id.as_deref()?.trim().parse().ok()?;
        (row.use_as_proxy.as_deref() == Some("1") && Some(remote) != self.own_id).then_some(remote)
    }

    /// Returns the node that we reach directly on the way to `id`: itself, its remote server, or the one before that.
    fn first_hop(&self, id: NodeId) -> Result<NodeId, String> {
        let mut at = id;
        for _ in 0..=self.pollers.len() {
            let Some(row) = self.pollers.get(&at) else {
                return Err(format!("is behind the remote server {at}, which is not active, so it is not reached"));
            };
            match self.remote_of(row) {
                None => return Ok(at),
                Some(remote) => at = remote,
            }
        }
        Err("is behind a remote server that is behind it, so it is not reached".to_owned())
    }

    /// Places every poller behind its node. Returns the pollers that we reach directly.
    fn place_all(&mut self, plan: &mut PollerPlan) -> Vec<(NodeId, &'a PollerRow)> {
        let mut direct = Vec::new();
        for (id, row) in self.pollers {
            match self.first_hop(*id) {
                Ok(hop) if hop == *id => direct.push((*id, *row)),
                Ok(hop) => self.put(hop, *id, PROXIED_SCORE),
                Err(reason) => plan.complaints.push(format!("{} {reason}", named(*id, row))),
            }
        }
        direct
    }

    fn add_relations(&mut self, tables: &PollerTables) {
        for row in &tables.relations {
            let (Ok(remote), Ok(poller)) = (row.remote_id.parse(), row.poller_id.parse()) else { continue };
            if !self.pollers.contains_key(&poller) {
                continue;
            }
            if let Ok(hop) = self.first_hop(remote)
                && hop != poller
            {
                self.put(hop, poller, RELATION_SCORE);
            }
        }
    }

    fn put(&mut self, remote: NodeId, poller: NodeId, score: i64) {
        let best = self.behind.entry(remote).or_default().entry(poller).or_insert(score);
        *best = score.min(*best);
    }

    fn of(&self, id: NodeId) -> Vec<Subnode> {
        let behind = self.behind.get(&id).into_iter().flatten();
        let uid_of = |id| self.pollers.get(id).copied().and_then(uid);
        behind.map(|(id, score)| Subnode { id: *id, path_score: *score, uid: uid_of(id) }).collect()
    }
}

/// Returns the other name of a poller; none if the schema has none, or if it equals the id.
fn uid(row: &PollerRow) -> Option<NodeId> {
    let uid = row.uid.as_deref()?.trim().parse().ok()?;
    (row.id.parse() != Ok(uid)).then_some(uid)
}

/// Returns how a poller is reached, or the error in its row.
fn kind(row: &PollerRow, ssh_username: Option<&str>) -> Result<NodeKind, String> {
    let mut entry = NodeEntry::default();
    let (word, port, default) = match row.communication_type.as_deref() {
        Some("3") => ("pull", "port", ""),
        Some("4") => ("wss", "port", ""),
        Some("2") => ("push_ssh", "ssh_port", ""),
        // As in the original, whatever other value is there.
        _ => ("push_zmq", "port", ZMQ_PORT),
    };
    entry.put("type", word);
    entry.put("address", row.address.as_deref().unwrap_or_default());
    entry.put(port, row.port.as_deref().filter(|port| !port.is_empty()).unwrap_or(default));
    entry.put("ssh_username", ssh_username.unwrap_or_default());
    let wrong = |fault: &Fault| format!("has {fault}; it is left as it was");
    entry.read_kind().map_err(|faults| faults.first().map(wrong).unwrap_or_default())
}

fn named(id: NodeId, row: &PollerRow) -> String {
    format!("poller {id} {}", quoted(&row.name))
}

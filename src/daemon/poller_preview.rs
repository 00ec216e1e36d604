//! Reads once from the Centreon database which nodes the module `nodes` would register now. It blocks until the
//! database answers; `check` uses it, the event loop never does.

use crate::config::Config;
use crate::edge::centreon_database::{self, DatabaseFault};
use crate::node::plan;
pub use crate::node::plan::PollerPlan;

/// Reads the database; returns `None` if the module is not loaded. Nodes that the register file lists with `prevail`
/// are left out, as in a daemon.
///
/// # Errors
/// Says why the database cannot be read.
#[must_use]
pub fn read(config: &Config) -> Option<Result<PollerPlan, DatabaseFault>> {
    let nodes = config.modules.nodes.as_ref()?;
    let tables = match centreon_database::read(&nodes.database) {
        Ok(tables) => tables,
        Err(fault) => return Some(Err(fault)),
    };
    let mut plan = plan::plan(&tables, config.core.id, nodes.ssh_username.as_deref());
    let registered = config.modules.register.iter().flat_map(|register| &register.nodes).filter(|node| node.prevail);
    let prevailing: Vec<_> = registered
        .flat_map(|node| std::iter::once(node.id).chain(node.subnodes.iter().map(|below| below.id)))
        .collect();
    plan.registrations.retain(|node| !prevailing.contains(&node.id));
    Some(Ok(plan))
}

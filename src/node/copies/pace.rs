//! `copy_rate_limit`: the maximum number of bytes per second to a node, or from it, for all its copies together.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::node_id::NodeId;
use crate::model::time::Monotonic;

/// The time at which the data sent to each node would be through at the allowed rate. Only nodes that are ahead of the
/// rate are kept.
#[derive(Debug, Default)]
pub(super) struct Pace {
    paid_until: BTreeMap<NodeId, Monotonic>,
}

impl Pace {
    /// Accounts for a chunk of `len_bytes` that is sent or asked for now.
    ///
    /// # Errors
    /// Returns the time at which it may be sent.
    pub(super) fn take(
        &mut self,
        node: NodeId,
        bytes_per_second: u64,
        len_bytes: u64,
        now: Monotonic,
    ) -> Result<(), Monotonic> {
        self.paid_until.retain(|_, until| *until > now);
        if let Some(until) = self.paid_until.get(&node) {
            return Err(*until);
        }
        let micros = len_bytes.saturating_mul(1_000_000) / bytes_per_second.max(1);
        self.paid_until.insert(node, now + Duration::from_micros(micros));
        Ok(())
    }
}

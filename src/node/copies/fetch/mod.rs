//! Copies from a node (docs/protocol.md section 12): a daemon that fetches asks the node for one step after the other,
//! and receives what comes like any other copy. The node keeps the open source and nothing else.
//!
//! Out of scope: files, and rights (`edge::copy`).

pub(super) mod asking;
pub(in crate::node) mod serving;
#[cfg(test)]
mod tests;
mod wire;

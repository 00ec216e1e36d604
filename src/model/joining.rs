//! Nodes that join by a word of `stheno node add`, as values.

use super::node_id::NodeId;

/// An invitation that was not used. It holds a secret: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    pub node: NodeId,
    /// The secret of its word.
    pub secret: Vec<u8>,
    /// Until when it is valid, in seconds since 1970.
    pub until: i64,
}

/// A node that has proved that it knows the secret of its invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    pub node: NodeId,
    /// What it is known by from now on.
    pub by: AdmittedBy,
}

/// What a node that has joined is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdmittedBy {
    /// The thumbprint of its key.
    Key(String),
    /// The SHA-256 of its token.
    Token([u8; 32]),
}

//! `gorgonecore.cluster`: several centrals with one history on a database server, of which one is active.

use std::time::Duration;

/// The options of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// `name`: of the cluster; the history notes it.
    pub name: String,
    /// `member`: the name of this central (host name and port of the API).
    pub member: String,
    /// `lease` (10 s): how long a central stays active without having stored anything.
    pub lease: Duration,
    /// `address` (host name and port of the API): where others reach the API of this central.
    pub address: String,
}

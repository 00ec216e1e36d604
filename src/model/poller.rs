//! The content of the Centreon configuration database about pollers, unchecked.

/// An active row of `nagios_server`. Values are the text of the database; `None` for NULL and for a column that this
/// version of the schema lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollerRow {
    pub id: String,
    /// `uid`: its other name, in schemas of 2026.
    pub uid: Option<String>,
    pub name: String,
    /// `localhost`: `1` for the central itself.
    pub localhost: Option<String>,
    /// `ns_ip_address`
    pub address: Option<String>,
    /// `gorgone_port`
    pub port: Option<String>,
    /// `remote_id`: the remote server before it.
    pub remote_id: Option<String>,
    /// `remote_server_use_as_proxy`: `1` if it is reached through that remote server.
    pub use_as_proxy: Option<String>,
    /// `gorgone_communication_type`: `1` push_zmq, `2` push_ssh, `3` pull, `4` pullwss.
    pub communication_type: Option<String>,
}

/// A row of `rs_poller_relation`: a further remote server of a poller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelationRow {
    /// `remote_server_id`
    pub remote_id: String,
    /// `poller_server_id`
    pub poller_id: String,
}

/// The result of one reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollerTables {
    /// `nagios_server`
    pub pollers: Vec<PollerRow>,
    /// `rs_poller_relation`
    pub relations: Vec<RelationRow>,
    /// The option `debug_gorgone` of the table `options`.
    pub debug_gorgone: Option<String>,
}

//! Statistics of engines and brokers (docs/protocol.md section 17) as values: what the database says, what nodes have
//! printed, and what became of it.

use super::node_id::NodeId;

/// What the module `statistics` has done elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatisticsWork {
    /// Read what there is to collect.
    ReadTables,
    /// Write what nodes have printed into files and the database.
    Write(Vec<Collected>),
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatisticsDone {
    /// Of [`StatisticsWork::ReadTables`]; an error is a sentence.
    Tables(Result<StatisticsTables, String>),
    /// Of [`StatisticsWork::Write`]: for each, in order, what went wrong.
    Written(Vec<Vec<String>>),
}

/// What a node has printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collected {
    pub node: NodeId,
    /// The name of the broker's configuration; `None` for what its engine says.
    pub broker: Option<String>,
    pub text: String,
}

/// What the database says. Values are text as the database gives it; `None` for NULL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatisticsTables {
    pub enable_broker_stats: Option<String>,
    /// Active configurations of brokers that have statistics.
    pub brokers: Vec<BrokerRow>,
    /// Active pollers.
    pub engines: Vec<EngineRow>,
}

/// A configuration of a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerRow {
    /// `nagios_server.id`
    pub node: String,
    /// Whether it is the central itself.
    pub is_localhost: bool,
    pub cache_directory: Option<String>,
    pub config_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineRow {
    /// `nagios_server.id`
    pub node: String,
    /// `nagiostats_bin`
    pub program: Option<String>,
    /// `cfg_nagios.cfg_dir`
    pub cfg_dir: Option<String>,
    /// `cfg_nagios.cfg_file`
    pub cfg_file: Option<String>,
}

//! Reads pollers from the Centreon configuration database (MariaDB or MySQL). Blocks, with a time-out for each step and
//! one for the whole: a job for a worker thread.
//!
//! The client speaks as much of the MySQL protocol as this needs: one connection, text queries, results that fit into
//! memory. Out of scope: prepared statements, compression, connections that are kept.

#[cfg(feature = "centreon")]
mod auth;
#[cfg(feature = "centreon")]
mod client;
#[cfg(feature = "centreon")]
mod orders;
#[cfg(feature = "centreon")]
mod packet;
#[cfg(feature = "centreon")]
mod statistics;
#[cfg(feature = "centreon")]
mod stream;
#[cfg(feature = "centreon")]
mod tables;

use std::fmt;

#[cfg(feature = "centreon")]
pub use statistics::StatisticsRow;

use crate::config::database::DatabaseSettings;
#[cfg(feature = "centreon")]
use crate::model::legacy::CommandTables;
#[cfg(feature = "centreon")]
use crate::model::node_id::NodeId;
use crate::model::poller::PollerTables;
#[cfg(feature = "centreon")]
use crate::model::statistics::StatisticsTables;

/// Why nothing was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseFault {
    /// A sentence that names the place, what is wrong and the remedy; it never holds the password.
    pub text: String,
    /// Whether there is a server and it, or a file of ours, says no, which will not change by itself.
    pub is_refusal: bool,
}

impl fmt::Display for DatabaseFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Connects, reads everything in one snapshot and disconnects. Either all is read or nothing.
///
/// # Errors
/// Why nothing was read.
#[cfg(feature = "centreon")]
pub fn read(settings: &DatabaseSettings) -> Result<PollerTables, DatabaseFault> {
    tables::read(settings)
}

/// Reads what orders of Centreon Web need of the pollers.
///
/// # Errors
/// Why nothing was read.
#[cfg(feature = "centreon")]
pub fn read_commands(settings: &DatabaseSettings) -> Result<CommandTables, DatabaseFault> {
    orders::read(settings)
}

/// Inserts an import task of a Remote Server for a task of its central; `seconds` since the epoch is now.
///
/// # Errors
/// Why it is not there.
#[cfg(feature = "centreon")]
pub fn add_import_task(settings: &DatabaseSettings, parent: u64, seconds: i64) -> Result<(), DatabaseFault> {
    orders::add_import_task(settings, parent, seconds)
}

/// Reads which engines and brokers there are to collect statistics of.
///
/// # Errors
/// Why nothing was read.
#[cfg(feature = "centreon")]
pub fn read_statistics(settings: &DatabaseSettings) -> Result<StatisticsTables, DatabaseFault> {
    statistics::read(settings)
}

/// Replaces the rows of nodes in the table `nagios_stats` of the real-time database, each node's whole or not at all.
///
/// # Errors
/// Why not all of them are there.
#[cfg(feature = "centreon")]
pub fn write_statistics(
    settings: &DatabaseSettings,
    nodes: &[(NodeId, Vec<StatisticsRow>)],
) -> Result<(), DatabaseFault> {
    statistics::write(settings, nodes)
}

/// This build cannot read a database.
///
/// # Errors
/// Always; a configuration that asks for it is read as one without the module.
#[cfg(not(feature = "centreon"))]
pub fn read(_: &DatabaseSettings) -> Result<PollerTables, DatabaseFault> {
    let text = "this build has no database client: it needs the feature 'centreon'".to_owned();
    Err(DatabaseFault { text, is_refusal: true })
}

//! Reads pollers from the Centreon configuration database (MariaDB or MySQL). It blocks, with a time-out for each step
//! and one for the whole operation, so it runs on worker threads.
//!
//! The client supports the necessary part of the MySQL protocol: one connection, text queries, results that fit into
//! memory. Out of scope: prepared statements, compression, persistent connections.

#[cfg(feature = "centreon")]
mod auth;
#[cfg(feature = "centreon")]
pub(in crate::edge) mod client;
#[cfg(feature = "centreon")]
mod orders;
#[cfg(feature = "centreon")]
mod packet;
#[cfg(feature = "centreon")]
mod statistics;
#[cfg(feature = "centreon")]
mod stream;
#[cfg(feature = "centreon")]
pub(in crate::edge) mod tables;

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

/// The reason why the database could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseFault {
    /// A sentence that names the server, the fault and the remedy. It never contains the password.
    pub text: String,
    /// Whether the fault is permanent: the server answers but refuses, or a local file is faulty.
    pub is_refusal: bool,
}

impl fmt::Display for DatabaseFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Connects, reads everything in one snapshot and disconnects. It reads everything or nothing.
///
/// # Errors
/// The reason why the database could not be used.
#[cfg(feature = "centreon")]
pub fn read(settings: &DatabaseSettings) -> Result<PollerTables, DatabaseFault> {
    tables::read(settings)
}

/// Reads the data of pollers that orders of Centreon Web need.
///
/// # Errors
/// The reason why the database could not be used.
#[cfg(feature = "centreon")]
pub fn read_commands(settings: &DatabaseSettings) -> Result<CommandTables, DatabaseFault> {
    orders::read(settings)
}

/// Inserts an import task of a Remote Server for the task `parent` of its central; `seconds` is the current time since
/// the epoch.
///
/// # Errors
/// Says why the task was not inserted.
#[cfg(feature = "centreon")]
pub fn add_import_task(settings: &DatabaseSettings, parent: u64, seconds: i64) -> Result<(), DatabaseFault> {
    orders::add_import_task(settings, parent, seconds)
}

/// Reads the engines and brokers whose statistics are to be collected.
///
/// # Errors
/// The reason why the database could not be used.
#[cfg(feature = "centreon")]
pub fn read_statistics(settings: &DatabaseSettings) -> Result<StatisticsTables, DatabaseFault> {
    statistics::read(settings)
}

/// Replaces the rows of nodes in the table `nagios_stats` of the real-time database, for each node all or none.
///
/// # Errors
/// Says why not all of them were written.
#[cfg(feature = "centreon")]
pub fn write_statistics(
    settings: &DatabaseSettings,
    nodes: &[(NodeId, Vec<StatisticsRow>)],
) -> Result<(), DatabaseFault> {
    statistics::write(settings, nodes)
}

/// Fails, because this build has no support for a database.
///
/// # Errors
/// Always fails. It is not called, because this build ignores the modules that need a database.
#[cfg(not(feature = "centreon"))]
pub fn read(_: &DatabaseSettings) -> Result<PollerTables, DatabaseFault> {
    let text = "this build has no database client: it needs the feature 'centreon'".to_owned();
    Err(DatabaseFault { text, is_refusal: true })
}

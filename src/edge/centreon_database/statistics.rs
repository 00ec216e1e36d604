//! The queries for statistics: the engines and brokers, and the table `nagios_stats` of the real-time database
//! (docs/protocol.md section 17).

use super::DatabaseFault;
use super::client::{Client, Fault};
use super::tables::{connect, explain};
use crate::config::database::DatabaseSettings;
use crate::model::node_id::NodeId;
use crate::model::statistics::{BrokerRow, EngineRow, StatisticsTables};

/// Implements [`super::read_statistics`].
pub(super) fn read(settings: &DatabaseSettings) -> Result<StatisticsTables, DatabaseFault> {
    let mut client = connect(settings)?;
    let tables = read_tables(&mut client).map_err(|fault| explain(fault, settings))?;
    client.quit();
    Ok(tables)
}

fn read_tables(client: &mut Client) -> Result<StatisticsTables, Fault> {
    let (_, rows) = client.query("SELECT `value` FROM options WHERE `key` = 'enable_broker_stats'")?;
    let enable_broker_stats = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
    let (_, rows) = client.query(
        "SELECT s.id, s.localhost, b.cache_directory, b.config_name FROM cfg_centreonbroker b \
         JOIN nagios_server s ON s.id = b.ns_nagios_server \
         WHERE s.ns_activate = '1' AND b.stats_activate = '1' AND b.config_activate = '1' ORDER BY s.id, b.config_name",
    )?;
    let brokers = rows.into_iter().map(|row| {
        let mut values = row.into_iter();
        let mut next = || values.next().flatten();
        BrokerRow {
            node: next().unwrap_or_default(),
            is_localhost: next().as_deref() == Some("1"),
            cache_directory: next(),
            config_name: next(),
        }
    });
    let brokers = brokers.collect();
    let (_, rows) = client.query(
        "SELECT s.id, s.nagiostats_bin, c.cfg_dir, c.cfg_file FROM nagios_server s \
         LEFT JOIN cfg_nagios c ON c.nagios_server_id = s.id AND c.nagios_activate = '1' \
         WHERE s.ns_activate = '1' ORDER BY s.id",
    )?;
    let mut engines: Vec<EngineRow> = Vec::new();
    for row in rows {
        let mut values = row.into_iter();
        let mut next = || values.next().flatten();
        let row = EngineRow { node: next().unwrap_or_default(), program: next(), cfg_dir: next(), cfg_file: next() };
        // Of several configurations of an engine the last one counts, as in the original.
        if engines.last().is_some_and(|last| last.node == row.node) {
            engines.pop();
        }
        engines.push(row);
    }
    Ok(StatisticsTables { enable_broker_stats, brokers, engines })
}

/// A row of `nagios_stats`: label, key and value.
pub type StatisticsRow = (&'static str, &'static str, String);

/// Implements [`super::write_statistics`].
pub(super) fn write(settings: &DatabaseSettings, nodes: &[(NodeId, Vec<StatisticsRow>)]) -> Result<(), DatabaseFault> {
    let mut client = connect(settings)?;
    for (node, rows) in nodes {
        replace(&mut client, *node, rows).map_err(|fault| explain(fault, settings))?;
    }
    client.quit();
    Ok(())
}

fn replace(client: &mut Client, node: NodeId, rows: &[StatisticsRow]) -> Result<(), Fault> {
    // No escaping is needed: labels and keys are constants, and values are checked numbers.
    let values: Vec<String> =
        rows.iter().map(|(label, key, value)| format!("('{node}', '{label}', '{key}', '{value}')")).collect();
    client.query("START TRANSACTION")?;
    client.query(&format!("DELETE FROM `nagios_stats` WHERE instance_id = '{node}'"))?;
    client.query(&format!(
        "INSERT INTO `nagios_stats` (instance_id, stat_label, stat_key, stat_value) VALUES {}",
        values.join(", ")
    ))?;
    client.query("COMMIT").map(|_| ())
}

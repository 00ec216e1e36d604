//! The queries for orders of Centreon Web: how each poller's engine, broker and trap daemon are configured and
//! reloaded, and import tasks of a Remote Server (docs/protocol.md section 16).

use std::collections::BTreeMap;

use super::DatabaseFault;
use super::client::{Client, Fault, Row};
use super::tables::{connect, explain};
use crate::config::database::DatabaseSettings;
use crate::edge::system;
use crate::model::legacy::{CommandTables, PollerCommands};

/// Columns of `nagios_server`. Some exist only in certain versions.
const SERVER: [&str; 9] = [
    "uid",
    "centreonbroker_cfg_path",
    "snmp_trapd_path_conf",
    "engine_start_command",
    "engine_stop_command",
    "engine_restart_command",
    "engine_reload_command",
    "broker_reload_command",
    "init_script_centreontrapd",
];

/// Implements [`super::read_commands`].
pub(super) fn read(settings: &DatabaseSettings) -> Result<CommandTables, DatabaseFault> {
    let mut client = connect(settings)?;
    let tables = read_tables(&mut client).map_err(|fault| explain(fault, settings))?;
    client.quit();
    Ok(tables)
}

/// Implements [`super::add_import_task`].
pub(super) fn add_import_task(settings: &DatabaseSettings, parent: u64, seconds: i64) -> Result<(), DatabaseFault> {
    let now = system::local_time(seconds).map_or_else(
        || "NOW()".to_owned(),
        |now| {
            let system::LocalTime { year, month, day, hour, minute, second } = now;
            format!("'{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}'")
        },
    );
    let insert = format!(
        "INSERT INTO task (`type`, `status`, `parent_id`, `created_at`) VALUES ('import', 'pending', '{parent}', {now})"
    );
    let mut client = connect(settings)?;
    client.query(&insert).map_err(|fault| explain(fault, settings))?;
    client.quit();
    Ok(())
}

fn read_tables(client: &mut Client) -> Result<CommandTables, Fault> {
    let (_, fields) = client.query("SHOW COLUMNS FROM nagios_server")?;
    let exists = |column: &str| {
        let is_named = |name: &str| name.eq_ignore_ascii_case(column);
        fields.iter().any(|row| row.first().is_some_and(|name| name.as_deref().is_some_and(is_named)))
    };
    let there: Vec<&str> = SERVER.into_iter().filter(|column| exists(column)).collect();
    let server: String = there.iter().map(|column| format!(", s.`{column}`")).collect();
    // A poller without an active engine has no row in `cfg_nagios`; of several rows the last one counts, as in the
    // original.
    let sql = format!(
        "SELECT s.id, c.nagios_server_id, c.command_file, c.cfg_dir{server} FROM nagios_server s \
         LEFT JOIN cfg_nagios c ON c.nagios_server_id = s.id AND c.nagios_activate = '1' ORDER BY s.id"
    );
    let (_, rows) = client.query(&sql)?;
    let mut pollers: BTreeMap<String, PollerCommands> = BTreeMap::new();
    for row in rows {
        let poller = poller(&there, row);
        pollers.insert(poller.id.clone(), poller);
    }
    let (_, rows) = client.query("SELECT `value` FROM options WHERE `key` = 'gorgone_illegal_characters'")?;
    let illegal_characters = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
    Ok(CommandTables { pollers: pollers.into_values().collect(), illegal_characters })
}

fn poller(there: &[&str], row: Row) -> PollerCommands {
    let names = ["id", "engine", "command_file", "cfg_dir"].into_iter().chain(there.iter().copied());
    let mut values: BTreeMap<&str, Option<String>> = names.zip(row).collect();
    let mut value = |column: &str| values.remove(column).flatten();
    PollerCommands {
        id: value("id").unwrap_or_default(),
        uid: value("uid"),
        has_engine: value("engine").is_some(),
        command_file: value("command_file"),
        cfg_dir: value("cfg_dir"),
        broker_dir: value("centreonbroker_cfg_path"),
        trap_dir: value("snmp_trapd_path_conf"),
        engine_start: value("engine_start_command"),
        engine_stop: value("engine_stop_command"),
        engine_restart: value("engine_restart_command"),
        engine_reload: value("engine_reload_command"),
        broker_reload: value("broker_reload_command"),
        trap_service: value("init_script_centreontrapd"),
    }
}

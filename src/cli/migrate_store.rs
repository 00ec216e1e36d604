//! `migrate-store`: moves the history of a daemon from a file to the database server that its configuration names, or
//! back.

use std::path::Path;
use std::process::ExitCode;

use super::remote_arguments::MoveOptions;
use super::{fail, say};
use crate::config::{self, Config};
use crate::edge::history_store::{self, FileTables};
use crate::edge::moving_tables::{MOVED_TABLES, MovedTable, Tables};
use crate::edge::server_store::ServerTables;

/// Number of rows that are moved at once.
const ROWS: usize = 1_000;
/// Number of rows between two lines of progress.
const TELL_EVERY: i64 = 100_000;

/// Runs `migrate-store`.
pub(super) fn run(options: &MoveOptions) -> ExitCode {
    match load(&options.config).and_then(|config| move_history(&config, options)) {
        Ok(text) => say(&text),
        Err(text) => fail(&text),
    }
}

fn load(path: &Path) -> Result<Config, String> {
    config::load(path).map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        format!("{first}; 'stheno check --config {}' shows all", path.display())
    })
}

fn move_history(config: &Config, options: &MoveOptions) -> Result<String, String> {
    let Some(server) = &config.core.server else {
        return Err("the configuration names no database server: set 'gorgone_db_type: mysql' first".to_owned());
    };
    if let Some(process) = history_store::holder(&config.core.database) {
        return Err(format!("the daemon (process {process}) runs: stop it first"));
    }
    if !options.back && !options.file.exists() {
        return Err(format!("{} does not exist", options.file.display()));
    }
    let mut file = FileTables::open(&options.file).map_err(|error| error.to_string())?;
    let mut server_tables = ServerTables::open(server)?;
    let moved = match options.back {
        true => move_all(&mut server_tables, &mut file)?,
        false => move_all(&mut file, &mut server_tables)?,
    };
    let (from, to) = (options.file.display(), server);
    Ok(match options.back {
        true => format!("{moved} rows moved from {to} to {from}; both have the same counts\n"),
        false => format!("{moved} rows moved from {from} to {to}; both have the same counts\n"),
    })
}

/// Moves everything; returns how many rows the other end has now.
fn move_all(from: &mut dyn Tables, to: &mut dyn Tables) -> Result<i64, String> {
    let state = from.state()?;
    to.begin(state)?;
    let mut total = 0;
    for table in &MOVED_TABLES {
        move_table(from, to, table)?;
        let (there, here) = (from.count(table)?, to.count(table)?);
        if there != here {
            return Err(format!("{}: {there} rows became {here}; is one of both in use? run it again", table.name));
        }
        total += here;
    }
    to.end()?;
    Ok(total)
}

fn move_table(from: &mut dyn Tables, to: &mut dyn Tables, table: &MovedTable) -> Result<(), String> {
    let is_history = table.name == "gorgone_history";
    // The history goes on where an earlier move was cut off; the other tables are small.
    let mut behind = if is_history { to.last_row()? } else { 0 };
    let (count, mut done) = (from.count(table)?, 0);
    loop {
        let rows = from.rows(table, behind, ROWS)?;
        let Some(last) = rows.last() else { return Ok(()) };
        let number = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        let last_id = last.first().and_then(|id| id.text()?.parse().ok()).unwrap_or(i64::MAX);
        behind = if is_history { last_id } else { behind.saturating_add(number) };
        to.put(table, &rows)?;
        if (done + number) / TELL_EVERY > done / TELL_EVERY {
            eprintln!("{}: {} of {count} rows", table.name, done + number);
        }
        done += number;
    }
}

//! A file as one end of a move to or from a database server.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params, params_from_iter};

use super::{HistoryStore, StoreError, StoreOptions, column};
use crate::edge::moving_tables::{Cell, Kind, MovedState, MovedTable, Tables};

/// A file whose daemon does not run.
pub struct FileTables {
    store: HistoryStore,
}

impl FileTables {
    /// Opens the file, and completes its schema.
    ///
    /// # Errors
    /// A daemon uses it, or it is unusable.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let options = StoreOptions { create_schema: true, synchronous_full: false, cache_kib: 4_096, max_bytes: None };
        HistoryStore::open(path, options).map(|store| Self { store })
    }

    const fn connection(&self) -> &Connection {
        &self.store.connection
    }

    fn said(&self, error: &rusqlite::Error) -> String {
        StoreError::from_sqlite(&self.store.path, error).to_string()
    }

    fn information(&self, key: &str) -> Result<i64, String> {
        let sql = "SELECT `value` FROM gorgone_information WHERE `key` = ?1";
        let read = self.connection().query_row(sql, [key], |row| Ok(column::integer(row, 0).unwrap_or(0)));
        read.optional().map(Option::unwrap_or_default).map_err(|error| self.said(&error))
    }

    fn note(&self, key: &str, value: Option<i64>) -> Result<(), String> {
        let noted = || {
            self.connection().execute("DELETE FROM gorgone_information WHERE `key` = ?1", [key])?;
            if let Some(value) = value {
                let sql = "INSERT INTO gorgone_information (`key`, `value`) VALUES (?1, ?2)";
                self.connection().execute(sql, params![key, value.to_string()])?;
            }
            Ok(())
        };
        noted().map_err(|error| self.said(&error))
    }

    fn read(&self, sql: &str, table: &MovedTable, values: [i64; 2]) -> rusqlite::Result<Vec<Vec<Cell>>> {
        let mut statement = self.connection().prepare_cached(sql)?;
        let mut rows = statement.query(values)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let cells = table.columns.iter().enumerate().map(|(index, (_, kind))| match kind {
                Kind::Text | Kind::Node => column::text(row, index).map_or(Cell::Null, Cell::Text),
                Kind::Number => column::integer(row, index).map_or(Cell::Null, Cell::Number),
                Kind::Real => column::real(row, index).map_or(Cell::Null, Cell::Real),
            });
            found.push(cells.collect());
        }
        Ok(found)
    }

    fn write(&mut self, table: &MovedTable, rows: &[Vec<Cell>]) -> rusqlite::Result<()> {
        let names: Vec<String> = table.columns.iter().map(|(name, _)| format!("`{name}`")).collect();
        let key: Vec<String> = names.iter().take(table.key).map(|name| format!("{name} = ?")).collect();
        let delete = format!("DELETE FROM {} WHERE {}", table.name, key.join(" AND "));
        let marks = vec!["?"; names.len()].join(", ");
        let insert = format!("INSERT INTO {} ({}) VALUES ({marks})", table.name, names.join(", "));
        let transaction = self.store.connection.transaction()?;
        for row in rows {
            let value = |(cell, (_, kind)): (&Cell, &(&str, Kind))| match (cell, kind) {
                (Cell::Null, _) => Value::Null,
                (Cell::Text(text), Kind::Node) => {
                    text.parse().map_or_else(|_| Value::Blob(text.clone().into_bytes()), Value::Integer)
                }
                (Cell::Text(text), _) => Value::Text(text.clone()),
                (Cell::Number(number), _) => Value::Integer(*number),
                (Cell::Real(number), _) => Value::Real(*number),
            };
            let values: Vec<Value> = row.iter().zip(table.columns).map(value).collect();
            transaction.prepare_cached(&delete)?.execute(params_from_iter(values.iter().take(table.key)))?;
            transaction.prepare_cached(&insert)?.execute(params_from_iter(values))?;
        }
        transaction.commit()
    }
}

/// Key of the note that a move into the file is not finished.
const UNFINISHED: &str = "stheno_unfinished_move";

impl Tables for FileTables {
    fn state(&mut self) -> Result<MovedState, String> {
        let (history, queue_clock) = (self.information("stheno_history")?, self.information("stheno_queue_clock")?);
        Ok(MovedState { history, queue_clock })
    }

    fn count(&mut self, table: &MovedTable) -> Result<i64, String> {
        let key: Vec<String> = table.columns.iter().take(table.key).map(|(name, _)| format!("`{name}`")).collect();
        let sql = format!("SELECT count(*) FROM (SELECT DISTINCT {} FROM {})", key.join(", "), table.name);
        self.connection().query_row(&sql, [], |row| row.get(0)).map_err(|error| self.said(&error))
    }

    fn last_row(&mut self) -> Result<i64, String> {
        Ok(self.store.newest_id())
    }

    fn rows(&mut self, table: &MovedTable, behind: i64, limit: usize) -> Result<Vec<Vec<Cell>>, String> {
        let names: Vec<String> = table.columns.iter().map(|(name, _)| format!("`{name}`")).collect();
        let sql = match table.name {
            "gorgone_history" => {
                format!("SELECT {} FROM {} WHERE id > ?1 ORDER BY id LIMIT ?2", names.join(", "), table.name)
            }
            // Of several rows with one key, the one that counts comes last.
            _ => {
                let mut key = names.get(..table.key).unwrap_or_default().join(", ");
                match table.name {
                    "gorgone_identity" => key.push_str(", id"),
                    "gorgone_target_fingerprint" => key.push_str(", id DESC"),
                    _ => {}
                }
                format!("SELECT {} FROM {} ORDER BY {key} LIMIT ?2 OFFSET ?1", names.join(", "), table.name)
            }
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(&sql, table, [behind, limit]).map_err(|error| self.said(&error))
    }

    fn put(&mut self, table: &MovedTable, rows: &[Vec<Cell>]) -> Result<(), String> {
        let written = self.write(table, rows);
        written.map_err(|error| self.said(&error))
    }

    fn begin(&mut self, state: MovedState) -> Result<(), String> {
        let own = self.information("stheno_history")?;
        if self.last_row()? > 0 && self.information(UNFINISHED)? == 0 {
            let path = self.store.path.display();
            return Err(format!("{path} has a history already: name a file that does not exist"));
        }
        if self.information(UNFINISHED)? != 0 && own != state.history {
            return Err(format!("{} has part of another history: name another file", self.store.path.display()));
        }
        self.note(UNFINISHED, Some(1))?;
        self.note("stheno_history", Some(state.history))?;
        self.note("stheno_queue_clock", Some(state.queue_clock))
    }

    fn end(&mut self) -> Result<(), String> {
        self.note(UNFINISHED, None)
    }
}

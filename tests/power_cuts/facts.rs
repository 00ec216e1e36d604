//! What a daemon said that it had, and whether a folder holds it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use stheno::config::joined;
use stheno::daemon::key_files::{KeyState, inspect};
use stheno::edge::history_store::{HistoryStore, StoreOptions};

use crate::Recorded;
use crate::platform::keys;

/// Something that was acknowledged.
#[derive(Clone, Debug)]
pub enum Fact {
    /// The history has a row of this token.
    Row(String),
    /// The request with this token waits in the queue, or the history has its rows.
    Request(String),
    /// The file of added nodes has this one.
    Node(u64),
    /// This file has that content.
    File(PathBuf, Vec<u8>),
    /// The key pair is there, with this private key.
    Keys(Vec<u8>),
}

/// What is to be found after a cut of one recording.
pub struct Known<'a>(&'a Recorded);

impl<'a> Known<'a> {
    pub const fn of(part: &'a Recorded) -> Self {
        Self(part)
    }

    /// Checks the files in `folder` after a cut at a time; after the last event without one.
    pub fn check(&self, folder: &Path, time: Option<f64>) -> Result<(), String> {
        let facts = self.0.facts.iter().filter(|(at, _)| time.is_none_or(|time| *at <= time)).map(|(_, fact)| fact);
        let facts: Vec<&Fact> = facts.collect();
        let moved = |path: &Path| folder.join(path.strip_prefix(&self.0.trace.root).unwrap_or(path));
        let database = moved(&self.0.plan.database);
        nodes_are_there(&joined::path_of(&database), &facts)?;
        if !self.0.is_daemon {
            return Ok(());
        }
        self.keys(&moved(&self.0.plan.keys), &facts)?;
        tokens_are_there(&database, &facts)?;
        self.files_are_whole(&facts, &moved)
    }

    fn keys(&self, folder: &Path, facts: &[&Fact]) -> Result<(), String> {
        let private = folder.join(keys::PRIVATE_FILE);
        let known = facts.iter().find_map(|fact| if let Fact::Keys(key) = fact { Some(key) } else { None });
        let found = inspect(&private, &folder.join(keys::PUBLIC_FILE)).map_err(|error| error.to_string())?;
        match (found, known) {
            (KeyState::Absent, Some(_)) => Err("the key pair is gone".to_owned()),
            (KeyState::Present { .. }, Some(key)) if fs::read(&private).ok().as_ref() != Some(key) => {
                Err("it is another key".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Files that were copied are whole wherever they are, and there if that was acknowledged.
    fn files_are_whole(&self, facts: &[&Fact], moved: &dyn Fn(&Path) -> PathBuf) -> Result<(), String> {
        for (_, fact) in &self.0.facts {
            let Fact::File(path, content) = fact else { continue };
            let said = facts.iter().any(|fact| matches!(fact, Fact::File(known, _) if known == path));
            match fs::read(moved(path)) {
                Ok(found) if found == *content => {}
                Ok(found) => {
                    return Err(format!("{}: {} bytes of {}", path.display(), found.len(), content.len()));
                }
                Err(error) if said => return Err(format!("{}: {error}", path.display())),
                Err(_) => {}
            }
        }
        Ok(())
    }
}

fn tokens_are_there(database: &Path, facts: &[&Fact]) -> Result<(), String> {
    let options = StoreOptions { create_schema: true, synchronous_full: false, cache_kib: 256, max_bytes: None };
    let store = HistoryStore::open(database, options).map_err(|error| error.to_string())?;
    store.load().map_err(|error| error.to_string())?;
    drop(store);
    let connection = Connection::open(database).map_err(|error| error.to_string())?;
    let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    if sound != "ok" {
        return Err(sound);
    }
    let read = |sql: &str| -> BTreeSet<String> {
        let mut statement = connection.prepare(sql).unwrap();
        let tokens = statement.query_map([], |row| row.get::<_, Option<String>>(0)).unwrap();
        tokens.filter_map(Result::unwrap).collect()
    };
    let rows = read("SELECT DISTINCT token FROM gorgone_history");
    let requests = read("SELECT token FROM stheno_outbox");
    for fact in facts {
        match fact {
            Fact::Row(token) if !rows.contains(token) => return Err(format!("the row of '{token}' is lost")),
            Fact::Request(token) if !requests.contains(token) && !rows.contains(token) => {
                return Err(format!("the request '{token}' is lost"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn nodes_are_there(file: &Path, facts: &[&Fact]) -> Result<(), String> {
    let found = joined::read(file)?;
    for fact in facts {
        if let Fact::Node(id) = fact
            && !found.nodes.iter().any(|node| node.id == *id)
        {
            return Err(format!("node {id} is not in the file of added nodes"));
        }
    }
    Ok(())
}

//! A connection to the server of the history, and what its errors mean.

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::config::database::{DatabaseSettings, HistoryServer};
use crate::edge::centreon_database::client::{Client, Fault, Row};
use crate::edge::centreon_database::tables::log_in;
use crate::edge::history_store::{StoreError, StoreErrorKind};
use crate::edge::tls;

/// How long a statement waits for a lock of another connection, in seconds.
const LOCK_SECONDS: u32 = 5;
/// Set on each connection; a server that does not know one of the second list does without.
const MODES: [&str; 3] = [
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES,NO_ENGINE_SUBSTITUTION'",
    "SET NAMES utf8mb4",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
];
const WISHES: [&str; 3] = [
    // A node of a Galera cluster first applies what was committed on the others.
    "SET SESSION wsrep_sync_wait = 7",
    "SET SESSION autocommit = 1",
    // The server soon drops a connection whose daemon is gone, and its locks.
    "SET SESSION wait_timeout = 60",
];

/// Why a statement failed.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) kind: StoreErrorKind,
    /// A sentence.
    pub(super) text: String,
    /// Whether it may pass within seconds, by itself or on another server of the list.
    pub(super) passes: bool,
}

impl Trouble {
    pub(super) fn new(kind: StoreErrorKind, text: impl Into<String>, passes: bool) -> Self {
        Self { kind, text: text.into(), passes }
    }

    pub(super) fn schema(text: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::SchemaMissing, text, false)
    }

    pub(super) fn into_error(self, server: &HistoryServer) -> StoreError {
        StoreError::of_server(Path::new(&server.to_string()), self.kind, self.text)
    }
}

/// A connection that is ready for statements.
pub(super) struct Session {
    client: Client,
    settings: DatabaseSettings,
    /// Index of the server in the list.
    pub(super) index: usize,
}

impl Session {
    /// Connects to the first server that answers and is of use.
    pub(super) fn open(server: &HistoryServer, deadline: Instant) -> Result<Self, Trouble> {
        let mut first = None;
        for (index, settings) in server.servers.iter().enumerate() {
            match Self::open_one(settings, index, deadline) {
                Ok(session) => return Ok(session),
                Err(trouble) => _ = first.get_or_insert(trouble),
            }
        }
        Err(first.unwrap_or_else(|| Trouble::new(StoreErrorKind::Other, "no server is configured", false)))
    }

    fn open_one(settings: &DatabaseSettings, index: usize, deadline: Instant) -> Result<Self, Trouble> {
        // A login is given time of its own, so that a server that is slow is not taken for one that is gone.
        let deadline = deadline.max(Instant::now() + settings.connect_timeout);
        let client = log_in(settings, deadline).map_err(|fault| explain(fault, settings))?;
        let mut session = Self { client, settings: settings.clone(), index };
        for statement in MODES {
            session.run(statement)?;
        }
        session.run(&format!("SET SESSION innodb_lock_wait_timeout = {LOCK_SECONDS}"))?;
        for statement in WISHES {
            match session.client.query(statement) {
                Ok(_) | Err(Fault::Server(..)) => {}
                Err(fault) => return Err(explain(fault, settings)),
            }
        }
        Ok(session)
    }

    /// Gives the next statements this much time.
    pub(super) fn allow(&mut self, time: Duration) {
        self.client.set_deadline(Instant::now() + time);
    }

    /// The server's number of this connection.
    pub(super) const fn number(&self) -> u32 {
        self.client.number()
    }

    pub(super) fn rows(&mut self, sql: &str) -> Result<Vec<Row>, Trouble> {
        self.client.query(sql).map(|(_, rows)| rows).map_err(|fault| explain(fault, &self.settings))
    }

    pub(super) fn each(&mut self, sql: &str, take: impl FnMut(Row) -> bool) -> Result<(), Trouble> {
        self.client.query_each(sql, take).map(drop).map_err(|fault| explain(fault, &self.settings))
    }

    pub(super) fn run(&mut self, sql: &str) -> Result<(), Trouble> {
        self.client.query(sql).map(drop).map_err(|fault| explain(fault, &self.settings))
    }

    /// See [`Client::execute_all`].
    pub(super) fn run_all<'a>(&mut self, statements: impl Iterator<Item = &'a str>) -> Result<Vec<u64>, Trouble> {
        self.client.execute_all(statements).map_err(|fault| explain(fault, &self.settings))
    }
}

/// Says what a fault means and what helps.
fn explain(fault: Fault, settings: &DatabaseSettings) -> Trouble {
    use StoreErrorKind as Kind;
    let (place, user, database) = (&settings.place, &settings.username, &settings.database);
    let (code, text) = match fault {
        Fault::Io(error) => {
            if let Some(text) = tls::database::explain(&error, settings.tls.as_ref()) {
                return Trouble::new(Kind::Other, text, false);
            }
            let text = match error.kind() {
                ErrorKind::ConnectionRefused | ErrorKind::NotFound => {
                    format!("the server at {place} does not run: nothing listens there ({error}); start it")
                }
                ErrorKind::TimedOut | ErrorKind::WouldBlock => {
                    format!("the server at {place} does not answer in time: it is overloaded, locked or cut off")
                }
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                    format!("the server at {place} broke the connection: it was stopped, or its log says why")
                }
                _ => format!("the connection to {place} failed: {error}"),
            };
            return Trouble::new(Kind::Io, text, true);
        }
        Fault::Other(text) => return Trouble::new(Kind::Other, format!("{place}: {text}"), false),
        Fault::Server(code, text) => (code, text),
    };
    let because = format!("{text}, error {code} of the server at {place}");
    match code {
        1045 | 1698 | 4151 => {
            let text = format!(
                "the user '{user}' or the password is refused: correct gorgone_db_user and gorgone_db_password"
            );
            Trouble::new(Kind::PermissionDenied, format!("{text} ({because})"), false)
        }
        1049 => {
            let text = format!("there is no such database: CREATE DATABASE {database}, or correct gorgone_db_name");
            Trouble::new(Kind::SchemaMissing, format!("{text} ({because})"), false)
        }
        1044 | 1142 | 1143 | 1227 | 1370 => {
            let text = format!("the user '{user}' may not do that: GRANT ALL ON {database}.* TO '{user}'");
            Trouble::new(Kind::PermissionDenied, format!("{text} ({because})"), false)
        }
        1040 | 1203 | 1226 => {
            let text = "the server has too many connections: raise max_connections, or end other clients";
            Trouble::new(Kind::Busy, format!("{text} ({because})"), true)
        }
        1047 => {
            let text = "this node of the cluster has no quorum: look at wsrep_cluster_status, start the other nodes";
            Trouble::new(Kind::ReadOnly, format!("{text} ({because})"), true)
        }
        1290 | 1792 | 1836 => {
            let text =
                "the server takes no changes now: SET GLOBAL read_only = 0 there, or name the one that does first";
            Trouble::new(Kind::ReadOnly, format!("{text} ({because})"), true)
        }
        1021 | 1114 => {
            Trouble::new(Kind::DiskFull, format!("the disk of the server is full: make room ({because})"), false)
        }
        1205 => Trouble::new(Kind::Busy, format!("another connection holds a lock: end it ({because})"), true),
        1213 | 1053 | 1317 | 1927 | 4031 => Trouble::new(Kind::Busy, because, true),
        1146 | 1054 => {
            Trouble::new(Kind::SchemaMissing, format!("the tables were changed: restart the daemon ({because})"), false)
        }
        1153 => {
            let text = "the server takes only small statements: set max_allowed_packet to at least 4M";
            Trouble::new(Kind::Other, format!("{text} ({because})"), false)
        }
        // "Got error 28 from storage engine": no space left on the device.
        3 | 1030 if text.contains("28") => {
            Trouble::new(Kind::DiskFull, format!("the disk of the server is full: make room ({because})"), false)
        }
        _ => Trouble::new(Kind::Other, because, false),
    }
}

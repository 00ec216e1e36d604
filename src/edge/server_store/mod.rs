//! Stores the history on a database server (MariaDB, MySQL), or on a Galera cluster of them.
//!
//! [`ServerStore`] belongs to the loop and never waits: a commit is a job that takes the [`Writer`] along and brings
//! it back. Questions are asked on connections of worker threads. Out of scope: what is done while the server takes
//! nothing.

mod lanes;
mod lease;
mod load;
mod moving;
mod pieces;
mod purge;
mod queue;
mod reader;
mod schema;
mod session;
mod text;
mod writer;

use std::path::Path;
use std::time::Duration;

pub use lease::{Holder, Lease, Member, Seen, look};
pub use moving::ServerTables;
pub use reader::{query_kept, query_queue};
pub use writer::Writer;

use crate::config::database::HistoryServer;
use crate::edge::history_store::{Applied, StoreError, StoreErrorKind};
use crate::edge::jobs::Job;
use crate::model::history::StoreChange;
use crate::model::stored::Stored;
use crate::model::time::WallTime;

/// A commit that has ended.
pub struct Finished {
    writer: Box<Writer>,
    /// The changes of the commit.
    pub changes: Vec<StoreChange>,
    /// What became of them.
    pub result: Result<Applied, StoreError>,
}

/// The loop's end of the writer.
pub struct ServerStore {
    /// `None` while a commit is under way.
    writer: Option<Box<Writer>>,
    /// The server, for messages.
    name: String,
}

impl ServerStore {
    /// Takes over the history and reads the state that a start continues from. It blocks.
    ///
    /// # Errors
    /// Another daemon has it, or it is unusable; says what helps.
    pub fn open(server: HistoryServer, lease: Lease, create: bool) -> Result<(Self, Stored), StoreError> {
        let mut writer = Writer::open(server, lease, create)?;
        let read = writer.session().and_then(|session| {
            session.allow(Duration::from_secs(60));
            load::load(session)
        });
        let mut stored = read.map_err(|trouble| trouble.into_error(writer.server()))?;
        stored.restored.newest_ctime = writer.newest_ctime();
        let name = writer.server().to_string();
        Ok((Self { writer: Some(Box::new(writer)), name }, stored))
    }

    fn away(&self) -> StoreError {
        let text = "the server did not answer in time".to_owned();
        StoreError::of_server(Path::new(&self.name), StoreErrorKind::Io, text)
    }

    /// Whether a commit is under way.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        self.writer.is_none()
    }

    /// Returns the job that applies changes; see [`Writer`]. `None` while another commit is under way.
    pub fn begin(&mut self, changes: Vec<StoreChange>, doubtful: usize, wall: WallTime) -> Option<Job<Finished>> {
        let mut writer = self.writer.take()?;
        Some(Box::new(move || {
            let result = writer.apply(&changes, doubtful, wall, false);
            Finished { writer, changes, result }
        }))
    }

    /// Takes the writer back.
    pub fn take_back(&mut self, finished: Finished) -> (Vec<StoreChange>, Result<Applied, StoreError>) {
        self.writer = Some(finished.writer);
        (finished.changes, finished.result)
    }

    /// Applies the last changes of a daemon and gives the lease back. It blocks.
    ///
    /// # Errors
    /// None of them was applied.
    pub fn finish(&mut self, changes: &[StoreChange], wall: WallTime) -> Result<Applied, StoreError> {
        match self.writer.as_mut() {
            Some(writer) => writer.apply(changes, 0, wall, true),
            None => Err(self.away()),
        }
    }
}

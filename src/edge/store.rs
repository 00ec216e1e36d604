//! Where the history is kept: the one narrow interface between the daemon and its database.
//!
//! The daemon writes by [`Store::begin`], one transaction for a turn, and asks by [`query_kept`] and [`query_queue`]
//! on worker threads. A file (SQLite, [`super::history_store`]) commits at once; a server (`edge::server_store`)
//! commits on a thread. Upkeep that only a file needs does nothing elsewhere.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::event_file::EventFile;
use super::history_store::{self, Applied, HistoryStore, StoreError};
#[cfg(feature = "centreon")]
use super::jobs::Job;
#[cfg(feature = "centreon")]
use super::server_store::{self, Finished, ServerStore};
#[cfg(feature = "centreon")]
use crate::config::database::HistoryServer;
use crate::model::history::{LogFilter, LogPage, PageLimit, StoreChange};
use crate::model::queue::{QueueAnswer, QueueQuery};
use crate::model::time::WallTime;

/// Where questions to the history go, for worker threads.
#[derive(Clone)]
pub enum StorePlace {
    /// A file of SQLite.
    File(PathBuf),
    /// A database server.
    #[cfg(feature = "centreon")]
    Server(std::sync::Arc<HistoryServer>),
}

/// The writer of the history; there is one for each daemon.
pub enum Store {
    File(Box<HistoryStore>),
    /// On a database server; commits take place on a thread.
    #[cfg(feature = "centreon")]
    Server(ServerStore),
}

/// What became of changes.
pub enum Commit {
    /// The commit has ended.
    Done(Result<Applied, StoreError>),
    /// The job that commits the changes, which it has taken.
    #[cfg(feature = "centreon")]
    Later(Job<Finished>),
    /// Another commit is under way.
    #[cfg(feature = "centreon")]
    Busy,
}

impl Store {
    /// Begins to apply changes in one transaction. The first `doubtful` of them are left out if the last commit, which
    /// failed, has stored them after all.
    #[cfg_attr(not(feature = "centreon"), expect(unused_variables, reason = "the commit of a file is never in doubt"))]
    pub fn begin(&mut self, changes: &mut Vec<StoreChange>, doubtful: usize, wall: WallTime) -> Commit {
        match self {
            Self::File(store) => Commit::Done(store.apply(changes, wall)),
            #[cfg(feature = "centreon")]
            Self::Server(store) if store.is_away() => Commit::Busy,
            #[cfg(feature = "centreon")]
            Self::Server(store) => {
                store.begin(std::mem::take(changes), doubtful, wall).map_or(Commit::Busy, Commit::Later)
            }
        }
    }

    /// Takes the end of a commit on a server: its changes, and what became of them.
    #[cfg(feature = "centreon")]
    pub fn take_back(&mut self, finished: Finished) -> (Vec<StoreChange>, Result<Applied, StoreError>) {
        match self {
            Self::Server(store) => store.take_back(finished),
            Self::File(_) => (finished.changes, finished.result),
        }
    }

    /// Applies the last changes of a daemon, and waits for that.
    ///
    /// # Errors
    /// None of them was applied.
    pub fn finish(&mut self, changes: &[StoreChange], wall: WallTime) -> Result<Applied, StoreError> {
        match self {
            Self::File(store) => {
                store.be_patient_at_last();
                let stored = store.apply(changes, wall);
                let _looked_at_by_the_next_start = store.note_order();
                let _kept_in_the_log = history_store::checkpoint(store.path());
                stored
            }
            #[cfg(feature = "centreon")]
            Self::Server(store) => store.finish(changes, wall),
        }
    }

    /// Whether the disk has space for the next commits, as far as is known.
    #[must_use]
    pub fn has_room(&self) -> bool {
        match self {
            Self::File(store) => history_store::has_room(store.path()),
            #[cfg(feature = "centreon")]
            Self::Server(_) => true,
        }
    }

    /// Tries whether the database takes changes now. Takes microseconds, and changes nothing.
    ///
    /// # Errors
    /// It takes none.
    #[cfg(feature = "status")]
    pub fn try_to_write(&self) -> Result<(), StoreError> {
        match self {
            Self::File(store) => store.try_to_write(),
            #[cfg(feature = "centreon")]
            Self::Server(_) => Ok(()),
        }
    }

    /// Releases memory after a burst.
    pub fn release_memory(&self) {
        match self {
            Self::File(store) => store.release_memory(),
            #[cfg(feature = "centreon")]
            Self::Server(_) => {}
        }
    }

    // ---- upkeep of a file ---------------------------------------------------------------------------------------

    #[must_use]
    pub fn file(&self) -> Option<&HistoryStore> {
        match self {
            Self::File(store) => Some(store),
            #[cfg(feature = "centreon")]
            Self::Server(_) => None,
        }
    }

    /// The same, for upkeep that changes what is known of the file.
    pub fn file_mut(&mut self) -> Option<&mut HistoryStore> {
        match self {
            Self::File(store) => Some(store),
            #[cfg(feature = "centreon")]
            Self::Server(_) => None,
        }
    }

    pub fn watch(&mut self) -> Option<&mut EventFile> {
        self.file_mut().and_then(HistoryStore::watch)
    }
}

/// See [`history_store::query_kept`].
pub fn query_kept<Q>(
    place: &StorePlace,
    questions: &mut VecDeque<(Q, LogFilter, PageLimit)>,
    most_bytes: usize,
) -> Vec<(Q, Result<LogPage, StoreError>)> {
    match place {
        StorePlace::File(path) => history_store::query_kept(path, questions, most_bytes),
        #[cfg(feature = "centreon")]
        StorePlace::Server(server) => server_store::query_kept(server, questions, most_bytes),
    }
}

/// Answers a question to the queue.
#[must_use]
pub fn query_queue(place: &StorePlace, query: &QueueQuery) -> QueueAnswer {
    match place {
        StorePlace::File(path) => history_store::query_queue(path, query),
        #[cfg(feature = "centreon")]
        StorePlace::Server(server) => server_store::query_queue(server, query),
    }
}

/// Size of the database in bytes; `None` if it is not known.
#[cfg(feature = "status")]
#[must_use]
pub fn size_bytes(place: &StorePlace) -> Option<u64> {
    match place {
        StorePlace::File(path) => history_store::size_bytes(path),
        #[cfg(feature = "centreon")]
        StorePlace::Server(_) => None,
    }
}

impl From<&Path> for StorePlace {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

//! Where the history is kept: the one narrow interface between the daemon and its database.
//!
//! The daemon writes by [`Store::begin`], one transaction for a turn, and asks by [`query_kept`] and [`query_queue`]
//! on worker threads. A file (SQLite, [`super::history_store`]) commits at once; upkeep that only a file needs does
//! nothing elsewhere.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::event_file::EventFile;
use super::history_store::{self, Applied, HistoryStore, StoreError};
use crate::model::history::{LogFilter, LogPage, PageLimit, StoreChange};
use crate::model::queue::{QueueAnswer, QueueQuery};
use crate::model::stored::Stored;
use crate::model::time::WallTime;

/// Where questions to the history go, for worker threads.
#[derive(Clone)]
pub enum StorePlace {
    /// A file of SQLite.
    File(PathBuf),
}

/// The writer of the history; there is one for each daemon.
pub enum Store {
    File(Box<HistoryStore>),
}

/// What became of changes.
pub enum Commit {
    /// The commit has ended.
    Done(Result<Applied, StoreError>),
}

impl Store {
    /// Begins to apply changes in one transaction.
    pub fn begin(&mut self, changes: &[StoreChange], wall: WallTime) -> Commit {
        match self {
            Self::File(store) => Commit::Done(store.apply(changes, wall)),
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
        }
    }

    /// Reads the state that a start continues from.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn load(&self) -> Result<Stored, StoreError> {
        match self {
            Self::File(store) => {
                let mut stored = store.load()?;
                stored.restored.newest_ctime = store.newest_ctime();
                Ok(stored)
            }
        }
    }

    /// Whether the disk has space for the next commits, as far as is known.
    #[must_use]
    pub fn has_room(&self) -> bool {
        match self {
            Self::File(store) => history_store::has_room(store.path()),
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
        }
    }

    /// Releases memory after a burst.
    pub fn release_memory(&self) {
        match self {
            Self::File(store) => store.release_memory(),
        }
    }

    // ---- upkeep of a file ---------------------------------------------------------------------------------------

    #[must_use]
    pub fn file(&self) -> Option<&HistoryStore> {
        match self {
            Self::File(store) => Some(store),
        }
    }

    /// The same, for upkeep that changes what is known of the file.
    pub fn file_mut(&mut self) -> Option<&mut HistoryStore> {
        match self {
            Self::File(store) => Some(store),
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
    }
}

/// Answers a question to the queue.
#[must_use]
pub fn query_queue(place: &StorePlace, query: &QueueQuery) -> QueueAnswer {
    match place {
        StorePlace::File(path) => history_store::query_queue(path, query),
    }
}

/// Size of the database in bytes; `None` if it is not known.
#[cfg(feature = "status")]
#[must_use]
pub fn size_bytes(place: &StorePlace) -> Option<u64> {
    match place {
        StorePlace::File(path) => history_store::size_bytes(path),
    }
}

impl From<&Path> for StorePlace {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

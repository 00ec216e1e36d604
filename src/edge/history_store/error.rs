//! Errors of the database, as messages for the administrator with the remedy.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// Another daemon has the database open; with its process id, if known.
    InUse(Option<u32>),
    /// The file is not an SQLite database.
    NotADatabase,
    /// The file is damaged.
    Corrupt,
    /// The file, its directory or the file system cannot be written to.
    ReadOnly,
    /// The file or its directory may not be opened.
    PermissionDenied,
    /// The disk or a quota is full.
    DiskFull,
    /// Another program (a backup, `sqlite3`) held the database for too long.
    Busy,
    /// Reading or writing failed.
    Io,
    /// Tables are missing and may not be created.
    SchemaMissing,
    /// The file system cannot share memory between processes, so write-ahead logging does not work.
    WalUnsupported,
    /// Any other error.
    Other,
}

/// An error of the database. Its text names the file, the fault and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    /// Path of the database.
    pub path: PathBuf,
    pub kind: StoreErrorKind,
    /// Message of SQLite or the operating system; may be empty.
    pub detail: String,
    /// Whether it is a database server, whose `detail` is a whole sentence.
    is_of_server: bool,
}

impl StoreError {
    /// Creates an error with a given detail.
    pub(super) fn new(path: &Path, kind: StoreErrorKind, detail: impl Into<String>) -> Self {
        Self { path: path.to_owned(), kind, detail: detail.into(), is_of_server: false }
    }

    /// Creates the error of a database server; `text` is a sentence with the remedy.
    #[cfg(feature = "centreon")]
    pub(in crate::edge) fn of_server(place: &Path, kind: StoreErrorKind, text: String) -> Self {
        Self { path: place.to_owned(), kind, detail: text, is_of_server: true }
    }

    /// Converts an error of SQLite.
    pub(super) fn from_sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => StoreErrorKind::NotADatabase,
            Some(ErrorCode::DatabaseCorrupt) => StoreErrorKind::Corrupt,
            Some(ErrorCode::ReadOnly) => StoreErrorKind::ReadOnly,
            Some(ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => StoreErrorKind::PermissionDenied,
            Some(ErrorCode::DiskFull) => StoreErrorKind::DiskFull,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreErrorKind::Busy,
            Some(ErrorCode::SystemIoFailure) => StoreErrorKind::Io,
            _ => StoreErrorKind::Other,
        };
        Self::new(path, kind, error.to_string())
    }

    /// Converts an error of the file system.
    pub(super) fn from_io(path: &Path, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied => StoreErrorKind::PermissionDenied,
            io::ErrorKind::ReadOnlyFilesystem => StoreErrorKind::ReadOnly,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreErrorKind::DiskFull,
            _ => StoreErrorKind::Io,
        };
        Self::new(path, kind, error.to_string())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_of_server {
            return write!(formatter, "database {}: {}", self.path.display(), self.detail);
        }
        write!(formatter, "database '{}': ", self.path.display())?;
        let text = match self.kind {
            StoreErrorKind::InUse(Some(pid)) => {
                return write!(
                    formatter,
                    "another daemon (process {pid}) uses it; stop that one or set another gorgone_db_name"
                );
            }
            StoreErrorKind::InUse(None) => "another daemon uses it; stop that one or set another gorgone_db_name",
            StoreErrorKind::NotADatabase => {
                "the file is not a SQLite database; check gorgone_db_name, or move the file away and start again with \
                    an \
                    empty one"
            }
            StoreErrorKind::Corrupt => {
                "the file is damaged; stop the daemon, then repair it with `sqlite3 FILE .recover` or move it (and \
                    its -wal \
                 and -shm files) away to start with an empty one"
            }
            StoreErrorKind::ReadOnly => {
                "it cannot be written to; check the mode of the file and its directory and how the file system is \
                    mounted"
            }
            StoreErrorKind::PermissionDenied => {
                "it cannot be opened; check that it is a file and that the daemon's user may read and write it and \
                    its directory"
            }
            StoreErrorKind::DiskFull => "the disk or a quota is full; make room",
            StoreErrorKind::Busy => "another program holds it; end that program (a backup, sqlite3, another daemon)",
            StoreErrorKind::Io => "reading or writing failed; check the disk and the kernel's log",
            StoreErrorKind::SchemaMissing => {
                "tables are missing and may not be made; set gorgone_db_autocreate_schema: 1"
            }
            StoreErrorKind::WalUnsupported => {
                "its file system does not support write-ahead logging; put it on a local disk"
            }
            StoreErrorKind::Other => "unexpected answer of SQLite",
        };
        formatter.write_str(text)?;
        if self.detail.is_empty() { Ok(()) } else { write!(formatter, " ({})", self.detail) }
    }
}

impl std::error::Error for StoreError {}

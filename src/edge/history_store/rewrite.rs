//! Rewrites a small file at a start, so that it can shrink and has small pages.

use super::{HistoryStore, PAGE_SIZE, StoreError, page_size, purge};

/// Maximum size in bytes of a file that is rewritten at a start so that it can shrink, or gets smaller pages; this
/// takes a fraction of a second on a disk, and seconds on a card.
const REWRITTEN_MAX_BYTES: u64 = 16 << 20;
/// Rewrites a file with other pages, which does not work with a write-ahead log. With `EXTRA`, a power failure cannot
/// bring the rollback journal back, which would not fit to what is written later. The copy is a file, because it may
/// be larger than the memory of a small machine.
const REWRITE: &str = "PRAGMA temp_store = FILE; PRAGMA synchronous = EXTRA; PRAGMA journal_mode = DELETE; \
                       PRAGMA page_size = 1024; VACUUM";
impl HistoryStore {
    /// Makes sure that purges shrink the file, and that its pages are small ([`PAGE_SIZE`]). A file created by another
    /// program or by an earlier version must be rewritten for that: a small one is rewritten now, whole or not at all;
    /// a large one keeps its pages, and its free space for later rows.
    ///
    /// # Errors
    /// Says why purges will not shrink the file.
    pub fn make_shrinkable(&mut self) -> Result<(), String> {
        let path = self.path.clone();
        let sqlite = |error: rusqlite::Error| StoreError::from_sqlite(&path, &error).to_string();
        let shrinks = purge::number(&self.connection, "auto_vacuum").map_err(sqlite)? == purge::INCREMENTAL;
        if shrinks && self.page_size <= PAGE_SIZE {
            return Ok(());
        }
        let pages = purge::number(&self.connection, "page_count").map_err(sqlite)?;
        if u64::try_from(pages).unwrap_or(0).saturating_mul(self.page_size) > REWRITTEN_MAX_BYTES {
            let path = path.display();
            let text = format!(
                "{path} keeps its size when rows are purged, and uses the space again; to let it shrink, stop the \
                    daemon once and run: \
                 sqlite3 '{path}' 'PRAGMA auto_vacuum = 2; VACUUM'"
            );
            return if shrinks { Ok(()) } else { Err(text) };
        }
        let rewritten = self.connection.execute_batch(REWRITE);
        let back: rusqlite::Result<String> =
            self.connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0));
        self.connection
            .execute_batch(&format!("PRAGMA synchronous = {}; PRAGMA temp_store = MEMORY", self.synchronous))
            .map_err(sqlite)?;
        let mode = back.map_err(sqlite)?;
        self.page_size = page_size(&self.connection).map_err(sqlite)?;
        self.note_checkpoint();
        match rewritten {
            _ if mode != "wal" => Err(format!("the database cannot go back to write-ahead logging: {mode}")),
            // Another program reads it; the next start tries again.
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => Ok(()),
            rewritten => rewritten.map_err(sqlite),
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::super::tests::{FIRST_SCHEMA, WALL, WHOLE, ids, insert, open};
    use super::*;
    use crate::edge::history_store::HistoryReader;
    use crate::edge::temp_dir::TempDir;
    use crate::model::history::LogFilter;

    #[test]
    fn a_small_file_of_an_earlier_version_gets_smaller_pages_and_keeps_its_rows() {
        let dir = TempDir::new();
        let path = dir.join("h.sdb");
        let old = Connection::open(&path).unwrap();
        old.execute_batch("PRAGMA page_size = 4096; PRAGMA auto_vacuum = 2; PRAGMA journal_mode = WAL").unwrap();
        old.execute_batch(FIRST_SCHEMA).unwrap();
        let page_size = || purge::number(&Connection::open(&path).unwrap(), "page_size").unwrap();
        let mut store = open(&path);
        // A reader is open.
        assert_eq!(store.make_shrinkable(), Ok(()));
        assert_eq!(page_size(), 4_096);
        drop(old);
        assert_eq!(store.make_shrinkable(), Ok(()));
        store.apply(&[insert("new", 2)], WALL).unwrap();
        assert_eq!((page_size(), store.check_identity(), store.was_written_by_others()), (1_024, Ok(()), false));
        let reader = HistoryReader::open(&path).unwrap();
        assert_eq!(ids(&reader.query(&LogFilter::default(), &WHOLE).unwrap()), [1, 2, 3, 4, 5]);
    }
}

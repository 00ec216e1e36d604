use super::super::tests::{WALL, WHOLE, ids, insert, open, row, session, wall};
use super::super::{Applied, HistoryReader, HistoryStore, checkpoint};
use crate::edge::temp_dir::TempDir;
use crate::model::history::{HistoryRow, LogFilter, StoreChange};

use super::*;

fn purge(store: &mut HistoryStore, rows: i64, instant: i64) -> Applied {
    let second = WALL.as_seconds();
    let change = StoreChange::Purge { used_before: 10, rows_before: second + rows, instant_before: second + instant };
    store.apply(&[change], WALL).unwrap()
}

/// Runs steps until nothing is left. Returns how many rows and sessions were removed.
fn purge_all(store: &mut HistoryStore, rows: i64, instant: i64) -> usize {
    let mut purged = 0;
    loop {
        let applied = purge(store, rows, instant);
        purged += applied.purged;
        if !applied.purge_left {
            return purged;
        }
    }
}

#[test]
fn a_purge_takes_what_is_too_old_and_never_the_newest_row() {
    let dir = TempDir::new();
    let path = dir.join("history.sdb");
    let mut store = open(&path);
    let instant = StoreChange::InsertRow(HistoryRow { instant: true, ..row("instant", 0) });
    store.apply(&[insert("a", 0), insert("b", 0), insert("c", 0)], wall(0)).unwrap();
    store.apply(&[insert("d", 0), instant.clone(), StoreChange::PutSession(session("old", 5))], wall(100)).unwrap();
    store.apply(&[insert("e", 0), instant], wall(200)).unwrap();
    let mut purged = |rows: i64, instant: i64| {
        let purged = purge_all(&mut store, rows, instant);
        let page = HistoryReader::open(&path).unwrap().query(&LogFilter::default(), &WHOLE).unwrap();
        (purged, ids(&page))
    };
    assert_eq!(purged(50, 0), (4, vec![4, 5, 6, 7]));
    assert_eq!(purged(50, 150), (1, vec![4, 6, 7]));
    assert_eq!(purged(1_000, 1_000), (2, vec![7]));
    assert_eq!(purged(1_000, 1_000), (0, vec![7]));
    drop(store);
    assert_eq!(open(&path).next_row_id(), 8);
}

/// Each row has a kilobyte.
fn fill(store: &mut HistoryStore, count: usize) {
    let large = StoreChange::InsertRow(HistoryRow { data: "x".repeat(1_000), ..row("t", 0) });
    store.apply(&vec![large; count], wall(0)).unwrap();
    store.apply(&[insert("newest", 0)], wall(1_000)).unwrap();
}

#[test]
fn space_is_given_back_step_by_step() {
    let dir = TempDir::new();
    let path = dir.join("history.sdb");
    let mut store = open(&path);
    fill(&mut store, 5_000);
    checkpoint(&path).unwrap();
    let before = std::fs::metadata(&path).unwrap().len();
    assert_eq!(purge_all(&mut store, 500, 500), 5_000);
    checkpoint(&path).unwrap();
    let after = std::fs::metadata(&path).unwrap().len();
    assert!(before > 5 << 20 && after < 2 << 20, "{before} to {after}");
}

#[test]
fn a_small_file_of_the_original_is_made_so_that_it_can_shrink_and_a_large_one_says_how() {
    let dir = TempDir::new();
    let path = dir.join("history.sdb");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(
        "CREATE TABLE gorgone_information (key TEXT, value TEXT); INSERT INTO gorgone_information \
        VALUES ('version', '23.10.0')",
    )
    .unwrap();
    drop(old);
    let mut store = open(&path);
    assert_eq!(number(&store.connection, "auto_vacuum").unwrap(), 0);
    fill(&mut store, 3_000);
    store.make_shrinkable().unwrap();
    assert_eq!(number(&store.connection, "auto_vacuum").unwrap(), INCREMENTAL);
    assert_eq!(store.next_row_id(), 3_002);
    assert_eq!(purge_all(&mut store, 500, 500), 3_000);
    checkpoint(&path).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() < 2 << 20);
    store.make_shrinkable().unwrap();
}

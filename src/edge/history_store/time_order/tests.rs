use rusqlite::Connection;

use super::*;
use crate::edge::history_store::{HistoryReader, HistoryStore, StoreOptions};
use crate::edge::temp_dir::TempDir;
use crate::model::code::Code;
use crate::model::history::{HistoryRow, LogFilter, PageLimit, StoreChange};
use crate::model::time::WallTime;

const OPTIONS: StoreOptions =
    StoreOptions { create_schema: true, synchronous_full: false, cache_kib: 512, max_bytes: None };
const DAY: i64 = 86_400;

fn put(store: &mut HistoryStore, seconds: i64) {
    let row = HistoryRow {
        id: 0,
        token: Some("t".to_owned()),
        code: Code(0),
        etime: 0,
        ctime: 0.0,
        instant: false,
        data: "{}".to_owned(),
        origin: None,
    };
    store.apply(&[StoreChange::InsertRow(row)], WallTime::from_micros(seconds * 1_000_000)).unwrap();
}

fn ids_after(dir: &TempDir, ctime: f64) -> Vec<i64> {
    let reader = HistoryReader::open(&dir.join("history.sdb")).unwrap();
    let filter = LogFilter { after_ctime: Some(ctime), ..LogFilter::default() };
    let limit = PageLimit { rows: 1_000, bytes: usize::MAX, whole_instants: true, as_json: false };
    let mut ids: Vec<i64> = reader.query(&filter, &limit).unwrap().rows.iter().map(|row| row.id).collect();
    ids.sort_unstable();
    ids
}

fn has_time_index(dir: &TempDir) -> bool {
    has_index(&Connection::open(dir.join("history.sdb")).unwrap(), INDEX).unwrap()
}

#[test]
fn a_time_is_found_between_any_two_rows_also_where_rows_are_missing() {
    let dir = TempDir::new();
    let path = dir.join("history.sdb");
    let mut store = HistoryStore::open(&path, OPTIONS).unwrap();
    (1..=40).for_each(|second| put(&mut store, 100 + second));
    let connection = Connection::open(&path).unwrap();
    connection.execute("DELETE FROM gorgone_history WHERE id % 7 = 3 OR id BETWEEN 20 AND 29 OR id < 3", []).unwrap();
    let left: Vec<i64> = ids_after(&dir, 0.0);
    for second in 99..142_i32 {
        for ctime in [f64::from(second), f64::from(second) + 0.5] {
            let expected: Vec<i64> = left.iter().copied().filter(|id| 100.0 + *id as f64 > ctime).collect();
            assert_eq!(ids_after(&dir, ctime), expected, "{ctime}");
        }
    }
    connection.execute("DELETE FROM gorgone_history", []).unwrap();
    assert_eq!(ids_after(&dir, 0.0), [0_i64; 0]);
    assert!(!has_time_index(&dir));
}

#[test]
fn a_clock_that_is_set_back_brings_the_index_and_no_row_is_missed() {
    let dir = TempDir::new();
    let mut store = HistoryStore::open(&dir.join("history.sdb"), OPTIONS).unwrap();
    for seconds in [10 * DAY, 10 * DAY + 1, 5 * DAY, 5 * DAY + 1] {
        put(&mut store, seconds);
    }
    assert!(has_time_index(&dir));
    assert_eq!(ids_after(&dir, (5 * DAY) as f64 + 0.5), [1, 2, 4]);
    drop(store);
    let mut store = HistoryStore::open(&dir.join("history.sdb"), OPTIONS).unwrap();
    assert!(has_time_index(&dir), "it is needed still");
    put(&mut store, 5 * DAY + 2);
    assert_eq!(ids_after(&dir, (5 * DAY) as f64 + 1.5), [1, 2, 5]);
}

#[test]
fn rows_that_another_daemon_wrote_out_of_order_are_found_at_the_next_start() {
    let dir = TempDir::new();
    let path = dir.join("history.sdb");
    let mut store = HistoryStore::open(&path, OPTIONS).unwrap();
    (1..=5).for_each(|second| put(&mut store, 100 + second));
    store.note_order().unwrap();
    drop(store);
    let insert = |ctime: &str| {
        let sql = format!("INSERT INTO gorgone_history (token, code, ctime, data) VALUES ('t', 0, {ctime}, '')");
        Connection::open(&path).unwrap().execute(&sql, []).unwrap();
    };
    insert("106.5");
    drop(HistoryStore::open(&path, OPTIONS).unwrap());
    assert!(!has_time_index(&dir), "this one is in order");
    insert("103.25");
    drop(HistoryStore::open(&path, OPTIONS).unwrap());
    assert!(has_time_index(&dir));
    assert_eq!(ids_after(&dir, 103.1), [4, 5, 6, 7]);
}

#[test]
fn the_index_of_an_old_file_goes_where_it_is_not_needed() {
    let dir = TempDir::new();
    let path = dir.join("history.sdb");
    let mut store = HistoryStore::open(&path, OPTIONS).unwrap();
    (1..=5).for_each(|second| put(&mut store, 100 + second));
    drop(store);
    let connection = Connection::open(&path).unwrap();
    for column in ["id", "token", "etime", "code", "instant", "ctime"] {
        let sql = format!("CREATE INDEX idx_gorgone_history_{column} ON gorgone_history ({column})");
        connection.execute(&sql, []).unwrap();
    }
    drop(HistoryStore::open(&path, OPTIONS).unwrap());
    let sql = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'gorgone_history' ORDER BY name";
    let mut statement = connection.prepare(sql).unwrap();
    let names: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(names, ["idx_stheno_history_instant", "idx_stheno_history_token_ends"]);
}

use std::path::PathBuf;

use super::*;
use crate::edge::history_store::{HistoryStore, StoreOptions};
use crate::edge::temp_dir::TempDir;
use crate::model::history::StoreChange;
use crate::model::time::WallTime;

const BIG: PageLimit = PageLimit { rows: usize::MAX, bytes: usize::MAX, whole_instants: false, as_json: false };

/// Four commits, a second apart, of five rows each: tokens `t0` to `t4`, code = number of the commit, etime = row id.
fn filled(dir: &TempDir) -> (HistoryStore, PathBuf) {
    let path = dir.join("history.sdb");
    let mut store = HistoryStore::open(
        &path,
        StoreOptions { create_schema: true, synchronous_full: false, cache_kib: 512, max_bytes: None },
    )
    .unwrap();
    for commit in 0..4_i64 {
        let rows: Vec<StoreChange> = (0..5_i64)
            .map(|number| {
                StoreChange::InsertRow(HistoryRow {
                    id: 0,
                    token: Some(format!("t{number}")),
                    code: Code(commit),
                    etime: commit * 5 + number + 1,
                    ctime: 0.0,
                    instant: false,
                    data: "1234567890".to_owned(),
                    origin: None,
                })
            })
            .collect();
        store.apply(&rows, WallTime::from_micros((1_000 + commit) * 1_000_000)).unwrap();
    }
    (store, path)
}

fn ids(page: &LogPage) -> Vec<i64> {
    page.rows.iter().map(|row| row.id).collect()
}

#[test]
fn each_condition_and_their_combinations_choose_the_same_rows_as_the_model() {
    let dir = TempDir::new();
    let (_store, path) = filled(&dir);
    let reader = HistoryReader::open(&path).unwrap();
    let all = reader.query(&LogFilter::default(), &BIG).unwrap().rows;
    assert_eq!(all.len(), 20);
    for bits in 0..256_u32 {
        let set = |bit: u32| bits & 1 << bit != 0;
        let filter = LogFilter {
            after_id: set(0).then_some(7),
            token: set(1).then(|| "t2".to_owned()),
            after_ctime: set(2).then_some(1_001.0),
            after_etime: set(3).then_some(9.0),
            code: set(4).then_some(Code(3)),
            node: set(6).then_some(None),
            text: set(7).then(|| "A".into()),
            newest: set(5).then_some(2),
        };
        let mut expected: Vec<i64> = all.iter().filter(|row| filter.matches(row)).map(|row| row.id).collect();
        if filter.newest.is_some() {
            expected.drain(..expected.len().saturating_sub(2));
        }
        for whole_instants in [false, true] {
            let page = reader.query(&filter, &PageLimit { whole_instants, ..BIG }).unwrap();
            assert_eq!((ids(&page), page.more), (expected.clone(), false), "{filter:?}");
        }
    }
}

#[test]
fn a_page_ends_at_its_first_bound_and_the_next_goes_on_by_id() {
    let dir = TempDir::new();
    let (_store, path) = filled(&dir);
    let reader = HistoryReader::open(&path).unwrap();
    let mut filter = LogFilter { after_ctime: Some(1_000.5), ..LogFilter::default() };
    let mut seen = Vec::new();
    loop {
        let page = reader.query(&filter, &PageLimit { rows: 4, ..BIG }).unwrap();
        seen.extend(ids(&page));
        filter.after_id = seen.last().copied();
        if !page.more {
            break;
        }
        assert_eq!(page.rows.len(), 4);
    }
    assert_eq!(seen, (6..=20).collect::<Vec<_>>());
    // Each row counts 12 bytes: two fit in 30, and one is read even if none fits.
    let all = LogFilter::default();
    assert_eq!(ids(&reader.query(&all, &PageLimit { bytes: 30, ..BIG }).unwrap()), [1, 2]);
    assert_eq!(ids(&reader.query(&all, &PageLimit { bytes: 0, ..BIG }).unwrap()), [1]);
    let newest = LogFilter { newest: Some(5), ..all };
    assert_eq!(ids(&reader.query(&newest, &PageLimit { rows: 2, ..BIG }).unwrap()), [16, 17]);
    assert_eq!(ids(&reader.query(&LogFilter { newest: Some(0), ..newest }, &BIG).unwrap()), [0_i64; 0]);
}

#[test]
fn rows_of_one_instant_stay_together() {
    let dir = TempDir::new();
    let (store, path) = filled(&dir);
    // These rows are stored as by an older version of ours.
    let connection = Connection::open(&path).unwrap();
    time_order::bring_index(&connection).unwrap();
    connection.execute("UPDATE gorgone_history SET ctime = 1000 + (id - 1) / 10", []).unwrap();
    let reader = HistoryReader::open(&path).unwrap();
    let limit = PageLimit { rows: 7, whole_instants: true, ..BIG };
    let since = |ctime: f64| LogFilter { after_ctime: Some(ctime), ..LogFilter::default() };
    let page = reader.query(&since(0.0), &limit).unwrap();
    assert_eq!((ids(&page), page.more), ((1..=10).collect(), true));
    let page = reader.query(&since(page.rows.last().unwrap().ctime), &limit).unwrap();
    assert_eq!((ids(&page), page.more), ((11..=20).collect(), false));
    // A peer continues after the greatest `ctime` of a page: rows of an old file whose clock went back come in that
    // order.
    drop(store);
    connection.execute("UPDATE gorgone_history SET ctime = 2000 - id", []).unwrap();
    let page = reader.query(&since(0.0), &PageLimit { rows: 3, ..limit }).unwrap();
    assert_eq!((ids(&page), page.more), (vec![18, 19, 20], true));
}

#[test]
fn every_question_uses_its_index_and_none_sorts() {
    let dir = TempDir::new();
    let (_store, path) = filled(&dir);
    let reader = HistoryReader::open(&path).unwrap();
    let by_instant = PageLimit { whole_instants: true, ..BIG };
    let none = LogFilter::default;
    let token = LogFilter { token: Some("t1".into()), after_ctime: Some(1.0), code: Some(Code(1)), ..none() };
    let cases = [
        (token.clone(), BIG, "INDEX idx_stheno_history_token_ends (<expr>=?)"),
        (
            LogFilter { after_id: Some(1), ..token.clone() },
            by_instant,
            "idx_stheno_history_token_ends (<expr>=? AND rowid>?)",
        ),
        (LogFilter { after_id: Some(1), token: None, ..token.clone() }, by_instant, "INTEGER PRIMARY KEY (rowid>?)"),
        (LogFilter { token: None, ..token.clone() }, BIG, "INTEGER PRIMARY KEY (rowid>?)"),
        (LogFilter { after_ctime: Some(1.0), ..none() }, by_instant, "INTEGER PRIMARY KEY (rowid>?)"),
    ];
    let check = |filter: &LogFilter, limit: &PageLimit, expected: &str| {
        let plan = reader.plan(filter, limit);
        assert!(plan.contains(expected), "{filter:?}: {plan}");
        assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN"), "{filter:?}: {plan}");
    };
    for (filter, limit, expected) in cases {
        check(&filter, &limit, expected);
    }
    time_order::bring_index(&Connection::open(&path).unwrap()).unwrap();
    let since = LogFilter { after_ctime: Some(1.0), ..none() };
    check(&since, &by_instant, "INDEX idx_gorgone_history_ctime (ctime>?)");
    check(&since, &BIG, "INDEX idx_gorgone_history_ctime (ctime>?)");
}

#[test]
fn a_reader_of_a_file_that_is_not_there_names_it() {
    let dir = TempDir::new();
    assert!(HistoryReader::open(&dir.join("none.sdb")).err().unwrap().to_string().contains("none.sdb"));
}

#[test]
fn a_kept_reader_sees_new_rows_and_follows_the_path() {
    let dir = TempDir::new();
    let (mut store, path) = filled(&dir);
    let count = |path: &Path| {
        let mut questions = VecDeque::from([((), LogFilter { after_id: Some(0), ..LogFilter::default() }, BIG)]);
        query_kept(path, &mut questions, 1).pop().unwrap().1
    };
    let before = count(&path).unwrap().rows.len();
    let row = HistoryRow { token: None, ..count(&path).unwrap().rows[0].clone() };
    store.apply(&[StoreChange::InsertRow(row)], WallTime::from_micros(1)).unwrap();
    assert_eq!(count(&path).unwrap().rows.len(), before + 1);
    assert!(count(&dir.join("none.sdb")).is_err(), "another database is another reader");
    assert_eq!(count(&path).unwrap().rows.len(), before + 1);
}

#[test]
fn questions_are_answered_together_up_to_so_many_bytes() {
    let dir = TempDir::new();
    let (_store, path) = filled(&dir);
    let all = LogFilter { after_id: Some(0), ..LogFilter::default() };
    let none = LogFilter { token: Some("no such token".to_owned()), ..LogFilter::default() };
    let rows = |answers: Vec<(usize, Result<LogPage, StoreError>)>| -> Vec<(usize, usize)> {
        answers.into_iter().map(|(number, page)| (number, page.unwrap().rows.len())).collect()
    };
    let mut questions = VecDeque::from([(0, none.clone(), BIG), (1, all.clone(), BIG), (2, none, BIG), (3, all, BIG)]);
    let count = HistoryReader::open(&path).unwrap().query(&questions[1].1, &BIG).unwrap().rows.len();
    assert_eq!(rows(query_kept(&path, &mut questions, 1)), [(0, 0), (1, count)], "the second one fills it");
    assert_eq!(rows(query_kept(&path, &mut questions, usize::MAX)), [(2, 0), (3, count)]);
    assert!(questions.is_empty() && query_kept(&path, &mut questions, 1).is_empty());
}

#[test]
fn a_token_of_any_length_and_script_is_found_by_its_ends_and_another_with_the_same_ends_is_not() {
    let dir = TempDir::new();
    let (mut store, path) = filled(&dir);
    let (start, end) = ("abcdefghijkl", "mnopqrstuvwx");
    let tokens = [
        "x".to_owned(),
        "abcdefghijk".to_owned(),
        start.to_owned(),
        format!("{start}1"),
        format!("{start}{end}"),
        format!("{start}1{end}"),
        format!("{start}2{end}"),
        "é€😀".repeat(9),
    ];
    let row = |token: &String| {
        let data = String::new();
        let token = Some(token.clone());
        let (code, etime, ctime, instant, origin) = (Code(0), 0, 0.0, false, None);
        StoreChange::InsertRow(HistoryRow { id: 0, token, code, etime, ctime, instant, data, origin })
    };
    store.apply(&tokens.iter().map(row).collect::<Vec<_>>(), WallTime::from_micros(1)).unwrap();
    let reader = HistoryReader::open(&path).unwrap();
    for token in tokens {
        let filter = LogFilter { token: Some(token.clone()), ..LogFilter::default() };
        let found = reader.query(&filter, &BIG).unwrap().rows;
        assert_eq!(found.iter().map(|row| row.token.as_deref()).collect::<Vec<_>>(), [Some(token.as_str())]);
    }
}

#[test]
fn a_page_that_is_wanted_as_json_has_the_text_of_its_rows_and_no_second_copy() {
    let dir = TempDir::new();
    let (_store, path) = filled(&dir);
    let ask = |as_json| {
        let mut questions = VecDeque::from([(1, LogFilter::default(), PageLimit { as_json, ..BIG })]);
        query_kept(&path, &mut questions, usize::MAX).pop().unwrap().1.unwrap()
    };
    let (page, rows) = (ask(true), ask(false));
    assert_eq!(page.json.as_deref(), Some(crate::model::json_text::rows_json(&rows.rows).as_str()));
    assert_eq!(page.rows.len(), rows.rows.len());
    assert!(page.rows.iter().all(|row| row.data.is_empty()) && page.size_bytes() >= rows.size_bytes());
}

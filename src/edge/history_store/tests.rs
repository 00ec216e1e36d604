use crate::model::history::{HistoryName, HistoryRow, LogFilter, LogPage, PageLimit, RowOrigin, StoreChange, SyncMark};
use crate::model::node_id::NodeId;
use crate::model::session::StoredSession;
use crate::model::token::Token;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;

use super::*;
use crate::edge::temp_dir::TempDir;
use crate::model::code::Code;
use crate::model::time::WallTime;

pub(super) const WALL: WallTime = WallTime::from_micros(1_770_000_000_000_000);
const OPTIONS: StoreOptions =
    StoreOptions { create_schema: true, synchronous_full: false, cache_kib: 512, max_bytes: None };
pub(super) const WHOLE: PageLimit =
    PageLimit { rows: usize::MAX, bytes: usize::MAX, whole_instants: false, as_json: false };

pub(super) fn open(path: &Path) -> HistoryStore {
    HistoryStore::open(path, OPTIONS).unwrap()
}

fn refused(path: &Path) -> StoreError {
    HistoryStore::open(path, OPTIONS).err().expect("the database must be refused")
}

pub(super) fn row(token: &str, code: i64) -> HistoryRow {
    HistoryRow {
        id: 0,
        token: Some(token.to_owned()),
        code: Code(code),
        etime: 1_769_999_999,
        ctime: 0.0,
        instant: false,
        data: format!("{{\"of\":\"{token}\"}}"),
        origin: None,
    }
}

pub(super) fn insert(token: &str, code: i64) -> StoreChange {
    StoreChange::InsertRow(row(token, code))
}

pub(super) fn wall(seconds: i64) -> WallTime {
    WallTime::from_micros(WALL.as_micros() + seconds * 1_000_000)
}

pub(super) fn ids(page: &LogPage) -> Vec<i64> {
    page.rows.iter().map(|row| row.id).collect()
}

pub(super) fn session(routing_id: &str, used: i64) -> StoredSession {
    StoredSession {
        routing_id: routing_id.as_bytes().to_vec(),
        created: 5,
        used,
        key: vec![7; 32],
        iv: vec![9; 16],
        old_key: None,
        old_iv: None,
        thumbprint: None,
    }
}

/// The schema of the first version of the original, before sessions had vectors.
pub(super) const FIRST_SCHEMA: &str = "
    CREATE TABLE `gorgone_identity` (`id` INTEGER PRIMARY KEY, `ctime` int(11) DEFAULT NULL,
        `identity` varchar(2048) DEFAULT NULL, `key` varchar(4096) DEFAULT NULL, `parent` int(11) DEFAULT '0');
    CREATE INDEX idx_gorgone_identity ON gorgone_identity (identity);
    CREATE TABLE `gorgone_history` (`id` INTEGER PRIMARY KEY, `token` varchar(2048) DEFAULT NULL,
        `code` int(11) DEFAULT NULL, `etime` int(11) DEFAULT NULL, `ctime` int(11) DEFAULT NULL, `data` TEXT DEFAULT NULL);
    CREATE INDEX idx_gorgone_history_token ON gorgone_history (token);
    CREATE TABLE `gorgone_synchistory` (`id` int(11) DEFAULT NULL, `ctime` int(11) DEFAULT NULL,
        `last_id` int(11) DEFAULT NULL);
    CREATE INDEX idx_gorgone_synchistory_id ON gorgone_synchistory (id);
    INSERT INTO gorgone_identity VALUES (1, 100, '6162', '00ff', 0);
    INSERT INTO gorgone_synchistory VALUES (2, 90, 4), (2, 80, 3), ('x', 1, 1);
    INSERT INTO gorgone_history VALUES (1, 'a', 0, 10, 1600000000, '{}'), (2, NULL, '2', 10.7, 1600000001.25, NULL),
        (3, X'e9', 'odd', 'x', 1600000002, X'7be97d'), (4, 12, NULL, NULL, 'never', 7);
";

#[test]
fn a_new_database_has_the_schema_of_the_original() {
    let dir = TempDir::new();
    let path = dir.join("made/history.sdb");
    drop(open(&path));
    let connection = Connection::open(&path).unwrap();
    let sql = "SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_master WHERE type = ?1 ORDER BY name)";
    let names = |kind: &str| connection.query_row(sql, [kind], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(
        names("table"),
        "gorgone_centreon_judge_spare gorgone_history gorgone_identity gorgone_information gorgone_synchistory \
         gorgone_target_fingerprint stheno_asked_tokens \
         stheno_late_tokens stheno_open_tokens stheno_order_file stheno_orders stheno_origin_marks \
         stheno_outbox stheno_ssh_host_keys stheno_taken_tokens"
    );
    assert_eq!(
        names("index"),
        "idx_gorgone_centreon_judge_spare_cluster_name idx_gorgone_identity \
         idx_gorgone_parent idx_gorgone_synchistory_id idx_gorgone_target_fingerprint_target \
         idx_stheno_history_instant idx_stheno_history_token_ends idx_stheno_outbox_hash \
         sqlite_autoindex_stheno_ssh_host_keys_1"
    );
    let earlier = connection.prepare("SELECT token, node FROM stheno_open_tokens ORDER BY rowid LIMIT 1");
    assert!(earlier.is_ok(), "an earlier version reads it like this: {earlier:?}");
    let version: String = connection
        .query_row("SELECT value FROM gorgone_information WHERE key = 'version'", [], |row| row.get(0))
        .unwrap();
    assert_ne!(version, "1.0");
    let twice =
        connection.execute("INSERT INTO gorgone_synchistory (id, ctime, last_id) VALUES (1, 0, 0), (1, 0, 0)", []);
    assert!(twice.is_err(), "the index of marks is unique");
}

#[test]
fn tables_of_an_older_version_are_written_anew_and_keep_what_they_hold() {
    let dir = TempDir::new();
    let path = dir.join("history.sdb");
    let old = "CREATE TABLE stheno_open_tokens (token varchar(255) NOT NULL PRIMARY KEY, node int(11) DEFAULT NULL);
        CREATE TABLE stheno_origin_marks (node INTEGER NOT NULL, history INTEGER NOT NULL, last_id INTEGER NOT NULL);
        CREATE UNIQUE INDEX idx_stheno_origin_marks ON stheno_origin_marks (node, history);
        INSERT INTO stheno_open_tokens VALUES ('a', 2), ('b', NULL);
        INSERT INTO stheno_origin_marks VALUES (2, 77, 9);";
    Connection::open(&path).unwrap().execute_batch(old).unwrap();
    for _ in 0..2 {
        let stored = open(&path).load().unwrap();
        let token = |text: &str| Token::parse(text).unwrap();
        assert_eq!(stored.restored.open_tokens, [(token("a"), NodeId::new(2).ok()), (token("b"), None)]);
        let history = HistoryName { node: NodeId::new(2).unwrap(), number: 77 };
        assert_eq!(stored.restored.origins.marks, [(history, 9)]);
    }
}

#[test]
fn a_file_of_the_first_original_is_completed_and_its_odd_rows_are_read() {
    let dir = TempDir::new();
    let path = dir.join("history.sdb");
    Connection::open(&path).unwrap().execute_batch(FIRST_SCHEMA).unwrap();
    let mut store = open(&path);
    assert_eq!(store.last_row_id(), 4);
    let stored = store.load().unwrap();
    assert!(stored.sessions.is_empty());
    assert_eq!(
        stored.restored.marks,
        [(NodeId::new(2).unwrap(), SyncMark { ctime: 80.0, newest: 80.0, last_id: 3, history: 0 })]
    );
    assert_eq!(stored.warnings.len(), 2, "{:?}", stored.warnings);
    assert!(!stored.warnings.concat().contains("00ff"), "a key in a warning");

    let changes = [
        insert("new", 2),
        StoreChange::PutSyncMark(
            NodeId::new(2).unwrap(),
            SyncMark { ctime: 95.5, newest: 95.5, last_id: 9, history: 0 },
        ),
    ];
    store.apply(&changes, WALL).unwrap();
    assert_eq!(
        store.load().unwrap().restored.marks,
        [(NodeId::new(2).unwrap(), SyncMark { ctime: 95.5, newest: 95.5, last_id: 9, history: 0 })]
    );
    let page = HistoryReader::open(&path).unwrap().query(&LogFilter::default(), &WHOLE).unwrap();
    assert_eq!(ids(&page), [1, 2, 3, 4, 5]);
    let odd = &page.rows[1];
    assert_eq!((odd.token.as_deref(), odd.code, odd.etime, odd.ctime), (None, Code(2), 10, 1_600_000_001.25));
    assert_eq!((page.rows[2].token.as_deref(), page.rows[2].data.as_str()), (Some("é"), "{é}"));
    assert_eq!((page.rows[3].token.as_deref(), page.rows[3].data.as_str()), (Some("12"), "7"));
}

#[test]
fn sessions_marks_and_fingerprints_survive_and_are_replaced_by_name() {
    let dir = TempDir::new();
    let path = dir.join("history.sdb");
    let mut store = open(&path);
    let node = NodeId::new(3).unwrap();
    let mut renewed = session("gorgone-b", 30);
    renewed.old_key = Some(vec![1; 32]);
    renewed.old_iv = Some(vec![2; 16]);
    let fingerprint =
        |thumbprint: &str| StoreChange::PutFingerprint { target: "tcp://h:1".into(), thumbprint: thumbprint.into() };
    let host_key = |host: &str| StoreChange::PutHostKey { host: host.into(), line: format!("{host} ssh-ed25519 AAAA") };
    let changes = [
        StoreChange::PutSession(session("gorgone-a", 20)),
        StoreChange::PutSession(session("gorgone-b", 10)),
        StoreChange::PutSession(session("gorgone-c", 10)),
        StoreChange::PutSession(renewed.clone()),
        StoreChange::DeleteSession(b"gorgone-c".to_vec()),
        StoreChange::PutSyncMark(node, SyncMark { ctime: 1.5, newest: 1.5, last_id: 1, history: 0 }),
        StoreChange::PutSyncMark(node, SyncMark { ctime: 2.5, newest: 2.5, last_id: 2, history: 0 }),
        StoreChange::PutSyncMark(NodeId::new(4).unwrap(), SyncMark::default()),
        StoreChange::DeleteSyncMark(NodeId::new(4).unwrap()),
        fingerprint("old"),
        fingerprint("new"),
        StoreChange::PutFingerprint { target: "tcp://h:2".into(), thumbprint: "gone".into() },
        StoreChange::DeleteFingerprint("tcp://h:2".into()),
        host_key("kept"),
        host_key("gone"),
        StoreChange::DeleteHostKey("gone".into()),
    ];
    store.apply(&changes, WALL).unwrap();
    drop(store);
    let stored = open(&path).load().unwrap();
    assert!(stored.sessions == [session("gorgone-a", 20), renewed], "the sessions differ");
    assert_eq!(stored.restored.marks, [(node, SyncMark { ctime: 2.5, newest: 2.5, last_id: 2, history: 0 })]);
    assert_eq!(stored.fingerprints, [("tcp://h:1".to_owned(), "new".to_owned())]);
    assert_eq!(stored.host_keys, [("kept".to_owned(), "kept ssh-ed25519 AAAA".to_owned())]);
    assert!(stored.warnings.is_empty());
}

#[test]
fn other_users_cannot_read_a_new_database_and_an_old_one_keeps_its_mode() {
    let dir = TempDir::new();
    let path = dir.join("history.sdb");
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    drop(open(&path));
    assert_eq!(mode() & !0o640, 0);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o664)).unwrap();
    drop(open(&path));
    assert_eq!(mode(), 0o664);
}

#[test]
fn a_second_daemon_is_refused_with_the_process_of_the_first() {
    let dir = TempDir::new();
    let path = dir.join("history.sdb");
    let first = open(&path);
    let link = dir.join("other-name.sdb");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for name in [&path, &link] {
        assert_eq!(refused(name).kind, StoreErrorKind::InUse(Some(std::process::id())));
    }
    assert!(refused(&path).to_string().contains(&format!("process {}", std::process::id())));
    drop(first);
    open(&path);
}

#[test]
fn what_is_no_database_or_damaged_is_refused_and_left_as_it_is() {
    let dir = TempDir::new();
    let path = dir.join("history.sdb");
    let text = "this is a text file\n".repeat(100);
    std::fs::write(&path, &text).unwrap();
    let error = refused(&path);
    assert_eq!(error.kind, StoreErrorKind::NotADatabase);
    assert!(error.to_string().contains("history.sdb") && error.to_string().contains("move the file away"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);

    std::fs::remove_file(&path).unwrap();
    drop(open(&path));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100..4_096].fill(0xa5);
    std::fs::write(&path, &bytes).unwrap();
    let error = refused(&path);
    assert_eq!(error.kind, StoreErrorKind::Corrupt);
    assert!(error.to_string().contains(".recover"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert!(check_integrity(&path).is_err());
}

#[test]
fn a_directory_or_a_file_in_the_way_is_named() {
    let dir = TempDir::new();
    assert!(refused(dir.path()).to_string().contains(dir.path().to_str().unwrap()));
    assert!(!dir.path().with_extension("stheno-lock").exists(), "a lock file beside a directory");
    std::fs::write(dir.join("file"), "").unwrap();
    assert_eq!(refused(&dir.join("file/history.sdb")).kind, StoreErrorKind::Io);
}

#[test]
fn a_database_that_cannot_be_written_is_refused() {
    // `/proc` accepts no new files, not even from root; permissions would not stop root.
    let error = refused(Path::new("/proc/self/history.sdb"));
    assert!(error.to_string().contains("/proc/self/history.sdb"), "{error}");
    let dir = TempDir::new();
    let path = dir.join("history.sdb");
    drop(open(&path));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
    if std::fs::OpenOptions::new().write(true).open(&path).is_err() {
        assert_eq!(refused(&path).kind, StoreErrorKind::ReadOnly);
    }
}

#[test]
fn a_database_without_tables_is_refused_when_they_may_not_be_made() {
    let dir = TempDir::new();
    let options = StoreOptions { create_schema: false, ..OPTIONS };
    let error = HistoryStore::open(&dir.join("history.sdb"), options).err().unwrap();
    assert_eq!(error.kind, StoreErrorKind::SchemaMissing);
    assert!(error.to_string().contains("gorgone_db_autocreate_schema"));
}

#[test]
fn a_full_disk_rolls_everything_back_and_the_store_works_on() {
    let dir = TempDir::new();
    let path = dir.join("history.sdb");
    let mut store = open(&path);
    store.apply(&[insert("first", 0)], WALL).unwrap();
    let pages: i64 = store.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    let _: i64 = store.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get(0)).unwrap();
    let mut big = row("big", 0);
    big.data = "x".repeat(100_000);
    let error = store.apply(&[insert("second", 0), StoreChange::InsertRow(big)], WALL).unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::DiskFull);
    assert!(error.to_string().contains("make room"), "{error}");
    assert_eq!(store.last_row_id(), 1);
    store.apply(&[insert("third", 0)], WALL).unwrap();
    let page = HistoryReader::open(&path).unwrap().query(&LogFilter::default(), &WHOLE).unwrap();
    assert_eq!(page.rows.iter().filter_map(|row| row.token.as_deref()).collect::<Vec<_>>(), ["first", "third"]);
}

#[test]
fn ctimes_only_grow_even_when_the_clock_is_set_back() {
    let dir = TempDir::new();
    let path = dir.join("history.sdb");
    let mut store = open(&path);
    store.apply(&[insert("a", 0)], WALL).unwrap();
    store.apply(&[insert("b", 0)], wall(-3_600)).unwrap();
    drop(store);
    let mut store = open(&path);
    store.apply(&[insert("c", 0)], wall(-10)).unwrap();
    // A jump of more than a day is a correction, not a step of the clock.
    store.apply(&[insert("d", 0)], wall(-100_000)).unwrap();
    let page = HistoryReader::open(&path).unwrap().query(&LogFilter::default(), &WHOLE).unwrap();
    let ctimes: Vec<f64> = page.rows.iter().map(|row| row.ctime).collect();
    assert_eq!(ctimes[0], 1_770_000_000.0);
    assert!(ctimes[0] < ctimes[1] && ctimes[1] < ctimes[2] && ctimes[2] < ctimes[0] + 0.001, "{ctimes:?}");
    assert_eq!(ctimes[3], 1_769_900_000.0);
    for ctime in ctimes {
        assert_eq!(format!("{ctime:.5}").parse::<f64>().unwrap(), ctime, "15 digits must hold it");
    }
}

#[test]
fn a_checkpoint_moves_the_log_which_is_then_written_over() {
    let dir = TempDir::new();
    let path = dir.join("history.sdb");
    let mut store = open(&path);
    store.apply(&vec![insert("t", 0); 100], WALL).unwrap();
    let size = wal_size_bytes(&path);
    assert!(store.wal_backlog_bytes() > 4_096 && size > 4_096);
    let report = checkpoint(&path).unwrap();
    assert!(report.moved_pages > 0 && report.left_pages == 0, "{report:?}");
    assert_eq!(store.wal_backlog_bytes(), 0);
    store.apply(&[insert("t", 0)], WALL).unwrap();
    assert!(store.wal_backlog_bytes() > 0, "nobody moves the log unasked");
    assert_eq!(wal_size_bytes(&path), size, "the log's file is written over");
    store.release_memory();
    assert_eq!(store.last_row_id(), 101);
    check_integrity(&path).unwrap();
    assert_eq!(wal_size_bytes(&dir.join("none")), 0);
}

#[test]
fn a_reader_holds_up_a_checkpoint_but_nothing_is_lost() {
    let dir = TempDir::new();
    let path = dir.join("history.sdb");
    let mut store = open(&path);
    store.apply(&vec![insert("t", 0); 10], WALL).unwrap();
    let reader = Connection::open(&path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM gorgone_history;").unwrap();
    store.apply(&vec![insert("t", 0); 10], WALL).unwrap();
    assert!(checkpoint(&path).unwrap().left_pages > 0);
    store.apply(&[insert("t", 0)], WALL).unwrap();
    reader.execute_batch("COMMIT").unwrap();
    assert!(store.wal_backlog_bytes() > 0);
    assert_eq!(checkpoint(&path).unwrap().left_pages, 0);
    assert_eq!(store.last_row_id(), 21);
}

#[test]
fn somebody_elses_lock_is_waited_for_once_and_not_at_each_commit() {
    let dir = TempDir::new();
    let path = dir.path().join("history.sdb");
    let mut store = open(&path);
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert_eq!(store.apply(&[insert("a", 1)], WALL).unwrap_err().kind, StoreErrorKind::Busy);
    let start = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(store.apply(&[insert("a", 1)], WALL).unwrap_err().kind, StoreErrorKind::Busy);
    }
    assert!(start.elapsed() < LONG_PATIENCE, "20 commits took {:?}", start.elapsed());
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.apply(&[insert("a", 1)], WALL).unwrap().inserted, 1);
    assert_eq!(store.patience, WRITE_PATIENCE, "a later lock is waited for again");
}

#[test]
fn a_database_that_is_deleted_replaced_or_cut_while_it_is_open_is_noticed() {
    type Change = fn(&Path);
    let delete: Change = |path| std::fs::remove_file(path).unwrap();
    let replace: Change = |path| {
        std::fs::copy(path, path.with_extension("copy")).unwrap();
        std::fs::rename(path.with_extension("copy"), path).unwrap();
    };
    let cut: Change = |path| std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(4_096).unwrap();
    let delete_log: Change = |path| std::fs::remove_file(path.with_extension("sdb-wal")).unwrap();
    let delete_index: Change = |path| std::fs::remove_file(path.with_extension("sdb-shm")).unwrap();
    let changes = [(delete, "deleted"), (replace, "replaced"), (cut, "cut short")];
    for (change, word) in changes.into_iter().chain([(delete_log, "deleted"), (delete_index, "deleted")]) {
        let dir = TempDir::new();
        let path = dir.path().join("history.sdb");
        let mut store = open(&path);
        store.apply(&[insert("a", 1)], WALL).unwrap();
        checkpoint(&path).unwrap();
        store.note_checkpoint();
        assert_eq!(store.check_identity(), Ok(()));
        change(&path);
        let reason = store.check_identity().unwrap_err();
        assert!(reason.contains(word), "{word}: {reason}");
    }
}

#[test]
fn a_database_that_somebody_makes_smaller_in_the_right_way_is_the_same() {
    let dir = TempDir::new();
    let path = dir.path().join("history.sdb");
    let mut store = open(&path);
    let many: Vec<StoreChange> = (0..2_000).map(|number| insert(&"x".repeat(500), number)).collect();
    store.apply(&many, WALL).unwrap();
    checkpoint(&path).unwrap();
    store.note_checkpoint();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("DELETE FROM gorgone_history; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    assert_eq!(store.check_identity(), Ok(()));
}

#[test]
fn a_node_with_an_id_of_64_bits_is_found_again_exactly() {
    let dir = TempDir::new();
    let path = dir.join("history.sdb");
    let mark = |last_id| SyncMark { ctime: 80.5, newest: 80.5, last_id, history: 3 };
    let ids = [1, (1 << 53) + 1, u64::MAX - 1, u64::MAX].map(|number| NodeId::new(number).unwrap());
    let token = Token::parse("open").unwrap();
    let mut changes: Vec<StoreChange> = ids.iter().map(|id| StoreChange::PutSyncMark(*id, mark(1))).collect();
    changes.extend(ids.iter().map(|id| StoreChange::PutSyncMark(*id, mark(2))));
    changes.push(StoreChange::OpenToken { token: token.clone(), node: Some(ids[3]) });
    open(&path).apply(&changes, WALL).unwrap();
    let stored = open(&path).load().unwrap();
    assert_eq!(stored.restored.marks, ids.map(|id| (id, mark(2))));
    assert_eq!(stored.restored.open_tokens, [(token, Some(ids[3]))]);
    open(&path).apply(&[StoreChange::DeleteSyncMark(ids[2])], WALL).unwrap();
    assert_eq!(open(&path).load().unwrap().restored.marks.len(), 3);
}

#[test]
fn copies_that_ended_here_are_found_again() {
    let dir = TempDir::new();
    let path = dir.join("history.sdb");
    let ended = |token: &str, code, data: &str| HistoryRow { data: data.to_owned(), ..row(token, code) };
    let origin = RowOrigin { history: HistoryName { node: NodeId::new(3).unwrap(), number: 5 }, id: 9 };
    let rows = [
        ended("good", 2, r#"{"message":"process copy finished successfully"}"#),
        ended("bad", 1, r#"{"detail":"a gap","message":"process copy failed"}"#),
        ended("command", 2, "{}"),
        HistoryRow {
            origin: Some(origin),
            ..ended("of a node", 2, r#"{"message":"process copy finished successfully"}"#)
        },
    ];
    open(&path).apply(&rows.map(StoreChange::InsertRow), WALL).unwrap();
    let token = |text: &str| Token::parse(text).unwrap();
    let expected = [(token("good"), Code::FINISHED_OK), (token("bad"), Code::FINISHED_KO)];
    assert_eq!(open(&path).load().unwrap().restored.ended_copies, expected);
}

#[test]
fn a_history_with_a_maximum_size_drops_its_oldest_rows() {
    let dir = TempDir::new();
    let options = StoreOptions { max_bytes: Some(1 << 20), ..OPTIONS };
    let mut store = HistoryStore::open(&dir.join("h.sdb"), options).unwrap();
    let big = |number: i64| {
        let data = "x".repeat(30_000);
        StoreChange::InsertRow(HistoryRow { data, ..row(&format!("t{number}"), 4) })
    };
    let dropped: usize = (0..100).map(|number| store.apply(&[big(number)], WALL).unwrap().dropped).sum();
    let reader = HistoryReader::open(&dir.join("h.sdb")).unwrap();
    let page = reader.query(&LogFilter::default(), &WHOLE).unwrap();
    assert!((5..40).contains(&page.rows.len()), "{} rows", page.rows.len());
    assert_eq!((page.rows.len() + dropped, page.rows.last().map(|row| row.id)), (100, Some(100)));
}

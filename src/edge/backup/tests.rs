use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::edge::temp_dir::TempDir;

/// Makes a database with a row, and a file beside it.
fn platform(dir: &TempDir) -> (PathBuf, Vec<Item>) {
    let database = dir.join("history.sdb");
    let connection = Connection::open(&database).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (7);").unwrap();
    let key = dir.join("key.pem");
    fs::write(&key, vec![9; 200_000]).unwrap();
    let items = vec![
        Item { name: "private-key".to_owned(), path: key },
        Item { name: "nodes".to_owned(), path: dir.join("is-not-there") },
    ];
    (database, items)
}

#[test]
fn what_was_backed_up_comes_back_sealed_or_not() {
    for passphrase in [None, Some(b"correct horse".as_slice())] {
        let dir = TempDir::new();
        let (database, items) = platform(&dir);
        let (file, into) = (dir.join("backup"), dir.join("into"));
        write(&file, &database, &items, passphrase).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, MODE);
        assert_eq!(is_sealed(&file).unwrap(), passphrase.is_some());
        fs::create_dir(&into).unwrap();
        assert_eq!(unpack(&file, &into, passphrase).unwrap(), ["database", "private-key"]);
        assert_eq!(fs::read(unpacked(&into, "private-key")).unwrap(), vec![9; 200_000]);
        let copy = Connection::open(unpacked(&into, "database")).unwrap();
        assert_eq!(copy.query_row("SELECT x FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 7);
        assert!(write(&file, &database, &items, None).unwrap_err().contains("is there already"));
    }
}

#[test]
fn a_wrong_passphrase_and_a_file_that_was_cut_or_changed_are_noticed() {
    let dir = TempDir::new();
    let (database, mut items) = platform(&dir);
    // The bytes are random so that the archive has several pieces.
    let mut noise = vec![0; 300_000];
    crate::model::random::Random::fill(&mut crate::edge::random::SystemRandom::new(), &mut noise);
    fs::write(dir.join("noise"), noise).unwrap();
    items.push(Item { name: "noise".to_owned(), path: dir.join("noise") });
    let file = dir.join("backup");
    write(&file, &database, &items, Some(b"right")).unwrap();
    let whole = fs::read(&file).unwrap();
    let mut count = 0;
    let mut refused = |bytes: &[u8], passphrase: &[u8]| {
        count += 1;
        let (file, into) = (dir.join(&format!("bad-{count}")), dir.join(&format!("into-{count}")));
        fs::write(&file, bytes).unwrap();
        fs::create_dir(&into).unwrap();
        unpack(&file, &into, Some(passphrase)).unwrap_err()
    };
    assert!(refused(&whole, b"wrong").contains("the passphrase is wrong"));
    for end in [whole.len() - 1, whole.len() - 40_000, 2 * (64 << 10)] {
        let text = refused(&whole[..end], b"right");
        assert!(text.contains("damaged or was cut off"), "{end}: {text}");
    }
    let mut changed = whole.clone();
    changed[100_000] ^= 1;
    assert!(refused(&changed, b"right").contains("damaged"));
}

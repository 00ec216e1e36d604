//! The tables on a database server. They have the names of those in a file ([`crate::edge::history_store`]), and types
//! of the server. All have a primary key, as a Galera cluster needs.

use super::session::{Session, Trouble};
use super::text::{Columns, quoted};
use crate::edge::random::SystemRandom;
use crate::model::random::Random;

/// Version of the schema. A greater one was made by a later version of this program.
const VERSION: i64 = 1;
/// Charset of texts of any content, compared byte by byte.
const TEXT: &str = "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
const STORE: &str = "stheno_store";

const TABLES: [(&str, &str); 15] = [
    (
        "gorgone_history",
        "id BIGINT NOT NULL PRIMARY KEY, token MEDIUMBLOB, code BIGINT, etime BIGINT, ctime DOUBLE NOT NULL, \
         instant TINYINT NOT NULL, data {TEXT}, stheno_node BIGINT UNSIGNED, stheno_history BIGINT, stheno_row BIGINT, \
         stheno_pieces INT NOT NULL DEFAULT 0, KEY history_token (token(64)), KEY history_ctime (ctime), \
         KEY history_instant (instant, id), KEY history_pieces (stheno_pieces, id)",
    ),
    (
        "gorgone_identity",
        "identity VARBINARY(512) NOT NULL PRIMARY KEY, ctime BIGINT, mtime BIGINT, `key` VARBINARY(128), \
         iv VARBINARY(128), oldkey VARBINARY(128), oldiv VARBINARY(128), stheno_thumbprint VARBINARY(64), \
         KEY identity_mtime (mtime)",
    ),
    (
        "gorgone_synchistory",
        "id BIGINT UNSIGNED NOT NULL PRIMARY KEY, ctime DOUBLE NOT NULL, last_id BIGINT NOT NULL, \
         stheno_history BIGINT NOT NULL, stheno_newest DOUBLE NOT NULL",
    ),
    ("gorgone_target_fingerprint", "target VARBINARY(2048) NOT NULL PRIMARY KEY, fingerprint BLOB"),
    ("stheno_ssh_host_keys", "host VARBINARY(2048) NOT NULL PRIMARY KEY, line BLOB"),
    ("stheno_open_tokens", "token VARBINARY(1024) NOT NULL PRIMARY KEY, node BIGINT UNSIGNED"),
    (
        "stheno_taken_tokens",
        "hash BIGINT NOT NULL PRIMARY KEY, taken BIGINT NOT NULL, until BIGINT NOT NULL, \
         begins_with_row TINYINT NOT NULL, KEY taken_taken (taken), KEY taken_until (until)",
    ),
    ("stheno_late_tokens", "hash BIGINT NOT NULL PRIMARY KEY, at BIGINT NOT NULL, KEY late_at (at)"),
    (
        "stheno_asked_tokens",
        "hash BIGINT NOT NULL PRIMARY KEY, request BIGINT NOT NULL, at BIGINT NOT NULL, KEY asked_at (at)",
    ),
    (
        "stheno_orders",
        "sequence BIGINT NOT NULL PRIMARY KEY, token BLOB NOT NULL, target BLOB, action BLOB, name {TEXT}, data {TEXT}",
    ),
    ("stheno_order_file", "id TINYINT NOT NULL PRIMARY KEY, path {TEXT}, identity {TEXT}, position BIGINT"),
    (
        "stheno_outbox",
        "target BIGINT UNSIGNED NOT NULL, sequence BIGINT NOT NULL, hash BIGINT NOT NULL, \
         token VARBINARY(1024) NOT NULL, action VARBINARY(255) NOT NULL, created BIGINT, expires BIGINT, \
         not_before BIGINT, sent BIGINT, len BIGINT, data {TEXT}, stheno_pieces INT NOT NULL DEFAULT 0, \
         PRIMARY KEY (target, sequence), UNIQUE KEY outbox_hash (hash), KEY outbox_sequence (sequence), \
         KEY outbox_expires (expires), KEY outbox_not_before (not_before)",
    ),
    (
        "stheno_origin_marks",
        "node BIGINT UNSIGNED NOT NULL, history BIGINT NOT NULL, last_id BIGINT NOT NULL, PRIMARY KEY (node, history)",
    ),
    // The centrals of a cluster, and when each last looked at the history.
    (
        "stheno_members",
        "member VARBINARY(255) NOT NULL PRIMARY KEY, place VARBINARY(1024) NOT NULL, address VARBINARY(512) NOT NULL, \
         seen BIGINT NOT NULL, configuration {TEXT}",
    ),
    // Texts that are larger than a server takes in one statement.
    ("stheno_pieces", "owner VARBINARY(32) NOT NULL, piece INT NOT NULL, data {TEXT}, PRIMARY KEY (owner, piece)"),
];

/// The row that each commit changes, and by which only one daemon at a time can write.
const STORE_COLUMNS: &str = "id TINYINT NOT NULL PRIMARY KEY, version INT NOT NULL, history BIGINT NOT NULL, \
     tag BIGINT NOT NULL, last_row BIGINT NOT NULL, ticks BIGINT NOT NULL, queue_clock BIGINT NOT NULL DEFAULT 0, \
     cluster VARBINARY(255) NOT NULL DEFAULT '', member VARBINARY(255) NOT NULL DEFAULT '', \
     epoch BIGINT NOT NULL DEFAULT 0, lease_until BIGINT NOT NULL DEFAULT 0, \
     address VARBINARY(512) NOT NULL DEFAULT '', place VARBINARY(1024) NOT NULL DEFAULT ''";

/// Makes what is missing, and checks that the tables are ours and not of a later version.
pub(super) fn complete(session: &mut Session, create: bool) -> Result<(), Trouble> {
    let found = session.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()")?;
    let found: Vec<String> = found.into_iter().filter_map(|row| Columns::of(row).text()).collect();
    let has = |name: &str| found.iter().any(|table| table.eq_ignore_ascii_case(name));
    let is_new = !has(STORE);
    if is_new && let Some((table, _)) = TABLES.iter().find(|(table, _)| has(table)) {
        return Err(Trouble::schema(format!(
            "it has a table '{table}' of another program, but no '{STORE}': give the history a database of its own"
        )));
    }
    let missing: Vec<&(&str, &str)> = TABLES.iter().filter(|(table, _)| !has(table)).collect();
    if !missing.is_empty() && !create {
        return Err(Trouble::schema("tables are missing and may not be made: set gorgone_db_autocreate_schema: 1"));
    }
    if !is_new {
        check_version(session)?;
    }
    for (table, columns) in missing {
        let columns = columns.replace("{TEXT}", TEXT);
        session.run(&format!("CREATE TABLE IF NOT EXISTS `{table}` ({columns}) ENGINE=InnoDB"))?;
    }
    if is_new {
        // The last one: where it is, all are.
        session.run(&format!("CREATE TABLE IF NOT EXISTS {STORE} ({STORE_COLUMNS}) ENGINE=InnoDB"))?;
    }
    let number = 1 + SystemRandom::new().below((1 << 53) - 1);
    session.run(&format!(
        "INSERT IGNORE INTO {STORE} (id, version, history, tag, last_row, ticks) \
         VALUES (1, {VERSION}, {number}, 0, 0, 0)"
    ))?;
    check_version(session)
}

fn check_version(session: &mut Session) -> Result<(), Trouble> {
    let columns = session.rows(&format!("SHOW COLUMNS FROM {STORE}"))?;
    let names: Vec<String> = columns.into_iter().filter_map(|row| Columns::of(row).text()).collect();
    // An older version lacks columns; they have defaults.
    for declaration in STORE_COLUMNS.split(", ") {
        let name = declaration.split(' ').next().unwrap_or_default();
        if !names.iter().any(|known| known == name) {
            session.run(&format!("ALTER TABLE {STORE} ADD COLUMN {declaration}"))?;
        }
    }
    let row = session.rows(&format!("SELECT version FROM {STORE} WHERE id = {}", quoted(1_i64)))?.pop();
    match row.and_then(|row| Columns::of(row).number()) {
        Some(version) if version > VERSION => Err(Trouble::schema(format!(
            "its schema has version {version}, made by a later version of this program, which knows {VERSION}: \
             install that one, or give the history another database"
        ))),
        Some(version) if version < VERSION => {
            session.run(&format!("UPDATE {STORE} SET version = {VERSION} WHERE id = 1"))
        }
        _ => Ok(()),
    }
}

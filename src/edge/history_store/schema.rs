//! The original's schema, so that either daemon can go on with the other's file.

use rusqlite::{Connection, Result, params};

use super::column;
use crate::model::random::Random;

/// Written to a new file. The original replaces it by its own version, and takes a file without one for its first
/// version, which it cannot convert a second time.
const VERSION: &str = "23.10.0";

struct Table {
    name: &'static str,
    /// Name and declaration.
    columns: &'static [(&'static str, &'static str)],
    /// Kind with name, and column.
    indexes: &'static [(&'static str, &'static str)],
}

const TEXT: &str = "varchar(1024) DEFAULT NULL";
const LONG_TEXT: &str = "varchar(2048) DEFAULT NULL";
const INT: &str = "int(11) DEFAULT NULL";
const KEY: &str = "INTEGER PRIMARY KEY";

/// Tokens that were accepted and have no end yet.
const OPEN_TOKENS: &str = "stheno_open_tokens";
/// Keys of SSH hosts that no known-hosts file remembers.
const HOST_KEYS: &str = "stheno_ssh_host_keys";
/// How far other histories were taken over.
const ORIGINS: &str = "stheno_origin_marks";
/// Tokens that were taken for work here and are not taken again.
const TAKEN_TOKENS: &str = "stheno_taken_tokens";
/// What Centreon Web has ordered and no node has confirmed.
const ORDERS: &str = "stheno_orders";
/// How far its command file in hand was read.
const ORDER_FILE: &str = "stheno_order_file";
/// Tables that a daemon of the original's can do without.
const OPTIONAL_TABLES: [&str; 7] =
    ["gorgone_centreon_judge_spare", OPEN_TOKENS, ORIGINS, HOST_KEYS, TAKEN_TOKENS, ORDERS, ORDER_FILE];

const TABLES: [Table; 12] = [
    Table { name: "gorgone_information", columns: &[("key", TEXT), ("value", TEXT)], indexes: &[] },
    Table {
        name: "gorgone_identity",
        columns: &[
            ("id", KEY),
            ("ctime", INT),
            ("mtime", INT),
            ("identity", LONG_TEXT),
            ("key", TEXT),
            ("oldkey", TEXT),
            ("iv", TEXT),
            ("oldiv", TEXT),
            ("parent", "int(11) DEFAULT '0'"),
        ],
        indexes: &[("INDEX idx_gorgone_identity", "identity"), ("INDEX idx_gorgone_parent", "parent")],
    },
    Table {
        name: "gorgone_history",
        columns: &[
            ("id", KEY),
            ("token", LONG_TEXT),
            ("code", INT),
            ("etime", INT),
            ("ctime", "FLOAT DEFAULT NULL"),
            ("instant", "int(11) DEFAULT '0'"),
            ("data", "TEXT DEFAULT NULL"),
            // Ours: the node and the history that the row was written to first, and its id there.
            ("stheno_node", INT),
            ("stheno_history", INT),
            ("stheno_row", INT),
        ],
        indexes: &[
            ("INDEX idx_gorgone_history_id", "id"),
            ("INDEX idx_gorgone_history_token", "token"),
            ("INDEX idx_gorgone_history_etime", "etime"),
            ("INDEX idx_gorgone_history_code", "code"),
            ("INDEX idx_gorgone_history_ctime", "ctime"),
            ("INDEX idx_gorgone_history_instant", "instant"),
        ],
    },
    Table {
        name: "gorgone_synchistory",
        columns: &[
            ("id", "int(11) NOT NULL"),
            ("ctime", "FLOAT DEFAULT NULL"),
            ("last_id", INT),
            ("stheno_history", INT),
            ("stheno_newest", "FLOAT DEFAULT NULL"),
        ],
        indexes: &[("UNIQUE INDEX idx_gorgone_synchistory_id", "id")],
    },
    Table {
        name: "gorgone_target_fingerprint",
        columns: &[("id", KEY), ("target", LONG_TEXT), ("fingerprint", "varchar(4096) DEFAULT NULL")],
        indexes: &[("INDEX idx_gorgone_target_fingerprint_target", "target")],
    },
    Table {
        name: "gorgone_centreon_judge_spare",
        columns: &[
            ("cluster_name", "varchar(2048) NOT NULL"),
            ("status", "int(11) NOT NULL"),
            ("data", "TEXT DEFAULT NULL"),
        ],
        indexes: &[("INDEX idx_gorgone_centreon_judge_spare_cluster_name", "cluster_name")],
    },
    // Ours; the original leaves it alone.
    Table {
        name: OPEN_TOKENS,
        columns: &[("token", "varchar(255) NOT NULL PRIMARY KEY"), ("node", INT)],
        indexes: &[],
    },
    Table {
        name: HOST_KEYS,
        columns: &[("host", "varchar(512) NOT NULL PRIMARY KEY"), ("line", "TEXT DEFAULT NULL")],
        indexes: &[],
    },
    Table { name: TAKEN_TOKENS, columns: &[("hash", KEY), ("taken", INT)], indexes: &[] },
    Table {
        name: ORDERS,
        columns: &[
            ("sequence", KEY),
            ("token", "varchar(255) NOT NULL"),
            ("target", TEXT),
            ("action", TEXT),
            ("name", TEXT),
            ("data", "TEXT DEFAULT NULL"),
        ],
        indexes: &[],
    },
    Table {
        name: ORDER_FILE,
        columns: &[("path", "TEXT DEFAULT NULL"), ("identity", TEXT), ("position", INT)],
        indexes: &[],
    },
    // Ours: how far each history was taken over, whoever brought its rows.
    Table {
        name: ORIGINS,
        columns: &[("node", "INTEGER NOT NULL"), ("history", "INTEGER NOT NULL"), ("last_id", "INTEGER NOT NULL")],
        indexes: &[("UNIQUE INDEX idx_stheno_origin_marks", "node, history")],
    },
];

/// What a file lacks, as SQL statements. Empty for a complete one, which is then not written to.
pub(super) struct Missing {
    /// Whether whole tables are missing that the daemon cannot do without.
    pub tables: bool,
    statements: Vec<String>,
}

/// Looks what is missing.
pub(super) fn missing(connection: &Connection) -> Result<Missing> {
    let mut found = Missing { tables: false, statements: Vec::new() };
    for table in &TABLES {
        let columns = columns_of(connection, table.name)?;
        if columns.is_empty() {
            found.tables |= !OPTIONAL_TABLES.contains(&table.name);
            let declared: Vec<String> =
                table.columns.iter().map(|(name, declaration)| format!("`{name}` {declaration}")).collect();
            found.statements.push(format!("CREATE TABLE `{}` ({})", table.name, declared.join(", ")));
        } else {
            let absent = table.columns.iter().filter(|(name, _)| !columns.iter().any(|column| column == name));
            found.statements.extend(absent.map(|(name, declaration)| {
                let declaration = declaration.trim_end_matches(" NOT NULL").trim_end_matches(" PRIMARY KEY");
                format!("ALTER TABLE `{}` ADD COLUMN `{name}` {declaration}", table.name)
            }));
        }
        for (index, column) in table.indexes {
            let name = index.rsplit(' ').next().unwrap_or_default();
            if !has_index(connection, name)? {
                // An old file may hold the same node twice, which a unique index would refuse; reading copes with it.
                let index = if columns.is_empty() { index } else { index.trim_start_matches("UNIQUE ") };
                found.statements.push(format!("CREATE {index} ON {} ({column})", table.name));
            }
        }
    }
    Ok(found)
}

impl Missing {
    /// Whether there is anything to do.
    pub const fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    /// Makes what is missing, all or nothing.
    pub fn create(&self, connection: &mut Connection) -> Result<()> {
        let transaction = connection.transaction()?;
        for statement in &self.statements {
            transaction.execute(statement, [])?;
        }
        transaction.commit()
    }
}

/// Whether the file has the row by which the original knows the version.
pub(super) fn has_version(connection: &Connection) -> Result<bool> {
    let sql = "SELECT count(*) FROM gorgone_information WHERE `key` = 'version' AND `value` <> '1.0'";
    connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(|count| count > 0)
}

/// Writes that row.
pub(super) fn put_version(connection: &Connection) -> Result<()> {
    connection.execute("DELETE FROM gorgone_information WHERE `key` = 'version'", [])?;
    connection
        .execute("INSERT INTO gorgone_information (`key`, `value`) VALUES ('version', ?1)", params![VERSION])
        .map(|_| ())
}

/// The number of this history, drawn when there is none yet; see [`crate::model::history::Origins::own`].
pub(super) fn history_number(connection: &Connection, random: &mut dyn Random) -> Result<i64> {
    const NUMBER_MAX: u64 = (1 << 53) - 1;
    let sql = "SELECT `value` FROM gorgone_information WHERE `key` = 'stheno_history'";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let known = rows.next()?.and_then(|row| column::integer(row, 0)).filter(|number| *number > 0);
    if let Some(number) = known {
        return Ok(number);
    }
    let number = i64::try_from(1 + random.below(NUMBER_MAX)).unwrap_or(1);
    connection.execute("DELETE FROM gorgone_information WHERE `key` = 'stheno_history'", [])?;
    let insert = "INSERT INTO gorgone_information (`key`, `value`) VALUES ('stheno_history', ?1)";
    connection.execute(insert, params![number.to_string()]).map(|_| number)
}

fn columns_of(connection: &Connection, table: &str) -> Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT lower(name) FROM pragma_table_info(?1)")?;
    statement.query_map([table], |row| row.get(0))?.collect()
}

fn has_index(connection: &Connection, name: &str) -> Result<bool> {
    let sql = "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND lower(name) = ?1";
    connection.query_row(sql, [name], |row| row.get::<_, i64>(0)).map(|count| count > 0)
}

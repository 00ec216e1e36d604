//! The original's schema, so that either daemon can continue with the other's file.

use rusqlite::{Connection, Result, params};

use super::column;
use crate::model::random::Random;

/// The version written to a new file. The original replaces it by its own version. It treats a file without a version
/// as its first version, which it cannot convert twice.
const VERSION: &str = "23.10.0";

/// The expression of the index of tokens. SQLite uses the index only for an identical expression.
macro_rules! token_ends {
    () => {
        "substr(token, 1, 4) || substr(token, -8)"
    };
}

struct Table {
    name: &'static str,
    /// Names and declarations of the columns.
    columns: &'static [(&'static str, &'static str)],
    /// The columns of the primary key of a table `WITHOUT ROWID`, in which a change writes one page instead of two;
    /// empty for other tables.
    key: &'static str,
    /// The indexes: kind with name, and the indexed columns.
    indexes: &'static [(&'static str, &'static str)],
}

/// Indexes that no statement needs, most of them the original's. Each costs a page in every commit; see
/// [`super::time_order`] for the index of `ctime`.
const SUPERFLUOUS_INDEXES: [&str; 6] = [
    // Of an earlier version, with more of each token.
    "idx_stheno_history_token",
    "idx_gorgone_history_token",
    "idx_gorgone_history_id",
    "idx_gorgone_history_etime",
    "idx_gorgone_history_code",
    "idx_gorgone_history_instant",
];

const TEXT: &str = "varchar(1024) DEFAULT NULL";
const LONG_TEXT: &str = "varchar(2048) DEFAULT NULL";
const INT: &str = "int(11) DEFAULT NULL";
const KEY: &str = "INTEGER PRIMARY KEY";

/// The index finds rows by both ends of their token. With whole tokens of 128 characters the index would be as large as
/// the rows, and each commit would write more pages to keep the tree balanced. Tokens that are counted differ at their
/// end; those of two daemons, at their beginning.
const TOKEN_INDEX: &str = concat!("(", token_ends!(), ")");
/// The condition that uses the index.
pub(super) const TOKEN_ENDS: &str = concat!(token_ends!(), " = ?");
/// Number of characters of each end.
const FIRST_CHARACTERS: usize = 4;
const LAST_CHARACTERS: usize = 8;

/// Returns the value to compare in [`TOKEN_ENDS`].
pub(super) fn token_ends(token: &str) -> String {
    let first = token.char_indices().nth(FIRST_CHARACTERS).map_or(token.len(), |(at, _)| at);
    let last = token.char_indices().nth_back(LAST_CHARACTERS - 1).map_or(0, |(at, _)| at);
    [token.get(..first), token.get(last..)].map(Option::unwrap_or_default).concat()
}

/// Table of the tokens that were accepted and are unfinished.
const OPEN_TOKENS: &str = "stheno_open_tokens";
/// Table of the keys of SSH hosts that are in no known-hosts file.
const HOST_KEYS: &str = "stheno_ssh_host_keys";
/// Table of how far other histories have been taken over.
const ORIGINS: &str = "stheno_origin_marks";
/// Table of the tokens that were accepted for work here and are not accepted again.
const TAKEN_TOKENS: &str = "stheno_taken_tokens";
/// Table of the orders of Centreon Web that no node has confirmed.
const ORDERS: &str = "stheno_orders";
/// Table of the position in the current command file.
const ORDER_FILE: &str = "stheno_order_file";
/// Table of the tokens that were ended here although their nodes may end them later.
const LATE_TOKENS: &str = "stheno_late_tokens";
/// Table of the tokens that callers of the API brought.
const ASKED_TOKENS: &str = "stheno_asked_tokens";
/// Table of the requests that wait for their nodes.
const OUTBOX: &str = "stheno_outbox";
/// Tables that the original can do without.
const OPTIONAL_TABLES: [&str; 10] = [
    "gorgone_centreon_judge_spare",
    OPEN_TOKENS,
    ORIGINS,
    HOST_KEYS,
    TAKEN_TOKENS,
    LATE_TOKENS,
    ASKED_TOKENS,
    ORDERS,
    ORDER_FILE,
    OUTBOX,
];

const TABLES: [Table; 15] = [
    Table { name: "gorgone_information", columns: &[("key", TEXT), ("value", TEXT)], key: "", indexes: &[] },
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
            // Not in the original: thumbprint of the key that opened the session.
            ("stheno_thumbprint", "TEXT DEFAULT NULL"),
        ],
        key: "",
        indexes: &[("INDEX idx_gorgone_identity", "(identity)"), ("INDEX idx_gorgone_parent", "(parent)")],
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
            // Not in the original: the node and the history to which the row was first written, and its id there.
            ("stheno_node", INT),
            ("stheno_history", INT),
            ("stheno_row", INT),
        ],
        key: "",
        indexes: &[
            ("INDEX idx_stheno_history_token_ends", TOKEN_INDEX),
            ("INDEX idx_stheno_history_instant", "(instant) WHERE instant = 1"),
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
        key: "",
        indexes: &[("UNIQUE INDEX idx_gorgone_synchistory_id", "(id)")],
    },
    Table {
        name: "gorgone_target_fingerprint",
        columns: &[("id", KEY), ("target", LONG_TEXT), ("fingerprint", "varchar(4096) DEFAULT NULL")],
        key: "",
        indexes: &[("INDEX idx_gorgone_target_fingerprint_target", "(target)")],
    },
    Table {
        name: "gorgone_centreon_judge_spare",
        columns: &[
            ("cluster_name", "varchar(2048) NOT NULL"),
            ("status", "int(11) NOT NULL"),
            ("data", "TEXT DEFAULT NULL"),
        ],
        key: "",
        indexes: &[("INDEX idx_gorgone_centreon_judge_spare_cluster_name", "(cluster_name)")],
    },
    // Not in the original, which ignores this table. Earlier versions read it in the order of `rowid`.
    Table {
        name: OPEN_TOKENS,
        columns: &[("token", "varchar(255) NOT NULL"), ("node", INT), ("rowid", INT)],
        key: "token",
        indexes: &[],
    },
    Table {
        name: HOST_KEYS,
        columns: &[("host", "varchar(512) NOT NULL PRIMARY KEY"), ("line", "TEXT DEFAULT NULL")],
        key: "",
        indexes: &[],
    },
    Table {
        name: TAKEN_TOKENS,
        columns: &[("hash", KEY), ("taken", INT), ("until", INT), ("begins_with_row", INT)],
        key: "",
        indexes: &[],
    },
    Table { name: ASKED_TOKENS, columns: &[("hash", KEY), ("request", INT), ("at", INT)], key: "", indexes: &[] },
    Table { name: LATE_TOKENS, columns: &[("hash", KEY), ("at", INT)], key: "", indexes: &[] },
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
        key: "",
        indexes: &[],
    },
    Table {
        name: ORDER_FILE,
        columns: &[("path", "TEXT DEFAULT NULL"), ("identity", TEXT), ("position", INT)],
        key: "",
        indexes: &[],
    },
    // The requests of a node stand together in their order, so that reading them takes few pages.
    Table {
        name: OUTBOX,
        columns: &[
            ("target", "TEXT NOT NULL"),
            ("sequence", "INTEGER NOT NULL"),
            ("hash", "INTEGER NOT NULL"),
            ("token", "TEXT NOT NULL"),
            ("action", "TEXT NOT NULL"),
            ("created", INT),
            ("expires", INT),
            ("not_before", INT),
            ("sent", INT),
            ("len", INT),
            ("data", "TEXT DEFAULT NULL"),
        ],
        key: "target, sequence",
        indexes: &[("UNIQUE INDEX idx_stheno_outbox_hash", "(hash)")],
    },
    // Not in the original: how far each history has been taken over, whichever daemon sent its rows.
    Table {
        name: ORIGINS,
        columns: &[("node", "INTEGER NOT NULL"), ("history", "INTEGER NOT NULL"), ("last_id", "INTEGER NOT NULL")],
        key: "node, history",
        indexes: &[],
    },
];

/// The SQL statements that complete a file. They are empty for a complete file, which is then not written to.
pub(super) struct Missing {
    /// Whether tables are missing that the daemon needs.
    pub tables: bool,
    statements: Vec<String>,
}

/// Determines what is missing.
pub(super) fn missing(connection: &Connection) -> Result<Missing> {
    let mut found = Missing { tables: false, statements: Vec::new() };
    for table in &TABLES {
        let columns = columns_of(connection, table.name)?;
        if columns.is_empty() {
            found.tables |= !OPTIONAL_TABLES.contains(&table.name);
            found.statements.push(table.create(table.name));
        } else if !table.key.is_empty() && !is_key_tree(connection, table.name)? {
            found.statements.extend(table.make_key_tree());
        } else {
            let absent = table.columns.iter().filter(|(name, _)| !columns.iter().any(|column| column == name));
            found.statements.extend(absent.map(|(name, declaration)| {
                let declaration = declaration.trim_end_matches(" NOT NULL").trim_end_matches(" PRIMARY KEY");
                format!("ALTER TABLE `{}` ADD COLUMN `{name}` {declaration}", table.name)
            }));
        }
        for (index, on) in table.indexes {
            let name = index.rsplit(' ').next().unwrap_or_default();
            if !has_index(connection, name)? {
                // An old file may contain the same node twice, which a unique index would refuse. Reading handles that.
                let index = if columns.is_empty() { index } else { index.trim_start_matches("UNIQUE ") };
                found.statements.push(format!("CREATE {index} ON {} {on}", table.name));
            }
        }
    }
    for index in SUPERFLUOUS_INDEXES {
        if has_index(connection, index)? {
            found.statements.push(format!("DROP INDEX {index}"));
        }
    }
    Ok(found)
}

impl Table {
    fn create(&self, name: &str) -> String {
        let mut declared: Vec<String> =
            self.columns.iter().map(|(name, declaration)| format!("`{name}` {declaration}")).collect();
        if self.key.is_empty() {
            return format!("CREATE TABLE `{name}` ({})", declared.join(", "));
        }
        declared.push(format!("PRIMARY KEY ({})", self.key));
        format!("CREATE TABLE `{name}` ({}) WITHOUT ROWID", declared.join(", "))
    }

    /// Rewrites a table that an older version created with row ids.
    fn make_key_tree(&self) -> [String; 4] {
        let (name, old) = (self.name, format!("{}_old", self.name));
        let columns = self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        [
            format!("ALTER TABLE `{name}` RENAME TO `{old}`"),
            self.create(name),
            format!("INSERT OR REPLACE INTO `{name}` ({columns}) SELECT {columns} FROM `{old}` ORDER BY rowid"),
            format!("DROP TABLE `{old}`"),
        ]
    }
}

impl Missing {
    /// Whether nothing is missing.
    pub const fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    /// Adds everything that is missing, in one transaction.
    pub fn create(&self, connection: &mut Connection) -> Result<()> {
        let transaction = connection.transaction()?;
        for statement in &self.statements {
            transaction.execute(statement, [])?;
        }
        transaction.commit()
    }
}

/// Whether the file has the row with the version for the original.
pub(super) fn has_version(connection: &Connection) -> Result<bool> {
    let sql = "SELECT count(*) FROM gorgone_information WHERE `key` = 'version' AND `value` <> '1.0'";
    connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(|count| count > 0)
}

/// Writes the row with the version for the original.
pub(super) fn put_version(connection: &Connection) -> Result<()> {
    connection.execute("DELETE FROM gorgone_information WHERE `key` = 'version'", [])?;
    connection
        .execute("INSERT INTO gorgone_information (`key`, `value`) VALUES ('version', ?1)", params![VERSION])
        .map(|_| ())
}

/// Returns the number of this history, drawn at random if there is none; see [`crate::model::history::Origins::own`].
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

fn is_key_tree(connection: &Connection, table: &str) -> Result<bool> {
    let sql = "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1";
    connection.query_row(sql, [table], |row| row.get(0))
}

pub(super) fn has_index(connection: &Connection, name: &str) -> Result<bool> {
    let sql = "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND lower(name) = ?1";
    connection.query_row(sql, [name], |row| row.get::<_, i64>(0)).map(|count| count > 0)
}

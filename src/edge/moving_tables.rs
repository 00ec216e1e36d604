//! The tables of a history as rows of plain values, so that they can be moved between a file and a database server.

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// No value, which every column but those of keys may have.
    Null,
    /// Text; also an id that exceeds 63 bits.
    Text(String),
    /// An integer.
    Number(i64),
    /// A real number.
    Real(f64),
}

impl Cell {
    /// The value as text; `None` for NULL.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Text(text) => Some(text.clone()),
            Self::Number(number) => Some(number.to_string()),
            Self::Real(number) => Some(number.to_string()),
        }
    }
}

/// The kind of the values of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Cell::Text`]
    Text,
    /// [`Cell::Number`]; other numbers are rounded down.
    Number,
    /// [`Cell::Real`]
    Real,
    /// The id of a node.
    Node,
}

/// A table that is moved. Its columns have the same names everywhere.
#[derive(Debug)]
pub struct MovedTable {
    /// How the table is called on both sides.
    pub name: &'static str,
    /// The columns; the first ones are the key.
    pub columns: &'static [(&'static str, Kind)],
    /// Number of columns of the key.
    pub key: usize,
    /// The text that may be stored by pieces: prefix of their owner, column of its key, column of the text.
    pub pieces: Option<(&'static str, usize, usize)>,
}

const fn small(name: &'static str, columns: &'static [(&'static str, Kind)], key: usize) -> MovedTable {
    MovedTable { name, columns, key, pieces: None }
}

/// All tables; the history is the first and goes on where an earlier move was cut off.
pub const MOVED_TABLES: [MovedTable; 13] = [
    MovedTable {
        name: "gorgone_history",
        columns: &[
            ("id", Kind::Number),
            ("token", Kind::Text),
            ("code", Kind::Number),
            ("etime", Kind::Number),
            ("ctime", Kind::Real),
            ("instant", Kind::Number),
            ("data", Kind::Text),
            ("stheno_node", Kind::Node),
            ("stheno_history", Kind::Number),
            ("stheno_row", Kind::Number),
        ],
        key: 1,
        pieces: Some(("r", 0, 6)),
    },
    small(
        "gorgone_identity",
        &[
            ("identity", Kind::Text),
            ("ctime", Kind::Number),
            ("mtime", Kind::Number),
            ("key", Kind::Text),
            ("iv", Kind::Text),
            ("oldkey", Kind::Text),
            ("oldiv", Kind::Text),
            ("stheno_thumbprint", Kind::Text),
        ],
        1,
    ),
    small(
        "gorgone_synchistory",
        &[
            ("id", Kind::Node),
            ("ctime", Kind::Real),
            ("last_id", Kind::Number),
            ("stheno_history", Kind::Number),
            ("stheno_newest", Kind::Real),
        ],
        1,
    ),
    small("gorgone_target_fingerprint", &[("target", Kind::Text), ("fingerprint", Kind::Text)], 1),
    small("stheno_ssh_host_keys", &[("host", Kind::Text), ("line", Kind::Text)], 1),
    small("stheno_open_tokens", &[("token", Kind::Text), ("node", Kind::Node)], 1),
    small(
        "stheno_taken_tokens",
        &[("hash", Kind::Number), ("taken", Kind::Number), ("until", Kind::Number), ("begins_with_row", Kind::Number)],
        1,
    ),
    small("stheno_late_tokens", &[("hash", Kind::Number), ("at", Kind::Number)], 1),
    small("stheno_asked_tokens", &[("hash", Kind::Number), ("request", Kind::Number), ("at", Kind::Number)], 1),
    MovedTable {
        name: "stheno_orders",
        columns: &[
            ("sequence", Kind::Number),
            ("token", Kind::Text),
            ("target", Kind::Text),
            ("action", Kind::Text),
            ("name", Kind::Text),
            ("data", Kind::Text),
        ],
        key: 1,
        pieces: Some(("o", 0, 5)),
    },
    small("stheno_order_file", &[("path", Kind::Text), ("identity", Kind::Text), ("position", Kind::Number)], 1),
    MovedTable {
        name: "stheno_outbox",
        columns: &[
            ("target", Kind::Node),
            ("sequence", Kind::Number),
            ("hash", Kind::Number),
            ("token", Kind::Text),
            ("action", Kind::Text),
            ("created", Kind::Number),
            ("expires", Kind::Number),
            ("not_before", Kind::Number),
            ("sent", Kind::Number),
            ("len", Kind::Number),
            ("data", Kind::Text),
        ],
        key: 2,
        pieces: Some(("q", 2, 10)),
    },
    small("stheno_origin_marks", &[("node", Kind::Node), ("history", Kind::Number), ("last_id", Kind::Number)], 2),
];

/// What is no row of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MovedState {
    /// Number of the history.
    pub history: i64,
    /// How far the wall clock is ahead of the queue's clock, in seconds.
    pub queue_clock: i64,
}

/// One end of a move.
pub trait Tables {
    /// What is no row.
    ///
    /// # Errors
    /// The database cannot be read.
    fn state(&mut self) -> Result<MovedState, String>;

    /// Number of keys of a table.
    ///
    /// # Errors
    /// The database cannot be read.
    fn count(&mut self, table: &MovedTable) -> Result<i64, String>;

    /// The greatest id of the history, 0 for none.
    ///
    /// # Errors
    /// The database cannot be read.
    fn last_row(&mut self) -> Result<i64, String>;

    /// Rows in the order of their key: those of the history behind an id, those of another table behind so many.
    ///
    /// # Errors
    /// The database cannot be read.
    fn rows(&mut self, table: &MovedTable, behind: i64, limit: usize) -> Result<Vec<Vec<Cell>>, String>;

    /// Puts rows in the place of those with their keys.
    ///
    /// # Errors
    /// None of them was put there.
    fn put(&mut self, table: &MovedTable, rows: &[Vec<Cell>]) -> Result<(), String>;

    /// Notes that a move of this history into the database has begun. An unfinished one is continued.
    ///
    /// # Errors
    /// The database has another history.
    fn begin(&mut self, state: MovedState) -> Result<(), String>;

    /// Notes that the move is complete.
    ///
    /// # Errors
    /// The database cannot be written.
    fn end(&mut self) -> Result<(), String>;
}

//! Queries of the history on a separate connection.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Row, params_from_iter};

use super::apply::sql_id;
use super::{LONG_PATIENCE, StoreError, column, schema, time_order};
use crate::model::code::Code;
use crate::model::history::{HistoryRow, LogFilter, LogPage, PageLimit, RowOrigin};

/// A read-only view of the history for a worker thread. A query sees every commit that was complete when it began, and
/// never delays the writer.
pub struct HistoryReader {
    connection: Connection,
    path: PathBuf,
}

impl HistoryReader {
    /// Opens a database that a [`super::HistoryStore`] has open.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let sqlite = |error: rusqlite::Error| StoreError::from_sqlite(path, &error);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
        connection.busy_timeout(LONG_PATIENCE).map_err(sqlite)?;
        super::keep_plans(&connection).map_err(sqlite)?;
        connection.execute_batch("PRAGMA cache_size = -128; PRAGMA temp_store = MEMORY;").map_err(sqlite)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Returns the rows that match the filter, up to the limits of the page. Rows are read one by one, never more than
    /// are returned.
    ///
    /// The first rows by id are returned; with [`PageLimit::whole_instants`] and only a `ctime` condition, the first by
    /// `ctime` (the order in which such a peer continues). Values of unexpected types are converted as far as possible.
    ///
    /// # Errors
    /// The file cannot be read. The content of a row never causes an error.
    pub fn query(&self, filter: &LogFilter, limit: &PageLimit) -> Result<LogPage, StoreError> {
        self.page(filter, limit).map_err(|error| StoreError::from_sqlite(&self.path, &error))
    }

    fn page(&self, filter: &LogFilter, limit: &PageLimit) -> rusqlite::Result<LogPage> {
        let mut page = LogPage::default();
        if filter.newest == Some(0) {
            return Ok(page);
        }
        let mut question = self.question(filter, limit)?;
        if let Some(newest) = filter.newest {
            let oldest = self.nth_newest(filter, limit, newest)?;
            question.push("id >= ?", Value::Integer(oldest.unwrap_or(i64::MIN)));
        }
        let sql = question.select(COLUMNS, "");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(question.values))?;
        let mut bytes = 0_usize;
        while let Some(row) = rows.next()? {
            let row = history_row(row);
            // SQLite compares values of unexpected types differently, so each row is checked again.
            if !filter.matches(&row) {
                continue;
            }
            let size = row.size_bytes();
            let full = page.rows.len() >= limit.rows || bytes.saturating_add(size) > limit.bytes;
            let same_instant = |last: &HistoryRow| limit.whole_instants && last.ctime.total_cmp(&row.ctime).is_eq();
            if full && page.rows.last().is_some_and(|last| !same_instant(last)) {
                page.more = true;
                break;
            }
            bytes = bytes.saturating_add(size);
            page.rows.push(row);
        }
        if page.more {
            let mut newest = self.connection.prepare_cached("SELECT max(id) FROM gorgone_history")?;
            page.newest_id = newest.query_row([], |row| Ok(column::integer(row, 0)))?;
        }
        if question.order == Order::Instant {
            page.rows.sort_unstable_by_key(|row| row.id);
        }
        Ok(page)
    }

    fn question(&self, filter: &LogFilter, limit: &PageLimit) -> rusqlite::Result<Question> {
        let is_by_time = filter.token.is_none() && filter.after_id.is_none();
        let first = match filter.after_ctime.filter(|_| is_by_time) {
            Some(ctime) if time_order::is_ordered(&self.connection)? => {
                Some(time_order::first_behind(&self.connection, ctime)?)
            }
            _ => None,
        };
        Ok(Question::new(filter, limit, first))
    }

    /// Returns the id of the `number`th newest row that matches the filter; `None` if there are fewer.
    fn nth_newest(&self, filter: &LogFilter, limit: &PageLimit, number: u64) -> rusqlite::Result<Option<i64>> {
        let by_id = PageLimit { whole_instants: false, ..*limit };
        let mut question = self.question(filter, &by_id)?;
        let skipped = i64::try_from(number - 1).unwrap_or(i64::MAX);
        question.values.push(Value::Integer(skipped));
        let sql = question.select("id", " DESC LIMIT 1 OFFSET ?");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(question.values))?;
        Ok(rows.next()?.and_then(|row| column::integer(row, 0)))
    }

    /// Returns SQLite's plan for a query, for tests.
    #[cfg(test)]
    pub(super) fn plan(&self, filter: &LogFilter, limit: &PageLimit) -> String {
        let question = self.question(filter, limit).unwrap();
        let sql = format!("EXPLAIN QUERY PLAN {}", question.select(COLUMNS, ""));
        let mut statement = self.connection.prepare(&sql).unwrap();
        let lines = statement.query_map(params_from_iter(question.values), |row| row.get::<_, String>(3)).unwrap();
        lines.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }
}

thread_local! {
    /// The connection of a worker thread, closed when the thread ends.
    static KEPT: RefCell<Option<HistoryReader>> = const { RefCell::new(None) };
}

/// Takes questions from the queue and answers them, on a connection that this thread keeps for the next calls, because
/// opening costs more than most questions. All of them see the history at the time of the first. At least one is
/// answered; after an error, or when the answers hold more than `most_bytes`, the others stay in the queue.
///
/// # Errors
/// Each answer has the errors of [`HistoryReader::open`] and [`HistoryReader::query`]; after one, the next question
/// opens a new connection.
pub fn query_kept<Q>(
    path: &Path,
    questions: &mut VecDeque<(Q, LogFilter, PageLimit)>,
    most_bytes: usize,
) -> Vec<(Q, Result<LogPage, StoreError>)> {
    let mut answers = Vec::with_capacity(questions.len());
    let kept = KEPT.take().filter(|reader| reader.path == path);
    let reader = match kept.map_or_else(|| HistoryReader::open(path), Ok) {
        Ok(reader) => reader,
        Err(error) => {
            answers.extend(questions.pop_front().map(|(question, ..)| (question, Err(error))));
            return answers;
        }
    };
    // Beginning and ending a transaction takes as long as finding a token, so a single question does without an
    // explicit one.
    let view = if questions.len() > 1 { reader.connection.unchecked_transaction().ok() } else { None };
    let mut bytes = 0_usize;
    while bytes < most_bytes
        && let Some((question, filter, limit)) = questions.pop_front()
    {
        let page = reader.query(&filter, &limit);
        bytes = bytes.saturating_add(page.as_ref().map_or(most_bytes, LogPage::size_bytes));
        // Written here, because for some megabytes it takes longer than the loop may be held.
        answers.push((question, if limit.as_json { page.map(LogPage::into_json) } else { page }));
    }
    drop(view);
    if answers.iter().all(|(_, answer)| answer.is_ok()) {
        KEPT.set(Some(reader));
    }
    answers
}

/// Runs `ask` on the connection that this thread keeps.
pub(super) fn with_kept<T>(
    path: &Path,
    ask: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let kept = KEPT.take().filter(|reader| reader.path == path);
    let reader = kept.map_or_else(|| HistoryReader::open(path), Ok)?;
    let answer = ask(&reader.connection)?;
    KEPT.set(Some(reader));
    Ok(answer)
}

const COLUMNS: &str = "id, token, code, etime, ctime, instant, data, stheno_node, stheno_history, stheno_row";

/// The order in which rows are visited.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Id,
    Instant,
}

/// The SQL conditions of a query, written so that SQLite uses the intended index: a `+` before a column hides it from
/// the planner, which does not know the distribution of the values. Each plan visits rows in order, without sorting.
struct Question {
    conditions: Vec<&'static str>,
    values: Vec<Value>,
    order: Order,
}

impl Question {
    /// Builds the conditions. `first` is the id of the first row after [`LogFilter::after_ctime`], if ids increase with
    /// times.
    fn new(filter: &LogFilter, limit: &PageLimit, first: Option<i64>) -> Self {
        let mut question = Self { conditions: Vec::new(), values: Vec::new(), order: Order::Id };
        if let Some(first) = first {
            question.push("id >= ?", Value::Integer(first));
        }
        let narrowed = filter.token.is_some() || filter.after_id.is_some() || first.is_some();
        if let Some(token) = &filter.token {
            question.push(schema::TOKEN_ENDS, Value::Text(schema::token_ends(token)));
            // Without `+`, SQLite would put the token into the expression above and calculate that for each question.
            question.push("+token = ?", Value::Text(token.clone()));
        }
        if let Some(id) = filter.after_id {
            question.push("id > ?", Value::Integer(id));
        }
        if let Some(ctime) = filter.after_ctime {
            let value = Value::Real(ctime);
            if narrowed {
                question.push("+ctime > ?", value);
            } else if limit.whole_instants {
                question.order = Order::Instant;
                question.push("ctime > ?", value);
            } else {
                // After the first matching row most rows match, so this is cheaper than sorting all of them by id.
                question.push("id >= (SELECT min(+id) FROM gorgone_history WHERE ctime > ?)", value.clone());
                question.push("+ctime > ?", value);
            }
        }
        if let Some(etime) = filter.after_etime {
            question.push("etime > ?", Value::Real(etime));
        }
        if let Some(code) = filter.code {
            question.push("code = ?", Value::Integer(code.0));
        }
        match filter.node {
            Some(Some(node)) => question.push("stheno_node = ?", sql_id(node)),
            Some(None) => question.conditions.push("stheno_node IS NULL"),
            None => {}
        }
        if let Some(text) = &filter.text {
            question.push("instr(lower(data), ?) > 0", Value::Text(text.to_ascii_lowercase()));
        }
        question
    }

    fn push(&mut self, condition: &'static str, value: Value) {
        self.conditions.push(condition);
        self.values.push(value);
    }

    fn select(&self, columns: &str, direction: &str) -> String {
        let condition = if self.conditions.is_empty() { "1".to_owned() } else { self.conditions.join(" AND ") };
        let order = if self.order == Order::Id { "id" } else { "ctime, id" };
        format!("SELECT {columns} FROM gorgone_history WHERE {condition} ORDER BY {order}{direction}")
    }
}

fn origin(row: &Row<'_>) -> Option<RowOrigin> {
    let (history, id) = column::history_name(row, 7).zip(column::integer(row, 9))?;
    Some(RowOrigin { history, id })
}

fn history_row(row: &Row<'_>) -> HistoryRow {
    HistoryRow {
        id: column::integer(row, 0).unwrap_or(0),
        token: column::text(row, 1),
        code: Code(column::integer(row, 2).unwrap_or(0)),
        etime: column::integer(row, 3).unwrap_or(0),
        ctime: column::real(row, 4).unwrap_or(0.0),
        instant: column::integer(row, 5).unwrap_or(0) != 0,
        data: column::text(row, 6).unwrap_or_default(),
        origin: origin(row),
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;

//! Queries of the history, on a connection of the worker thread that asks.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::session::{Session, Trouble};
use super::text::{Columns, quoted};
use super::{pieces, queue};
use crate::config::database::HistoryServer;
use crate::edge::history_store::StoreError;
use crate::model::code::Code;
use crate::model::history::{HistoryName, HistoryRow, LogFilter, LogPage, PageLimit, RowOrigin};
use crate::model::queue::{QueueAnswer, QueueQuery};

/// Time limit for a question.
const QUESTION: Duration = Duration::from_secs(30);
/// Number of rows that one statement reads. What a page does not take of them is read and dropped.
const ROWS: usize = 256;
const COLUMNS: &str =
    "id, token, code, etime, ctime, instant, stheno_node, stheno_history, stheno_row, stheno_pieces, data";

thread_local! {
    /// The connection of a worker thread, closed when the thread ends.
    static KEPT: RefCell<Option<(HistoryServer, Session)>> = const { RefCell::new(None) };
}

/// Runs `ask` on the connection that this thread keeps. If that has been broken since, on a new one.
pub(super) fn with_kept<T>(
    server: &HistoryServer,
    mut ask: impl FnMut(&mut Session) -> Result<T, Trouble>,
) -> Result<T, StoreError> {
    if let Some((of, mut session)) = KEPT.take().filter(|(of, _)| of == server) {
        session.allow(QUESTION);
        match ask(&mut session) {
            Ok(answer) => {
                KEPT.set(Some((of, session)));
                return Ok(answer);
            }
            Err(trouble) if !trouble.passes => return Err(trouble.into_error(server)),
            Err(_) => {}
        }
    }
    let mut open = || {
        let mut session = Session::open(server, Instant::now() + QUESTION)?;
        session.allow(QUESTION);
        let answer = ask(&mut session)?;
        Ok((answer, session))
    };
    let (answer, session) = open().map_err(|trouble: Trouble| trouble.into_error(server))?;
    KEPT.set(Some((server.clone(), session)));
    Ok(answer)
}

/// Answers questions from the queue; see [`crate::edge::store::query_kept`].
pub fn query_kept<Q>(
    server: &HistoryServer,
    questions: &mut VecDeque<(Q, LogFilter, PageLimit)>,
    most_bytes: usize,
) -> Vec<(Q, Result<LogPage, StoreError>)> {
    let mut answers = Vec::with_capacity(questions.len());
    let mut bytes = 0_usize;
    while bytes < most_bytes
        && let Some((question, filter, limit)) = questions.pop_front()
    {
        let page = with_kept(server, |session| page(session, &filter, &limit));
        bytes = bytes.saturating_add(page.as_ref().map_or(most_bytes, LogPage::size_bytes));
        answers.push((question, if limit.as_json { page.map(LogPage::into_json) } else { page }));
    }
    answers
}

/// Answers a question to the queue.
#[must_use]
pub fn query_queue(server: &HistoryServer, query: &QueueQuery) -> QueueAnswer {
    let answer = with_kept(server, |session| queue::answer(session, query));
    answer.unwrap_or_else(|error| QueueAnswer::Failed(error.to_string()))
}

/// Reads a page.
pub(super) fn page(session: &mut Session, filter: &LogFilter, limit: &PageLimit) -> Result<LogPage, Trouble> {
    let mut page = LogPage::default();
    if filter.newest == Some(0) {
        return Ok(page);
    }
    let mut condition = condition(filter);
    if let Some(newest) = filter.newest {
        let sql =
            format!("SELECT id FROM gorgone_history WHERE {condition} ORDER BY id DESC LIMIT 1 OFFSET {}", newest - 1);
        if let Some(oldest) = session.rows(&sql)?.pop().and_then(|row| Columns::of(row).number()) {
            let _ = write!(condition, " AND id >= {oldest}");
        }
    }
    let by_time =
        limit.whole_instants && filter.after_ctime.is_some() && filter.token.is_none() && filter.after_id.is_none();
    let mut bytes = 0_usize;
    // Where the next statement goes on.
    let mut behind = String::new();
    while !page.more {
        let order = if by_time { "ctime, id" } else { "id" };
        let sql =
            format!("SELECT {COLUMNS} FROM gorgone_history WHERE {condition}{behind} ORDER BY {order} LIMIT {ROWS}");
        let (mut rows, mut is_cut) = (Vec::new(), false);
        let mut read_bytes = bytes;
        session.each(&sql, |row| {
            let (row, pieces) = history_row(row);
            read_bytes = read_bytes.saturating_add(row.size_bytes());
            rows.push((row, pieces));
            // One more than fits, which shows that there are more.
            is_cut = read_bytes > limit.bytes.saturating_mul(2);
            !is_cut
        })?;
        let is_all = !is_cut && rows.len() < ROWS;
        let Some((last, _)) = rows.last() else { break };
        behind = match by_time {
            true => format!(" AND (ctime > {0} OR ctime = {0} AND id > {1})", quoted(last.ctime), last.id),
            false => format!(" AND id > {}", last.id),
        };
        for (mut row, pieces) in rows {
            if pieces > 0 {
                row.data = pieces::read(session, &format!("r{}", row.id))?;
            }
            if !filter.matches(&row) {
                continue;
            }
            let size = row.size_bytes();
            let is_full = page.rows.len() >= limit.rows || bytes.saturating_add(size) > limit.bytes;
            let same = |last: &HistoryRow| limit.whole_instants && last.ctime.total_cmp(&row.ctime).is_eq();
            if is_full && page.rows.last().is_some_and(|last| !same(last)) {
                page.more = true;
                break;
            }
            bytes = bytes.saturating_add(size);
            page.rows.push(row);
        }
        if is_all {
            break;
        }
    }
    if page.more {
        let newest = session.rows("SELECT MAX(id) FROM gorgone_history")?.pop();
        page.newest_id = newest.and_then(|row| Columns::of(row).number());
    }
    if by_time {
        page.rows.sort_unstable_by_key(|row| row.id);
    }
    Ok(page)
}

fn condition(filter: &LogFilter) -> String {
    let mut conditions = Vec::new();
    if let Some(token) = &filter.token {
        conditions.push(format!("token = {}", quoted(token.as_str())));
    }
    if let Some(id) = filter.after_id {
        conditions.push(format!("id > {id}"));
    }
    if let Some(ctime) = filter.after_ctime {
        conditions.push(format!("ctime > {}", quoted(ctime)));
    }
    if let Some(etime) = filter.after_etime {
        conditions.push(format!("etime > {}", quoted(etime)));
    }
    if let Some(code) = filter.code {
        conditions.push(format!("code = {}", code.0));
    }
    match filter.node {
        Some(Some(node)) => conditions.push(format!("stheno_node = {node}")),
        Some(None) => conditions.push("stheno_node IS NULL".to_owned()),
        None => {}
    }
    if let Some(text) = &filter.text {
        let text = quoted(&*text.to_ascii_lowercase());
        conditions.push(format!("(stheno_pieces > 0 OR LOCATE({text}, LOWER(data)) > 0)"));
    }
    if conditions.is_empty() { "1".to_owned() } else { conditions.join(" AND ") }
}

/// Reads a row, and the number of its pieces.
fn history_row(row: Vec<Option<String>>) -> (HistoryRow, i64) {
    let mut row = Columns::of(row);
    let (id, token, code) = (row.number().unwrap_or(0), row.text(), Code(row.number().unwrap_or(0)));
    let (etime, ctime) = (row.number().unwrap_or(0), row.real().unwrap_or(0.0));
    let instant = row.number().unwrap_or(0) != 0;
    let (node, number, origin_id) = (row.node(), row.number(), row.number());
    let origin = node.zip(number).zip(origin_id);
    let origin = origin.map(|((node, number), id)| RowOrigin { history: HistoryName { node, number }, id });
    let pieces = row.number().unwrap_or(0);
    let data = row.text().unwrap_or_default();
    (HistoryRow { id, token, code, etime, ctime, instant, data, origin }, pieces)
}

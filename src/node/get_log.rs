//! GETLOG of our own history (docs/protocol.md section 4), whole for Perl peers and in pages for our own kind (section
//! 7).

use crate::model::host_work::{HostWork, QueryId};
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::model::action::Action;
use crate::model::api::CallId;
use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::history::{HistoryRow, LogFilter, LogPage, PageLimit, RowOrigin, SyncMark};
use crate::model::log::LogLine;
use crate::model::message::Reply;
use crate::model::token::Token;

use super::core::Core;
use super::output::Output;
use super::peer::{Handled, Peer};
use super::{api, json};

/// Questions whose answer is awaited at most.
const QUESTIONS_MAX: usize = 1_000;
/// A page for a peer that goes on by id.
const PAGE: PageLimit = PageLimit { rows: 1_000, bytes: 512 << 10, whole_instants: false };
/// The largest answer for any other; a peer that syncs by `ctime` gets the rest when it asks again, and the others are
/// told that there is more.
const WHOLE: PageLimit = PageLimit { rows: 100_000, bytes: 8 << 20, whole_instants: true };

/// Two times that differ by less are the same; rows are ten microseconds apart.
const CTIME_TOLERANCE_SECONDS: f64 = 5e-6;

/// The refusal when [`QUESTIONS_MAX`] are open.
const BUSY: &str = "busy: too many questions are open, try again";

/// Who asked the history, and what for.
#[derive(Debug)]
enum Question {
    /// A GETLOG of a client that does not page.
    Rows { client: ClientId, token: Token },
    /// A GETLOG of a client that pages.
    Page { client: ClientId, token: Token, mark: SyncMark, from: From },
    /// A page was empty, and the row of the mark is gone: is there any row at all?
    NewestId { client: ClientId, token: Token, after_id: i64 },
    /// A call of the API.
    Call(CallId),
    /// A GETCRON that asks for the last run of a job.
    Job(Token),
}

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// With the row of the mark itself, which tells whether the client means this database.
    Mark,
    /// After it.
    AfterMark,
}

/// The questions that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: BTreeMap<QueryId, Question>,
    next: u64,
}

impl Questions {
    /// Whether none is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// The filter that the members of a GETLOG, or the parameters of a call, stand for. `None` when one makes no sense.
pub(super) fn read_filter<'a>(member: impl Fn(&str) -> Option<&'a Value>) -> Option<LogFilter> {
    let given = |key: &str| member(key).filter(|value| !value.is_null() && value.as_str() != Some(""));
    let number = |key: &str| given(key).map(json::integer);
    let time = |key: &str| given(key).map(json::float);
    Some(LogFilter {
        after_id: number("id").map_or(Some(None), |id| id.map(Some))?,
        token: given("token").map(json::text).map_or(Some(None), |token| token.map(Some))?,
        after_ctime: time("ctime").map_or(Some(None), |ctime| ctime.map(Some))?,
        after_etime: time("etime").map_or(Some(None), |etime| etime.map(Some))?,
        code: number("code").map_or(Some(None), |code| code.map(|code| Some(Code(code))))?,
        newest: number("limit").map_or(Some(None), |limit| limit.map(|limit| u64::try_from(limit).ok()))?,
    })
}

/// Rows as a JSON array.
pub(super) fn rows_json(rows: &[HistoryRow]) -> String {
    let mut out = String::with_capacity(rows.iter().map(|row| row.data.len() + 240).sum());
    out.push('[');
    for row in rows {
        if out.len() > 1 {
            out.push(',');
        }
        // Writing to a string cannot fail.
        let _ = write!(out, "{{\"id\":{},\"token\":", row.id);
        match &row.token {
            Some(token) => json::push_string(&mut out, token),
            None => out.push_str("null"),
        }
        let ctime = if row.ctime.is_finite() { row.ctime } else { 0.0 };
        let instant = u8::from(row.instant);
        let _ = write!(
            out,
            ",\"code\":{},\"etime\":{},\"ctime\":{ctime},\"instant\":{instant},\"data\":",
            row.code.0, row.etime
        );
        json::push_string(&mut out, &row.data);
        if let Some(RowOrigin { history, id }) = row.origin {
            let _ = write!(out, ",\"origin\":[{},{},{id}]", history.node, history.number);
        }
        out.push('}');
    }
    out.push(']');
    out
}

impl Core {
    pub(super) fn get_log(&mut self, peer: Peer, token: &Token, data: &str) -> Handled {
        let Ok(data) = serde_json::from_str::<Value>(data) else { return Handled::not_well_formatted() };
        let Some(filter) = read_filter(|key| data.get(key)) else { return Handled::not_well_formatted() };
        // Nobody would read the answer.
        let Some(client) = peer.client() else { return Handled::accepted() };
        let accepted = if let Some(last_id) = data.get("last_id").and_then(json::integer) {
            self.parents.pages(client, self.context.now.monotonic);
            let history = data.get("history").and_then(json::integer).unwrap_or(0);
            let mark = SyncMark { ctime: filter.after_ctime.unwrap_or(0.0), last_id: last_id.max(0), history };
            // The client's mark is one of another database that we had: it gets this one from its start.
            let is_other = history != 0 && history != self.origins.own();
            let mark = if is_other { SyncMark::default() } else { mark };
            self.ask_for_page(client, token.clone(), mark, From::Mark)
        } else if filter.has_condition() {
            self.ask(Question::Rows { client, token: token.clone() }, filter, WHOLE)
        } else {
            return Handled::refused(json::message("need at least one filter"));
        };
        if accepted { Handled::Later } else { Handled::refused(json::message(BUSY)) }
    }

    fn ask_for_page(&mut self, client: ClientId, token: Token, mark: SyncMark, from: From) -> bool {
        let after_id = if from == From::Mark { mark.last_id.saturating_sub(1) } else { mark.last_id };
        let filter = LogFilter { after_id: Some(after_id.max(0)), ..LogFilter::default() };
        self.ask(Question::Page { client, token, mark, from }, filter, PAGE)
    }

    fn ask(&mut self, question: Question, filter: LogFilter, limit: PageLimit) -> bool {
        if self.questions.open.len() >= QUESTIONS_MAX {
            return false;
        }
        let query = QueryId(self.questions.next);
        self.questions.next += 1;
        self.questions.open.insert(query, question);
        self.context.output(Output::Host(HostWork::Query { query, filter, limit }));
        true
    }

    /// A call of the API asks the history; `false` when too many questions are open.
    pub(super) fn ask_for_call(&mut self, call: CallId, filter: LogFilter) -> bool {
        self.ask(Question::Call(call), filter, WHOLE)
    }

    /// A GETCRON asks for the rows of a run; `false` when too many questions are open.
    pub(super) fn ask_for_job(&mut self, token: Token, filter: LogFilter) -> bool {
        self.ask(Question::Job(token), filter, PAGE)
    }

    /// The history answered.
    pub(super) fn query_answered(&mut self, query: QueryId, result: Result<LogPage, String>) {
        let Some(question) = self.questions.open.remove(&query) else { return };
        let mut result = result;
        if let (Question::Rows { .. } | Question::Call(_), Ok(page)) = (&question, &mut result) {
            // Of no use to those who do not page.
            page.rows.iter_mut().for_each(|row| row.origin = None);
        }
        match (&question, &result) {
            (_, Err(error)) => self.context.log(LogLine::error("core", format!("the history cannot be read: {error}"))),
            (Question::Rows { .. } | Question::Call(_), Ok(page)) if page.more => self.log_cut(page),
            _ => {}
        }
        match (question, result) {
            (Question::Job(token), Ok(page)) => {
                self.context.finish(&token, Code::FINISHED_OK, rows_json(&page.rows));
            }
            (Question::Job(token), Err(_)) => self.context.fail(&token, "database issue"),
            (Question::Call(call), result) => api::waits::history_answered(self, call, result),
            (
                Question::Rows { client, token }
                | Question::Page { client, token, .. }
                | Question::NewestId { client, token, .. },
                Err(_),
            ) => self.get_log_reply(client, token, Code::FINISHED_KO, json::message("database issue")),
            (Question::Rows { client, token }, Ok(page)) => self.get_log_page(client, token, page, None),
            (Question::Page { client, token, mark, from }, Ok(page)) => {
                self.page_answered(client, token, mark, from, page);
            }
            (Question::NewestId { client, token, after_id }, Ok(page)) => {
                let newest = page.rows.last().map_or(0, |row| row.id);
                self.get_log_page(client, token, LogPage::default(), Some(newest.min(after_id)));
            }
        }
    }

    /// An answer without all its rows must not pass for the whole.
    fn log_cut(&mut self, page: &LogPage) {
        let last = page.rows.last().map_or(0, |row| row.id);
        let rows = page.rows.len();
        let text = format!("an answer of history rows was cut after {rows} rows; for the rest ask with id {last}");
        self.context.log(LogLine::warning("core", text));
    }

    fn page_answered(&mut self, client: ClientId, token: Token, mark: SyncMark, from: From, mut page: LogPage) {
        let marked = page.rows.first().filter(|row| from == From::Mark && row.id == mark.last_id);
        if let Some(row) = marked {
            if row.ctime > mark.ctime + CTIME_TOLERANCE_SECONDS {
                // The client's mark was set before this row was stored: it means another database.
                self.get_log_page(client, token, LogPage::default(), Some(0));
                return;
            }
            page.rows.remove(0);
            if page.rows.is_empty() && page.more {
                self.ask_for_page(client, token, mark, From::AfterMark);
                return;
            }
        } else if page.rows.is_empty() && mark.last_id > 0 {
            let filter = LogFilter { after_id: Some(0), newest: Some(1), ..LogFilter::default() };
            self.ask(Question::NewestId { client, token, after_id: mark.last_id }, filter, PAGE);
            return;
        }
        let last_id = page.rows.last().map_or(mark.last_id, |row| row.id);
        self.get_log_page(client, token, page, Some(last_id));
    }

    fn get_log_page(&mut self, client: ClientId, token: Token, page: LogPage, last_id: Option<i64>) {
        if let Some(kind) = client.parent() {
            self.set_logs(kind, &token, page, last_id);
            return;
        }
        let rows = rows_json(&page.rows);
        let mut data = format!("{{\"action\":\"getlog\",\"result\":{rows},\"id\":{}", self.context.id_json());
        if let Some(last_id) = last_id {
            let _ = write!(data, ",\"last_id\":{last_id}");
            self.origins.write_own(&mut data);
        }
        if last_id.is_some() || page.more {
            let _ = write!(data, ",\"more\":{}", page.more);
        }
        data.push('}');
        self.get_log_reply(client, token, Code::BEGIN, data);
    }

    fn get_log_reply(&mut self, client: ClientId, token: Token, code: Code, data: String) {
        self.context.reply(client, Reply { kind: Action::Ack, token: Some(token), code, data });
    }
}

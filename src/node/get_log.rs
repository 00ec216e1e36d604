//! GETLOG of our own history (docs/protocol.md section 4): whole answers for Perl peers, pages for our own kind
//! (section 7).

use crate::model::host_work::{HostWork, QueryId};
use crate::node::context::Context;
use crate::node::dial_out::DialledOut;
use crate::node::subscribers::Subscribers;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::model::action::Action;
use crate::model::api::CallId;
use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::history::{HistoryRow, LogFilter, LogPage, PageLimit, SyncMark};
use crate::model::log::LogLine;
use crate::model::message::Reply;
use crate::model::packed;
use crate::model::token::Token;

use super::dial_out::Position;
use super::nodes::owed::ASKED_MAX;
use super::output::Output;
use super::peer::{Handled, Peer};
use super::{json, trace};
pub(super) use crate::model::json_text::rows_json;

/// Maximum number of queries without an answer.
const QUESTIONS_MAX: usize = 1_000;
/// Size of a page for a peer that continues by id.
const PAGE: PageLimit = PageLimit { rows: 1_000, bytes: 512 << 10, whole_instants: false, as_json: false };
/// Maximum size of the answer for any other peer. One that syncs by `ctime` gets the rest with its next query; others
/// are told that there is more.
const WHOLE: PageLimit = PageLimit { rows: 100_000, bytes: 8 << 20, whole_instants: true, as_json: false };

/// Two times that differ by less are equal; rows are at least ten microseconds apart.
pub(super) const CTIME_TOLERANCE_SECONDS: f64 = 5e-6;

/// The refusal if [`QUESTIONS_MAX`] queries are open.
const BUSY: &str = "busy: too many questions are open, try again";

/// The origin and purpose of a query of the history.
#[derive(Debug)]
enum Question {
    /// A GETLOG of a client that does not page.
    Rows { client: ClientId, token: Token, behind: Option<Position> },
    /// A GETLOG of a client that pages.
    Page { client: ClientId, token: Token, mark: SyncMark, from: From, echo: Echo },
    /// A page was empty, and the row of the mark is missing: asks whether there is any row.
    NewestId { client: ClientId, token: Token, after_id: i64, echo: Echo },
    /// A call of the API.
    Call(CallId),
    /// A GETCRON that asks for the last run of a job.
    Job(Token),
}

/// A call of the API, and the answer of the history.
pub(super) type ForCall = (CallId, Result<LogPage, String>);

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// With the row of the mark itself, which shows whether the client refers to this database.
    Mark,
    AfterMark,
}

/// What a peer that pages is told beside the rows.
#[derive(Debug)]
pub(super) struct Paged {
    /// Greatest id that was looked at.
    pub last_id: i64,
    /// What of the query the answer repeats or depends on.
    pub echo: Echo,
}

/// What of a query its answer repeats or depends on.
#[derive(Clone, Debug, Default)]
pub(super) struct Echo {
    /// Members of the answer that repeat parts of the query; see [`echo_of`].
    pub members: String,
    /// Whether rows may be packed.
    packs: bool,
    /// Number of rows written here before the query.
    rows_before: u64,
}

impl Echo {
    /// Returns the member `result` for rows as a JSON array, which stand packed in another one where they may.
    pub fn result(&self, rows: &str) -> String {
        match if self.packs { packed::pack(rows) } else { None } {
            Some(packed) => format!("\"result\":[],\"packed\":\"{packed}\""),
            None => format!("\"result\":{rows}"),
        }
    }
}

/// Returns the members of an answer that belong to the query itself: its number (`sync`), and which of its tokens
/// (`owed`) are still open here. They are determined before the rows are read, so a token that is not open any more has
/// its last row among them.
fn echo_of(context: &Context, data: &Value) -> Echo {
    let mut echo = String::new();
    if let Some(sync) = data.get("sync").and_then(json::integer) {
        // Writing to a string cannot fail.
        let _ = write!(echo, ",\"sync\":{sync}");
    }
    if let Some(owed) = data.get("owed").and_then(Value::as_array) {
        let tokens = owed.iter().take(ASKED_MAX).filter_map(|token| Token::parse(token.as_str()?).ok());
        let open: Vec<String> =
            tokens.filter(|token| context.journal.is_under_way(token)).map(|token| format!("\"{token}\"")).collect();
        let _ = write!(echo, ",\"open\":[{}]", open.join(","));
    }
    let packs = data.get("packs").and_then(json::integer) == Some(1);
    Echo { members: echo, packs, rows_before: context.rows_written }
}

/// The queries without an answer.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: BTreeMap<QueryId, Question>,
    next: u64,
}

impl Questions {
    /// Returns whether no query is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// Returns the filter for the members of a GETLOG, or the parameters of a call. `None` if one is invalid.
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
        node: None,
        text: None,
        newest: number("limit").map_or(Some(None), |limit| limit.map(|limit| u64::try_from(limit).ok()))?,
    })
}

/// Returns whether a row is only sent to readers that page: only our own kind needs it.
fn is_trace_row(row: &HistoryRow) -> bool {
    trace::is_trace(row.code, row.instant, &row.data)
}

impl Questions {
    pub(super) fn get_log(
        &mut self,
        context: &mut Context,
        subscribers: &mut Subscribers,
        dialled_out: &mut DialledOut,
        peer: Peer,
        token: &Token,
        data: &str,
    ) -> Handled {
        let Ok(data) = serde_json::from_str::<Value>(data) else { return Handled::not_well_formatted() };
        let Some(filter) = read_filter(|key| data.get(key)) else { return Handled::not_well_formatted() };
        // Nobody would read the answer.
        let Some(client) = peer.client() else { return Handled::accepted() };
        if let Some(time) = data.get("time").and_then(json::integer) {
            context.hear_time(client, time);
        }
        let accepted = if let Some(last_id) = data.get("last_id").and_then(json::integer) {
            subscribers.pages(client, context.now.monotonic);
            let history = data.get("history").and_then(json::integer).unwrap_or(0);
            let ctime = filter.after_ctime.unwrap_or(0.0);
            let mark = SyncMark { ctime, newest: ctime, last_id: last_id.max(0), history };
            // The client's mark refers to an earlier database of ours, so it gets this one from the start.
            let is_other = history != 0 && history != context.own_history;
            let mark = if is_other { SyncMark::default() } else { mark };
            let echo = echo_of(context, &data);
            if echo.packs {
                subscribers.packs(client);
                dialled_out.is_of_our_kind(context, client);
            }
            self.ask_for_page(context, client, token.clone(), (mark, From::Mark), echo)
        } else if filter.has_condition() {
            let mut filter = filter;
            let (limit, behind) = self.limit_for(context, dialled_out, client, &mut filter);
            self.ask(context, Question::Rows { client, token: token.clone(), behind }, filter, limit)
        } else {
            return Handled::refused(json::message("need at least one filter"));
        };
        if accepted { Handled::Later } else { Handled::refused(json::message(BUSY)) }
    }

    /// Returns how much to read for a client that does not page.
    fn limit_for(
        &mut self,
        context: &mut Context,
        dialled_out: &mut DialledOut,
        client: ClientId,
        filter: &mut LogFilter,
    ) -> (PageLimit, Option<Position>) {
        match client.parent() {
            Some(kind) => dialled_out.read_on_for_parent(context, kind, filter, WHOLE),
            None => (WHOLE, None),
        }
    }

    fn ask_for_page(
        &mut self,
        context: &mut Context,
        client: ClientId,
        token: Token,
        (mark, from): (SyncMark, From),
        echo: Echo,
    ) -> bool {
        let after_id = if from == From::Mark { mark.last_id.saturating_sub(1) } else { mark.last_id };
        let filter = LogFilter { after_id: Some(after_id.max(0)), ..LogFilter::default() };
        self.ask(context, Question::Page { client, token, mark, from, echo }, filter, PAGE)
    }

    fn ask(&mut self, context: &mut Context, question: Question, filter: LogFilter, limit: PageLimit) -> bool {
        if self.open.len() >= QUESTIONS_MAX {
            return false;
        }
        let query = QueryId(self.next);
        self.next += 1;
        self.open.insert(query, question);
        context.output(Output::Host(HostWork::Query { query, filter, limit }));
        true
    }

    /// Queries the history for a call of the API; rows that are only passed on are wanted `as_json`. Returns `false` if
    /// too many queries are open.
    pub(super) fn ask_for_call(
        &mut self,
        context: &mut Context,
        call: CallId,
        filter: LogFilter,
        as_json: bool,
    ) -> bool {
        self.ask(context, Question::Call(call), filter, PageLimit { as_json, ..WHOLE })
    }

    /// Queries the rows of a run for a GETCRON. Returns `false` if too many queries are open.
    pub(super) fn ask_for_job(&mut self, context: &mut Context, token: Token, filter: LogFilter) -> bool {
        self.ask(context, Question::Job(token), filter, PAGE)
    }

    /// Handles an answer of the history. Returns it if it is for a call of the API.
    pub(super) fn query_answered(
        &mut self,
        context: &mut Context,
        subscribers: &mut Subscribers,
        dialled_out: &mut DialledOut,
        query: QueryId,
        result: Result<LogPage, String>,
    ) -> Option<ForCall> {
        let question = self.open.remove(&query)?;
        let mut result = result;
        if let (Question::Rows { .. }, Ok(page)) = (&question, &mut result) {
            // A peer that does not page cannot use it.
            page.rows.iter_mut().for_each(|row| row.origin = None);
        }
        match (&question, &result) {
            (_, Err(error)) => context.log(LogLine::error("core", format!("the history cannot be read: {error}"))),
            // A daemon that continues by `ctime`.
            (Question::Rows { client, .. }, Ok(_)) if subscribers.are_asked_by(Peer::Client(*client)) => {}
            (Question::Rows { .. }, Ok(page)) if page.more => self.log_cut(context, page),
            // Other calls go on with the next page.
            (Question::Call(_), Ok(page)) if page.more && page.json.is_some() => self.log_cut(context, page),
            _ => {}
        }
        if let (Question::Rows { client, behind, .. }, Ok(page)) = (&question, &mut result) {
            let is_daemon = subscribers.are_asked_by(Peer::Client(*client));
            let is_left_out =
                |row: &HistoryRow| behind.is_some_and(|end| end.covers(row)) || is_daemon && is_trace_row(row);
            page.rows.retain(|row| !is_left_out(row));
        }
        match (question, result) {
            (Question::Job(token), Ok(page)) => {
                context.finish(&token, Code::FINISHED_OK, rows_json(&page.rows));
            }
            (Question::Job(token), Err(_)) => context.fail(&token, "database issue"),
            (Question::Call(call), result) => return Some((call, result)),
            (
                Question::Rows { client, token, .. }
                | Question::Page { client, token, .. }
                | Question::NewestId { client, token, .. },
                Err(_),
            ) => self.get_log_reply(context, client, token, Code::FINISHED_KO, json::message("database issue")),
            (Question::Rows { client, token, .. }, Ok(page)) => {
                self.get_log_page(context, dialled_out, client, token, page, None)
            }
            (Question::Page { client, token, mark, from, echo }, Ok(page)) => {
                if !page.more {
                    subscribers.has_rows(client, echo.rows_before);
                }
                self.page_answered(context, dialled_out, (client, token, echo), (mark, from), page);
            }
            (Question::NewestId { client, token, after_id, echo }, Ok(page)) => {
                let last_id = page.rows.last().map_or(0, |row| row.id).min(after_id);
                let paged = Paged { last_id, echo };
                self.get_log_page(context, dialled_out, client, token, LogPage::default(), Some(paged));
            }
        }
        None
    }

    /// A cut answer must not pass for a complete one.
    fn log_cut(&mut self, context: &mut Context, page: &LogPage) {
        let last = page.rows.last().map_or(0, |row| row.id);
        let rows = page.rows.len();
        let text = format!("an answer of history rows was cut after {rows} rows; for the rest ask with id {last}");
        context.log(LogLine::warning("core", text));
    }

    fn page_answered(
        &mut self,
        context: &mut Context,
        dialled_out: &mut DialledOut,
        (client, token, echo): (ClientId, Token, Echo),
        (mark, from): (SyncMark, From),
        mut page: LogPage,
    ) {
        let marked = page.rows.first().filter(|row| from == From::Mark && row.id == mark.last_id);
        if let Some(row) = marked {
            if row.ctime > mark.ctime + CTIME_TOLERANCE_SECONDS {
                // The client's mark was set before this row was stored, so it refers to another database.
                let paged = Paged { last_id: 0, echo };
                self.get_log_page(context, dialled_out, client, token, LogPage::default(), Some(paged));
                return;
            }
            page.rows.remove(0);
            if page.rows.is_empty() && page.more {
                self.ask_for_page(context, client, token, (mark, From::AfterMark), echo);
                return;
            }
        } else if page.rows.is_empty() && mark.last_id > 0 {
            let filter = LogFilter { after_id: Some(0), newest: Some(1), ..LogFilter::default() };
            self.ask(context, Question::NewestId { client, token, after_id: mark.last_id, echo }, filter, PAGE);
            return;
        }
        let last_id = page.rows.last().map_or(mark.last_id, |row| row.id);
        self.get_log_page(context, dialled_out, client, token, page, Some(Paged { last_id, echo }));
    }

    fn get_log_page(
        &mut self,
        context: &mut Context,
        dialled_out: &mut DialledOut,
        client: ClientId,
        token: Token,
        page: LogPage,
        paged: Option<Paged>,
    ) {
        if let Some(kind) = client.parent() {
            dialled_out.set_logs(context, kind, &token, page, paged.as_ref());
            return;
        }
        let rows = rows_json(&page.rows);
        let result = paged.as_ref().map_or_else(|| format!("\"result\":{rows}"), |paged| paged.echo.result(&rows));
        let mut data = format!("{{\"action\":\"getlog\",{result},\"id\":{}", context.id_json());
        if let Some(Paged { last_id, echo }) = &paged {
            let _ = write!(data, ",\"last_id\":{last_id}{}", echo.members);
            page.write_newest(&mut data);
            context.write_history(&mut data);
        }
        if paged.is_some() || page.more {
            let _ = write!(data, ",\"more\":{}", page.more);
        }
        data.push('}');
        self.get_log_reply(context, client, token, Code::BEGIN, data);
    }

    fn get_log_reply(&mut self, context: &mut Context, client: ClientId, token: Token, code: Code, data: String) {
        context.reply(client, Reply { kind: Action::Ack, token: Some(token), code, data });
    }
}

//! The module `engine`: ENGINECOMMAND writes lines to the command pipe of the monitoring engine (docs/protocol.md
//! section 11).
//!
//! A worker writes to each pipe, some requests at a time, so that lines keep their order. A pipe without a reader
//! delays only its own requests, each of them at most for the module's `timeout` after its arrival, or after the
//! request before it was written; a pipe that is read takes all waiting requests. Out of scope: the writing itself.

#[cfg(test)]
mod tests;

use crate::node::context::Context;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::model::code::Code;
use crate::model::log::LogLine;
use crate::model::time::Monotonic;
use crate::model::token::Token;
use crate::model::work::{PipeLines, PipeReport, Work, WorkId};

use super::action::list::CommandList;
use crate::node::command_rows;
use crate::node::journal::{Awaited, NewRow};
use crate::node::json;
use crate::node::output::ReceiptId;
use crate::node::peer::Handled;
use crate::node::phase::STOPPING_TEXT;
use crate::node::queue::options::place_of;

/// The message of the row about a request without commands.
const NEED_COMMANDS: &str = "need commands argument: a list of lines";
/// Maximum number of waiting requests, and of their characters.
const WAITING_MAX: usize = 10_000;
const WAITING_BYTES_MAX: usize = 32 << 20;
/// Maximum number of requests that are written at a time, and of their characters.
const BATCH_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 1 << 20;

/// A request for one pipe. Holds command lines: no `Debug`.
pub(in crate::node) struct EngineRequest {
    token: Token,
    logging: bool,
    file: String,
    lines: Arc<Vec<String>>,
    /// The bytes of its one line, if they are not UTF-8.
    raw: Option<Arc<[u8]>>,
    deadline: Monotonic,
    len_bytes: usize,
    /// Whether it stays in the queue of the daemon that sent it until its token ends.
    is_queued: bool,
    /// The data of its first row, until that is written.
    first_row: Option<String>,
}

/// The requests that wait for pipes. A pipe has an entry while it is written to.
#[derive(Default)]
pub(in crate::node) struct Engine {
    pipes: BTreeMap<String, VecDeque<EngineRequest>>,
    len: usize,
    len_bytes: usize,
    /// Requests from queues whose first rows are being stored. One without a row has not begun, and is given back.
    starting: BTreeMap<ReceiptId, VecDeque<EngineRequest>>,
    /// The requests being written.
    writing: BTreeMap<WorkId, VecDeque<EngineRequest>>,
}

impl Engine {
    /// Returns the number of bytes of the waiting requests.
    pub(in crate::node) const fn held_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Returns whether a request from the queue of another daemon can be taken. Half the room is for others.
    pub(in crate::node) const fn has_room_for_queued(&self) -> bool {
        self.len < WAITING_MAX / 2 && self.len_bytes < WAITING_BYTES_MAX / 2
    }

    /// Returns whether nothing is being written.
    pub(in crate::node) fn is_idle(&self) -> bool {
        self.writing.is_empty() && self.starting.is_empty()
    }
}

#[derive(Default, Deserialize)]
struct RawContent {
    #[serde(default)]
    command_file: Value,
    #[serde(default)]
    commands: Value,
    /// From our own kind: the one line as bytes in base64.
    #[serde(default)]
    raw: Value,
}

/// Returns the lines of a request, or the message of the row about an error.
fn lines(commands: &Value) -> Result<Vec<String>, &'static str> {
    let lines = match commands {
        Value::Array(items) => {
            items.iter().map(|item| item.as_str().map(str::to_owned).or_else(|| json::text(item))).collect()
        }
        _ => None,
    };
    lines.ok_or(if commands.is_null() {
        NEED_COMMANDS
    } else {
        "submit engine command issue: 'commands' is not a list of lines"
    })
}

/// Returns the message of the row about a content that is not an object.
const fn expected(content: &str) -> &'static str {
    match content.as_bytes().first() {
        Some(b'[') => {
            "expected an object with 'command_file' and 'commands', found a list: send it without the brackets"
        }
        _ => "expected an object with 'command_file' and 'commands'",
    }
}

/// The content of an ENGINECOMMAND, for a pipe here or on a host by SSH.
pub(in crate::node) struct EngineContent<'a> {
    pub logging: bool,
    /// The content as received JSON text.
    pub text: &'a str,
    pub command_file: Option<String>,
    /// The lines, or the message of the row about an error.
    pub lines: Result<Vec<String>, &'static str>,
    /// The bytes of the one line, if they are not UTF-8.
    pub raw: Option<Arc<[u8]>>,
}

impl<'a> EngineContent<'a> {
    /// Reads the data of a request.
    ///
    /// # Errors
    /// Returns the message of the row.
    pub fn read(data: &'a str, single: &'a mut String) -> Result<Self, &'static str> {
        let list = CommandList::read(data, single)?;
        let text = if list.content.is_empty() { "null" } else { list.content };
        // serde would read a list as the members in order.
        let is_object = text.starts_with('{') || text == "null";
        let content: Option<RawContent> =
            is_object.then(|| json::read_object(text, &mut String::new()).unwrap_or_default());
        let command_file = content.as_ref().and_then(|content| json::text(&content.command_file));
        let raw = content.as_ref().and_then(|content| STANDARD.decode(content.raw.as_str()?).ok()).map(Arc::from);
        let lines = content.map_or_else(|| Err(expected(text)), |content| lines(&content.commands));
        Ok(Self { logging: list.logging, text, command_file, lines, raw })
    }
}

/// Returns the data of the row that a line was written to the pipe.
pub(in crate::node) fn submitted(line: &str) -> String {
    let mut data = "{\"message\":\"command has been submitted\",\"command\":".to_owned();
    json::push_string(&mut data, line);
    data.push('}');
    data
}

/// Returns how long a request waits for a reader and for room.
fn timeout(context: &Context) -> Duration {
    context.options.modules.engine.as_ref().map(|engine| engine.timeout).unwrap_or_default()
}

fn engine_failed(context: &mut Context, token: &Token, logging: bool, text: &str) -> Handled {
    context.log(LogLine::error("engine", text.to_owned()).of_token(token));
    if logging {
        context.fail(token, text);
    }
    Handled::accepted()
}

impl Engine {
    /// Handles an ENGINECOMMAND.
    pub(in crate::node) fn request(&mut self, context: &mut Context, token: &Token, data: &str) -> Handled {
        let mut single = String::new();
        let Ok(EngineContent { logging, text, command_file, lines, raw }) = EngineContent::read(data, &mut single)
        else {
            return Handled::not_well_formatted();
        };
        let settings = context.options.modules.engine.clone();
        let file = command_file.or_else(|| settings.as_ref()?.command_file.clone());
        let is_queued = place_of(data).is_some();
        let mut first_row = logging.then(|| command_rows::processing_started(text));
        if logging {
            context.open_token(token, None);
        }
        if let Some(begun) = first_row.take_if(|_| !is_queued) {
            context.row(token, Code::BEGIN, begun);
        }
        let file = file.filter(|file| !file.contains('\0'));
        let (file, lines) = match (file, lines) {
            (None, Ok(_) | Err(NEED_COMMANDS)) => {
                return engine_failed(context, token, logging, "need command_file (config or call) argument");
            }
            (_, Err(text)) => return engine_failed(context, token, logging, text),
            (Some(file), Ok(lines)) => (file, lines),
        };
        if self.len >= WAITING_MAX || self.len_bytes.saturating_add(data.len()) > WAITING_BYTES_MAX {
            return engine_failed(
                context,
                token,
                logging,
                "submit engine command issue: too many commands wait, try again later",
            );
        }
        let deadline = context.now.monotonic + timeout(context);
        let raw = raw.filter(|_| lines.len() == 1);
        let lines = Arc::new(lines);
        let len_bytes = data.len();
        let token = token.clone();
        let request = EngineRequest { token, logging, file, lines, raw, deadline, len_bytes, is_queued, first_row };
        self.len += 1;
        self.len_bytes += request.len_bytes;
        match self.pipes.get_mut(&request.file) {
            Some(waiting) => waiting.push_back(request),
            None => {
                let file = request.file.clone();
                self.pipes.insert(file.clone(), VecDeque::from([request]));
                self.write_pipe(context, &file);
            }
        }
        Handled::accepted()
    }

    /// Writes the next requests for a pipe.
    fn write_pipe(&mut self, context: &mut Context, file: &str) {
        let Some(waiting) = self.pipes.get_mut(file) else { return };
        let mut len_bytes = 0_usize;
        let fits = |request: &&EngineRequest| {
            len_bytes = len_bytes.saturating_add(request.len_bytes);
            len_bytes <= BATCH_BYTES_MAX
        };
        let count = waiting.iter().take(BATCH_MAX).take_while(fits).count().max(1).min(waiting.len());
        let mut batch: VecDeque<EngineRequest> = waiting.drain(..count).collect();
        if batch.is_empty() {
            self.pipes.remove(file);
        } else if batch.iter().all(|request| request.first_row.is_none()) {
            self.write_lines(context, file, batch);
        } else if let Some(receipt) = context.await_receipt(Awaited::Pipe) {
            for request in &mut batch {
                if let Some(begun) = request.first_row.take() {
                    context.write_with(NewRow::part(&request.token, Code::BEGIN, begun), None, Some(receipt));
                }
            }
            self.starting.insert(receipt, batch);
        } else {
            self.not_begun(context, batch);
        }
    }

    /// Handles the storing of the first rows of requests: their lines are written.
    pub(in crate::node) fn begun(&mut self, context: &mut Context, receipt: ReceiptId, stored: bool) {
        let Some(batch) = self.starting.remove(&receipt) else { return };
        let Some(file) = batch.front().map(|request| request.file.clone()) else { return };
        if context.is_stopping() {
            batch.iter().for_each(|request| self.give_up_lines(context, request, false));
        } else if stored {
            self.write_lines(context, &file, batch);
        } else {
            self.not_begun(context, batch);
            self.write_pipe(context, &file);
        }
    }

    /// Ends requests whose first rows cannot be stored.
    fn not_begun(&mut self, context: &mut Context, batch: VecDeque<EngineRequest>) {
        for request in batch {
            self.engine_request_ended(&request);
            engine_failed(context, &request.token, request.logging, "database issue");
        }
    }

    fn write_lines(&mut self, context: &mut Context, file: &str, batch: VecDeque<EngineRequest>) {
        let now = context.now.monotonic;
        let lines = |request: &EngineRequest| PipeLines {
            lines: Arc::clone(&request.lines),
            raw: request.raw.clone(),
            patience: request.deadline.since(now),
        };
        let requests = batch.iter().map(lines).collect();
        let work = Work::WritePipe { file: file.to_owned(), requests, timeout: timeout(context) };
        let id = context.start_work(work);
        self.writing.insert(id, batch);
    }

    fn engine_request_ended(&mut self, request: &EngineRequest) {
        self.len = self.len.saturating_sub(1);
        self.len_bytes = self.len_bytes.saturating_sub(request.len_bytes);
    }

    /// Handles the result of writing the lines of some requests. Those that were not tried are written next.
    pub(in crate::node) fn pipe_written(&mut self, context: &mut Context, id: WorkId, reports: &[PipeReport]) {
        // The requests have been given up.
        let Some(mut batch) = self.writing.remove(&id) else { return };
        let rest = batch.split_off(reports.len().min(batch.len()));
        let Some(file) = batch.front().map(|request| request.file.clone()) else { return };
        batch.iter().for_each(|request| self.engine_request_ended(request));
        let has_failed = reports.last().is_some_and(|last| last.failure.is_some());
        if context.is_stopping() {
            rest.iter().for_each(|request| self.give_up_lines(context, request, false));
        } else if let Some(waiting) = self.pipes.get_mut(&file) {
            rest.into_iter().rev().for_each(|request| waiting.push_front(request));
            if let Some(next) = waiting.front_mut().filter(|_| !has_failed) {
                next.deadline = next.deadline.max(context.now.monotonic + timeout(context));
            }
        }
        self.write_pipe(context, &file);
        for (request, report) in batch.iter().zip(reports) {
            Self::lines_written(context, request, report);
        }
    }

    fn lines_written(context: &mut Context, request: &EngineRequest, report: &PipeReport) {
        if request.logging {
            for line in request.lines.iter().take(report.submitted) {
                context.row(&request.token, Code::FINISHED_OK, submitted(line));
            }
        }
        if let Some(reason) = &report.failure {
            engine_failed(context, &request.token, request.logging, reason);
        } else if request.logging {
            let data = json::message("commands processing has finished");
            context.finish(&request.token, Code::FINISHED_OK, data);
        }
    }

    /// Drops the requests that wait for a pipe because the daemon stops.
    pub(in crate::node) fn stop(&mut self, context: &mut Context) {
        let waiting = self.pipes.values_mut().flat_map(std::mem::take).collect::<Vec<_>>();
        for request in waiting {
            self.give_up_lines(context, &request, false);
        }
    }

    /// Ends the requests whose writing has not ended when the daemon does.
    pub(in crate::node) fn give_up_writing(&mut self, context: &mut Context) {
        for request in std::mem::take(&mut self.starting).into_values().flatten() {
            self.give_up_lines(context, &request, false);
        }
        for request in std::mem::take(&mut self.writing).into_values().flatten() {
            self.give_up_lines(context, &request, true);
        }
    }

    fn give_up_lines(&mut self, context: &mut Context, request: &EngineRequest, may_be_written: bool) {
        self.engine_request_ended(request);
        if request.is_queued && !may_be_written {
            context.give_back(&request.token);
        } else if request.logging {
            context.fail(&request.token, STOPPING_TEXT);
        }
    }
}

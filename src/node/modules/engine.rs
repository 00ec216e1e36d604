//! The module `engine`: ENGINECOMMAND writes lines to the command pipe of the monitoring engine (docs/protocol.md
//! section 11).
//!
//! A worker writes one request at a time to each pipe, so that lines keep their order. A pipe without a reader delays
//! only its own requests, each of them at most for the module's `timeout` after its arrival, or after the request
//! before it was written; a pipe that is read takes all waiting requests. Out of scope: the writing itself.

#[cfg(test)]
mod tests;

use crate::node::context::Context;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::model::code::Code;
use crate::model::log::LogLine;
use crate::model::time::Monotonic;
use crate::model::token::Token;
use crate::model::work::{PipeReport, Work, WorkId};

use super::action::list::CommandList;
use crate::node::command_rows;
use crate::node::json;
use crate::node::peer::Handled;
use crate::node::phase::STOPPING_TEXT;

/// The message of the row about a request without commands.
const NEED_COMMANDS: &str = "need commands argument: a list of lines";
/// Maximum number of waiting requests, and of their characters.
const WAITING_MAX: usize = 10_000;
const WAITING_BYTES_MAX: usize = 32 << 20;

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
}

/// The requests that wait for pipes. A pipe has an entry while it is written to.
#[derive(Default)]
pub(in crate::node) struct Engine {
    pipes: BTreeMap<String, VecDeque<EngineRequest>>,
    len: usize,
    len_bytes: usize,
    /// The requests being written.
    writing: BTreeMap<WorkId, EngineRequest>,
}

impl Engine {
    /// Returns the number of bytes of the waiting requests.
    pub(in crate::node) const fn held_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Returns whether nothing is being written.
    pub(in crate::node) fn is_idle(&self) -> bool {
        self.writing.is_empty()
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
        if logging {
            context.open_token(token, None);
            let begun = command_rows::processing_started(text);
            context.row(token, Code::BEGIN, begun);
        }
        let file = file.filter(|file| !file.contains('\0'));
        let (file, lines) = match (file, lines) {
            (None, Ok(_) | Err(NEED_COMMANDS)) => {
                return self.engine_failed(context, token, logging, "need command_file (config or call) argument");
            }
            (_, Err(text)) => return self.engine_failed(context, token, logging, text),
            (Some(file), Ok(lines)) => (file, lines),
        };
        if self.len >= WAITING_MAX || self.len_bytes.saturating_add(data.len()) > WAITING_BYTES_MAX {
            return self.engine_failed(
                context,
                token,
                logging,
                "submit engine command issue: too many commands wait, try again later",
            );
        }
        let timeout = settings.map(|settings| settings.timeout).unwrap_or_default();
        let deadline = context.now.monotonic + timeout;
        let raw = raw.filter(|_| lines.len() == 1);
        let lines = Arc::new(lines);
        let len_bytes = data.len();
        let request = EngineRequest { token: token.clone(), logging, file, lines, raw, deadline, len_bytes };
        self.len += 1;
        self.len_bytes += request.len_bytes;
        match self.pipes.get_mut(&request.file) {
            Some(waiting) => waiting.push_back(request),
            None => {
                self.pipes.insert(request.file.clone(), VecDeque::new());
                self.write_pipe(context, request);
            }
        }
        Handled::accepted()
    }

    fn engine_failed(&mut self, context: &mut Context, token: &Token, logging: bool, text: &str) -> Handled {
        context.log(LogLine::error("engine", text.to_owned()));
        if logging {
            context.fail(token, text);
        }
        Handled::accepted()
    }

    fn write_pipe(&mut self, context: &mut Context, request: EngineRequest) {
        let patience = request.deadline.since(context.now.monotonic);
        let (lines, raw) = (Arc::clone(&request.lines), request.raw.clone());
        let work = Work::WritePipe { file: request.file.clone(), lines, raw, patience };
        let id = context.start_work(work);
        self.writing.insert(id, request);
    }

    fn engine_request_ended(&mut self, request: &EngineRequest) {
        self.len = self.len.saturating_sub(1);
        self.len_bytes = self.len_bytes.saturating_sub(request.len_bytes);
    }

    /// Handles the result of writing the lines of a request.
    pub(in crate::node) fn pipe_written(&mut self, context: &mut Context, id: WorkId, report: &PipeReport) {
        // The request has been given up.
        let Some(request) = self.writing.remove(&id) else { return };
        self.engine_request_ended(&request);
        let next = self.pipes.get_mut(&request.file).and_then(VecDeque::pop_front);
        match next {
            Some(mut next) => {
                if report.failure.is_none() {
                    let timeout =
                        context.options.modules.engine.as_ref().map(|engine| engine.timeout).unwrap_or_default();
                    next.deadline = next.deadline.max(context.now.monotonic + timeout);
                }
                self.write_pipe(context, next)
            }
            None => drop(self.pipes.remove(&request.file)),
        }
        if request.logging {
            for line in request.lines.iter().take(report.submitted) {
                context.row(&request.token, Code::FINISHED_OK, submitted(line));
            }
        }
        if let Some(reason) = &report.failure {
            self.engine_failed(context, &request.token, request.logging, reason);
        } else if request.logging {
            let data = json::message("commands processing has finished");
            context.finish(&request.token, Code::FINISHED_OK, data);
        }
    }

    /// Drops the requests that wait for a pipe because the daemon stops.
    pub(in crate::node) fn stop(&mut self, context: &mut Context) {
        let waiting = self.pipes.values_mut().flat_map(std::mem::take).collect::<Vec<_>>();
        for request in waiting {
            self.give_up_lines(context, &request);
        }
    }

    /// Ends the requests whose writing has not ended when the daemon does.
    pub(in crate::node) fn give_up_writing(&mut self, context: &mut Context) {
        for request in std::mem::take(&mut self.writing).into_values() {
            self.give_up_lines(context, &request);
        }
    }

    fn give_up_lines(&mut self, context: &mut Context, request: &EngineRequest) {
        self.engine_request_ended(request);
        if request.logging {
            context.fail(&request.token, STOPPING_TEXT);
        }
    }
}

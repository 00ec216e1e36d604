//! CENTREONCOMMAND, which brings orders over the API, and ADDIMPORTTASKWITHPARENT, which a central sends to a Remote
//! Server.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::modules::legacycmd::LegacySettings;
use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::legacy::LegacyWork;
use crate::model::log::LogLine;
use crate::model::token::Token;
use crate::model::work::{Work, WorkId};
use crate::node::context::Context;
use crate::node::journal::Awaited;
use crate::node::json;
use crate::node::peer::Handled;

use super::calls::CALLS_MAX;
use super::lines::{Line, shown};
use super::orders::{self, EXTERNAL, Message, Refusal, shell_quoted, worker_command};
use super::pieces::{self, Order};
use super::{LegacyCmd, with_worker};

/// Maximum number of orders of one request.
const ORDERS_MAX: usize = 1_000;

/// An import task that is being inserted.
#[derive(Debug)]
pub(super) struct Import {
    token: Token,
    parent: u64,
    reload: Option<String>,
}

#[derive(Default, Deserialize)]
struct Request {
    #[serde(default)]
    content: Value,
}

/// Returns the original's word for a value that is not an array.
const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "HASH",
        _ => "",
    }
}

/// Returns the password of the worker command as it appears in the data of a message, with the text around it.
pub(super) fn secret(settings: &LegacySettings) -> Option<String> {
    let account = settings.account.as_ref()?;
    let argument = format!("-p \"{}\"", shell_quoted(account.password.reveal()));
    let text = Value::from(argument).to_string();
    text.get(1..text.len().saturating_sub(1)).map(str::to_owned)
}

/// Returns an entry of a request as a line of a file.
fn line(entry: &Value) -> Line {
    let word = |name: &str| entry.get(name).and_then(json::text).unwrap_or_default();
    Line { order: word("command"), target: word("target"), param: word("param").into_bytes() }
}

impl LegacyCmd {
    /// Handles a request to the module.
    pub(in crate::node) fn request(
        &mut self,
        context: &mut Context,
        action: &Action,
        token: &Token,
        data: &str,
    ) -> Handled {
        let Ok(Request { content }) = serde_json::from_str(data) else { return Handled::not_well_formatted() };
        match action {
            Action::CentreonCommand => self.centreon_command(context, token, &content),
            Action::AddImportTaskWithParent => self.add_import_task(context, token, &content),
            _ => return context.refuse_unknown(action, token),
        }
        Handled::accepted()
    }

    fn centreon_command(&mut self, context: &mut Context, token: &Token, content: &Value) {
        context.row(token, Code::BEGIN, json::message("action centreoncommand proceed"));
        let Value::Array(entries) = content else {
            return context.fail(token, &format!("expected array, found '{}'", kind(content)));
        };
        if self.pollers.is_none() {
            const UNKNOWN: &str = "cannot get centreon database configuration";
            context.log(LogLine::error("legacycmd", UNKNOWN).of_token(token));
            return context.fail(token, UNKNOWN);
        }
        if entries.len() > ORDERS_MAX || self.calls.is_full() {
            let text = format!("too many orders: {ORDERS_MAX} in one request and {CALLS_MAX} requests at once at most");
            return context.fail(token, &text);
        }
        let receipt = context.await_receipt(Awaited::Orders);
        let (Some(settings), Some(receipt)) = (context.options.modules.legacycmd.clone(), receipt) else {
            return context.fail(token, "too much waits to be stored, try again later");
        };
        context.open_token(token, None);
        self.calls.begin(token, "action centreoncommand finished", false);
        let mut all = Vec::new();
        for entry in entries {
            let line = line(entry);
            let name = format!("{} for {}", shown(&line.order), shown(&line.target));
            match self.messages(context, &line) {
                Ok(messages) => {
                    let orders = self.named(context, &name, messages);
                    self.announce(context, token, &line, &orders);
                    all.extend(orders);
                }
                Err(text) => {
                    self.complain(context, &text);
                    let row = json!({ "message": text, "command": line.order, "target": line.target });
                    context.row(token, Code::BEGIN, row.to_string());
                    self.calls.refuse(token, &name, &text);
                }
            }
        }
        self.store(context, receipt, all, &settings);
        self.calls.begun(context, token);
    }

    /// Returns the messages of one order.
    fn messages(&self, context: &Context, line: &Line) -> Result<Vec<Message>, String> {
        let found = self.pollers.as_ref().zip(with_worker(context, |_, worker| {
            let pollers = self.pollers.as_ref()?;
            if line.order == EXTERNAL {
                let batch = pieces::external(0, line, pollers).map_err(Refusal::Wrong);
                return Some(batch.map(|batch| vec![batch.into_message()]));
            }
            Some(orders::messages(line, pollers, worker))
        }));
        match found.and_then(|(_, messages)| messages) {
            Some(Ok(messages)) => Ok(messages),
            Some(Err(Refusal::Unknown)) => Err(pieces::unknown(&line.order)),
            Some(Err(Refusal::Wrong(text))) => Err(pieces::named(line, &text)),
            None => Err("cannot get centreon database configuration".to_owned()),
        }
    }

    fn named(&self, context: &mut Context, name: &str, messages: Vec<Message>) -> Vec<Order> {
        let order = |message| Order { token: context.generate_token(), name: name.to_owned(), message };
        messages.into_iter().map(order).collect()
    }

    /// Writes the row that names the tokens of one order of a request; the last message is the order itself.
    fn announce(&mut self, context: &mut Context, call: &Token, line: &Line, orders: &[Order]) {
        let Some(main) = orders.last() else { return };
        let parts: Vec<(Token, bool)> =
            orders.iter().map(|order| (order.token.clone(), order.message.counts)).collect();
        self.calls.add(call, &main.name, &parts);
        let tokens: Vec<&str> = parts.iter().map(|(token, _)| token.as_str()).collect();
        let row = json!({
            "message": format!("order {}", main.name), "command": line.order, "target": line.target,
            "token": main.token.as_str(), "tokens": tokens,
        });
        context.row(call, Code::BEGIN, row.to_string());
    }

    fn add_import_task(&mut self, context: &mut Context, token: &Token, content: &Value) {
        let parent = content.get("parent_id").unwrap_or(&Value::Null);
        let number = json::text(parent).and_then(|text| text.trim().parse::<u64>().ok());
        let Some(parent) = number else {
            let found = shown(&json::text(parent).unwrap_or_default());
            return context.fail(token, &format!("expected parent_id task ID, found '{found}'"));
        };
        if self.imports.len() >= CALLS_MAX {
            return context.fail(token, "too many import tasks wait, try again later");
        }
        context.open_token(token, None);
        context.row(token, Code::BEGIN, json::message("adding an import task"));
        let reload = content.get("cbd_reload").and_then(json::text).filter(|command| !command.trim().is_empty());
        let id = context.start_work(Work::Legacy(LegacyWork::AddImportTask { parent_id: parent }));
        self.imports.insert(id, Import { token: token.clone(), parent, reload });
    }

    /// Handles the insertion of the task into the database: sends the worker command, and then reloads the broker's
    /// configuration.
    pub(super) fn import_task_added(&mut self, context: &mut Context, id: WorkId, result: Result<(), String>) {
        let Some(Import { token, parent, reload }) = self.imports.remove(&id) else { return };
        if let Err(reason) = result {
            let text = format!("Cannot add import task on Remote Server: {reason}");
            context.log(LogLine::error("legacycmd", text.clone()).of_token(&token));
            return context.fail(&token, &text);
        }
        let command = with_worker(context, |_, worker| worker_command(worker, Some(parent)));
        let receipt = context.await_receipt(Awaited::Orders);
        let (Some(command), Some(receipt), Some(settings)) =
            (command, receipt, context.options.modules.legacycmd.clone())
        else {
            return context.fail(&token, "too much waits to be stored, try again later");
        };
        let command = match command {
            Ok(command) => command,
            Err(text) => return context.fail(&token, &text),
        };
        let meta = json!({ "centcore_cmd": "ADDIMPORTTASKWITHPARENT" });
        let mut commands = vec![json!({ "command": command, "continue_on_error": true, "metadata": meta })];
        commands.extend(reload.map(|reload| json!({ "command": reload, "metadata": meta })));
        let content = json!(commands);
        let message = Message { action: Action::Command, target: String::new(), content, counts: true };
        self.calls.begin(&token, "Task inserted on Remote Server", true);
        let orders = self.named(context, "ADDIMPORTTASKWITHPARENT", vec![message]);
        let line = Line { order: "ADDIMPORTTASKWITHPARENT".to_owned(), target: String::new(), param: Vec::new() };
        self.announce(context, &token, &line, &orders);
        self.store(context, receipt, orders, &settings);
        self.calls.begun(context, &token);
    }
}

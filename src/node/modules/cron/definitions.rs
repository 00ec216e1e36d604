//! GETCRON, ADDCRON, UPDATECRON and DELETECRON: queries and changes of the current jobs. Changes last until the daemon
//! ends, as in the original.

use crate::model::action::Action;
use crate::node::context::Context;
use crate::node::get_log::Questions;
use crate::node::modules::cron::Cron;
use serde_json::{Value, json};

use crate::config::modules::cron::{CRON_JOBS_MAX, CronJob};
use crate::model::code::Code;
use crate::model::cron_expression::CronExpression;
use crate::model::history::LogFilter;
use crate::model::log::LogLine;
use crate::model::node_id::NodeId;
use crate::model::time_zone::Minute;
use crate::model::token::Token;

use super::Job;
use crate::node::get_log::read_filter;
use crate::node::json as read;
use crate::node::peer::Handled;

/// Maximum number of characters of the parameters of a job that a request adds, and of its id.
const PARAMETERS_MAX: usize = 256 << 10;
const ID_MAX: usize = 255;

/// Returns a part of the path of a call, or of `variables`.
fn variable(data: &Value, index: usize) -> Option<String> {
    data.get("variables")?.get(index).and_then(read::text)
}

/// Number of coming runs in a definition.
const NEXT_RUNS: usize = 5;

fn definition_json(job: &CronJob, (local, second): (Minute, i64)) -> Value {
    let parameters: Value = serde_json::from_str(&job.parameters).unwrap_or(Value::Null);
    let mut definition = json!({
        "id": job.id,
        "timespec": job.timespec,
        "action": job.action,
        "parameters": parameters,
        "keep_token": job.keep_token,
        "next_runs": job.expression.next_runs(local, second, NEXT_RUNS),
    });
    if let Some(members) = definition.as_object_mut().filter(|_| !job.target.is_empty()) {
        members.insert("target".to_owned(), job.target.as_str().into());
    }
    definition
}

/// Returns a member that has a value.
fn given<'a>(definition: &'a Value, name: &str) -> Option<&'a Value> {
    definition.get(name).filter(|value| !value.is_null() && value.as_str() != Some(""))
}

fn parse_timespec(text: &str) -> Result<CronExpression, String> {
    CronExpression::parse(text).map_err(|reason| format!("timespec {reason}"))
}

fn parse_target(value: &Value) -> Result<String, String> {
    NodeId::from_json(value).map(|id| id.to_string()).map_err(|error| format!("target: {error}"))
}

fn parse_parameters(value: Option<&Value>) -> Result<String, String> {
    let text = value.map_or_else(|| "null".to_owned(), Value::to_string);
    if text.len() > PARAMETERS_MAX {
        Err(format!("parameters have more than {PARAMETERS_MAX} characters"))
    } else {
        Ok(text)
    }
}

fn check_kept_token(id: &str, keep_token: bool) -> Result<(), String> {
    let fits = !keep_token || Token::parse(id).is_ok();
    if fits {
        Ok(())
    } else {
        Err("the id cannot be kept as a token; allowed: 1 to 255 of A-Z a-z 0-9 : _ . -".to_owned())
    }
}

/// Reads a definition of ADDCRON; `Ok(None)` if a required member is missing.
fn read_definition(definition: &Value) -> Result<Option<CronJob>, String> {
    let text = |name: &str| given(definition, name).and_then(read::text);
    let (Some(id), Some(timespec), Some(action)) = (text("id"), text("timespec"), text("action")) else {
        return Ok(None);
    };
    if id.len() > ID_MAX {
        return Err(format!("the id has more than {ID_MAX} bytes"));
    }
    let keep_token = given(definition, "keep_token").is_some_and(read::is_true);
    check_kept_token(&id, keep_token)?;
    Ok(Some(CronJob {
        expression: parse_timespec(&timespec)?,
        parameters: parse_parameters(definition.get("parameters"))?,
        target: given(definition, "target").map_or(Ok(String::new()), parse_target)?,
        id,
        timespec,
        action,
        keep_token,
    }))
}

impl Cron {
    pub(in crate::node) fn request(
        &mut self,
        context: &mut Context,
        questions: &mut Questions,
        action: &Action,
        token: &Token,
        data: &str,
    ) -> Handled {
        match action {
            Action::AddCron => self.add_cron(context, token, data),
            Action::UpdateCron => self.update_cron(context, token, data),
            Action::DeleteCron => self.delete_cron(context, token, data),
            Action::GetCron => self.get_cron(context, questions, token, data),
            _ => context.refuse_unknown(action, token),
        }
    }

    fn cron_row(&mut self, context: &mut Context, token: &Token, outcome: Result<&str, &str>) -> Handled {
        match outcome {
            Ok(text) => context.finish(token, Code::FINISHED_OK, read::message(text)),
            Err(text) => {
                context.log(LogLine::error("cron", text.to_owned()).of_token(token));
                context.fail(token, text);
            }
        }
        Handled::accepted()
    }

    /// Handles GETCRON: all jobs, one job, or the rows of the last run of one.
    fn get_cron(&mut self, context: &mut Context, questions: &mut Questions, token: &Token, data: &str) -> Handled {
        let Ok(data) = serde_json::from_str::<Value>(data) else { return Handled::not_well_formatted() };
        let now = (self.local_minute(context), super::second(context));
        let found: Vec<Value> = match variable(&data, 0) {
            None => self.jobs.values().map(|job| definition_json(&job.definition, now)).collect(),
            Some(id) => {
                let Some(job) = self.jobs.get(&id) else {
                    return self.cron_row(context, token, Err("no entry found for id"));
                };
                if variable(&data, 1).as_deref() == Some("status") {
                    let last = job.last_token.as_ref().map_or(id.clone(), |last| last.as_str().to_owned());
                    return self.get_cron_status(context, questions, token, last, &data);
                }
                vec![definition_json(&job.definition, now)]
            }
        };
        context.finish(token, Code::FINISHED_OK, Value::from(found).to_string());
        Handled::accepted()
    }

    fn get_cron_status(
        &mut self,
        context: &mut Context,
        questions: &mut Questions,
        token: &Token,
        last: String,
        data: &Value,
    ) -> Handled {
        let parameters = data.get("parameters");
        let filter = read_filter(|name| {
            parameters
                .and_then(|given| given.get(name))
                .filter(|_| matches!(name, "ctime" | "etime" | "limit" | "code"))
        });
        let Some(filter) = filter else {
            return self.cron_row(context, token, Err("code, ctime, etime and limit must be numbers"));
        };
        if !questions.ask_for_job(context, token.clone(), LogFilter { token: Some(last), ..filter }) {
            return self.cron_row(context, token, Err("busy: too many questions are open, try again"));
        }
        Handled::accepted()
    }

    /// Handles ADDCRON: one definition or several. Jobs that exist already are not changed, and the answer names them.
    fn add_cron(&mut self, context: &mut Context, token: &Token, data: &str) -> Handled {
        let Ok(data) = serde_json::from_str::<Value>(data) else { return Handled::not_well_formatted() };
        let mut jobs = Vec::new();
        let content = data.get("content").unwrap_or(&Value::Null);
        for definition in content.as_array().map_or(std::slice::from_ref(content), Vec::as_slice) {
            match read_definition(definition) {
                Ok(Some(job)) => jobs.push(job),
                Ok(None) => return self.cron_row(context, token, Err("missing arguments")),
                Err(reason) => return self.cron_row(context, token, Err(&format!("add failed: {reason}"))),
            }
        }
        if self.jobs.len() + jobs.len() > CRON_JOBS_MAX {
            return self.cron_row(context, token, Err(&format!("add failed: more than {} jobs", CRON_JOBS_MAX)));
        }
        // The new jobs do not run for times that were due before.
        self.look_at_clock(context);
        let mut there = None;
        for job in jobs {
            if self.jobs.contains_key(&job.id) {
                there.get_or_insert(job.id);
            } else {
                context.log(LogLine::info("cron", format!("adding cron definition '{}'", job.id.escape_debug())));
                let id = job.id.clone();
                self.jobs.insert(id.clone(), Job::new(job));
                self.join_minute(context, &id);
            }
        }
        self.set_cron_timer(context);
        match there {
            Some(id) => self.cron_row(context, token, Err(&format!("id '{id}' already exists"))),
            None => self.cron_row(context, token, Ok("add succeed")),
        }
    }

    /// Handles UPDATECRON: changes any member of a definition except the id.
    fn update_cron(&mut self, context: &mut Context, token: &Token, data: &str) -> Handled {
        let Ok(data) = serde_json::from_str::<Value>(data) else { return Handled::not_well_formatted() };
        self.look_at_clock(context);
        let Some(id) = variable(&data, 0) else { return self.cron_row(context, token, Err("missing id")) };
        let Some(job) = self.jobs.get_mut(&id) else {
            return self.cron_row(context, token, Err("no entry found for id"));
        };
        let content = data.get("content").unwrap_or(&Value::Null);
        let names = ["timespec", "action", "parameters", "target", "keep_token", "command_line"];
        if !names.iter().any(|name| given(content, name).is_some()) {
            return self.cron_row(context, token, Err("missing arguments"));
        }
        match updated(&job.definition, content) {
            Ok(definition) => {
                job.definition = definition;
                self.join_minute(context, &id);
                self.set_cron_timer(context);
                self.cron_row(context, token, Ok("update succeed"))
            }
            Err(reason) => self.cron_row(context, token, Err(&format!("update failed: {reason}"))),
        }
    }

    /// Handles DELETECRON. A current run continues.
    fn delete_cron(&mut self, context: &mut Context, token: &Token, data: &str) -> Handled {
        let Ok(data) = serde_json::from_str::<Value>(data) else { return Handled::not_well_formatted() };
        let Some(id) = variable(&data, 0) else { return self.cron_row(context, token, Err("missing id")) };
        let outcome = match self.jobs.remove(&id) {
            Some(_) => Ok("delete succeed"),
            None => Err("no entry found for id"),
        };
        self.this_minute.remove(&id);
        self.cron_row(context, token, outcome)
    }
}

/// Returns the definition with the members of `content` replaced.
fn updated(before: &CronJob, content: &Value) -> Result<CronJob, String> {
    let mut job = before.clone();
    if let Some(timespec) = given(content, "timespec").and_then(read::text) {
        job.expression = parse_timespec(&timespec)?;
        job.timespec = timespec;
    }
    if let Some(action) = given(content, "action").and_then(read::text) {
        job.action = action;
    }
    if let Some(parameters) = content.get("parameters") {
        job.parameters = parse_parameters(Some(parameters))?;
    }
    if let Some(target) = content.get("target") {
        job.target = given(content, "target").map_or(Ok(String::new()), |_| parse_target(target))?;
    }
    if let Some(keep_token) = content.get("keep_token") {
        job.keep_token = read::is_true(keep_token);
    }
    check_kept_token(&job.id, job.keep_token)?;
    Ok(job)
}

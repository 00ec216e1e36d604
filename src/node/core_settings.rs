//! Settings of the daemon that a request changes: its id (SETCOREID) and the severity of its log (BCASTLOGGER).

use serde_json::Value;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::log::{Level, LogLine};
use crate::model::node_id::NodeId;

use super::context::Context;
use super::json;
use super::output::Output;
use super::peer::Handled;

/// Handles SETCOREID.
pub(super) fn set_core_id(context: &mut Context, data: &str) -> Handled {
    let done = |text: &str| Handled::Reply(Action::Ack, Code::FINISHED_OK, json::action_message("setcoreid", text));
    let Ok(data) = serde_json::from_str::<Value>(data) else { return Handled::not_well_formatted() };
    let uid = data.get("uid").and_then(|uid| NodeId::from_json(uid).ok());
    if let Some(fixed) = context.options.id {
        // The id may be either of our two names.
        let said = data.get("id").and_then(|id| NodeId::from_json(id).ok());
        if let Some((id, uid)) = said.zip(uid).filter(|(id, uid)| [*id, *uid].contains(&fixed)) {
            context.names.add(id, uid);
        }
        return done("setcoreid unchanged, use config value");
    }
    let id = data.get("id").filter(|id| !id.is_null());
    let Some(id) = id else {
        return Handled::refused(json::action_message("setcoreid", "please set id for setcoreid"));
    };
    match NodeId::from_json(id) {
        Ok(id) => {
            context.own_id = Some(id);
            if let Some(uid) = uid {
                context.names.add(id, uid);
            }
            context.log(LogLine::info("core", format!("Setcoreid changed {id}")));
            done("setcoreid changed")
        }
        Err(error) => Handled::refused(json::action_message("setcoreid", &error.to_string())),
    }
}

/// Handles BCASTLOGGER.
pub(super) fn set_log_level(context: &mut Context, data: &str) -> Handled {
    let Ok(data) = serde_json::from_str::<Value>(data) else { return Handled::not_well_formatted() };
    let severity = data.pointer("/content/severity").and_then(json::text);
    let level = match severity.as_deref() {
        None => return Handled::accepted(),
        Some("default") => None,
        Some("debug") => Some(Level::Debug),
        Some("info") => Some(Level::Info),
        Some("warning") => Some(Level::Warning),
        Some("error") => Some(Level::Error),
        Some(_) => {
            let text = "unknown severity: use debug, info, warning, error or default";
            return Handled::refused(json::message(text));
        }
    };
    context.debug = level.map_or(context.options.debug, |level| level == Level::Debug);
    context.output(Output::SetLogLevel(level));
    Handled::accepted()
}

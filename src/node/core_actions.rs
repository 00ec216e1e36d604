//! The actions that every daemon answers itself (docs/protocol.md section 4), but GETLOG and ADDLISTENER.

#[cfg(test)]
mod tests;

use crate::model::message::Reply;
use crate::node::journal::Awaited;
use crate::node::output::ReceiptId;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::module::Module;
use crate::model::token::Token;

use super::core::Core;
#[cfg(test)]
use super::core_options::CoreOptions;
use super::core_settings;
use super::journal::NewRow;
use super::json;
use super::peer::{Handled, Peer};
use super::sync::asking;

#[derive(Deserialize)]
struct PutLog<'a> {
    #[serde(default)]
    code: Value,
    #[serde(default)]
    etime: Value,
    #[serde(default)]
    token: Value,
    #[serde(default)]
    instant: Value,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

impl Core {
    pub(super) fn core_request(&mut self, peer: Peer, action: &Action, token: &Token, data: &str) -> Handled {
        match action {
            Action::ConStatus => self.con_status(peer, token),
            Action::Information => self.information(token),
            Action::GetThumbprint => self.get_thumbprint(token),
            Action::SetCoreId => core_settings::set_core_id(&mut self.context, data),
            Action::BroadcastLogger => core_settings::set_log_level(&mut self.context, data),
            Action::LoadModule => self.load_module(data),
            Action::UnloadModule => self.unload_module(data),
            Action::Kill => self.kill_module(data),
            Action::Ping => self.ping(peer),
            _ => self.context.refuse_unknown(action, token),
        }
    }

    fn ping(&mut self, peer: Peer) -> Handled {
        if let Some(client) = peer.client() {
            self.subscribers.pinged(client, self.context.now.monotonic);
        }
        Handled::Reply(Action::Pong, Code::BEGIN, self.nodes.pong_text(&self.context))
    }

    pub(super) fn put_log(&mut self, peer: Peer, token: &Token, data: &str) -> Handled {
        let mut single = String::new();
        let Some(put) = json::read_object::<PutLog<'_>>(data, &mut single) else {
            return Handled::not_well_formatted();
        };
        let row = NewRow {
            etime: json::integer(&put.etime),
            instant: json::is_true(&put.instant),
            ..NewRow::foreign(
                json::text(&put.token),
                Code(json::integer(&put.code).unwrap_or(0)),
                put.data.map_or("null", RawValue::get).to_owned(),
            )
        };
        let Some(client) = peer.client() else {
            self.context.write(row);
            return Handled::Reply(Action::Ack, Code::BEGIN, json::message("message inserted"));
        };
        let Some(receipt) = self.context.await_receipt(Awaited::PutLog) else {
            return Handled::refused(json::message("database issue"));
        };
        self.put_logs.insert(receipt, (client, token.clone()));
        self.context.write_with(row, None, Some(receipt));
        Handled::Later
    }

    /// The database has spoken about the row of a PUTLOG.
    pub(super) fn put_log_stored(&mut self, receipt: ReceiptId, stored: bool) {
        let Some((client, token)) = self.put_logs.remove(&receipt) else { return };
        let (code, data) = if stored {
            (Code::BEGIN, json::message("message inserted"))
        } else {
            (Code::FINISHED_KO, json::message("database issue"))
        };
        self.context.reply(client, Reply { kind: Action::Ack, token: Some(token), code, data });
    }

    /// A client finds its answer in the history by its token. Nobody knows the token of a call of the API: of those
    /// that are answered alike only the first leaves a row, so that a page that asks all the time does not fill the
    /// disk.
    fn con_status(&mut self, peer: Peer, token: &Token) -> Handled {
        let (data, is_new) = self.nodes.constatus_text(&self.context, peer == Peer::Ourselves);
        if peer != Peer::Ourselves || is_new {
            return self.context.reply_with_row(Action::ConStatus, token, Code::FINISHED_OK, data);
        }
        Handled::Reply(Action::ConStatus, Code::FINISHED_OK, data)
    }

    fn information(&mut self, token: &Token) -> Handled {
        let data = serde_json::json!({
            "action": "information",
            "message": "ok",
            "data": {
                "counters": self.counters.to_json(),
                "modules": self.context.options.loaded,
                "api_endpoints": super::api::endpoints::listed(|module| self.context.has(module)),
            },
        });
        self.context.reply_with_row(Action::Information, token, Code::FINISHED_OK, data.to_string())
    }

    fn get_thumbprint(&mut self, token: &Token) -> Handled {
        let data = serde_json::json!({
            "action": "getthumbprint",
            "message": "ok",
            "data": { "thumbprint": self.context.options.thumbprint },
        });
        self.context.reply_with_row(Action::GetThumbprint, token, Code::FINISHED_OK, data.to_string())
    }

    pub(super) fn sync_logs(&mut self, data: &str) -> Handled {
        let Ok(data) = serde_json::from_str::<Value>(data) else { return Handled::not_well_formatted() };
        if data.pointer("/data/id").is_none_or(Value::is_null) {
            return Handled::refused(json::action_message("synclog", "please set id for synclog"));
        }
        if self.context.options.proxy.is_none() {
            return Handled::refused(json::action_message("synclog", "no proxy module"));
        }
        asking::sync_all(&mut self.context, &mut self.nodes);
        Handled::Reply(Action::Ack, Code::BEGIN, json::action_message("synclog", "synclog launched"))
    }

    /// The module that a request names by package, else by name, and what it was called.
    fn named_module(&self, data: &Value) -> Option<(String, Option<Module>)> {
        let content = data.get("content")?;
        let loaded = &self.context.options.loaded;
        let package = content.get("package").and_then(json::text);
        if let Some(package) = package.filter(|package| loaded.values().any(|known| known == package)) {
            let module = Module::of_package(&package);
            return Some((package, module));
        }
        let name = content.get("name").and_then(json::text)?;
        let module = Module::of_package(loaded.get(&name)?);
        Some((name, module))
    }

    /// Loads a module again that the configuration has and that was unloaded.
    fn load_module(&mut self, data: &str) -> Handled {
        let Ok(data) = serde_json::from_str::<Value>(data) else { return Handled::not_well_formatted() };
        let member = |key: &str| data.pointer(key).and_then(json::text).unwrap_or_default();
        let (name, package) = (member("/content/name"), member("/content/package"));
        let shown: String = name.chars().take(64).collect();
        let reply =
            |code, text: String| Handled::Reply(Action::LoadModule, code, json::action_message("loadmodule", &text));
        let module = Module::of_package(&package).filter(|module| module.can_be_unloaded());
        let can_be_loaded =
            module.is_some_and(|module| self.context.is_configured(module) && !self.context.is_loaded(module));
        if !can_be_loaded || name.is_empty() || self.context.options.loaded.contains_key(&name) {
            return reply(Code::FINISHED_KO, format!("cannot load module '{shown}'"));
        }
        self.context.options.loaded.insert(name, package);
        reply(Code::BEGIN, format!("module '{shown}' is loaded"))
    }

    /// Takes no new work for a module; what it does goes on.
    fn unload_module(&mut self, data: &str) -> Handled {
        let Ok(data) = serde_json::from_str::<Value>(data) else { return Handled::not_well_formatted() };
        let reply =
            |code, text: &str| Handled::Reply(Action::UnloadModule, code, json::action_message("unloadmodule", text));
        match self.named_module(&data) {
            Some((called, Some(module))) if module.can_be_unloaded() => {
                self.context.options.loaded.retain(|_, loaded| loaded != module.package());
                reply(Code::BEGIN, &format!("module '{called}' unload in progress"))
            }
            _ => reply(Code::FINISHED_KO, "cannot find unload module"),
        }
    }

    /// Stops what a module does now. Only `action` runs anything that can be stopped.
    fn kill_module(&mut self, data: &str) -> Handled {
        let Ok(data) = serde_json::from_str::<Value>(data) else { return Handled::not_well_formatted() };
        let Some((called, module)) = self.named_module(&data) else {
            return Handled::refused(json::action_message("kill", "cannot find module"));
        };
        if module == Some(Module::Action) {
            const REASON: &str = "the module 'action' was killed";
            self.copies.kill(&mut self.context, REASON);
            self.commands.kill_commands(&mut self.context, REASON);
        }
        let data = json::action_message("kill", &format!("module '{called}' kill in progress"));
        Handled::Reply(Action::Ack, Code::FINISHED_OK, data)
    }
}

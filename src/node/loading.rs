//! LOADMODULE, UNLOADMODULE and KILL: switch modules on and off, and stop their work (docs/protocol.md section 4).

use serde_json::Value;

use crate::model::action::{Action, Module};
use crate::model::code::Code;

use super::context::Context;
use super::copies::Copies;
use super::json;
use super::modules::action::Commands;
use super::peer::Handled;

/// Returns the module that a request names by package or else by name, and the text of that name.
fn named(context: &Context, data: &Value) -> Option<(String, Option<Module>)> {
    let content = data.get("content")?;
    let loaded = &context.options.modules.loaded;
    let package = content.get("package").and_then(json::text);
    if let Some(package) = package.filter(|package| loaded.values().any(|known| known == package)) {
        let module = Module::of_package(&package);
        return Some((package, module));
    }
    let name = content.get("name").and_then(json::text)?;
    let module = Module::of_package(loaded.get(&name)?);
    Some((name, module))
}

/// Loads a configured module that was unloaded.
pub(super) fn load(context: &mut Context, data: &str) -> Handled {
    let Ok(data) = serde_json::from_str::<Value>(data) else { return Handled::not_well_formatted() };
    let member = |key: &str| data.pointer(key).and_then(json::text).unwrap_or_default();
    let (name, package) = (member("/content/name"), member("/content/package"));
    let shown: String = name.chars().take(64).collect();
    let reply =
        |code, text: String| Handled::Reply(Action::LoadModule, code, json::action_message("loadmodule", &text));
    let module = Module::of_package(&package).filter(|module| module.can_be_unloaded());
    let can_be_loaded = module.is_some_and(|module| context.is_configured(module) && !context.is_loaded(module));
    if !can_be_loaded || name.is_empty() || context.options.modules.loaded.contains_key(&name) {
        return reply(Code::FINISHED_KO, format!("cannot load module '{shown}'"));
    }
    context.options.modules.loaded.insert(name, package);
    reply(Code::BEGIN, format!("module '{shown}' is loaded"))
}

/// Unloads a module: it takes no new work, but work in progress continues.
pub(super) fn unload(context: &mut Context, data: &str) -> Handled {
    let Ok(data) = serde_json::from_str::<Value>(data) else { return Handled::not_well_formatted() };
    let reply =
        |code, text: &str| Handled::Reply(Action::UnloadModule, code, json::action_message("unloadmodule", text));
    match named(context, &data) {
        Some((called, Some(module))) if module.can_be_unloaded() => {
            context.options.modules.loaded.retain(|_, loaded| loaded != module.package());
            reply(Code::BEGIN, &format!("module '{called}' unload in progress"))
        }
        _ => reply(Code::FINISHED_KO, "cannot find unload module"),
    }
}

/// Handles KILL: stops the work of a module. Only `action` runs anything that can be stopped.
pub(super) fn kill(context: &mut Context, commands: &mut Commands, copies: &mut Copies, data: &str) -> Handled {
    const REASON: &str = "the module 'action' was killed";
    let Ok(data) = serde_json::from_str::<Value>(data) else { return Handled::not_well_formatted() };
    let Some((called, module)) = named(context, &data) else {
        return Handled::refused(json::action_message("kill", "cannot find module"));
    };
    if module == Some(Module::Action) {
        copies.kill(context, REASON);
        commands.kill_commands(context, REASON);
    }
    let data = json::action_message("kill", &format!("module '{called}' kill in progress"));
    Handled::Reply(Action::Ack, Code::FINISHED_OK, data)
}

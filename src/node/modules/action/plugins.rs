//! Plugins that must be installed before a command runs: `metadata.pkg_install` of a COMMAND, and the file `plugins` of
//! an ACTIONENGINE.
//!
//! The package manager is queried, missing packages are installed by the original's own installer (through `sudo`), and
//! the package manager is queried again. With `paranoid_plugins` a command whose plugins are still missing is not run;
//! otherwise that is only logged.

#[cfg(test)]
mod tests;

use crate::node::context::Context;
use crate::node::modules::action::Commands;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::model::command::{CommandEnd, CommandId, CommandOutcome, CommandSpec, Program};
use crate::model::log::LogLine;
use crate::model::text::quoted;
use crate::model::work::{PackageManager, PluginsRead, Work};

use super::Awaiting;
use super::Running;
use super::action_engine::EngineRun;
use crate::node::json;

/// The original's installer, the only program that is run as root.
const INSTALLER: &str = "/usr/local/bin/gorgone_install_plugins.pl";
const QUERY_TIMEOUT: Duration = Duration::from_secs(60);
const INSTALL_TIMEOUT: Duration = Duration::from_secs(300);
/// Maximum size of the kept output of a package manager, a list of some thousand packages.
const OUTPUT_MAX: usize = 4 << 20;
/// Maximum number of plugins of one request.
const PLUGINS_MAX: usize = 2_000;

/// The request that waits for plugins.
pub(in crate::node) enum Owner {
    /// A COMMAND, for its current command.
    Request(Running),
    /// An ACTIONENGINE.
    Engine(EngineRun),
}

/// The source of the plugin names.
pub(in crate::node) enum Source {
    /// JSON text in the request.
    Inline(Value),
    /// A file with JSON text.
    File(String),
}

/// A check that runs commands.
pub(super) struct Validation {
    pub(super) owner: Owner,
    manager: PackageManager,
    /// Name and minimum version of each plugin.
    wanted: BTreeMap<String, u64>,
    step: Step,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Ask,
    Install,
    AskAgain,
}

/// Returns the plugins that a JSON value names.
fn wanted_plugins(value: &Value, manager: PackageManager) -> Result<BTreeMap<String, u64>, String> {
    let Some(members) = value.as_object() else { return Ok(BTreeMap::new()) };
    if members.len() > PLUGINS_MAX {
        return Err(format!("validate plugins - more than {PLUGINS_MAX} plugins"));
    }
    let mut wanted = BTreeMap::new();
    for (name, version) in members {
        // The names become arguments of programs that run as root.
        let is_name = name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_+.".contains(&byte));
        let version = json::integer(version).and_then(|version| u64::try_from(version).ok());
        let (true, Some(version)) = (is_name, version) else {
            let shown = quoted(name);
            return Err(format!("validate plugins - {shown} is not a package name with a version number"));
        };
        let name = if manager == PackageManager::Deb { name.to_ascii_lowercase() } else { name.clone() };
        wanted.insert(name, version);
    }
    Ok(wanted)
}

/// Returns the plugins of `wanted` that are missing, or too old, in the package manager's output.
fn missing(wanted: &BTreeMap<String, u64>, manager: PackageManager, answer: &str) -> Vec<String> {
    let mut installed: BTreeMap<&str, u64> = BTreeMap::new();
    for line in answer.lines() {
        let found = match manager {
            PackageManager::Deb => deb_package(line),
            PackageManager::Rpm => wanted.keys().find_map(|name| Some((name.as_str(), rpm_version(name, line)?))),
        };
        if let Some((name, version)) = found {
            let newest = installed.entry(name).or_default();
            *newest = version.max(*newest);
        }
    }
    let separator = if manager == PackageManager::Deb { '=' } else { '-' };
    wanted
        .iter()
        .filter(|(name, version)| installed.get(name.as_str()).is_none_or(|installed| installed < version))
        .map(|(name, version)| format!("{name}{separator}{version}"))
        .collect()
}

/// Reads a line of `dpkg -l` of an installed package: `ii  name  20230101-120000  all  …`.
fn deb_package(line: &str) -> Option<(&str, u64)> {
    let mut words = line.split_whitespace();
    words.next().filter(|state| state.as_bytes().get(1) == Some(&b'i'))?;
    let name = words.next()?.split(':').next()?;
    Some((name, leading_number(words.next()?)?))
}

/// Reads a line of `rpm -q`: `name-20230101-120000.el9.noarch`.
fn rpm_version(name: &str, line: &str) -> Option<u64> {
    leading_number(line.strip_prefix(name)?.strip_prefix('-')?)
}

/// Returns the number before a `-`.
fn leading_number(text: &str) -> Option<u64> {
    text.split_once('-').and_then(|(digits, _)| digits.parse().ok())
}

fn query(manager: PackageManager, wanted: &BTreeMap<String, u64>) -> Vec<String> {
    match manager {
        PackageManager::Deb => ["dpkg", "-l", "centreon-plugin-*"].map(str::to_owned).to_vec(),
        PackageManager::Rpm => ["rpm", "-q"].map(str::to_owned).into_iter().chain(wanted.keys().cloned()).collect(),
    }
}

fn installer(manager: PackageManager, missing: Vec<String>) -> Vec<String> {
    let kind = if manager == PackageManager::Deb { "--type=deb" } else { "--type=rpm" };
    ["sudo", INSTALLER, kind].map(str::to_owned).into_iter().chain(missing).collect()
}

impl Commands {
    pub(super) fn is_paranoid(&self, context: &Context) -> bool {
        context.options.modules.action.as_ref().is_some_and(|action| action.paranoid_plugins)
    }

    /// Checks whether plugins are installed, and installs missing ones.
    pub(super) fn validate_plugins(&mut self, context: &mut Context, owner: Owner, source: Source) {
        let file = match &source {
            Source::Inline(_) => None,
            Source::File(file) => Some(file.clone()),
        };
        let id = context.start_work(Work::ReadPlugins { file });
        self.work.insert(id, Awaiting::Plugins(owner, source));
    }

    /// Handles the name of the package manager and the content of the file.
    pub(in crate::node) fn plugins_read(
        &mut self,
        context: &mut Context,
        owner: Owner,
        source: Source,
        read: PluginsRead,
    ) {
        let value = match (source, read.content) {
            (Source::Inline(value), _) => Ok(value),
            (Source::File(_), Ok(text)) => serde_json::from_str(&text).map_err(|_| "cannot decode json".to_owned()),
            (Source::File(_), Err(reason)) => Err(reason),
        };
        let is_empty = |value: &Value| value.as_object().is_none_or(serde_json::Map::is_empty);
        let wanted = match (value, read.manager) {
            (Err(reason), _) => Err(reason),
            (Ok(value), _) if is_empty(&value) => return self.plugins_validated(context, owner, Ok(())),
            (Ok(_), None) => Err("validate plugins - unsupported operating system".to_owned()),
            (Ok(value), Some(manager)) => wanted_plugins(&value, manager).map(|wanted| (manager, wanted)),
        };
        match wanted {
            Ok((manager, wanted)) => self.ask_packages(context, Validation { owner, manager, wanted, step: Step::Ask }),
            Err(reason) => self.plugins_validated(context, owner, Err(reason)),
        }
    }

    fn ask_packages(&mut self, context: &mut Context, validation: Validation) {
        let words = query(validation.manager, &validation.wanted);
        self.run_for_plugins(context, validation, words, QUERY_TIMEOUT);
    }

    fn run_for_plugins(
        &mut self,
        context: &mut Context,
        validation: Validation,
        words: Vec<String>,
        timeout: Duration,
    ) {
        let spec = CommandSpec { program: Program::Words(words), timeout, output_limit: OUTPUT_MAX, streams: false };
        let id = context.run_command(spec);
        self.validations.insert(id, validation);
    }

    /// Handles the end of a command. Returns `false` if it does not belong to a plugin check.
    pub(super) fn plugin_command_ended(
        &mut self,
        context: &mut Context,
        id: CommandId,
        outcome: &CommandOutcome,
    ) -> bool {
        let Some(mut validation) = self.validations.remove(&id) else { return false };
        let answer = String::from_utf8_lossy(&outcome.output);
        let failure = match &outcome.end {
            CommandEnd::Exited(_) => None,
            CommandEnd::TimedOut => Some("Command too long to execute (timeout)..."),
            CommandEnd::NotStarted(reason) | CommandEnd::NoProgram(_, reason) => Some(reason.as_str()),
        };
        let is_killed = match &validation.owner {
            Owner::Request(running) => running.killed.is_some(),
            Owner::Engine(run) => run.killed.is_some(),
        };
        let result = match (validation.step, failure) {
            _ if is_killed => Ok(()),
            (Step::Install, Some(reason)) => Err(format!("install plugins command issue: {reason}")),
            (Step::Install, None) => {
                validation.step = Step::AskAgain;
                self.ask_packages(context, validation);
                return true;
            }
            (_, Some(reason)) if validation.manager == PackageManager::Rpm => {
                Err(format!("check rpm plugins command issue: {reason}"))
            }
            (step, _) => {
                let missing = missing(&validation.wanted, validation.manager, &answer);
                if step == Step::Ask && !missing.is_empty() {
                    context.log(LogLine::info("action", format!("validate plugins - install {}", missing.join(" "))));
                    validation.step = Step::Install;
                    let words = installer(validation.manager, missing);
                    self.run_for_plugins(context, validation, words, INSTALL_TIMEOUT);
                    return true;
                }
                let still = format!("validate plugins - still some to install: {}", missing.join(" "));
                if missing.is_empty() { Ok(()) } else { Err(still) }
            }
        };
        self.plugins_validated(context, validation.owner, result);
        true
    }

    fn plugins_validated(&mut self, context: &mut Context, owner: Owner, result: Result<(), String>) {
        if let Err(reason) = &result {
            context.log(LogLine::error("action", reason.clone()));
        }
        match owner {
            Owner::Request(running) => self.request_validated(context, running, result),
            Owner::Engine(run) => self.engine_validated(context, run, result),
        }
    }

    /// Drops the requests that wait for a plugin check.
    pub(in crate::node) fn give_up_plugins(&mut self, context: &mut Context, owner: Owner, reason: &str) {
        match owner {
            Owner::Request(running) => {
                self.validating = self.validating.saturating_sub(1);
                running.series.end(context, reason);
            }
            Owner::Engine(run) => self.give_up_engine(context, &run, reason),
        }
    }
}

//! Configuration files to validated settings. Reads files; opens no socket, starts nothing, changes nothing.
//!
//! The way of a value: [`include`] reads files and resolves `!include` into one tree whose every value knows its file,
//! [`environment`] sets what variables say, [`raw`] finds the sections in it, [`core_section`], [`modules`] and
//! [`register_file`] turn them into [`settings`], and [`ports`] looks whether the listeners fit together. Nothing stops
//! at the first problem: all of them are collected in [`findings`].
//!
//! Out of scope: the vault. References to it are resolved by what it has said before ([`vault`]); what waits for it is
//! left out ([`waiting`]).

mod action_section;
pub mod address;
pub mod allow_list;
pub mod changes;
mod copy_section;
mod core_section;
mod cron_section;
pub mod database;
mod database_section;
pub mod delegate;
mod delegate_section;
mod dial_in_section;
pub mod environment;
mod findings;
mod http_section;
mod include;
pub mod legacy;
mod legacy_section;
mod modules;
pub mod node_entry;
mod options;
mod ports;
mod raw;
pub mod register_file;
mod rights_section;
mod role;
mod section;
pub mod settings;
mod sources;
pub mod statistics;
mod statistics_section;
mod tls_section;
mod tpapi_section;
mod tree;
pub mod vault;
mod waiting;
pub mod web_api;
mod wildcard;
mod yaml;

#[cfg(test)]
mod tests;

use std::path::Path;

use findings::Findings;
use include::Loader;
use raw::RawConfig;
pub use role::Role;
use settings::{Config, Problem};
pub use sources::Sources;

/// Reads the top file, everything that it includes and the register file, and checks all of it.
///
/// # Errors
/// Every problem that was found, in the order of the files; none of them is a mere warning. Warnings are in
/// [`Config::warnings`].
pub fn load(path: &Path) -> Result<Config, Vec<Problem>> {
    load_with_warnings(path, &environment()).map_err(|refused| refused.problems)
}

/// The variables of this process that may say something about a configuration.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    let all = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let ours = all.filter(|(name, _)| name.starts_with("GORGONE_") || name.starts_with("CENTRAL_"));
    ours.map(|(name, value)| (name, value.to_string_lossy().into_owned())).collect()
}

/// Why a configuration cannot be used, and what else was noticed in it.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    /// What forbids a start.
    pub problems: Vec<Problem>,
    /// What an administrator should know.
    pub warnings: Vec<Problem>,
    /// What else it says, with defaults where a value is wrong: for whoever looks for more problems. `None` after a
    /// problem with a whole file, when a default may stand where that file says something.
    pub readable: Option<Box<Config>>,
}

/// The same as [`load`] with other variables, and with the warnings of a configuration that cannot be used.
///
/// # Errors
/// As [`load`].
pub fn load_with_warnings(path: &Path, variables: &[(String, String)]) -> Result<Config, Refused> {
    let mut findings = Findings::default();
    let mut loader = Loader::default();
    let tree = loader.read(path, "", &mut findings);
    let config = tree.and_then(|tree| read_tree(tree, variables, &mut loader, &mut findings));
    let sources = loader.take_sources();
    let config = config.map(|config| Config { sources, ..config });
    let (problems, warnings) = findings.into_parts();
    match config {
        Some(config) if problems.is_empty() => Ok(Config { warnings, ..config }),
        Some(config) if problems.iter().all(|problem| !problem.key.is_empty()) => {
            Err(Refused { problems, warnings, readable: Some(Box::new(config)) })
        }
        _ => Err(Refused { problems, warnings, readable: None }),
    }
}

/// The settings, without the warnings.
fn read_tree(
    mut tree: tree::Node,
    variables: &[(String, String)],
    loader: &mut Loader,
    findings: &mut Findings,
) -> Option<Config> {
    let from_environment = environment::apply(&mut tree, variables, findings);
    vault::resolve(&mut tree);
    let waiting = waiting::take_out(&mut tree, findings);
    let raw = RawConfig::find(&tree, findings)?;
    let core = core_section::read(&raw, findings);
    let tpapi = if cfg!(feature = "centreon") { tpapi_section::read(&raw, findings) } else { Vec::new() };
    let mut modules = modules::read(&raw, &core, &tpapi, loader, findings);
    ports::check(&raw, &core, &modules, findings);
    if let Some(legacycmd) = &mut modules.legacycmd {
        legacycmd.account = tpapi.iter().find(|account| account.name == legacycmd.account_name).cloned();
    }
    let waiting = waiting.into_iter().chain(loader.take_waiting()).collect();
    Some(Config { core, modules, tpapi, from_environment, waiting, sources: Sources::default(), warnings: Vec::new() })
}

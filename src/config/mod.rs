//! Reads configuration files into validated settings. It only reads files: it opens no socket, starts nothing and
//! changes nothing.
//!
//! The path of a value: [`include`] reads files and resolves `!include` into one tree whose every value knows its file,
//! [`environment`] applies environment variables, [`raw`] finds the sections, [`core_section`] and
//! [`modules`] turn them into [`settings`], and [`ports`] checks the listeners for conflicts. Reading does not
//! stop at the first problem: all of them are collected in [`findings`].
//!
//! Out of scope: queries to the vault. References are resolved with the secrets known so far ([`vault`]); parts that
//! wait for unknown secrets are left out ([`waiting`]).

pub mod address;
pub mod allow_list;
pub mod changes;
pub mod cluster;
mod cluster_section;
mod core_section;
pub mod database;
mod database_section;
pub mod delegate;
mod delegate_section;
pub mod environment;
mod findings;
mod history_server;
mod include;
pub mod joined;
pub mod members;
pub mod modules;
pub mod node_entry;
mod options;
mod ports;
mod raw;
mod rights_section;
mod role;
pub mod rotation;
mod section;
pub mod settings;
mod sources;
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

use std::collections::BTreeSet;
use std::path::Path;

use environment::FromEnvironment;
use findings::Findings;
pub use findings::Problem;
use include::Loader;
use modules::Modules;
use raw::RawConfig;
pub use role::Role;
use settings::CoreSettings;
pub use sources::Sources;
use vault::VaultReference;
use web_api::WebAccount;

/// The complete settings of a daemon.
#[derive(Clone, Debug)]
pub struct Config {
    /// `gorgonecore` and the `name` of the top file.
    pub core: CoreSettings,
    /// The modules that are enabled and known.
    pub modules: Modules,
    /// `tpapi`: accounts of the web interface.
    pub tpapi: Vec<WebAccount>,
    /// The secrets that the left-out parts wait for.
    pub waiting: BTreeSet<VaultReference>,
    /// The values that were set by environment variables.
    pub from_environment: Vec<FromEnvironment>,
    /// The nodes that were added by `stheno node add`, and their invitations.
    pub added: joined::Added,
    /// The files that it was read from.
    pub sources: Sources,
    /// Warnings for the administrator; each is also logged at the start.
    pub warnings: Vec<Problem>,
}

/// Reads and checks the top file, everything that it includes, and the register file.
///
/// # Errors
/// All problems that were found, in the order of the files. Warnings are in [`Config::warnings`].
pub fn load(path: &Path) -> Result<Config, Vec<Problem>> {
    load_with_warnings(path, &environment()).map_err(|refused| refused.problems)
}

/// Returns the environment variables of this process that may set values of a configuration.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    let all = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let ours = all.filter(|(name, _)| name.starts_with("GORGONE_") || name.starts_with("CENTRAL_"));
    ours.map(|(name, value)| (name, value.to_string_lossy().into_owned())).collect()
}

/// The findings in a configuration that cannot be used.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    /// The problems that prevent a start.
    pub problems: Vec<Problem>,
    /// The warnings for the administrator.
    pub warnings: Vec<Problem>,
    /// The settings with defaults in place of wrong values, for further checks. `None` after a problem with a whole
    /// file, because defaults could then replace values of that file.
    pub readable: Option<Box<Config>>,
}

/// Like [`load`], with the given variables, and with the warnings of a configuration that cannot be used.
///
/// # Errors
/// Those of [`load`].
pub fn load_with_warnings(path: &Path, variables: &[(String, String)]) -> Result<Config, Refused> {
    let mut findings = Findings::new(maps());
    let mut loader = Loader::default();
    let tree = loader.read(path, "", &mut findings);
    let config = tree.and_then(|tree| read_tree(tree, variables, &mut loader, &mut findings));
    let sources = loader.take_sources();
    let config = config.map(|config| Config { sources, ..config });
    let (problems, warnings) = findings.into_parts();
    match config {
        Some(config) if problems.is_empty() => {
            let mut config = Config { warnings, ..config };
            joined::add_to(&mut config);
            Ok(config)
        }
        Some(config) if problems.iter().all(|problem| !problem.key.is_empty()) => {
            Err(Refused { problems, warnings, readable: Some(Box::new(config)) })
        }
        _ => Err(Refused { problems, warnings, readable: None }),
    }
}

/// Returns the option names of all maps.
fn maps() -> Vec<&'static options::Options> {
    options::ALL.iter().chain(modules::OPTIONS.iter().copied().flatten()).copied().collect()
}

/// Reads the settings, without the warnings.
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
    let mut core = core_section::read(&raw, findings);
    let tpapi = if cfg!(feature = "centreon") { tpapi_section::read(&raw, findings) } else { Vec::new() };
    let mut modules = modules::read(&raw, &core, &tpapi, loader, findings);
    members::complete(&mut core, &modules);
    ports::check(&raw, &core, &modules, findings);
    core_section::check_storage(&raw, &core, &modules, findings);
    if let Some(legacycmd) = &mut modules.legacycmd {
        legacycmd.account = tpapi.iter().find(|account| account.name == legacycmd.account_name).cloned();
    }
    let waiting = waiting.into_iter().chain(loader.take_waiting()).collect();
    Some(Config {
        core,
        modules,
        tpapi,
        from_environment,
        waiting,
        added: joined::Added::default(),
        sources: Sources::default(),
        warnings: Vec::new(),
    })
}

//! Configuration files to validated settings. Reads files; opens no socket, starts nothing, changes nothing.
//!
//! The way of a value: [`include`] reads files and resolves `!include` into one tree whose every value knows its file,
//! [`raw`] finds the sections in it, [`core_section`], [`modules`] and [`register_file`] turn them into [`settings`],
//! and [`ports`] looks whether the listeners fit together. Nothing stops at the first problem: all of them are
//! collected in [`findings`].
//!
//! Absent on purpose: environment variables and vault references of the original. A vault reference is a problem that
//! says so.

mod action_section;
pub mod address;
pub mod allow_list;
pub mod changes;
mod copy_section;
mod core_section;
mod cron_section;
pub mod database;
mod database_section;
mod dial_in_section;
mod findings;
mod http_section;
mod include;
pub mod legacy;
mod legacy_section;
mod modules;
mod options;
mod ports;
mod raw;
pub mod register_file;
mod rights_section;
mod role;
mod section;
pub mod settings;
mod ssh_node;
mod tls_section;
mod tree;
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

/// Reads the top file, everything that it includes and the register file, and checks all of it.
///
/// # Errors
/// Every problem that was found, in the order of the files; none of them is a mere warning. Warnings are in
/// [`Config::warnings`].
pub fn load(path: &Path) -> Result<Config, Vec<Problem>> {
    load_with_warnings(path).map_err(|refused| refused.problems)
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

/// The same as [`load`], with the warnings of a configuration that cannot be used.
///
/// # Errors
/// As [`load`].
pub fn load_with_warnings(path: &Path) -> Result<Config, Refused> {
    let mut findings = Findings::default();
    let mut loader = Loader::default();
    let config = loader.read(path, "", &mut findings).and_then(|tree| {
        let raw = RawConfig::find(&tree, &mut findings)?;
        let core = core_section::read(&raw, &mut findings);
        let modules = modules::read(&raw, &core, &mut loader, &mut findings);
        ports::check(&raw, &core, &modules, &mut findings);
        Some((core, modules))
    });
    let (problems, warnings) = findings.into_parts();
    match config {
        Some((core, modules)) if problems.is_empty() => Ok(Config { core, modules, warnings }),
        Some((core, modules)) if problems.iter().all(|problem| !problem.key.is_empty()) => {
            let readable = Some(Box::new(Config { core, modules, warnings: Vec::new() }));
            Err(Refused { problems, warnings, readable })
        }
        _ => Err(Refused { problems, warnings, readable: None }),
    }
}

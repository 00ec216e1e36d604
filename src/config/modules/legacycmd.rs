//! The options of the module `legacycmd` (docs/protocol.md section 16).

use std::path::PathBuf;

use crate::config::database::DatabaseSettings;
use crate::config::database_section;
use crate::config::findings::Findings;
use crate::config::options::{Options, options};
use crate::config::raw::RawConfig;
use crate::config::section::Section;
use crate::config::web_api::WebAccount;

options! {
    LEGACYCMD = "legacycmd" in "the module 'legacycmd'" {
        "cmd_file", "cmd_dir", "cache_dir", "cache_dir_trap", "remote_dir", "centreon_dir", "bulk_external_cmd",
        "bulk_external_cmd_sequential", "tpapi_clapi",
    } unused {
        "dirty_mode", "buffer_size",
    }
}

/// Options of the module `legacycmd` (docs/protocol.md section 16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacySettings {
    /// `cmd_file` (`/var/lib/centreon/centcore.cmd`): the command file.
    pub cmd_file: PathBuf,
    /// `cmd_dir` (`/var/lib/centreon/centcore/`): the directory of command files.
    pub cmd_dir: PathBuf,
    /// `cache_dir` (`/var/cache/centreon/`)
    pub cache_dir: String,
    /// `cache_dir_trap` (`/etc/snmp/centreon_traps/`)
    pub cache_dir_trap: String,
    /// `remote_dir` (`/var/cache/centreon/config/remote-data/`)
    pub remote_dir: String,
    /// `centreon_dir` (`/usr/share/centreon`)
    pub centreon_dir: String,
    /// `bulk_external_cmd` (50): maximum number of EXTERNALCMD lines in one message.
    pub bulk: usize,
    /// `bulk_external_cmd_sequential` (true): whether collected lines are sent before any other order for their target.
    pub is_sequential: bool,
    /// `tpapi_clapi` (`clapi`): the entry of `tpapi` with the account.
    pub account_name: String,
    /// That account, if the section `tpapi` has it.
    pub account: Option<WebAccount>,
    /// The database from which the pollers are read.
    pub database: DatabaseSettings,
}

/// Maximum number of lines of one message.
const BULK_MAX: usize = 1_000;

/// Reads the module `legacycmd`, without its account; `None` after a problem and without a database.
pub(super) fn read(section: Section<'_>, raw: &RawConfig<'_>, findings: &mut Findings) -> Option<LegacySettings> {
    let mut path = |key: &'static str, default: &str| -> String {
        let given = section.text(key, findings);
        if let Some((text, place)) = given
            && !text.starts_with('/')
        {
            findings.problem(place, &section.path(key), format!("is '{text}'; allowed: a path that begins with '/'"));
        }
        given.map_or(default, |(text, _)| text).to_owned()
    };
    let (cmd_file, cmd_dir) =
        (path("cmd_file", "/var/lib/centreon/centcore.cmd"), path("cmd_dir", "/var/lib/centreon/centcore/"));
    let cache_dir = path("cache_dir", "/var/cache/centreon/");
    let cache_dir_trap = path("cache_dir_trap", "/etc/snmp/centreon_traps/");
    let remote_dir = path("remote_dir", "/var/cache/centreon/config/remote-data/");
    let centreon_dir = path("centreon_dir", "/usr/share/centreon");
    let bulk = section.number("bulk_external_cmd", 50, 1..=BULK_MAX, "lines", findings);
    let is_sequential = section.boolean("bulk_external_cmd_sequential", true, findings);
    let account_name = section.text("tpapi_clapi", findings).map_or("clapi", |(text, _)| text).to_owned();
    let database = database_section::of_module(&section, raw, findings)?;
    Some(LegacySettings {
        cmd_file: PathBuf::from(cmd_file),
        cmd_dir: PathBuf::from(cmd_dir),
        cache_dir,
        cache_dir_trap,
        remote_dir,
        centreon_dir,
        bulk,
        is_sequential,
        account_name,
        account: None,
        database,
    })
}

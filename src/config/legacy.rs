//! Options of the module `legacycmd` and the account of its worker command, read by [`super::legacy_section`].

use std::path::PathBuf;

use super::database::DatabaseSettings;
use super::web_api::WebAccount;

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

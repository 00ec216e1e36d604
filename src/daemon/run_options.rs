//! Options of the command line for one start; all other settings are in the configuration files.

use std::path::PathBuf;

use crate::model::log::Level;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// `--config`: the top file, already read when the daemon starts.
    pub config_path: PathBuf,
    /// `--logfile`: the log file; without it the log goes to standard error.
    pub logfile: Option<PathBuf>,
    /// `--vault` (`/var/lib/centreon/vault/vault.json`): the file that describes the vault.
    pub vault: PathBuf,
    /// `--severity` (`info`): the lowest level that is logged.
    pub severity: Level,
}

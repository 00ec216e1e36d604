//! Options of the command line for one start; all other settings are in the configuration files.

use std::path::PathBuf;

use crate::config::settings::CoreSettings;
use crate::model::log::{Level, LogFormat};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// `--config`: the top file, already read when the daemon starts.
    pub config_path: PathBuf,
    /// `--logfile`: the log file; without it the log goes to standard error.
    pub logfile: Option<PathBuf>,
    /// `--vault` (`/var/lib/centreon/vault/vault.json`): the file that describes the vault.
    pub vault: PathBuf,
    /// `--severity`: the lowest level that is logged, instead of `log_severity`.
    pub severity: Option<Level>,
    /// `--log-format`: the form of log lines, instead of `log_format`.
    pub log_format: Option<LogFormat>,
}

impl RunOptions {
    /// The severity and the form of the log with this configuration; the command line comes first.
    #[must_use]
    pub fn log(&self, core: &CoreSettings) -> (Level, LogFormat) {
        (self.severity.unwrap_or(core.log_severity), self.log_format.unwrap_or(core.log_format))
    }
}

//! Reload of the configuration on SIGHUP, on a worker. Changes that are possible while the daemon runs take effect and
//! are logged one by one; the others are named in the log. A configuration with problems changes nothing.

use std::path::PathBuf;

use crate::config;
use crate::config::{Config, Problem, joined};
use crate::daemon::run_options::RunOptions;
use crate::model::log::{Level, LogLine};
use crate::model::time::Now;

use super::storage::JobResult;
use super::workers::Rank;
use super::{EventLoop, small_memory};

/// The new configuration, or every problem in its files.
pub(super) type Reading = Result<Box<Config>, Vec<Problem>>;

/// Forbids copies to write the files of this daemon.
pub(super) fn protect_own_files(config: &Config, logfile: Option<&PathBuf>) {
    let mut files = config.own_files();
    files.push(joined::path_of(&config.core.database));
    crate::edge::copy::set_own_files(files, logfile.cloned(), &config.core.database, &config.sources);
}

impl EventLoop {
    /// Reads the configuration again, unless a worker is reading it already.
    pub(super) fn reload_configuration(&mut self) {
        let path = self.options.config_path.clone();
        let read = move || JobResult::ConfigurationRead(config::load(&path).map(Box::new));
        self.workers.submit(Rank::Own, Box::new(read));
    }

    /// Takes the result of the worker that read the configuration.
    pub(super) fn configuration_read(&mut self, reading: Reading, now: Now) {
        let mut log = |line: LogLine| self.log.write(&line, now.wall);
        let read = match reading {
            Ok(mut read) => {
                read.retire_keys(now.wall.as_seconds());
                let _said_at_the_start = small_memory::fit(&mut read);
                read
            }
            Err(problems) => {
                problems.iter().for_each(|problem| log(LogLine::error("core", problem.to_string())));
                let text = format!(
                    "the configuration cannot be used as it is now: the daemon goes on with the one from before; \
                     correct what the lines above name until 'stheno check {}' finds nothing, and reload again",
                    self.options.config_path.display()
                );
                return log(LogLine::error("core", text));
            }
        };
        let changes = self.dispatch.reconfigure(&read, now);
        let adds = self.take_added_nodes(&read.added.nodes, now);
        let mut log = |line: LogLine| self.log.write(&line, now.wall);
        for text in &changes.taken {
            let note = overriding(&self.options, text);
            log(LogLine::info("core", format!("configuration: {text}{note}")));
        }
        for key in &changes.after_restart {
            log(LogLine::warning(
                "core",
                format!("configuration: {key} has changed, which takes effect after a restart"),
            ));
        }
        if changes.is_empty() && !adds {
            log(LogLine::info("core", "configuration read again: nothing has changed"));
        }
        let (severity, format) = self.options.log(&read.core);
        if self.log.configure(severity, format) {
            self.dispatch.set_debug(self.log.shows(Level::Debug), now);
        }
        self.host.take_list(&read);
        protect_own_files(&read, self.log.path());
    }
}

/// Says that an option of the command line counts instead of a changed one.
fn overriding(options: &RunOptions, change: &str) -> &'static str {
    if options.severity.is_some() && change.starts_with("gorgonecore.log_severity") {
        ", but '--severity' of the command line counts"
    } else if options.log_format.is_some() && change.starts_with("gorgonecore.log_format") {
        ", but '--log-format' of the command line counts"
    } else {
        ""
    }
}

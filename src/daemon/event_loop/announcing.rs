//! The first lines of the log.

use crate::config::Config;
use crate::daemon::key_files::{self, KeyOrigin};
use crate::edge::log::LogWriter;
use crate::model::log::LogLine;
use crate::model::time::Now;

/// Logs the facts about the start that an administrator should know.
pub(super) fn announce(config: &Config, origin: KeyOrigin, log: &mut LogWriter, now: Now) {
    let version = env!("CARGO_PKG_VERSION");
    let mut info = |text: String| log.write(&LogLine::info("core", text), now.wall);
    info(format!("stheno {version} starts as '{}'", config.core.name));
    match origin {
        KeyOrigin::Loaded => {}
        KeyOrigin::PublicWritten => info(format!("public key written to {}", config.core.public_key.display())),
        KeyOrigin::Generated => info(format!("new key pair written to {}", config.core.private_key.display())),
    }
    if let Some(warning) = key_files::warning(&config.core.private_key) {
        let text = format!("{}: {warning}", config.core.private_key.display());
        log.write(&LogLine::warning("core", text), now.wall);
    }
    for warning in &config.warnings {
        let line = if warning.is_error { LogLine::error } else { LogLine::warning };
        log.write(&line("core", warning.to_string()), now.wall);
    }
}

//! A thread that queries the vault repeatedly while parts of the configuration wait for its secrets. When the vault
//! answers, the daemon stops gracefully and restarts with the complete configuration.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::config::vault::VaultReference;
use crate::daemon::vault;
use crate::model::log::LogLine;
use crate::model::time::Now;

use super::{EventLoop, Phase};

/// Time between two queries.
const RETRY: Duration = Duration::from_secs(10);

/// The messages of the thread, which ends with the process.
#[derive(Default)]
pub(super) struct VaultWatch {
    news: Option<Receiver<Result<(), String>>>,
    told: String,
    /// Whether the vault has answered, so that the program must restart after its end.
    pub(super) begins_anew: bool,
}

impl VaultWatch {
    /// Starts the thread if secrets are missing.
    pub(super) fn start(file: PathBuf, waiting: BTreeSet<VaultReference>, wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        if waiting.is_empty() {
            return Self::default();
        }
        let (sender, news) = channel();
        let ask = move || {
            let mut pause = Duration::ZERO;
            loop {
                thread::sleep(pause);
                pause = RETRY;
                let answer = vault::look_up(&file, &waiting);
                let is_over = answer.is_ok();
                if sender.send(answer).is_err() || is_over {
                    return wake();
                }
                wake();
            }
        };
        let started = thread::Builder::new().name("vault".to_owned()).spawn(ask).is_ok();
        Self { news: started.then_some(news), ..Self::default() }
    }
}

impl EventLoop {
    /// Handles the messages of the thread.
    pub(super) fn hear_of_vault(&mut self, now: Now) {
        while let Some(Ok(answer)) = self.vault.news.as_ref().map(Receiver::try_recv) {
            match answer {
                Err(reason) if self.vault.told == reason => {}
                Err(reason) => {
                    let text = format!("parts of the configuration wait for the vault: {reason}");
                    self.log.write(&LogLine::error("core", text), now.wall);
                    self.vault.told = reason;
                }
                Ok(()) => {
                    let text = "the vault has answered: the daemon begins anew with all of its configuration";
                    self.log.write(&LogLine::info("core", text), now.wall);
                    self.vault.begins_anew = true;
                    if self.phase == Phase::Running {
                        self.phase = Phase::Stopping;
                        self.dispatch.stop(now);
                    }
                }
            }
        }
    }
}

//! Files of keys: new keys of peers are noted, and a new key of ours takes the place of the old one.

use std::path::PathBuf;

use crate::config::rotation::RotationState;
use crate::config::{Config, joined, rotation};
use crate::daemon::dispatch::{KeyDone, KeyWork, OwnKey};
use crate::daemon::key_files;
use crate::edge::joined_file;
use crate::model::key_rotation::Successor;
use crate::model::log::LogLine;
use crate::model::time::Now;

use super::EventLoop;
use super::storage::JobResult;
use super::workers::Rank;

/// Where the files are, and the state that waits to be written.
pub(super) struct KeyFiles {
    private: PathBuf,
    public: PathBuf,
    joined: PathBuf,
    rotation: PathBuf,
    is_writing: bool,
    next: Option<RotationState>,
}

impl KeyFiles {
    pub(super) fn new(config: &Config) -> Self {
        let core = &config.core;
        Self {
            private: core.private_key.clone(),
            public: core.public_key.clone(),
            joined: joined::path_of(&core.database),
            rotation: rotation::path_of(&core.database),
            is_writing: false,
            next: None,
        }
    }
}

/// Stores that a key was replaced.
fn learn(path: &std::path::Path, successor: Successor) -> Result<(), String> {
    joined_file::change(path, |joined| {
        joined.successors.retain(|one| (&one.old, &one.new) != (&successor.old, &successor.new));
        joined.successors.push(successor);
        Ok(())
    })
}

impl EventLoop {
    pub(super) fn key_work(&mut self, work: KeyWork) {
        match work {
            KeyWork::Learn(successor) => {
                let path = self.key_files.joined.clone();
                self.submit_key_job(move || KeyDone::Learned(learn(&path, successor)));
            }
            KeyWork::Note(state) => {
                self.key_files.next = Some(state);
                self.note_rotation();
            }
            KeyWork::Switch(key) => {
                let (private, public) = (self.key_files.private.clone(), self.key_files.public.clone());
                self.submit_key_job(move || {
                    let pair = key_files::switch(&private, &public, &key).map_err(|error| error.to_string());
                    KeyDone::Switched(pair.map(Box::new))
                });
            }
            KeyWork::Reload => self.reload_configuration(),
        }
    }

    fn submit_key_job(&mut self, job: impl FnOnce() -> KeyDone + Send + 'static) {
        self.workers.submit(Rank::Own, Box::new(move || JobResult::Key(job())));
    }

    /// Writes the newest state, one at a time.
    fn note_rotation(&mut self) {
        if self.key_files.is_writing {
            return;
        }
        if let Some(state) = self.key_files.next.take() {
            self.key_files.is_writing = true;
            let path = self.key_files.rotation.clone();
            self.submit_key_job(move || {
                let written = joined_file::write(&path, &state);
                KeyDone::Noted(written.map_err(|error| format!("{}: {error}", path.display())))
            });
        }
    }

    pub(super) fn key_done(&mut self, done: KeyDone, now: Now) {
        match done {
            KeyDone::Learned(Ok(())) => self.reload_configuration(),
            KeyDone::Learned(Err(text)) => {
                let text = format!("the new key of a peer cannot be stored: {text}");
                self.log.write(&LogLine::error("core", text), now.wall);
            }
            KeyDone::Noted(result) => {
                self.key_files.is_writing = false;
                if let Err(text) = result {
                    let text = format!("the state of 'stheno keys rotate' cannot be stored: {text}");
                    self.log.write(&LogLine::warning("core", text), now.wall);
                }
                self.note_rotation();
            }
            KeyDone::Switched(Ok(pair)) => {
                let own = OwnKey::new(&pair.private);
                self.host.set_key(pair.private);
                self.dispatch.key_switched(Ok(own), now);
            }
            KeyDone::Switched(Err(text)) => self.dispatch.key_switched(Err(text), now),
        }
    }
}

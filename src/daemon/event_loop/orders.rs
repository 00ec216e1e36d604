//! Reads command files, one piece at a time, and queries the Centreon database about their pollers, both on workers;
//! and watches the directories of the files.

use std::sync::{Arc, Mutex, PoisonError};

use mio::{Interest, Registry, Token};

use crate::config::Config;
use crate::config::database::DatabaseSettings;
use crate::edge::centreon_database;
use crate::edge::command_files::CommandFiles;
use crate::edge::file_watch::FileWatch;
use crate::model::host_work::HostDone;
use crate::model::legacy::{FileOutcome, FileWork, LegacyDone, LegacyWork};
use crate::model::time::Now;
use crate::model::work::{WorkId, WorkOutcome};

use super::storage::JobResult;
use super::workers::Rank;
use super::{COMMAND_DIR, COMMAND_FILE, EventLoop, LOOKUPS_MAX};

/// Files, database and watches of the module `legacycmd`.
pub(super) struct Orders {
    /// The database and the files; `None` without the module.
    place: Option<(DatabaseSettings, Arc<Mutex<CommandFiles>>)>,
    watches: Vec<Watch>,
}

/// A watch of the command file or of the directory.
struct Watch {
    source: Token,
    path: std::path::PathBuf,
    is_directory: bool,
    /// `None` while the system cannot report changes. The files are also checked every five seconds.
    watch: Option<FileWatch>,
}

impl Orders {
    pub(super) fn new(config: &Config) -> Self {
        let Some(settings) = &config.modules.legacycmd else { return Self { place: None, watches: Vec::new() } };
        let files = CommandFiles::new(settings.cmd_file.clone(), settings.cmd_dir.clone());
        let watch = |source, path: &std::path::Path, is_directory| Watch {
            source,
            path: path.into(),
            is_directory,
            watch: None,
        };
        Self {
            place: Some((settings.database.clone(), Arc::new(Mutex::new(files)))),
            watches: vec![watch(COMMAND_FILE, &settings.cmd_file, false), watch(COMMAND_DIR, &settings.cmd_dir, true)],
        }
    }

    /// Starts the missing watches, because a directory may exist again.
    fn watch(&mut self, registry: &Registry) {
        for watch in &mut self.watches {
            if let Some(known) = &mut watch.watch {
                // From now on the new directory of this name is watched.
                let _ = known.renew();
                continue;
            }
            let opened =
                if watch.is_directory { FileWatch::of_directory(&watch.path) } else { FileWatch::open(&watch.path) };
            watch.watch = opened.ok().and_then(|mut opened| {
                registry.register(opened.source(), watch.source, Interest::READABLE).ok()?;
                Some(opened)
            });
        }
    }

    /// Whether the files may have changed since the last call.
    pub(super) fn take_touched(&mut self, source: Token) -> bool {
        let watch = self.watches.iter_mut().find(|watch| watch.source == source);
        watch.and_then(|watch| watch.watch.as_mut()).is_some_and(FileWatch::take_changed)
    }
}

impl EventLoop {
    /// Does the work of the module on the threads for lookups, because files and databases may be slow.
    pub(super) fn legacy_work(&mut self, id: WorkId, work: LegacyWork, now: Now) {
        self.orders.watch(self.poll.registry());
        let Some((database, files)) = self.orders.place.clone() else { return };
        let refusal = refusal(&work);
        let seconds = now.wall.as_seconds();
        let job = Box::new(move || {
            let done = match work {
                LegacyWork::ReadTables => {
                    LegacyDone::Tables(centreon_database::read_commands(&database).map_err(|fault| fault.text))
                }
                LegacyWork::AddImportTask { parent_id } => {
                    let added = centreon_database::add_import_task(&database, parent_id, seconds);
                    LegacyDone::ImportTask(added.map_err(|fault| fault.text))
                }
                LegacyWork::Files(work) => {
                    LegacyDone::Files(files.lock().unwrap_or_else(PoisonError::into_inner).run(work))
                }
            };
            JobResult::Host(HostDone::WorkDone { id, outcome: WorkOutcome::Legacy(done) })
        });
        if !self.workers.submit_below(LOOKUPS_MAX, Rank::Lookup, job) {
            let outcome = WorkOutcome::Legacy(refusal);
            self.dispatch.host_done(HostDone::WorkDone { id, outcome }, now);
        }
    }

    /// Handles a change of the command files.
    pub(super) fn command_files_touched(&mut self, source: Token, now: Now) {
        if self.orders.take_touched(source) {
            self.dispatch.command_files_touched(now);
        }
    }
}

/// The result when too many jobs wait for the network.
fn refusal(work: &LegacyWork) -> LegacyDone {
    const BUSY: &str = "too much waits for the network";
    match work {
        LegacyWork::ReadTables => LegacyDone::Tables(Err(BUSY.to_owned())),
        LegacyWork::AddImportTask { .. } => LegacyDone::ImportTask(Err(BUSY.to_owned())),
        LegacyWork::Files(FileWork::Remove) => LegacyDone::Files(FileOutcome::NotRemoved(BUSY.to_owned())),
        LegacyWork::Files(_) => {
            LegacyDone::Files(FileOutcome::Nothing { is_waiting: false, complaints: vec![BUSY.to_owned()] })
        }
    }
}

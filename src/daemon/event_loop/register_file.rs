//! Reload of the register file while the daemon runs: on a worker, when the file changes and on SIGHUP. A file with a
//! problem changes nothing.

use std::path::PathBuf;

use mio::{Interest, Registry};

use crate::config::modules::register;
use crate::config::{Config, Problem};
use crate::edge::file_watch::FileWatch;
use crate::edge::log::LogWriter;
use crate::model::log::LogLine;
use crate::model::node_id::NodeId;
use crate::model::registration::{Registration, RegistrationSource};
use crate::model::time::Now;

use super::storage::JobResult;
use super::workers::Rank;
use super::{EventLoop, REGISTER_FILE};

/// The registrations in the file with warnings, or the reasons why it cannot be used.
pub(super) type Reading = Result<(Vec<Registration>, Vec<Problem>), Vec<Problem>>;

/// The file and its state.
pub(super) struct RegisterFile {
    path: PathBuf,
    own_id: Option<NodeId>,
    /// `None` if the system cannot report changes.
    watch: Option<FileWatch>,
    /// Whether a worker is reading the file.
    reading: bool,
    /// Whether the file changed while a worker was reading it.
    again: bool,
    /// The registrations read at the start, until the file is read again.
    first: Option<Vec<Registration>>,
}

impl RegisterFile {
    /// Watches the file of the module `register`, if it is loaded.
    pub(super) fn open(config: &Config, registry: &Registry, log: &mut LogWriter, now: Now) -> Option<Self> {
        let settings = config.modules.register.as_ref()?;
        let (path, first) = (settings.file.clone(), Some(settings.nodes.clone()));
        let watch = FileWatch::open(&path).and_then(|mut watch| {
            registry.register(watch.source(), REGISTER_FILE, Interest::READABLE)?;
            Ok(watch)
        });
        let watch = watch.map_err(|error| {
            let text = format!("changes of {} are only noticed on SIGHUP: {error}", path.display());
            log.write(&LogLine::warning("register", text), now.wall);
        });
        Some(Self { path, own_id: config.core.id, watch: watch.ok(), reading: false, again: false, first })
    }
}

impl EventLoop {
    /// Handles a change of the file's directory.
    pub(super) fn register_file_touched(&mut self) {
        let watch = self.register_file.as_mut().and_then(|file| file.watch.as_mut());
        if watch.is_some_and(FileWatch::take_changed) {
            self.reload_register_file();
        }
    }

    /// Reads the file again; one reading at a time.
    pub(super) fn reload_register_file(&mut self) {
        let Some(file) = &mut self.register_file else { return };
        if std::mem::replace(&mut file.reading, true) {
            file.again = true;
            return;
        }
        if let Some(watch) = &mut file.watch {
            // If the directory is missing, reading the file reports it.
            let _ = watch.renew();
        }
        let (path, own_id) = (file.path.clone(), file.own_id);
        self.workers.submit(Rank::Own, Box::new(move || JobResult::RegisterFileRead(register::reload(&path, own_id))));
    }

    /// Takes the result of the worker that read the file.
    pub(super) fn register_file_read(&mut self, reading: Reading, now: Now) {
        let Some(file) = &mut self.register_file else { return };
        file.reading = false;
        let again = std::mem::take(&mut file.again);
        let shown = file.path.display().to_string();
        let mut log = |line: LogLine| self.log.write(&line, now.wall);
        match reading {
            // The content is the same as at the start, which has already logged its warnings.
            Ok((nodes, _)) if file.first.take().is_some_and(|first| first == nodes) => {}
            Ok((nodes, warnings)) => {
                warnings.iter().for_each(|warning| log(LogLine::warning("register", warning.to_string())));
                self.dispatch.nodes_wanted(RegistrationSource::File, nodes, now);
            }
            Err(problems) => {
                problems.iter().for_each(|problem| log(LogLine::error("register", problem.to_string())));
                let text = format!("{shown} cannot be used as it is now: the nodes stay as they were");
                log(LogLine::error("register", text));
            }
        }
        if again {
            self.reload_register_file();
        }
    }
}

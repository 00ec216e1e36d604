//! Reports changes of a file, as a source of the event loop (`inotify(7)`). The directory is watched, because editors
//! replace the old file by a new one. Nothing wakes the daemon while nobody writes there.
//!
//! Out of scope: reading the file, and files that it includes.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::event_file::EventFile;
use super::system;

/// Bytes of `struct inotify_event` before the name: watch, mask, cookie and the length of the name.
const HEAD_LEN: usize = 16;
/// Buffer size, enough for many events with the longest names.
const BUFFER_LEN: usize = 16 << 10;

pub struct FileWatch {
    events: EventFile,
    path: PathBuf,
    names: Vec<Vec<u8>>,
    /// All files of the directory `path` are watched, but those whose names end with `_read`.
    is_directory: bool,
}

impl FileWatch {
    /// Watches `path` and, if it is a link, its target.
    ///
    /// # Errors
    /// The directory cannot be watched.
    pub fn open(path: &Path) -> io::Result<Self> {
        let events = EventFile::new(system::watch_descriptor()?);
        let mut watch = Self { events, path: path.to_owned(), names: Vec::new(), is_directory: false };
        watch.renew()?;
        Ok(watch)
    }

    /// Watches the files of a directory, but for those whose names end with `_read`: the daemon's own doing.
    ///
    /// # Errors
    /// The directory cannot be watched.
    #[cfg(feature = "centreon")]
    pub fn of_directory(path: &Path) -> io::Result<Self> {
        let events = EventFile::new(system::watch_descriptor()?);
        let mut watch = Self { events, path: path.to_owned(), names: Vec::new(), is_directory: true };
        watch.renew()?;
        Ok(watch)
    }

    /// Watches again, because the directory or the target of a link may have been replaced.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn renew(&mut self) -> io::Result<()> {
        if self.is_directory {
            return system::watch_directory(self.events.file(), &self.path);
        }
        self.names.clear();
        watch_parent(self.events.file(), &self.path, &mut self.names)?;
        // For a configuration that is replaced as a whole behind a link: the link stays and its target changes.
        if let Ok(target) = self.path.canonicalize()
            && target != self.path
        {
            watch_parent(self.events.file(), &target, &mut self.names)?;
        }
        Ok(())
    }

    /// The source for the event loop.
    pub const fn source(&mut self) -> &mut EventFile {
        &mut self.events
    }

    /// Whether the file has changed since the last call. Never blocks.
    pub fn take_changed(&mut self) -> bool {
        let mut changed = false;
        let mut buffer = [0_u8; BUFFER_LEN];
        let (names, is_directory) = (&self.names, self.is_directory);
        let is_wanted = |name: &[u8]| {
            if is_directory { !name.ends_with(b"_read") } else { names.iter().any(|known| known == name) }
        };
        self.events.read_all(&mut buffer, |events| changed |= concerns(is_wanted, events));
        changed
    }
}

/// Whether one of the events concerns a file whose name is wanted.
fn concerns(is_wanted: impl Fn(&[u8]) -> bool, mut events: &[u8]) -> bool {
    while let Some((head, rest)) = events.split_at_checked(HEAD_LEN) {
        let field = |at: usize| head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
        let length = field(12).and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let Some((name, rest)) = rest.split_at_checked(length) else { return true };
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        // Events lost to an overflow may have concerned our file.
        let lost = field(4).is_some_and(|mask| mask & libc::IN_Q_OVERFLOW != 0);
        if lost || is_wanted(name) {
            return true;
        }
        events = rest;
    }
    false
}
fn watch_parent(events: &File, path: &Path, names: &mut Vec<Vec<u8>>) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    system::watch_directory(events, directory)?;
    names.extend(path.file_name().map(|name| name.as_bytes().to_vec()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::temp_dir::TempDir;
    use super::*;

    /// A file that was written to counts as closed only when no command that is just starting has a copy of the
    /// descriptor.
    fn assert_changed(watch: &mut FileWatch) {
        let start = std::time::Instant::now();
        while !watch.take_changed() {
            assert!(start.elapsed() < std::time::Duration::from_secs(20), "the change is not noticed");
            std::thread::yield_now();
        }
    }

    #[test]
    fn writing_replacing_and_removing_the_file_is_noticed_and_its_neighbours_are_not() {
        let directory = TempDir::new();
        let file = directory.path().join("register.yaml");
        fs::write(&file, "a").unwrap();
        let mut watch = FileWatch::open(&file).unwrap();
        assert!(!watch.take_changed());
        fs::write(directory.path().join("other.yaml"), "b").unwrap();
        assert!(!watch.take_changed());
        fs::write(&file, "b").unwrap();
        assert_changed(&mut watch);
        fs::rename(directory.path().join("other.yaml"), &file).unwrap();
        assert_changed(&mut watch);
        fs::remove_file(&file).unwrap();
        assert_changed(&mut watch);
    }

    #[test]
    fn a_change_behind_a_link_is_noticed() {
        let directory = TempDir::new();
        let behind = directory.path().join("behind");
        fs::create_dir(&behind).unwrap();
        fs::write(behind.join("real.yaml"), "a").unwrap();
        let link = directory.path().join("register.yaml");
        std::os::unix::fs::symlink(behind.join("real.yaml"), &link).unwrap();
        let mut watch = FileWatch::open(&link).unwrap();
        fs::write(behind.join("real.yaml"), "b").unwrap();
        assert_changed(&mut watch);
    }

    #[test]
    fn a_directory_that_is_not_there_cannot_be_watched() {
        let directory = TempDir::new();
        assert!(FileWatch::open(&directory.path().join("none/register.yaml")).is_err());
    }
}

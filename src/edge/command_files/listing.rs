//! Lists the command files in the order of reading, and claims files.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;

/// Maximum number of files per listing; the next one finds the rest.
const FILES_MAX: usize = 10_000;
/// Suffix of the name of a file while it is read.
const READ: &[u8] = b"_read";

/// The files that were found and are not processed yet.
#[derive(Debug)]
pub(super) struct Listing {
    cmd_file: PathBuf,
    cmd_dir: PathBuf,
    found: VecDeque<PathBuf>,
}

impl Listing {
    pub(super) const fn new(cmd_file: PathBuf, cmd_dir: PathBuf) -> Self {
        Self { cmd_file, cmd_dir, found: VecDeque::new() }
    }

    /// Makes the next [`Self::fill`] list the files again.
    pub(super) fn forget(&mut self) {
        self.found.clear();
    }

    pub(super) fn next(&mut self) -> Option<PathBuf> {
        self.found.pop_front()
    }

    /// Lists the files if none is left: those left by a crash first, then by modification time.
    pub(super) fn fill(&mut self, complaints: &mut Vec<String>) {
        if !self.found.is_empty() {
            return;
        }
        let (left, fresh): (Vec<_>, Vec<_>) = self.in_directory(complaints).into_iter().partition(|path| is_read(path));
        let own = [read_name(&self.cmd_file)].into_iter().filter(|path| path.exists());
        let new = [self.cmd_file.clone()].into_iter().filter(|path| path.exists());
        self.found = own.chain(left).chain(new).chain(fresh).collect();
    }

    fn in_directory(&self, complaints: &mut Vec<String>) -> Vec<PathBuf> {
        let entries = match fs::read_dir(&self.cmd_dir) {
            Ok(entries) => entries,
            Err(error) => {
                let dir = self.cmd_dir.display();
                complaints.push(format!("the command directory {dir} cannot be read: {error}; its orders wait"));
                return Vec::new();
            }
        };
        let named = entries.flatten().filter(|entry| !entry.file_name().as_bytes().starts_with(b"."));
        let files = named.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
        // The command file may be in the directory.
        let files = files.filter(|entry| entry.path() != self.cmd_file && entry.path() != read_name(&self.cmd_file));
        let timed = files.filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some(((metadata.ctime(), metadata.ctime_nsec()), entry.path()))
        });
        let mut timed: Vec<_> = timed.take(FILES_MAX).collect();
        timed.sort_unstable();
        timed.into_iter().map(|(_, path)| path).collect()
    }
}

fn is_read(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(READ)
}

fn read_name(path: &Path) -> PathBuf {
    let mut name: OsString = path.into();
    name.push("_read");
    name.into()
}

/// Opens and locks a file and renames it for reading. `None` if another process has claimed or already processed it.
///
/// # Errors
/// Says why the file cannot be claimed.
pub(super) fn claim(path: &Path) -> Result<Option<(File, PathBuf)>, String> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = match fs::OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let path = path.display();
            return Err(format!("the command file {path} cannot be read: {error}; let this user read it"));
        }
    };
    // Any other error means that the file system has no locks.
    if flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
        return Ok(None);
    }
    let same = |one: &fs::Metadata, other: &fs::Metadata| one.dev() == other.dev() && one.ino() == other.ino();
    let found = fs::symlink_metadata(path).ok().zip(file.metadata().ok());
    if !found.is_some_and(|(path, file)| same(&path, &file) && file.is_file()) {
        return Ok(None);
    }
    if is_read(path) {
        return Ok(Some((file, path.to_owned())));
    }
    let name = read_name(path);
    match rename(path, &name) {
        Ok(()) => Ok(Some((file, name))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        // An earlier file of the same name is still being read.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(format!(
            "the command file {} cannot be renamed: {error}; let this user write to its directory",
            path.display()
        )),
    }
}

/// Renames a file without replacing another one.
fn rename(from: &Path, to: &Path) -> std::io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system or the kernel does not support this.
        Err(Errno::INVAL | Errno::NOSYS) if to.symlink_metadata().is_ok() => Err(ErrorKind::AlreadyExists.into()),
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(from, to),
        renamed => Ok(renamed?),
    }
}

//! Marks beside the gathered files of copies. By them a copy that is asked for again finds what is already there, and
//! what nobody has asked for in a day is removed.
//!
//! A mark is a symlink `.copy_<digest of what is copied>` to `copy_<token>` beside it. Only files that a mark of ours
//! leads to are ever removed, because others may have files with such names, too.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use md5::{Digest, Md5};
use rustix::fs::FlockOperation;

use super::left_over;
use super::text::hex;
use crate::edge::clock;

const MARK_PREFIX: &str = ".copy_";
const FILE_PREFIX: &str = "copy_";
/// Minimum age of leftover files before they are removed.
pub const KEPT: Duration = Duration::from_secs(86_400);
/// Maximum number of leftover files; the newest are kept.
const KEPT_MAX: usize = 64;
/// Maximum number of names of a directory that are read.
const NAMES_MAX: usize = 100_000;

/// The mark of one copy.
pub(super) struct Mark {
    path: PathBuf,
}

impl Mark {
    /// The mark of the copy `identity`, in the directory of its gathered `file`.
    pub(super) fn beside(file: &Path, identity: &str) -> Self {
        let digest = hex(&Md5::new_with_prefix(identity));
        Self { path: file.with_file_name(format!("{MARK_PREFIX}{digest}")) }
    }

    /// Makes it lead to `file`. If that fails, the copy merely cannot be found again.
    pub(super) fn set(&self, file: &Path) {
        let Some(name) = file.file_name() else { return };
        if fs::read_link(&self.path).is_ok_and(|target| target == name) {
            return;
        }
        let _absent = fs::remove_file(&self.path);
        let _refused = symlink(name, &self.path);
    }

    /// Removes it if it still leads to `file`.
    pub(super) fn unset(&self, file: &Path) {
        if fs::read_link(&self.path).ok().as_deref().is_some_and(|target| Some(target.as_os_str()) == file.file_name())
        {
            let _gone = fs::remove_file(&self.path);
        }
    }

    /// Where it leads to.
    pub(super) fn file(&self) -> Option<PathBuf> {
        target_of(&self.path)
    }
}

fn target_of(mark: &Path) -> Option<PathBuf> {
    let target = fs::read_link(mark).ok()?;
    let name = target.to_str().filter(|name| name.starts_with(FILE_PREFIX) && !name.contains('/'))?;
    Some(mark.with_file_name(name))
}

/// Opens a file if only we can have made it and nobody is working on it; `None` otherwise.
///
/// # Errors
/// It exists but cannot be opened.
pub(super) fn open_ours(path: &Path) -> io::Result<Option<File>> {
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits();
    let flags = i32::try_from(flags).map_err(io::Error::other)?;
    let file = match fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    let is_ours = metadata.is_file() && metadata.nlink() == 1 && metadata.uid() == rustix::process::geteuid().as_raw();
    Ok((is_ours && is_free(&file)).then_some(file))
}

/// Locks a file until it is closed; `false` if somebody else holds the lock.
pub(super) fn is_free(file: &File) -> bool {
    // On a file system without locks nobody holds one.
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) != Err(rustix::io::Errno::WOULDBLOCK)
}

/// Unlocks the file. Closing it is not enough: a command that is being started holds a copy of the descriptor for a
/// moment.
pub(super) fn release(file: &File) {
    let _without_locks = rustix::fs::flock(file, FlockOperation::Unlock);
}

/// Removes old leftovers of copies.
pub(super) fn sweep(directory: &Path, now: SystemTime) {
    let Ok(names) = fs::read_dir(directory) else { return };
    let uid = rustix::process::geteuid().as_raw();
    let mut left = Vec::new();
    let mut notes = Vec::new();
    for entry in names.take(NAMES_MAX).flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(MARK_PREFIX.as_bytes()) {
            continue;
        }
        let mark = entry.path();
        if left_over::is_note(&entry.file_name()) {
            notes.push(mark);
            continue;
        }
        let is_ours = fs::symlink_metadata(&mark).is_ok_and(|metadata| metadata.is_symlink() && metadata.uid() == uid);
        let Some(file) = target_of(&mark).filter(|_| is_ours) else { continue };
        match fs::symlink_metadata(&file) {
            Ok(metadata) => {
                let age = metadata.modified().ok().map(|modified| clock::age_of_file(modified, now));
                left.push((age.unwrap_or_default(), mark, file));
            }
            // Its file has been put in place or removed.
            Err(_) => drop(fs::remove_file(&mark)),
        }
    }
    left.sort_unstable_by_key(|(age, ..)| *age);
    for (place, (age, mark, file)) in left.iter().enumerate() {
        notes.retain(|note| !left_over::Note::beside(file).is_at(note));
        if (place >= KEPT_MAX || *age >= KEPT)
            && let Ok(Some(mut gathered)) = open_ours(file)
        {
            left_over::clear(file, &mut gathered);
            let _gone = (fs::remove_file(file), fs::remove_file(mark));
        }
    }
    notes.iter().for_each(|note| left_over::clear_orphan(note, KEPT, now));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::temp_dir::TempDir;

    fn names(folder: &TempDir) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    }

    fn gathered(folder: &TempDir, token: &str) -> PathBuf {
        let file = folder.join(&format!("copy_{token}"));
        fs::write(&file, "text").unwrap();
        Mark::beside(&file, token).set(&file);
        file
    }

    #[test]
    fn what_was_left_a_day_ago_is_removed_and_nothing_else() {
        let folder = TempDir::new();
        for name in ["copy_of_a_letter", "other", ".copy_notes"] {
            fs::write(folder.join(name), "precious").unwrap();
        }
        let victim = folder.join("copy_linked");
        fs::write(&victim, "precious").unwrap();
        fs::hard_link(&victim, folder.join("victim")).unwrap();
        symlink("copy_linked", folder.join(".copy_planted")).unwrap();
        symlink("../other", folder.join(".copy_leads_out")).unwrap();
        let theirs = names(&folder);
        let old = gathered(&folder, "old");
        let worked_on = gathered(&folder, "worked-on");
        let open = open_ours(&worked_on).unwrap().unwrap();
        sweep(folder.path(), SystemTime::now());
        assert!(old.exists() && worked_on.exists());
        sweep(folder.path(), SystemTime::now() + KEPT);
        assert!(!old.exists() && worked_on.exists());
        release(&open);
        sweep(folder.path(), SystemTime::now() + KEPT);
        assert_eq!(names(&folder), theirs, "their marks are gone, too");
    }

    #[test]
    fn of_very_many_the_newest_stay() {
        let folder = TempDir::new();
        for number in 0..KEPT_MAX + 3 {
            gathered(&folder, &number.to_string());
        }
        sweep(folder.path(), SystemTime::now());
        assert_eq!(names(&folder).len(), 2 * KEPT_MAX);
    }
}

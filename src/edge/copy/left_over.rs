//! Files that a receiver left at a destination because it was killed while putting a copy in place. They have temporary
//! names. A note beside the gathered file says where they are, so that they are removed with it if nobody asks for the
//! copy again.
//!
//! The note is a symlink `.copy_<digest>.to`. Only names that we must have used are removed, which are computed again
//! from the archive. Out of scope: when a copy has waited too long (`super::marks`).

use std::fs::{self, File};
use std::io::Seek;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use md5::{Digest, Md5};
use rustix::fs::{AtFlags, FileType};

use super::inside::{Inside, Way};
use super::text::hex;
use super::unpack;
use crate::edge::clock;

const PREFIX: &str = ".copy_";
const NOTE_SUFFIX: &str = ".to";

/// Part of the temporary names of a copy's files at the destination. It is the same after a crash, so that the files
/// are overwritten when the copy is asked for again.
pub(super) fn name_digest(gathered: &Path) -> String {
    hex(&Md5::new_with_prefix(gathered.file_name().unwrap_or_default().as_encoded_bytes()))
}

/// The temporary name of a single file at its destination.
pub(super) fn file_name(digest: &str) -> String {
    format!("{PREFIX}{digest}")
}

/// The temporary name of an entry of an archive, counted from 1.
pub(super) fn entry_name(digest: &str, number: u64) -> String {
    format!("{PREFIX}{digest}.{number}")
}

/// The note about a copy that is being put in place.
pub(super) struct Note(PathBuf);

impl Note {
    /// The note of the copy in the file `gathered`.
    pub(super) fn beside(gathered: &Path) -> Self {
        Self(gathered.with_file_name(format!("{PREFIX}{}{NOTE_SUFFIX}", name_digest(gathered))))
    }

    /// Writes the note: from now on files may be left at `place`, the directory for an archive or the single file. If
    /// the note cannot be written, they merely stay after a crash.
    pub(super) fn set(&self, place: &Path) {
        self.unset();
        let _refused = symlink(place, &self.0);
    }

    /// Removes the note, because nothing is left there.
    pub(super) fn unset(&self) {
        let _absent = fs::remove_file(&self.0);
    }

    /// Whether `path` is this note.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        self.0 == path
    }

    /// The place in the note, if the note is ours.
    fn place(&self) -> Option<PathBuf> {
        let metadata = fs::symlink_metadata(&self.0).ok()?;
        let is_ours = metadata.is_symlink() && metadata.uid() == rustix::process::geteuid().as_raw();
        fs::read_link(&self.0).ok().filter(|place| is_ours && place.is_absolute())
    }
}

/// Removes what is left of the copy in `archive`, whose path is `gathered`, and the note.
pub(super) fn clear(gathered: &Path, archive: &mut File) {
    let note = Note::beside(gathered);
    let Some(place) = note.place() else { return };
    let digest = name_digest(gathered);
    if !clear_file(&place, &digest)
        && archive.rewind().is_ok()
        && let Ok(inside) = Inside::open(&place)
    {
        unpack::remove_left(archive, &inside, &digest);
    }
    note.unset();
}

/// Removes a left single file if `place` is one.
fn clear_file(place: &Path, digest: &str) -> bool {
    let name = file_name(digest);
    let (Some(directory), true) = (place.parent(), place.file_name() == Some(name.as_ref())) else { return false };
    if let Ok(inside) = Inside::open(directory) {
        remove(&inside.root(), &name);
    }
    true
}

/// Removes an entry of an archive that still has its temporary name.
pub(super) fn remove_entry(way: &Way<'_>, digest: &str, number: u64) {
    remove(&way.directory(), &entry_name(digest, number));
}

fn remove(directory: &impl AsFd, name: &str) {
    let Ok(stat) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { return };
    let user = rustix::process::geteuid();
    let kind = FileType::from_raw_mode(stat.st_mode);
    // Root may already have given it to its owner.
    if matches!(kind, FileType::RegularFile | FileType::Symlink) && (user.is_root() || stat.st_uid == user.as_raw()) {
        let _gone = rustix::fs::unlinkat(directory, name, AtFlags::empty());
    }
}

/// Handles a note whose gathered file is missing: after `kept` it is removed together with a single file.
pub(super) fn clear_orphan(note: &Path, kept: Duration, now: SystemTime) {
    let Some(name) = note.file_name().and_then(|name| name.to_str()) else { return };
    let Some(digest) = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(NOTE_SUFFIX)) else { return };
    let changed = fs::symlink_metadata(note).and_then(|metadata| metadata.modified());
    let age = changed.ok().map(|changed| clock::age_of_file(changed, now));
    let note = Note(note.to_owned());
    let Some(place) = note.place().filter(|_| age.is_some_and(|age| age >= kept)) else { return };
    clear_file(&place, digest);
    note.unset();
}

/// Whether a name is one that files have before they are in place.
pub(super) fn is_ours(name: &std::ffi::OsStr) -> bool {
    name.as_bytes().starts_with(PREFIX.as_bytes())
}

/// Whether a name in a directory of gathered files is the name of a note.
pub(super) fn is_note(name: &std::ffi::OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(PREFIX.as_bytes()) && name.ends_with(NOTE_SUFFIX.as_bytes())
}

//! Unpacks a peer's tar.gz into a directory. It is merged with what is there, each file whole or not at all, and
//! nothing is written outside the directory. Files are written under temporary names, flushed to disk together, then
//! renamed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType, Header};

use super::attributes::umask;
use super::inside::{Inside, Missing, Problem};
use super::left_over;
use super::own_files::refuse_own;
use super::room::Room;
use super::tar_headers::{Extensions, LookedUp, long_text, read_pax};
use super::text::words;
use crate::edge::system;

/// Maximum number of files that wait to be renamed, and maximum number of their bytes.
const STAGED_MAX: usize = 4_096;
const STAGED_BYTES_MAX: u64 = 256 << 20;
/// Maximum number of symlinks, and of directories that their owner may not write to. They are handled again at the end.
const REMEMBERED_MAX: usize = 65_536;
/// Times beyond this (the year 5138) are invalid.
const MTIME_MAX: u64 = 100_000_000_000;

/// Unpacks. Returns notes about permissions that could not be set.
///
/// # Errors
/// The fault, with the name of the entry.
pub fn unpack(archive: impl Read, directory: &Path, mark: &str, max_bytes: u64) -> Result<Vec<String>, String> {
    let inside = Inside::open(directory).map_err(|error| format!("{}: {}", directory.display(), words(&error)))?;
    unpack_into(archive, &inside, mark, max_bytes)
}

/// Like [`unpack`] for an open directory.
pub(super) fn unpack_into(
    archive: impl Read,
    inside: &Inside,
    mark: &str,
    max_bytes: u64,
) -> Result<Vec<String>, String> {
    Unpacking::new(inside, mark, max_bytes).run(archive)
}

/// A complete file under its temporary name.
struct Staged {
    parent: Vec<OsString>,
    written_as: OsString,
    name: OsString,
}

struct Unpacking<'a> {
    inside: &'a Inside,
    mark: &'a str,
    room: Room<'a>,
    is_root: bool,
    umask: u32,
    device: u64,
    number: u64,
    staged: Vec<Staged>,
    staged_bytes: u64,
    symlinks: Vec<(Vec<OsString>, OsString)>,
    late_modes: Vec<(Vec<OsString>, u32)>,
    notes: Vec<String>,
    users: LookedUp,
    groups: LookedUp,
}

type Failed = String;

fn shown(name: &Path) -> String {
    name.to_string_lossy().escape_debug().take(512).collect()
}

fn refused(name: &Path, why: &str) -> Failed {
    format!("'{}' {why}", shown(name))
}

fn own_file(name: &Path, directory: BorrowedFd<'_>, last: &OsStr) -> Result<(), Failed> {
    refuse_own(directory, last).map_err(|why| format!("'{}': {why}", shown(name)))
}

fn of_problem(name: &Path, problem: &Problem) -> Failed {
    match problem {
        Problem::Outside => refused(name, "leads out of the destination"),
        Problem::System(error) => format!("'{}': {}", shown(name), words(error)),
    }
}

fn of_errno(name: &Path, error: Errno) -> Failed {
    of_problem(name, &error.into())
}

fn broken(error: &io::Error) -> Failed {
    format!("the archive cannot be read: {}", words(error))
}

impl<'a> Unpacking<'a> {
    fn new(inside: &'a Inside, mark: &'a str, max_bytes: u64) -> Self {
        let device = rustix::fs::fstat(inside.root().as_fd()).map_or(0, |stat| stat.st_dev);
        Self {
            inside,
            mark,
            room: Room::new(inside, max_bytes),
            is_root: rustix::process::geteuid().is_root(),
            umask: umask(),
            device,
            number: 0,
            staged: Vec::new(),
            staged_bytes: 0,
            symlinks: Vec::new(),
            late_modes: Vec::new(),
            notes: Vec::new(),
            users: LookedUp::default(),
            groups: LookedUp::default(),
        }
    }

    fn owners(&mut self, header: &Header) -> (Option<Uid>, Option<Gid>) {
        let owner = self.users.id(header.username(), header.uid(), system::user_id);
        let group = self.groups.id(header.groupname(), header.gid(), system::group_id);
        (owner.map(Uid::from_raw), group.map(Gid::from_raw))
    }

    fn run(mut self, archive: impl Read) -> Result<Vec<String>, Failed> {
        let done = self.entries(archive).and_then(|()| self.commit());
        if done.is_err() {
            self.drop_staged();
        }
        let checked = self.check_symlinks();
        for (components, mode) in std::mem::take(&mut self.late_modes) {
            self.set_directory_mode(&components, mode);
        }
        // The names are on disk too, also after a refusal.
        let synced =
            rustix::fs::syncfs(self.inside.root().as_fd()).map_err(|error| of_errno(self.inside.path(), error));
        done.and(checked).and(synced)?;
        Ok(self.notes)
    }

    fn entries(&mut self, archive: impl Read) -> Result<(), Failed> {
        each_entry(archive, |entry, name, extensions| self.entry(entry, name, extensions))
    }

    fn entry(&mut self, entry: &mut Entry<'_, impl Read>, name: PathBuf, extensions: Extensions) -> Result<(), Failed> {
        if extensions.size.is_some_and(|size| size != entry.header().entry_size().unwrap_or(0)) {
            return Err(refused(&name, "has a size that only extended headers tell, which is not supported"));
        }
        let mut components = self.inside.components(&name).map_err(|problem| of_problem(&name, &problem))?;
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            return self.directory(&name, components, entry.header());
        }
        let Some(last) = components.pop() else {
            return Err(refused(&name, "is the destination itself, but no directory in the archive"));
        };
        let link = extensions.link.or_else(|| entry.link_name_bytes().map(|link| link.into_owned()));
        let link = PathBuf::from(OsString::from_vec(link.unwrap_or_default()));
        match kind {
            EntryType::Regular | EntryType::Continuous => self.file(&name, components, last, entry),
            EntryType::Symlink => self.symlink(&name, components, last, &link),
            EntryType::Link => self.hard_link(&name, &components, &last, &link),
            EntryType::Fifo => self.fifo(&name, &components, &last),
            EntryType::Char | EntryType::Block => Err(refused(&name, "is a device")),
            _ => Err(refused(&name, "is of a kind that is not supported")),
        }
    }

    fn temporary_name(&mut self) -> OsString {
        self.number += 1;
        left_over::entry_name(self.mark, self.number).into()
    }

    fn permissions(&self, header: &Header, without: u32) -> u32 {
        let mode = header.mode().unwrap_or(without) & 0o7777;
        if self.is_root { mode } else { mode & !(0o7000 | self.umask) }
    }

    fn directory(&mut self, name: &Path, components: Vec<OsString>, header: &Header) -> Result<(), Failed> {
        let way = self.inside.walk(&components, Missing::Make).map_err(|problem| of_problem(name, &problem))?;
        drop(way);
        // The destination itself is not changed.
        if components.is_empty() {
            return Ok(());
        }
        let mode = self.permissions(header, 0o755);
        self.own_directory(&components, header);
        if mode & 0o700 == 0o700 {
            self.set_directory_mode(&components, mode);
        } else if self.late_modes.len() < REMEMBERED_MAX {
            // Its content comes first, then the mode that forbids writing.
            self.late_modes.push((components, mode));
        } else {
            return Err(refused(name, "is one directory too many that its owner may not write to"));
        }
        Ok(())
    }

    fn open_directory(&self, components: &[OsString]) -> Result<File, Problem> {
        let way = self.inside.walk(components, Missing::Refuse)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(way.directory(), ".", flags, Mode::empty())?))
    }

    fn set_directory_mode(&mut self, components: &[OsString], mode: u32) {
        let set = self
            .open_directory(components)
            .and_then(|file| Ok(rustix::fs::fchmod(file.as_fd(), Mode::from_raw_mode(mode))?));
        if let Err(problem) = set {
            let name: PathBuf = components.iter().collect();
            self.note(&name, &problem);
        }
    }

    fn own_directory(&mut self, components: &[OsString], header: &Header) {
        if !self.is_root {
            return;
        }
        let (owner, group) = self.owners(header);
        let set = self.open_directory(components).and_then(|file| Ok(rustix::fs::fchown(file.as_fd(), owner, group)?));
        if let Err(problem) = set {
            let name: PathBuf = components.iter().collect();
            self.note(&name, &problem);
        }
    }

    fn note(&mut self, name: &Path, problem: &Problem) {
        if self.notes.len() < 16 {
            self.notes.push(format!("can't change permission of file {}", of_problem(name, problem)));
        }
    }

    fn file(
        &mut self,
        name: &Path,
        parent: Vec<OsString>,
        last: OsString,
        entry: &mut Entry<'_, impl Read>,
    ) -> Result<(), Failed> {
        let size = entry.header().entry_size().map_err(|error| broken(&error))?;
        self.room.take(size).map_err(|why| format!("'{}': {why}", shown(name)))?;
        let written_as = self.temporary_name();
        let way = self.inside.walk(&parent, Missing::Make).map_err(|problem| of_problem(name, &problem))?;
        own_file(name, way.directory().as_fd(), &last)?;
        let file = create(&way.directory(), &written_as).map_err(|error| of_errno(name, error))?;
        drop(way);
        self.staged.push(Staged { parent, written_as, name: last });
        let copied = copy(entry, &file, size).map_err(|error| match error {
            CopyError::Read(error) => broken(&error),
            CopyError::Write(error) => of_problem(name, &Problem::System(error)),
        })?;
        if copied < size {
            return Err("the archive ends too early".to_owned());
        }
        self.finish_file(name, &file, entry.header());
        let other_device = rustix::fs::fstat(file.as_fd()).is_ok_and(|stat| stat.st_dev != self.device);
        if other_device {
            file.sync_all().map_err(|error| of_problem(name, &Problem::System(error)))?;
        }
        self.staged_bytes += size;
        if self.staged.len() >= STAGED_MAX || self.staged_bytes >= STAGED_BYTES_MAX { self.commit() } else { Ok(()) }
    }

    fn finish_file(&mut self, name: &Path, file: &File, header: &Header) {
        if self.is_root {
            let (owner, group) = self.owners(header);
            if let Err(error) = rustix::fs::fchown(file.as_fd(), owner, group) {
                self.note(name, &error.into());
            }
        }
        let mode = Mode::from_raw_mode(self.permissions(header, 0o644));
        if let Err(error) = rustix::fs::fchmod(file.as_fd(), mode) {
            self.note(name, &error.into());
        }
        let seconds = header.mtime().ok().filter(|seconds| *seconds < MTIME_MAX);
        if let Some(seconds) = seconds.and_then(|seconds| i64::try_from(seconds).ok()) {
            let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
            let times = Timestamps { last_access: time, last_modification: time };
            if let Err(error) = rustix::fs::futimens(file.as_fd(), &times) {
                self.note(name, &error.into());
            }
        }
    }

    /// Renames the waiting files.
    fn commit(&mut self) -> Result<(), Failed> {
        if self.staged.is_empty() {
            return Ok(());
        }
        rustix::fs::syncfs(self.inside.root().as_fd()).map_err(|error| of_errno(self.inside.path(), error))?;
        self.staged_bytes = 0;
        self.staged.reverse();
        while let Some(staged) = self.staged.last() {
            let name: PathBuf = staged.parent.iter().chain([&staged.name]).collect();
            let way =
                self.inside.walk(&staged.parent, Missing::Refuse).map_err(|problem| of_problem(&name, &problem))?;
            rustix::fs::renameat(way.directory(), &staged.written_as, way.directory(), &staged.name)
                .map_err(|error| of_errno(&name, error))?;
            self.staged.pop();
        }
        Ok(())
    }

    /// Removes the files that still have temporary names.
    fn drop_staged(&mut self) {
        for staged in std::mem::take(&mut self.staged) {
            if let Ok(way) = self.inside.walk(&staged.parent, Missing::Refuse) {
                // It may already have been renamed.
                let _gone = rustix::fs::unlinkat(way.directory(), &staged.written_as, AtFlags::empty());
            }
        }
    }

    fn symlink(&mut self, name: &Path, parent: Vec<OsString>, last: OsString, target: &Path) -> Result<(), Failed> {
        // Waiting files are renamed first, because a symlink must not take a name that they need.
        self.commit()?;
        let written_as = self.temporary_name();
        let way = self.inside.walk(&parent, Missing::Make).map_err(|problem| of_problem(name, &problem))?;
        own_file(name, way.directory().as_fd(), &last)?;
        rustix::fs::symlinkat(target, way.directory(), &written_as).map_err(|error| of_errno(name, error))?;
        let renamed = rustix::fs::renameat(way.directory(), &written_as, way.directory(), &last);
        if renamed.is_err() {
            let _gone = rustix::fs::unlinkat(way.directory(), &written_as, AtFlags::empty());
        }
        renamed.map_err(|error| of_errno(name, error))?;
        let directory = self.inside.walk(&parent, Missing::Refuse).map_err(|problem| of_problem(name, &problem))?;
        if let Err(problem) = directory.leads_inside(target) {
            let _gone = rustix::fs::unlinkat(way.directory(), &last, AtFlags::empty());
            return Err(match problem {
                Problem::Outside => {
                    refused(name, &format!("is a symlink to '{}', out of the destination", shown(target)))
                }
                system => of_problem(name, &system),
            });
        }
        drop(way);
        if self.symlinks.len() >= REMEMBERED_MAX {
            return Err(refused(name, "is one symlink too many"));
        }
        self.symlinks.push((parent, last));
        Ok(())
    }

    /// Checks the symlinks again, because later entries may have made them lead outside.
    fn check_symlinks(&mut self) -> Result<(), Failed> {
        let mut checked = Ok(());
        for (parent, last) in std::mem::take(&mut self.symlinks) {
            let name: PathBuf = parent.iter().chain([&last]).collect();
            let Ok(way) = self.inside.walk(&parent, Missing::Refuse) else { continue };
            let Ok(target) = rustix::fs::readlinkat(way.directory(), &last, Vec::new()) else { continue };
            let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
            let Ok(directory) = self.inside.walk(&parent, Missing::Refuse) else { continue };
            if matches!(directory.leads_inside(&target), Err(Problem::Outside)) {
                let _gone = rustix::fs::unlinkat(way.directory(), &last, AtFlags::empty());
                let why = format!("is a symlink to '{}', out of the destination", shown(&target));
                checked = Err(refused(&name, &why));
            }
        }
        checked
    }

    fn hard_link(&mut self, name: &Path, parent: &[OsString], last: &OsStr, target: &Path) -> Result<(), Failed> {
        self.commit()?;
        let leads_out = || refused(name, &format!("is a hard link to '{}', out of the destination", shown(target)));
        let of_target = |problem: &Problem| match problem {
            Problem::Outside => leads_out(),
            system => of_problem(target, system),
        };
        let mut components = self.inside.components(target).map_err(|problem| of_target(&problem))?;
        let Some(target_name) = components.pop() else { return Err(leads_out()) };
        let target_way = self.inside.walk(&components, Missing::Refuse).map_err(|problem| of_target(&problem))?;
        let stat = rustix::fs::statat(target_way.directory(), &target_name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| of_errno(target, error))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(refused(name, &format!("is a hard link to '{}', which is not a file", shown(target))));
        }
        let written_as = self.temporary_name();
        let way = self.inside.walk(parent, Missing::Make).map_err(|problem| of_problem(name, &problem))?;
        own_file(name, way.directory().as_fd(), last)?;
        rustix::fs::linkat(target_way.directory(), &target_name, way.directory(), &written_as, AtFlags::empty())
            .and_then(|()| rustix::fs::renameat(way.directory(), &written_as, way.directory(), last))
            .map_err(|error| of_errno(name, error))?;
        // Renaming onto a link to the same file leaves the temporary name behind.
        let _gone = rustix::fs::unlinkat(way.directory(), &written_as, AtFlags::empty());
        Ok(())
    }

    fn fifo(&mut self, name: &Path, parent: &[OsString], last: &OsStr) -> Result<(), Failed> {
        let way = self.inside.walk(parent, Missing::Make).map_err(|problem| of_problem(name, &problem))?;
        let mode = Mode::from_raw_mode(0o600);
        match rustix::fs::mknodat(way.directory(), last, FileType::Fifo, mode, 0) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(of_errno(name, error)),
        }
    }
}

/// Calls a function for each entry of an archive with its name and its extended headers.
fn each_entry<R: Read>(
    archive: R,
    mut take: impl FnMut(&mut Entry<'_, MultiGzDecoder<R>>, PathBuf, Extensions) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let mut archive = Archive::new(MultiGzDecoder::new(archive));
    let mut extensions = Extensions::default();
    // Raw, because extended headers are read here within bounds.
    for entry in archive.entries().map_err(|error| broken(&error))?.raw(true) {
        let mut entry = entry.map_err(|error| broken(&error))?;
        match entry.header().entry_type() {
            EntryType::GNULongName => extensions.name = Some(long_text(&mut entry)?),
            EntryType::GNULongLink => extensions.link = Some(long_text(&mut entry)?),
            EntryType::XHeader => read_pax(&long_text(&mut entry)?, &mut extensions),
            EntryType::XGlobalHeader => {}
            _ => {
                let mut extensions = std::mem::take(&mut extensions);
                let name = extensions.name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
                take(&mut entry, PathBuf::from(OsString::from_vec(name)), extensions)?;
            }
        }
    }
    Ok(())
}

/// Removes what a killed unpacking of the same archive with the same `mark` left: the temporary names are computed
/// again.
pub(super) fn remove_left(archive: impl Read, inside: &Inside, mark: &str) {
    let mut number = 0;
    let _end_of_what_it_unpacked = each_entry(archive, |entry, name, _| {
        let is_numbered = matches!(
            entry.header().entry_type(),
            EntryType::Regular | EntryType::Continuous | EntryType::Symlink | EntryType::Link
        );
        let mut parent = inside.components(&name).map_err(|problem| of_problem(&name, &problem))?;
        if is_numbered && parent.pop().is_some() {
            number += 1;
            if let Ok(way) = inside.walk(&parent, Missing::Refuse) {
                left_over::remove_entry(&way, mark, number);
            }
        }
        Ok(())
    });
}

/// A new file that replaces one of an earlier attempt.
fn create(directory: &impl AsFd, name: &OsStr) -> Result<File, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600));
    let opened = match open() {
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
            open()
        }
        opened => opened,
    };
    opened.map(File::from)
}

enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

fn copy(from: &mut impl Read, mut to: &File, size: u64) -> Result<u64, CopyError> {
    let mut buffer = vec![0_u8; usize::try_from(size).unwrap_or(usize::MAX).clamp(1, 64 << 10)];
    let mut copied = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(count) => {
                to.write_all(buffer.get(..count).unwrap_or_default()).map_err(CopyError::Write)?;
                copied += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CopyError::Read(error)),
        }
    }
}

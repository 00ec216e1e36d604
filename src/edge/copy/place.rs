//! Where a copy may go, and how a gathered file is put there: whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::attributes::{self, umask};
use super::inside::{Inside, LINKS_MAX, Missing, Problem};
use super::left_over::{self, Note};
use super::own_files::refuse_own;
use super::text::words;
use crate::model::copy::Attributes;

/// A gathered file.
pub(super) struct Gathered<'a> {
    pub file: &'a mut File,
    pub path: &'a Path,
    /// Part of its temporary name at the destination.
    pub mark: &'a str,
}

/// The directory of `roots` that contains `path`, both without symlinks. Components from the first missing one on count
/// as written.
pub(super) fn root_of<'a>(path: &Path, roots: &'a [PathBuf]) -> Option<&'a PathBuf> {
    let real = existing(path);
    roots.iter().find(|root| real.starts_with(fs::canonicalize(root).as_deref().unwrap_or(root)))
}

/// A path without symlinks, as far as it exists.
fn existing(path: &Path) -> PathBuf {
    if let Ok(real) = fs::canonicalize(path) {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => existing(parent).join(name),
        _ => path.to_owned(),
    }
}

/// The directory for a file without a name: the wanted one where it is allowed, else that of the system.
pub(super) fn scratch(wanted: Option<&Path>, roots: &[PathBuf]) -> PathBuf {
    let allowed =
        wanted.filter(|directory| directory.is_absolute() && (roots.is_empty() || root_of(directory, roots).is_some()));
    allowed.unwrap_or(Path::new("/var/tmp")).to_owned()
}

fn outside_roots(path: &Path) -> String {
    format!("{} is outside copy_roots", path.display())
}

/// Opens the directory for the content of an archive. Makes it if it is missing.
pub(super) fn open_directory(path: &Path, roots: &[PathBuf]) -> Result<Inside, String> {
    let mut there = path;
    let inside = loop {
        match Inside::open(there) {
            Ok(inside) => break inside,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                there = there.parent().ok_or_else(|| format!("{}: {}", path.display(), words(&error)))?;
            }
            Err(error) => return Err(format!("{}: {}", there.display(), words(&error))),
        }
    };
    let missing = path.strip_prefix(there).unwrap_or(Path::new(""));
    let of_problem = |problem| match problem {
        Problem::Outside => format!("{}: {}", path.display(), words(&Errno::INVAL.into())),
        Problem::System(error) => format!("{}: {}", path.display(), words(&error)),
    };
    let components = inside.components(missing).map_err(of_problem)?;
    let full: PathBuf = [inside.path()].into_iter().chain(components.iter().map(Path::new)).collect();
    if !roots.is_empty() && root_of(&full, roots).is_none() {
        return Err(outside_roots(path));
    }
    if components.is_empty() {
        return Ok(inside);
    }
    inside.walk(&components, Missing::Make).map_err(of_problem)?;
    Inside::open(&full).map_err(|error| format!("{}: {}", path.display(), words(&error)))
}

/// Opens the directory for the content of an archive, if it is there.
pub(super) fn existing_directory(path: &Path, roots: &[PathBuf]) -> Result<Option<Inside>, String> {
    let is_allowed = |path: &Path| roots.is_empty() || root_of(path, roots).is_some();
    match Inside::open(path) {
        Ok(inside) if is_allowed(inside.path()) => Ok(Some(inside)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_allowed(path) => Ok(None),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!("{}: {}", path.display(), words(&error))),
        Ok(_) | Err(_) => Err(outside_roots(path)),
    }
}

/// The directory and the name of a file's destination. A symlink there is followed, like in the original.
struct Place {
    directory: Inside,
    name: OsString,
    /// The file that is there now.
    before: Option<rustix::fs::Stat>,
}

/// The directory and the name of a path, after following a symlink in its last component.
fn follow(path: &Path) -> io::Result<(Inside, OsString)> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let name = path.file_name().ok_or(Errno::ISDIR)?.to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = Inside::open(parent)?;
        match directory.link_target(&name) {
            Ok(Some(target)) => path = directory.path().join(target),
            Ok(None) => return Ok((directory, name)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((directory, name)),
            Err(error) => return Err(error),
        }
    }
    Err(Errno::LOOP.into())
}

impl Place {
    fn find(destination: &Path, roots: &[PathBuf]) -> Result<Self, String> {
        let (directory, name) = follow(destination).map_err(|error| words(&error))?;
        if !roots.is_empty() && root_of(directory.path(), roots).is_none() {
            return Err("it is outside copy_roots".to_owned());
        }
        refuse_own(directory.root().as_fd(), &name)?;
        let before = match rustix::fs::statat(directory.root().as_fd(), &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(words(&error.into())),
        };
        match before.map(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode)) {
            None | Some(rustix::fs::FileType::RegularFile) => Ok(Self { directory, name, before }),
            Some(rustix::fs::FileType::Directory) => Err(words(&Errno::ISDIR.into())),
            Some(_) => Err("it is not a regular file".to_owned()),
        }
    }

    /// Gives the file the owner and mode of its predecessor, or those of a new file.
    fn inherit(&self, file: &File) -> io::Result<()> {
        let mode = match &self.before {
            Some(before) => {
                // Without the right to change owners the file becomes ours.
                let _not_permitted = rustix::fs::fchown(
                    file.as_fd(),
                    Some(Uid::from_raw(before.st_uid)),
                    Some(Gid::from_raw(before.st_gid)),
                );
                before.st_mode & 0o7777
            }
            // Regardless of our umask, nobody else may write to it.
            None => 0o644 & !umask(),
        };
        Ok(rustix::fs::fchmod(file.as_fd(), Mode::from_raw_mode(mode))?)
    }

    fn open(&self, name: &std::ffi::OsStr, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = self.directory.root().as_fd();
        Ok(File::from(rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600))?))
    }

    /// Renames the gathered file if both places are on one file system.
    fn rename(&self, gathered: &Gathered<'_>) -> Result<(), Errno> {
        rustix::fs::renameat(rustix::fs::CWD, gathered.path, self.directory.root().as_fd(), &self.name)
    }
}

/// Moves a gathered file to its destination. Returns notes about attributes that could not be set.
///
/// # Errors
/// Why it failed, in the system's words.
pub(super) fn place(
    gathered: Gathered<'_>,
    destination: &Path,
    attributes: &Attributes,
    roots: &[PathBuf],
) -> Result<Vec<String>, String> {
    let place = Place::find(destination, roots)?;
    let of = |error: io::Error| words(&error);
    let shown = destination.display().to_string();
    let is_same_device =
        place.directory.root().metadata().map_err(of)?.dev() == gathered.file.metadata().map_err(of)?.dev();
    if is_same_device {
        place.inherit(gathered.file).map_err(of)?;
        let notes = attributes::apply(gathered.file, attributes, &shown);
        gathered.file.sync_all().map_err(of)?;
        match place.rename(&gathered) {
            Ok(()) => {
                place.directory.root().sync_all().map_err(of)?;
                return Ok(notes);
            }
            // A different mount of the same device.
            Err(Errno::XDEV) => {}
            Err(error) => return Err(words(&error.into())),
        }
    }
    let written_as = OsString::from(left_over::file_name(gathered.mark));
    let note = Note::beside(gathered.path);
    note.set(&place.directory.path().join(&written_as));
    let directory = place.directory.root().as_fd();
    let _left_behind = rustix::fs::unlinkat(directory, &written_as, AtFlags::empty());
    let copied = (|| {
        let mut copy = place.open(&written_as, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
        gathered.file.rewind()?;
        io::copy(gathered.file, &mut copy)?;
        place.inherit(&copy)?;
        let notes = attributes::apply(&copy, attributes, &shown);
        copy.sync_all()?;
        rustix::fs::renameat(directory, &written_as, directory, &place.name)?;
        place.directory.root().sync_all()?;
        Ok(notes)
    })();
    if copied.is_err() {
        let _gone = rustix::fs::unlinkat(directory, &written_as, AtFlags::empty());
    }
    note.unset();
    let notes = copied.map_err(of)?;
    let _gone = fs::remove_file(gathered.path);
    Ok(notes)
}

/// Opens a destination that is a regular file for reading.
///
/// # Errors
/// There is no such file, or it may not be read.
pub(super) fn open_destination(destination: &Path, roots: &[PathBuf]) -> Result<File, String> {
    let place = Place::find(destination, roots)?;
    place.open(&place.name, OFlags::RDONLY).map_err(|error| words(&error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};

    use super::*;
    use crate::edge::temp_dir::TempDir;

    fn placed(folder: &TempDir, destination: &Path) -> Result<Vec<String>, String> {
        let path = folder.join("gathered");
        fs::write(&path, "new").unwrap();
        let mut file = File::options().read(true).write(true).open(&path).unwrap();
        place(Gathered { file: &mut file, path: &path, mark: "mark" }, destination, &Attributes::default(), &[])
    }

    #[test]
    fn a_new_file_can_be_written_to_by_nobody_else_whatever_our_umask_is() {
        let folder = TempDir::new();
        let destination = folder.join("new");
        placed(&folder, &destination).unwrap();
        assert_eq!(fs::metadata(&destination).unwrap().mode() & 0o7133, 0);
    }

    #[test]
    fn a_symlink_is_followed_unless_another_user_may_have_planted_it() {
        let folder = TempDir::new();
        let (shared, target) = (folder.join("shared"), folder.join("target"));
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
        fs::write(&target, "old").unwrap();
        let link = shared.join("link");
        symlink("../target", &link).unwrap();
        placed(&folder, &link).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
        // Only root can create a link that belongs to another user.
        if lchown(&link, Some(65_534), None).is_ok() {
            fs::write(&target, "old").unwrap();
            let refused = placed(&folder, &link).unwrap_err();
            assert_eq!(refused, "a symlink of another user in a directory that anybody may write to");
            let directory = shared.join("way");
            symlink("..", &directory).unwrap();
            lchown(&directory, Some(65_534), None).unwrap();
            assert!(placed(&folder, &directory.join("target")).is_err(), "on the way as well");
            assert_eq!(fs::read_to_string(&target).unwrap(), "old");
            fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();
            assert!(placed(&folder, &link).is_ok(), "nobody else can put a link into such a directory");
        }
    }
}

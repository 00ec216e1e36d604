//! Opens what another daemon may read: a file or directory below `read_roots`. Below these, no symlink is followed, a
//! file that blocks or has no end is refused, and the files of this daemon itself are not read.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::inside::Inside;
use super::own_files::refuse_own_reading;
use super::text::{about, failure, words};
use crate::model::copy::CopyFailure;

/// Flags for opening a directory on the way.
const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a file or directory for reading.
///
/// # Errors
/// The failure, which names the path, the fault and the option.
pub(super) fn open(path: &Path, roots: &[PathBuf]) -> Result<File, CopyFailure> {
    let shown = path.display();
    let refused = |detail: String| failure("remote copy failed", detail);
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(refused(format!("{shown}: give an absolute path without '..'")));
    }
    if roots.is_empty() {
        return Err(refused(format!(
            "{shown}: nothing may be read on this node, because read_roots of its module action is empty"
        )));
    }
    let found = roots.iter().find_map(|root| Some((root, path.strip_prefix(root).ok()?)));
    let Some((root, relative)) = found else {
        return Err(refused(format!("{shown} is outside read_roots of the node's module action")));
    };
    let unreadable = |error: io::Error| failure("unknown source", about(path, &error));
    let inside = Inside::open(root).map_err(|error| failure("unknown source", about(root, &error)))?;
    let mut place: OwnedFd = inside.root().try_clone().map_err(unreadable)?.into();
    let mut parts = relative.components().map(Component::as_os_str).peekable();
    while let Some(name) = parts.next() {
        if parts.peek().is_none() {
            return open_last(&place, name, path);
        }
        place = rustix::fs::openat(&place, name, PLACE, Mode::empty())
            .map_err(|error| on_the_way(&place, name, path, error))?;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(&place, ".", flags, Mode::empty()).map(File::from).map_err(|error| unreadable(error.into()))
}

fn open_last(place: &impl AsFd, name: &OsStr, path: &Path) -> Result<File, CopyFailure> {
    let shown = path.display();
    let unreadable = |error: Errno| failure("unknown source", about(path, &error.into()));
    let stat = rustix::fs::statat(place, name, AtFlags::SYMLINK_NOFOLLOW).map_err(unreadable)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile | FileType::Directory => {}
        FileType::Symlink => return Err(failure("unknown source", symlink(path))),
        _ => return Err(failure("unknown source", format!("{shown}: neither a file nor a directory"))),
    }
    refuse_own_reading(place.as_fd(), name).map_err(|why| failure("remote copy failed", format!("{shown}: {why}")))?;
    // A FIFO in its place does not block, and a symlink is not followed.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(place, name, flags, Mode::empty()).map_err(unreadable)?;
    let now = rustix::fs::fstat(&file).map_err(unreadable)?;
    if (now.st_dev, now.st_ino) != (stat.st_dev, stat.st_ino) {
        return Err(failure("remote copy failed", format!("{shown} changed while it was opened")));
    }
    Ok(file.into())
}

fn on_the_way(place: &impl AsFd, name: &OsStr, path: &Path, error: Errno) -> CopyFailure {
    let is_symlink = rustix::fs::statat(place, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
    let why = if is_symlink { symlink(Path::new(name)) } else { words(&error.into()) };
    failure("unknown source", format!("{}: {why}", path.display()))
}

fn symlink(path: &Path) -> String {
    format!("{} is a symlink, and none is followed below read_roots: name what it leads to", path.display())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::edge::temp_dir::TempDir;

    fn opened(path: &Path, roots: &[PathBuf]) -> Result<(), String> {
        open(path, roots).map(drop).map_err(|failure| failure.detail)
    }

    #[test]
    fn only_what_is_below_the_roots_and_no_symlink_is_opened() {
        let folder = TempDir::new();
        let root = folder.join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/file"), "x").unwrap();
        fs::write(folder.join("secret"), "x").unwrap();
        symlink(folder.join("secret"), root.join("link")).unwrap();
        symlink("a", root.join("way")).unwrap();
        symlink("root", folder.join("other")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let roots = [root.clone(), folder.join("other")];
        for name in ["root", "root/", "root/a", "root/a/file", "root/./a//b", "other/a/file"] {
            assert_eq!(opened(&folder.join(name), &roots), Ok(()), "{name}");
        }
        for (name, said) in [
            ("secret", "is outside read_roots"),
            ("root2", "is outside read_roots"),
            ("root/../secret", "without '..'"),
            ("root/link", "is a symlink"),
            ("root/way/file", "is a symlink"),
            ("root/fifo", "neither a file nor a directory"),
            ("root/none", "No such file"),
            ("root/a/file/x", "Not a directory"),
        ] {
            let why = opened(&folder.join(name), &roots).unwrap_err();
            assert!(why.contains(said), "{name}: {why}");
        }
        assert!(opened(Path::new("root/a"), &roots).unwrap_err().contains("absolute"));
        assert!(opened(&root.join("a/file"), &[]).unwrap_err().contains("read_roots of its module action is empty"));
    }
}

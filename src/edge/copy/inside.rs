//! A directory that no path leads out of. Paths are walked one component at a time, each opened from its parent
//! directory, and symlinks are followed by this code, so that a concurrent change cannot lead elsewhere.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Maximum number of symlinks on one path, as in the kernel.
pub(super) const LINKS_MAX: usize = 40;
/// Flags for opening a directory on the way.
const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Mode bit of a directory such as `/tmp`: only owners may remove files in it.
const STICKY: u32 = 0o1000;
const OTHERS_WRITE: u32 = 0o002;
/// Maximum number of components of a path.
const DEPTH_MAX: usize = 1_024;

/// Why a path is refused.
#[derive(Debug)]
pub(super) enum Problem {
    /// The path leads out of the directory.
    Outside,
    /// The system refuses it.
    System(io::Error),
}

impl Problem {
    pub(super) fn into_error(self) -> io::Error {
        match self {
            Self::Outside => Errno::INVAL.into(),
            Self::System(error) => error,
        }
    }
}

impl From<Errno> for Problem {
    fn from(error: Errno) -> Self {
        Self::System(error.into())
    }
}

/// What to do about a missing component.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Make a directory.
    Make,
    /// Fail.
    Refuse,
    /// Check the rest of the path as it is written for staying inside.
    Imagine,
}

/// Such a directory; see the module's documentation.
pub(super) struct Inside {
    root: File,
    path: PathBuf,
}

/// The open directories from the root to a place in it.
pub(super) struct Way<'a> {
    inside: &'a Inside,
    directories: Vec<OwnedFd>,
}

impl Inside {
    /// Opens a directory. Symlinks on the way are followed, except those that another user may have planted.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let all = Self { root: rustix::fs::open("/", PLACE, Mode::empty())?.into(), path: PathBuf::from("/") };
        let absolute = std::path::absolute(path)?;
        let components = absolute.components().filter(|component| *component != Component::RootDir);
        let mut way = Way { inside: &all, directories: Vec::new() };
        way.walk(components.map(|component| component.as_os_str().to_owned()).collect(), Missing::Refuse)
            .map_err(Problem::into_error)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = File::from(rustix::fs::openat(way.directory(), ".", flags, Mode::empty())?);
        let path = std::fs::read_link(format!("/proc/self/fd/{}", root.as_raw_fd()))
            .or_else(|_| std::fs::canonicalize(path))?;
        Ok(Self { root, path })
    }

    /// The target of a symlink in this directory; `None` if the name is not a symlink.
    pub(super) fn link_target(&self, name: &OsStr) -> io::Result<Option<PathBuf>> {
        Way { inside: self, directories: Vec::new() }.target_of(name).map_err(Problem::into_error)
    }

    /// The directory itself.
    pub(super) const fn root(&self) -> &File {
        &self.root
    }

    /// Its path without symlinks.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The components of a path relative to the root, as they are written.
    pub(super) fn components(&self, name: &Path) -> Result<Vec<OsString>, Problem> {
        let relative =
            if name.has_root() { name.strip_prefix(&self.path).map_err(|_| Problem::Outside)? } else { name };
        let mut components = Vec::new();
        for component in relative.components() {
            match component {
                Component::Normal(part) => components.push(part.to_owned()),
                Component::CurDir => {}
                Component::ParentDir => drop(components.pop().ok_or(Problem::Outside)?),
                Component::RootDir | Component::Prefix(_) => return Err(Problem::Outside),
            }
        }
        if components.len() > DEPTH_MAX { Err(Errno::NAMETOOLONG.into()) } else { Ok(components) }
    }

    /// Walks along components from the root.
    pub(super) fn walk(&self, components: &[OsString], missing: Missing) -> Result<Way<'_>, Problem> {
        let mut way = Way { inside: self, directories: Vec::new() };
        way.walk(components.iter().cloned().collect(), missing)?;
        Ok(way)
    }
}

impl Way<'_> {
    /// The directory at the end of the way.
    pub(super) fn directory(&self) -> impl AsFd + '_ {
        self.directories.last().map_or_else(|| self.inside.root.as_fd(), AsFd::as_fd)
    }

    /// Checks that a symlink in this directory would lead to a place inside.
    pub(super) fn leads_inside(self, target: &Path) -> Result<(), Problem> {
        let mut way = self;
        let queue = way.follow(target)?;
        way.walk(queue, Missing::Imagine)
    }

    /// Returns the components of a symlink's target. An absolute target starts at the root.
    fn follow(&mut self, target: &Path) -> Result<VecDeque<OsString>, Problem> {
        let relative = if target.has_root() {
            let relative = target.strip_prefix(&self.inside.path).map_err(|_| Problem::Outside)?;
            self.directories.clear();
            relative
        } else {
            target
        };
        Ok(relative.components().map(|component| component.as_os_str().to_owned()).collect())
    }

    fn walk(&mut self, mut queue: VecDeque<OsString>, missing: Missing) -> Result<(), Problem> {
        let mut links = 0;
        while let Some(name) = queue.pop_front() {
            if queue.len() > DEPTH_MAX || self.directories.len() > DEPTH_MAX {
                return Err(Errno::NAMETOOLONG.into());
            }
            match name.as_encoded_bytes() {
                b"." => {}
                b".." => {
                    let is_at_top = self.directories.pop().is_none();
                    // The parent of `/` is `/`.
                    if is_at_top && self.inside.path != Path::new("/") {
                        return Err(Problem::Outside);
                    }
                }
                _ => match self.enter(&name) {
                    Ok(directory) => self.directories.push(directory),
                    Err(Errno::NOENT) if missing == Missing::Make => {
                        match rustix::fs::mkdirat(self.directory(), &name, Mode::from_raw_mode(0o755)) {
                            Ok(()) | Err(Errno::EXIST) => {}
                            Err(error) => return Err(error.into()),
                        }
                        let directory = self.enter(&name)?;
                        self.directories.push(directory);
                    }
                    Err(Errno::NOENT) if missing == Missing::Imagine => {
                        return imagine(self.directories.len() + 1, &queue);
                    }
                    Err(Errno::LOOP | Errno::NOTDIR) => match self.target_of(&name)? {
                        Some(target) => {
                            links += 1;
                            if links > LINKS_MAX {
                                return Err(Errno::LOOP.into());
                            }
                            let mut before = self.follow(&target)?;
                            before.append(&mut queue);
                            queue = before;
                        }
                        // The last component of a target may be a file.
                        None if missing == Missing::Imagine && queue.is_empty() => {}
                        None => return Err(Errno::NOTDIR.into()),
                    },
                    Err(error) => return Err(error.into()),
                },
            }
        }
        Ok(())
    }

    fn enter(&self, name: &OsStr) -> Result<OwnedFd, Errno> {
        rustix::fs::openat(self.directory(), name, PLACE, Mode::empty())
    }

    /// The target of a symlink. A symlink of another user in a directory like `/tmp` is not followed, like the kernel
    /// with `fs.protected_symlinks`: its owner may lack the right to write to the target, and we may have it.
    fn target_of(&self, name: &OsStr) -> Result<Option<PathBuf>, Problem> {
        let stat = rustix::fs::statat(self.directory(), name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Ok(None);
        }
        let directory = rustix::fs::statat(self.directory(), "", AtFlags::EMPTY_PATH)?;
        let anybody_writes = directory.st_mode & (STICKY | OTHERS_WRITE) == STICKY | OTHERS_WRITE;
        if anybody_writes && ![rustix::process::geteuid().as_raw(), directory.st_uid].contains(&stat.st_uid) {
            let text = "a symlink of another user in a directory that anybody may write to";
            return Err(Problem::System(io::Error::new(io::ErrorKind::PermissionDenied, text)));
        }
        let target = rustix::fs::readlinkat(self.directory(), name, Vec::new())?;
        Ok(Some(PathBuf::from(OsString::from_vec(target.into_bytes()))))
    }
}

/// Checks that the rest of a path stays inside, starting `depth` directories below the root.
fn imagine(mut depth: usize, rest: &VecDeque<OsString>) -> Result<(), Problem> {
    for name in rest {
        match name.as_encoded_bytes() {
            b"." => {}
            b".." => depth = depth.checked_sub(1).ok_or(Problem::Outside)?,
            _ => depth += 1,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::edge::temp_dir::TempDir;

    fn walk(inside: &Inside, name: &str) -> Result<(), String> {
        let components = inside.components(Path::new(name)).map_err(|_| "outside".to_owned())?;
        match inside.walk(&components, Missing::Refuse) {
            Ok(_) => Ok(()),
            Err(Problem::Outside) => Err("outside".to_owned()),
            Err(Problem::System(error)) => Err(format!("{:?}", error.kind())),
        }
    }

    #[test]
    fn symlinks_are_followed_as_long_as_they_stay_inside() {
        let folder = TempDir::new();
        let root = folder.join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        symlink("a/b", root.join("in")).unwrap();
        symlink(root.join("a"), root.join("absolute")).unwrap();
        symlink("..", root.join("out")).unwrap();
        symlink("/etc", root.join("etc")).unwrap();
        symlink("../..", root.join("a/b/up")).unwrap();
        symlink("me", root.join("me")).unwrap();
        let inside = Inside::open(&root).unwrap();
        for name in ["a/b", "in", "absolute/b", "a/../a", "./a//b/.", "a/b/up/a", "in/up/in"] {
            assert_eq!(walk(&inside, name), Ok(()), "{name}");
        }
        for name in ["out", "etc", "..", "a/../..", "/etc", "a/b/up/out/x", "in/up/etc"] {
            assert_eq!(walk(&inside, name), Err("outside".to_owned()), "{name}");
        }
        assert_eq!(walk(&inside, "a/none"), Err("NotFound".to_owned()));
        assert_eq!(walk(&inside, "me"), Err("FilesystemLoop".to_owned()));
        assert_eq!(walk(&inside, root.join("a").to_str().unwrap()), Ok(()), "an absolute name that stays inside");
    }

    #[test]
    fn what_a_symlink_would_lead_to_is_found_out_before_it_is_made() {
        let folder = TempDir::new();
        let root = folder.join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/file"), "x").unwrap();
        symlink("../..", root.join("a/b/up")).unwrap();
        let inside = Inside::open(&root).unwrap();
        let leads = |directory: &str, target: &str| {
            let components = inside.components(Path::new(directory)).unwrap();
            inside.walk(&components, Missing::Refuse).unwrap().leads_inside(Path::new(target)).is_ok()
        };
        for (directory, target) in
            [("a/b", "../.."), ("", "a/file"), ("", "new/one"), ("a", "new/../../b"), ("", "a/b/up/a")]
        {
            assert!(leads(directory, target), "{target} in {directory}");
        }
        for (directory, target) in
            [("", ".."), ("a", "../.."), ("", "new/../.."), ("", "a/b/up/.."), ("", "/etc/passwd")]
        {
            assert!(!leads(directory, target), "{target} in {directory}");
        }
    }
}

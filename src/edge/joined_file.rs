//! Changes the file of added nodes and tokens ([`crate::config::joined`]): one change at a time, whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use super::system;
use crate::config::joined::{Joined, read};

/// It may hold secrets.
const MODE: u32 = 0o600;

/// Changes the content. The file belongs to the owner of its directory, whoever changes it.
///
/// # Errors
/// A sentence: what `change` refuses, or that the file cannot be read or written. Then nothing was changed.
pub fn change<T>(path: &Path, change: impl FnOnce(&mut Joined) -> Result<T, String>) -> Result<T, String> {
    let failed = |error: io::Error| format!("{}: cannot be written: {error}", path.display());
    let _lock = lock(path).map_err(failed)?;
    let mut joined = read(path).map_err(|text| format!("{}: {text}", path.display()))?;
    let before = joined.clone();
    let result = change(&mut joined)?;
    if joined != before {
        write(path, &joined).map_err(failed)?;
    }
    Ok(result)
}

/// Takes the lock beside the file, which is released when it is dropped.
fn lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(MODE).open(beside(path, ".lock"))?;
    give_to_owner(path, &beside(path, ".lock"));
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Writes a file whole or not at all. It belongs to the owner of its directory.
///
/// # Errors
/// Those of the operating system.
pub fn write(path: &Path, content: &impl Serialize) -> io::Result<()> {
    let aside = beside(path, ".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&aside)?;
    let text = serde_json::to_string_pretty(content).map_err(io::Error::other)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    give_to_owner(path, &aside);
    fs::rename(&aside, path)?;
    system::sync_folder_of(path)
}

/// Gives `file` to the owner of the directory, if we may: the daemon's user must be able to read it.
pub fn give_to_owner(path: &Path, file: &Path) {
    let Some(directory) = path.parent().and_then(|directory| fs::metadata(directory).ok()) else { return };
    let is_other = fs::metadata(file).is_ok_and(|metadata| metadata.uid() != directory.uid());
    if is_other {
        let _not_root = chown(file, Some(directory.uid()), Some(directory.gid()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::joined::AddedToken;
    use crate::edge::temp_dir::TempDir;

    #[test]
    fn a_change_is_kept_and_a_refused_one_leaves_the_file_alone() {
        let dir = TempDir::new();
        let path = dir.join("nodes.json");
        let token = AddedToken { name: "a".to_owned(), node: None, hash: "00".repeat(32) };
        let add = |joined: &mut Joined| {
            joined.tokens.push(token.clone());
            Ok(())
        };
        change(&path, add).unwrap();
        let before = fs::read(&path).unwrap();
        let refused: Result<(), String> = change(&path, |joined| {
            joined.tokens.clear();
            Err("no".to_owned())
        });
        assert_eq!(refused.unwrap_err(), "no");
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(read(&path).unwrap().tokens, [token]);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, MODE);
    }

    #[test]
    fn a_file_that_is_none_of_ours_is_not_overwritten() {
        let dir = TempDir::new();
        let path = dir.join("nodes.json");
        fs::write(&path, "nodes: []").unwrap();
        let error = change(&path, |_| Ok(())).unwrap_err();
        assert!(error.contains("is not a file of 'stheno node add'"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"nodes: []");
    }
}

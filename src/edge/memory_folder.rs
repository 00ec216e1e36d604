//! The folder in memory that holds the history of a daemon with `storage: memory`.
//!
//! It stands in a folder where every user may write (`/dev/shm`), so it must be ours alone, and no link.

use std::fs::{DirBuilder, symlink_metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

/// Numbers of the file systems `tmpfs` and `ramfs` (linux/magic.h).
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// Makes the folder, or checks the one that an earlier run has left. Its parent must exist.
///
/// # Errors
/// It cannot be made, others may use it, or it is not in memory; the message names the folder and the remedy.
pub fn make(folder: &Path) -> Result<(), String> {
    let shown = folder.display();
    if let Err(error) = DirBuilder::new().mode(0o700).create(folder)
        && error.kind() != ErrorKind::AlreadyExists
    {
        return Err(format!("{shown}, which 'storage: memory' needs, cannot be made: {error}"));
    }
    let found = symlink_metadata(folder).map_err(|error| format!("{shown}: {error}"))?;
    let is_ours = found.uid() == rustix::process::geteuid().as_raw();
    if !found.is_dir() || !is_ours || found.mode() & 0o077 != 0 {
        return Err(format!("{shown} is not a folder of this user alone: remove it"));
    }
    let system = rustix::fs::statfs(folder).map_err(|error| format!("{shown}: {error}"))?;
    #[allow(clippy::useless_conversion, reason = "its type differs between architectures")]
    let kind = i64::from(system.f_type);
    if !IN_MEMORY.contains(&kind) {
        let parent = folder.parent().unwrap_or(folder).display();
        return Err(format!("{parent} is not in memory: mount a tmpfs there, or leave 'storage: memory' out"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::edge::temp_dir::TempDir;

    #[test]
    fn a_folder_that_others_may_use_a_link_and_one_on_a_disk_are_refused() {
        let base = TempDir::new();
        let folder = base.path().join("open");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        assert!(make(&folder).unwrap_err().contains("of this user alone"));
        let link = base.path().join("link");
        symlink(&folder, &link).unwrap();
        assert!(make(&link).unwrap_err().contains("of this user alone"));
        let proc = Path::new("/proc/self/stheno");
        assert!(make(proc).unwrap_err().contains("cannot be made"));
    }
}

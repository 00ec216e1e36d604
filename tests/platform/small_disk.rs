//! A small file system, for tests of a disk that is full or not writable.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system, unmounted when dropped.
pub struct SmallDisk(pub PathBuf);

impl SmallDisk {
    /// Mounts a file system of 1 MB at `place`, which is created. Without the right to mount, the test says that it is
    /// skipped and gets `None`.
    pub fn new(place: PathBuf) -> Option<Self> {
        match Self::mounted(place, "1m") {
            Ok(disk) => Some(disk),
            Err(reason) => {
                println!("SKIPPED: {reason}");
                eprintln!("SKIPPED: {reason}");
                None
            }
        }
    }

    /// Mounts one of this size (`8m`).
    ///
    /// # Errors
    /// Returns why file systems cannot be mounted here.
    pub fn mounted(place: PathBuf, size: &str) -> Result<Self, String> {
        fs::create_dir(&place).unwrap();
        let mounted = mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], &place);
        mounted.map_err(|reason| format!("file systems may not be mounted here: {reason}"))?;
        Ok(Self(place))
    }

    /// Makes the file system read-only.
    pub fn remount_read_only(&self) {
        mount(&["-o", "remount,ro"], &self.0).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is left mounted", self.0.display());
        }
    }
}

fn mount(options: &[&str], place: &Path) -> Result<(), String> {
    let done = Command::new("mount").args(options).arg(place).output().map_err(|error| error.to_string())?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()) }
}

//! The time that `cp` needs for the same files, until they are on the disk like a copy of ours.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::copies::{write_large, write_many};
use crate::footprint::megabytes;
use crate::process::pss_bytes;

/// MB/s of `cp` with one large file.
///
/// # Errors
/// The output of `cp`.
pub fn large_megabytes_per_second(bytes: usize) -> Outcome<f64> {
    let folder = Folder::new()?;
    let source = folder.0.join("large");
    write_large(&source, bytes)?;
    let took = copy(&["--", "large", "copy"], &["--", "copy"], &folder.0)?;
    Ok(megabytes(u64::try_from(bytes)?) / took.as_secs_f64())
}

/// Maximum PSS in MB of `cp` while it copies one large file.
///
/// # Errors
/// The output of `cp`.
pub fn cp_megabytes(bytes: usize) -> Outcome<f64> {
    let folder = Folder::new()?;
    write_large(&folder.0.join("large"), bytes)?;
    let child = Command::new("cp").args(["--", "large", "copy"]).current_dir(&folder.0).process_group(0).spawn()?;
    Ok(megabytes(largest_pss(child)?))
}

/// Maximum PSS in bytes of a process group until its leader ends successfully.
///
/// # Errors
/// The leader fails.
pub fn largest_pss(mut child: Child) -> Outcome<u64> {
    let mut largest = 0;
    loop {
        if let Some(status) = child.try_wait()? {
            return if status.success() { Ok(largest) } else { Err(format!("a copy ended with {status}").into()) };
        }
        // The process may end during the measurement.
        largest = pss_bytes(child.id()).unwrap_or_default().max(largest);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Seconds that `cp` needs for a directory of `count` small files.
///
/// # Errors
/// The output of `cp`.
pub fn many_s(count: usize) -> Outcome<f64> {
    let folder = Folder::new()?;
    write_many(&folder.0.join("many"), count)?;
    Ok(copy(&["--recursive", "--", "many", "copy"], &["--file-system", "--", "copy"], &folder.0)?.as_secs_f64())
}

/// Runs `cp` and then `sync` like a copy of ours: for a single file, or for the whole file system with many files.
fn copy(words: &[&str], sync_words: &[&str], directory: &Path) -> Outcome<Duration> {
    let begun = Instant::now();
    run("cp", words, directory)?;
    run("sync", sync_words, directory)?;
    Ok(begun.elapsed())
}

fn run(program: &str, words: &[&str], directory: &Path) -> Outcome<()> {
    let output = Command::new(program).args(words).current_dir(directory).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// A directory on the file system of the daemons, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Outcome<Self> {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("floor-files-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

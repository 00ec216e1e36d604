//! What the same files take by `cp`, until they are on the disk as a copy of ours is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::copies::{write_large, write_many};
use crate::footprint::megabytes;

/// MB/s of `cp` of one large file.
///
/// # Errors
/// What `cp` said.
pub fn large_megabytes_per_second(bytes: usize) -> Outcome<f64> {
    let folder = Folder::new()?;
    let source = folder.0.join("large");
    write_large(&source, bytes)?;
    let took = copy(&["--", "large", "copy"], &["--", "copy"], &folder.0)?;
    Ok(megabytes(u64::try_from(bytes)?) / took.as_secs_f64())
}

/// Seconds of `cp` of a directory of so many small files.
///
/// # Errors
/// What `cp` said.
pub fn many_s(count: usize) -> Outcome<f64> {
    let folder = Folder::new()?;
    write_many(&folder.0.join("many"), count)?;
    Ok(copy(&["--recursive", "--", "many", "copy"], &["--file-system", "--", "copy"], &folder.0)?.as_secs_f64())
}

/// With `sync` in the way in which a copy of ours gets to the disk: one file alone, many with their file system.
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

/// A directory on the file system of the daemons; removed when dropped.
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

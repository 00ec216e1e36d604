//! The packages, the tarball and the build scripts, used below a root of their own as on another machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod offline;
mod packages;
mod scripts;
mod supply_chain;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// The repository.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A folder for one test, removed afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("stheno-packages-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            fs::remove_dir_all(&self.0).unwrap_or_default();
        }
    }
}

/// Runs a program and returns whether it succeeded and its output.
fn run(program: &str, words: &[&str]) -> (bool, String) {
    let here = Path::new(ROOT).join(program);
    let program = if here.exists() { here } else { program.into() };
    let output = Command::new(&program).args(words).current_dir(ROOT).output();
    said(&output.unwrap_or_else(|error| panic!("{}: {error}", program.display())))
}

fn said(output: &Output) -> (bool, String) {
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text.into_owned())
}

/// Runs a program that must succeed.
#[track_caller]
fn must(program: &str, words: &[&str]) -> String {
    let (fine, text) = run(program, words);
    assert!(fine, "{program} {}: {text}", words.join(" "));
    text
}

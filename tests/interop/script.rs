//! Runs the Python scripts beside this file.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::platform::until;

/// A Python that has pyzmq and cryptography.
fn python() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".test-env/bin/python");
    let python = std::env::var_os("STHENO_PYTHON").map_or(own, PathBuf::from);
    assert!(python.exists(), "no Python for the interop tests at {}: run tests/run, which makes it", python.display());
    python
}

/// The folder of the independent peer, which the scripts import.
fn peer_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/peer")
}

/// A running script; killed when dropped.
pub struct Script {
    name: String,
    child: Child,
}

impl Script {
    /// Starts `NAME.py` with arguments.
    pub fn start<A: AsRef<OsStr>>(name: &str, arguments: &[A]) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(format!("{name}.py"));
        let child = Command::new(python())
            .arg("-B")
            .arg(file)
            .args(arguments)
            .env("PYTHONPATH", peer_folder())
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { name: name.to_owned(), child }
    }

    /// Waits until it ends; fails the test with everything it printed unless it ended well.
    #[track_caller]
    pub fn succeeds(mut self, limit: Duration) -> String {
        let (mut out, mut err) = (self.child.stdout.take().unwrap(), self.child.stderr.take().unwrap());
        let said = std::thread::spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).unwrap();
            text
        });
        let complaints = std::thread::spawn(move || {
            let mut text = String::new();
            err.read_to_string(&mut text).unwrap();
            text
        });
        let status = until(&format!("{}.py ends", self.name), limit, || self.child.try_wait().unwrap());
        let (said, complaints) = (said.join().unwrap(), complaints.join().unwrap());
        assert!(status.success(), "{}.py: {status}\n{said}\n{complaints}", self.name);
        said
    }

    /// Returns the next line that it prints.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        let out = self.child.stdout.as_mut().unwrap();
        while out.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        let line = String::from_utf8(line).unwrap();
        if line.is_empty() {
            let mut text = String::new();
            self.child.stderr.as_mut().unwrap().read_to_string(&mut text).unwrap();
            panic!("{}.py ended: {text}", self.name);
        }
        line
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

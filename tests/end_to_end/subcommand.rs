//! A subcommand that talks to a daemon, while it runs.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::platform::{Daemon, STHENO, seconds, until};

/// A running subcommand; killed when dropped.
pub struct Running {
    pub child: Child,
    /// `None` after the test has stopped reading it.
    pub out: Option<BufReader<ChildStdout>>,
}

impl Running {
    pub fn start(daemon: &Daemon, command: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(STHENO)
            .args([command, "--config"])
            .arg(daemon.plan.config_file())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = Some(BufReader::new(child.stdout.take().unwrap()));
        Self { child, out }
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    pub fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    }

    /// Returns the rest of its output, its errors, and its exit status.
    pub fn end(self) -> (String, String, ExitStatus) {
        self.end_within(seconds(20))
    }

    pub fn end_within(mut self, limit: Duration) -> (String, String, ExitStatus) {
        let status = until("the subcommand ends", limit, || self.child.try_wait().unwrap());
        let (mut out, mut err) = (String::new(), String::new());
        if let Some(mut rest) = self.out.take() {
            rest.read_to_string(&mut out).unwrap();
        }
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (out, err, status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

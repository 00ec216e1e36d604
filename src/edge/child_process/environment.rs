//! The environment of commands: few variables, so that no secret of the daemon's environment reaches them.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// The variables of our own environment that commands get, if set.
const KEPT: [&str; 6] = ["PATH", "HOME", "LANG", "USER", "SHELL", "TZ"];
/// The search path if `PATH` is not set.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What each command starts with.
#[derive(Clone, Debug)]
pub struct Environment {
    variables: Vec<(OsString, OsString)>,
    is_killed_first: bool,
}

impl Environment {
    /// `PATH`, `HOME`, `LANG`, `USER`, `SHELL`, `TZ`, and those in `named`: `NAME` takes our own value, `NAME=VALUE`
    /// sets one.
    #[must_use]
    pub fn new(named: &[String]) -> Self {
        let mut variables = vec![(OsString::from("PATH"), OsString::from(DEFAULT_PATH))];
        let mut set = |name: &str, value: OsString| {
            variables.retain(|(known, _)| known != name);
            variables.push((name.into(), value));
        };
        for entry in KEPT.into_iter().chain(named.iter().map(String::as_str)) {
            match entry.split_once('=') {
                Some((name, value)) => set(name, value.into()),
                None => env::var_os(entry).into_iter().for_each(|value| set(entry, value)),
            }
        }
        Self { variables, is_killed_first: false }
    }

    /// Lets the kernel kill commands rather than the daemon when memory is short.
    #[must_use]
    pub fn killed_first(self, is_killed_first: bool) -> Self {
        Self { is_killed_first, ..self }
    }

    /// Tells the kernel about a process. Without `/proc` it does not know.
    pub(super) fn mark(&self, process: u32) {
        /// Between -1000 (never) and 1000 (first).
        const SCORE: &str = "1000";
        if self.is_killed_first {
            let _it_may_have_ended = fs::write(format!("/proc/{process}/oom_score_adj"), SCORE);
        }
    }

    /// Name and value of each.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// The file of a program: the name itself if it has a slash, else the first executable file in `PATH`.
    ///
    /// # Errors
    /// The program does not exist or is not executable.
    pub(super) fn find(&self, program: &str) -> io::Result<PathBuf> {
        if program.contains('/') {
            return Ok(program.into());
        }
        let mut problem = io::ErrorKind::NotFound;
        let path = self.variables.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
        for directory in path.unwrap_or_default().as_bytes().split(|byte| *byte == b':') {
            // An empty entry means the working directory of the command, which is the root.
            let file = Path::new("/").join(OsStr::from_bytes(directory)).join(program);
            if fs::metadata(&file).is_ok_and(|metadata| metadata.is_file()) {
                if access(&file, Access::EXEC_OK).is_ok() {
                    return Ok(file);
                }
                problem = io::ErrorKind::PermissionDenied;
            }
        }
        Err(problem.into())
    }
}

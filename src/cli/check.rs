//! `check`: what a start would read, the keys and the places that it would write to. Changes nothing.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::{say, summary};
use crate::config;
use crate::config::settings::{Config, Problem};
use crate::daemon::key_files::{self, KeyState};
use crate::model::connection::Endpoint;

/// Checks the configuration `path` and prints a summary or every problem.
pub(super) fn run(path: &Path, json: bool) -> ExitCode {
    let checked = config::load(path).and_then(|config| {
        let (keys, problems) = look_around(&config);
        match keys {
            Some(keys) if problems.is_empty() => Ok((config, keys)),
            _ => Err(problems),
        }
    });
    match checked {
        Ok((config, keys)) if json => say(&summary::as_json(&config, &keys)),
        Ok((config, keys)) => say(&summary::as_text(path, &config, &keys)),
        Err(problems) => {
            say(&show(&problems, json));
            ExitCode::FAILURE
        }
    }
}

fn show(problems: &[Problem], json: bool) -> String {
    if json {
        let lines: Vec<_> = problems.iter().map(summary::problem_as_json).collect();
        return format!("{:#}\n", json!({ "ok": false, "problems": lines }));
    }
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// The keys, if they can be used, and what stands in the way of a start.
fn look_around(config: &Config) -> (Option<KeyState>, Vec<Problem>) {
    let mut problems = Vec::new();
    let core = &config.core;
    let keys = match key_files::inspect(&core.private_key, &core.public_key) {
        Ok(state) => Some(state),
        Err(error) => {
            problems.push(problem(&error.path, error.fault.to_string()));
            None
        }
    };
    if let Some(text) = database_fault(&core.database) {
        problems.push(problem(&core.database, text));
    }
    if let Some(Endpoint::Ipc(path)) = &core.external
        && let Some(text) = directory_fault(path)
    {
        problems.push(problem(path, text));
    }
    (keys, problems)
}

fn problem(file: &Path, text: String) -> Problem {
    Problem { file: file.to_path_buf(), key: String::new(), text }
}

/// Opens an existing database for writing without touching it; for a missing one, its directory must be there.
fn database_fault(path: &Path) -> Option<String> {
    match fs::OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => match file.metadata() {
            Ok(metadata) if metadata.is_file() => directory_fault(path),
            _ => Some("the database is not a regular file".to_owned()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => directory_fault(path),
        Err(error) => Some(format!("the database cannot be opened for writing by this user: {error}")),
    }
}

/// Whether new files can be made beside `path`, judged by the mode of the directory.
fn directory_fault(path: &Path) -> Option<String> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let shown = directory.display();
    match fs::metadata(directory) {
        Ok(metadata) if !metadata.is_dir() => Some(format!("{shown} is not a directory")),
        Ok(metadata) => {
            let user = User::current()?;
            let bits = metadata.mode() >> user.shift(metadata.uid(), metadata.gid());
            let may = user.id == 0 || bits & 0o3 == 0o3;
            (!may).then(|| {
                format!("this user cannot write to the directory {shown} (mode {:04o})", metadata.mode() & 0o7777)
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some(format!("the directory {shown} does not exist; make it, owned by the user of the daemon"))
        }
        Err(error) => Some(format!("the directory {shown} cannot be looked at: {error}")),
    }
}

/// The user that runs this process.
struct User {
    id: u32,
    groups: Vec<u32>,
}

impl User {
    /// Effective ids as the kernel tells them; `None` where it does not.
    fn current() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let numbers = |name: &str| -> Option<Vec<u32>> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().map(|word| word.parse().ok()).collect()
        };
        let mut groups = numbers("Groups:").unwrap_or_default();
        groups.extend(numbers("Gid:")?.get(1));
        Some(Self { id: *numbers("Uid:")?.get(1)?, groups })
    }

    /// How far the mode's bits for this user stand to the left.
    fn shift(&self, owner: u32, group: u32) -> u32 {
        if self.id == owner {
            6
        } else if self.groups.contains(&group) {
            3
        } else {
            0
        }
    }
}

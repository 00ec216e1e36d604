//! `check`: what a start would read, the keys and the places that it would write to. Changes nothing.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::{say, summary};
use crate::config::settings::{Config, Problem};
use crate::config::{self, Refused};
use crate::daemon::key_files::{self, KeyState};
use crate::daemon::poller_preview::{self, PollerPlan};
use crate::edge::clock;
use crate::edge::tls::{self, TlsError};
use crate::model::connection::Endpoint;

/// Checks the configuration `path`, and that `logfile` could be written, and prints a summary or every problem.
pub(super) fn run(path: &Path, logfile: Option<&Path>, json: bool) -> ExitCode {
    let checked = match config::load_with_warnings(path) {
        Ok(mut config) => {
            let (keys, mut problems) = look_around(&config, logfile, &[]);
            problems.extend(look_at_certificates(&mut config));
            let pollers = look_at_pollers(path, &mut config, &mut problems);
            match keys {
                Some(keys) if problems.is_empty() => Ok((config, keys, pollers)),
                _ => Err(Refused { problems, warnings: config.warnings, readable: None }),
            }
        }
        Err(mut refused) => {
            if let Some(mut config) = refused.readable.take() {
                let (_, more) = look_around(&config, logfile, &refused.problems);
                refused.problems.extend(more);
                refused.problems.extend(look_at_certificates(&mut config));
                refused.warnings.append(&mut config.warnings);
            }
            Err(refused)
        }
    };
    match checked {
        Ok((config, keys, pollers)) if json => say(&summary::as_json(&config, &keys, pollers.as_ref())),
        Ok((config, keys, pollers)) => say(&summary::as_text(path, &config, &keys, pollers.as_ref())),
        Err(refused) => {
            say(&show(&refused, json));
            ExitCode::FAILURE
        }
    }
}

fn show(Refused { problems, warnings, .. }: &Refused, json: bool) -> String {
    if json {
        let lines = |all: &[Problem]| all.iter().map(summary::problem_as_json).collect::<Vec<_>>();
        return format!("{:#}\n", json!({ "ok": false, "problems": lines(problems), "warnings": lines(warnings) }));
    }
    let problems = problems.iter().map(|problem| format!("{problem}\n"));
    problems.chain(warnings.iter().map(|warning| format!("warning: {warning}\n"))).collect()
}

/// The keys, if they can be used, and what stands in the way of a start. A default that took the place of a value in
/// `found` is not looked at.
fn look_around(config: &Config, logfile: Option<&Path>, found: &[Problem]) -> (Option<KeyState>, Vec<Problem>) {
    let mut problems = Vec::new();
    let core = &config.core;
    let defaults: Vec<&Path> = [
        ("gorgonecore.privkey", &core.private_key),
        ("gorgonecore.pubkey", &core.public_key),
        ("gorgonecore.gorgone_db_name", &core.database),
    ]
    .into_iter()
    .filter(|(key, _)| found.iter().any(|problem| problem.key == *key))
    .map(|(_, path)| path.as_path())
    .collect();
    let mut note = |path: &Path, fault: Option<String>| {
        let fault = fault.filter(|_| !defaults.contains(&path));
        problems.extend(fault.map(|text| Problem { file: path.to_path_buf(), key: String::new(), text }));
    };
    let keys = match key_files::inspect(&core.private_key, &core.public_key) {
        Ok(state) => Some(state),
        Err(error) => {
            note(&error.path, Some(error.fault.to_string()));
            None
        }
    };
    for (path, text) in places_of_new_keys(config, keys.as_ref()) {
        note(path, text);
    }
    let database = core.database.as_path();
    note(database, file_fault(database).or_else(|| directory_fault(database)).or_else(|| database_fault(database)));
    if let Some(Endpoint::Ipc(path)) = &core.external {
        note(path, directory_fault(path));
    }
    if let Some(logfile) = logfile {
        let missing = !logfile.exists();
        note(logfile, file_fault(logfile).or_else(|| if missing { directory_fault(logfile) } else { None }));
    }
    (keys, problems)
}

/// Loads certificates and keys as a start would: what stands in its way; warnings go to those of the configuration.
fn look_at_certificates(config: &mut Config) -> Vec<Problem> {
    let modules = &config.modules;
    let mut problems = Vec::new();
    let mut note = |error: TlsError| {
        let problem = Problem { file: error.file, key: String::new(), text: error.fault };
        // One certificate may serve both listeners.
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    };
    let api = modules.httpserver.as_ref().and_then(|http| http.tls.as_ref());
    let websocket = modules.proxy.as_ref().and_then(|proxy| proxy.httpserver.as_ref()?.tls.as_ref());
    let mut warnings = Vec::new();
    for (key, tls) in [("modules[httpserver]", api), ("modules[proxy].httpserver", websocket)] {
        let Some(tls) = tls else { continue };
        match tls::server::check(tls, clock::wall()) {
            Ok(texts) => warnings.extend(texts.into_iter().map(|text| (key, tls.certificate_file.clone(), text))),
            Err(error) => note(error),
        }
    }
    if let Some(check) = modules.pullwss.as_ref().and_then(|wss| wss.tls.as_ref()) {
        tls::client::check(check).unwrap_or_else(note);
    }
    let warnings = warnings.into_iter().map(|(key, file, text)| {
        let text = text.strip_prefix(&format!("{}: ", file.display())).unwrap_or(&text).to_owned();
        Problem { file, key: key.to_owned(), text }
    });
    config.warnings.extend(warnings);
    problems
}

/// The nodes that the Centreon database would give. That it does not answer now is a warning, because a daemon starts
/// without it; that it refuses us is a problem.
fn look_at_pollers(path: &Path, config: &mut Config, problems: &mut Vec<Problem>) -> Option<PollerPlan> {
    let line = |text: String| Problem { file: path.to_path_buf(), key: "modules[nodes]".to_owned(), text };
    match poller_preview::read(config)? {
        Ok(plan) => {
            config.warnings.extend(plan.complaints.iter().cloned().map(line));
            Some(plan)
        }
        Err(fault) if fault.is_refusal => {
            problems.push(line(fault.text));
            None
        }
        Err(fault) => {
            config.warnings.push(line(fault.text));
            None
        }
    }
}

/// The key files that a start would write, each with what prevents that.
fn places_of_new_keys<'a>(config: &'a Config, keys: Option<&KeyState>) -> Vec<(&'a Path, Option<String>)> {
    let (private, public) = (config.core.private_key.as_path(), config.core.public_key.as_path());
    let paths = match keys {
        Some(KeyState::Absent) => vec![private, public],
        Some(KeyState::Present { public_is_missing: true, .. }) => vec![public],
        _ => Vec::new(),
    };
    paths.into_iter().map(|path| (path, directory_fault(first_missing(path)))).collect()
}

/// `path`, or the outermost of its directories that is missing: a start makes those.
fn first_missing(path: &Path) -> &Path {
    path.ancestors().take_while(|place| !place.exists() && !place.as_os_str().is_empty()).last().unwrap_or(path)
}

/// Whether an existing file cannot be opened for writing; opening it so changes nothing. A missing one has no fault.
fn file_fault(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => return Some("is not a regular file".to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return Some(format!("cannot be looked at by this user: {error}")),
    }
    let opened = fs::OpenOptions::new().append(true).open(path);
    opened.err().map(|error| format!("cannot be opened for writing by this user: {error}"))
}

/// Whether an existing file that is not empty does not begin as a database of SQLite does.
fn database_fault(path: &Path) -> Option<String> {
    const BEGINNING: &[u8] = b"SQLite format 3\0";
    let mut begin = Vec::new();
    let read = fs::File::open(path).ok()?.take(BEGINNING.len() as u64).read_to_end(&mut begin);
    (read.is_ok_and(|len| len > 0) && begin != BEGINNING).then(|| {
        "is no SQLite database; check gorgone_db_name, or move the file away so that a start makes an empty one"
            .to_owned()
    })
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

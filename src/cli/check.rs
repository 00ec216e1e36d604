//! `check`: checks everything that a start would read, the keys, and the files that it would write. It changes nothing.

use std::fs;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use serde_json::json;

use super::{say, summary};
use crate::config::settings::Storage;
use crate::config::{self, Refused};
use crate::config::{Config, Problem};
use crate::daemon::key_files::{self, KeyState};
use crate::daemon::poller_preview::{self, PollerPlan};
use crate::edge::tls::{self, TlsError};
use crate::edge::{clock, history_store, memory_folder, sockets};
use crate::model::connection::Endpoint;

/// Checks the configuration `path` and whether `logfile` could be written, and prints a summary or all problems.
pub(super) fn run(path: &Path, logfile: Option<&Path>, json: bool) -> ExitCode {
    let checked = match config::load_with_warnings(path, &config::environment()) {
        Ok(mut config) => {
            let (keys, mut problems) = look_around(&config, logfile, &[]);
            let Occupied { problems: occupied, foreign_holder, running } = look_at_occupants(&config);
            problems.extend(occupied);
            let database = &config.core.database;
            problems.extend(foreign_holder.map(|text| Problem::of_file(database, "", text)));
            config.warnings.extend(running);
            let private = &config.core.private_key;
            config.warnings.extend(key_files::warning(private).map(|text| Problem::of_file(private, "", text)));
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
    problems
        .chain(
            warnings
                .iter()
                .map(|line| format!("{}: {line}\n", if line.is_error { "will not work" } else { "warning" })),
        )
        .collect()
}

/// Returns the state of the keys, if usable, and the problems that prevent a start. A default that replaced a value
/// reported in `found` is not checked.
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
        problems.extend(fault.map(|text| Problem::of_file(path, "", text)));
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
    let place = first_missing(database);
    note(database, file_fault(database).or_else(|| directory_fault(place)).or_else(|| database_fault(database)));
    if let (Storage::Memory(_), Some(folder)) = (core.storage, database.parent().filter(|folder| folder.exists())) {
        note(folder, memory_folder::make(folder).err());
    }
    if let Some(Endpoint::Ipc(path)) = &core.external {
        note(path, directory_fault(first_missing(path)));
    }
    if let Some(logfile) = logfile {
        let missing = !logfile.exists();
        note(logfile, file_fault(logfile).or_else(|| if missing { directory_fault(logfile) } else { None }));
    }
    (keys, problems)
}

/// Loads certificates and keys as a start would; returns the problems, and adds warnings to those of the configuration.
fn look_at_certificates(config: &mut Config) -> Vec<Problem> {
    let modules = &config.modules;
    let mut problems = Vec::new();
    let mut note = |error: TlsError| {
        let problem = Problem::of_file(error.file, "", error.fault);
        // Both listeners may use the same certificate.
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
        Problem::of_file(file, key, text)
    });
    config.warnings.extend(warnings);
    problems
}

/// Reads the nodes of the Centreon database. A missing answer is only a warning, because a daemon starts without it; a
/// refusal is a problem.
fn look_at_pollers(path: &Path, config: &mut Config, problems: &mut Vec<Problem>) -> Option<PollerPlan> {
    let line = |text: String| Problem::of_file(path, "modules[nodes]", text);
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

/// Returns the key files that a start would write, each with the fault that prevents it.
fn places_of_new_keys<'a>(config: &'a Config, keys: Option<&KeyState>) -> Vec<(&'a Path, Option<String>)> {
    let (private, public) = (config.core.private_key.as_path(), config.core.public_key.as_path());
    let paths = match keys {
        Some(KeyState::Absent) => vec![private, public],
        Some(KeyState::Present { public_is_missing: true, .. }) => vec![public],
        _ => Vec::new(),
    };
    paths.into_iter().map(|path| (path, directory_fault(first_missing(path)))).collect()
}

/// Returns `path`, or the outermost of its missing directories, which a start creates.
pub(super) fn first_missing(path: &Path) -> &Path {
    path.ancestors().take_while(|place| !place.exists() && !place.as_os_str().is_empty()).last().unwrap_or(path)
}

/// Returns the fault of an existing file that cannot be opened for writing. Opening it changes nothing. A missing file
/// has no fault.
pub(super) fn file_fault(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => return Some("is not a regular file".to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return Some(format!("cannot be looked at by this user: {error}")),
    }
    let opened = fs::OpenOptions::new().append(true).open(path);
    opened.err().map(|error| format!("cannot be opened for writing by this user: {error}"))
}

/// Returns the fault of an existing, non-empty file that does not begin like an SQLite database.
fn database_fault(path: &Path) -> Option<String> {
    const BEGINNING: &[u8] = b"SQLite format 3\0";
    let mut begin = Vec::new();
    let read = fs::File::open(path).ok()?.take(BEGINNING.len() as u64).read_to_end(&mut begin);
    (read.is_ok_and(|len| len > 0) && begin != BEGINNING).then(|| {
        "is not a SQLite database; check gorgone_db_name, or move the file away so that a start makes an empty one"
            .to_owned()
    })
}

/// Returns the fault that prevents new files beside `path`: missing rights or a read-only file system.
pub(super) fn directory_fault(path: &Path) -> Option<String> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let shown = directory.display();
    let metadata = match fs::metadata(directory) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Some(format!("the directory {shown} does not exist; make it, owned by the user of the daemon"));
        }
        Err(error) => return Some(format!("the directory {shown} cannot be looked at: {error}")),
    };
    if !metadata.is_dir() {
        return Some(format!("{shown} is not a directory"));
    }
    match accessat(CWD, directory, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
        Ok(()) => None,
        Err(Errno::ROFS) => Some(format!("the directory {shown} is on a file system that is read-only")),
        Err(Errno::ACCESS | Errno::PERM) => {
            let mode = metadata.mode() & 0o7777;
            Some(format!("this user cannot write to the directory {shown} (mode {mode:04o})"))
        }
        Err(error) => Some(format!("this user cannot write to the directory {shown}: {error}")),
    }
}

/// What of a start another process holds.
pub(super) struct Occupied {
    /// The ports that are in use.
    pub(super) problems: Vec<Problem>,
    /// A sentence about a daemon of another configuration that uses the database.
    pub(super) foreign_holder: Option<String>,
    /// A warning about a daemon that runs with the same configuration.
    running: Option<Problem>,
}

/// Finds resources of a start that another process holds, the database and ports, without taking them. A daemon that
/// runs with the same configuration is no problem, because checking beside it is usual; it is reported separately.
pub(super) fn look_at_occupants(config: &Config) -> Occupied {
    let core = &config.core;
    let holder = history_store::holder(&core.database);
    let tcp = |address: IpAddr, port: u16| Endpoint::Tcp { host: address.to_string(), port };
    let api = config.modules.httpserver.as_ref().map(|http| tcp(http.address, http.port));
    let websocket = config.modules.proxy.as_ref().and_then(|proxy| proxy.httpserver.as_ref());
    let websocket = websocket.map(|server| tcp(server.address, server.port)).filter(|one| Some(one) != api.as_ref());
    let places = [
        ("gorgonecore.external_com_path", core.external.clone()),
        ("modules[httpserver].port", api),
        ("modules[proxy].httpserver.port", websocket),
    ];
    let is_holders = |process: &Option<u32>| holder.is_some() && (process.is_none() || *process == holder);
    let (mut problems, mut ours) = (Vec::new(), 0_usize);
    for (key, endpoint) in places {
        let Some((process, text)) = endpoint.and_then(|endpoint| sockets::occupant(&endpoint, core.ipv6)) else {
            continue;
        };
        if is_holders(&process) {
            ours = ours.saturating_add(1);
        } else {
            problems.push(Problem::of_file(&core.database, key, text));
        }
    }
    let Some(holder) = holder else { return Occupied { problems, foreign_holder: None, running: None } };
    let text = format!("is in use by process {holder}");
    if ours > 0 || !problems.is_empty() || core.external.is_none() {
        let text = format!("{text}: a daemon with this configuration runs, so a second one would be refused");
        let running = Some(Problem::of_file(&core.database, "", text));
        return Occupied { problems, foreign_holder: None, running };
    }
    let text = format!("{text}, which listens on none of these ports: give this daemon a database of its own");
    Occupied { problems, foreign_holder: Some(text), running: None }
}

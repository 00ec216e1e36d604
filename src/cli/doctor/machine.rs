//! This machine: configuration, user, keys, certificates, database, disk, ports, unit, time, limits.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::statvfs;

use super::shown;
use crate::cli::check;
use crate::config;
use crate::config::{Config, Problem};
use crate::daemon::doctor::holds_connection;
use crate::daemon::key_files::{self, KeyFault, KeyState};
use crate::edge::history_store::{self, StoreErrorKind};
use crate::edge::{clock, system, tls};
use crate::model::diagnosis::{Cause, Report};

/// Free bytes below which a disk counts as full: the daemon itself stops taking work there.
const FREE_BYTES_MIN: u64 = 16 << 20;
/// How far the newest row or file may be in the future.
const CLOCK_SECONDS: i64 = 300;
/// Number of descriptors below which a daemon has too few.
const DESCRIPTORS_MIN: u64 = 256;
/// Maximum number of problems that a step shows.
const SHOWN_MAX: usize = 3;

/// Looks at this machine; adds the steps. Returns the configuration if it can be used.
pub(super) fn look(report: &mut Report, path: &Path, logfile: Option<&Path>) -> Option<Config> {
    let config = configuration(report, path)?;
    user(report, &config);
    keys(report, &config);
    certificates(report, &config);
    let holder = database(report, &config);
    disk(report, &config, logfile);
    ports(report, &config, holder);
    unit(report, path, holder);
    time(report, &config);
    limits(report, holder);
    modules(report, &config);
    Some(config)
}

/// Reads the configuration; adds the step.
pub(super) fn configuration(report: &mut Report, path: &Path) -> Option<Config> {
    const STEP: &str = "configuration";
    let expected = "files that a start can use";
    let (config, problems) = match config::load_with_warnings(path, &config::environment()) {
        Ok(config) => (Some(config), Vec::new()),
        Err(refused) => (None, refused.problems),
    };
    let Some(config) = config else {
        let unreadable = problems.iter().find(|problem| is_unreadable(problem));
        let seen = joined(unreadable.map_or(&problems[..], std::slice::from_ref));
        if unreadable.is_some() {
            let advice = "correct the path, or let the daemon's user read the file";
            report.bad(STEP, expected, seen, Cause::FileNotReadable, advice);
        } else {
            let advice = format!("correct these lines; 'stheno check --config {}' shows all", path.display());
            report.bad(STEP, expected, seen, Cause::WrongOption, advice);
        }
        return None;
    };
    let unknown: Vec<Problem> = config.warnings.iter().filter(|warning| warning.is_unknown_key()).cloned().collect();
    let lost: Vec<Problem> = config.warnings.iter().filter(|warning| warning.is_error).cloned().collect();
    if !unknown.is_empty() {
        let advice = "correct the name or the place of these options: they have no effect as they are";
        report.minor(STEP, "known options", joined(&unknown), Cause::UnknownOption, advice);
    }
    if !lost.is_empty() {
        let advice = "set 'enable: false' where it is not needed, or leave it to a Perl daemon beside this one";
        report.minor(STEP, "known modules", joined(&lost), Cause::ModuleMissing, advice);
    }
    if unknown.is_empty() && lost.is_empty() {
        report.good(STEP, expected, format!("{}, a {}", shown(path), config.role()));
    }
    Some(config)
}

/// Whether it is about a file that cannot be read: the file of the configuration, or one that it names.
fn is_unreadable(problem: &Problem) -> bool {
    problem.text.contains("cannot be read") || fs::File::open(&problem.file).is_err()
}

fn joined(problems: &[Problem]) -> String {
    let mut lines: Vec<String> = problems.iter().take(SHOWN_MAX).map(ToString::to_string).collect();
    if problems.len() > SHOWN_MAX {
        lines.push(format!("and {} more", problems.len() - SHOWN_MAX));
    }
    lines.join("; ")
}

/// Whether the owner of the database, as which the daemon runs, may read the private key.
fn user(report: &mut Report, config: &Config) {
    let own = rustix::process::geteuid().as_raw();
    let owner = fs::metadata(&config.core.database).map_or(own, |metadata| metadata.uid());
    let expected = "to be run as root or as the user of the daemon";
    if own != 0 && own != owner {
        let seen = format!("user {own}; the database belongs to user {owner}");
        return report.good("user", expected, format!("{seen}, so files may look different to the daemon"));
    }
    report.good("user", expected, format!("user {own}"));
    let key = &config.core.private_key;
    let Ok(metadata) = fs::metadata(key) else { return };
    let is_readable = owner == 0 || metadata.uid() == owner || metadata.mode() & 0o044 != 0;
    if !is_readable {
        let seen = format!("{} belongs to user {}, mode {:04o}", shown(key), metadata.uid(), metadata.mode() & 0o7777);
        let advice = format!("chown {owner} {}", key.display());
        report.bad("user", format!("user {owner} can read its key"), seen, Cause::FileNotReadable, advice);
    }
}

fn keys(report: &mut Report, config: &Config) {
    const STEP: &str = "keys";
    let private = &config.core.private_key;
    let expected = "a private key that only the daemon's user can read, and its public half";
    match key_files::inspect(private, &config.core.public_key) {
        Ok(KeyState::Absent) => match check::directory_fault(check::first_missing(private)) {
            None => report.good(STEP, expected, "none yet: a start makes them"),
            Some(fault) => {
                report.bad(STEP, expected, fault, Cause::ReadOnly, "make the directory, or correct 'privkey'")
            }
        },
        Ok(KeyState::Present { thumbprint, bits, .. }) => match key_files::warning(private) {
            None => report.good(STEP, expected, format!("{bits} bits, thumbprint {thumbprint}")),
            Some(warning) => {
                let advice = format!("chmod 600 {}", private.display());
                report.minor(STEP, expected, warning, Cause::KeyUnusable, advice);
            }
        },
        Err(error) => {
            let cause = match &error.fault {
                KeyFault::Read(_) => Cause::FileNotReadable,
                _ => Cause::KeyUnusable,
            };
            report.bad(STEP, expected, error.to_string(), cause, "the text says what to do");
        }
    }
}

/// The certificates of the listeners.
fn certificates(report: &mut Report, config: &Config) {
    const STEP: &str = "certificates";
    let modules = &config.modules;
    let api = modules.httpserver.as_ref().and_then(|http| http.tls.as_ref());
    let websocket = modules.proxy.as_ref().and_then(|proxy| proxy.httpserver.as_ref()?.tls.as_ref());
    let expected = "certificate and key that belong together and are valid now";
    for listener in [api, websocket.filter(|one| Some(*one) != api)].into_iter().flatten() {
        let name = shown(&listener.certificate_file);
        match tls::server::validity(listener, clock::wall()) {
            Err(error) => {
                let unreadable = fs::File::open(&error.file).is_err();
                let cause = if unreadable { Cause::FileNotReadable } else { Cause::KeyUnusable };
                report.bad(STEP, expected, error.to_string(), cause, "the text says what to do");
            }
            Ok((seconds, _)) if seconds < 0 => {
                let seen = format!("{name} expired {} days ago", seconds.unsigned_abs() / 86_400);
                let advice = "renew it, then reload the daemon ('systemctl reload stheno')";
                report.bad(STEP, expected, seen, Cause::CertificateExpired, advice);
            }
            Ok((_, false)) => {
                let seen = format!("{name} is not valid yet");
                report.bad(STEP, expected, seen, Cause::ClockOff, "set the clock of this machine by NTP");
            }
            Ok((seconds, true)) => report.good(STEP, expected, format!("{name}, {} days left", seconds / 86_400)),
        }
    }
}

/// Looks at the database; returns the process that uses it.
pub(super) fn database(report: &mut Report, config: &Config) -> Option<u32> {
    const STEP: &str = "database";
    let path = &config.core.database;
    let holder = history_store::holder(path);
    let expected = format!("{}, readable and writable", shown(path));
    let writable = check::file_fault(path).or_else(|| check::directory_fault(check::first_missing(path)));
    if let Some(fault) = writable {
        let advice = "give it and its directory to the daemon's user, or mount the file system for writing";
        report.bad(STEP, expected, fault, Cause::ReadOnly, advice);
        return holder;
    }
    match history_store::look(path) {
        Ok(seen) => {
            let by = holder.map_or_else(|| "not in use".to_owned(), |process| format!("in use by process {process}"));
            report.good(STEP, expected, format!("{} rows, {by}", seen.rows));
        }
        Err(error) => {
            let cause = match error.kind {
                StoreErrorKind::ReadOnly => Cause::ReadOnly,
                StoreErrorKind::DiskFull => Cause::DiskFull,
                StoreErrorKind::PermissionDenied => Cause::FileNotReadable,
                StoreErrorKind::Busy | StoreErrorKind::InUse(_) => Cause::DatabaseInUse,
                _ => Cause::DatabaseUnusable,
            };
            report.bad(STEP, expected, error.to_string(), cause, "the text says what to do");
        }
    }
    holder
}

/// Looks at the free space where the daemon writes.
pub(super) fn disk(report: &mut Report, config: &Config, logfile: Option<&Path>) {
    let mut seen: Vec<String> = Vec::new();
    let places =
        [Some(config.core.database.as_path()), logfile, config.core.audit_log.as_deref(), Some(Path::new("/tmp/x"))];
    let mut full = Vec::new();
    let mut known: Vec<PathBuf> = Vec::new();
    for place in places.into_iter().flatten() {
        let Some(directory) = place.ancestors().skip(1).find(|directory| directory.is_dir()) else { continue };
        if known.iter().any(|other| other == directory) {
            continue;
        }
        known.push(directory.to_owned());
        let Ok(found) = statvfs(directory) else { continue };
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        let no_names = found.f_files > 0 && found.f_ffree == 0;
        let text = format!("{} has {} MiB free", shown(directory), free >> 20);
        if free < FREE_BYTES_MIN || no_names {
            full.push(if no_names { format!("{} has no free inodes", shown(directory)) } else { text });
        } else {
            seen.push(text);
        }
    }
    let expected = format!("at least {} MiB where the daemon writes", FREE_BYTES_MIN >> 20);
    if full.is_empty() {
        report.good("disk", expected, seen.join(", "));
    } else {
        let advice = "make room ('du -xh --max-depth=2 / | sort -h'), or move gorgone_db_name; the daemon goes on by \
            itself";
        report.bad("disk", expected, full.join(", "), Cause::DiskFull, advice);
    }
}

/// Looks at the ports that a start would take, and at who has them.
fn ports(report: &mut Report, config: &Config, holder: Option<u32>) {
    const STEP: &str = "ports";
    let expected = "free, or held by the daemon of this configuration";
    let occupied = check::look_at_occupants(config);
    if let Some(foreign) = occupied.foreign_holder {
        let advice = "give one of the two daemons another gorgone_db_name, or stop the other one";
        report.bad("database", "used by the daemon of this configuration", foreign, Cause::DatabaseInUse, advice);
    }
    if occupied.problems.is_empty() {
        let by = holder.map_or("free", |_| "held by this daemon, or free");
        return report.good(STEP, expected, by);
    }
    let seen = joined(&occupied.problems);
    report.bad(STEP, expected, seen, Cause::PortInUse, "stop that program, or choose another port");
}

/// Looks at the service, if systemd runs it with this configuration.
fn unit(report: &mut Report, path: &Path, holder: Option<u32>) {
    let running = holder.map_or_else(|| "no daemon runs".to_owned(), |process| format!("process {process} runs"));
    let shown = Path::new("/run/systemd/system").is_dir().then(|| {
        let arguments = ["show", "stheno.service", "-p", "ActiveState,Result,NRestarts,LoadState", "--value"];
        let output = Command::new("systemctl").args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output();
        output.ok().map(|output| String::from_utf8_lossy(&output.stdout).lines().collect::<Vec<_>>().join(" "))
    });
    let is_packaged = path == Path::new("/etc/centreon-gorgone/config.yaml");
    let state = shown.flatten().filter(|_| is_packaged).unwrap_or_default();
    let expected = "a daemon that runs";
    if state.contains("failed") {
        let seen = format!("stheno.service: {state}");
        let advice = "'journalctl -u stheno -n 50' shows why; then 'systemctl reset-failed stheno' and start it";
        return report.bad("unit", expected, seen, Cause::DaemonNotRunning, advice);
    }
    report.good(
        "unit",
        expected,
        if state.is_empty() { running } else { format!("{running} (stheno.service: {state})") },
    );
}

/// Looks whether something that exists is younger than now.
fn time(report: &mut Report, config: &Config) {
    let now = clock::wall().as_seconds();
    let newest = history_store::look(&config.core.database).map_or(0, |seen| seen.newest_seconds);
    let state = system::clock_is_synchronised();
    let seen = match state {
        Some(true) => "set by a time service",
        Some(false) => "not set by a time service, as far as the kernel knows",
        None => "the kernel does not tell whether a time service sets it",
    };
    let expected = "a clock that a time service sets";
    let advice = "set the clock by NTP ('timedatectl set-ntp true'); rows of the wrong time go with the others";
    if let Some(machines) = clock::wrong() {
        let seen = format!("the clock says {machines}, which cannot be; {seen}");
        return report.bad("time", expected, seen, Cause::ClockOff, advice);
    }
    if newest > now.saturating_add(CLOCK_SECONDS) {
        let seen = format!("the newest row of the history is {} s in the future; {seen}", newest - now);
        return report.bad("time", expected, seen, Cause::ClockOff, advice);
    }
    report.good("time", expected, seen);
}

fn limits(report: &mut Report, holder: Option<u32>) {
    let process = holder.map_or_else(|| "self".to_owned(), |process| process.to_string());
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let Some(hard) = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()) else { return };
    let expected = format!("at least {DESCRIPTORS_MIN} descriptors");
    if hard < DESCRIPTORS_MIN {
        let advice = "raise LimitNOFILE= of the unit (or 'ulimit -Hn')";
        return report.minor("limits", expected, format!("{hard}"), Cause::LimitTooLow, advice);
    }
    report.good("limits", expected, format!("{hard}"));
}

/// Looks whether a daemon that is commanded can run anything.
fn modules(report: &mut Report, config: &Config) {
    let modules = &config.modules;
    let is_commanded = modules.pull.is_some() || modules.pullwss.is_some() || config.core.external.is_some();
    let has_nodes = modules.proxy.is_some() || modules.register.is_some();
    let expected = "the module 'action', if commands are to run here";
    if modules.action.is_none() && is_commanded && !has_nodes {
        let advice =
            "add the module 'action' (package gorgone::modules::core::action::hooks, enable: true) and restart";
        return report.minor("modules", expected, "it is not loaded", Cause::ModuleMissing, advice);
    }
    let names: Vec<&str> = modules.loaded.keys().map(String::as_str).collect();
    report.good("modules", expected, names.join(", "));
}

/// Whether the daemon of this configuration runs and is connected to `port` of its central.
pub(super) fn is_connected(config: &Config, port: u16) -> bool {
    history_store::holder(&config.core.database).is_some_and(|process| holds_connection(process, port))
}

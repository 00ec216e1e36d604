//! Reads where the history is kept: in a file, or on a database server (`gorgone_db_type: mysql`). It connects to
//! nothing.

use std::path::{Path, PathBuf};

use super::address;
use super::database::{DATABASE_PORT, DatabasePlace, DatabaseSettings, HistoryServer};
use super::database_section::parse_dsn;
use super::findings::Findings;
use super::section::{Section, refuse, scalar};
use super::tree::{Node, Value};
use crate::model::secret::Secret;

/// The options that only a database server has.
const OF_A_SERVER: [&str; 4] = ["gorgone_db_host", "gorgone_db_port", "gorgone_db_user", "gorgone_db_password"];
/// Name of the file of the history where `gorgone_db_name` names none; files of the daemon stand beside it.
const FILE_NAME: &str = "history.sdb";

/// Where the history is kept.
pub(super) struct HistoryPlace {
    /// The file of the history. With a server: the file that would have it, beside which the daemon keeps other files.
    pub(super) file: PathBuf,
    /// The database server that has it instead.
    pub(super) server: Option<HistoryServer>,
}

/// Reads the options `gorgone_db_*`. `private_key` tells the daemon's folder where no file of a history does.
pub(super) fn read(section: &Section<'_>, private_key: &Path, findings: &mut Findings) -> HistoryPlace {
    let allowed = "SQLite, or mysql (mariadb) for a database server";
    let is_server =
        section.parsed("gorgone_db_type", false, allowed, findings, |text| match text.to_ascii_lowercase().as_str() {
            "sqlite" => Some(false),
            "mysql" | "mariadb" => Some(true),
            _ => None,
        });
    if !is_server {
        for key in OF_A_SERVER {
            if let Some(node) = section.value(key) {
                findings.warning(&node.place, &section.path(key), "has no effect without 'gorgone_db_type: mysql'");
            }
        }
        return HistoryPlace { file: file(section, findings), server: None };
    }
    if !cfg!(feature = "centreon") {
        let text =
            "is a database server, which this build for pollers has no client for; take the full build, or SQLite";
        findings.problem(section.place(), &section.path("gorgone_db_type"), text);
    }
    HistoryPlace { file: folder_of(private_key).join(FILE_NAME), server: server(section, findings) }
}

/// The daemon's folder: that of its private key, or the one above `.keys`.
fn folder_of(private_key: &Path) -> PathBuf {
    let folder = private_key.parent().unwrap_or(Path::new("."));
    let above = folder.parent().filter(|_| folder.file_name().is_some_and(|name| name == ".keys"));
    above.unwrap_or(folder).to_owned()
}

fn file(section: &Section<'_>, findings: &mut Findings) -> PathBuf {
    const ALLOWED: &str = "'dbname=FILE', for instance 'dbname=/var/lib/centreon-gorgone/history.sdb'";
    let default = Path::new("/var/lib/centreon-gorgone").join(FILE_NAME);
    section.parsed("gorgone_db_name", default, ALLOWED, findings, |text| {
        let name = match text.split_once('=') {
            Some(("dbname" | "db" | "database", name)) => name,
            Some(_) => return None,
            None => text,
        };
        let is_file = !name.is_empty() && !name.contains([';', '\0']) && !name.starts_with(':') && !name.ends_with('/');
        is_file.then(|| Path::new(name).to_path_buf())
    })
}

fn server(section: &Section<'_>, findings: &mut Findings) -> Option<HistoryServer> {
    let key = section.path("gorgone_db_name");
    let (name, place) = section.text("gorgone_db_name", findings).unwrap_or(("dbname=gorgone", section.place()));
    if name.contains('/') && !name.contains("socket=") {
        let text = "names a file; with 'gorgone_db_type: mysql' it is 'dbname=NAME', the name of a database";
        findings.problem(place, &key, text);
        return None;
    }
    let mut warnings = Vec::new();
    let read = parse_dsn(&format!("mysql:{}", name.strip_prefix("mysql:").unwrap_or(name)), &mut warnings);
    let mut first = match read {
        Ok(settings) => settings,
        Err(text) => {
            findings.problem(place, &key, text);
            return None;
        }
    };
    for warning in warnings {
        findings.warning(place, &key, warning);
    }
    if let Some((user, _)) = section.exact("gorgone_db_user", findings) {
        user.clone_into(&mut first.username);
    }
    if let Some((password, _)) = section.exact("gorgone_db_password", findings) {
        first.password = Secret::new(password);
    }
    let port = section.parsed("gorgone_db_port", DATABASE_PORT, "a whole number from 1 to 65535", findings, |text| {
        address::port_number(text)
    });
    let places = hosts(section, port, findings);
    if places.is_empty() {
        if let (DatabasePlace::Local, true) = (&first.place, port != DATABASE_PORT) {
            first.place = DatabasePlace::Tcp { host: "localhost".to_owned(), port };
        }
        return Some(HistoryServer { servers: vec![first] });
    }
    let at = |place| DatabaseSettings { place, ..first.clone() };
    Some(HistoryServer { servers: places.into_iter().map(at).collect() })
}

/// Reads `gorgone_db_host`: one host, or a list that is tried in order.
fn hosts(section: &Section<'_>, port: u16, findings: &mut Findings) -> Vec<DatabasePlace> {
    let Some(node) = section.value("gorgone_db_host") else { return Vec::new() };
    let key = section.path("gorgone_db_host");
    let items: &[Node] = match &node.value {
        Value::List(items) => items,
        _ => std::slice::from_ref(node),
    };
    if items.is_empty() {
        findings.problem(&node.place, &key, "has no entry; allowed: HOST or HOST:PORT, or a list of them");
    }
    let mut found = Vec::new();
    for item in items {
        let Some(text) = scalar(item, &key, findings).map(str::trim) else { continue };
        let place = match address::host_and_port(text) {
            Some((host, port)) => Some(DatabasePlace::Tcp { host, port }),
            None => address::host(text).map(|host| match host == "localhost" && port == DATABASE_PORT {
                true => DatabasePlace::Local,
                false => DatabasePlace::Tcp { host, port },
            }),
        };
        match place {
            Some(place) => found.push(place),
            None => refuse(&item.place, &key, text, "HOST or HOST:PORT, or a list of them", findings),
        }
    }
    found
}

//! Reads `centreon.database.db_configuration` into [`super::database`]. It
//! connects to nothing. Messages never show a whole DSN, because it may hold a password.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::address;
use super::core_section::SOCKET_PATH_LIMIT;
use super::database::{DATABASE_PORT, DatabasePlace, DatabaseSettings, DatabaseTls};
use super::findings::Findings;
use super::options;
use super::raw::RawConfig;
use super::section::{BOOLEANS, Section, boolean};
use super::tree::Node;
use crate::model::secret::Secret;
use crate::model::text::quoted;

const FORMS: &str = "'mysql:host=HOST;port=PORT;dbname=NAME'";
const KEY: &str = "centreon.database.db_configuration";

/// Reads the database of a module that needs one; `None` with a warning if there is none.
pub(super) fn of_module(
    section: &Section<'_>,
    raw: &RawConfig<'_>,
    findings: &mut Findings,
) -> Option<DatabaseSettings> {
    if let Some(node) = configured(raw) {
        return read_database(node, KEY, findings);
    }
    let text =
        format!("needs '{KEY}' with 'dsn', 'username' and 'password', which no file has, so the module is not loaded");
    findings.warning(section.place(), &section.path(""), text);
    None
}

/// Reads `centreon.database.db_realtime`, if present.
pub(super) fn realtime(raw: &RawConfig<'_>, findings: &mut Findings) -> Option<DatabaseSettings> {
    let node = raw.centreon?.get("database")?.get("db_realtime")?;
    read_database(node, "centreon.database.db_realtime", findings)
}

fn configured<'a>(raw: &RawConfig<'a>) -> Option<&'a Node> {
    raw.centreon?.get("database")?.get("db_configuration")
}

fn read_database(node: &Node, key: &str, findings: &mut Findings) -> Option<DatabaseSettings> {
    let section = Section::new(Some(node), &node.place, key, &options::DB_CONFIGURATION, findings);
    let username = section.exact("username", findings).map(|(text, _)| text.to_owned());
    let password = section.exact("password", findings).map(|(text, _)| Secret::new(text));
    let dsn = section.text("dsn", findings);
    let Some((text, file)) = dsn else {
        if section.value("dsn").is_none() {
            findings.problem(section.place(), &section.path("dsn"), format!("is missing; allowed: {FORMS}"));
        }
        return None;
    };
    let key = section.path("dsn");
    let mut warnings = Vec::new();
    match parse_dsn(text, &mut warnings) {
        Ok(mut settings) => {
            for warning in warnings {
                findings.warning(file, &key, warning);
            }
            settings.username = username.unwrap_or(settings.username);
            settings.password = password.unwrap_or(settings.password);
            Some(settings)
        }
        Err(text) => {
            findings.problem(file, &key, text);
            None
        }
    }
}

/// Splits a DSN into its members, separated by `;` or `:`, except within an address in brackets.
fn members(text: &str) -> Vec<&str> {
    let mut members = Vec::new();
    let (mut start, mut in_brackets) = (0, false);
    for (at, letter) in text.char_indices() {
        match letter {
            '[' => in_brackets = true,
            ']' => in_brackets = false,
            ';' | ':' if !in_brackets => {
                members.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    members.push(text.get(start..).unwrap_or_default());
    members.into_iter().map(str::trim).filter(|member| !member.is_empty()).collect()
}

/// The members of a DSN read so far.
#[derive(Default)]
struct Members {
    host: Option<String>,
    port: Option<u16>,
    socket: Option<PathBuf>,
    database: Option<String>,
    username: String,
    password: Secret,
    uses_tls: bool,
    tls: DatabaseTls,
    client_cert: Option<PathBuf>,
    client_key: Option<PathBuf>,
    connect_timeout: Option<Duration>,
    read_timeout: Option<Duration>,
}

/// Reads a DSN.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn parse_dsn(text: &str, warnings: &mut Vec<String>) -> Result<DatabaseSettings, String> {
    let text = text.trim().trim_matches('"').trim();
    let text = text
        .get(..4)
        .filter(|start| start.eq_ignore_ascii_case("dbi:"))
        .map_or(text, |_| text.get(4..).unwrap_or_default());
    let (driver, rest) = text.split_once(':').unwrap_or((text, ""));
    if !["mysql", "mariadb"].iter().any(|known| driver.eq_ignore_ascii_case(known)) {
        return Err(format!("names the driver {}; allowed: mysql or MariaDB, as in {FORMS}", quoted(driver)));
    }
    let mut found = Members::default();
    // Members without '=' have these meanings, in this order.
    let mut positions = ["database", "host", "port"].into_iter();
    let mut port_of_host = None;
    let mut before = "";
    for member in members(rest) {
        let (name, value) = match member.split_once('=') {
            Some((name, value)) => (name.trim(), value.trim()),
            // 'host=NAME:PORT'
            None if is_host(before) && address::port_number(member).is_some() => {
                port_of_host = address::port_number(member);
                continue;
            }
            None => (positions.next().unwrap_or_default(), member),
        };
        take_member(&mut found, name, value, warnings)?;
        before = name;
    }
    if let Some(port) = port_of_host {
        let used = *found.port.get_or_insert(port);
        if used != port {
            warnings.push(format!("names the ports {port} (in 'host') and {used} (in 'port'); {used} is used"));
        }
    }
    found.into_settings(warnings)
}

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case("hostname")
}

fn take_member(found: &mut Members, name: &str, value: &str, warnings: &mut Vec<String>) -> Result<(), String> {
    let name = name.to_ascii_lowercase();
    let refused = |allowed: &str| Err(format!("'{name}' is {}; allowed: {allowed}", quoted(value)));
    let truth = |place: &mut bool| match boolean(value) {
        Some(truth) => {
            *place = truth;
            Ok(())
        }
        None => refused(BOOLEANS),
    };
    let driver_option = name.strip_prefix("mysql_").or_else(|| name.strip_prefix("mariadb_"));
    match driver_option.unwrap_or(&name) {
        "host" | "hostname" => match address::host(value) {
            Some(host) => found.host = Some(host),
            None => return refused("a host name or an address, an IPv6 address in brackets"),
        },

        "port" => match address::port_number(value) {
            Some(port) => found.port = Some(port),
            None => return refused("a whole number from 1 to 65535"),
        },
        "database" | "dbname" | "db" => found.database = Some(value.to_owned()),
        "user" | "username" => value.clone_into(&mut found.username),
        "password" => found.password = Secret::new(value),
        "socket" => {
            found.socket = Some(
                socket_path(value).ok_or("'mysql_socket' is not the path of a Unix socket with at most 107 bytes")?,
            )
        }
        "ssl" => truth(&mut found.uses_tls)?,
        "ssl_optional" => truth(&mut found.tls.optional)?,
        "ssl_verify_server_cert" => truth(&mut found.tls.verify_name)?,
        "ssl_ca_file" => found.tls.ca_file = Some(PathBuf::from(value)),
        "ssl_client_cert" => found.client_cert = Some(PathBuf::from(value)),
        "ssl_client_key" => found.client_key = Some(PathBuf::from(value)),
        "ssl_ca_path" => {
            return Err("'mysql_ssl_ca_path' is not supported; name one file with 'mysql_ssl_ca_file'".to_owned());
        }
        "connect_timeout" => found.connect_timeout = Some(timeout(value).ok_or_else(|| timeout_refusal(&name, value))?),
        "read_timeout" => found.read_timeout = Some(timeout(value).ok_or_else(|| timeout_refusal(&name, value))?),
        // Options of the original's driver that have no use here.
        "write_timeout" | "enable_utf8" | "enable_utf8mb4" | "auto_reconnect" | "compression" => {}
        _ => warnings.push(format!("the member {} is unknown, ignored", quoted(&name))),
    }
    Ok(())
}

fn socket_path(text: &str) -> Option<PathBuf> {
    let fits = !text.is_empty() && text.len() <= SOCKET_PATH_LIMIT && !text.contains('\0');
    fits.then(|| PathBuf::from(text))
}

fn timeout(text: &str) -> Option<Duration> {
    let seconds = text.parse().ok().filter(|seconds| (1..=300).contains(seconds))?;
    Some(Duration::from_secs(seconds))
}

fn timeout_refusal(name: &str, value: &str) -> String {
    format!("'{name}' is {}; allowed: a number of seconds from 1 to 300", quoted(value))
}

impl Members {
    fn into_settings(self, warnings: &mut Vec<String>) -> Result<DatabaseSettings, String> {
        let database = self.database.filter(|name| !name.is_empty());
        let Some(database) = database else { return Err(format!("has no 'dbname'; allowed: {FORMS}")) };
        let client = match (self.client_cert, self.client_key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return Err("has one of 'mysql_ssl_client_cert' and 'mysql_ssl_client_key'; both are needed".to_owned());
            }
        };
        let tls = DatabaseTls { client, ..self.tls };
        let says_tls = tls != DatabaseTls::default();
        if says_tls && !self.uses_tls {
            warnings.push("the 'mysql_ssl_*' members have no effect without 'mysql_ssl=1'".to_owned());
        }
        if tls.verify_name && tls.ca_file.is_none() && self.uses_tls {
            return Err("has 'mysql_ssl_verify_server_cert' without 'mysql_ssl_ca_file'; both are needed".to_owned());
        }
        let files = [
            &tls.ca_file,
            &tls.client.as_ref().map(|(certificate, _)| certificate.clone()),
            &tls.client.as_ref().map(|(_, key)| key.clone()),
        ];
        for file in files.into_iter().flatten().filter(|_| self.uses_tls) {
            readable(file)?;
        }
        let place = match (self.socket, self.host, self.port) {
            (Some(socket), ..) => DatabasePlace::Socket(socket),
            (None, None, None | Some(DATABASE_PORT)) => DatabasePlace::Local,
            (None, Some(host), None | Some(DATABASE_PORT)) if host == "localhost" => DatabasePlace::Local,
            (None, host, port) => DatabasePlace::Tcp {
                host: host.unwrap_or_else(|| "localhost".to_owned()),
                port: port.unwrap_or(DATABASE_PORT),
            },
        };
        Ok(DatabaseSettings {
            place,
            database,
            username: self.username,
            password: self.password,
            tls: self.uses_tls.then_some(tls),
            connect_timeout: self.connect_timeout.unwrap_or(Duration::from_secs(5)),
            read_timeout: self.read_timeout.unwrap_or(Duration::from_secs(10)),
        })
    }
}

fn readable(file: &Path) -> Result<(), String> {
    match std::fs::File::open(file) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("names {}, which cannot be read: {error}", file.display())),
    }
}

//! What is asked of the database, and what its refusals mean to an administrator.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::DatabaseFault;
use super::client::{Client, Fault, Row};
use super::stream::Stream;
use crate::config::database::{DATABASE_PORT, DatabasePlace, DatabaseSettings};
use crate::edge::resolver;
use crate::model::poller::{PollerRow, PollerTables, RelationRow};

/// The longest that a whole reading may take.
const WHOLE: Duration = Duration::from_secs(60);
/// Where packages of MariaDB and MySQL have their socket.
const SOCKETS: [&str; 4] =
    ["/run/mysqld/mysqld.sock", "/var/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock"];
/// The columns of `nagios_server` that mean something here; which of them exist differs from version to version.
const COLUMNS: [&str; 8] = [
    "id",
    "name",
    "localhost",
    "ns_ip_address",
    "gorgone_port",
    "remote_id",
    "remote_server_use_as_proxy",
    "gorgone_communication_type",
];

/// See [`super::read`].
pub(super) fn read(settings: &DatabaseSettings) -> Result<PollerTables, DatabaseFault> {
    let mut client = connect(settings)?;
    let tables = read_tables(&mut client).map_err(|fault| explain(fault, settings))?;
    client.quit();
    Ok(tables)
}

fn connect(settings: &DatabaseSettings) -> Result<Client, DatabaseFault> {
    let deadline = Instant::now() + WHOLE;
    let step = settings.read_timeout;
    let over_socket = |path: &Path| {
        let stream = Stream::unix(path, step, deadline).map_err(Fault::Io);
        stream.and_then(|stream| Client::login(stream, settings, "localhost")).map_err(|fault| explain(fault, settings))
    };
    let (host, port) = match &settings.place {
        DatabasePlace::Socket(path) => return over_socket(path),
        DatabasePlace::Local => match SOCKETS.iter().map(PathBuf::from).find(|path| path.exists()) {
            Some(path) => return over_socket(&path),
            None => ("127.0.0.1", DATABASE_PORT),
        },
        DatabasePlace::Tcp { host, port } => (host.as_str(), *port),
    };
    let mut last = None;
    for address in resolver::resolve(host, port).map_err(|text| DatabaseFault { text, is_refusal: false })? {
        match Stream::tcp(&address, settings.connect_timeout, step, deadline) {
            Ok(stream) => return Client::login(stream, settings, host).map_err(|fault| explain(fault, settings)),
            Err(error) => last = Some(error),
        }
    }
    let error = last.unwrap_or_else(|| ErrorKind::AddrNotAvailable.into());
    Err(explain(Fault::Io(error), settings))
}

fn read_tables(client: &mut Client) -> Result<PollerTables, Fault> {
    // So that no change is seen by half; a server too old for it does without.
    match client.query("START TRANSACTION READ ONLY") {
        Ok(_) | Err(Fault::Server(..)) => {}
        Err(fault) => return Err(fault),
    }
    let (_, fields) = client.query("SHOW COLUMNS FROM nagios_server")?;
    let exists = |column: &str| {
        fields.iter().any(|row| {
            row.first().is_some_and(|name| name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(column)))
        })
    };
    if !exists("id") {
        return Err(Fault::Other("its table 'nagios_server' has no column 'id', so it is none of Centreon".to_owned()));
    }
    let wanted: Vec<&str> = COLUMNS.into_iter().filter(|column| exists(column)).collect();
    let active = if exists("ns_activate") { " WHERE ns_activate = '1'" } else { "" };
    let (_, rows) =
        client.query(&format!("SELECT `{}` FROM nagios_server{active} ORDER BY id", wanted.join("`, `")))?;
    let pollers = rows.into_iter().map(|row| poller(&wanted, row)).collect();
    let (_, rows) = client.query("SELECT remote_server_id, poller_server_id FROM rs_poller_relation")?;
    let relations = rows.into_iter().map(relation).collect();
    let (_, rows) = client.query("SELECT `value` FROM options WHERE `key` = 'debug_gorgone'")?;
    let debug_gorgone = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
    Ok(PollerTables { pollers, relations, debug_gorgone })
}

fn poller(columns: &[&str], row: Row) -> PollerRow {
    let mut values: BTreeMap<&str, Option<String>> = columns.iter().copied().zip(row).collect();
    let mut value = |column: &str| values.remove(column).flatten();
    PollerRow {
        id: value("id").unwrap_or_default(),
        name: value("name").unwrap_or_default(),
        localhost: value("localhost"),
        address: value("ns_ip_address"),
        port: value("gorgone_port"),
        remote_id: value("remote_id"),
        use_as_proxy: value("remote_server_use_as_proxy"),
        communication_type: value("gorgone_communication_type"),
    }
}

fn relation(row: Row) -> RelationRow {
    let mut values = row.into_iter().map(Option::unwrap_or_default);
    RelationRow { remote_id: values.next().unwrap_or_default(), poller_id: values.next().unwrap_or_default() }
}

fn explain(fault: Fault, settings: &DatabaseSettings) -> DatabaseFault {
    let is_refusal = match &fault {
        Fault::Io(_) => false,
        // Too many connections, or a server that is shutting down.
        Fault::Server(code, _) => !matches!(code, 1040 | 1053 | 1203 | 1226),
        Fault::Other(_) => true,
    };
    DatabaseFault { text: sentence(fault, settings), is_refusal }
}

/// A sentence with the remedy.
fn sentence(fault: Fault, settings: &DatabaseSettings) -> String {
    let (place, database, user) = (&settings.place, &settings.database, &settings.username);
    let at = format!("the database server at {place}");
    match fault {
        Fault::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => {
                format!("{at} does not run: nothing listens there ({error}); start it, or correct the dsn")
            }
            ErrorKind::TimedOut | ErrorKind::WouldBlock => {
                format!(
                    "{at} does not answer in time: check the network, and whether it is overloaded or a table is locked"
                )
            }
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                format!("{at} broke the connection: it was stopped, or its log says why")
            }
            ErrorKind::PermissionDenied => format!("this user may not open the socket {place}: check its directories"),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                format!("{at} cannot be reached ({error}): check the address and the network")
            }
            _ => format!("the connection to {at} failed: {error}"),
        },
        Fault::Server(1045 | 1698 | 4151, _) => format!(
            "{at} refuses the user '{user}' or its password: correct 'username' and 'password' of \
                centreon.database.db_configuration"
        ),
        Fault::Server(1049, _) => format!("{at} has no database '{database}': correct 'dbname' in the dsn"),
        Fault::Server(1044, _) => {
            format!(
                "{at} does not let the user '{user}' use the database '{database}': correct 'dbname', or GRANT SELECT \
                    on it"
            )
        }
        Fault::Server(1146, text) => format!(
            "the database '{database}' at {place} lacks a table ({text}): correct 'dbname' in the dsn to the Centreon \
                configuration database"
        ),
        Fault::Server(1142 | 1143, text) => {
            format!("{at} does not let the user '{user}' read ({text}): GRANT SELECT on '{database}'")
        }
        Fault::Server(code, text) => format!("{at} refuses: {text} (error {code})"),
        Fault::Other(text) => format!("the database '{database}' at {place} cannot be read: {text}"),
    }
}

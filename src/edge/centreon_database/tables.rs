//! The queries for pollers, and the messages for errors of the database.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::DatabaseFault;
use super::client::{Client, Fault, Row};
use super::stream::Stream;
use crate::config::database::{DATABASE_PORT, DatabasePlace, DatabaseSettings};
use crate::edge::{resolver, tls};
use crate::model::poller::{PollerRow, PollerTables, RelationRow};

/// Time limit for reading everything.
const WHOLE: Duration = Duration::from_secs(60);
/// Paths of the Unix socket in packages of MariaDB and MySQL.
const SOCKETS: [&str; 4] =
    ["/run/mysqld/mysqld.sock", "/var/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock"];
/// The columns of `nagios_server` that are used. Some exist only in certain versions.
const COLUMNS: [&str; 9] = [
    "id",
    "uid",
    "name",
    "localhost",
    "ns_ip_address",
    "gorgone_port",
    "remote_id",
    "remote_server_use_as_proxy",
    "gorgone_communication_type",
];

/// Implements [`super::read`].
pub(super) fn read(settings: &DatabaseSettings) -> Result<PollerTables, DatabaseFault> {
    let mut client = connect(settings)?;
    let tables = read_tables(&mut client).map_err(|fault| explain(fault, settings))?;
    client.quit();
    Ok(tables)
}

pub(super) fn connect(settings: &DatabaseSettings) -> Result<Client, DatabaseFault> {
    log_in(settings, Instant::now() + WHOLE).map_err(|fault| explain(fault, settings))
}

/// Connects and logs in; everything on the connection ends at `deadline`.
pub(in crate::edge) fn log_in(settings: &DatabaseSettings, deadline: Instant) -> Result<Client, Fault> {
    let step = settings.read_timeout;
    let over_socket = |path: &Path| {
        let stream = Stream::unix(path, step, deadline).map_err(Fault::Io);
        stream.and_then(|stream| Client::login(stream, settings, "localhost"))
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
    let unknown = |text| Fault::Io(std::io::Error::new(ErrorKind::AddrNotAvailable, text));
    for address in resolver::resolve(host, port).map_err(unknown)? {
        match Stream::tcp(&address, settings.connect_timeout, step, deadline) {
            Ok(stream) => return Client::login(stream, settings, host),
            Err(error) => last = Some(error),
        }
    }
    Err(Fault::Io(last.unwrap_or_else(|| ErrorKind::AddrNotAvailable.into())))
}

fn read_tables(client: &mut Client) -> Result<PollerTables, Fault> {
    // The transaction gives a consistent snapshot. Servers that are too old for it are read without.
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
        return Err(Fault::Other(
            "its table 'nagios_server' has no column 'id', so it is not a Centreon database".to_owned(),
        ));
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
        uid: value("uid"),
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

pub(super) fn explain(fault: Fault, settings: &DatabaseSettings) -> DatabaseFault {
    let fault = match fault {
        Fault::Io(error) => {
            tls::database::explain(&error, settings.tls.as_ref()).map_or(Fault::Io(error), Fault::Other)
        }
        other => other,
    };
    let is_refusal = match &fault {
        Fault::Io(_) => false,
        // Temporary errors: too many connections, a server that is shutting down, a node of a Galera cluster without a
        // quorum.
        Fault::Server(code, _) => !matches!(code, 1040 | 1047 | 1053 | 1203 | 1226),
        Fault::Other(_) => true,
    };
    DatabaseFault { text: sentence(fault, settings), is_refusal }
}

/// Returns a sentence with the remedy.
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
            ErrorKind::AddrNotAvailable => error.to_string(),
            _ => format!("the connection to {at} failed: {error}"),
        },
        Fault::Server(1045 | 1698 | 4151, _) => {
            let may_want_tls = settings.tls.is_none() && matches!(settings.place, DatabasePlace::Tcp { .. });
            let tls =
                "; if both are right, the user may log in over TLS only (REQUIRE SSL): add 'mysql_ssl=1' to the dsn";
            format!(
                "{at} refuses the user '{user}' or its password: correct 'username' and 'password' of \
                    centreon.database.db_configuration{}",
                if may_want_tls { tls } else { "" }
            )
        }
        Fault::Server(1047, text) => format!(
            "{at} is a node of a cluster that has no quorum now ({text}); it is asked again, and other nodes may \
                answer: \
                look at wsrep_cluster_status"
        ),
        Fault::Server(3159, _) => {
            format!("{at} takes encrypted connections only: add 'mysql_ssl=1' to the dsn")
        }
        Fault::Server(1524, text) => format!(
            "{at} does not have the plugin that the user '{user}' logs in with ({text}): ALTER USER … IDENTIFIED WITH \
                caching_sha2_password BY '…' (MySQL), or VIA mysql_native_password (MariaDB)"
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
            format!("{at} does not let the user '{user}' do that ({text}): GRANT it on '{database}'")
        }
        Fault::Server(code, text) => format!("{at} refuses: {text} (error {code})"),
        Fault::Other(text) => format!("the database '{database}' at {place} cannot be read: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::database::DatabaseTls;
    use crate::model::secret::Secret;

    fn settings(place: DatabasePlace, tls: Option<DatabaseTls>) -> DatabaseSettings {
        DatabaseSettings {
            place,
            database: "centreon".to_owned(),
            username: "gorgone".to_owned(),
            password: Secret::new("x"),
            tls,
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(10),
        }
    }

    fn tcp() -> DatabasePlace {
        DatabasePlace::Tcp { host: "db".to_owned(), port: 3_306 }
    }

    #[test]
    fn a_refused_login_names_tls_where_that_may_be_the_cause() {
        let text = |place, tls| {
            let fault = explain(Fault::Server(1045, "Access denied".to_owned()), &settings(place, tls));
            assert!(fault.is_refusal);
            fault.text
        };
        assert!(text(tcp(), None).contains("over TLS only (REQUIRE SSL): add 'mysql_ssl=1'"));
        assert!(!text(tcp(), Some(DatabaseTls::default())).contains("TLS"));
        assert!(!text(DatabasePlace::Local, None).contains("TLS"));
    }

    #[test]
    fn a_node_without_a_quorum_is_asked_again_and_a_server_for_tls_says_so() {
        let explained = |code| explain(Fault::Server(code, "text".to_owned()), &settings(tcp(), None));
        let galera = explained(1047);
        assert!(!galera.is_refusal && galera.text.contains("no quorum now"), "{}", galera.text);
        assert!(explained(3159).text.contains("add 'mysql_ssl=1'"));
        assert!(explained(1524).text.contains("caching_sha2_password"));
    }
}

//! Settings of the connection to the Centreon configuration database, read by [`super::database_section`].

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::secret::Secret;

/// `centreon.database.db_configuration` (docs/protocol.md section 14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// Address of the database server.
    pub place: DatabasePlace,
    /// Name of the database.
    pub database: String,
    /// `username`; empty if absent.
    pub username: String,
    /// `password` of the user.
    pub password: Secret,
    /// `mysql_ssl`; `None` without TLS. A Unix socket never has it.
    pub tls: Option<DatabaseTls>,
    /// `mysql_connect_timeout` (5 s)
    pub connect_timeout: Duration,
    /// `mysql_read_timeout` (10 s): time limit for each answer of the server, and for sending each request.
    pub read_timeout: Duration,
}

/// `gorgone_db_type: mysql`: the server, or the nodes of a cluster, that keeps the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryServer {
    /// At least one; tried in this order.
    pub servers: Vec<DatabaseSettings>,
}

impl fmt::Display for HistoryServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.servers.first().map_or("", |server| server.database.as_str());
        write!(formatter, "'{name}' at ")?;
        for (index, server) in self.servers.iter().enumerate() {
            write!(formatter, "{}{}", if index == 0 { "" } else { ", " }, server.place)?;
        }
        Ok(())
    }
}

/// Address of a database server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabasePlace {
    /// A host name or an address without brackets, and a port.
    Tcp {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// `mysql_socket`: the path of a Unix socket.
    Socket(PathBuf),
    /// `localhost` with the default port: the Unix socket at the path of the server's package, as in every MySQL
    /// client; if there is none, the port on 127.0.0.1.
    Local,
}

/// Default TCP port of MySQL and MariaDB.
pub const DATABASE_PORT: u16 = 3_306;

impl fmt::Display for DatabasePlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(formatter, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(formatter, "{host}:{port}"),
            Self::Socket(path) => path.display().fmt(formatter),
            Self::Local => formatter.write_str("localhost"),
        }
    }
}

/// The `mysql_ssl_*` options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseTls {
    /// `mysql_ssl_ca_file`: PEM file with the authority that signed the server's certificate. Without it the connection
    /// is encrypted but the server is not authenticated.
    pub ca_file: Option<PathBuf>,
    /// `mysql_ssl_verify_server_cert`: whether the certificate must be valid for the host name.
    pub verify_name: bool,
    /// `mysql_ssl_client_cert` and `mysql_ssl_client_key`: the client's certificate and key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// `mysql_ssl_optional`: whether to continue without TLS if the server has none.
    pub optional: bool,
}

//! How the Centreon configuration database is reached. The text form is read by [`super::database_section`].

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A word that nobody may see: it has no `Debug` that shows it and no `Display`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a word.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The word itself, for whoever has to show it to a server.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

/// `centreon.database.db_configuration` (docs/protocol.md section 14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// Where it listens.
    pub place: DatabasePlace,
    /// Name of the database.
    pub database: String,
    /// `username`; empty where none is given.
    pub username: String,
    /// `password`
    pub password: Secret,
    /// `mysql_ssl`; `None` without TLS. A Unix socket never has it.
    pub tls: Option<DatabaseTls>,
    /// `mysql_connect_timeout` (5 s)
    pub connect_timeout: Duration,
    /// `mysql_read_timeout` (10 s): for each answer of the server, and for each request to it.
    pub read_timeout: Duration,
}

/// Where a database listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabasePlace {
    /// A host name or an address without brackets, and a port.
    Tcp {
        /// Host or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// `mysql_socket`: the path of a Unix socket.
    Socket(PathBuf),
    /// `localhost` and the usual port: the Unix socket where the server's package has it, as every MySQL client does;
    /// where there is none, the port on 127.0.0.1.
    Local,
}

/// The port of MySQL and MariaDB.
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
    /// `mysql_ssl_ca_file`: PEM with the authority that signed the server's certificate. Without it the connection is
    /// encrypted but the server is not known.
    pub ca_file: Option<PathBuf>,
    /// `mysql_ssl_verify_server_cert`: the certificate must be for this host name.
    pub verify_name: bool,
    /// `mysql_ssl_client_cert` and `mysql_ssl_client_key`
    pub client: Option<(PathBuf, PathBuf)>,
    /// `mysql_ssl_optional`: without TLS where the server has none.
    pub optional: bool,
}

/// Options of the module `nodes` (docs/protocol.md section 15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodesSettings {
    /// `resync_time` (600 s)
    pub resync_time: Duration,
    /// `ssh_username`: the user of `push_ssh` nodes.
    pub ssh_username: Option<String>,
    /// The database to read.
    pub database: DatabaseSettings,
}

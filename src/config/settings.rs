//! The validated settings that the daemon runs with; every default is filled in.

use crate::model::connection::{Endpoint, FingerprintMode};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::cluster::ClusterSettings;
use super::database::HistoryServer;
use super::delegate::DelegateSettings;
use crate::model::link::LinkMode;
use crate::model::log::{Level, LogFormat};
use crate::model::node_id::NodeId;
use crate::model::rights::BoundKey;

/// `gorgonecore` (docs/protocol.md section 14).
#[derive(Clone, Debug, PartialEq)]
pub struct CoreSettings {
    /// `name` of the top file, otherwise the host name.
    pub name: String,
    /// `id`: the id of this daemon; if set, SETCOREID does not change it.
    pub id: Option<NodeId>,
    /// `hostname`, otherwise that of the machine.
    pub hostname: String,
    /// `timeout` (50 s): how long a stopping daemon waits for unfinished work.
    pub timeout: Duration,
    /// `external_com_type` and `external_com_path`: address of the external socket; `None` without one.
    pub external: Option<Endpoint>,
    /// `external_com_keysize` in bytes: 16, 24 or 32.
    pub key_size: usize,
    /// `external_com_rotation` (1440 min): interval between two changes of a session's key.
    pub rotation: Duration,
    /// `external_com_zmq_tcp_keepalive`: whether connections of the external socket and to nodes use TCP keep-alive.
    pub tcp_keepalive: bool,
    /// `ipv6`: whether a `*` listener binds `::` instead of `0.0.0.0`.
    pub ipv6: bool,
    /// `privkey`: path of the private key.
    pub private_key: PathBuf,
    /// `pubkey`: path of the public key.
    pub public_key: PathBuf,
    /// `authorized_clients`: thumbprints of the keys that may use the external socket.
    pub authorized_clients: Vec<String>,
    /// The authorised keys that have a `name`, a `node` or `may`, by thumbprint.
    pub bound_keys: BTreeMap<String, Arc<BoundKey>>,
    /// `fingerprint_mode`: how the keys of nodes are checked.
    pub fingerprint_mode: FingerprintMode,
    /// `link` (`auto`): whether links to other daemons may or must be sealed by TLS.
    pub link: LinkMode,
    /// Path of the database: that of `gorgone_db_name`, or of a file in memory with `storage: memory`.
    /// With [`Self::server`] nothing is stored there, but other files of the daemon stand beside it.
    pub database: PathBuf,
    /// `gorgone_db_type: mysql`: the database server that keeps the history; `None` for a file.
    pub server: Option<HistoryServer>,
    /// `cluster`: the other centrals that share the history.
    pub cluster: Option<ClusterSettings>,
    /// `storage`: where the history is kept.
    pub storage: Storage,
    /// `gorgone_db_autocreate_schema`: whether missing tables are created.
    pub create_schema: bool,
    /// `gorgone_db_synchronous`: when changes are committed, and what a commit waits for.
    pub commits: Commits,
    /// `max_message_size` in bytes (16 MiB): maximum size of a message of an authenticated client.
    pub max_message_size: usize,
    /// `log_severity` (`info`): the lowest level that is logged.
    pub log_severity: Level,
    /// `log_format` (`auto`): the form of log lines, and whether they go to the systemd journal.
    pub log_format: LogFormat,
    /// `audit_log`: the file in which requests and their callers are recorded.
    pub audit_log: Option<PathBuf>,
    /// `delegate`: requests that an original Gorgone beside this daemon answers.
    pub delegate: DelegateSettings,
    /// `max_memory` in bytes: above it less input is read; `None` for no limit (0, the default).
    pub max_memory: Option<u64>,
}

/// `storage`: where the history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// `disk`, the default: in the file of `gorgone_db_name`.
    Disk,
    /// `memory`: in a file in memory, of at most this many bytes (`storage_max`). A restart of the machine loses it.
    Memory(u64),
}

/// `gorgone_db_synchronous`: when changes of the database are committed, and what a commit waits for. Nothing is
/// acknowledged before its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commits {
    /// `full`, the default: in each turn of the loop; a commit waits for the disk.
    Full,
    /// `normal`: in each turn of the loop; a commit waits only for the operating system.
    Normal,
    /// `batched`: at most once in this time (`db_batch_ms`); a commit waits for the disk.
    Batched(Duration),
}

/// A server's certificate and key. It holds a passphrase, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// PEM file with the certificate followed by its chain.
    pub certificate_file: PathBuf,
    /// PEM file with a PKCS#1, PKCS#8 (also encrypted) or SEC1 key.
    pub key_file: PathBuf,
    /// Passphrase of an encrypted PKCS#8 key.
    pub passphrase: Option<String>,
}

/// How a server's certificate is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientTls {
    /// By the system's root certificates, or those of `ssl_ca_file`.
    Verify {
        /// PEM file with the root certificates to trust instead of the system's.
        ca_file: Option<PathBuf>,
    },
    /// `ssl_fingerprint`: the SHA-256 of the server's certificate, 32 bytes.
    Pinned([u8; 32]),
    /// `https_cert_no_verify: true`: the certificate is not checked.
    NoVerify,
}

/// An HTTP proxy, from `http://user:password@host:port`. It holds a password, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpProxy {
    /// Host name or address.
    pub host: String,
    /// TCP port (3128).
    pub port: u16,
    /// User and password, if the proxy needs them.
    pub auth: Option<BasicAuth>,
}

/// A user and a password. It has no `Debug`, so that the password is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct BasicAuth {
    pub user: String,
    pub password: String,
}

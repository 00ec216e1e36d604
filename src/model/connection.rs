//! Names of connections, peers and endpoints.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// `fingerprint_mode`: how the key of a node that we connect to is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FingerprintMode {
    /// Accept any key.
    Always,
    /// Remember the first key and refuse a change.
    First,
    /// Accept only known keys.
    Strict,
}

/// Number of a connection of the event loop, unique in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// How we reach our central when we dial it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ParentKind {
    /// Module `pull`: its external ZeroMQ socket.
    Pull,
    /// Module `pullwss`: its WebSocket.
    WebSocket,
}

/// A peer that sends requests. Unique in the life of a process, except [`ClientId::Parent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientId {
    /// An authenticated session on the external socket: a routing id with its key. It survives reconnects.
    Zmq(u64),
    /// The WebSocket of a node that dialled in. It ends with its connection.
    WebSocket(ConnectionId),
    /// The central that we dial.
    Parent(ParentKind),
}

impl ClientId {
    /// The central that this client stands for.
    #[must_use]
    pub const fn parent(self) -> Option<ParentKind> {
        match self {
            Self::Parent(kind) => Some(kind),
            Self::Zmq(_) | Self::WebSocket(_) => None,
        }
    }
}

/// The address where a listener binds or a dialer connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `tcp`: a host name, an IPv4 or IPv6 address (without brackets), or `*` for all addresses (listeners only).
    Tcp {
        /// Host or address.
        host: String,
        port: u16,
    },
    /// `ipc`: a Unix socket path.
    Ipc(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(formatter, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(formatter, "tcp://{host}:{port}"),
            Self::Ipc(path) => write!(formatter, "ipc://{}", path.display()),
        }
    }
}

/// The address of the peer of an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PeerAddress {
    /// A TCP peer; IPv4-mapped IPv6 addresses are given as IPv4.
    Ip(IpAddr),
    /// A peer on a Unix socket.
    Local,
}

impl PeerAddress {
    /// The unit for counting peers: an IPv4 address, or an IPv6 /64 network, which a single host may own.
    #[must_use]
    pub fn network(self) -> Self {
        match self {
            Self::Ip(IpAddr::V6(address)) => {
                let masked = address.to_bits() & (u128::from(u64::MAX) << 64);
                Self::Ip(IpAddr::V6(masked.into()))
            }
            other => other,
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(formatter),
            Self::Local => formatter.write_str("local socket"),
        }
    }
}

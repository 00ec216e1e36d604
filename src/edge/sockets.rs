//! Listeners and streams over TCP and Unix sockets, all non-blocking and close-on-exec, as sources of the event loop.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mio::event::Source;
use mio::net::{TcpListener, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};

use super::resolver;
use crate::model::connection::{Endpoint, PeerAddress};

mod bind;
mod stream;
#[cfg(test)]
mod tests;

/// Maximum number of connections that wait to be accepted. The usual 128 overflow when many nodes return at once, and
/// each dropped one retries after a second.
const BACKLOG: i32 = 4_096;

use bind::Refused;
pub use stream::{HandshakeStep, Stream};

/// Maximum number of connections that broke before they were accepted and are skipped in one call.
const MAX_BROKEN_ACCEPTS: usize = 64;

/// A bound socket that accepts connections.
pub enum Listener {
    Tcp(TcpListener),
    /// A Unix socket. Dropping the listener removes its file.
    Unix(UnixListener, SocketFile),
}

/// The file of our Unix socket.
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If another daemon has replaced our file, the name is now its own.
        let is_ours = |found: std::fs::Metadata| found.dev() == self.device && found.ino() == self.inode;
        if std::fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Listener {
    /// Binds and listens. `*` means all addresses: of IPv4, or with `ipv6` of IPv6 (and of IPv4 if the machine maps
    /// it). A host name is resolved, which may block, so call this only at the start. A Unix socket gets mode 0660. The
    /// socket file of a daemon that has ended is replaced, that of a running one is not.
    ///
    /// # Errors
    /// A sentence that names the endpoint and the remedy.
    pub fn bind(endpoint: &Endpoint, ipv6: bool) -> Result<Self, String> {
        match endpoint {
            Endpoint::Tcp { host, port } => {
                let address = bind_address(host, *port, ipv6)?;
                let listener = bind::listen_on(address, BACKLOG).map_err(|refused| bind_failed(endpoint, &refused))?;
                Ok(Self::Tcp(TcpListener::from_std(listener)))
            }
            Endpoint::Ipc(path) => bind_path(path).map_err(|reason| format!("cannot listen on {endpoint}: {reason}")),
        }
    }

    /// The next connection; `None` if none is waiting. Connections that broke meanwhile are skipped. TCP streams have
    /// `TCP_NODELAY`.
    ///
    /// # Errors
    /// We cannot accept now. If [`is_exhausted`], pause until a connection is closed or some time has passed.
    pub fn accept(&self) -> io::Result<Option<(Stream, PeerAddress)>> {
        for _ in 0..MAX_BROKEN_ACCEPTS {
            let accepted = match self {
                Self::Tcp(listener) => listener.accept().map(|(stream, address)| {
                    let _ = stream.set_nodelay(true);
                    bind::allow_rebinding(&stream);
                    (Stream::from_tcp(stream), PeerAddress::Ip(address.ip().to_canonical()))
                }),
                Self::Unix(listener, _) => {
                    listener.accept().map(|(stream, _)| (Stream::from_unix(stream), PeerAddress::Local))
                }
            };
            match accepted {
                Ok(accepted) => return Ok(Some(accepted)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if is_exhausted(&error) => return Err(error),
                // An error of one connection that is already broken (accept(2)).
                Err(_) => {}
            }
        }
        Err(io::Error::other("many connections in a row broke before they were accepted"))
    }

    /// The bound address of a TCP listener, which shows the port if 0 was asked for; `None` for a Unix socket.
    #[must_use]
    #[cfg(test)]
    pub fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }
}

/// The process that listens where `endpoint` would, if visible, and the error that a start would give; `None` for a
/// free port and for a Unix socket. Binds nothing.
#[must_use]
pub fn occupant(endpoint: &Endpoint, ipv6: bool) -> Option<(Option<u32>, String)> {
    let Endpoint::Tcp { host, port } = endpoint else { return None };
    let listener = bind::listener(bind_address(host, *port, ipv6).ok()?)?;
    let process = listener.as_ref().map(|(process, _)| *process);
    Some((process, bind_failed(endpoint, &Refused::Listened(listener.map(|(_, text)| text)))))
}

/// Whether descriptors or memory are used up, as opposed to an error of one connection.
#[must_use]
pub fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

fn bind_address(host: &str, port: u16, ipv6: bool) -> Result<SocketAddr, String> {
    match host {
        "*" if ipv6 => Ok(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
        "*" => Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        _ => {
            let found = resolver::resolve(host, port)?;
            let fits = found.iter().find(|address| address.is_ipv6() == ipv6);
            fits.or(found.first()).copied().ok_or_else(|| format!("host '{host}' has no address"))
        }
    }
}

fn bind_failed(endpoint: &Endpoint, refused: &Refused) -> String {
    let error = match refused {
        Refused::Listened(process) => {
            let by = process
                .as_ref()
                .map_or_else(|| " (`ss -ltnp` as root shows by which)".into(), |by| format!(" by {by}"));
            return format!(
                "cannot listen on {endpoint}: the port is in use{by}: stop that program or choose another port"
            );
        }
        Refused::Other(error) => error,
    };
    let remedy = match error.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            "the port is in use by a connection (`ss -tanp` shows which): wait until it has ended or choose another port"
                .to_owned()
        }
        Some(libc::EACCES) => {
            "no permission: ports below 1024 need CAP_NET_BIND_SERVICE, or choose another port".to_owned()
        }
        Some(libc::EADDRNOTAVAIL) => {
            "this machine has no such address: choose one that `ip address` shows, or * for all".to_owned()
        }
        Some(libc::EAFNOSUPPORT) => "this machine has no IPv6: set ipv6: false or an IPv4 address".to_owned(),
        _ => error.to_string(),
    };
    format!("cannot listen on {endpoint}: {remedy}")
}

fn bind_path(path: &Path) -> Result<Listener, String> {
    // The original also makes the directory.
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory).map_err(|error| format!("cannot make its directory: {error}"))?;
    }
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    };
    let listener = listener.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => "the path is too long for a socket: use one of at most 107 bytes".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "no permission: give the daemon's user the right to write to the directory".to_owned()
        }
        _ => error.to_string(),
    })?;
    let metadata = std::fs::symlink_metadata(path).map_err(|error| error.to_string())?;
    let file = SocketFile { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() };
    let mode = std::fs::Permissions::from_mode(0o660);
    std::fs::set_permissions(path, mode).map_err(|error| format!("cannot set its mode to 0660: {error}"))?;
    Ok(Listener::Unix(listener, file))
}

/// Removes the socket file of a daemon that has ended.
fn remove_stale(path: &Path) -> Result<(), String> {
    let metadata = std::fs::symlink_metadata(path).map_err(|error| error.to_string())?;
    if !metadata.file_type().is_socket() {
        return Err("something else than a socket has this name: move it away or choose another path".to_owned());
    }
    // Non-blocking: a running daemon that is too busy to accept gives a different error than an ended one.
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| format!("cannot remove the old socket: {error}"))
        }
        _ => Err("another program listens there: stop it or choose another path".to_owned()),
    }
}

impl Listener {
    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(listener) => listener,
            Self::Unix(listener, _) => listener,
        }
    }
}

impl Source for Listener {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.source().register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.source().reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().deregister(registry)
    }
}

//! The first steps to any peer: the name, and the connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::edge::resolver;
use crate::model::connection::Endpoint;
use crate::model::diagnosis::{Cause, Report};

/// How long to wait for a connection to one address.
const CONNECT: Duration = Duration::from_secs(4);
/// How long to wait for a banner.
const BANNER: Duration = Duration::from_secs(4);
/// Maximum number of addresses of a name that are tried.
const ADDRESSES_MAX: usize = 4;

/// A connected stream; reads and writes end after a while.
pub(in crate::daemon) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    pub(super) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(patience)).and_then(|()| stream.set_write_timeout(Some(patience)))
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(patience)).and_then(|()| stream.set_write_timeout(Some(patience)))
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Unix(stream) => stream.read(bytes),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether an error of a read only says that nothing came in time.
pub(super) fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Finds the addresses of `host`; adds a step.
pub(super) fn find_addresses(report: &mut Report, host: &str, port: u16) -> Option<Vec<SocketAddr>> {
    const STEP: &str = "name";
    let expected = format!("an address of '{host}'");
    match resolver::resolve(host, port) {
        Ok(found) => {
            let shown: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
            report.good(STEP, expected, shown.join(", "));
            Some(found)
        }
        Err(text) => {
            let advice = format!("correct the name '{host}' in the configuration, or its entry in DNS or /etc/hosts");
            report.bad(STEP, expected, text, Cause::NameNotFound, advice);
            None
        }
    }
}

/// Why no connection came about.
pub(in crate::daemon) enum Refused {
    /// The machine refuses the port.
    Port,
    /// Nothing came back.
    Silent,
    /// Anything else.
    Other(io::Error),
}

/// Connects to an endpoint; adds a step for the name and, if it succeeds, one for the connection.
pub(in crate::daemon) fn connect(report: &mut Report, endpoint: &Endpoint) -> Result<Socket, Option<Refused>> {
    let (host, port) = match endpoint {
        Endpoint::Tcp { host, port } => (host, *port),
        Endpoint::Ipc(path) => {
            let socket = UnixStream::connect(path).map_err(|error| {
                let refused = matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound);
                Some(if refused { Refused::Port } else { Refused::Other(error) })
            })?;
            report.good("port", endpoint.to_string(), "connected");
            return Ok(Socket::Unix(socket));
        }
    };
    let addresses = find_addresses(report, host, port).ok_or(None)?;
    let mut last = Refused::Silent;
    for address in addresses.iter().take(ADDRESSES_MAX) {
        match TcpStream::connect_timeout(address, CONNECT) {
            Ok(stream) => {
                let _late_packets_only = stream.set_nodelay(true);
                report.good("port", format!("a connection to {endpoint}"), format!("connected to {address}"));
                return Ok(Socket::Tcp(stream));
            }
            Err(error) => last = refused(error),
        }
    }
    Err(Some(last))
}

fn refused(error: io::Error) -> Refused {
    match error.kind() {
        ErrorKind::ConnectionRefused => Refused::Port,
        ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Refused::Silent,
        _ => Refused::Other(error),
    }
}

/// Adds the step for a connection that did not come about. `elsewhere` is the port on which the peer was found instead.
pub(in crate::daemon) fn explain(report: &mut Report, endpoint: &Endpoint, refused: Refused, elsewhere: Option<u16>) {
    const STEP: &str = "port";
    let expected = format!("a connection to {endpoint}");
    match refused {
        Refused::Port => {
            if let Some(found) = elsewhere {
                let seen = format!("nothing listens there; the right daemon answers on port {found}");
                let advice = format!("set the port to {found} where {endpoint} is configured");
                return report.bad(STEP, expected, seen, Cause::WrongPort, advice);
            }
            let advice = "start the daemon there, and compare the port with external_com_path (or the port of \
                httpserver) in its configuration; a firewall that rejects looks the same";
            report.bad(STEP, expected, "the connection is refused", Cause::ConnectionRefused, advice);
        }
        Refused::Silent => {
            let seen = format!("nothing comes back (waited {} s)", CONNECT.as_secs());
            let advice = "check the address, the route ('ip route get ADDRESS'), that the machine runs, and firewalls \
                on the way that drop packets";
            report.bad(STEP, expected, seen, Cause::PacketsDropped, advice);
        }
        Refused::Other(error) => {
            let advice = "the error of the system says what is wrong; check the address";
            report.bad(STEP, expected, error.to_string(), Cause::ConnectionRefused, advice);
        }
    }
}

/// Connects to `host` and `port` and reads the first bytes that the peer sends by itself, at most 255; adds the steps.
pub fn read_banner(report: &mut Report, host: &str, port: u16) -> Option<Vec<u8>> {
    let endpoint = Endpoint::Tcp { host: host.to_owned(), port };
    let mut socket = match connect(report, &endpoint) {
        Ok(socket) => socket,
        Err(None) => return None,
        Err(Some(refused)) => {
            explain(report, &endpoint, refused, None);
            return None;
        }
    };
    socket.set_patience(BANNER).ok()?;
    let mut bytes = vec![0; 255];
    let count = socket.read(&mut bytes).unwrap_or(0);
    bytes.truncate(count);
    Some(bytes)
}

//! A blocking connection to a database server: TCP, a Unix socket, or TLS over TCP. Every operation has a time limit.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};

/// A connection with its time limits.
pub(in crate::edge) struct Stream {
    transport: Option<Transport>,
    step: Duration,
    deadline: Instant,
}

enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// Connects within `connect`; afterwards each operation takes at most `step`, and everything ends at `deadline`.
    pub(super) fn tcp(address: &SocketAddr, connect: Duration, step: Duration, deadline: Instant) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(address, connect)?;
        socket.set_nodelay(true)?;
        Ok(Self { transport: Some(Transport::Tcp(socket)), step, deadline })
    }

    /// Connects to a Unix socket.
    pub(super) fn unix(path: &Path, step: Duration, deadline: Instant) -> io::Result<Self> {
        Ok(Self { transport: Some(Transport::Unix(UnixStream::connect(path)?)), step, deadline })
    }

    /// Sets when everything must have ended.
    pub(super) const fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Whether the connection is protected from eavesdropping: TLS or a Unix socket.
    pub(super) const fn is_private(&self) -> bool {
        matches!(self.transport, Some(Transport::Unix(_) | Transport::Tls(_)))
    }

    /// Whether TLS can begin on this connection.
    pub(super) const fn is_plain_tcp(&self) -> bool {
        matches!(self.transport, Some(Transport::Tcp(_)))
    }

    /// Begins TLS on a plain TCP connection; the handshake takes place with the next bytes.
    pub(super) fn start_tls(&mut self, session: ClientConnection) {
        self.transport = match self.transport.take() {
            Some(Transport::Tcp(socket)) => Some(Transport::Tls(Box::new(StreamOwned::new(session, socket)))),
            other => other,
        };
    }

    fn prepare(&mut self) -> io::Result<&mut Transport> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let limit = Some(left.min(self.step));
        let transport = self.transport.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        match transport {
            Transport::Tcp(socket) => socket.set_read_timeout(limit).and_then(|()| socket.set_write_timeout(limit))?,
            Transport::Unix(socket) => socket.set_read_timeout(limit).and_then(|()| socket.set_write_timeout(limit))?,
            Transport::Tls(stream) => {
                stream.sock.set_read_timeout(limit).and_then(|()| stream.sock.set_write_timeout(limit))?;
            }
        }
        Ok(transport)
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self.prepare()? {
            Transport::Tcp(socket) => socket.read(bytes),
            Transport::Unix(socket) => socket.read(bytes),
            Transport::Tls(stream) => stream.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.prepare()? {
            Transport::Tcp(socket) => socket.write(bytes),
            Transport::Unix(socket) => socket.write(bytes),
            Transport::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.prepare()? {
            Transport::Tcp(socket) => socket.flush(),
            Transport::Unix(socket) => socket.flush(),
            Transport::Tls(stream) => stream.flush(),
        }
    }
}

//! A connection over TCP or a Unix socket, with or without TLS.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use crate::edge::system;
use crate::edge::tls::session::Session;

/// Silence before the first keep-alive probe. Further probes follow each [`KEEPALIVE_INTERVAL`].
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Number of unanswered keep-alive probes after which a peer counts as gone.
const KEEPALIVE_PROBES: u8 = 6;

/// Maximum number of bytes read for one step of a handshake.
const STEP_BYTES: usize = 16 << 10;

/// A connection.
pub struct Stream {
    socket: Socket,
    tls: Tls,
}

enum Tls {
    None,
    Here(Box<Session>),
    /// A worker has the session; see [`HandshakeStep`].
    Away(#[allow(dead_code, reason = "its end takes the step back")] Waiting),
}

/// A step that waits for a worker. It ends with the stream, so that a peer that comes and goes leaves nothing in the
/// queue of the workers, however long that is.
struct Waiting(Arc<Mutex<Option<Step>>>);

struct Step {
    session: Box<Session>,
    bytes: Vec<u8>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        take(&self.0);
    }
}

fn take(step: &Mutex<Option<Step>>) -> Option<Step> {
    step.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// One step of a listener's handshake, for a worker: a signature takes milliseconds.
pub struct HandshakeStep {
    waiting: Arc<Mutex<Option<Step>>>,
    done: Option<Box<Session>>,
}

impl HandshakeStep {
    /// Does the step, unless its stream has gone.
    pub fn run(&mut self) {
        if let Some(Step { mut session, bytes }) = take(&self.waiting) {
            session.take_in(&bytes);
            self.done = Some(session);
        }
    }

    /// Whether the step was done.
    #[cfg(test)]
    pub(super) const fn is_done(&self) -> bool {
        self.done.is_some()
    }
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub(super) const fn from_tcp(stream: TcpStream) -> Self {
        Self { socket: Socket::Tcp(stream), tls: Tls::None }
    }

    pub(super) const fn from_unix(stream: UnixStream) -> Self {
        Self { socket: Socket::Unix(stream), tls: Tls::None }
    }

    /// Starts a TCP connection with `TCP_NODELAY`. Once the stream is writable, [`Stream::connected`] gives the result.
    ///
    /// # Errors
    /// It cannot start: no route, or no descriptor left.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        let _ = stream.set_nodelay(true);
        Ok(Self::from_tcp(stream))
    }

    /// Connects to a Unix socket.
    ///
    /// # Errors
    /// Nobody listens there, or the listener is too busy.
    pub fn connect_path(path: &Path) -> io::Result<Self> {
        UnixStream::connect(path).map(Self::from_unix)
    }

    /// The socket of a TCP connection without TLS; `None` for any other.
    #[cfg(feature = "ssh")]
    #[must_use]
    pub fn into_tcp(self) -> Option<TcpStream> {
        match self {
            Self { socket: Socket::Tcp(stream), tls: Tls::None } => Some(stream),
            _ => None,
        }
    }

    /// Starts TLS. From now on the bytes read and written are those inside TLS.
    pub fn start_tls(&mut self, session: Session) {
        self.tls = Tls::Here(Box::new(session));
    }

    /// Whether a listener's handshake is under way; continue it with [`Stream::take_step`].
    #[must_use]
    pub fn is_server_handshaking(&self) -> bool {
        match &self.tls {
            Tls::None => false,
            Tls::Here(session) => session.is_server_handshaking(),
            Tls::Away(_) => true,
        }
    }

    /// Reads the input of the next step of a listener's handshake. Nothing else is read or written until
    /// [`Stream::put_back`].
    ///
    /// # Errors
    /// An error of the socket. It also would block while a step is under way.
    pub fn take_step(&mut self) -> io::Result<Box<HandshakeStep>> {
        if !matches!(self.tls, Tls::Here(_)) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut bytes = vec![0; STEP_BYTES];
        let len = self.socket.read(&mut bytes)?;
        bytes.truncate(len);
        bytes.shrink_to_fit();
        let Tls::Here(session) = std::mem::replace(&mut self.tls, Tls::None) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let waiting = Arc::new(Mutex::new(Some(Step { session, bytes })));
        self.tls = Tls::Away(Waiting(Arc::clone(&waiting)));
        Ok(Box::new(HandshakeStep { waiting, done: None }))
    }

    /// Takes a finished step. Flush afterwards, then read.
    pub fn put_back(&mut self, step: HandshakeStep) {
        if let Some(session) = step.done {
            self.tls = Tls::Here(session);
        }
    }

    /// Whether a TLS handshake is under way. Writing would block until its end.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        match &self.tls {
            Tls::None => false,
            Tls::Here(session) => session.is_handshaking(),
            Tls::Away(_) => true,
        }
    }

    /// Whether accepted bytes wait for the socket, so that [`Write::flush`] must be called when it is writable.
    #[must_use]
    pub fn wants_flush(&self) -> bool {
        matches!(&self.tls, Tls::Here(session) if session.wants_write())
    }

    /// Whether nothing is left to read before the next event, after a read that filled its buffer only partly
    /// (`is_short`) or fully.
    #[must_use]
    pub fn is_emptied(&self, is_short: bool) -> bool {
        match &self.tls {
            Tls::None => is_short,
            Tls::Here(session) => session.is_emptied(),
            Tls::Away(_) => false,
        }
    }

    /// Whether a started connection is complete; `false` while it is under way.
    ///
    /// # Errors
    /// The connection failed.
    pub fn connected(&self) -> io::Result<bool> {
        if let Some(error) = self.take_error()? {
            return Err(error);
        }
        let peer = match &self.socket {
            Socket::Tcp(stream) => stream.peer_addr().map(|_| ()),
            Socket::Unix(stream) => stream.peer_addr().map(|_| ()),
        };
        match peer {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes the pending error of the socket (`SO_ERROR`).
    ///
    /// # Errors
    /// The socket cannot be asked.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        match &self.socket {
            Socket::Tcp(stream) => stream.take_error(),
            Socket::Unix(stream) => stream.take_error(),
        }
    }

    /// Turns on TCP keep-alive, which notices a vanished peer within two minutes. Does nothing for a Unix socket.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn set_keepalive(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Tcp(stream) => system::set_keepalive(stream, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES),
            Socket::Unix(_) => Ok(()),
        }
    }

    /// Ends the sending direction: `close_notify` inside TLS, then shutdown of the socket. If [`Self::wants_flush`]
    /// holds afterwards, flushing completes it.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        let Tls::Here(session) = &mut self.tls else { return self.socket.shutdown_write() };
        session.end();
        match self.flush() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            flushed => flushed,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Tls::None => self.socket.read(bytes),
            Tls::Here(session) => session.read(&mut self.socket, bytes),
            Tls::Away(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Tls::None => self.socket.write(bytes),
            Tls::Here(session) => session.write(&mut self.socket, bytes),
            Tls::Away(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Writes what TLS has encrypted but not written. Without TLS there is never anything to flush.
    fn flush(&mut self) -> io::Result<()> {
        let session = match &mut self.tls {
            Tls::None => return Ok(()),
            Tls::Here(session) => session,
            Tls::Away(_) => return Err(io::ErrorKind::WouldBlock.into()),
        };
        if session.flush(&mut self.socket)? { self.socket.shutdown_write() } else { Ok(()) }
    }
}

impl Socket {
    fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
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

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(slices),
            Self::Unix(stream) => stream.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Stream {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket.source().register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket.source().reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.source().deregister(registry)
    }
}

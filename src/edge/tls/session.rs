//! The state of one TLS connection between a non-blocking socket and plain bytes. The owner handles waiting and
//! time-outs.
//!
//! Reading drives the handshake and also writes its messages. No plain bytes are accepted for sending during the
//! handshake, so accepted bytes are on the way, and an empty queue means that everything has been encrypted.

use std::io::{self, Read, Write};

use rustls::{ClientConnection, Connection, ServerConnection};

use super::client;

/// Maximum number of encrypted bytes that wait for the socket, and maximum number of bytes taken by one write.
const MAX_UNSENT_BYTES: usize = 32 << 10;
/// The answer to a client of plain HTTP, so that a browser or curl shows it.
const PLAIN_HTTP_ANSWER: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 84\r\n\
    Connection: close\r\n\r\n{\"error\":\"http_error_400\",\"message\":\"this port speaks TLS: use https:// or \
        wss://\"}\n";
/// Maximum number of reads of the socket (4 KiB each) for one read of plain bytes, so that a peer that sends empty
/// records cannot hold the loop.
const MAX_SOCKET_READS: usize = 24;

enum Role {
    Server,
    Client { server_name: Box<str> },
}

/// The state of one connection; see the module's documentation.
pub struct Session {
    connection: Connection,
    role: Role,
    /// The peer's first octet.
    first_octet: Option<u8>,
    /// The last read has emptied the socket.
    socket_is_empty: bool,
    socket_has_ended: bool,
    is_ending: bool,
    /// The sending direction of the socket should be shut down once everything is written.
    shutdown_owed: bool,
}

impl Session {
    pub(super) fn server(connection: ServerConnection) -> Self {
        Self::new(connection.into(), Role::Server)
    }

    pub(super) fn client(connection: ClientConnection, server_name: Box<str>) -> Self {
        Self::new(connection.into(), Role::Client { server_name })
    }

    fn new(mut connection: Connection, role: Role) -> Self {
        connection.set_buffer_limit(Some(MAX_UNSENT_BYTES));
        Self {
            connection,
            role,
            first_octet: None,
            socket_is_empty: false,
            socket_has_ended: false,
            is_ending: false,
            shutdown_owed: false,
        }
    }

    /// Whether it belongs to a listener and its handshake is under way and has not failed. A worker does the
    /// arithmetic; see [`Session::take_in`].
    #[must_use]
    pub fn is_server_handshaking(&self) -> bool {
        matches!(self.role, Role::Server) && self.is_handshaking() && !self.socket_has_ended
    }

    /// Takes bytes that were read from the socket, none for its end, without writing. The next [`Session::flush`]
    /// writes the messages of the handshake, and the next [`Session::read`] reports an error.
    pub fn take_in(&mut self, mut bytes: &[u8]) {
        if bytes.is_empty() {
            self.socket_has_ended = true;
            // Without this the next read would find neither bytes nor an end, again and again.
            let _end_noted = self.connection.read_tls(&mut bytes);
        }
        while !bytes.is_empty() {
            let mut source = FirstOctet { socket: &mut bytes, octet: &mut self.first_octet, is_short: false };
            let taken = self.connection.read_tls(&mut source);
            if self.connection.process_new_packets().is_err() || taken.is_err() {
                self.socket_has_ended = true;
                return;
            }
        }
    }

    /// Whether the handshake is still under way.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether encrypted bytes wait for the socket.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        self.connection.wants_write() || self.shutdown_owed
    }

    /// Whether the last [`Self::read`] left nothing unread, neither in the socket nor here, so that only an event
    /// brings more.
    #[must_use]
    pub const fn is_emptied(&self) -> bool {
        self.socket_is_empty
    }

    /// Reads plain bytes, as many as fit and are there; 0 is the end, also if the peer ends without `close_notify`.
    ///
    /// # Errors
    /// `WouldBlock`: no plain bytes are there now. `Interrupted`: much was read without plain bytes; call again later.
    /// Otherwise the connection is broken.
    pub fn read<S: Read + Write>(&mut self, socket: &mut S, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket_is_empty = false;
        let (mut filled, mut is_short) = (0, false);
        for _ in 0..MAX_SOCKET_READS {
            while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                match self.connection.reader().read(rest) {
                    // The peer has sent `close_notify`.
                    Ok(0) => return Ok(filled),
                    Ok(len) => filled += len,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return self.ended(filled),
                    Err(error) => return Err(error),
                }
            }
            // A read of the socket that did not fill its buffer has emptied it.
            self.socket_is_empty = is_short && filled > 0 && filled < bytes.len();
            if filled == bytes.len() || self.socket_is_empty {
                return Ok(filled);
            }
            match self.receive(socket) {
                Ok(short) => is_short = short,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket_is_empty = true;
                    return if filled > 0 { Ok(filled) } else { Err(error) };
                }
                // Return what was read before. The next read gives the same error again.
                Err(_) if filled > 0 => return Ok(filled),
                Err(error) => return Err(error),
            }
        }
        if filled > 0 { Ok(filled) } else { Err(io::ErrorKind::Interrupted.into()) }
    }

    fn ended(&self, filled: usize) -> io::Result<usize> {
        match &self.role {
            Role::Client { server_name } if self.is_handshaking() => {
                let text =
                    format!("'{server_name}' closed the connection during the TLS handshake: does it speak TLS there?");
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, text))
            }
            _ => Ok(filled),
        }
    }

    /// Reads the socket and writes answers of TLS itself. Returns whether fewer bytes came than there was room for.
    fn receive<S: Read + Write>(&mut self, socket: &mut S) -> io::Result<bool> {
        let mut is_short = false;
        if !self.socket_has_ended {
            let mut source = FirstOctet { socket, octet: &mut self.first_octet, is_short: false };
            self.socket_has_ended = self.connection.read_tls(&mut source)? == 0;
            is_short = source.is_short;
        }
        match self.connection.process_new_packets() {
            Ok(_) => match self.send(socket) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
                _ => Ok(is_short),
            },
            Err(error) => {
                // Each later read gives this error.
                self.socket_has_ended = true;
                // The alert tells the peer why. The peer may be gone.
                let _gone =
                    if self.is_plain_http(&error) { socket.write_all(PLAIN_HTTP_ANSWER) } else { self.send(socket) };
                Err(io::Error::new(io::ErrorKind::InvalidData, self.explain(&error)))
            }
        }
    }

    /// Encrypts and writes plain bytes. Accepted bytes may wait here, up to a bound, until [`Self::flush`].
    ///
    /// # Errors
    /// `WouldBlock`: the socket is full, or the handshake is under way. Otherwise the connection is broken.
    pub fn write<S: Write>(&mut self, socket: &mut S, bytes: &[u8]) -> io::Result<usize> {
        self.send(socket)?;
        if self.is_handshaking() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = self.connection.writer().write(bytes)?;
        match self.send(socket) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ if taken == 0 && !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(taken),
        }
    }

    /// Writes waiting bytes. Success means that none are left. Once after [`Self::end`], `true` means that the sending
    /// direction of the socket should be shut down.
    ///
    /// # Errors
    /// `WouldBlock`: the socket is full. Otherwise the connection is broken.
    pub fn flush<S: Write>(&mut self, socket: &mut S) -> io::Result<bool> {
        self.send(socket)?;
        Ok(std::mem::take(&mut self.shutdown_owed))
    }

    /// Queues `close_notify`; [`Self::flush`] writes it.
    pub fn end(&mut self) {
        if !self.is_ending {
            self.is_ending = true;
            self.shutdown_owed = true;
            self.connection.send_close_notify();
        }
    }

    fn send<S: Write>(&mut self, socket: &mut S) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether a client speaks HTTP without TLS: a capital letter of a method is where a TLS record has its type.
    fn is_plain_http(&self, error: &rustls::Error) -> bool {
        let is_letter = self.first_octet.is_some_and(|octet| octet.is_ascii_uppercase());
        let is_server = matches!(self.role, Role::Server);
        is_server && is_letter && self.is_handshaking() && matches!(error, rustls::Error::InvalidMessage(_))
    }

    fn explain(&self, error: &rustls::Error) -> String {
        match &self.role {
            Role::Client { server_name } => client::explain(error, server_name),
            Role::Server => match error {
                rustls::Error::InvalidMessage(_) if self.is_handshaking() => {
                    "no TLS but something else, such as plain HTTP, on a TLS port: use https:// or wss://".to_owned()
                }
                rustls::Error::AlertReceived(alert) => {
                    format!("the client refused our TLS handshake ({alert:?}): {}", meaning(*alert))
                }
                _ => format!("TLS failed: {error}"),
            },
        }
    }
}

/// The meaning of an alert with which a client ends the handshake, and the remedy.
const fn meaning(alert: rustls::AlertDescription) -> &'static str {
    use rustls::AlertDescription as Alert;
    match alert {
        Alert::UnknownCA => {
            "it does not know the issuer of our certificate: set ssl_ca_file there, and send the whole chain from here"
        }
        Alert::CertificateExpired => {
            "our certificate has expired or is not valid yet, by its clock: renew the certificate, or correct the clock"
        }
        Alert::CertificateRevoked => "our certificate was revoked: replace it",
        Alert::BadCertificate | Alert::CertificateUnknown | Alert::UnsupportedCertificate => {
            "it does not accept our certificate: compare name, issuer and pinned fingerprint; its own log says more"
        }
        Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity => {
            "it has no version or cipher of TLS in common with us: it needs TLS 1.2 or 1.3"
        }
        Alert::UnrecognisedName => "it asked for another name than our certificate has",
        _ => "its own log says why",
    }
}

/// A socket that remembers the first octet read, and whether the last read was short.
struct FirstOctet<'a, S> {
    socket: &'a mut S,
    octet: &'a mut Option<u8>,
    is_short: bool,
}

impl<S: Read> Read for FirstOctet<'_, S> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let len = self.socket.read(bytes)?;
        self.is_short = len > 0 && len < bytes.len();
        if len > 0 && self.octet.is_none() {
            *self.octet = bytes.first().copied();
        }
        Ok(len)
    }
}

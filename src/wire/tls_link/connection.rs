//! One TLS connection, fed with messages and drained of messages, and the link that it becomes.

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};

use super::frame::{self, Frame, FrameKind};
use crate::wire::gorgone::keys::PublicKey;

/// Bytes that a record adds to its content, at most.
const RECORD_OVERHEAD_BYTES: usize = 32;
/// Bytes of content of one record, at most.
const RECORD_BYTES: usize = 16 << 10;
/// Bytes of frames from which on they wait for no more: they fill a record.
const GATHERED_BYTES: usize = RECORD_BYTES - (2 << 10);

enum Side {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

/// One connection, with the handshake or after it. After a failure it takes nothing more.
pub(super) struct TlsConnection {
    side: Side,
    has_failed: bool,
}

/// Where the connection stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// There is more to do.
    Again,
    /// The handshake waits for the peer.
    Blocked,
    /// Messages can be sealed.
    Ready,
}

impl TlsConnection {
    pub fn client(connection: UnbufferedClientConnection) -> Self {
        Self { side: Side::Client(Box::new(connection)), has_failed: false }
    }

    pub fn server(connection: UnbufferedServerConnection) -> Self {
        Self { side: Side::Server(Box::new(connection)), has_failed: false }
    }

    /// Reads the records of a whole message: appends what they hold to `plain`, and what has to be sent to `reply`.
    ///
    /// # Errors
    /// A sentence about the peer or who is in between. The connection is of no use any more.
    pub fn read(&mut self, message: Vec<u8>, plain: &mut Vec<u8>, reply: &mut Vec<u8>) -> Result<(), String> {
        if self.has_failed {
            return Err("the link has failed before".to_owned());
        }
        let read = self.read_records(message, plain, reply);
        self.has_failed = read.is_err();
        read
    }

    fn read_records(&mut self, mut message: Vec<u8>, plain: &mut Vec<u8>, reply: &mut Vec<u8>) -> Result<(), String> {
        let mut at = 0;
        loop {
            let rest = message.get_mut(at..).unwrap_or_default();
            let (read, stand) = match &mut self.side {
                Side::Client(connection) => step(connection.process_tls_records(rest), plain, reply)?,
                Side::Server(connection) => step(connection.process_tls_records(rest), plain, reply)?,
            };
            at = at.saturating_add(read);
            // After the handshake, what TLS itself has to say waits for the next message.
            if at >= message.len() && at > 0 && self.is_up() {
                return Ok(());
            }
            if stand != Stand::Again {
                return if at >= message.len() { Ok(()) } else { Err("a message was cut".to_owned()) };
            }
        }
    }

    /// Whether the handshake is over and messages flow both ways.
    pub fn is_up(&self) -> bool {
        match &self.side {
            Side::Client(connection) => !connection.is_handshaking(),
            Side::Server(connection) => !connection.is_handshaking(),
        }
    }

    /// The key that the peer has proved.
    pub fn peer_key(&self) -> Option<PublicKey> {
        let keys = match &self.side {
            Side::Client(connection) => connection.peer_certificates(),
            Side::Server(connection) => connection.peer_certificates(),
        };
        PublicKey::from_der(keys?.first()?).ok()
    }

    /// Seals plain bytes and appends the records to `message`, behind what TLS itself has to say.
    ///
    /// # Errors
    /// A sentence, if the connection does not take them.
    pub fn seal(&mut self, plain: &[u8], message: &mut Vec<u8>) -> Result<(), String> {
        if self.has_failed {
            return Err("the link has failed before".to_owned());
        }
        while !match &mut self.side {
            Side::Client(connection) => encrypt(connection.process_tls_records(&mut []), plain, message)?,
            Side::Server(connection) => encrypt(connection.process_tls_records(&mut []), plain, message)?,
        } {}
        Ok(())
    }
}

fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    plain: &mut Vec<u8>,
    reply: &mut Vec<u8>,
) -> Result<(usize, Stand), String> {
    let UnbufferedStatus { discard, state, .. } = status;
    let mut discard = discard;
    let stand = match state.map_err(|error| explain(&error))? {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record.map_err(|error| explain(&error))?;
                plain.extend_from_slice(record.payload);
                discard = discard.saturating_add(record.discard);
            }
            Stand::Again
        }
        ConnectionState::EncodeTlsData(mut data) => {
            encode(&mut data, reply)?;
            Stand::Again
        }
        ConnectionState::TransmitTlsData(sent) => {
            sent.done();
            Stand::Again
        }
        ConnectionState::BlockedHandshake => Stand::Blocked,
        ConnectionState::WriteTraffic(_) => Stand::Ready,
        _ => return Err("the peer has ended the link".to_owned()),
    };
    Ok((discard, stand))
}

/// Seals `plain`; `false` if TLS itself had something to say first.
fn encrypt<Data>(status: UnbufferedStatus<'_, '_, Data>, plain: &[u8], message: &mut Vec<u8>) -> Result<bool, String> {
    match status.state.map_err(|error| explain(&error))? {
        ConnectionState::WriteTraffic(mut traffic) => {
            let records = plain.len() / RECORD_BYTES + 1;
            let room = plain.len().saturating_add(records.saturating_mul(RECORD_OVERHEAD_BYTES));
            append(message, room, |room| {
                traffic.encrypt(plain, room).map_err(|error| match error {
                    EncryptError::InsufficientSize(size) => Some(size.required_size),
                    EncryptError::EncryptExhausted => None,
                })
            })?;
            Ok(true)
        }
        ConnectionState::EncodeTlsData(mut data) => encode(&mut data, message).map(|()| false),
        ConnectionState::TransmitTlsData(sent) => {
            sent.done();
            Ok(false)
        }
        _ => Err("the link is not ready".to_owned()),
    }
}

fn encode<Data>(data: &mut EncodeTlsData<'_, Data>, message: &mut Vec<u8>) -> Result<(), String> {
    append(message, RECORD_BYTES, |room| {
        data.encode(room).map_err(|error| match error {
            EncodeError::InsufficientSize(size) => Some(size.required_size),
            EncodeError::AlreadyEncoded => None,
        })
    })
}

/// Appends what `write` puts into the room that it gets; it says how much it needs if that is too little.
fn append(
    bytes: &mut Vec<u8>,
    room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> Result<(), String> {
    let (start, mut room) = (bytes.len(), room);
    for _ in 0..2 {
        bytes.resize(start.saturating_add(room), 0);
        match write(bytes.get_mut(start..).unwrap_or_default()) {
            Ok(written) => {
                bytes.truncate(start.saturating_add(written));
                return Ok(());
            }
            Err(Some(needed)) => room = needed,
            Err(None) => break,
        }
    }
    Err("its keys are used up".to_owned())
}

/// What a failure says about the peer or who is in between.
fn explain(error: &rustls::Error) -> String {
    match error {
        rustls::Error::DecryptError => "a message was changed, repeated, lost or reordered on the way".to_owned(),
        rustls::Error::AlertReceived(alert) => format!("the other end refused it ({alert:?})"),
        rustls::Error::InvalidMessage(_) => "a message was damaged on the way".to_owned(),
        rustls::Error::InvalidCertificate(_) => {
            "the other end did not prove an RSA key of 2048 to 4096 bits".to_owned()
        }
        error => format!("TLS: {error}"),
    }
}

/// A link that is sealed: the handshake is over, and the peer has proved its key.
pub struct TlsLink {
    connection: TlsConnection,
    /// Frames that wait to be sealed into one message.
    gathered: Vec<u8>,
}

impl TlsLink {
    pub(super) const fn new(connection: TlsConnection) -> Self {
        Self { connection, gathered: Vec::new() }
    }

    /// Seals one frame, given in parts, and those that were gathered before it, into one message.
    ///
    /// # Errors
    /// A sentence. The link is of no use any more.
    pub fn seal(&mut self, kind: FrameKind, parts: &[&[u8]]) -> Result<Vec<u8>, String> {
        frame::encode(kind, parts, &mut self.gathered)?;
        self.seal_gathered()
    }

    /// Keeps a frame for [`TlsLink::seal_gathered`], or seals it with those before it if they fill a record.
    ///
    /// # Errors
    /// A sentence. The link is of no use any more.
    pub fn gather(&mut self, kind: FrameKind, parts: &[&[u8]]) -> Result<Option<Vec<u8>>, String> {
        frame::encode(kind, parts, &mut self.gathered)?;
        if self.gathered.len() < GATHERED_BYTES { Ok(None) } else { self.seal_gathered().map(Some) }
    }

    /// Whether a frame waits to be sealed.
    #[must_use]
    pub const fn has_gathered(&self) -> bool {
        !self.gathered.is_empty()
    }

    /// Seals all frames that were gathered into one message; it is empty if there are none.
    ///
    /// # Errors
    /// A sentence. The link is of no use any more.
    pub fn seal_gathered(&mut self) -> Result<Vec<u8>, String> {
        let mut message = Vec::new();
        if !self.gathered.is_empty() {
            self.connection.seal(&std::mem::take(&mut self.gathered), &mut message)?;
        }
        Ok(message)
    }

    /// Opens a message. The second value has to be sent if it is not empty.
    ///
    /// # Errors
    /// A sentence. The link is of no use any more.
    pub fn open(&mut self, message: Vec<u8>) -> Result<(Vec<Frame>, Vec<u8>), String> {
        let (mut plain, mut reply) = (Vec::with_capacity(message.len()), Vec::new());
        self.connection.read(message, &mut plain, &mut reply)?;
        Ok((frame::decode(plain)?, reply))
    }
}

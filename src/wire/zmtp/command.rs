//! Command bodies: READY, ERROR, PING, PONG (37/ZMTP, "The NULL Security Mechanism" and "Connection Heartbeating").

use super::ZmtpError;

/// Maximum length of a command body. READY of libzmq takes about 80 bytes; the rest is room for metadata of
/// applications.
pub const MAX_COMMAND_BYTES: usize = 16 * 1024;

/// Maximum length of a PING context that is echoed. libzmq cuts longer ones too.
pub const MAX_PING_CONTEXT_BYTES: usize = 16;

const SOCKET_TYPE: &str = "Socket-Type";
const IDENTITY: &str = "Identity";

/// A command, borrowed from its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'body> {
    /// Ends the handshake of the mechanism NULL.
    Ready(Metadata<'body>),
    /// The peer refuses us.
    Error {
        /// The peer's reason, 0 to 255 bytes.
        reason: &'body [u8],
    },
    /// Asks for a PONG.
    Ping {
        /// Time in tenths of a second after which we should close if nothing more arrives; 0 means never.
        ttl_tenths: u16,
        /// The context to send back, 0 to [`MAX_PING_CONTEXT_BYTES`] bytes.
        context: &'body [u8],
    },
    /// Answers a PING.
    Pong,
    /// Any other command (SUBSCRIBE, CANCEL, JOIN, future ones). It is ignored.
    Other {
        /// Its name, 1 to 255 bytes.
        name: &'body [u8],
    },
}

/// The metadata of a peer that we use. If a property occurs twice, the first counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata<'body> {
    /// The property `Socket-Type`, if present.
    pub socket_type: Option<&'body [u8]>,
    /// The property `Identity`; empty if absent.
    pub identity: &'body [u8],
}

/// Reads a command body.
///
/// # Errors
/// [`ZmtpError::InvalidCommand`] when it does not follow its grammar.
pub fn parse(body: &[u8]) -> Result<Command<'_>, ZmtpError> {
    let invalid = |reason| ZmtpError::InvalidCommand { reason };
    let (name, data) = split_short(body).ok_or(invalid("its name is cut short"))?;
    match name {
        b"" => Err(invalid("it has no name")),
        b"READY" => parse_metadata(data).map(Command::Ready),
        b"ERROR" => {
            let (reason, _) = split_short(data).ok_or(invalid("ERROR whose reason is cut short"))?;
            Ok(Command::Error { reason })
        }
        b"PING" => {
            let (ttl, context) = data.split_first_chunk().ok_or(invalid("PING without a time to live"))?;
            let context = context.get(..MAX_PING_CONTEXT_BYTES).unwrap_or(context);
            Ok(Command::Ping { ttl_tenths: u16::from_be_bytes(*ttl), context })
        }
        b"PONG" => Ok(Command::Pong),
        name => Ok(Command::Other { name }),
    }
}

fn parse_metadata(mut data: &[u8]) -> Result<Metadata<'_>, ZmtpError> {
    let invalid = |reason| ZmtpError::InvalidCommand { reason };
    let mut socket_type = None;
    let mut identity = None;
    while !data.is_empty() {
        let (name, after_name) = split_short(data).ok_or(invalid("READY with a property name that is cut short"))?;
        if name.is_empty() {
            return Err(invalid("READY with a property without a name"));
        }
        let (value, after_value) = split_long(after_name).ok_or(invalid("READY with a value that is cut short"))?;
        if name.eq_ignore_ascii_case(SOCKET_TYPE.as_bytes()) {
            socket_type.get_or_insert(value);
        } else if name.eq_ignore_ascii_case(IDENTITY.as_bytes()) {
            identity.get_or_insert(value);
        }
        data = after_value;
    }
    Ok(Metadata { socket_type, identity: identity.unwrap_or_default() })
}

/// Splits off a string with a length of one octet.
fn split_short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&size, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(size))
}

/// Splits off a value with a length of four octets.
fn split_long(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (size, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*size)).ok()?)
}

/// The body of a READY command. Names and order of the properties are those of libzmq. `identity` is cut at 255 bytes.
#[must_use]
pub fn encode_ready(socket_type: &str, identity: &[u8]) -> Vec<u8> {
    let identity = identity.get(..usize::from(u8::MAX)).unwrap_or(identity);
    let mut body = named("READY", 40 + socket_type.len() + identity.len());
    for (name, value) in [(SOCKET_TYPE, socket_type.as_bytes()), (IDENTITY, identity)] {
        push_short(&mut body, name.as_bytes());
        body.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        body.extend_from_slice(value);
    }
    body
}

/// The body of an ERROR command; `reason` is cut at 255 bytes.
#[must_use]
pub fn encode_error(reason: &str) -> Vec<u8> {
    let mut body = named("ERROR", 1 + reason.len());
    push_short(&mut body, reason.as_bytes());
    body
}

/// The body of a PONG command.
#[must_use]
pub fn encode_pong(context: &[u8]) -> Vec<u8> {
    let mut body = named("PONG", context.len());
    body.extend_from_slice(context);
    body
}

fn named(name: &str, data_bytes: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(1 + name.len() + data_bytes);
    push_short(&mut body, name.as_bytes());
    body
}

/// Appends a string with a length of one octet. The string is cut at 255 bytes.
fn push_short(body: &mut Vec<u8>, bytes: &[u8]) {
    let size = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    body.push(size);
    body.extend_from_slice(bytes.get(..usize::from(size)).unwrap_or_default());
}

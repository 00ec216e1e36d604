//! The 64 octets that open a connection (37/ZMTP, "Formal Grammar" and "Version Negotiation").

use super::ZmtpError;
use super::error::printable;

/// Length of a whole greeting.
pub const GREETING_BYTES: usize = 64;

/// Length of the signature, the first part of a greeting.
pub const SIGNATURE_BYTES: usize = 10;

const VERSION_AT: usize = SIGNATURE_BYTES;
const MECHANISM_AT: usize = 12;
const MECHANISM_BYTES: usize = 20;

/// The highest supported minor version of ZMTP 3.
pub const MINOR_VERSION: u8 = 1;

/// Our greeting: ZMTP 3.1, mechanism NULL, not a server in the mechanism's sense.
///
/// The padding holds what a ZMTP 2.0 peer reads as the length of an empty identity, as in libzmq's greeting.
pub const OURS: [u8; GREETING_BYTES] = *b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
    \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// The content of a peer's greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The minor version to use: the lower of the peer's and [`MINOR_VERSION`].
    pub minor_version: u8,
}

/// Reads a greeting from the start of `bytes`; `None` while there are too few bytes to decide.
///
/// # Errors
/// [`ZmtpError::NotZmtp`], [`ZmtpError::UnsupportedVersion`] or [`ZmtpError::UnsupportedMechanism`], as soon as the
/// bytes show it.
pub fn parse(bytes: &[u8]) -> Result<Option<Greeting>, ZmtpError> {
    check_signature(bytes)?;
    let Some(&major) = bytes.get(VERSION_AT) else { return Ok(None) };
    if major < 3 {
        return Err(older_version(major));
    }
    let Some(greeting) = bytes.get(..GREETING_BYTES) else { return Ok(None) };
    let mechanism = greeting.get(MECHANISM_AT..MECHANISM_AT + MECHANISM_BYTES).unwrap_or_default();
    let name_len = mechanism.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let name = mechanism.get(..name_len).unwrap_or_default();
    if name != b"NULL" {
        return Err(ZmtpError::UnsupportedMechanism { name: printable(name, MECHANISM_BYTES) });
    }
    let minor = greeting.get(VERSION_AT + 1).copied().unwrap_or(0);
    // A later major version must talk ours to us ("Version Negotiation"), so its own minor version says nothing.
    let minor_version = if major == 3 { minor.min(MINOR_VERSION) } else { MINOR_VERSION };
    Ok(Some(Greeting { minor_version }))
}

/// Refuses what cannot become a signature of ZMTP 2 or later. The padding is ignored.
fn check_signature(bytes: &[u8]) -> Result<(), ZmtpError> {
    let Some(&first) = bytes.first() else { return Ok(()) };
    if first == 0xff {
        // ZMTP 1.0 can begin like this too, with the length of a long identity. Its flags are then where we expect
        // 0x7f.
        return match bytes.get(SIGNATURE_BYTES - 1) {
            Some(flags) if flags & 1 == 0 => Err(ZmtpError::UnsupportedVersion { major: 1, minor: 0 }),
            _ => Ok(()),
        };
    }
    // ZMTP 1.0 begins with a short identity frame: its length, never 0, then flags of 0.
    if first != 0 && bytes.get(1) == Some(&0) {
        return Err(ZmtpError::UnsupportedVersion { major: 1, minor: 0 });
    }
    // Waits for as many bytes as a signature has, so that the log shows enough to recognise the peer.
    match bytes.get(..SIGNATURE_BYTES) {
        Some(start) => Err(ZmtpError::NotZmtp { first_bytes: start.to_vec(), spoken: recognise(start) }),
        None => Ok(()),
    }
}

/// The version field of a peer before 3.0 is a revision number of its own.
const fn older_version(revision: u8) -> ZmtpError {
    match revision {
        0 => ZmtpError::UnsupportedVersion { major: 1, minor: 0 },
        1 => ZmtpError::UnsupportedVersion { major: 2, minor: 0 },
        _ => ZmtpError::UnsupportedVersion { major: 2, minor: 1 },
    }
}

/// The protocol of a peer with these first bytes, if it is one that is often found at a wrong port.
fn recognise(start: &[u8]) -> Option<&'static str> {
    const PREFIXES: [(&[u8], &str); 16] = [
        (b"GET ", "HTTP"),
        (b"HEAD ", "HTTP"),
        (b"POST ", "HTTP"),
        (b"PUT ", "HTTP"),
        (b"PATCH ", "HTTP"),
        (b"DELETE ", "HTTP"),
        (b"OPTIONS ", "HTTP"),
        (b"CONNECT ", "an HTTP proxy's client"),
        (b"HTTP/", "an HTTP server"),
        (b"PRI * HTTP", "HTTP/2"),
        (b"SSH-", "SSH"),
        (b"\x16\x03", "TLS"),
        (b"\x15\x03", "a TLS alert"),
        (b"220 ", "SMTP or FTP"),
        (b"[", "Gorgone without ZMTP"),
        (b"{", "JSON"),
    ];
    PREFIXES.iter().find(|(prefix, _)| start.starts_with(prefix)).map(|(_, spoken)| *spoken)
}

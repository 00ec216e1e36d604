//! A link between two of our daemons, sealed by TLS 1.3 (RFC 8446) inside ZMTP messages (docs/protocol.md section 21).
//!
//! Both ends prove the RSA keys that they have anyway, as raw public keys (RFC 7250), so no certificates, names and
//! dates are involved. rustls does the protocol; here are its keys, the messages that carry its records, and the
//! frames inside. Out of scope: whom to trust (`session` compares thumbprints), early data, TLS 1.2.
//!
//! Randomness is the operating system's, drawn by rustls: the lengths of all messages are the same in each run, their
//! bytes are not.

mod chunk;
mod connection;
mod frame;
mod greeting;
mod handshake;
mod identity;
mod offer;
#[cfg(test)]
mod tests;

pub use connection::TlsLink;
pub use frame::{Frame, FrameKind};
pub use greeting::Greeting;
pub use handshake::{Proof, Step, StepResult};
pub use identity::{ClientTls, ServerTls, TlsIdentity};
pub use offer::{Offer, encode_demand, parse_demand};

/// Whether a message is made of TLS records. Nothing else on this wire begins with such an octet: text begins with a
/// bracket and classic messages with base64.
#[must_use]
pub fn is_records(message: &[u8]) -> bool {
    matches!(message.first(), Some(20..=23))
}

/// Whether a message begins a TLS handshake or goes on with it in clear.
#[must_use]
pub fn is_handshake(message: &[u8]) -> bool {
    message.first() == Some(&22)
}

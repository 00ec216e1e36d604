//! The texts of the key exchange, and its RSA work as jobs that are pure functions (docs/protocol.md section 3).
//!
//! Out of scope: the order of the steps (`session`), threads, randomness of its own (each job carries a seed).

mod jobs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::sealing::{IV_LEN, KeyMaterial, decode_base64};
use crate::model::random::{from_hex, to_hex};
use crate::model::text;

pub use jobs::{DialJob, DialResult, HelloJob, HelloOutcome, RefusalReason};

/// Step 1, always in clear.
pub const GET_PUBLIC_KEY: &[u8] = b"[GETPUBKEY]";
/// The answer to a refused client, in clear, whatever failed.
pub const HANDSHAKE_ISSUE: &[u8] = br#"[ACK] [] {"code":1,"data":{"message":"handshake issue"}}"#;
/// Maximum length of `NAME` in step 4, in characters.
pub const MAX_NAME_LEN: usize = 255;
/// Maximum length of a base64 field of the exchange in bytes. A 4096-bit key in PEM and base64 takes about 1,100.
pub const MAX_FIELD_LEN: usize = 8 * 1_024;

/// Whether this is step 1.
#[must_use]
pub fn is_get_public_key(payload: &[u8]) -> bool {
    payload.trim_ascii_start().starts_with(GET_PUBLIC_KEY)
}

/// Whether this is the clear refusal of a server.
#[must_use]
pub fn is_handshake_issue(payload: &[u8]) -> bool {
    let Some(head) = payload.get(..payload.len().min(1_024)) else { return false };
    head.trim_ascii_start().starts_with(b"[ACK]") && text::from_bytes(head).contains("handshake issue")
}

/// Step 2: the server's public key.
#[must_use]
pub fn encode_public_key(pem: &str) -> Vec<u8> {
    format!("[PUBKEY] [{}]", STANDARD.encode(pem)).into_bytes()
}

/// Reads step 2: the PEM text. Anything after it is ignored.
#[must_use]
pub fn parse_public_key(payload: &[u8]) -> Option<Vec<u8>> {
    let rest = payload.trim_ascii_start().strip_prefix(b"[PUBKEY]")?;
    let (field, _) = bracketed(after_space(rest)?)?;
    decode_base64(field)
}

/// Step 4 as received: who asks for a session. Nothing in it has been checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    /// The client's name for itself, for the log.
    pub name: String,
    /// PEM text of the client's public key.
    pub public_key_pem: Vec<u8>,
    /// `HELO`, encrypted for the server.
    pub encrypted: Vec<u8>,
}

impl Hello {
    /// Reads step 4. `None` if the text has another form, so it is not a handshake.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (name, rest) = bracketed(payload.trim_ascii_start())?;
        let (pem, rest) = bracketed(after_space(rest)?)?;
        let (encrypted, rest) = bracketed(after_space(rest)?)?;
        // Decoded as text, so that a Latin-1 name can be written again in UTF-8.
        let name = text::from_bytes(name);
        let sized =
            (1..=MAX_NAME_LEN).contains(&name.chars().count()) && pem.len().max(encrypted.len()) <= MAX_FIELD_LEN;
        if !sized || !rest.trim_ascii().is_empty() || pem.is_empty() || encrypted.is_empty() {
            return None;
        }
        Some(Self {
            name: name.into_owned(),
            public_key_pem: decode_base64(pem)?,
            encrypted: decode_base64(encrypted)?,
        })
    }

    /// The text of step 4.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let pem = STANDARD.encode(&self.public_key_pem);
        format!("[{}] [{pem}] [{}]", self.name, STANDARD.encode(&self.encrypted)).into_bytes()
    }
}

/// The text `[KEY] {…}` of step 6 and of a rotation, at most `capacity_bytes` long. The host name is cut at a character
/// as needed, because the text must fit the modulus of the client's key. A key of 2048 bits holds 245 bytes, which
/// leaves 84 for the host name beside a 32-byte session key.
#[must_use]
pub fn encode_key(material: &KeyMaterial, hostname: &str, capacity_bytes: usize) -> Vec<u8> {
    let key = to_hex(material.key());
    let iv = to_hex(material.iv());
    let tail = format!("\",\"cipher\":\"AES\",\"padding\":1,\"key\":\"{key}\",\"iv\":\"{iv}\"}}");
    let mut text = String::from("[KEY] {\"hostname\":\"");
    for character in hostname.chars() {
        // No host name contains these. Without them the text needs no escapes.
        if character.is_control() || matches!(character, '"' | '\\') {
            continue;
        }
        if text.len() + character.len_utf8() + tail.len() > capacity_bytes {
            break;
        }
        text.push(character);
    }
    text.push_str(&tail);
    text.into_bytes()
}

/// Whether a decrypted text is a `[KEY]`.
#[must_use]
pub fn is_key(plain: &[u8]) -> bool {
    plain.starts_with(b"[KEY]")
}

/// Reads `[KEY] {…}`. Unknown members are ignored, `padding` may be a number or a string.
///
/// # Errors
/// A sentence for the log that never holds the key.
pub fn parse_key(plain: &[u8]) -> Result<KeyMaterial, &'static str> {
    #[derive(Deserialize)]
    struct Key {
        key: String,
        iv: String,
        #[serde(default)]
        cipher: Option<String>,
        #[serde(default)]
        padding: Option<serde_json::Value>,
    }
    let json = plain.strip_prefix(b"[KEY]").ok_or("it does not begin with [KEY]")?;
    let key: Key = serde_json::from_str(text::from_bytes(json).trim()).map_err(|_| "its JSON holds no key and iv")?;
    if key.cipher.is_some_and(|cipher| !cipher.is_empty() && !cipher.eq_ignore_ascii_case("AES")) {
        return Err("its cipher is not AES; set external_com_cipher: AES on the other side");
    }
    let padding = key.padding.as_ref().and_then(|value| match value {
        serde_json::Value::Number(number) => number.as_u64(),
        serde_json::Value::String(text) => text.trim().parse().ok(),
        _ => None,
    });
    if padding.is_some_and(|padding| padding != 1) {
        return Err("its padding is not 1 (PKCS#7); set external_com_padding: 1 on the other side");
    }
    let bytes = from_hex(&key.key).ok_or("its key is not hexadecimal")?;
    let iv = from_hex(&key.iv).filter(|iv| iv.len() == IV_LEN).ok_or("its iv is not 16 bytes in hexadecimal")?;
    KeyMaterial::new(bytes, &iv).ok_or("its key has not 16, 24 or 32 bytes")
}

/// Splits `[FIELD]REST` into field and rest.
fn bracketed(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = text.strip_prefix(b"[")?;
    let end = rest.iter().position(|byte| *byte == b']')?;
    let (inside, after) = rest.split_at_checked(end)?;
    Some((inside, after.get(1..)?))
}

/// The text after white space; `None` if there is no white space.
fn after_space(text: &[u8]) -> Option<&[u8]> {
    let rest = text.trim_ascii_start();
    (rest.len() < text.len()).then_some(rest)
}

#[cfg(test)]
mod tests;

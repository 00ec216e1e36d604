//! The word that `stheno node add` prints and `stheno join` takes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

use crate::config::joined::JoinedKind;
use crate::model::node_id::NodeId;

/// How a word begins, so that it is known as one.
const BEGINNING: &str = "stheno-join-";
/// Version of the form.
const VERSION: u8 = 1;
/// Length of the secret in bytes.
pub const SECRET_LEN: usize = 16;
/// Length of the check at the end in bytes.
const CHECK_LEN: usize = 4;

/// What a node needs to join. It holds a secret: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Word {
    /// How the node is reached.
    pub kind: JoinedKind,
    pub node: NodeId,
    /// The one-time secret.
    pub secret: [u8; SECRET_LEN],
    /// Until when the word is valid, in seconds since 1970.
    pub until: i64,
    /// The host of the central; for `push_zmq` empty.
    pub host: String,
    /// The port of the central; for `push_zmq` that on which the node listens.
    pub port: u16,
    /// Whether the central's WebSocket has TLS.
    pub is_tls: bool,
    /// SHA-256 that the central is known by: the RFC 7638 thumbprint of its key, for `pullwss` its certificate.
    pub central: [u8; 32],
}

impl Word {
    /// The text to paste.
    #[must_use]
    pub fn encode(&self) -> String {
        let kind = match self.kind {
            JoinedKind::Pull => 0,
            JoinedKind::Pullwss => 1,
            JoinedKind::PushZmq => 2,
        };
        let mut bytes = vec![VERSION, kind, u8::from(self.is_tls)];
        bytes.extend(self.node.get().to_be_bytes());
        bytes.extend(self.until.to_be_bytes());
        bytes.extend(self.port.to_be_bytes());
        bytes.extend(self.secret);
        bytes.extend(self.central);
        bytes.extend(self.host.as_bytes());
        bytes.extend(check(&bytes));
        format!("{BEGINNING}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads a text.
    ///
    /// # Errors
    /// A sentence with the remedy.
    pub fn decode(text: &str) -> Result<Self, String> {
        const AGAIN: &str =
            "the word is not complete or has a wrong letter: copy all of what 'stheno node add' printed";
        let body = text.trim().strip_prefix(BEGINNING).ok_or_else(|| {
            format!("this is not a word of 'stheno node add', which begins with '{BEGINNING}': run that on the central")
        })?;
        let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| AGAIN)?;
        let (bytes, end) = bytes.split_at_checked(bytes.len().saturating_sub(CHECK_LEN)).ok_or(AGAIN)?;
        if check(bytes) != end {
            return Err(AGAIN.to_owned());
        }
        let mut reader = Reader(bytes);
        let version = reader.take::<1>().ok_or(AGAIN)?;
        if version != [VERSION] {
            return Err("the word is of another version: install the same version on both sides".to_owned());
        }
        let read = |reader: &mut Reader<'_>| {
            let [kind, tls] = reader.take::<2>()?;
            Some(Self {
                kind: match kind {
                    0 => JoinedKind::Pull,
                    1 => JoinedKind::Pullwss,
                    2 => JoinedKind::PushZmq,
                    _ => return None,
                },
                is_tls: tls == 1,
                node: NodeId::new(u64::from_be_bytes(reader.take()?)).ok()?,
                until: i64::from_be_bytes(reader.take()?),
                port: u16::from_be_bytes(reader.take()?),
                secret: reader.take()?,
                central: reader.take()?,
                host: String::from_utf8(reader.0.to_vec()).ok()?,
            })
        };
        read(&mut reader).ok_or_else(|| AGAIN.to_owned())
    }

    /// The thumbprint of the central's key.
    #[must_use]
    pub fn central_thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.central)
    }

    /// Reads a thumbprint.
    #[must_use]
    pub fn thumbprint_bytes(thumbprint: &str) -> Option<[u8; 32]> {
        URL_SAFE_NO_PAD.decode(thumbprint).ok()?.try_into().ok()
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }
}

fn check(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().iter().take(CHECK_LEN).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word() -> Word {
        Word {
            kind: JoinedKind::Pullwss,
            node: NodeId::new(u64::MAX >> 1).unwrap(),
            secret: [7; 16],
            until: 1_800_000_000,
            host: "central.example.org".to_owned(),
            port: 8_086,
            is_tls: true,
            central: [9; 32],
        }
    }

    #[test]
    fn a_word_is_read_as_it_was_written() {
        let text = word().encode();
        assert!(Word::decode(&format!(" {text}\n")).is_ok_and(|read| read == word()), "{text}");
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{text}");
    }

    #[test]
    fn a_word_that_was_cut_or_changed_is_refused_with_a_sentence() {
        let text = word().encode();
        for end in BEGINNING.len()..text.len() {
            assert!(Word::decode(&text[..end]).is_err_and(|error| error.contains("not complete")), "{end}");
        }
        let changed = text.replace('c', "d");
        assert!(Word::decode(&changed).is_err());
        assert!(Word::decode("ssh-ed25519 AAAA").is_err_and(|error| error.contains("not a word of")));
    }
}

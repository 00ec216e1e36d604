//! The sealed link: received messages and the rotation of its key (docs/protocol.md section 3, step 7).

use std::time::Duration;

use crate::model::random::Random;
use crate::model::time::{Monotonic, Now};
use crate::wire::gorgone::envelope::{self, begins_with_word};
use crate::wire::gorgone::key_exchange::{is_handshake_issue, is_key, parse_key};
use crate::wire::gorgone::sealing::{KeyMaterial, SessionKey};

use super::{DialerOutput, State, ZmqDialer};
use crate::session::back_off::Severity;

/// The keys of a link. No `Debug`.
pub(super) struct Sealed {
    key: SessionKey,
    /// The previous key: a server that repeats a rotation seals it with this one.
    old: Option<SessionKey>,
    since: Monotonic,
    /// Whether the node has sent a message that could be opened.
    heard: bool,
}

impl Sealed {
    pub fn new(material: KeyMaterial, now: Monotonic) -> Self {
        Self { key: SessionKey::new(material), old: None, since: now, heard: false }
    }

    pub fn seal(&self, parts: &[&[u8]]) -> Vec<u8> {
        self.key.seal_parts(parts)
    }

    /// How long the link has been up.
    pub fn age(&self, now: Monotonic) -> Duration {
        now.since(self.since)
    }

    /// Whether the node has sent a message that could be opened.
    pub const fn was_heard(&self) -> bool {
        self.heard
    }

    fn open(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let opened = |key: &SessionKey| key.open(payload).filter(|plain| begins_with_word(plain));
        opened(&self.key).or_else(|| self.old.as_ref().and_then(opened))
    }

    fn switch(&mut self, material: KeyMaterial) {
        if *self.key.material() != material {
            self.old = Some(std::mem::replace(&mut self.key, SessionKey::new(material)));
        }
    }
}

impl ZmqDialer {
    pub(super) fn handle_sealed(&mut self, payload: &[u8], now: Now, random: &mut dyn Random) {
        let State::Up(sealed) = &mut self.state else { return };
        let endpoint = &self.settings.endpoint;
        let Some(plain) = sealed.open(payload) else {
            let text = if is_handshake_issue(payload) {
                format!("{endpoint} lost our session; a new one is made")
            } else if payload.starts_with(b"[") {
                // Clear text of an earlier step, such as a second PUBKEY.
                return;
            } else {
                format!("{endpoint} sent what our keys do not open; a new session is made")
            };
            return self.fail(text, Severity::Transient, true, now, random);
        };
        sealed.heard = true;
        if is_key(&plain) {
            match parse_key(&plain) {
                Ok(material) => sealed.switch(material),
                Err(problem) => {
                    let text = format!("{endpoint} sent a new session key that cannot be read: {problem}");
                    self.fail(text, Severity::Transient, true, now, random);
                }
            }
            return;
        }
        self.outputs.push_back(match envelope::parse_owned(plain) {
            Ok(message) => DialerOutput::Message(message),
            Err(error) => DialerOutput::Malformed { reason: error.to_string(), token: error.token },
        });
    }
}

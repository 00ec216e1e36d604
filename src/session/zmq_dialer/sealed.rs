//! A link that is up: received messages, and in the way of the original the rotation of its key (docs/protocol.md
//! section 3, step 7).

use std::time::Duration;

use crate::model::link::LinkKind;
use crate::model::random::Random;
use crate::model::time::{Monotonic, Now};
use crate::wire::gorgone::envelope::{self, begins_with_word};
use crate::wire::gorgone::key_exchange::{is_handshake_issue, is_key, parse_key};
use crate::wire::gorgone::sealing::{KeyMaterial, SessionKey};
use crate::wire::tls_link::{self, Frame, FrameKind, TlsLink};

use super::{DialState, DialerOutput, ZmqDialer};
use crate::session::back_off::Severity;

/// A link that is up. No `Debug`: it holds keys.
pub(super) struct Sealed {
    protection: Protection,
    since: Monotonic,
    /// Whether the node has sent a message that could be opened.
    heard: bool,
}

enum Protection {
    Classic(Box<ClassicKeys>),
    Tls(Box<TlsLink>),
}

struct ClassicKeys {
    key: SessionKey,
    /// The previous key: a server that repeats a rotation seals it with this one.
    old: Option<SessionKey>,
}

impl Sealed {
    /// A link in the way of the original.
    pub fn classic(material: KeyMaterial, now: Monotonic) -> Self {
        let keys = ClassicKeys { key: SessionKey::new(material), old: None };
        Self { protection: Protection::Classic(Box::new(keys)), since: now, heard: false }
    }

    /// A link that is sealed by TLS.
    pub fn tls(link: TlsLink, now: Monotonic) -> Self {
        Self { protection: Protection::Tls(Box::new(link)), since: now, heard: true }
    }

    pub const fn kind(&self) -> LinkKind {
        match self.protection {
            Protection::Classic(_) => LinkKind::Classic,
            Protection::Tls(_) => LinkKind::Sealed,
        }
    }

    /// Seals plain text. `None` if it waits for [`Sealed::seal_gathered`].
    pub fn seal(&mut self, parts: &[&[u8]], may_wait: bool) -> Result<Option<Vec<u8>>, String> {
        match &mut self.protection {
            Protection::Classic(keys) => Ok(Some(keys.key.seal_parts(parts))),
            Protection::Tls(link) if may_wait => link.gather(FrameKind::Envelope, parts),
            Protection::Tls(link) => link.seal(FrameKind::Envelope, parts).map(Some),
        }
    }

    /// Seals what waits.
    pub fn seal_gathered(&mut self) -> Result<Option<Vec<u8>>, String> {
        match &mut self.protection {
            Protection::Tls(link) if link.has_gathered() => link.seal_gathered().map(Some),
            _ => Ok(None),
        }
    }

    /// How long the link has been up.
    pub fn age(&self, now: Monotonic) -> Duration {
        now.since(self.since)
    }

    /// Whether the node has sent a message that could be opened.
    pub const fn was_heard(&self) -> bool {
        self.heard
    }
}

impl ClassicKeys {
    fn open(&self, payload: &[u8]) -> Option<Vec<u8>> {
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
        let DialState::Up(sealed) = &mut self.state else { return };
        match &mut sealed.protection {
            Protection::Classic(_) => self.handle_classic(payload, now, random),
            Protection::Tls(link) if tls_link::is_records(payload) => match link.open(payload.to_vec()) {
                Ok((frames, reply)) => {
                    if !reply.is_empty() {
                        self.outputs.push_back(DialerOutput::Send(reply));
                    }
                    frames.into_iter().for_each(|frame| self.take_frame(frame));
                }
                Err(why) => {
                    let text = self.link_closed(&why);
                    self.fail(text, Severity::Transient, true, now, random);
                }
            },
            Protection::Tls(_) if is_handshake_issue(payload) => self.session_lost(now, random),
            // Clear text that belongs to no step: from an earlier one, or from somebody in between.
            Protection::Tls(_) => {}
        }
    }

    pub(super) fn take_frame(&mut self, Frame { kind, body }: Frame) {
        match kind {
            FrameKind::Envelope => self.take_envelope(body),
            FrameKind::Greeting | FrameKind::Chunk => {}
        }
    }

    fn session_lost(&mut self, now: Now, random: &mut dyn Random) {
        let text = format!("{} lost our session; a new one is made", self.settings.endpoint);
        self.fail(text, Severity::Transient, true, now, random);
    }

    fn handle_classic(&mut self, payload: &[u8], now: Now, random: &mut dyn Random) {
        let DialState::Up(Sealed { protection: Protection::Classic(keys), heard, .. }) = &mut self.state else {
            return;
        };
        let endpoint = &self.settings.endpoint;
        let Some(plain) = keys.open(payload) else {
            if is_handshake_issue(payload) {
                return self.session_lost(now, random);
            }
            if payload.starts_with(b"[") {
                // Clear text of an earlier step, such as a second PUBKEY.
                return;
            }
            let text = format!("{endpoint} sent what our keys do not open; a new session is made");
            return self.fail(text, Severity::Transient, true, now, random);
        };
        *heard = true;
        if is_key(&plain) {
            match parse_key(&plain) {
                Ok(material) => keys.switch(material),
                Err(problem) => {
                    let text = format!("{endpoint} sent a new session key that cannot be read: {problem}");
                    self.fail(text, Severity::Transient, true, now, random);
                }
            }
            return;
        }
        self.take_envelope(plain);
    }

    fn take_envelope(&mut self, plain: Vec<u8>) {
        self.outputs.push_back(match envelope::parse(plain) {
            Ok(message) => DialerOutput::Message(message),
            Err(error) => DialerOutput::Malformed { reason: error.to_string(), token: error.token },
        });
    }
}

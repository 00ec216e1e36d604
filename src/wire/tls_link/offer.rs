//! The words behind `[PUBKEY] [KEY]` by which our daemons agree how to go on. All of it is in clear and unproved: who
//! cuts or changes it can hinder a link, and can talk two daemons down that have never met. Those that have met sealed
//! remember it.

use crate::model::link::LinkMode;

/// What a server says of its link. A daemon of the original and an older Stheno stop reading before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer(pub LinkMode);

const WORD: &[u8] = b"[LINK]";

impl Offer {
    /// The text that follows the key.
    #[must_use]
    pub fn encode(self) -> String {
        format!(" [LINK] [{}]", self.0)
    }

    /// Finds the offer in a server's answer to GETPUBKEY; `None` from a daemon that makes none.
    #[must_use]
    pub fn parse(public_key: &[u8]) -> Option<Self> {
        let at = public_key.windows(WORD.len()).position(|window| window == WORD)?;
        mode(public_key.get(at..)?).map(Self)
    }
}

/// A client's last word before it gives up, so that the server can say why, too. It is sent to a server only that has
/// made an offer.
#[must_use]
pub fn encode_demand(mode: LinkMode) -> Vec<u8> {
    format!("[LINK] [{mode}]").into_bytes()
}

/// Reads what a client demands.
#[must_use]
pub fn parse_demand(message: &[u8]) -> Option<LinkMode> {
    mode(message)
}

fn mode(text: &[u8]) -> Option<LinkMode> {
    let rest = text.strip_prefix(WORD)?.trim_ascii_start().strip_prefix(b"[")?;
    let end = rest.iter().take(16).position(|byte| *byte == b']')?;
    LinkMode::from_word(std::str::from_utf8(rest.get(..end)?).ok()?)
}

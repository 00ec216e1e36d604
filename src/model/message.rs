//! One message between daemons, as values (docs/protocol.md section 1).

use super::action::Action;
use super::code::Code;
use super::token::Token;

/// A received or sent `[ACTION] [TOKEN] [TARGET] DATA`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The first field.
    pub action: Action,
    /// The second field; `None` if empty.
    pub token: Option<Token>,
    /// The third field, not checked; empty means "here". `None` if a reply has only two fields.
    pub target: Option<Box<str>>,
    /// JSON text in valid UTF-8, not parsed; `{}` if missing.
    pub data: String,
}

/// A reply: `[KIND] [TOKEN] {"code":N,"data":…}`, with an empty third field for `PONG` and `SYNCLOGS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// `ACK`, `PONG`, `CONSTATUS`, …
    pub kind: Action,
    /// The request's token.
    pub token: Option<Token>,
    /// The code of the reply.
    pub code: Code,
    /// JSON text of the `data` member.
    pub data: String,
}

/// An outgoing message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// A request, always with three fields.
    Request(Message),
    Reply(Reply),
}

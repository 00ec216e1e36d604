//! The senders of requests, and the results of requests.

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::token::Token;

use super::json;

/// The sender of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// A client, which gets replies.
    Client(ClientId),
    /// A client that sent no token, so that nobody will ask for the result.
    ClientWithoutToken(ClientId),
    /// This daemon itself or a call of the API; the reply is the return value.
    Ourselves,
}

/// A request that a room makes to this daemon, or through it to a node. Holds command lines: no `Debug`.
pub(super) struct OwnRequest {
    pub action: Action,
    pub token: Token,
    /// The id of a node; empty for this daemon.
    pub target: String,
    pub data: String,
}

/// The result of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Handled {
    /// The reply: its kind, code and data.
    Reply(Action, Code, String),
    /// The reply is sent later.
    Later,
}

impl Handled {
    /// Returns `ACK` with code 0 and no text: work has begun.
    pub(super) fn accepted() -> Self {
        Self::Reply(Action::Ack, Code::BEGIN, "null".to_owned())
    }

    /// Returns `ACK` with code 1.
    pub(super) const fn refused(data: String) -> Self {
        Self::Reply(Action::Ack, Code::FINISHED_KO, data)
    }

    /// Returns the refusal of a request whose data cannot be read.
    pub(super) fn not_well_formatted() -> Self {
        Self::refused(json::message("request not well formatted"))
    }
}

impl Peer {
    /// Returns the client that gets the reply.
    pub(super) const fn client(self) -> Option<ClientId> {
        match self {
            Self::Client(client) | Self::ClientWithoutToken(client) => Some(client),
            Self::Ourselves => None,
        }
    }
}

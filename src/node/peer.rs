//! Who asks for something, and what becomes of a request.

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::connection::ClientId;

use super::json;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// A client of the external socket: it gets replies.
    Client(ClientId),
    /// The same, and we made up its token: nobody will ask what became of it.
    ClientWithoutToken(ClientId),
    /// This daemon itself or a call of the API: the reply is the return value.
    Ourselves,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Handled {
    /// The reply: its kind, code and data.
    Reply(Action, Code, String),
    /// The reply goes out later, by itself.
    Later,
}

impl Handled {
    /// `ACK` with code 0 and nothing to say: work has begun.
    pub(super) fn accepted() -> Self {
        Self::Reply(Action::Ack, Code::BEGIN, "null".to_owned())
    }

    /// `ACK` with code 1.
    pub(super) const fn refused(data: String) -> Self {
        Self::Reply(Action::Ack, Code::FINISHED_KO, data)
    }

    /// The request's data cannot be read.
    pub(super) fn not_well_formatted() -> Self {
        Self::refused(json::message("request not well formatted"))
    }
}

impl Peer {
    /// The client that gets the reply.
    pub(super) const fn client(self) -> Option<ClientId> {
        match self {
            Self::Client(client) | Self::ClientWithoutToken(client) => Some(client),
            Self::Ourselves => None,
        }
    }
}

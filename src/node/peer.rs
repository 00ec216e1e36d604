//! Who asks for something, and what becomes of a request.

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::connection::ClientId;

use super::json;
use super::output::ParentKind;

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

/// Clients that stand for our centrals where requests are answered; dispatch never gives out such numbers.
const PULL_PARENT: ClientId = ClientId(u64::MAX);
const WEB_SOCKET_PARENT: ClientId = ClientId(u64::MAX - 1);

/// The central that a client stands for.
pub(super) const fn parent_of(client: ClientId) -> Option<ParentKind> {
    match client {
        PULL_PARENT => Some(ParentKind::Pull),
        WEB_SOCKET_PARENT => Some(ParentKind::WebSocket),
        _ => None,
    }
}

/// The client that stands for a central that we dial.
pub(super) const fn client_of(kind: ParentKind) -> ClientId {
    match kind {
        ParentKind::Pull => PULL_PARENT,
        ParentKind::WebSocket => WEB_SOCKET_PARENT,
    }
}

//! Answers of one connection, kept in the order of their requests (RFC 9112 section 9.3.2).

use crate::model::api::{ApiAnswer, Method};
use std::borrow::Cow;
use std::collections::VecDeque;

use crate::wire::http::head::{RequestHead, Version};
use crate::wire::http::response::{Persistence, Response};

/// What the form of a response depends on.
#[derive(Clone, Copy, Debug)]
pub struct ResponseForm {
    /// The request was `HEAD`.
    pub head_only: bool,
    /// Whether the connection stays open.
    pub persistence: Persistence,
}

impl ResponseForm {
    /// The form of the response to a request with this head.
    #[must_use]
    pub fn of(head: &RequestHead) -> Self {
        let persistence = match (head.keep_alive, head.version) {
            (false, _) => Persistence::Close,
            (true, Version::Http10) => Persistence::KeepAlive,
            (true, Version::Http11) => Persistence::Implied,
        };
        Self { head_only: head.method == Method::Head, persistence }
    }

    /// The form of a last response, for a request whose head could not be read.
    #[must_use]
    pub const fn last() -> Self {
        Self { head_only: false, persistence: Persistence::Close }
    }

    /// A refusal in this form.
    #[must_use]
    pub const fn refuse(self, status: u16, body: Cow<'static, str>) -> Response {
        let Self { persistence, head_only } = self;
        Response { status, body, allow: None, document: None, persistence, head_only }
    }

    fn respond(self, answer: ApiAnswer) -> Response {
        let ApiAnswer { status, body, allow, document } = answer;
        Response { allow, document, ..self.refuse(status, body.into()) }
    }
}

/// One request whose response has not been written.
enum Slot {
    /// The call is running.
    Awaiting { form: ResponseForm, body_bytes: usize },
    /// The response waits for earlier ones.
    Ready(Response),
}

/// The unanswered requests of a connection, oldest first, numbered from 0.
#[derive(Default)]
pub struct Answers {
    slots: VecDeque<Slot>,
    first_number: u64,
    /// Number of bytes of the bodies of running calls.
    body_bytes: usize,
    /// Number of bytes of the answers that wait for earlier ones.
    ready_bytes: usize,
}

impl Answers {
    /// Number of requests without a written response.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether every response has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Number of bytes of the bodies of running calls.
    #[must_use]
    pub const fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// Number of bytes of the answers that have not been taken.
    #[must_use]
    pub const fn ready_bytes(&self) -> usize {
        self.ready_bytes
    }

    /// Adds a request whose answer follows later. Returns its number.
    pub fn await_answer(&mut self, form: ResponseForm, body_bytes: usize) -> u64 {
        self.body_bytes = self.body_bytes.saturating_add(body_bytes);
        self.push(Slot::Awaiting { form, body_bytes })
    }

    /// Adds a request together with its response.
    pub fn push_ready(&mut self, response: Response) {
        self.ready_bytes = self.ready_bytes.saturating_add(response.len_bytes());
        self.push(Slot::Ready(response));
    }

    fn push(&mut self, slot: Slot) -> u64 {
        let offset = u64::try_from(self.slots.len()).unwrap_or(u64::MAX);
        self.slots.push_back(slot);
        self.first_number.saturating_add(offset)
    }

    /// Sets the answer to a call. An unknown number or a second answer changes nothing.
    pub fn set_answer(&mut self, number: u64, answer: ApiAnswer) {
        let index = number.checked_sub(self.first_number).and_then(|offset| usize::try_from(offset).ok());
        let Some(slot) = index.and_then(|index| self.slots.get_mut(index)) else { return };
        if let Slot::Awaiting { form, body_bytes } = *slot {
            self.body_bytes = self.body_bytes.saturating_sub(body_bytes);
            let response = form.respond(answer);
            self.ready_bytes = self.ready_bytes.saturating_add(response.len_bytes());
            *slot = Slot::Ready(response);
        }
    }

    /// The next response in order, once it is known.
    pub fn pop_ready(&mut self) -> Option<Response> {
        match self.slots.pop_front()? {
            Slot::Ready(response) => {
                self.ready_bytes = self.ready_bytes.saturating_sub(response.len_bytes());
                self.first_number = self.first_number.saturating_add(1);
                Some(response)
            }
            awaiting @ Slot::Awaiting { .. } => {
                self.slots.push_front(awaiting);
                None
            }
        }
    }
}

//! The handshake as steps for a worker thread: each takes one message of the peer and may need RSA.
//!
//! Client: its first message, then one step. Server: two steps. In the end both know the other's key, and each has got
//! the other's greeting inside the link. A session that is resumed by a ticket takes the same steps without RSA.

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;

use super::connection::{TlsConnection, TlsLink};
use super::frame::{self, Frame, FrameKind};
use super::identity::{ClientTls, ServerTls};
use crate::model::time::Monotonic;

/// All servers have this name: tickets are kept for each of them apart, and the name is not sent.
const SERVER_NAME: &str = "gorgone";

/// A handshake that waits for a message of the peer. No `Debug`: it holds keys.
pub struct Step {
    connection: TlsConnection,
    /// The greeting that a client sends as soon as its own part is done.
    greeting: Option<Vec<u8>>,
}

/// The outcome of a step.
pub enum StepResult {
    /// Send `reply`; the next message of the peer goes to `step`.
    Goes {
        /// The rest of the handshake.
        step: Step,
        /// The message to send.
        reply: Vec<u8>,
    },
    /// The peer has proved its key. Send `reply` if the key is the right one.
    Proved(Proof),
    /// The handshake has failed, with a sentence.
    Failed(String),
}

/// A finished handshake.
pub struct Proof {
    pub link: TlsLink,
    /// Thumbprint of the peer's key.
    pub thumbprint: String,
    /// Frames that came with the last message.
    pub frames: Vec<Frame>,
    /// The message to send; it may be empty.
    pub reply: Vec<u8>,
}

impl Step {
    /// Begins a client's handshake; returns its first message.
    ///
    /// # Errors
    /// A sentence, if rustls cannot begin.
    pub fn client(tls: &ClientTls, greeting: &[u8], now: Monotonic) -> Result<(Self, Vec<u8>), String> {
        tls.clock.set(now);
        let name = ServerName::try_from(SERVER_NAME).map_err(|error| error.to_string())?;
        let client = UnbufferedClientConnection::new(tls.config.clone(), name).map_err(|error| error.to_string())?;
        let mut connection = TlsConnection::client(client);
        let mut first = Vec::new();
        connection.read(Vec::new(), &mut Vec::new(), &mut first)?;
        let mut frame = Vec::new();
        frame::encode(FrameKind::Greeting, &[greeting], &mut frame)?;
        Ok((Self { connection, greeting: Some(frame) }, first))
    }

    /// Begins a server's handshake, which waits for the client's first message.
    ///
    /// # Errors
    /// A sentence, if rustls cannot begin.
    pub fn server(tls: &ServerTls, now: Monotonic) -> Result<Self, String> {
        tls.clock.set(now);
        let server = UnbufferedServerConnection::new(tls.config.clone()).map_err(|error| error.to_string())?;
        Ok(Self { connection: TlsConnection::server(server), greeting: None })
    }

    /// Takes the next message of the peer.
    #[must_use]
    pub fn run(self, message: Vec<u8>) -> StepResult {
        self.advance(message).unwrap_or_else(StepResult::Failed)
    }

    fn advance(mut self, message: Vec<u8>) -> Result<StepResult, String> {
        let (mut plain, mut reply) = (Vec::new(), Vec::new());
        self.connection.read(message, &mut plain, &mut reply)?;
        if !self.connection.is_up() {
            return Ok(StepResult::Goes { step: self, reply });
        }
        let key = self.connection.peer_key().ok_or("the other end did not prove a key")?;
        if let Some(greeting) = &self.greeting {
            self.connection.seal(greeting, &mut reply)?;
        }
        let link = TlsLink::new(self.connection);
        Ok(StepResult::Proved(Proof { link, thumbprint: key.thumbprint(), frames: frame::decode(plain)?, reply }))
    }
}

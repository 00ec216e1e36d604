//! A blocking client of the external socket, which uses the daemon's wire layer.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use stheno::model::random::{Random, to_hex};
use stheno::model::time::Monotonic;
use stheno::wire::gorgone::key_exchange::{DialJob, DialResult, GET_PUBLIC_KEY};
use stheno::wire::gorgone::keys::PrivateKey;
use stheno::wire::gorgone::sealing::SessionKey;
use stheno::wire::tls_link::{ClientTls, FrameKind, Greeting, Proof, Step, StepResult, TlsIdentity, TlsLink};
use stheno::wire::zmtp::connection::{Event, Settings, SocketType, ZmtpConnection};

use crate::Outcome;
use crate::platform::SystemRandomness;

const NAME: &str = "gorgone-bench";
const READ_BYTES: usize = 64 * 1024;

/// Time without an answer after which a measurement ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// One sealed session.
pub struct GorgoneClient {
    stream: TcpStream,
    connection: ZmtpConnection,
    protection: Protection,
}

/// How the messages of a session are protected.
enum Protection {
    Classic(SessionKey),
    /// With frames of messages that hold several.
    Sealed(Box<TlsLink>, VecDeque<Vec<u8>>),
}

impl Protection {
    fn seal(&mut self, text: &[u8]) -> Vec<u8> {
        match self {
            Self::Classic(key) => key.seal(text),
            Self::Sealed(link, _) => link.seal(FrameKind::Envelope, &[text]).unwrap_or_default(),
        }
    }

    /// Seals a message of many, as a daemon does in one turn of its loop: over a sealed link several wait for each
    /// other.
    fn seal_of_many(&mut self, text: &[u8], is_last: bool) -> Option<Vec<u8>> {
        match self {
            Self::Sealed(link, _) if !is_last => link.gather(FrameKind::Envelope, &[text]).unwrap_or_default(),
            _ => Some(self.seal(text)),
        }
    }

    /// A message that came with an earlier one.
    fn next(&mut self) -> Option<Vec<u8>> {
        if let Self::Sealed(_, opened) = self { opened.pop_front() } else { None }
    }

    fn open(&mut self, payload: Vec<u8>) -> Outcome<Vec<u8>> {
        match self {
            Self::Classic(key) => {
                key.open(&payload).ok_or_else(|| format!("a message does not open: {}", payload.escape_ascii()).into())
            }
            Self::Sealed(link, opened) => {
                opened.extend(link.open(payload)?.0.into_iter().map(|frame| frame.body));
                opened.pop_front().ok_or_else(|| "a message without a frame".into())
            }
        }
    }
}

/// The state before the key exchange.
struct Opening {
    stream: TcpStream,
    connection: ZmtpConnection,
}

impl GorgoneClient {
    /// Connects to a daemon on loopback and performs the handshake with a key that the daemon knows.
    ///
    /// # Errors
    /// The daemon is not running, refuses the key or does not answer.
    pub fn connect(port: u16, private_key: &PrivateKey) -> Outcome<Self> {
        let mut random = SystemRandomness::default();
        let mut opening = Opening::new(port, &mut random)?.0;
        opening.send(GET_PUBLIC_KEY)?;
        let payload = opening.receive()?;
        let public_key_pem = private_key.public().to_pem().into();
        let seal = DialJob::SealHello { payload, name: NAME.to_owned(), public_key_pem, seed: random.seed() };
        let hello = match seal.run(private_key) {
            DialResult::Hello { payload, .. } => payload,
            DialResult::Failed(reason) => return Err(reason.into()),
            DialResult::Key(_) => return Err("the handshake went out of step".into()),
        };
        opening.send(&hello)?;
        let payload = opening.receive()?;
        if payload.starts_with(b"[") {
            return Err(format!("refused: {}", payload.escape_ascii()).into());
        }
        match (DialJob::OpenKey { payload, seed: random.seed() }).run(private_key) {
            DialResult::Key(material) => {
                let Opening { stream, connection } = opening;
                Ok(Self { stream, connection, protection: Protection::Classic(SessionKey::new(material)) })
            }
            DialResult::Failed(reason) => Err(reason.into()),
            DialResult::Hello { .. } => Err("the handshake went out of step".into()),
        }
    }

    /// The same with a link that is sealed by TLS.
    ///
    /// # Errors
    /// The daemon is not running, refuses the key or does not answer.
    pub fn connect_sealed(port: u16, private_key: &PrivateKey) -> Outcome<Self> {
        Self::resume_sealed(port, &ClientTls::new(&TlsIdentity::new(private_key)?)?)
    }

    /// The same with settings that may hold tickets of an earlier connection.
    ///
    /// # Errors
    /// As above.
    pub fn resume_sealed(port: u16, tls: &ClientTls) -> Outcome<Self> {
        let mut random = SystemRandomness::default();
        let (mut opening, identity) = Opening::new(port, &mut random)?;
        let greeting = Greeting::of_client(&identity).encode();
        let (step, hello) = Step::client(tls, &greeting, Monotonic::from_millis(1))?;
        opening.send(&hello)?;
        let StepResult::Proved(Proof { mut link, reply, .. }) = step.run(opening.receive()?) else {
            return Err("the handshake of TLS failed".into());
        };
        opening.send(&reply)?;
        link.open(opening.receive()?)?;
        let Opening { stream, connection } = opening;
        Ok(Self { stream, connection, protection: Protection::Sealed(Box::new(link), VecDeque::new()) })
    }

    /// Returns sealed and framed messages, ready to be written.
    #[must_use]
    pub fn frames(&mut self, texts: impl Iterator<Item = String>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut texts = texts.peekable();
        while let Some(text) = texts.next() {
            let is_last = texts.peek().is_none();
            let Some(message) = self.protection.seal_of_many(text.as_bytes(), is_last) else { continue };
            self.connection.send_message(&message);
            drain(&mut self.connection, |piece| {
                bytes.extend_from_slice(piece);
                Ok(piece.len())
            })
            .unwrap_or_default();
        }
        bytes
    }

    /// Sends one message and waits for the reply to it.
    ///
    /// # Errors
    /// No reply arrives.
    pub fn request(&mut self, text: &str) -> Outcome<Vec<u8>> {
        self.connection.send_message(&self.protection.seal(text.as_bytes()));
        drain(&mut self.connection, |piece| self.stream.write(piece))?;
        self.receive()
    }

    /// Writes `frames` as fast as they are taken while reading `replies` messages; message number `n` must begin with
    /// `[KIND] [PREFIXn] ` and contain `part`. Returns the duration.
    ///
    /// # Errors
    /// A reply is different or missing.
    pub fn pipeline(
        &mut self,
        frames: &[u8],
        replies: usize,
        kind: &str,
        prefix: &str,
        part: &str,
    ) -> Outcome<Duration> {
        let mut writing = self.stream.try_clone()?;
        let started = Instant::now();
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || writing.write_all(frames));
            let mut beginning = String::new();
            for number in 0..replies {
                let reply = self.receive()?;
                beginning.clear();
                write!(beginning, "[{kind}] [{prefix}{number}] ")?;
                if !reply.starts_with(beginning.as_bytes()) || !contains(&reply, part.as_bytes()) {
                    return Err(format!("expected {beginning}… {part}, got {}", reply.escape_ascii()).into());
                }
            }
            let elapsed = started.elapsed();
            writer.join().map_err(|_| "the writer died")??;
            Ok(elapsed)
        })
    }

    /// Receives and opens the next sealed message.
    fn receive(&mut self) -> Outcome<Vec<u8>> {
        if let Some(message) = self.protection.next() {
            return Ok(message);
        }
        let payload = next_message(&mut self.stream, &mut self.connection)?;
        self.protection.open(payload)
    }
}

impl Opening {
    fn new(port: u16, random: &mut SystemRandomness) -> Outcome<(Self, Vec<u8>)> {
        let mut suffix = [0; 12];
        random.fill(&mut suffix);
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let identity = format!("{NAME}-{}", to_hex(&suffix)).into_bytes();
        let settings =
            Settings { socket_type: SocketType::Dealer, identity: identity.clone(), max_message_bytes: 64 << 20 };
        Ok((Self { stream, connection: ZmtpConnection::new(settings) }, identity))
    }

    fn send(&mut self, payload: &[u8]) -> Outcome<()> {
        self.connection.send_message(payload);
        drain(&mut self.connection, |piece| self.stream.write(piece))
    }

    fn receive(&mut self) -> Outcome<Vec<u8>> {
        next_message(&mut self.stream, &mut self.connection)
    }
}

fn drain(connection: &mut ZmtpConnection, mut write: impl FnMut(&[u8]) -> std::io::Result<usize>) -> Outcome<()> {
    while !connection.send_queue().is_empty() {
        let count = write(connection.send_queue().front())?;
        connection.send_queue().consume(count);
    }
    Ok(())
}

fn next_message(stream: &mut TcpStream, connection: &mut ZmtpConnection) -> Outcome<Vec<u8>> {
    loop {
        match connection.poll_event().map_err(|error| error.to_string())? {
            Some(Event::Message(payload)) => return Ok(payload),
            Some(Event::Ready { .. }) => {}
            Some(Event::Multipart { .. }) => return Err("a message of several frames".into()),
            None => {
                // Sends answers of the handshake and replies to heartbeats.
                drain(connection, |piece| stream.write(piece))?;
                let mut bytes = [0; READ_BYTES];
                let count = stream.read(&mut bytes)?;
                connection.receive(bytes.get(..count).unwrap_or_default());
                if count == 0 {
                    return Err("the daemon closed the connection".into());
                }
            }
        }
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len().max(1)).any(|window| window == part)
}

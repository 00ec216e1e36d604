//! Turns a piece of a command file into messages. The same piece of the same file always gives the same messages with
//! the same tokens: a node of our own kind runs no token twice, so it takes no line twice if a file is read again.

use ring::digest::{Context as Digest, SHA256};

use crate::model::legacy::FilePiece;
use crate::model::random::to_hex;
use crate::model::token::Token;

use super::gather::{Batch, Gathering};
use super::lines::{self, Line, Pollers, Read, shown};
use super::orders::{self, EXTERNAL, Message, Refusal, Worker};

/// A message and the name of its order.
#[derive(Clone, PartialEq)]
pub(super) struct Order {
    pub token: Token,
    /// The order and its target: `RELOAD for 2`.
    pub name: String,
    pub message: Message,
}

/// A line of a file that is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub token: Token,
    /// The error as a sentence.
    pub text: String,
    /// Whether its token gets a row: the order is known, but cannot be carried out.
    pub has_row: bool,
}

/// The content of a piece of a file.
#[derive(Default)]
pub(super) struct Orders {
    pub orders: Vec<Order>,
    pub faults: Vec<Fault>,
}

/// Reads a piece.
struct Reader<'a> {
    piece: &'a FilePiece,
    pollers: &'a Pollers,
    worker: Worker<'a>,
    gathering: Gathering,
    found: Orders,
}

/// Returns the messages of a piece, in sending order, and its faults.
pub(super) fn read(piece: &FilePiece, pollers: &Pollers, worker: Worker<'_>) -> Orders {
    let mut reader = Reader { piece, pollers, worker, gathering: Gathering::default(), found: Orders::default() };
    for (position, line) in &piece.lines {
        match lines::read(line) {
            Read::Order(order) => reader.order(*position, &order),
            Read::Skipped => {}
            Read::Malformed => {
                let start = shown(&crate::model::text::from_bytes(line));
                reader.fault(*position, format!("'{start}' is not an order; a line is ORDER:TARGET[:PARAM]"), false);
            }
        }
    }
    for position in &piece.too_long {
        reader.fault(*position, format!("the line at byte {position} is too long: it is left out"), true);
    }
    let rest = reader.gathering.take_all();
    rest.into_iter().for_each(|batch| reader.batch(batch));
    reader.found
}

impl Reader<'_> {
    fn order(&mut self, position: u64, line: &Line) {
        if line.order == EXTERNAL {
            return match external(position, line, self.pollers) {
                Ok(batch) => {
                    let full = self.gathering.add(batch, self.worker.settings.bulk);
                    full.into_iter().for_each(|batch| self.batch(batch));
                }
                Err(text) => self.fault(position, named(line, &text), true),
            };
        }
        match orders::messages(line, self.pollers, self.worker) {
            Ok(messages) => {
                let before = self.pollers.find(&line.target).ok().and_then(|poller| self.gathering.take(&poller.id));
                if let Some(batch) = before {
                    if self.worker.settings.is_sequential {
                        self.batch(batch);
                    } else {
                        self.gathering.add(batch, usize::MAX);
                    }
                }
                for (index, message) in messages.into_iter().enumerate() {
                    self.push(position, index, format!("{} for {}", line.order, shown(&line.target)), message);
                }
            }
            Err(Refusal::Unknown) => self.fault(position, unknown(&line.order), false),
            Err(Refusal::Wrong(text)) => self.fault(position, named(line, &text), true),
        }
    }

    fn batch(&mut self, batch: Batch) {
        let position = batch.position;
        let message = batch.into_message();
        self.push(position, 0, format!("{EXTERNAL} for {}", message.target), message);
    }

    fn push(&mut self, position: u64, index: usize, name: String, message: Message) {
        let content = message.content.to_string();
        if let Some(token) = token(&self.piece.identity, position, index, &message.target, &content) {
            self.found.orders.push(Order { token, name, message });
        }
    }

    fn fault(&mut self, position: u64, text: String, has_row: bool) {
        if let Some(token) = token(&self.piece.identity, position, 0, "", &text) {
            self.found.faults.push(Fault { token, text, has_row });
        }
    }
}

/// Returns the text about an unknown order.
pub(super) fn unknown(order: &str) -> String {
    format!("the order '{}' is unknown: it is not carried out{}", shown(order), orders::advice(order))
}

/// Returns the text about an error with the order's name.
pub(super) fn named(line: &Line, text: &str) -> String {
    format!("{} for '{}' is not carried out: {text}", shown(&line.order), shown(&line.target))
}

/// Returns the batch of one EXTERNALCMD line.
///
/// # Errors
/// Returns why the line is invalid.
pub(super) fn external(position: u64, line: &Line, pollers: &Pollers) -> Result<Batch, String> {
    let poller = pollers.find(&line.target)?;
    let id = &poller.id;
    if !poller.has_engine {
        return Err(format!("poller {id} has no active engine configuration in the database (cfg_nagios)"));
    }
    let file = poller.command_file.as_deref().map(str::trim).filter(|file| !file.is_empty());
    let file = file.ok_or_else(|| format!("the database has no 'command_file' of poller {id} (cfg_nagios)"))?;
    let param = pollers.cleaned(&line.param);
    if param.is_empty() {
        return Err("the command is missing; a line is EXTERNALCMD:TARGET:[TIME] COMMAND".to_owned());
    }
    let mut batch = Batch::new(position, id, file);
    batch.push(&param);
    Ok(batch)
}

/// Returns the token of a message, which depends only on file, position and content.
fn token(identity: &str, position: u64, index: usize, target: &str, content: &str) -> Option<Token> {
    let mut digest = Digest::new(&SHA256);
    for part in [identity, &position.to_string(), &index.to_string(), target, content] {
        digest.update(part.as_bytes());
        digest.update(&[0]);
    }
    let digest = digest.finish();
    let start = digest.as_ref().get(..24).unwrap_or_default();
    Token::parse(&format!("legacycmd-{}", to_hex(start))).ok()
}

#[cfg(test)]
#[path = "pieces_tests.rs"]
mod tests;

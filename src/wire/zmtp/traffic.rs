//! Messages and commands after the handshake.

use super::ZmtpError;
use super::command::{self, Command, MAX_COMMAND_BYTES};
use super::connection::{Event, ReadStep, push_command};
use super::frame::{FrameHeader, FrameKind};
use crate::wire::gathering::Gathering;
use crate::wire::receive_buffer::ReceiveBuffer;
use crate::wire::send_queue::SendQueue;

/// A body up to this size is awaited in the receive buffer and copied once. A longer one is received into a buffer of
/// its own, so that the receive buffer stays small.
const WAIT_IN_BUFFER_BYTES: usize = 64 * 1024;

/// The reader of one peer's traffic.
#[derive(Default)]
pub(super) struct Traffic {
    body: Body,
    /// The frames received so far of a message of several frames, which is dropped.
    dropped: Dropped,
}

#[derive(Default)]
enum Body {
    /// Between two frames, or in a frame that is awaited in the receive buffer.
    #[default]
    Between,
    /// A large message is being received.
    Gathering(Gathering),
    /// The body of an unwanted frame is being received.
    Skipping { missing_bytes: usize, last: bool },
}

#[derive(Default)]
struct Dropped {
    frames: usize,
    bytes: usize,
}

impl Traffic {
    /// Number of bytes of a partly received message.
    pub(super) const fn gathered_bytes(&self) -> usize {
        match &self.body {
            Body::Gathering(gathering) => gathering.filled_bytes(),
            Body::Between | Body::Skipping { .. } => 0,
        }
    }

    /// The room for the next bytes of a large message, so that a socket can be read straight into it; `None` between
    /// messages.
    pub(super) fn room(&mut self) -> Option<&mut [u8]> {
        match &mut self.body {
            Body::Gathering(gathering) if gathering.missing_bytes() > 0 => Some(gathering.room()),
            Body::Gathering(_) | Body::Between | Body::Skipping { .. } => None,
        }
    }

    /// Takes the number of bytes that were put into [`Self::room`].
    pub(super) fn fill(&mut self, count_bytes: usize) {
        if let Body::Gathering(gathering) = &mut self.body {
            gathering.fill(count_bytes);
        }
    }

    /// Reads one frame, or the received part of one. Answers to PINGs go into `to_send`.
    pub(super) fn read(
        &mut self,
        received: &mut ReceiveBuffer,
        to_send: &mut SendQueue,
        max_message_bytes: usize,
    ) -> Result<ReadStep, ZmtpError> {
        match &mut self.body {
            Body::Between => {
                let Some(header) = FrameHeader::parse(received.readable())? else { return Ok(ReadStep::Wait) };
                match header.kind {
                    FrameKind::Command => read_command(header, received, to_send),
                    FrameKind::More | FrameKind::Last => self.read_message_frame(header, received, max_message_bytes),
                }
            }
            Body::Gathering(gathering) => {
                gathering.take(received);
                if gathering.missing_bytes() > 0 {
                    return Ok(ReadStep::Wait);
                }
                let payload = std::mem::take(gathering).into_payload();
                self.body = Body::Between;
                Ok(ReadStep::Event(Event::Message(payload)))
            }
            Body::Skipping { missing_bytes, last } => {
                let here_bytes = received.len().min(*missing_bytes);
                received.consume(here_bytes);
                *missing_bytes -= here_bytes;
                if *missing_bytes > 0 {
                    return Ok(ReadStep::Wait);
                }
                let was_last = *last;
                self.body = Body::Between;
                if !was_last {
                    return Ok(ReadStep::Again);
                }
                let Dropped { frames, bytes } = std::mem::take(&mut self.dropped);
                Ok(ReadStep::Event(Event::Multipart { frames, bytes }))
            }
        }
    }

    fn read_message_frame(
        &mut self,
        header: FrameHeader,
        received: &mut ReceiveBuffer,
        max_message_bytes: usize,
    ) -> Result<ReadStep, ZmtpError> {
        let body_bytes = header.body_within(max_message_bytes)?;
        if header.kind == FrameKind::More || self.dropped.frames > 0 {
            received.consume(header.header_bytes);
            self.dropped.frames = self.dropped.frames.saturating_add(1);
            self.dropped.bytes = self.dropped.bytes.saturating_add(body_bytes);
            self.body = Body::Skipping { missing_bytes: body_bytes, last: header.kind == FrameKind::Last };
            return Ok(ReadStep::Again);
        }
        if let Some(body) = whole_body(header, body_bytes, received) {
            let payload = body.to_vec();
            received.consume(header.header_bytes + body_bytes);
            return Ok(ReadStep::Event(Event::Message(payload)));
        }
        if body_bytes <= WAIT_IN_BUFFER_BYTES {
            return Ok(ReadStep::Wait);
        }
        received.consume(header.header_bytes);
        let mut gathering = Gathering::default();
        gathering.expect(body_bytes);
        self.body = Body::Gathering(gathering);
        Ok(ReadStep::Again)
    }
}

/// The body of the frame at the start of the buffer, once it is complete.
pub(super) fn whole_body(header: FrameHeader, body_bytes: usize, received: &ReceiveBuffer) -> Option<&[u8]> {
    received.readable().get(header.header_bytes..)?.get(..body_bytes)
}

fn read_command(
    header: FrameHeader,
    received: &mut ReceiveBuffer,
    to_send: &mut SendQueue,
) -> Result<ReadStep, ZmtpError> {
    let body_bytes = header.body_within(MAX_COMMAND_BYTES)?;
    let Some(body) = whole_body(header, body_bytes, received) else { return Ok(ReadStep::Wait) };
    match command::parse(body)? {
        // A peer that pings and does not read the answers would fill the queue without end. It gets none while the
        // queue is full.
        Command::Ping { context, .. } if !to_send.is_above_high() => {
            push_command(to_send, &command::encode_pong(context));
        }
        Command::Error { reason } => return Err(ZmtpError::refused(reason)),
        Command::Ping { .. } | Command::Pong | Command::Ready(_) | Command::Other { .. } => {}
    }
    received.consume(header.header_bytes + body_bytes);
    Ok(ReadStep::Again)
}

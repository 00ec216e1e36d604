//! A peer that sends anything in pieces of any size: no panic, the same outcome as in one piece, no memory but for what
//! came.
//!
//! The first octet chooses our end, the second one the size of the pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stheno::model::random::Random;
use stheno::wire::receive_buffer::ReceiveBuffer;
use stheno::wire::websocket::WebSocketError;
use stheno::wire::websocket::connection::{WebSocketConnection, Event, Settings};

struct Zeros;

impl Random for Zeros {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

fuzz_target!(|input: &[u8]| {
    let [choice, step, peer @ ..] = input else { return };
    let is_client = choice & 1 != 0;
    assert_eq!(play(is_client, peer, usize::MAX), play(is_client, peer, usize::from(*step) + 1));
});

fn play(is_client: bool, bytes: &[u8], step_bytes: usize) -> (Vec<Event>, Option<WebSocketError>, usize) {
    let settings = Settings { max_message_bytes: 1024 };
    let mut connection = if is_client {
        WebSocketConnection::client(settings, ReceiveBuffer::new(), &mut Zeros)
    } else {
        WebSocketConnection::server(settings, ReceiveBuffer::new())
    };
    let mut events = Vec::new();
    for piece in bytes.chunks(step_bytes.min(bytes.len()).max(1)) {
        connection.receive(piece);
        loop {
            match connection.poll_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error), connection.send_queue().len()),
            }
        }
        assert!(connection.buffered_bytes() <= bytes.len());
    }
    (events, None, connection.send_queue().len())
}

//! A peer that sends anything in pieces of any size: no panic, the same outcome as in one piece, no memory but for what
//! came.
//!
//! The first octet chooses our socket type and where the peer's bytes begin (at the greeting, the handshake or the
//! traffic), the second one the size of the pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stheno::wire::zmtp::ZmtpError;
use stheno::wire::zmtp::command::encode_ready;
use stheno::wire::zmtp::connection::{ZmtpConnection, Event, Settings, SocketType};
use stheno::wire::zmtp::greeting::OURS;

const MAX_MESSAGE_BYTES: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let [choice, step, peer @ ..] = input else { return };
    let socket_type = if choice & 1 == 0 { SocketType::Router } else { SocketType::Dealer };
    let mut bytes = Vec::new();
    if choice & 2 != 0 {
        bytes.extend_from_slice(&OURS);
    }
    if choice & 6 == 6 {
        let body = encode_ready("DEALER", b"gorgone-1");
        bytes.extend_from_slice(&[4, body.len() as u8]);
        bytes.extend_from_slice(&body);
    }
    bytes.extend_from_slice(peer);
    let whole = play(socket_type, &bytes, usize::MAX);
    let pieces = play(socket_type, &bytes, usize::from(*step) + 1);
    assert_eq!(whole, pieces);
});

fn play(socket_type: SocketType, bytes: &[u8], step_bytes: usize) -> (Vec<Event>, Option<ZmtpError>, usize) {
    let settings = Settings { socket_type, identity: b"us".to_vec(), max_message_bytes: MAX_MESSAGE_BYTES };
    let mut connection = ZmtpConnection::new(settings);
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

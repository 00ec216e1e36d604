use super::super::connection::{Event, MAX_FRAGMENTS, Settings, WebSocketConnection};
use super::super::frame::{Opcode, apply_mask, encode_header};
use super::super::*;
use crate::wire::gorgone::seeded_random::SeededRandom;
use crate::wire::receive_buffer::ReceiveBuffer;

type Outcome = (Vec<Event>, Option<WebSocketError>, Vec<u8>);

fn server(limit: usize) -> WebSocketConnection {
    WebSocketConnection::server(Settings { max_message_bytes: limit }, ReceiveBuffer::new())
}

fn client(limit: usize) -> WebSocketConnection {
    let mut random = SeededRandom::new(&[1; 32]);
    WebSocketConnection::client(Settings { max_message_bytes: limit }, ReceiveBuffer::new(), &mut random)
}

fn drain(connection: &mut WebSocketConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !connection.send_queue().is_empty() {
        let front = connection.send_queue().front().to_vec();
        connection.send_queue().consume(front.len());
        bytes.extend(front);
    }
    bytes
}

/// Puts bytes where they are wanted, as the driver of a socket does.
fn put(connection: &mut WebSocketConnection, bytes: &[u8]) {
    match connection.room() {
        Some(room) => {
            let count = bytes.len().min(room.len());
            room[..count].copy_from_slice(&bytes[..count]);
            connection.received_into_room(count);
            connection.receive(&bytes[count..]);
        }
        None => connection.receive(bytes),
    }
}

fn play<'a>(mut connection: WebSocketConnection, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut events = Vec::new();
    for piece in pieces {
        put(&mut connection, piece);
        loop {
            match connection.poll_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error), drain(&mut connection)),
            }
        }
    }
    (events, None, drain(&mut connection))
}

/// Plays the bytes whole, byte by byte and split at every place. The result must be the same.
fn outcome(make: impl Fn() -> WebSocketConnection, bytes: &[u8]) -> Outcome {
    let whole = play(make(), std::iter::once(bytes));
    assert_eq!(play(make(), bytes.chunks(1)), whole);
    for at in 0..bytes.len().min(600) {
        let (left, right) = bytes.split_at(at);
        assert_eq!(play(make(), [left, right].into_iter()), whole, "split at {at}");
    }
    whole
}

fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_header(Opcode::Text, payload.len(), mask, |header| bytes.extend_from_slice(header));
    bytes[0] = first;
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    apply_mask(&mut bytes[start..], mask.unwrap_or_default(), 0);
    bytes
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, payload, Some([0x37, 0xfa, 0x21, 0x3d]))
}

fn text(bytes: &[u8]) -> Event {
    Event::Text(bytes.to_vec())
}

#[test]
fn a_large_message_is_received_in_place_and_comes_out_as_it_was_sent() {
    let text: Vec<u8> = (0..150_000_u32).map(|place| (place % 251) as u8).collect();
    let (mask, other) = (Some([1, 2, 3, 4]), Some([9, 8, 7, 6]));
    let mut bytes = frame(0x01, &text[..60_001], mask);
    bytes.extend(frame(0x89, b"ping", mask));
    bytes.extend(frame(0x80, &text[60_001..], other));
    let (events, error, _) = play(server(1 << 20), std::iter::once(bytes.as_slice()));
    assert_eq!((&events[1], error), (&Event::Text(text), None));
    let mut connection = server(1 << 20);
    assert!(connection.room().is_none());
    connection.receive(&bytes[..100]);
    assert_eq!(connection.poll_event(), Ok(None));
    assert!(connection.room().is_some_and(|room| room.len() < 60_001), "a part of its frame is there");
    for size in [1, 3, 4_000, 16_384, 59_000, 70_000] {
        let (again, error, _) = play(server(1 << 20), bytes.chunks(size));
        assert!(again == events && error.is_none(), "pieces of {size} bytes");
    }
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(outcome(|| server(99), &hello), (vec![text(b"Hello")], None, vec![]));
    assert_eq!(outcome(|| client(99), b"\x81\x05Hello"), (vec![text(b"Hello")], None, vec![]));
    assert_eq!(outcome(|| client(99), b"\x01\x03Hel\x80\x02lo"), (vec![text(b"Hello")], None, vec![]));
    let (events, error, answer) = outcome(|| server(99), &masked(0x89, b"Hello"));
    assert_eq!((events, error, answer), (vec![Event::Ping], None, b"\x8a\x05Hello".to_vec()));
}

#[test]
fn messages_of_every_length_form_pass_in_both_directions() {
    for len in [0_usize, 1, 7, 8, 9, 125, 126, 127, 65_535, 65_536, 262_144] {
        let payload: Vec<u8> = (0..len).map(|at| at as u8).collect();
        let (mut dialler, mut acceptor) = (client(262_144), server(262_144));
        dialler.send_text(payload.clone());
        acceptor.receive(&drain(&mut dialler));
        assert_eq!(acceptor.poll_event(), Ok(Some(text(&payload))), "{len}");
        acceptor.send_text(payload.clone());
        for piece in drain(&mut acceptor).chunks(1000) {
            dialler.receive(piece);
        }
        assert_eq!(dialler.poll_event(), Ok(Some(text(&payload))), "{len}");
        assert_eq!(dialler.poll_event(), Ok(None));
        assert_eq!(dialler.buffered_bytes(), 0);
    }
}

#[test]
fn control_frames_come_between_fragments() {
    let bytes = [
        masked(0x01, b"a\xe9"),
        masked(0x89, b"x"),
        masked(0x00, b""),
        masked(0x8a, b""),
        masked(0x80, b"b"),
        masked(0x82, b"bin"),
    ]
    .concat();
    let (events, error, answer) = outcome(|| server(99), &bytes);
    assert_eq!(events, [Event::Ping, Event::Pong, text(b"a\xe9b"), Event::Binary(b"bin".to_vec())]);
    assert_eq!((error, answer), (None, b"\x8a\x01x".to_vec()));
}

#[test]
fn a_close_is_answered_with_its_code() {
    for (payload, code, reason, answer) in [
        (&b""[..], None, "", &b"\x88\x00"[..]),
        (b"\x03\xe8bye", Some(1000), "bye", b"\x88\x02\x03\xe8"),
        (b"\x0f\xa0\xff", Some(4000), "\u{fffd}", b"\x88\x02\x0f\xa0"),
    ] {
        let bytes = [masked(0x88, payload), masked(0x81, b"late")].concat();
        let closed = Event::Closed { code, reason: reason.to_owned() };
        assert_eq!(outcome(|| server(99), &bytes), (vec![closed], None, answer.to_vec()));
    }
    let mut acceptor = server(99);
    acceptor.send_close(Some(1008), &"é".repeat(200));
    acceptor.send_close(Some(1000), "");
    acceptor.send_text(b"late".to_vec());
    acceptor.receive(&masked(0x88, b"\x03\xf0"));
    assert_eq!(acceptor.poll_event(), Ok(Some(Event::Closed { code: Some(1008), reason: String::new() })));
    assert_eq!(acceptor.poll_event(), Ok(None));
    let sent = drain(&mut acceptor);
    assert_eq!((sent[0], usize::from(sent[1]), sent.len()), (0x88, 124, 126), "one close frame and nothing after it");
}

#[test]
fn a_peer_that_breaks_the_rfc_is_told_1002_and_not_read_on() {
    let mask = [0x80, 0, 0, 0, 0];
    let long = |second: u8, length: &[u8]| [&[0x81, second], length, &[0; 4]].concat();
    for (bytes, error) in [
        (frame(0x81, b"x", None), WebSocketError::Unmasked),
        (frame(0x89, b"", None), WebSocketError::Unmasked),
        (vec![0x81, 0x7e, 0, 1, b'x'], WebSocketError::Unmasked),
        ([&[0xc1][..], &mask].concat(), WebSocketError::ReservedBits),
        ([&[0x91][..], &mask].concat(), WebSocketError::ReservedBits),
        ([&[0x83][..], &mask].concat(), WebSocketError::ReservedOpcode(3)),
        ([&[0x8b][..], &mask].concat(), WebSocketError::ReservedOpcode(11)),
        ([&[0x80][..], &mask].concat(), WebSocketError::Fragments),
        ([masked(0x01, b"a"), masked(0x81, b"b")].concat(), WebSocketError::Fragments),
        ([masked(0x02, b"a"), masked(0x01, b"b")].concat(), WebSocketError::Fragments),
        (masked(0x89, &[0; 126]), WebSocketError::ControlFrame),
        (masked(0x09, b""), WebSocketError::ControlFrame),
        (masked(0x88, b"\x03"), WebSocketError::CloseCode),
        (masked(0x88, b"\x03\xed"), WebSocketError::CloseCode),
        (masked(0x88, b"\x00\x01"), WebSocketError::CloseCode),
        (masked(0x88, b"\x13\x88"), WebSocketError::CloseCode),
        (long(0xfe, &[0, 125]), WebSocketError::LengthForm),
        (long(0xff, &[0, 0, 0, 0, 0, 0, 0xff, 0xff]), WebSocketError::LengthForm),
        (long(0xff, &[0x80, 0, 0, 0, 0, 0, 0, 0]), WebSocketError::LengthForm),
    ] {
        let (events, found, answer) = outcome(|| server(99), &bytes);
        assert_eq!((events, found), (vec![], Some(error)), "{bytes:?}");
        assert_eq!(answer, b"\x88\x02\x03\xea", "{bytes:?}");
    }
    let (_, found, answer) = outcome(|| client(99), &masked(0x81, b"x"));
    assert_eq!((found, answer[..2].to_vec()), (Some(WebSocketError::Masked), vec![0x88, 0x82]));
}

#[test]
fn a_message_that_is_too_large_is_refused_by_its_header() {
    let announced = [0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4];
    let (_, error, answer) = outcome(|| server(100), &announced);
    assert_eq!(error, Some(WebSocketError::TooLarge { size: u64::MAX >> 1, limit: 100 }));
    assert_eq!(answer, b"\x88\x02\x03\xf1");
    let pieces = [masked(0x01, &[b'a'; 60]), masked(0x80, &[b'a'; 41])].concat();
    let (_, error, answer) = outcome(|| server(100), &pieces);
    assert_eq!(error, Some(WebSocketError::TooLarge { size: 101, limit: 100 }));
    assert_eq!(answer, b"\x88\x02\x03\xf1");
    assert_eq!(outcome(|| server(100), &masked(0x81, &[b'a'; 100])).0, [text(&[b'a'; 100])]);
}

#[test]
fn endless_fragments_end() {
    let mut bytes = masked(0x01, b"");
    for _ in 0..MAX_FRAGMENTS {
        bytes.extend(masked(0x00, b""));
    }
    let (events, error, answer) = play(server(100), bytes.chunks(997));
    assert_eq!((events, error), (vec![], Some(WebSocketError::TooManyFragments(MAX_FRAGMENTS))));
    assert_eq!(answer, b"\x88\x02\x03\xf1");
}

#[test]
fn memory_is_held_for_bytes_that_came_only() {
    let mut connection = server(1 << 30);
    connection.receive(&[0x81, 0xff, 0, 0, 0, 0, 0x3f, 0, 0, 0, 1, 2, 3, 4, 9, 9, 9]);
    assert_eq!(connection.poll_event(), Ok(None));
    assert_eq!(connection.buffered_bytes(), 3);
}

#[test]
fn a_peer_that_pings_and_does_not_read_does_not_fill_the_queue() {
    let mut connection = server(100);
    let ping = masked(0x89, &[0; 125]);
    for _ in 0..20_000 {
        connection.receive(&ping);
        assert_eq!(connection.poll_event(), Ok(Some(Event::Ping)));
    }
    assert!(connection.send_queue().len() < 1_100_000);
}

//! Conversations in which vectors play one end: recorded from libzmq 4.3.5, or made by hand.

use super::ZmtpError;
use super::command::{self, Command};
use super::connection::{Event, Settings, SocketType, ZmtpConnection};
use super::frame::{FrameHeader, FrameKind, encode_header};
use super::greeting::{self, OURS};
use crate::wire::send_queue::{SendQueue, WaterMarks};

const LIMIT_BYTES: usize = 1_000_000;
const DEALER_ID: &[u8] = b"gorgone-2-0123456789abcdef01234567";

/// Recorded from libzmq 4.3.5, a DEALER with a routing id and heartbeats that talks to a ROUTER: its signature, the
/// first octet of the version, the rest of the greeting, READY, the message `[PING] [] [] {}` and a PING.
const LIBZMQ_DEALER: [&str; 6] = [
    "ff00000000000000237f",
    "03",
    "014e554c4c000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
    "044b0552454144590b536f636b65742d54797065000000064445414c4552084964656e7469747900000022\
     676f72676f6e652d322d303132333435363738396162636465663031323334353637",
    "000f5b50494e475d205b5d205b5d207b7d",
    "04070450494e470000",
];

/// Recorded from libzmq 4.3.5, a ROUTER without a routing id: its greeting and READY.
const LIBZMQ_ROUTER: [&str; 2] = [
    "ff00000000000000017f03014e554c4c0000000000000000000000000000000000000000000000000000000000000000000000\
     00000000000000000000000000",
    "04290552454144590b536f636b65742d5479706500000006524f55544552084964656e7469747900000000",
];

/// Recorded from libzmq 4.3.5, a REQ with the routing id `r`: READY and one request with its empty delimiter.
const LIBZMQ_REQ: [&str; 2] = [
    "04270552454144590b536f636b65742d5479706500000003524551084964656e746974790000000172",
    "0100000f5b50494e475d205b5d205b5d207b7d",
];

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn recorded(parts: &[&str]) -> Vec<u8> {
    parts.iter().flat_map(|part| unhex(part)).collect()
}

fn frame(kind: FrameKind, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_header(kind, body.len(), |header| bytes.extend_from_slice(header));
    bytes.extend_from_slice(body);
    bytes
}

fn settings(socket_type: SocketType) -> Settings {
    Settings { socket_type, identity: Vec::new(), max_message_bytes: LIMIT_BYTES }
}

fn opened(peer_type: &str, identity: &[u8]) -> Vec<u8> {
    let mut bytes = OURS.to_vec();
    bytes.extend(frame(FrameKind::Command, &command::encode_ready(peer_type, identity)));
    bytes
}

/// A ROUTER after the handshake with a DEALER.
fn ready_router() -> ZmtpConnection {
    let mut connection = ZmtpConnection::new(settings(SocketType::Router));
    connection.receive(&opened("DEALER", b"gorgone-1"));
    assert!(matches!(connection.poll_event(), Ok(Some(Event::Ready { .. }))));
    drain(connection.send_queue());
    connection
}

fn drain(queue: &mut SendQueue) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !queue.is_empty() {
        bytes.extend_from_slice(queue.front());
        queue.consume(queue.front().len());
    }
    bytes
}

fn ready(routing_id: &[u8], socket_type: &str, minor_version: u8) -> Event {
    Event::Ready { routing_id: routing_id.to_vec(), socket_type: socket_type.to_owned(), minor_version }
}

/// Returns all events up to the error, if there is one, and all that was sent.
type Outcome = (Vec<Event>, Option<ZmtpError>, Vec<u8>);

fn play<'pieces>(socket_type: SocketType, pieces: impl IntoIterator<Item = &'pieces [u8]>) -> Outcome {
    let mut connection = ZmtpConnection::new(settings(socket_type));
    let mut events = Vec::new();
    let mut error = None;
    for (number, piece) in pieces.into_iter().enumerate() {
        if number % 2 == 0 {
            connection.receive(piece);
        } else {
            // Does as the event loop: puts bytes straight into a message that has begun, otherwise into the buffer.
            let into_room = connection.room().and_then(|room| room.get_mut(..piece.len())).map(|room| {
                room.copy_from_slice(piece);
            });
            match into_room {
                Some(()) => connection.received_into_room(piece.len()),
                None => connection.receive(piece),
            }
        }
        loop {
            match connection.poll_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(found) => {
                    assert_eq!(connection.poll_event(), Err(found.clone()), "an error stays");
                    error = Some(found);
                    break;
                }
            }
        }
    }
    (events, error, drain(connection.send_queue()))
}

/// Plays `bytes` whole, byte by byte and split at every place. Returns the result, which must always be the same.
fn play_every_way(socket_type: SocketType, bytes: &[u8]) -> Outcome {
    let whole = play(socket_type, [bytes]);
    assert_eq!(play(socket_type, bytes.chunks(1)), whole, "byte by byte");
    for at in 0..=bytes.len() {
        let (before, after) = bytes.split_at(at);
        assert_eq!(play(socket_type, [before, after]), whole, "split at {at}");
    }
    whole
}

#[test]
fn a_libzmq_dealer_is_served_by_our_router() {
    let (events, error, sent) = play_every_way(SocketType::Router, &recorded(&LIBZMQ_DEALER));
    assert_eq!(events, [ready(DEALER_ID, "DEALER", 1), Event::Message(b"[PING] [] [] {}".to_vec())]);
    assert_eq!(error, None);
    let mut expected = recorded(&LIBZMQ_ROUTER);
    expected.extend(unhex("040504504f4e47"));
    assert_eq!(sent, expected, "our greeting and READY are those of a libzmq ROUTER, then comes PONG");
}

#[test]
fn our_dealer_talks_to_a_libzmq_router_as_a_libzmq_dealer_does() {
    let mut connection = ZmtpConnection::new(Settings { identity: DEALER_ID.to_vec(), ..settings(SocketType::Dealer) });
    assert_eq!(drain(connection.send_queue()), OURS, "the greeting goes out whole before anything comes in");
    connection.send_message(b"[PING] [] [] {}");
    connection.receive(&unhex(LIBZMQ_ROUTER[0]));
    assert_eq!(connection.poll_event(), Ok(None));
    assert_eq!(drain(connection.send_queue()), unhex(LIBZMQ_DEALER[3]), "a DEALER does not wait for READY");
    assert!(!connection.is_ready());
    connection.receive(&unhex(LIBZMQ_ROUTER[1]));
    assert_eq!(connection.poll_event(), Ok(Some(ready(b"", "ROUTER", 1))));
    assert!(connection.is_ready());
    assert_eq!(drain(connection.send_queue()), unhex(LIBZMQ_DEALER[4]), "a message given too early follows READY");
}

#[test]
fn a_request_of_several_frames_is_counted_and_dropped() {
    let mut bytes = recorded(&LIBZMQ_DEALER[..3]);
    bytes.extend(recorded(&LIBZMQ_REQ));
    bytes.extend(frame(FrameKind::Last, b"next"));
    let (events, error, _) = play_every_way(SocketType::Router, &bytes);
    assert_eq!(
        events,
        [ready(b"r", "REQ", 1), Event::Multipart { frames: 2, bytes: 15 }, Event::Message(b"next".to_vec())]
    );
    assert_eq!(error, None);
}

#[test]
fn dropped_frames_are_not_gathered() {
    let mut connection = ready_router();
    for _ in 0..100 {
        connection.receive(&frame(FrameKind::More, &[0; 100_000]));
        assert_eq!(connection.poll_event(), Ok(None));
        assert_eq!((connection.buffered_bytes(), connection.receive_capacity_bytes()), (0, 0));
    }
    connection.receive(&frame(FrameKind::Last, b""));
    assert_eq!(connection.poll_event(), Ok(Some(Event::Multipart { frames: 101, bytes: 10_000_000 })));
}

#[test]
fn frames_of_every_form_and_size_come_through() {
    let mut bytes = opened("ROUTER", b"");
    let mut expected = vec![ready(b"", "ROUTER", 1)];
    for size in [0, 1, 255, 256, 300] {
        bytes.extend(frame(FrameKind::Last, &vec![b'm'; size]));
        expected.push(Event::Message(vec![b'm'; size]));
    }
    bytes.extend(b"\x02\0\0\0\0\0\0\0\x03abc");
    expected.push(Event::Message(b"abc".to_vec()));
    for command in [&b"\x09SUBSCRIBEtopic"[..], b"\x04PONGcontext", b"\x01X", b"\x05READY", &[b'\x03'; 300]] {
        bytes.extend(frame(FrameKind::Command, command));
    }
    bytes.extend(b"\x06\0\0\0\0\0\0\0\x09\x04PING\x00\x0axy");
    let (events, error, sent) = play_every_way(SocketType::Dealer, &bytes);
    assert_eq!((events, error), (expected, None));
    assert!(sent.ends_with(b"\x04\x07\x04PONGxy"));
}

#[test]
fn large_messages_come_through_and_hold_what_came_in_and_no_more() {
    let mut connection = ready_router();
    let payload: Vec<u8> = (0..LIMIT_BYTES).map(|at| at as u8).collect();
    let bytes = frame(FrameKind::Last, &payload);
    let mut received_bytes = 0;
    for piece in bytes.chunks(60_001) {
        connection.receive(piece);
        received_bytes += piece.len();
        match connection.poll_event().unwrap() {
            None => assert!((received_bytes - 9..=received_bytes).contains(&connection.buffered_bytes())),
            Some(event) => assert!(event == Event::Message(payload.clone())),
        }
    }
    assert_eq!((received_bytes, connection.buffered_bytes()), (bytes.len(), 0));
}

#[test]
fn a_long_message_that_is_only_announced_costs_nothing() {
    let mut connection = ready_router();
    connection.set_max_message_bytes(usize::MAX);
    connection.receive(b"\x02\0\0\0\xff\xff\xff\xff\xff");
    assert_eq!(connection.poll_event(), Ok(None));
    assert_eq!((connection.buffered_bytes(), connection.receive_capacity_bytes()), (0, 0));
}

#[test]
fn a_frame_beyond_the_limit_is_refused_by_its_header() {
    for (header, size) in [
        (&b"\x02\x80\0\0\0\0\0\0\0"[..], 1 << 63),
        (b"\x03\xff\xff\xff\xff\xff\xff\xff\xff", u64::MAX),
        (b"\x02\0\0\0\0\0\x0f\x42\x41", 1_000_001),
    ] {
        let bytes = [&opened("DEALER", b""), header].concat();
        let (events, error, _) = play_every_way(SocketType::Router, &bytes);
        assert_eq!(events.len(), 1);
        assert_eq!(error, Some(ZmtpError::TooLarge { size, limit: 1_000_000 }));
    }
    let bytes = [&opened("DEALER", b""), &b"\x06\0\0\0\0\0\0\x40\x01"[..]].concat();
    let (_, error, _) = play_every_way(SocketType::Router, &bytes);
    assert_eq!(error, Some(ZmtpError::TooLarge { size: 16_385, limit: 16_384 }));
}

#[test]
fn the_limit_can_be_changed_on_the_way() {
    let mut connection = ready_router();
    connection.set_max_message_bytes(3);
    connection.receive(b"\0\x03abc\0\x04abcd");
    assert_eq!(connection.poll_event(), Ok(Some(Event::Message(b"abc".to_vec()))));
    assert_eq!(connection.poll_event(), Err(ZmtpError::TooLarge { size: 4, limit: 3 }));
    connection.receive(b"more");
    assert_eq!(connection.buffered_bytes(), 0, "after an error nothing is kept");
}

#[test]
fn reserved_and_contradicting_flags_are_refused() {
    for flags in (0..=u8::MAX).filter(|flags| *flags > 6 || *flags == 5) {
        let bytes = [&opened("DEALER", b""), &[flags][..]].concat();
        let (_, error, _) = play(SocketType::Router, [&bytes[..]]);
        assert_eq!(error, Some(ZmtpError::InvalidFlags { flags }));
    }
}

#[test]
fn what_the_peer_speaks_instead_is_named() {
    let refused = |bytes: &[u8]| play_every_way(SocketType::Router, bytes).1.expect("refused").to_string();
    for (bytes, words) in [
        (&b"GET / HTTP/1.1\r\n"[..], "began with \"GET / HTTP\", which looks like HTTP;"),
        (b"HTTP/1.1 400 Bad Request", "looks like an HTTP server;"),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "looks like TLS;"),
        (b"SSH-2.0-OpenSSH_9.2p1", "looks like SSH;"),
        (b"[GETPUBKEY]", "looks like Gorgone without ZMTP;"),
        (b"\0\0\0\0\0\0\0\0\0\0", "began with \"\\x00\\x00"),
        (b"\x01\0", "speaks ZMTP 1.0,"),
        (b"\xff\0\0\0\0\0\0\x01\x01\0", "speaks ZMTP 1.0,"),
        (b"\xff\0\0\0\0\0\0\0\x01\x7f\0\x05", "speaks ZMTP 1.0,"),
        (b"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x05", "speaks ZMTP 2.0,"),
    ] {
        let text = refused(bytes);
        assert!(text.contains(words), "{text}");
    }
    let mut curve = OURS;
    curve[12..17].copy_from_slice(b"CURVE");
    assert!(refused(&curve).contains("mechanism \"CURVE\", only NULL"));
    let mut longer = OURS;
    longer[12..18].copy_from_slice(b"NULL\0X");
    assert!(refused(&longer).contains("mechanism \"NULL\\x00X\", only NULL"));
}

#[test]
fn later_versions_are_taken_and_the_lower_minor_version_counts() {
    for (major, minor, expected) in [(3, 0, 0), (3, 1, 1), (3, 7, 1), (4, 0, 1)] {
        let mut bytes = opened("DEALER", b"id");
        bytes[1..9].copy_from_slice(b"anything");
        (bytes[10], bytes[11]) = (major, minor);
        let (events, error, _) = play_every_way(SocketType::Router, &bytes);
        assert_eq!((events, error), (vec![ready(b"id", "DEALER", expected)], None));
    }
}

#[test]
fn socket_types_go_together_as_the_specification_has_it() {
    const ALL: [&str; 12] =
        ["REQ", "REP", "DEALER", "ROUTER", "PUB", "XPUB", "SUB", "XSUB", "PUSH", "PULL", "PAIR", "router"];
    let accepted = |ours: SocketType| -> Vec<&str> {
        ALL.into_iter().filter(|theirs| play(ours, [&opened(theirs, b"")[..]]).1.is_none()).collect()
    };
    assert_eq!(accepted(SocketType::Router), ["REQ", "DEALER", "ROUTER"]);
    assert_eq!(accepted(SocketType::Dealer), ["REP", "DEALER", "ROUTER"]);
    let (_, error, sent) = play_every_way(SocketType::Router, &opened("PUB", b""));
    assert_eq!(error, Some(ZmtpError::IncompatibleSocket { ours: "ROUTER", theirs: "PUB".to_owned() }));
    let told = frame(FrameKind::Command, &command::encode_error("socket type does not go with ROUTER"));
    assert_eq!(sent, [&OURS[..], &told].concat(), "the peer is told instead of READY");
}

#[test]
fn odd_routing_ids_are_passed_on() {
    for identity in [Vec::new(), b"\0\x01\x02".to_vec(), vec![b'i'; 255], vec![b'i'; 300]] {
        let mut body = b"\x05READY\x0bsocket-TYPE\0\0\0\x03REQ\x03X-A\0\0\0\x01a\x08iDENTITY\0\0".to_vec();
        body.extend_from_slice(&(identity.len() as u16).to_be_bytes());
        body.extend_from_slice(&identity);
        let bytes = [&OURS[..], &frame(FrameKind::Command, &body)].concat();
        let (events, error, _) = play_every_way(SocketType::Router, &bytes);
        assert_eq!((events, error), (vec![ready(&identity, "REQ", 1)], None));
    }
}

#[test]
fn a_handshake_of_anything_but_a_good_ready_is_refused() {
    for (body, words) in [
        (&b"\x05ERROR\x07go away"[..], "refused the connection: go away"),
        (b"\x05ERROR\x09go away", "reason is cut short"),
        (b"\x04PING\0\0", "sent the command PING where"),
        (b"\x05HELLO", "sent the command HELLO where"),
        (b"\x05READY", "names no Socket-Type, our ROUTER"),
        (b"\x05READY\x0bSocket-Type\0\0\0\x07DEALER", "value that is cut short"),
        (b"\x05READY\x0bSocket-Type\xff\xff\xff\xff", "value that is cut short"),
        (b"\x05READY\x0bSocket-Typ", "property name that is cut short"),
        (b"\x05READY\0\0\0\0\0", "property without a name"),
        (b"\x06READY", "name is cut short"),
        (b"\0", "has no name"),
        (b"", "name is cut short"),
    ] {
        let bytes = [&OURS[..], &frame(FrameKind::Command, body)].concat();
        let (events, error, _) = play_every_way(SocketType::Router, &bytes);
        let text = error.expect("refused").to_string();
        assert!(events.is_empty() && text.contains(words), "{text}");
    }
    let bytes = [&OURS[..], b"\0\x02hi"].concat();
    let (_, error, _) = play_every_way(SocketType::Router, &bytes);
    assert!(error.unwrap().to_string().contains("a message frame of 2 bytes where the READY"));
}

#[test]
fn an_error_command_after_the_handshake_ends_the_connection() {
    let bytes = [&opened("DEALER", b""), &frame(FrameKind::Command, b"\x05ERROR\x04why\n")[..]].concat();
    let (_, error, _) = play_every_way(SocketType::Router, &bytes);
    assert_eq!(error, Some(ZmtpError::Refused { reason: "why\\n".to_owned() }));
}

#[test]
fn a_ping_is_echoed_with_at_most_16_octets_and_not_into_a_full_queue() {
    let long = b"\x04PING\x00\x0a0123456789abcdefXYZ";
    let Ok(Command::Ping { ttl_tenths, context }) = command::parse(long) else { panic!("no PING") };
    assert_eq!((ttl_tenths, context), (10, &b"0123456789abcdef"[..]));
    assert!(command::parse(b"\x04PING\0").is_err());

    let marks = WaterMarks { high_bytes: 1000, low_bytes: 100 };
    let mut connection = ZmtpConnection::with_water_marks(settings(SocketType::Router), marks);
    connection.receive(&opened("DEALER", b""));
    for _ in 0..10_000 {
        connection.receive(&frame(FrameKind::Command, b"\x04PING\0\0"));
        assert!(connection.poll_event().is_ok());
    }
    assert!((1001..1010).contains(&connection.send_queue().len()));
}

#[test]
fn a_sent_message_reads_back_whatever_its_size_and_the_way_it_was_given() {
    let mut sender = ready_router();
    let mut reader = ready_router();
    for size in [0, 255, 256, 20_000, 70_000] {
        sender.send_message(&vec![b'a'; size]);
        sender.send_owned_message(vec![b'b'; size]);
        reader.receive(&drain(sender.send_queue()));
        assert_eq!(reader.poll_event(), Ok(Some(Event::Message(vec![b'a'; size]))));
        assert_eq!(reader.poll_event(), Ok(Some(Event::Message(vec![b'b'; size]))));
    }
    reader.receive(&[0xff]);
    assert!(reader.poll_event().is_err());
    assert!(!reader.is_ready());
    reader.send_message(b"why");
    sender.receive(&drain(reader.send_queue()));
    assert_eq!(sender.poll_event(), Ok(Some(Event::Message(b"why".to_vec()))), "last words after the handshake");
}

#[test]
fn an_idle_connection_holds_no_memory() {
    let mut connection = ready_router();
    connection.receive(&frame(FrameKind::Last, &[0; 50_000]));
    connection.send_message(&[0; 50_000]);
    assert!(matches!(connection.poll_event(), Ok(Some(Event::Message(_)))));
    drain(connection.send_queue());
    assert_eq!(connection.receive_capacity_bytes() + connection.send_queue().capacity_bytes(), 0);
    assert!(size_of::<ZmtpConnection>() <= 256, "{} bytes", size_of::<ZmtpConnection>());
}

#[test]
fn the_log_can_say_what_a_silent_peer_owes() {
    let mut connection = ZmtpConnection::new(settings(SocketType::Router));
    let bytes = opened("DEALER", b"");
    let steps = [
        (&b""[..], "its ZMTP greeting"),
        (
            &bytes[..11],
            "the rest of its ZMTP greeting (a peer that wants the mechanism PLAIN or CURVE closes at this point)",
        ),
        (&bytes[11..65], "its ZMTP READY command"),
        (&bytes[65..], "a message"),
        (&[0xff], "nothing more"),
    ];
    for (piece, expected) in steps {
        connection.receive(piece);
        drop(connection.poll_event());
        assert_eq!(connection.awaited(), expected);
    }
    let mut stranger = ZmtpConnection::new(settings(SocketType::Router));
    stranger.receive(b"GET");
    assert_eq!(
        (stranger.poll_event(), stranger.awaited()),
        (Ok(None), "its ZMTP greeting, which it did not begin as one")
    );
}

#[test]
fn frame_headers_are_written_in_their_shortest_form() {
    for (kind, size, expected) in [
        (FrameKind::Last, 0, &b"\0\0"[..]),
        (FrameKind::More, 255, b"\x01\xff"),
        (FrameKind::Command, 256, b"\x06\0\0\0\0\0\0\x01\0"),
    ] {
        encode_header(kind, size, |header| {
            assert_eq!(header, expected);
            let parsed = FrameHeader { kind, body_bytes: size as u64, header_bytes: header.len() };
            assert_eq!(FrameHeader::parse(header), Ok(Some(parsed)));
        });
    }
    assert_eq!(greeting::parse(&OURS), Ok(Some(greeting::Greeting { minor_version: 1 })));
}

/// A small pseudo-random generator (xorshift) with a seed, so that a failure can be repeated.
fn next_random(seed: &mut u64) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    (*seed >> 16) as usize
}

#[test]
fn garbage_never_panics_and_never_holds_more_than_it_brought() {
    for seed in 1..=3_000_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut bytes = recorded(&LIBZMQ_DEALER);
        let keep_bytes = [0, 10, 64, 66, bytes.len()][next_random(&mut random) % 5];
        bytes.truncate(keep_bytes);
        for _ in 0..next_random(&mut random) % 400 {
            let mask = if next_random(&mut random).is_multiple_of(2) { 0xff } else { 0x07 };
            bytes.push(next_random(&mut random) as u8 & mask);
        }
        for _ in 0..next_random(&mut random) % 4 {
            let at = next_random(&mut random) % bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = next_random(&mut random) as u8;
            }
        }
        let whole = play(SocketType::Router, [&bytes[..]]);
        let step_bytes = 1 + next_random(&mut random) % 40;
        assert_eq!(play(SocketType::Router, bytes.chunks(step_bytes)), whole, "seed {seed}");
        let carried: usize =
            whole.0.iter().map(|event| if let Event::Message(body) = event { body.len() } else { 0 }).sum();
        assert!(carried <= bytes.len(), "seed {seed}");
    }
}

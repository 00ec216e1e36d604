//! A stream of requests in pieces of any size: no panic, the same requests and the same refusal as in one piece, and no
//! more requests than its bytes can hold.
//!
//! The first octet is the size of the pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stheno::wire::http::error::HttpError;
use stheno::wire::http::head_scanner::Limits;
use stheno::wire::http::request::{RequestEvent, RequestParser};

/// `G / HTTP/1.0` and two line ends.
const SHORTEST_REQUEST_BYTES: usize = 16;

fuzz_target!(|input: &[u8]| {
    let [step, bytes @ ..] = input else { return };
    let whole = play(bytes, usize::MAX);
    assert_eq!(whole, play(bytes, usize::from(*step) + 1));
    assert!(whole.0.len() <= 2 * (bytes.len() / SHORTEST_REQUEST_BYTES));
});

fn play(bytes: &[u8], step_bytes: usize) -> (Vec<RequestEvent>, Option<HttpError>) {
    let limits = Limits { request_line_bytes: 64, head_bytes: 256, body_bytes: 64 };
    let mut parser = RequestParser::new(limits);
    let mut events = Vec::new();
    for piece in bytes.chunks(step_bytes.min(bytes.len()).max(1)) {
        parser.receive(piece);
        loop {
            match parser.poll_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
    }
    (events, None)
}

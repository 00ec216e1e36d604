//! What a central or a proxy answers to a node that dials in: no panic, the same outcome in pieces of any size, and
//! nothing is taken of an answer that is not whole.
//!
//! The first octet chooses whose answer it is, the second one the size of the pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stheno::model::random::Random;
use stheno::wire::receive_buffer::ReceiveBuffer;
use stheno::wire::websocket::upgrade::{ResponseProblem, UpgradeCall, read_connect_response};

struct Zeros;

impl Random for Zeros {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

fuzz_target!(|input: &[u8]| {
    let [choice, step, bytes @ ..] = input else { return };
    let is_proxy = choice & 1 != 0;
    assert_eq!(play(is_proxy, bytes, usize::MAX), play(is_proxy, bytes, usize::from(*step) + 1));
});

/// The outcome, and for an answer that lets us go on what is left behind it.
fn play(is_proxy: bool, bytes: &[u8], step_bytes: usize) -> Result<Option<usize>, ResponseProblem> {
    let call = UpgradeCall::new(&mut Zeros);
    let mut received = ReceiveBuffer::new();
    let mut taken = 0;
    for piece in bytes.chunks(step_bytes.min(bytes.len()).max(1)) {
        received.extend_from_slice(piece);
        taken += piece.len();
        let is_whole =
            if is_proxy { read_connect_response(&mut received)? } else { call.read_response(&mut received)? };
        if is_whole {
            return Ok(Some(received.readable().len() + bytes.len() - taken));
        }
        assert_eq!(received.readable().len(), taken);
    }
    Ok(None)
}

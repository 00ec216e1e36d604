//! Any bytes as an envelope: no panic, and what is read is written and read again the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stheno::model::message::Message;
use stheno::wire::gorgone::envelope::{begins_with_word, encode_request, parse};

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = parse(bytes) else { return };
    assert!(bytes.starts_with(b"["));
    let written = encode_request(&message);
    let target = Some(message.target.clone().unwrap_or_default());
    assert_eq!(parse(written.clone()), Ok(Message { target, ..message }));
    // The word of a sealed message is looked at before the message is read; what it lets pass may still be none.
    let _ = begins_with_word(&written);
});

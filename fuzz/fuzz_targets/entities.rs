//! Any text: reading its references does not panic or make it longer, and what we write is read back as it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stheno::wire::websocket::entities::{Extent, decode, decode_message, encode, encoded_bytes};

fuzz_target!(|text: &str| {
    assert!(decode(text).len() <= text.len());
    assert!(decode_message(text).len() <= text.len());
    for extent in [Extent::Usual, Extent::Least] {
        let encoded = encode(text, extent);
        assert!(encoded.is_ascii());
        assert_eq!(encoded.len(), encoded_bytes(text, extent));
        assert_eq!(decode_message(&encoded), text);
    }
});

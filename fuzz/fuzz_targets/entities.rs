//! Any text: reading its references does not panic or make it longer, and what we write is read back as it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stheno::wire::websocket::entities::{Extent, decode, encode, encoded_bytes};

fuzz_target!(|text: &str| {
    assert!(decode(text).len() <= text.len());
    for extent in [Extent::Usual, Extent::Least] {
        let encoded = encode(text, extent);
        assert!(encoded.is_ascii());
        assert_eq!(encoded.len(), encoded_bytes(text, extent));
        // HTML reads these as something else.
        if !text.chars().any(|letter| ('\u{80}'..'\u{a0}').contains(&letter)) {
            assert_eq!(decode(&encoded), text);
        }
    }
});

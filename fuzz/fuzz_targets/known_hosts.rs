//! Any text as a known-hosts file: no panic, and a key that no line holds is never known.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for name in ["host", "[192.0.2.1]:2222"] {
        assert!(!stheno::edge::ssh::knows_made_up_key(text, name));
    }
});

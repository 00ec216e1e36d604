//! Any text as a known-hosts file: no panic, and a key that no line holds is never known.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stheno::model::ssh::SshTarget;

fuzz_target!(|text: &str| {
    for (host, port) in [("host", 22), ("192.0.2.1", 2222)] {
        let target = SshTarget::new(host.to_owned(), port, String::new());
        assert!(!stheno::edge::ssh::knows_made_up_key(text, &target));
    }
});

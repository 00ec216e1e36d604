//! Any bytes as a PEM file of the TLS listener: no panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _blocks = stheno::edge::tls::count_pem_blocks(bytes);
});

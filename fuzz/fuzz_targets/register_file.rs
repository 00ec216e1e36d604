//! Any bytes as a register file: no panic, and there are either nodes or a problem.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = std::env::temp_dir().join(format!("stheno-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    let file = folder.join("register.yaml");
    fs::write(&file, bytes).expect("a temporary file");
    if let Err(problems) = stheno::config::modules::register::reload(&file, None) {
        assert!(!problems.is_empty());
    }
});

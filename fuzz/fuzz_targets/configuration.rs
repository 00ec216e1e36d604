//! Any bytes as the top file of a configuration: no panic, it ends, and there is either a configuration or a problem.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = std::env::temp_dir().join(format!("stheno-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    let file = folder.join("config.yaml");
    fs::write(&file, bytes).expect("a temporary file");
    match stheno::config::load_with_warnings(&file) {
        Ok(config) => assert!(config.core.timeout.as_secs() > 0),
        Err(refused) => assert!(!refused.problems.is_empty()),
    }
});

//! Any line as a command without a shell: no panic, and words that are quoted again are read as the same words.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stheno::node::split_words;

fuzz_target!(|line: &str| {
    if let Some(words) = split_words(line) {
        let quoted: Vec<String> = words
            .iter()
            .map(|word| format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")))
            .collect();
        assert_eq!(split_words(&quoted.join(" ")), Some(words));
    }
});

//! Any text as an expression of `allowed_cmds`: no panic, and an example that is shown of what it lets through is a
//! line that it matches.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|expression: &str| {
    if expression.len() <= 200 {
        assert!(stheno::config::allow_list::example_of_hole_matches(expression));
    }
});

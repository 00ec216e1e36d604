//! Holds the rules of `docs/architecture.md`: reads the source and fails on a breach, naming file, line and remedy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod citations;
mod comments;
mod rules;
mod source;
mod structure;
mod troubleshooting;
mod unused;

use std::path::Path;

use rules::breaches;
use source::SourceFile;

#[test]
fn the_source_keeps_the_rules_of_the_house() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = source::read_tree(&root);
    assert!(files.len() > 10, "only {} files found under {}", files.len(), root.display());
    let found: Vec<String> = files.iter().flat_map(breaches).collect();
    assert!(found.is_empty(), "{} breaches of docs/architecture.md:\n{}", found.len(), found.join("\n"));
}

#[test]
fn tests_and_benches_keep_the_rules_of_shape() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["tests", "benches", "fuzz/fuzz_targets"] {
        let files = source::read_tree(&root.join(folder));
        found.extend(files.iter().flat_map(|file| rules::breaches_of_tests(folder, file)));
    }
    assert!(found.is_empty(), "{} breaches of docs/architecture.md:\n{}", found.len(), found.join("\n"));
}

/// Returns the breaches of a made-up file.
fn check(path: &str, text: &str) -> Vec<String> {
    breaches(&SourceFile::new(path, text))
}

/// Fails unless the text is flagged exactly once, with `words` in the message; a module doc is put in front.
fn assert_flagged(path: &str, text: &str, words: &str) {
    let found = check(path, &format!("//! Doc.\n{text}\n"));
    assert_eq!(found.len(), 1, "{path}: {text}: {found:?}");
    assert!(found[0].contains(words), "{path}: {text}: {found:?}");
}

fn assert_clean(path: &str, text: &str) {
    let found = check(path, &format!("//! Doc.\n{text}\n"));
    assert!(found.is_empty(), "{path}: {text}: {found:?}");
}

#[test]
fn an_import_against_the_layers_is_flagged_however_it_is_written() {
    for (path, text) in [
        ("model/a.rs", "use crate::wire::frame::Frame;"),
        ("wire/a.rs", "use crate::session::x;"),
        ("session/a.rs", "use crate::config::settings::Config;"),
        ("session/deep/a.rs", "fn f() { crate::node::x(); }"),
        ("node/a.rs", "use crate::{model::token::Token, wire::zmtp};"),
        ("node/a.rs", "use crate::{\n    edge::{log, jobs},\n    model::token::Token,\n};"),
        ("config/a.rs", "use super::super::node::x;"),
        ("edge/a.rs", "pub(crate) use crate::session as other;"),
        ("cli/a.rs", "use crate::wire;"),
        ("main.rs", "fn main() { stheno::node::x(); }"),
        ("node/a.rs", "use crate as all;"),
        ("node/a.rs", "use crate::*;"),
    ] {
        assert_flagged(path, text, "may not");
    }
}

#[test]
fn an_import_along_the_layers_is_no_breach() {
    for (path, text) in [
        ("wire/a.rs", "use crate::model::token::Token;"),
        ("session/a.rs", "use crate::{model::x, wire::{zmtp, http}};"),
        ("node/a.rs", "use crate::config::settings::Config;\nuse super::input::Input;"),
        (
            "node/a.rs",
            "// use crate::wire::x;\n/* crate::edge */ const A: &str = \"crate::wire\"; const B: char = '\"';",
        ),
        ("node/modules/a.rs", "use super::super::registry;"),
        ("node/a.rs", "mod tests {\n    use super::super::model_of_ours;\n}"),
        ("daemon/a.rs", "use crate::{edge, node, session, wire, config, model};"),
        ("cli/a.rs", "use crate::{edge, daemon, config, model};"),
        ("main.rs", "fn main() { stheno::cli::main(); }"),
        ("model/a.rs", "pub(crate) fn f() {}"),
    ] {
        assert_clean(path, text);
    }
}

#[test]
fn mio_is_named_only_by_the_edge_and_the_event_loop() {
    assert_flagged("daemon/dispatch.rs", "use mio::Token;", "mio");
    assert_flagged("node/a.rs", "fn f(_: mio::Token) {}", "mio");
    assert_clean("edge/tcp.rs", "use mio::Token;");
    assert_clean("daemon/event_loop.rs", "use mio::Token;");
    assert_clean("daemon/event_loop/sources.rs", "use mio::Token;");
}

#[test]
fn unsafe_code_is_kept_in_one_place_and_gives_its_reason() {
    assert_flagged("edge/tcp.rs", "fn f() { unsafe { g() } }", "unsafe");
    assert_flagged("edge/ssh_like.rs", "fn f() { unsafe { g() } }", "unsafe");
    assert_flagged("edge/system.rs", "fn f() { unsafe { g() } }", "SAFETY");
    assert_clean("edge/system.rs", "fn f() {\n    // SAFETY: g has no conditions.\n    unsafe { g() }\n}");
    assert_flagged("edge/ssh/session.rs", "fn f() { unsafe { g() } }", "unsafe");
    assert_clean("edge/ssh/ffi.rs", "fn f() {\n    // SAFETY: g has no conditions.\n    unsafe { g() }\n}");
    assert_clean("edge/tcp.rs", "// unsafe\nconst A: &str = \"unsafe\";");
}

#[test]
fn clocks_are_read_only_by_the_edge_and_the_event_loop() {
    assert_flagged("node/a.rs", "fn f() { std::time::Instant::now(); }", "clock");
    assert_flagged("cli/a.rs", "fn f() { SystemTime::now(); }", "clock");
    assert_flagged("daemon/dispatch.rs", "fn f() { Instant :: now(); }", "clock");
    assert_clean("edge/clock.rs", "fn f() { Instant::now(); }");
    assert_clean("daemon/event_loop.rs", "fn f() { Instant::now(); }");
}

#[test]
fn names_lengths_docs_and_yaml_are_held() {
    assert_flagged("node/session_manager.rs", "", "name");
    assert_flagged("wire/util/mod.rs", "", "name");
    assert_flagged("wire/handler2.rs", "", "name");
    assert_clean("node/commonwealth.rs", "");
    assert_flagged("node/a.rs", "use granit_parser::Event;", "granit_parser");
    assert_clean("config/yaml.rs", "use granit_parser::Event;");
    let long = "//! Doc.\n".to_owned() + &"const A: u8 = 0;\n".repeat(500);
    assert!(check("node/a.rs", &long)[0].contains("501 lines"));
    assert!(check("node/a.rs", "use std::fmt;\n")[0].contains("//!"));
}

#[test]
fn long_lines_are_flagged_outside_test_vectors() {
    let long = format!("const A: &str = \"{}\";", "é".repeat(110));
    assert_flagged("wire/a.rs", &long, "columns, 120 at most");
    assert_clean("wire/a.rs", &format!("#[cfg(test)]\nmod tests {{\n    {long}\n}}"));
    assert_clean("wire/a/tests.rs", &long);
    assert_clean("wire/a.rs", &format!("const A: &str = \"{}\";", "é".repeat(100)));
}

#[test]
fn long_files_long_comments_and_empty_names_are_flagged_in_tests() {
    let flagged = |path: &str, text: &str| rules::breaches_of_tests("tests", &SourceFile::new(path, text));
    let long = "//! Doc.\n".to_owned() + &"const A: u8 = 0;\n".repeat(500);
    assert!(flagged("cli/a.rs", &long)[0].starts_with("tests/cli/a.rs:500: 501 lines"));
    assert!(flagged("cli/a.rs", &format!("// {}", "a".repeat(118)))[0].contains("121 columns, 120 at most"));
    assert!(flagged("cli/helpers.rs", "")[0].contains("'helpers' is not a name"));
    // A literal stays as it is on the wire.
    assert!(flagged("cli/a.rs", &format!("const A: &str = \"{}\";", "a".repeat(200))).is_empty());
}

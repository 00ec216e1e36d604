//! A build without a network. It takes minutes, so it runs by name:
//! `cargo test --locked --test packages -- --ignored offline`.

use std::process::Command;

use crate::{Folder, must, said};

#[test]
#[ignore = "builds everything anew, which takes minutes"]
fn offline_the_program_builds_from_the_vendor_folder_alone() {
    let folder = Folder::new();
    let place = |name: &str| folder.path(name).display().to_string();
    // Copy the tracked files with uncommitted changes, without build results.
    must(
        "sh",
        &[
            "-c",
            &format!(
                "git ls-files --cached --others --exclude-standard -z | xargs -0 cp --parents -t '{}'",
                folder.0.display()
            ),
        ],
    );
    let mut fill = Command::new(folder.path("vendor/fill"));
    let (fine, text) = said(&fill.current_dir(&folder.0).output().unwrap());
    assert!(fine, "{text}");

    // There is only the loopback network, and the home directory contains no crates.
    let mut build = Command::new("unshare");
    build.args(["--net", "cargo", "build", "--offline", "--locked", "--target-dir", &place("target")]);
    build.current_dir(&folder.0).env("CARGO_HOME", folder.path("home"));
    let (fine, text) = said(&build.output().unwrap());
    assert!(fine, "{text}");
    let text = must(&place("target/debug/stheno"), &["--version"]);
    assert!(text.starts_with("stheno "), "{text}");
}

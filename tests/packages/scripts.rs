//! Errors of the build scripts before anything is built.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::{Folder, ROOT, run, said};

/// A copy of the scripts whose tools may be missing, incomplete or broken.
fn copy() -> Folder {
    let folder = Folder::new();
    for file in
        ["Cargo.toml", "cross/build", "cross/fetch", "cross/smoke", "cross/targets.sh", "cross/requirements.txt"]
    {
        let place = folder.path(file);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(format!("{ROOT}/{file}"), place).unwrap();
    }
    folder
}

/// Runs a script of a copy. Without `network`, apt and pip cannot connect anywhere.
fn script(folder: &Folder, name: &str, words: &[&str]) -> (bool, String) {
    let nowhere = "http://127.0.0.1:9";
    let mut command = Command::new(folder.path(name));
    command.args(words).current_dir(&folder.0);
    for variable in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(variable, nowhere);
    }
    command.env("PIP_NO_INDEX", "1").env("PIP_FIND_LINKS", "").env_remove("no_proxy").env_remove("NO_PROXY");
    said(&command.output().unwrap())
}

#[test]
fn mistakes_on_the_command_line_get_one_line_that_helps() {
    for (program, words, part) in [
        (
            "cross/build",
            vec!["sparc64"],
            "there is no target 'sparc64'; targets are x86_64-unknown-linux-musl, aarch64",
        ),
        ("cross/build", vec!["--flavour", "tiny", "--all"], "there is no flavour 'tiny'; flavours are poller, full"),
        ("cross/build", vec!["--fast"], "unknown option '--fast'"),
        ("cross/build", vec![], "say for what: a target"),
        ("cross/smoke", vec!["sparc64"], "there is no target 'sparc64'"),
        ("cross/smoke", vec![], "say what: a target"),
        ("cross/fetch", vec!["cobol"], "there is no part 'cobol'; parts are rust, zig, qemu"),
        ("packages/build", vec!["sparc64"], "there is no target 'sparc64'"),
        ("packages/build", vec!["--binary", "/nonexistent", "--arch", "amd64"], "there is no program /nonexistent"),
        ("vendor/fill", vec!["--fast"], "unknown option '--fast'"),
        ("vendor/dependencies", vec!["--fast"], "unknown option '--fast'"),
    ] {
        let (fine, text) = run(program, &words);
        assert!(!fine && text.contains(part) && text.lines().count() == 1, "{program} {words:?}: {text}");
    }
}

#[test]
fn without_a_network_the_build_says_so_and_leaves_nothing_that_looks_like_a_tool() {
    let folder = copy();
    let (fine, text) = script(&folder, "cross/build", &["x86_64-unknown-linux-musl"]);
    assert!(!fine && text.contains("is there a network?"), "{text}");
    assert_eq!(text.lines().filter(|line| !line.starts_with("cross/fetch: fetching")).count(), 1, "{text}");
    assert!(!folder.path("cross/tools/rust").exists() && !folder.path("cross/tools/zig").exists());
}

#[test]
fn a_half_filled_tools_folder_is_noticed_and_filled_again() {
    let folder = copy();
    // The compiler does not run, and another part is incomplete.
    folder.write("cross/tools/rust/rustc", "#!/bin/sh\nexit 1\n");
    fs::set_permissions(folder.path("cross/tools/rust/rustc"), fs::Permissions::from_mode(0o755)).unwrap();
    folder.write("cross/tools/zig.partial/zig", "");
    let (fine, text) = script(&folder, "cross/fetch", &["rust"]);
    assert!(
        !fine && text.contains("rust in cross/tools is incomplete or of another recipe and is fetched again"),
        "{text}"
    );
    // It could not be downloaded without a network, but the broken part was removed.
    assert!(text.contains("is there a network?") && !folder.path("cross/tools/rust").exists(), "{text}");
}

#[test]
fn a_tool_that_runs_but_lost_a_file_is_noticed() {
    let folder = copy();
    let library = "cross/tools/rust/usr/lib/rustlib/src/rust/library/std/src/lib.rs";
    folder.write("cross/tools/rust/rustc", "#!/bin/sh\n");
    fs::set_permissions(folder.path("cross/tools/rust/rustc"), fs::Permissions::from_mode(0o755)).unwrap();
    folder.write(library, "//! The library.\n");
    folder.write("cross/tools/rust/lib/another", "");
    // The script leaves this state after it has downloaded these files.
    let identity = r#"eval "$(sed -n '/^identity()/,/^}/p' fetch)"; identity "$PWD/tools/rust" >tools/rust/identity"#;
    let written = Command::new("bash").args(["-c", identity]).current_dir(folder.path("cross")).status().unwrap();
    assert!(written.success());
    let (fine, text) = script(&folder, "cross/fetch", &["rust"]);
    assert!(fine && text.is_empty(), "it is whole: {text}");
    fs::remove_file(folder.path("cross/tools/rust/lib/another")).unwrap();
    let (fine, text) = script(&folder, "cross/fetch", &["rust"]);
    assert!(!fine && text.contains("rust in cross/tools is incomplete"), "{text}");
}

#[test]
fn without_a_binary_or_without_qemu_the_smoke_test_says_what_is_missing() {
    let folder = copy();
    let target = "aarch64-unknown-linux-musl";
    let (fine, text) = script(&folder, "cross/smoke", &[target]);
    assert!(!fine && text.contains("cross/build --flavour") && text.contains(target), "{text}");
    for flavour in ["poller", "full"] {
        folder.write(&format!("target/dist/{target}/{flavour}/stheno"), "");
        let place = folder.path(&format!("target/dist/{target}/{flavour}/stheno"));
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(folder.path("cross/smoke"));
    let output = command.arg(target).env("PATH", "/bin:/usr/bin").env("STHENO_QEMU", "/nonexistent").output().unwrap();
    let (fine, text) = said(&output);
    assert!(!fine && text.contains("qemu-aarch64-static is missing") && text.contains("cross/fetch qemu"), "{text}");
}

//! The content of the packages: their list of crates, reproducible files, and the versions of `Cargo.lock`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::Value;

use crate::{Folder, ROOT, must, run, said};

/// The crates that a flavour links, as `cargo tree` says: `name@version`.
fn linked(features: &[&str], target: &str) -> BTreeSet<String> {
    let mut words =
        vec!["tree", "--locked", "--edges=normal,no-proc-macro", "--prefix=none", "--format={p}", "--target"];
    words.push(target);
    words.extend(features);
    // Cargo's line about waiting for another Cargo is not part of the tree.
    let output = Command::new("cargo").args(&words).current_dir(ROOT).output().unwrap();
    assert!(output.status.success(), "{}", said(&output).1);
    let text = String::from_utf8(output.stdout).unwrap();
    // A line is `name v1.2.3`, with a path behind the program's own.
    let crates = text.lines().filter(|line| !line.is_empty() && !line.starts_with("stheno "));
    crates.map(|line| line.split(' ').take(2).collect::<Vec<_>>().join("@").replace("@v", "@")).collect()
}

fn sbom(flavour: &str, architecture: &str) -> Value {
    serde_json::from_str(&must("vendor/dependencies", &["--sbom", flavour, architecture])).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn the_sbom_lists_every_crate_and_c_library_that_a_flavour_links() {
    let lock = fs::read_to_string(format!("{ROOT}/Cargo.lock")).unwrap();
    for (flavour, features, libraries) in [
        ("full", vec![], vec!["OpenSSL", "PCRE2", "SQLite", "libssh2", "zlib"]),
        ("poller", vec!["--no-default-features"], vec!["PCRE2", "SQLite"]),
    ] {
        let document = sbom(flavour, "amd64");
        assert_eq!((text(&document, "bomFormat"), text(&document, "specVersion")), ("CycloneDX", "1.5"));
        assert_eq!(document["version"], 1);
        let program = &document["metadata"]["component"];
        assert_eq!((text(program, "type"), text(program, "name")), ("application", "stheno"));
        assert_eq!(text(program, "version"), env!("CARGO_PKG_VERSION"));

        let (mut crates, mut others, mut references) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for component in document["components"].as_array().unwrap() {
            let (name, version, purl) = (text(component, "name"), text(component, "version"), text(component, "purl"));
            assert_eq!(text(component, "type"), "library");
            assert!(references.insert(text(component, "bom-ref")), "{name} stands there twice");
            let licence = text(&component["licenses"][0], "expression");
            assert!(!licence.is_empty() && !licence.contains('/') && licence != "NOASSERTION", "{name}: {licence}");
            if purl.starts_with("pkg:cargo/") {
                assert_eq!(purl, format!("pkg:cargo/{name}@{}", version.replace('+', "%2B")));
                // The cipher's crate is part of this repository: no registry has a checksum of it.
                if name != "aes-cbc" {
                    let hash = text(&component["hashes"][0], "content");
                    assert!(lock.contains(&format!("checksum = \"{hash}\"")), "{name}: {hash}");
                }
                crates.insert(format!("{name}@{version}"));
            } else {
                assert_eq!(purl, format!("pkg:generic/{}@{version}", name.to_lowercase()));
                assert!(text(component, "cpe").contains(&format!(":{}:*", version.to_lowercase())));
                assert_eq!(text(&component["externalReferences"][0], "type"), "advisories");
                others.insert(name);
            }
        }
        assert_eq!(crates, linked(&features, "x86_64-unknown-linux-musl"), "{flavour}");
        assert_eq!(others.into_iter().collect::<Vec<_>>(), libraries, "{flavour}");

        references.insert(text(program, "bom-ref"));
        let edges = document["dependencies"].as_array().unwrap();
        let from: BTreeSet<&str> = edges.iter().map(|edge| text(edge, "ref")).collect();
        assert_eq!(from, references, "every component has its entry");
        let to = edges.iter().flat_map(|edge| edge["dependsOn"].as_array().unwrap());
        assert!(to.into_iter().all(|reference| references.contains(reference.as_str().unwrap())));
    }
    assert_ne!(sbom("poller", "armhf"), sbom("poller", "amd64"), "it names the architecture");
}

#[test]
fn wrong_words_for_the_sbom_get_one_line() {
    for (words, part) in [
        (vec!["--sbom"], "--sbom needs a flavour and Debian's name of an architecture"),
        (vec!["--sbom", "tiny", "amd64"], "there is no flavour 'tiny'; flavours are poller, full"),
    ] {
        let (fine, text) = run("vendor/dependencies", &words);
        assert!(!fine && text.contains(part) && text.lines().count() == 1, "{words:?}: {text}");
    }
}

/// Runs `vendor/advisories` where `cargo-audit` is this script.
fn advisories(audit: Option<&str>) -> (bool, String) {
    let tools = Folder::new();
    // The interpreter itself is used: what is called `python3` may be a script that needs more than this path has.
    let python = must("python3", &["-c", "import sys; print(sys.executable)"]);
    if let Some(script) = audit {
        tools.write("cargo-audit", &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(tools.path("cargo-audit"), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(python.trim());
    command.arg("vendor/advisories").current_dir(ROOT).env("PATH", &tools.0);
    said(&command.output().unwrap())
}

#[test]
fn an_advisory_that_is_not_accepted_fails_and_a_database_out_of_reach_is_said() {
    let found = |id: &str| {
        let entry = format!(
            r#"{{"advisory": {{"id": "{id}", "title": "Bad"}}, "package": {{"name": "rsa", "version": "1.0.0"}}}}"#
        );
        format!(r#"echo '{{"vulnerabilities": {{"list": [{entry}]}}, "warnings": {{}}}}'; exit 1"#)
    };
    for (audit, expected, part) in [
        (None, true, "SKIPPED: cargo-audit is not installed here"),
        (Some("echo 'error: no database' >&2; exit 1".to_owned()), true, "cannot be reached: error: no database"),
        (Some(found("RUSTSEC-2023-0071")), true, "accepted: rsa 1.0.0: RUSTSEC-2023-0071: Bad (rsa before 0.10"),
        (Some(found("RUSTSEC-1999-0001")), false, "rsa 1.0.0: RUSTSEC-1999-0001: Bad"),
        (
            Some(r#"echo '{"vulnerabilities": {"list": []}, "warnings": {"yanked": [{"advisory": null, "package": {"name": "a", "version": "1"}}]}}'"#.to_owned()),
            false,
            "a 1: yanked",
        ),
        (Some(r#"echo '{"vulnerabilities": {"list": []}}'"#.to_owned()), true, "no advisory is open"),
    ] {
        let (fine, text) = advisories(audit.as_deref());
        assert!(fine == expected && text.contains(part), "{audit:?}: {text}");
    }
}

#[test]
fn every_script_calls_cargo_with_the_versions_of_the_lock_file() {
    let scripts = must("sh", &["-c", "git ls-files -z | xargs -0 grep -lE '^#!' --"]);
    let mut calls = 0;
    for script in scripts.lines().filter(|name| !name.starts_with("findings/")) {
        let text = fs::read_to_string(format!("{ROOT}/{script}")).unwrap();
        for (number, line) in text.lines().enumerate() {
            let line = line.replace("\", \"", " ");
            let code = line.trim_start();
            let is_prose = code.starts_with('#') || code.starts_with("say ") || code.contains("--version");
            let words = ["bench", "build", "check", "clippy", "metadata", "run", "test", "tree", "vendor", "zigbuild"];
            let called =
                words.iter().any(|word| code.contains(&format!("cargo {word} ")) || code.contains(" zigbuild "));
            if called && !is_prose {
                calls += 1;
                assert!(code.contains("--locked"), "{script}:{}: {code}", number + 1);
            }
        }
    }
    assert!(calls >= 5, "{calls} calls were found");
}

/// Copies the files that Git tracks, with uncommitted changes, to a folder.
fn copy(folder: &Folder, name: &str) -> String {
    let place = folder.path(name).display().to_string();
    fs::create_dir_all(&place).unwrap();
    let files = "git ls-files --cached --others --exclude-standard -z";
    must("sh", &["-c", &format!("{files} | xargs -0 cp --parents -t '{place}'")]);
    place
}

#[test]
fn packages_of_one_binary_from_two_folders_are_the_same_files() {
    let folder = Folder::new();
    let architecture = must("dpkg", &["--print-architecture"]).trim().to_owned();
    let binary = folder.path("stheno").display().to_string();
    must("strip", &["-o", &binary, env!("CARGO_BIN_EXE_stheno")]);
    let sums = [("one", "022"), ("another/folder of another length", "077")].map(|(name, mask)| {
        let place = copy(&folder, name);
        let script = format!("umask {mask}; packages/build --binary '{binary}' --arch {architecture} --output out");
        let mut build = Command::new("sh");
        build.args(["-c", &script]).current_dir(&place);
        // A debug build is large, and the compression does not matter here.
        build.env("DPKG_DEB_COMPRESSOR_TYPE", "none").env("SOURCE_DATE_EPOCH", "1700000000");
        let (fine, text) = said(&build.output().unwrap());
        assert!(fine, "{text}");
        must("sh", &["-c", &format!("cd '{place}/out' && sha256sum *")])
    });
    assert_eq!(sums[0].lines().count(), 2, "a package and a tarball: {}", sums[0]);
    assert_eq!(sums[0], sums[1]);
}

#[test]
#[ignore = "builds everything twice, which takes minutes"]
fn reproducible_the_program_is_the_same_when_built_in_two_folders() {
    let folder = Folder::new();
    let home = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{}/.cargo", std::env::var("HOME").unwrap()));
    let programs = ["one", "another/folder-of-another-length"].map(|name| {
        let place = copy(&folder, name);
        let mut build = Command::new("cargo");
        build.args(["build", "--locked", "--no-default-features", "--target-dir", "target"]).current_dir(&place);
        // cross/build does the same.
        build.env("RUSTFLAGS", format!("--remap-path-prefix={place}=. --remap-path-prefix={home}=cargo"));
        let (fine, text) = said(&build.output().unwrap());
        assert!(fine, "{text}");
        let program = format!("{place}/target/debug/stheno");
        must("strip", &[&program]);
        fs::read(program).unwrap()
    });
    assert!(programs[0] == programs[1], "the programs differ");
    let folder = folder.0.display().to_string();
    assert!(!programs[0].windows(folder.len()).any(|part| part == folder.as_bytes()), "it names {folder}");
}

#[test]
fn a_clone_of_the_database_is_read_where_there_is_no_cargo_audit() {
    let clone = Folder::new();
    let git = |words: &[&str]| {
        let fixed = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"];
        let output = Command::new("git").args(fixed).args(words).current_dir(&clone.0).output().unwrap();
        assert!(output.status.success(), "{}", said(&output).1);
    };
    let advisory = |id: &str, patched: &str, more: &str| {
        let head = format!("[advisory]\nid = \"{id}\"\npackage = \"mio\"\n{more}");
        let text = format!("```toml\n{head}\n[versions]\npatched = [{patched}]\n```\n\n# Bad\n");
        fs::create_dir_all(clone.path("crates/mio")).unwrap();
        clone.write(&format!("crates/mio/{id}.md"), &text);
    };
    let read = || run("vendor/advisories", &["--database", clone.0.to_str().unwrap()]);
    git(&["init", "--quiet"]);
    advisory("RUSTSEC-1999-0001", "\">= 0.8.1, < 0.9\", \"^1\"", "");
    advisory("RUSTSEC-1999-0002", "", "withdrawn = \"1999-12-31\"");
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "good"]);
    let (fine, text) = read();
    assert!(fine && text.contains("2 advisories of ") && text.contains("no advisory is open"), "{text}");
    advisory("RUSTSEC-1999-0003", "\">= 900.0.0\"", "");
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "bad"]);
    let (fine, text) = read();
    assert!(!fine && text.contains("RUSTSEC-1999-0003: Bad") && !text.contains("0001"), "{text}");
    let empty = Folder::new();
    let (fine, text) = run("vendor/advisories", &["--database", empty.0.to_str().unwrap()]);
    assert!(!fine && text.contains("is no clone"), "{text}");
}

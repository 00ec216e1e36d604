//! The Debian package and the tarball: install, upgrade over changed files, remove.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::{Folder, ROOT, must, run, said};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const UNIT: &str = "usr/lib/systemd/system/stheno.service";
const STATE: &str = "var/lib/centreon-gorgone";

fn architecture() -> String {
    must("dpkg", &["--print-architecture"]).trim().to_owned()
}

/// The package and the tarball of this build, made once for all tests.
fn built() -> &'static Folder {
    static BUILT: OnceLock<Folder> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Folder::new();
        let binary = folder.path("stheno");
        let binary = binary.to_str().unwrap();
        must("strip", &["-o", binary, env!("CARGO_BIN_EXE_stheno")]);
        build(binary, &folder.path("out").display().to_string());
        folder
    })
}

fn build(binary: &str, output: &str) {
    let mut command = Command::new(format!("{ROOT}/packages/build"));
    command.args(["--binary", binary, "--arch", &architecture(), "--output", output]);
    // A debug build is large, and the compression does not matter here.
    command.env("DPKG_DEB_COMPRESSOR_TYPE", "none");
    let (fine, text) = said(&command.output().unwrap());
    assert!(fine, "{text}");
}

fn package() -> String {
    built().path(&format!("out/stheno_{VERSION}_{}.deb", architecture())).display().to_string()
}

/// A root that dpkg can work in.
fn root() -> Folder {
    let root = Folder::new();
    root.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
    root.write("etc/group", "root:x:0:\n");
    root.write("var/lib/dpkg/status", "");
    for folder in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "usr"] {
        fs::create_dir_all(root.path(folder)).unwrap();
    }
    root
}

fn dpkg(root: &Folder, words: &[&str]) -> String {
    let root = format!("--root={}", root.0.display());
    must("dpkg", &[&[root.as_str(), "--force-script-chrootless", "--force-confdef", "--force-confold"], words].concat())
}

/// Makes a package of the next version with the same files.
fn next_package(folder: &Folder) -> String {
    let tree = folder.path("tree").display().to_string();
    must("dpkg-deb", &["--raw-extract", &package(), &tree]);
    let control = folder.read("tree/DEBIAN/control").replace(&format!("Version: {VERSION}"), "Version: 99.0");
    folder.write("tree/DEBIAN/control", &control);
    let defaults = folder.read("tree/etc/default/stheno") + "# of the next version\n";
    folder.write("tree/etc/default/stheno", &defaults);
    let file = folder.path("next.deb").display().to_string();
    must("dpkg-deb", &["-Znone", "--root-owner-group", "--build", &tree, &file]);
    file
}

fn mode(root: &Folder, name: &str) -> u32 {
    fs::metadata(root.path(name)).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_package_installs_upgrades_and_goes_and_leaves_what_is_the_operators() {
    let root = root();
    root.write("etc/centreon-gorgone/config.yaml", "name: mine\n");
    dpkg(&root, &["--install", &package()]);

    let program = root.path("usr/bin/stheno");
    assert_eq!(must(program.to_str().unwrap(), &["--version"]).trim(), format!("stheno {VERSION}"));
    assert!(root.read(UNIT).contains("Type=notify"));
    assert!(root.read("etc/passwd").contains("centreon-gorgone:"));
    assert_eq!((mode(&root, STATE), mode(&root, &format!("{STATE}/.keys"))), (0o750, 0o700));
    for file in ["usr/share/man/man8/stheno.8.gz", "etc/default/stheno", "etc/logrotate.d/stheno"] {
        assert!(root.path(file).exists(), "{file}");
    }
    let licences = must("gzip", &["-dc", root.path("usr/share/doc/stheno/licences.gz").to_str().unwrap()]);
    assert!(licences.contains("rustls ") && licences.contains("Permission is hereby granted"));
    let sbom = root.read("usr/share/doc/stheno/sbom.cdx.json");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&sbom).unwrap()["bomFormat"], "CycloneDX");
    for example in ["central.yaml", "poller.yaml", "stheno-sudo.conf"] {
        assert!(root.path(&format!("usr/share/doc/stheno/examples/{example}")).exists(), "{example}");
    }
    let manual = must("gzip", &["-dc", root.path("usr/share/man/man8/stheno.8.gz").to_str().unwrap()]);
    assert!(manual.contains(".SH SYNOPSIS") && manual.contains("stheno run"), "{manual}");
    must("bash", &["-n", root.path("usr/share/bash-completion/completions/stheno").to_str().unwrap()]);

    root.write("etc/default/stheno", "OPTIONS=--config=mine\n");
    root.write(&format!("{STATE}/history.sdb"), "history");
    // The original's package may rotate the same log for some time.
    root.write("etc/logrotate.d/gorgoned", "/var/log/centreon-gorgone/gorgoned.log {\n}\n");
    dpkg(&root, &["--install", &package()]);
    assert!(root.path("etc/logrotate.d/stheno.disabled").exists() && !root.path("etc/logrotate.d/stheno").exists());
    fs::remove_file(root.path("etc/logrotate.d/gorgoned")).unwrap();
    dpkg(&root, &["--install", &next_package(&Folder::new())]);
    assert_eq!(root.read("etc/default/stheno"), "OPTIONS=--config=mine\n", "an upgrade keeps what was changed");
    assert_eq!(root.read("etc/centreon-gorgone/config.yaml"), "name: mine\n");
    assert!(!root.path("etc/logrotate.d/stheno.disabled").exists() && root.path("etc/logrotate.d/stheno").exists());

    dpkg(&root, &["--remove", "stheno"]);
    assert!(!program.exists() && !root.path(UNIT).exists());
    assert_eq!(root.read("etc/default/stheno"), "OPTIONS=--config=mine\n", "a removal keeps configuration files");
    dpkg(&root, &["--purge", "stheno"]);
    assert!(!root.path("etc/default/stheno").exists());
    assert_eq!(
        root.read("etc/centreon-gorgone/config.yaml"),
        "name: mine\n",
        "not even a purge takes the configuration"
    );
    assert_eq!(root.read(&format!("{STATE}/history.sdb")), "history");
}

#[test]
fn a_flavour_takes_the_place_of_the_other() {
    let (root, folder) = (root(), Folder::new());
    let tree = folder.path("tree").display().to_string();
    must("dpkg-deb", &["--raw-extract", &package(), &tree]);
    let full = folder.read("tree/DEBIAN/control");
    assert!(!full.contains("Provides:"), "dpkg does not replace anything by what provides its own name: {full}");
    let poller = full
        .replace("Package: stheno\n", "Package: stheno-poller\nProvides: stheno\n")
        .replace(": stheno-poller\nReplaces: stheno-poller", ": stheno\nReplaces: stheno");
    folder.write("tree/DEBIAN/control", &poller);
    let other = folder.path("poller.deb").display().to_string();
    must("dpkg-deb", &["-Znone", "--root-owner-group", "--build", &tree, &other]);
    for (file, name, gone) in [(&other, "stheno-poller", ""), (&package(), "stheno", "stheno-poller")] {
        dpkg(&root, &["--install", file]);
        let status = root.read("var/lib/dpkg/status");
        assert!(status.contains(&format!("Package: {name}\nStatus: install ok installed")), "{status}");
        assert!(
            gone.is_empty() || !status.contains(&format!("Package: {gone}\nStatus: install ok installed")),
            "{status}"
        );
    }
    assert!(root.path("usr/bin/stheno").exists());
}

#[test]
fn the_package_belongs_to_root() {
    let listing = must("dpkg-deb", &["--contents", &package()]);
    assert!(listing.lines().all(|line| line.contains(" root/root ")), "{listing}");
}

#[test]
fn the_tarball_does_the_same_without_a_package_manager() {
    let folder = Folder::new();
    let name = format!("stheno-{VERSION}-{}", architecture());
    let archive = built().path(&format!("out/{name}.tar.gz")).display().to_string();
    must("tar", &["-C", folder.0.to_str().unwrap(), "-xzf", &archive]);
    let installer = folder.path(&format!("{name}/install.sh")).display().to_string();
    let root = root();
    root.write("etc/centreon-gorgone/config.yaml", "name: mine\n");
    root.write("etc/default/stheno", "OPTIONS=--config=mine\n");
    let below = root.0.display().to_string();

    let text = must(&installer, &["--root", &below]);
    assert!(text.contains("/etc/default/stheno is kept; the new one is /etc/default/stheno.new"), "{text}");
    assert!(text.contains("finds the configuration that is there"), "{text}");
    assert_eq!(root.read("etc/default/stheno"), "OPTIONS=--config=mine\n");
    assert_eq!(root.read("etc/centreon-gorgone/config.yaml"), "name: mine\n");
    assert!(root.read("etc/default/stheno.new").contains("OPTIONS="));
    let program = root.path("usr/bin/stheno").display().to_string();
    assert_eq!(must(&program, &["--version"]).trim(), format!("stheno {VERSION}"));
    assert!(root.read("etc/passwd").contains("centreon-gorgone:"));
    assert_eq!((mode(&root, STATE), mode(&root, &format!("{STATE}/.keys"))), (0o750, 0o700));

    root.write("etc/logrotate.d/gorgoned", "/var/log/centreon-gorgone/gorgoned.log {\n}\n");
    assert!(must(&installer, &["--root", &below]).contains("stheno is upgraded"));
    assert!(!root.path("etc/logrotate.d/stheno").exists(), "the original's package rotates the log already");
    let text = must(&installer, &["--root", &below, "--remove"]);
    assert!(text.contains("stheno is removed"), "{text}");
    assert!(!root.path("usr/bin/stheno").exists() && !root.path("etc/logrotate.d/stheno").exists());
    assert_eq!(root.read("etc/default/stheno"), "OPTIONS=--config=mine\n");
    assert_eq!(root.read("etc/centreon-gorgone/config.yaml"), "name: mine\n");

    for (words, part) in [(vec!["--root", "/nonexistent"], "there is no directory"), (vec!["--rot"], "unknown option")]
    {
        let (fine, text) = run(&installer, &words);
        assert!(!fine && text.contains(part) && text.lines().count() == 1, "{text}");
    }
}

#[test]
fn the_unit_is_strict_and_its_drop_in_is_understood() {
    let unit = fs::read_to_string(format!("{ROOT}/config/systemd/stheno.service")).unwrap();
    for line in ["Type=notify", "WatchdogSec=60", "NoNewPrivileges=yes", "ProtectSystem=strict", "LimitNOFILE=65536"] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
    let drop_in = fs::read_to_string(format!("{ROOT}/config/systemd/stheno-sudo.conf")).unwrap();
    // The drop-in must reset exactly the options that the unit sets.
    for line in drop_in.lines().filter(|line| line.contains('=') && !line.starts_with('#')) {
        let key = line.split('=').next().unwrap();
        assert!(unit.lines().any(|found| found.starts_with(&format!("{key}="))), "{line} lifts nothing");
    }
}

#[test]
fn a_build_of_an_image_without_systemd_and_without_proc_gets_user_and_directories() {
    let root = root();
    root.write("etc/shadow", "root:*:::::::\n");
    root.write("etc/gshadow", "root:*::\n");
    // The path has only what a shell needs: no systemd, no useradd.
    let tools = Folder::new();
    for tool in ["sh", "sed", "grep", "cut", "mkdir", "chmod", "chown", "mv", "id"] {
        let found = must("sh", &["-c", &format!("command -v {tool}")]);
        std::os::unix::fs::symlink(found.trim(), tools.path(tool)).unwrap();
    }
    for _ in 0..2 {
        let mut script = Command::new(format!("{ROOT}/packages/postinst"));
        script.args(["configure", ""]).env_clear().env("DPKG_ROOT", &root.0).env("PATH", &tools.0);
        let (fine, text) = said(&script.output().unwrap());
        assert!(fine, "{text}");
    }
    let passwd = root.read("etc/passwd");
    let line = "centreon-gorgone:x:999:999:Centreon Gorgone:/var/lib/centreon-gorgone:/usr/sbin/nologin";
    assert_eq!(passwd.lines().filter(|found| *found == line).count(), 1, "{passwd}");
    for file in ["etc/group", "etc/shadow", "etc/gshadow"] {
        assert_eq!(root.read(file).matches("centreon-gorgone:").count(), 1, "{file}");
    }
    assert_eq!((mode(&root, STATE), mode(&root, &format!("{STATE}/.keys"))), (0o750, 0o700));
}

#[test]
fn the_examples_copy_where_the_unit_lets_them_write() {
    let read = |name: &str| fs::read_to_string(format!("{ROOT}/{name}")).unwrap();
    let unit = read("config/systemd/stheno.service");
    let writable: Vec<&str> = unit
        .lines()
        .filter_map(|line| line.strip_prefix("ReadWritePaths="))
        .flat_map(|paths| paths.split(' ').map(|path| path.trim_start_matches('-')))
        .collect();
    let may_write = |path: &str| writable.iter().any(|root| Path::new(path).starts_with(root));
    let mut roots = 0;
    for entry in fs::read_dir(format!("{ROOT}/config")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("copy_roots: [")) {
            for root in line.trim_end_matches(']').split(", ") {
                assert!(may_write(root), "{}: {root} is read-only under the unit", path.display());
                roots += 1;
            }
        }
    }
    assert!(roots > 5);
    // The commands that the documentation shows.
    for (name, start) in [
        ("README.md", "    stheno copy"),
        ("docs/copies.md", "    stheno copy"),
        ("src/cli/help/of_central.rs", "  stheno copy"),
    ] {
        let lines = read(name);
        // A node is the last word where a copy goes to it.
        let goes_to = |line: &str| line.trim_end().rsplit(' ').next().is_some_and(|word| word.starts_with("2:"));
        let examples: Vec<&str> = lines.lines().filter(|line| line.starts_with(start) && goes_to(line)).collect();
        assert!(!examples.is_empty(), "{name}");
        for line in examples {
            let destination = line.split(" 2:").nth(1).unwrap().trim();
            assert!(may_write(destination), "{name}: {line}: the unit does not let it write there");
        }
    }
}

//! `keys generate` and `keys thumbprint`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use super::{Folder, set_mode, stheno, text};

#[test]
fn a_generated_pair_has_one_thumbprint_and_is_never_overwritten() {
    let folder = Folder::new();
    let directory = folder.path("new/keys");
    let shown = directory.to_str().unwrap();
    let made = stheno(&["keys", "generate", shown]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let (private, public) = (directory.join("rsakey.priv.pem"), directory.join("rsakey.pub.pem"));
    assert_eq!(fs::metadata(&private).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&public).unwrap().mode() & 0o777, 0o640);
    let thumbprint = text(&made.stdout).lines().last().unwrap().split_whitespace().last().unwrap().to_owned();
    assert_eq!(thumbprint.len(), 43);
    for file in [&private, &public] {
        let output = stheno(&["keys", "thumbprint", file.to_str().unwrap()]);
        assert_eq!(text(&output.stdout), format!("{thumbprint}\n"));
    }
    let before = folder.contents();
    let again = stheno(&["keys", "generate", shown]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).ends_with("rsakey.priv.pem: is already there; nothing was changed\n"));
    assert_eq!(folder.contents(), before);
}

#[test]
fn the_private_key_is_for_its_owner_alone_whatever_the_umask() {
    let folder = Folder::new();
    let line = format!("umask 0; exec {} keys generate {}", env!("CARGO_BIN_EXE_stheno"), folder.path("k").display());
    assert!(Command::new("sh").args(["-c", &line]).output().unwrap().status.success());
    assert_eq!(fs::metadata(folder.path("k/rsakey.priv.pem")).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(folder.path("k/rsakey.pub.pem")).unwrap().mode() & 0o777, 0o640);
}

#[test]
fn what_is_no_key_is_refused_with_its_name() {
    let folder = Folder::new();
    let file = folder.write("note.txt", "hello");
    for (path, words) in [
        (file, "is not an RSA key"),
        (folder.path("none"), "there is no such file"),
        (folder.0.clone(), "not a regular file"),
    ] {
        let output = stheno(&["keys", "thumbprint", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(words) && output.stdout.is_empty(), "{}", text(&output.stderr));
    }
}

#[test]
fn a_start_refuses_a_private_key_that_others_can_replace() {
    let folder = Folder::new();
    let keys = folder.path("k");
    assert!(stheno(&["keys", "generate", keys.to_str().unwrap()]).status.success());
    set_mode(&keys.join("rsakey.priv.pem"), 0o666);
    let config = folder.write(
        "c.yaml",
        format!(
            "gorgone: {{gorgonecore: {{privkey: {0}/rsakey.priv.pem, pubkey: {0}/rsakey.pub.pem}}}}\n",
            keys.display()
        ),
    );
    let output = stheno(&["run", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        folder.shorten(&output.stderr),
        "stheno: k/rsakey.priv.pem: others can replace this private key (mode 0666); chmod 600 it\n"
    );
}

#[test]
fn the_hash_of_a_password_is_printed_alone_and_is_another_one_each_time() {
    let hash = |password: &str| {
        let script = format!("printf '%s\\n' '{password}' | '{}' keys hash-password", env!("CARGO_BIN_EXE_stheno"));
        Command::new("sh").arg("-c").arg(script).output().unwrap()
    };
    let (first, second) = (hash("s3cret"), hash("s3cret"));
    let shown = text(&first.stdout);
    assert!(shown.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && shown.lines().count() == 1, "{shown}");
    assert_ne!(first.stdout, second.stdout);
    assert_eq!(hash("").status.code(), Some(1));
}

#[test]
fn a_new_token_comes_with_the_hash_that_hash_token_prints() {
    let hash = |token: &str| {
        let script = format!("printf '%s\\n' '{token}' | '{}' keys hash-token", env!("CARGO_BIN_EXE_stheno"));
        Command::new("sh").arg("-c").arg(script).output().unwrap()
    };
    let made = stheno(&["keys", "new-token"]);
    let lines = text(&made.stdout);
    let word = |name: &str| lines.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let hashed = hash(&word("token"));
    assert_eq!(text(&hashed.stdout).trim_end(), word("hash"));
    assert!(hashed.stderr.is_empty());
    let short = hash("abc");
    assert_eq!(
        text(&short.stdout),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n",
        "as sha256sum prints it"
    );
    assert!(text(&short.stderr).contains("'stheno keys new-token' makes"), "{}", text(&short.stderr));
    for bad in ["", "two words"] {
        assert_eq!(hash(bad).status.code(), Some(1), "{bad}");
    }
}

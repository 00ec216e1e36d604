//! Private keys and known-hosts files on disk. They are read up to a maximum size. Errors say what an administrator can
//! do. Nothing is decrypted here.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::ssh::SshTarget;

/// Maximum size of a private key file in bytes.
const MAX_KEY_BYTES: u64 = 64 << 10;
/// Maximum size of a known-hosts file in bytes.
const MAX_KNOWN_HOSTS_BYTES: u64 = 16 << 20;
/// OpenSSH's default file names of private keys, the better ones first.
const USUAL_NAMES: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// The text of a private key that can be tried. It has no `Debug`, so that it is never logged.
pub(super) struct KeyText {
    pub path: PathBuf,
    pub text: Vec<u8>,
}

/// The folder of keys and `known_hosts`.
pub(super) fn directory(target: &SshTarget) -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").filter(|home| !home.is_empty()).map(|home| Path::new(&home).join(".ssh"));
    target.directory.clone().or_else(home)
}

/// The keys that can be tried, the configured one first, and the reasons why others cannot.
pub(super) fn candidates(target: &SshTarget) -> (Vec<KeyText>, Vec<String>) {
    let (mut keys, mut problems) = (Vec::new(), Vec::new());
    let usual = directory(target).into_iter().flat_map(|directory| USUAL_NAMES.map(|name| directory.join(name)));
    let usual = usual.filter(|path| target.identity.as_ref() != Some(path) && path.exists());
    for path in target.identity.iter().cloned().chain(usual) {
        match read_key(&path, target.passphrase.is_some()) {
            Ok(text) => keys.push(KeyText { path, text }),
            Err(reason) => problems.push(format!("key {}: {reason}", path.display())),
        }
    }
    (keys, problems)
}

fn read_key(path: &Path, has_passphrase: bool) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    })?;
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut text = Vec::new();
    file.take(MAX_KEY_BYTES).read_to_end(&mut text).map_err(|error| error.to_string())?;
    let shown = String::from_utf8_lossy(&text);
    if shown.starts_with("ssh-") || shown.starts_with("ecdsa-") {
        return Err("it is a public key, the private one is needed".to_owned());
    }
    if !shown.contains("-----BEGIN ") || !shown.contains("PRIVATE KEY-----") {
        return Err("it is not a private key (PEM or OpenSSH format)".to_owned());
    }
    if metadata.mode() & 0o007 != 0 {
        return Err(format!("everybody may read it, so it is not used: chmod 600 {}", path.display()));
    }
    if !has_passphrase && is_encrypted(&shown) {
        return Err("it is encrypted: give its passphrase with ssh_passphrase".to_owned());
    }
    Ok(text)
}

/// Whether a key is encrypted. PEM says so in its header lines, OpenSSH's format by naming a cipher.
fn is_encrypted(text: &str) -> bool {
    const MAGIC: &[u8] = b"openssh-key-v1\0\0\0\0\x04none";
    if !text.contains("BEGIN OPENSSH PRIVATE KEY") {
        return text.contains("ENCRYPTED");
    }
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
    let head = body.get(..32).and_then(|head| STANDARD.decode(head).ok());
    head.is_some_and(|head| head.get(..MAGIC.len()) != Some(MAGIC))
}

/// The content of a known-hosts file; empty if the file does not exist.
///
/// # Errors
/// The file exists and cannot be read.
pub(super) fn read_known_hosts(path: &Path) -> Result<String, String> {
    let say = |error: io::Error| format!("{}: {error}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(say(error)),
    };
    let mut text = Vec::new();
    file.take(MAX_KNOWN_HOSTS_BYTES + 1).read_to_end(&mut text).map_err(say)?;
    if text.len() as u64 > MAX_KNOWN_HOSTS_BYTES {
        return Err(format!("{}: it is larger than {} MiB", path.display(), MAX_KNOWN_HOSTS_BYTES >> 20));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Adds a line to a known-hosts file. Creates the file if it is missing.
///
/// # Errors
/// The file cannot be written.
pub(super) fn add_known_host(path: &Path, line: &str) -> Result<(), String> {
    let add = || -> io::Result<()> {
        let ends_well = fs::read(path).map_or(true, |text| text.last().is_none_or(|last| *last == b'\n'));
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        // One write, so that two daemons do not mix their lines.
        let text = if ends_well { format!("{line}\n") } else { format!("\n{line}\n") };
        file.write_all(text.as_bytes())
    };
    add().map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::edge::temp_dir::TempDir;

    fn put(directory: &TempDir, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn each_bad_key_file_is_named_with_its_remedy() {
        let directory = TempDir::new();
        let open = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ==\n-----END \
            OPENSSH PRIVATE KEY-----\n";
        let sealed = "-----BEGIN OPENSSH PRIVATE \
            KEY-----\nb3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0\n-----END OPENSSH PRIVATE KEY-----\n";
        let pem = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAA==\n-----END RSA PRIVATE KEY-----\n";
        for (name, text, mode, passphrase, said) in [
            ("open", open, 0o600, false, ""),
            ("group", open, 0o640, false, ""),
            ("world", open, 0o644, false, "chmod 600"),
            ("sealed", sealed, 0o600, false, "ssh_passphrase"),
            ("sealed_known", sealed, 0o600, true, ""),
            ("pem", pem, 0o600, false, "ssh_passphrase"),
            ("public", "ssh-ed25519 AAAA me", 0o600, false, "public key"),
            ("text", "hello", 0o600, false, "not a private key"),
            ("empty", "", 0o600, false, "not a private key"),
        ] {
            let reason = read_key(&put(&directory, name, text, mode), passphrase).err().unwrap_or_default();
            assert!(reason.contains(said) && reason.is_empty() == said.is_empty(), "{name}: {reason}");
        }
        assert_eq!(read_key(&directory.path().join("none"), false).unwrap_err(), "there is no such file");
        assert_eq!(read_key(directory.path(), false).unwrap_err(), "it is not a file");
    }

    #[test]
    fn a_line_is_added_behind_a_file_that_ends_without_a_line_break() {
        let directory = TempDir::new();
        let path = put(&directory, "known_hosts", "a ssh-rsa AAAA", 0o600);
        add_known_host(&path, "b ssh-rsa BBBB").unwrap();
        add_known_host(&path, "c ssh-rsa CCCC").unwrap();
        assert_eq!(read_known_hosts(&path).unwrap(), "a ssh-rsa AAAA\nb ssh-rsa BBBB\nc ssh-rsa CCCC\n");
        assert_eq!(read_known_hosts(&directory.path().join("none")).unwrap(), "");
        assert!(add_known_host(&directory.path().join("no/such"), "x").is_err());
    }
}

//! Known-hosts files as OpenSSH writes them (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT): plain and hashed names, ports,
//! wildcards, several keys of one host, revoked keys. If no line names `[host]:port`, the key of `host` counts as
//! known, as with ssh(1). Certificates are not used. This module opens no file.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::{digest, hmac};

use crate::model::ssh::{HostKeyReport, HostKeyVerdict, SshTarget};

/// Maximum number of lines considered for one host.
const MAX_ENTRIES: usize = 64;

/// What the files say about one host.
#[derive(Default)]
pub(super) struct KnownHosts {
    entries: Vec<Entry>,
    unreadable: Option<String>,
    /// Where a certificate authority for the host is named.
    authority: Option<String>,
}

struct Entry {
    kind: String,
    key: Vec<u8>,
    place: String,
    is_revoked: bool,
    /// The line names the host without its port, although the port is not 22.
    is_bare: bool,
}

enum Line {
    Key(Entry),
    Authority(String),
}

impl KnownHosts {
    /// Takes the lines of `text` that name `target`. Messages call the text `source`.
    pub fn read(&mut self, text: &str, source: &str, has_lines: bool, target: &SshTarget) {
        let name = target.known_as();
        for (index, line) in text.lines().enumerate() {
            if self.entries.len() >= MAX_ENTRIES {
                return;
            }
            let place = || if has_lines { format!("{source}, line {}", index + 1) } else { source.to_owned() };
            match read_line(line, &name, &target.host, place) {
                Some(Line::Key(entry)) => self.entries.push(entry),
                Some(Line::Authority(place)) => self.authority = Some(place),
                None => {}
            }
        }
    }

    /// Notes that a file could not be read.
    pub fn cannot_read(&mut self, reason: String) {
        self.unreadable.get_or_insert(reason);
    }

    /// The host-key algorithms to prefer, so that a host with several keys shows a known one.
    pub fn preferred(&self) -> Vec<&'static str> {
        let mut methods = Vec::new();
        for entry in self.entries.iter().filter(|entry| !entry.is_revoked) {
            let of_kind: &[&str] = match entry.kind.as_str() {
                "ssh-ed25519" => &["ssh-ed25519"],
                "ecdsa-sha2-nistp256" => &["ecdsa-sha2-nistp256"],
                "ecdsa-sha2-nistp384" => &["ecdsa-sha2-nistp384"],
                "ecdsa-sha2-nistp521" => &["ecdsa-sha2-nistp521"],
                "ssh-rsa" => &["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"],
                _ => &[],
            };
            methods.extend(of_kind.iter().filter(|method| !methods.contains(*method)).copied().collect::<Vec<_>>());
        }
        methods
    }

    /// Judges the key that the host showed.
    pub fn report(&self, target: &SshTarget, key: &[u8]) -> HostKeyReport {
        let kind = kind_of(key).unwrap_or("unknown").to_owned();
        let fingerprint = digest::digest(&digest::SHA256, key);
        HostKeyReport {
            fingerprint: format!("SHA256:{}", STANDARD_NO_PAD.encode(fingerprint)),
            line: format!("{} {kind} {}", target.known_as(), STANDARD.encode(key)),
            kind,
            verdict: self.verdict(key),
            authority: self.authority.clone(),
        }
    }

    /// What is known of a key.
    pub(super) fn verdict(&self, key: &[u8]) -> HostKeyVerdict {
        let same = || self.entries.iter().filter(|entry| entry.key == key);
        if let Some(revoked) = same().find(|entry| entry.is_revoked) {
            return HostKeyVerdict::Revoked(revoked.place.clone());
        }
        // A key that is known for the host's usual port is not another one for this port.
        let is_said = self.entries.iter().any(|entry| !entry.is_revoked && !entry.is_bare);
        if same().any(|entry| !entry.is_bare || !is_said) {
            return HostKeyVerdict::Known;
        }
        // A key of another kind counts as a change as well: the kinds that are known were asked for first.
        if let Some(other) = self.entries.iter().find(|entry| !entry.is_revoked && !entry.is_bare) {
            return HostKeyVerdict::Changed(other.place.clone());
        }
        self.unreadable.clone().map_or(HostKeyVerdict::Unknown, HostKeyVerdict::Unreadable)
    }
}

/// The type named in a key.
fn kind_of(key: &[u8]) -> Option<&str> {
    let (len, rest) = key.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
    std::str::from_utf8(rest.get(..len)?).ok()
}

fn read_line(line: &str, name: &str, host: &str, place: impl Fn() -> String) -> Option<Line> {
    let mut words = line.split_ascii_whitespace();
    let first = words.next().filter(|word| !word.starts_with('#'))?;
    let (marker, hosts) = if first.starts_with('@') { (first, words.next()?) } else { ("", first) };
    let is_bare = !names(hosts, name);
    if is_bare && !names(hosts, host) {
        return None;
    }
    let (kind, key) = (words.next()?, words.next()?);
    let is_revoked = match marker {
        "" => false,
        "@revoked" => true,
        "@cert-authority" => return Some(Line::Authority(place())),
        _ => return None,
    };
    let key = STANDARD.decode(key).ok()?;
    Some(Line::Key(Entry { kind: kind.to_owned(), key, place: place(), is_revoked, is_bare }))
}

/// Whether the first field of a line names `name`.
fn names(hosts: &str, name: &str) -> bool {
    if let Some(hashed) = hosts.strip_prefix("|1|") {
        return is_hash_of(hashed, name).unwrap_or(false);
    }
    let mut found = false;
    for pattern in hosts.split(',') {
        let (negated, pattern) = pattern.strip_prefix('!').map_or((false, pattern), |rest| (true, rest));
        if matches(pattern.to_ascii_lowercase().as_bytes(), name.to_ascii_lowercase().as_bytes()) {
            if negated {
                return false;
            }
            found = true;
        }
    }
    found
}

/// Whether `SALT|HASH` is the HMAC-SHA1 of the name with the salt as key.
fn is_hash_of(hashed: &str, name: &str) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let (salt, hash) = (STANDARD.decode(salt).ok()?, STANDARD.decode(hash).ok()?);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
    Some(hmac::sign(&key, name.to_ascii_lowercase().as_bytes()).as_ref() == hash)
}

/// Matches a pattern in which `*` stands for any number of characters and `?` for one. Takes linear time in the length
/// of the text for each `*`.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut pos) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while pos < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, pos));
                at += 1;
            }
            Some(byte) if *byte == b'?' || Some(byte) == text.get(pos) => {
                at += 1;
                pos += 1;
            }
            _ => match star {
                Some((star_at, star_pos)) => {
                    star = Some((star_at, star_pos + 1));
                    at = star_at + 1;
                    pos = star_pos + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: &str, body: u8) -> Vec<u8> {
        let mut key = u32::try_from(kind.len()).unwrap().to_be_bytes().to_vec();
        key.extend_from_slice(kind.as_bytes());
        key.extend_from_slice(&[body; 16]);
        key
    }

    fn read(text: &str, name: &str) -> KnownHosts {
        let (host, port) = name.trim_start_matches('[').split_once("]:").unwrap_or((name, "22"));
        let target = SshTarget::new(host.to_owned(), port.parse().unwrap(), String::new());
        assert_eq!(target.known_as(), name);
        let mut known = KnownHosts::default();
        known.read(text, "known_hosts", true, &target);
        known
    }

    fn verdict(text: &str, name: &str, key: &[u8]) -> HostKeyVerdict {
        read(text, name).verdict(key)
    }

    #[test]
    fn names_ports_wildcards_and_negations_are_understood() {
        let ed = key("ssh-ed25519", 1);
        let line = |hosts: &str| format!("# a comment\n\n{hosts} ssh-ed25519 {} note\n", STANDARD.encode(&ed));
        for (hosts, name, known) in [
            ("host", "host", true),
            ("Host", "hOST", true),
            ("host", "host2", false),
            ("other,host", "host", true),
            ("[host]:2222", "[host]:2222", true),
            ("[host]:2222", "host", false),
            ("host", "[host]:2222", true),
            ("[host]:2223", "[host]:2222", false),
            ("*.example.org", "a.example.org", true),
            ("*.example.org,!b.example.org", "b.example.org", false),
            ("192.0.2.?", "192.0.2.7", true),
            ("192.0.2.?", "192.0.2.77", false),
        ] {
            let expected = if known { HostKeyVerdict::Known } else { HostKeyVerdict::Unknown };
            assert_eq!(verdict(&line(hosts), name, &ed), expected, "{hosts} {name}");
        }
    }

    #[test]
    fn hashed_names_are_found() {
        // Made by `ssh-keygen -H` from a line for `host.example`.
        let ed = key("ssh-ed25519", 1);
        let salt = [7_u8; 20];
        let hash = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt), b"[host.example]:2222");
        let text =
            format!("|1|{}|{} ssh-ed25519 {}", STANDARD.encode(salt), STANDARD.encode(hash), STANDARD.encode(&ed));
        assert_eq!(verdict(&text, "[host.example]:2222", &ed), HostKeyVerdict::Known);
        assert_eq!(verdict(&text, "host.example", &ed), HostKeyVerdict::Unknown);
    }

    #[test]
    fn another_key_is_a_change_and_says_where_and_a_revoked_one_is_never_taken() {
        let (ed, rsa, other) = (key("ssh-ed25519", 1), key("ssh-rsa", 2), key("ssh-ed25519", 3));
        let text = format!(
            "x ssh-dss AAAA\nhost ssh-ed25519 {}\nhost ssh-rsa {}\n@revoked host ssh-ed25519 {}\n",
            STANDARD.encode(&ed),
            STANDARD.encode(&rsa),
            STANDARD.encode(&other)
        );
        assert_eq!(verdict(&text, "host", &ed), HostKeyVerdict::Known);
        assert_eq!(verdict(&text, "host", &rsa), HostKeyVerdict::Known);
        let changed = key("ssh-ed25519", 9);
        assert_eq!(verdict(&text, "host", &changed), HostKeyVerdict::Changed("known_hosts, line 2".to_owned()));
        assert_eq!(verdict(&text, "host", &other), HostKeyVerdict::Revoked("known_hosts, line 4".to_owned()));
        assert_eq!(read(&text, "host").preferred(), ["ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"]);
    }

    #[test]
    fn the_name_without_a_port_makes_a_key_known_and_never_a_changed_one() {
        let (ed, other) = (key("ssh-ed25519", 1), key("ssh-ed25519", 3));
        let line = |hosts: &str, key: &[u8]| format!("{hosts} ssh-ed25519 {}\n", STANDARD.encode(key));
        let bare = line("host", &ed);
        assert_eq!(verdict(&bare, "[host]:2222", &other), HostKeyVerdict::Unknown);
        assert_eq!(read(&bare, "[host]:2222").preferred(), ["ssh-ed25519"]);
        let both = format!("{bare}{}", line("[host]:2222", &other));
        assert_eq!(verdict(&both, "[host]:2222", &other), HostKeyVerdict::Known);
        assert_eq!(verdict(&both, "[host]:2222", &ed), HostKeyVerdict::Changed("known_hosts, line 2".to_owned()));
        let revoked = format!("@revoked {bare}");
        assert_eq!(verdict(&revoked, "[host]:2222", &ed), HostKeyVerdict::Revoked("known_hosts, line 1".to_owned()));
    }

    #[test]
    fn an_authority_is_not_used_but_its_place_is_told() {
        let ed = key("ssh-ed25519", 1);
        let text = "x ssh-dss AAAA\n@cert-authority *.example.org,host ssh-ed25519 AAAA\n";
        let report = read(text, "host").report(&SshTarget::new("host".to_owned(), 22, String::new()), &ed);
        assert_eq!(report.verdict, HostKeyVerdict::Unknown);
        assert_eq!(report.authority.as_deref(), Some("known_hosts, line 2"));
        assert_eq!(read(text, "other").authority, None);
    }

    #[test]
    fn lines_that_are_no_entries_are_passed_over() {
        let ed = key("ssh-ed25519", 1);
        for text in
            ["host", "host ssh-ed25519", "host ssh-ed25519 %%%", "|1|x host k", "@other host ssh-ed25519 AAAA", "\u{0}"]
        {
            assert_eq!(verdict(text, "host", &ed), HostKeyVerdict::Unknown, "{text}");
        }
    }
}

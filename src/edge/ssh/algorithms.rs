//! The algorithms offered to a host, and the error if the host knows none of them.

use std::ffi::c_int;

use libssh2_sys as sys;

use super::ffi::{Outcome, Ssh2};

/// The kinds of algorithms that two hosts agree on, in the order of the lists in an offer (RFC 4253, 7.1): our name,
/// the option of `sshd_config`, the library's numbers. Ciphers and MACs are agreed on for each direction.
const KINDS: [(&str, &str, &[c_int]); 4] = [
    ("key exchange", "KexAlgorithms", &[sys::LIBSSH2_METHOD_KEX]),
    ("host key", "HostKeyAlgorithms", &[sys::LIBSSH2_METHOD_HOSTKEY]),
    ("cipher", "Ciphers", &[sys::LIBSSH2_METHOD_CRYPT_CS, sys::LIBSSH2_METHOD_CRYPT_SC]),
    ("MAC", "MACs", &[sys::LIBSSH2_METHOD_MAC_CS, sys::LIBSSH2_METHOD_MAC_SC]),
];
/// `SSH_MSG_KEXINIT`, and the length of the cookie after it.
const KEXINIT: u8 = 20;
const KEXINIT_HEAD_BYTES: usize = 17;
/// Markers among the names of key exchanges that name no algorithm. The library adds its own.
const MARKERS: [&str; 3] = ["ext-info-", "kex-strict-", "kexguess"];
/// Parts of the names of algorithms that are no longer considered safe.
const OLD: [&str; 10] =
    ["sha1", "md5", "-cbc", "arcfour", "ripemd", "ssh-dss", "ssh-rsa", "group1-", "-cert-v00", "none"];
/// What the usual build of the library leaves out, and how to build one that has it.
const OLD_BUILD: &str = "this build has CBC ciphers, but neither ssh-rsa keys nor SHA-1; build with \
                         CFLAGS='-DLIBSSH2_RSA_SHA1_ENABLE -DLIBSSH2_KEX_SHA1_ENABLE -DLIBSSH2_HMAC_SHA1_ENABLE \
                         -DLIBSSH2_DSA_ENABLE -DLIBSSH2_3DES_ENABLE' for those";

fn is_marker(name: &str) -> bool {
    MARKERS.iter().any(|marker| name.starts_with(marker))
}

fn is_old(name: &str) -> bool {
    OLD.iter().any(|part| name.contains(part))
}

/// Certificates are not checked, so a host is asked for its plain key.
fn is_certificate(name: &str) -> bool {
    name.contains("-cert-v")
}

/// Rank of an algorithm among those of its kind; equal ranks keep the library's order. AES-GCM comes before ChaCha20
/// because it is several times faster on both ends. Large groups come last because they take long.
fn rank(name: &str) -> u8 {
    match name {
        _ if is_old(name) => 9,
        _ if name.contains("128-gcm") || name.contains("-etm@") => 0,
        _ if name.contains("-gcm") => 1,
        _ if name.contains("group14-") => 3,
        _ if name.contains("group16-") => 4,
        _ if name.contains("diffie-hellman") => 5,
        _ => 2,
    }
}

/// Our offer.
#[derive(Default)]
pub(super) struct Offer {
    /// For each kind, the preferred ones first.
    ours: [Vec<String>; 4],
    /// What the library also has and we do not offer.
    withheld: [Vec<String>; 4],
    has_old: bool,
}

impl Offer {
    /// Sets the offer of a new session: all that the library has, with the `preferred` host keys first. What is no
    /// longer considered safe is offered only with `has_old`.
    ///
    /// # Errors
    /// The library refuses the offer.
    pub fn make(ssh: &mut Ssh2, preferred: &[&'static str], has_old: bool) -> Outcome<Self> {
        let mut offer = Self { has_old, ..Self::default() };
        for (at, (_, _, numbers)) in KINDS.iter().enumerate() {
            let (Some(first), Some(ours)) = (numbers.first(), offer.ours.get_mut(at)) else { continue };
            let mut all = ssh.supported(*first);
            all.retain(|name| !is_marker(name) && !is_certificate(name));
            // Stable: what has no rank of its own keeps the library's order.
            all.sort_by_key(|name| (preferred.iter().position(|other| other == name).unwrap_or(99), rank(name)));
            let (named, withheld) = all.into_iter().partition(|name| has_old || !is_old(name));
            *ours = named;
            for number in *numbers {
                ssh.prefer(*number, ours)?;
            }
            offer.withheld.iter_mut().skip(at).take(1).for_each(|place| place.clone_from(&withheld));
        }
        Ok(offer)
    }

    /// The log line about an offer that should include old algorithms; `None` if there is nothing to say.
    pub fn notice(&self) -> Option<String> {
        let lacks = self.has_old && !self.ours.iter().flatten().any(|name| name == "ssh-rsa");
        lacks.then(|| format!("ssh_legacy_algorithms: {OLD_BUILD}"))
    }

    /// Why we and a host that sent `words` have no common algorithm; `None` if we have.
    pub fn disagreement(&self, words: &[u8]) -> Option<String> {
        let theirs = read_offer(words)?;
        let of_host = |at: usize| theirs.get(at).map_or(&[][..], Vec::as_slice);
        let meets = |names: &[String], at: usize| names.iter().any(|name| of_host(at).contains(&name.as_str()));
        // Ciphers that authenticate by themselves need no MAC.
        let cipher = self.ours.get(2).and_then(|names| names.iter().find(|name| of_host(2).contains(&name.as_str())));
        let needs_mac = !cipher.is_some_and(|name| name.contains("gcm") || name.contains("poly1305"));
        let places = [0, 1, 2, 2, 3, 3];
        let lacking: Vec<(usize, usize)> = places
            .into_iter()
            .enumerate()
            .filter(|(at, kind)| (*kind < 3 || needs_mac) && !self.ours.get(*kind).is_some_and(|ours| meets(ours, *at)))
            .collect();
        let (at, kind) = *lacking.first()?;
        let (what, option, _) = KINDS.get(kind)?;
        let ours = self.ours.get(kind)?.join(", ");
        let helps = lacking.iter().all(|(at, kind)| self.withheld.get(*kind).is_some_and(|old| meets(old, *at)));
        let advice = if helps {
            "; ssh_legacy_algorithms: true offers older ones of the host's, which are no longer considered safe"
                .to_owned()
        } else if of_host(at).iter().all(|name| is_certificate(name)) {
            "; host certificates are not supported: have it offer the plain key, too".to_owned()
        } else if of_host(at).iter().all(|name| is_old(name)) {
            format!("; {OLD_BUILD}")
        } else {
            format!("; allow one of ours there ({option} in sshd_config)")
        };
        let theirs = of_host(at).join(", ");
        Some(format!("no common {what}: the host offers {theirs}; we offer {ours}{advice}"))
    }
}

/// Reads the six lists of names of a host's offer from the first bytes that it sent.
fn read_offer(words: &[u8]) -> Option<Vec<Vec<&str>>> {
    let version = words.windows(4).position(|piece| piece == b"SSH-")?;
    let end = version + words.get(version..)?.iter().position(|byte| *byte == b'\n')? + 1;
    // The length of the packet and that of its padding.
    let mut rest = words.get(end + 5..)?;
    if rest.first() != Some(&KEXINIT) {
        return None;
    }
    rest = rest.get(KEXINIT_HEAD_BYTES..)?;
    let mut lists = Vec::new();
    for _ in 0..6 {
        let (len, after) = rest.split_first_chunk::<4>()?;
        let (list, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
        let names = std::str::from_utf8(list).ok()?.split(',').filter(|name| !is_marker(name));
        lists.push(names.collect());
        rest = after;
    }
    Some(lists)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(lists: [&str; 6]) -> Vec<u8> {
        let mut words = b"welcome\r\nSSH-2.0-x\r\n\0\0\0\0\0\x14".to_vec();
        words.extend_from_slice(&[7; 16]);
        for list in lists {
            words.extend_from_slice(&u32::try_from(list.len()).unwrap().to_be_bytes());
            words.extend_from_slice(list.as_bytes());
        }
        words
    }

    fn said(lists: [&str; 6], has_old: bool) -> Option<String> {
        let mut offer = Offer { has_old, ..Offer::default() };
        for (at, (new, old)) in
            [("kex-new", "kex-sha1"), ("key-new", "ssh-rsa"), ("x-gcm,ctr", "x-cbc"), ("mac-new", "mac-sha1")]
                .into_iter()
                .enumerate()
        {
            let old = old.split(',').map(str::to_owned);
            offer.ours[at] = new.split(',').map(str::to_owned).chain(old.clone().filter(|_| has_old)).collect();
            offer.withheld[at] = old.filter(|_| !has_old).collect();
        }
        offer.disagreement(&words(lists))
    }

    #[test]
    fn both_offers_are_named_and_advice_is_given_only_where_it_fits() {
        let good = ["kex-new,kex-strict-s-v00@openssh.com", "key-new", "ctr", "ctr", "mac-new", "mac-new"];
        let with = |at: usize, list: &'static str| {
            let mut lists = good;
            lists[at] = list;
            lists
        };
        assert_eq!(said(good, false), None);
        assert_eq!(said(with(2, "x-gcm"), false), None);
        for (at, list, has_old, words) in [
            (
                0,
                "mlkem,kex-strict-s-v00@openssh.com",
                false,
                "key exchange: the host offers mlkem; we offer kex-new; allow one of ours there (KexAlgorithms",
            ),
            (0, "kex-sha1", false, "ssh_legacy_algorithms: true offers"),
            (0, "other-sha1", true, "we offer kex-new, kex-sha1; this build has CBC"),
            (1, "ed-cert-v01@openssh.com", false, "host certificates are not supported"),
            (3, "x-cbc", false, "no common cipher: the host offers x-cbc; we offer x-gcm, ctr; ssh_legacy"),
            (5, "umac", false, "no common MAC: the host offers umac; we offer mac-new; allow one of ours there (MACs"),
        ] {
            let text = said(with(at, list), has_old).unwrap_or_default();
            assert!(text.contains(words), "{list}: {text}");
        }
        // If one of two kinds has no algorithm left, older ones of the other kind are useless.
        let mut both = with(0, "kex-sha1");
        both[4] = "umac";
        assert!(!said(both, false).unwrap().contains("ssh_legacy_algorithms"));
    }

    #[test]
    fn an_offer_that_is_none_is_no_disagreement() {
        let whole = words(["a", "b", "c", "d", "e", "f"]);
        for len in 0..whole.len() {
            assert_eq!(Offer::default().disagreement(&whole[..len]), None, "{len}");
        }
        assert!(Offer::default().disagreement(&whole).is_some());
        assert_eq!(Offer::default().disagreement(b"SSH-2.0-x\n\xff\xff\xff\xff\xff\x14\xff"), None);
    }
}

//! The client of a request that came through a proxy: `X-Forwarded-For`, read only from trusted proxies.

use std::net::{IpAddr, SocketAddr};

use crate::model::connection::PeerAddress;
use crate::model::subnet::Subnet;
use crate::wire::http::head::RequestSource;

/// Address ranges.
#[derive(Clone, Default)]
pub struct Ranges(Vec<Subnet>);

impl Ranges {
    /// These ranges.
    #[must_use]
    pub const fn new(ranges: Vec<Subnet>) -> Self {
        Self(ranges)
    }

    #[cfg(test)]
    pub(super) fn one(address: &str, prefix: u8) -> Self {
        Self(vec![Subnet::new(address.parse().expect("an address"), prefix)])
    }

    /// Whether an address is in one of them.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.contains(address.to_canonical()))
    }
}

/// The client: the peer itself, or if that is a trusted proxy, the last address that is not a trusted proxy. What
/// precedes it was written by that client and is ignored, like everything before a word that is not an address.
#[must_use]
pub fn client_of(peer: PeerAddress, source: &RequestSource, trusted: &Ranges) -> PeerAddress {
    let PeerAddress::Ip(mut nearest) = peer else { return peer };
    let entries = source.forwarded_for.iter().rev();
    let mut entries = entries.flat_map(|value| value.rsplit(|byte| *byte == b',')).map(address);
    while trusted.contain(nearest) {
        match entries.next() {
            Some(Some(address)) => nearest = address.to_canonical(),
            Some(None) | None => break,
        }
    }
    PeerAddress::Ip(nearest)
}

/// Reads an address as proxies write it: possibly with a port, and IPv6 then in brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn ranges(all: &[(&str, u8)]) -> Ranges {
        Ranges::new(all.iter().map(|(address, prefix)| Subnet::new(ip(address), *prefix)).collect())
    }

    #[test]
    fn the_right_most_address_that_is_no_trusted_proxy_is_the_client() {
        let trusted = ranges(&[("127.0.0.1", 32), ("10.0.0.0", 8), ("::1", 128)]);
        for (peer, headers, expected) in [
            ("192.0.2.9", &["198.51.100.1"][..], "192.0.2.9"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("127.0.0.1", &["127.0.0.1, 198.51.100.1"], "198.51.100.1"),
            ("127.0.0.1", &["203.0.113.5, 198.51.100.1, 10.1.2.3"], "198.51.100.1"),
            ("127.0.0.1", &["203.0.113.5", "198.51.100.1,10.1.2.3"], "198.51.100.1"),
            ("127.0.0.1", &["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
            ("127.0.0.1", &["unknown"], "127.0.0.1"),
            ("127.0.0.1", &["203.0.113.5, , 10.0.0.2"], "10.0.0.2"),
            ("::1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("::ffff:127.0.0.1", &["198.51.100.1:80"], "198.51.100.1"),
        ] {
            let forwarded_for = headers.iter().map(|value| value.as_bytes().into()).collect();
            let source = RequestSource { forwarded_for, ..RequestSource::default() };
            let client = client_of(PeerAddress::Ip(ip(peer)), &source, &trusted);
            assert_eq!(client, PeerAddress::Ip(ip(expected)), "{peer} {headers:?}");
        }
        let nobody = Ranges::default();
        let source = RequestSource { forwarded_for: vec![b"1.2.3.4"[..].into()], ..RequestSource::default() };
        assert_eq!(client_of(PeerAddress::Ip(ip("127.0.0.1")), &source, &nobody), PeerAddress::Ip(ip("127.0.0.1")));
        assert_eq!(client_of(PeerAddress::Local, &source, &trusted), PeerAddress::Local);
    }

    #[test]
    fn ranges_hold_whole_prefixes_of_their_own_family() {
        let some = ranges(&[("127.0.0.1", 32), ("10.30.2.0", 16), ("2001:db8::", 32)]);
        for good in ["127.0.0.1", "10.30.255.1", "::ffff:127.0.0.1", "2001:db8:1::2"] {
            assert!(some.contain(ip(good)), "{good}");
        }
        for bad in ["127.0.0.2", "10.31.0.1", "::1", "2001:db9::"] {
            assert!(!some.contain(ip(bad)), "{bad}");
        }
        let everyone = ranges(&[("0.0.0.0", 0)]);
        assert!(everyone.contain(ip("192.0.2.1")) && !everyone.contain(ip("::1")));
    }
}

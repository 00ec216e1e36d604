//! Parses addresses, ports and address ranges of the configuration files.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::subnet::Subnet;

/// The forms that [`host_and_port`] accepts, for messages.
pub(super) const LISTENER: &str =
    "'*:PORT', 'ADDRESS:PORT' or '[IPv6 address]:PORT', PORT from 1 to 65535, for instance '*:5556'";

/// Splits `*:5556`, `192.0.2.1:5556`, `[::]:5556` or `name:5556`; an IPv6 address is returned without its brackets.
#[must_use]
pub fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port_number(port)?;
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address: Ipv6Addr = inner.parse().ok()?;
        return Some((address.to_string(), port));
    }
    if host == "*" || is_host_name(host) { Some((host.to_owned(), port)) } else { None }
}

/// Parses the host of a connection to open: a name, an IPv4 address, or an IPv6 address with or without brackets, which
/// are removed.
#[must_use]
pub fn host(text: &str) -> Option<String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<Ipv6Addr>() {
        return Some(address.to_string());
    }
    is_host_name(text).then(|| text.to_owned())
}

/// Parses a port from 1 to 65535.
pub(super) fn port_number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok().filter(|port| *port != 0) } else { None }
}

/// Whether `text` consists of letters, digits, `-`, `_` and `.`; text that looks like an IPv4 address must be one.
fn is_host_name(text: &str) -> bool {
    let letters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let edges = !text.starts_with(['-', '.']) && !text.contains("..");
    !text.is_empty() && text.len() <= 253 && letters && edges && (!numeric || text.parse::<Ipv4Addr>().is_ok())
}

/// Parses the address of a listener of the REST API.
pub(super) fn listen_address(text: &str) -> Option<IpAddr> {
    match text {
        "*" => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        _ => {
            let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
            bare.parse().ok()
        }
    }
}

/// Parses `192.0.2.0/24`, `192.0.2.0/255.255.255.0`, `2001:db8::/32` or a single address.
pub(super) fn subnet(text: &str) -> Option<Subnet> {
    let (address, mask) = match text.split_once('/') {
        Some((address, mask)) => (address, Some(mask)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match mask {
        None => most,
        Some(mask) if address.is_ipv4() && mask.contains('.') => {
            let bits = mask.parse::<Ipv4Addr>().ok()?.to_bits();
            // A valid mask consists of ones followed by zeros.
            if bits.leading_ones().checked_add(bits.trailing_zeros()) != Some(32) {
                return None;
            }
            u8::try_from(bits.leading_ones()).ok()?
        }
        Some(mask) if mask.bytes().all(|byte| byte.is_ascii_digit()) => mask.parse().ok()?,
        Some(_) => return None,
    };
    if prefix <= most { Some(Subnet { address, prefix }) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_in_all_their_forms() {
        for (text, host, port) in [
            ("*:5556", "*", 5556),
            ("127.0.0.1:1", "127.0.0.1", 1),
            ("[::]:5556", "::", 5556),
            ("[2001:db8::1]:65535", "2001:db8::1", 65535),
            ("central.example.org:5556", "central.example.org", 5556),
        ] {
            assert_eq!(host_and_port(text), Some((host.to_owned(), port)), "{text}");
        }
        for text in [
            "",
            "*",
            "5556",
            ":5556",
            "*:0",
            "*:65536",
            "*:+1",
            "::1:5556",
            "[::1]5556",
            "[::1",
            "1.2.3:1",
            "300.1.1.1:1",
            "tcp://*:5556",
            "a b:1",
            "*:*",
        ] {
            assert_eq!(host_and_port(text), None, "{text}");
        }
    }

    #[test]
    fn subnets_take_a_prefix_a_mask_or_nothing() {
        let read = |text| subnet(text).map(|subnet| (subnet.address.to_string(), subnet.prefix));
        assert_eq!(read("127.0.0.1/32"), Some(("127.0.0.1".into(), 32)));
        assert_eq!(read("10.30.2.0/255.255.0.0"), Some(("10.30.2.0".into(), 16)));
        assert_eq!(read("0.0.0.0/0"), Some(("0.0.0.0".into(), 0)));
        assert_eq!(read("0.0.0.0/0.0.0.0"), Some(("0.0.0.0".into(), 0)));
        assert_eq!(read("2001:db8::/32"), Some(("2001:db8::".into(), 32)));
        assert_eq!(read("192.0.2.1"), Some(("192.0.2.1".into(), 32)));
        for text in
            ["", "localhost", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0.0/255.0.255.0", "::/129", "10/8"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_host_may_be_a_name_or_an_address() {
        assert_eq!(host("[::1]"), Some("::1".into()));
        assert_eq!(host("::1"), Some("::1".into()));
        assert_eq!(host("poller-1.example.org"), Some("poller-1.example.org".into()));
        for text in ["*", "", "10.0.0.1:5556", "300.0.0.1", "a/b", "-x", "é"] {
            assert_eq!(host(text), None, "{text}");
        }
    }
}

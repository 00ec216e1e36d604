//! Host names to addresses.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// Reads a literal IPv4 or IPv6 address, with or without brackets; `None` for a name, which needs [`resolve`].
#[must_use]
pub fn parse_literal(host: &str, port: u16) -> Option<SocketAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, port))
}

/// Asks the system's resolver. May block for many seconds, so it runs on a worker thread.
///
/// # Errors
/// A sentence that names the host and the remedy. A success contains at least one address.
pub fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if let Some(address) = parse_literal(host, port) {
        return Ok(vec![address]);
    }
    if host.is_empty() || host.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(format!("'{}' is not a host name: give a name or an address", host.escape_debug()));
    }
    let found: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("cannot find the address of host '{host}': {error}; check the name and the DNS"))?
        .collect();
    if found.is_empty() { Err(format!("host '{host}' has no address; check the DNS")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_addresses_need_no_resolver() {
        assert_eq!(parse_literal("192.0.2.1", 5), Some("192.0.2.1:5".parse().unwrap()));
        assert_eq!(parse_literal("::1", 5), Some("[::1]:5".parse().unwrap()));
        assert_eq!(parse_literal("[::1]", 5), Some("[::1]:5".parse().unwrap()));
        assert_eq!(parse_literal("poller.example", 5), None);
    }

    #[test]
    fn a_name_that_cannot_be_one_is_refused_with_its_name() {
        assert!(resolve("a b", 1).unwrap_err().contains("'a b'"));
        assert!(resolve("", 1).is_err());
        assert!(!resolve("localhost", 1).unwrap().is_empty());
    }
}

//! What listens and is connected on this machine, by the kernel's tables (proc(5)).

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};

/// A line of `/proc/net/tcp` or `tcp6`.
struct Line {
    local_port: u16,
    remote: (String, u16),
    state: String,
    inode: u64,
}

fn lines() -> Vec<Line> {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let text = read("/proc/net/tcp") + "\n" + &read("/proc/net/tcp6");
    text.lines().filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Line> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let port = |text: &str| u16::from_str_radix(text, 16).ok();
    let (_, local) = fields.get(1)?.split_once(':')?;
    let (remote, remote_port) = fields.get(2)?.split_once(':')?;
    Some(Line {
        local_port: port(local)?,
        remote: (remote.to_ascii_uppercase(), port(remote_port)?),
        state: (*fields.get(3)?).to_owned(),
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// The ports on which something on this machine listens.
pub(super) fn listening_ports() -> BTreeSet<u16> {
    lines().into_iter().filter(|line| line.state == "0A").map(|line| line.local_port).collect()
}

/// Whether `address` is one of this machine.
pub(super) fn is_here(address: IpAddr) -> bool {
    // Only an address of this machine can be bound.
    address.is_loopback() || std::net::UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
}

/// Whether process `process` has an established connection to port `port`.
#[must_use]
pub fn holds_connection(process: u32, port: u16) -> bool {
    let sockets = sockets_of(process);
    lines().iter().any(|line| line.state == "01" && line.remote.1 == port && sockets.contains(&line.inode))
}

/// The port of the peer of an established connection that process `process` has accepted on `port`.
#[must_use]
pub fn accepted_on(process: u32, port: u16) -> Option<u16> {
    let sockets = sockets_of(process);
    let mut lines = lines().into_iter();
    let line = lines.find(|line| line.state == "01" && line.local_port == port && sockets.contains(&line.inode))?;
    Some(line.remote.1)
}

/// The inodes of the sockets of a process; none if it is not ours to look at.
fn sockets_of(process: u32) -> BTreeSet<u64> {
    let open = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().filter_map(Result::ok);
    let inode =
        |link: std::path::PathBuf| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok();
    open.filter_map(|file| inode(fs::read_link(file.path()).ok()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_listener_and_connection_are_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listening_ports().contains(&port));
        assert!(!holds_connection(std::process::id(), port));
        let connection = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let client = connection.local_addr().unwrap().port();
        let _accepted = listener.accept().unwrap();
        assert!(holds_connection(std::process::id(), port));
        assert_eq!(accepted_on(std::process::id(), port), Some(client));
        assert!(is_here("127.0.0.1".parse().unwrap()) && !is_here("192.0.2.1".parse().unwrap()));
    }
}

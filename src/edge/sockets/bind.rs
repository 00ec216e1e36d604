//! Binds a TCP port. Fails with the name of the process if one listens there. Succeeds although old connections of an
//! earlier daemon linger.
//!
//! A Perl daemon binds only with `SO_REUSEPORT`, and its connections stay in TIME-WAIT with that option for a minute.
//! Linux allows another socket beside them only if both have the option, so it is tried if `SO_REUSEADDR` is not
//! enough.
//! Connections that we accept get the option too, so that a Perl daemon can start after us. The listener itself does
//! not keep it, so that the port stays ours.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::sockopt::{set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};

/// Why a port cannot be bound.
pub enum Refused {
    /// The port has a listener, with its process if visible.
    Listened(Option<String>),
    /// Anything else.
    Other(io::Error),
}

/// A non-blocking listening socket. At most `backlog` connections wait to be accepted.
pub fn listen_on(address: SocketAddr, backlog: i32) -> Result<std::net::TcpListener, Refused> {
    match open(address, backlog, false) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
        opened => return opened.map_err(Refused::Other),
    }
    if let Some(inode) = listener_of(address) {
        return Err(Refused::Listened(process_with(inode).map(|(_, text)| text)));
    }
    open(address, backlog, true).map_err(Refused::Other)
}

fn open(address: SocketAddr, backlog: i32, reuse_port: bool) -> io::Result<std::net::TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    set_socket_reuseaddr(&socket, true)?;
    set_socket_reuseport(&socket, reuse_port)?;
    bind(&socket, &address)?;
    listen(&socket, backlog)?;
    // From now on nobody else may listen on the port.
    set_socket_reuseport(&socket, false)?;
    Ok(OwnedFd::into(socket))
}

/// Lets a daemon that binds with `SO_REUSEPORT` start while this accepted connection is in TIME-WAIT.
pub fn allow_rebinding(connection: &impl AsFd) {
    // Without this option such a daemon has to wait for a minute.
    let _not_supported = set_socket_reuseport(connection, true);
}

/// Whether somebody listens at `address`, and which process if visible.
pub fn listener(address: SocketAddr) -> Option<Option<(u32, String)>> {
    listener_of(address).map(process_with)
}

/// The inode of a socket that listens at `address`.
fn listener_of(address: SocketAddr) -> Option<u64> {
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|file| {
        let table = fs::read_to_string(file).ok()?;
        table.lines().skip(1).find_map(|line| listening(line, address))
    })
}

/// The inode in a line of `/proc/net/tcp` (proc(5)) if it is a listener at `address` or at all addresses.
fn listening(line: &str, address: SocketAddr) -> Option<u64> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_whitespace();
    let (host, port) = fields.nth(1)?.split_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let is_all = host.bytes().all(|digit| digit == b'0');
    let meets = is_all || address.ip().is_unspecified() || host.eq_ignore_ascii_case(&hex(address.ip()));
    (state == LISTEN && port == address.port() && meets).then_some(inode)
}

/// An address as the kernel prints it: words of 32 bits in its own byte order.
fn hex(address: IpAddr) -> String {
    let bytes = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let words = bytes.as_chunks::<4>().0;
    words.iter().map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect()
}

/// The id and `'name' (process 123)` of a process that holds the socket with this inode; `None` if not visible.
fn process_with(inode: u64) -> Option<(u32, String)> {
    let wanted = format!("socket:[{inode}]");
    let mut processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    processes.find_map(|process| {
        let id: u32 = process.file_name().to_str()?.parse().ok()?;
        let mut open = fs::read_dir(process.path().join("fd")).ok()?.filter_map(Result::ok);
        open.find(|file| fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str()))?;
        let name = fs::read_to_string(process.path().join("comm")).ok()?;
        Some((id, format!("'{}' (process {id})", name.trim().escape_debug())))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// Returns a listener that is bound as a Perl daemon does.
    fn perl_like(port: u16) -> io::Result<TcpListener> {
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        set_socket_reuseport(&socket, true)?;
        bind(&socket, &SocketAddr::from((HERE, port)))?;
        listen(&socket, 16)?;
        Ok(OwnedFd::into(socket))
    }

    /// Leaves a connection of `listener` in TIME-WAIT by closing its end first.
    fn leave_time_wait(listener: TcpListener) {
        listener.set_nonblocking(false).unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        allow_rebinding(&far);
        drop((far, listener));
        assert_eq!(near.read(&mut [0]).unwrap(), 0);
    }

    /// A command started by another test may hold a copy of a listener for a moment.
    fn until_free<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
        let start = std::time::Instant::now();
        loop {
            if let Some(value) = attempt() {
                return value;
            }
            assert!(start.elapsed().as_secs() < 20, "the port is not free");
        }
    }

    #[test]
    fn a_port_is_ours_at_once_after_a_daemon_that_bound_with_reuse_port_alone_and_theirs_after_us() {
        let theirs = perl_like(0).unwrap();
        let address = theirs.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let (far, _) = theirs.accept().unwrap();
        drop((far, theirs));
        drop(client);
        let ours = until_free(|| listen_on(address, 16).ok());
        leave_time_wait(ours);
        until_free(|| perl_like(address.port()).ok());
    }

    #[test]
    fn a_port_on_which_somebody_listens_is_refused_with_the_name_of_the_process() {
        for theirs in [perl_like(0).unwrap(), TcpListener::bind((HERE, 0)).unwrap()] {
            let address = theirs.local_addr().unwrap();
            let everywhere = SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, address.port()));
            for wanted in [address, everywhere] {
                let Err(Refused::Listened(Some(process))) = listen_on(wanted, 16) else { panic!("{wanted}") };
                assert!(process.contains(&format!("(process {})", std::process::id())), "{process}");
            }
        }
        let ours = listen_on(SocketAddr::from((HERE, 0)), 16).ok().unwrap();
        assert!(matches!(listen_on(ours.local_addr().unwrap(), 16), Err(Refused::Listened(_))));
        assert!(perl_like(ours.local_addr().unwrap().port()).is_err(), "the port is ours alone");
    }

    #[test]
    fn lines_of_the_kernels_table_are_read() {
        let line =
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0";
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        #[cfg(target_endian = "little")]
        assert_eq!(listening(line, address("127.0.0.1:8080")), Some(12_345));
        assert_eq!(listening(line, address("0.0.0.0:8080")), Some(12_345));
        assert_eq!(listening(line, address("127.0.0.1:8081")), None);
        assert_eq!(listening(line, address("127.0.0.2:8080")), None);
        assert_eq!(listening(&line.replace(" 0A ", " 06 "), address("127.0.0.1:8080")), None);
        let everywhere = line.replace("0100007F", "00000000000000000000000000000000");
        assert_eq!(listening(&everywhere, address("127.0.0.1:8080")), Some(12_345));
    }
}

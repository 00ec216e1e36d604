//! Reports our state to the service manager (systemd) by the `sd_notify` protocol: datagrams to `$NOTIFY_SOCKET`.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The states reported to the service manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState {
    /// The start is complete.
    Ready,
    /// The stop has begun.
    Stopping,
    /// The loop is running.
    Alive,
}

/// Reports to the service manager, if there is one. Never blocks.
///
/// # Errors
/// A sentence for the log.
pub fn notify(state: ServiceState) -> Result<(), String> {
    match std::env::var_os("NOTIFY_SOCKET") {
        Some(socket) if !socket.is_empty() => send(&socket, state),
        _ => Ok(()),
    }
}

/// Half the interval in which the service manager expects [`ServiceState::Alive`], so that one late message does no
/// harm; `None` if it does not expect it, or expects it from another process.
#[must_use]
pub fn watchdog_period() -> Option<Duration> {
    let variable = |name| std::env::var(name).ok();
    period(variable("WATCHDOG_USEC").as_deref(), variable("WATCHDOG_PID").as_deref(), std::process::id())
}

fn period(micros: Option<&str>, process: Option<&str>, own: u32) -> Option<Duration> {
    if process.is_some_and(|process| process.parse() != Ok(own)) {
        return None;
    }
    let micros: u64 = micros?.parse().ok().filter(|micros| *micros > 0)?;
    Some(Duration::from_micros(micros / 2).max(Duration::from_millis(1)))
}

/// Sends to a path, or to an abstract socket if the name begins with `@`.
fn send(socket: &OsStr, state: ServiceState) -> Result<(), String> {
    let text: &[u8] = match state {
        ServiceState::Ready => b"READY=1",
        ServiceState::Stopping => b"STOPPING=1",
        ServiceState::Alive => b"WATCHDOG=1",
    };
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(socket),
    };
    let sent = address.and_then(|address| {
        let datagram = UnixDatagram::unbound()?;
        datagram.set_nonblocking(true)?;
        datagram.send_to_addr(text, &address)
    });
    sent.map(|_| ()).map_err(|error| format!("cannot tell the service manager at '{}': {error}", socket.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::temp_dir::TempDir;

    fn received(datagram: &UnixDatagram) -> Vec<u8> {
        let mut bytes = [0_u8; 64];
        let length = datagram.recv(&mut bytes).unwrap();
        bytes[..length].to_vec()
    }

    #[test]
    fn readiness_reaches_a_socket_in_the_file_system() {
        let dir = TempDir::new();
        let path = dir.join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), ServiceState::Ready).unwrap();
        assert_eq!(received(&manager), b"READY=1");
    }

    #[test]
    fn stopping_reaches_an_abstract_socket() {
        let name = format!("stheno-notify-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(OsStr::new(&format!("@{name}")), ServiceState::Stopping).unwrap();
        assert_eq!(received(&manager), b"STOPPING=1");
    }

    #[test]
    fn the_watchdog_is_told_twice_in_its_time_and_only_by_the_process_that_was_asked() {
        assert_eq!(period(Some("30000000"), Some("7"), 7), Some(Duration::from_secs(15)));
        assert_eq!(period(Some("30000000"), None, 7), Some(Duration::from_secs(15)));
        assert_eq!(period(Some("30000000"), Some("8"), 7), None);
        assert_eq!(period(Some("1"), None, 7), Some(Duration::from_millis(1)));
        for nothing in [None, Some(""), Some("0"), Some("soon"), Some("-1")] {
            assert_eq!(period(nothing, None, 7), None, "{nothing:?}");
        }
    }

    #[test]
    fn a_manager_that_is_gone_gives_a_sentence_that_names_it() {
        assert!(
            send(OsStr::new("/nonexistent/notify"), ServiceState::Ready).unwrap_err().contains("/nonexistent/notify")
        );
    }
}

//! A cable between two daemons: a TCP relay of the test that can break, stall and slow down.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// The state of a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Whole,
    /// New connections are closed at once; open ones are broken.
    Cut,
    /// Bytes wait, without an error.
    Stalled,
    /// Bytes pass in small pieces.
    Slow,
    /// The test has ended.
    Over,
}

struct Shared {
    state: State,
    streams: Vec<TcpStream>,
}

/// Connections to [`Link::port`] are relayed to the port that the link was made for.
pub struct Link {
    pub port: u16,
    shared: Arc<Mutex<Shared>>,
}

fn locked(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Link {
    /// Opens a port that leads to `target`, both on 127.0.0.1.
    pub fn to(target: u16) -> Self {
        let port = crate::platform::free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let shared = Arc::new(Mutex::new(Shared { state: State::Whole, streams: Vec::new() }));
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = locked(&theirs).state;
                match state {
                    State::Over => return,
                    State::Cut => {}
                    _ => connect(&theirs, stream, target),
                }
            }
        });
        Self { port, shared }
    }

    /// Changes the state of the cable. Cutting it breaks its connections.
    pub fn set(&self, state: State) {
        locked(&self.shared).state = state;
        if matches!(state, State::Cut | State::Over) {
            self.break_connections();
        }
    }

    /// Breaks the current connections.
    pub fn break_connections(&self) {
        for stream in locked(&self.shared).streams.drain(..) {
            let _closed_already = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.set(State::Over);
        // This wakes the listener, which then ends.
        let _closed = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn connect(shared: &Arc<Mutex<Shared>>, near: TcpStream, target: u16) {
    let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else { return };
    let _late = (near.set_nodelay(true), far.set_nodelay(true));
    for (from, to) in [(&near, &far), (&far, &near)] {
        let (Ok(from), Ok(to), Ok(kept)) = (from.try_clone(), to.try_clone(), from.try_clone()) else { return };
        locked(shared).streams.push(kept);
        let shared = Arc::clone(shared);
        thread::spawn(move || pump(&shared, from, to));
    }
}

fn pump(shared: &Mutex<Shared>, mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(len @ 1..) = from.read(&mut bytes) {
        while locked(shared).state == State::Stalled {
            thread::sleep(Duration::from_millis(20));
        }
        let slow = locked(shared).state == State::Slow;
        for piece in bytes[..len].chunks(if slow { 300 } else { len }) {
            if to.write_all(piece).is_err() {
                break;
            }
            if slow {
                thread::sleep(Duration::from_millis(2));
            }
        }
    }
    let _closed_already = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

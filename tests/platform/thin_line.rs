//! A line between two daemons on loopback that counts bytes, and is as thin and as long as a test says.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::free_port;

struct Shared {
    /// Bytes from the end that connected, and to it.
    bytes: [AtomicU64; 2],
    bytes_per_second: AtomicU64,
    delay: Duration,
    open: Mutex<Vec<TcpStream>>,
    is_over: AtomicBool,
}

/// The line, which ends when this value is dropped.
pub struct ThinLine {
    /// The port on which it listens.
    pub port: u16,
    shared: Arc<Shared>,
}

impl ThinLine {
    /// Starts a line to `target` that carries as much in each direction, and takes `delay` for one way.
    pub fn new(target: u16, bytes_per_second: u64, delay: Duration) -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let shared = Arc::new(Shared {
            bytes: [AtomicU64::new(0), AtomicU64::new(0)],
            bytes_per_second: AtomicU64::new(bytes_per_second),
            delay,
            open: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let state = Arc::clone(&shared);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if state.is_over.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(far) = TcpStream::connect(("127.0.0.1", target)) {
                    state.carry(&near, &far);
                }
            }
        });
        Self { port, shared }
    }

    /// The bytes from the end that connected, and to it, since the last call.
    pub fn take_bytes(&self) -> [u64; 2] {
        [0, 1].map(|way: usize| self.shared.bytes[way].swap(0, Ordering::SeqCst))
    }

    /// Makes it thinner or wider.
    pub fn carries(&self, bytes_per_second: u64) {
        self.shared.bytes_per_second.store(bytes_per_second, Ordering::SeqCst);
    }

    /// Closes all connections.
    pub fn cut(&self) {
        for stream in self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ended = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for ThinLine {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.cut();
        let _wakes = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn carry(self: &Arc<Self>, near: &TcpStream, far: &TcpStream) {
        for (from, to, way) in [(near, far, 0), (far, near, 1)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            to.set_nodelay(true).unwrap();
            self.open.lock().unwrap().push(from.try_clone().unwrap());
            let shared = Arc::clone(self);
            thread::spawn(move || {
                let _ended = shared.pass_on(&from, &to, way);
                for stream in [from, to] {
                    let _ended = stream.shutdown(Shutdown::Both);
                }
            });
        }
    }

    fn pass_on(&self, mut from: &TcpStream, to: &TcpStream, way: usize) -> io::Result<()> {
        let (on_the_way, arriving) = mpsc::channel::<(Instant, Vec<u8>)>();
        let mut to = to.try_clone()?;
        let writer = thread::spawn(move || {
            for (due, bytes) in arriving {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if to.write_all(&bytes).is_err() {
                    return;
                }
            }
        });
        let mut bytes = [0; 1_024];
        loop {
            let count = from.read(&mut bytes)?;
            if count == 0 {
                break;
            }
            let count_bytes = u64::try_from(count).unwrap();
            self.bytes[way].fetch_add(count_bytes, Ordering::SeqCst);
            let rate = self.bytes_per_second.load(Ordering::SeqCst);
            thread::sleep(Duration::from_micros(count_bytes * 1_000_000 / rate));
            if on_the_way.send((Instant::now() + self.delay, bytes[..count].to_vec())).is_err() {
                break;
            }
        }
        drop(on_the_way);
        let _written = writer.join();
        Ok(())
    }
}

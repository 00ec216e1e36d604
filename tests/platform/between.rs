//! A proxy on loopback that reads ZMTP and treats the messages as a test says.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::free_port;

/// What happens to a message. The flag says whether it comes from the end that connected.
pub type Meddle = Box<dyn FnMut(bool, Vec<u8>) -> Vec<Vec<u8>> + Send>;

struct Shared {
    meddle: Mutex<Meddle>,
    open: Mutex<Vec<TcpStream>>,
    is_over: AtomicBool,
}

/// The proxy, which ends when this value is dropped.
pub struct Between {
    /// The port on which it listens.
    pub port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Between {
    /// Starts a proxy that passes everything on to `target`.
    pub fn new(target: u16) -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let shared = Arc::new(Shared {
            meddle: Mutex::new(Box::new(|_, message| vec![message])),
            open: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let state = Arc::clone(&shared);
        let acceptor = thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if state.is_over.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(far) = TcpStream::connect(("127.0.0.1", target)) {
                    state.carry(&near, &far);
                }
            }
        });
        Self { port, shared, acceptor: Some(acceptor) }
    }

    /// Lets `meddle` decide from now on, also for new connections.
    pub fn meddle(&self, meddle: impl FnMut(bool, Vec<u8>) -> Vec<Vec<u8>> + Send + 'static) {
        *self.shared.meddle.lock().unwrap() = Box::new(meddle);
    }

    /// Closes all connections.
    pub fn cut(&self) {
        for stream in self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ended = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.cut();
        let _wakes = TcpStream::connect(("127.0.0.1", self.port));
        self.acceptor.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn carry(self: &Arc<Self>, near: &TcpStream, far: &TcpStream) {
        for (from, to, is_near) in [(near, far, true), (far, near, false)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            self.open.lock().unwrap().push(from.try_clone().unwrap());
            let shared = Arc::clone(self);
            thread::spawn(move || {
                let _ended = shared.pass_on(&from, &to, is_near);
                for stream in [from, to] {
                    let _ended = stream.shutdown(Shutdown::Both);
                }
            });
        }
    }

    fn pass_on(&self, mut from: &TcpStream, mut to: &TcpStream, is_near: bool) -> io::Result<()> {
        let mut greeting = [0; 64];
        from.read_exact(&mut greeting)?;
        to.write_all(&greeting)?;
        loop {
            let mut flags = [0];
            from.read_exact(&mut flags)?;
            let mut length = [0; 8];
            from.read_exact(if flags[0] & 2 == 0 { &mut length[7..] } else { &mut length })?;
            let mut body = vec![0; usize::try_from(u64::from_be_bytes(length)).unwrap()];
            from.read_exact(&mut body)?;
            let is_command = flags[0] & 4 != 0;
            let bodies = if is_command { vec![body] } else { self.meddle.lock().unwrap()(is_near, body) };
            for body in bodies {
                let header = [vec![flags[0] & 4 | 2], u64::try_from(body.len()).unwrap().to_be_bytes().to_vec()];
                to.write_all(&[header.concat(), body].concat())?;
            }
        }
    }
}

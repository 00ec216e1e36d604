//! Two sessions joined by pipes of a bounded size instead of sockets.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::rc::Rc;

use crate::edge::tls::session::Session;

#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    has_ended: bool,
}

/// One end of a connection; it takes at most `capacity` bytes that the other end has not read.
pub(super) struct End {
    incoming: Rc<RefCell<Pipe>>,
    outgoing: Rc<RefCell<Pipe>>,
    capacity: usize,
}

pub(super) fn pipes(capacity: usize) -> (End, End) {
    let (there, back) = (Rc::new(RefCell::new(Pipe::default())), Rc::new(RefCell::new(Pipe::default())));
    let near = End { incoming: Rc::clone(&back), outgoing: Rc::clone(&there), capacity };
    (near, End { incoming: there, outgoing: back, capacity })
}

impl End {
    pub(super) fn end(&self) {
        self.outgoing.borrow_mut().has_ended = true;
    }
}

impl Read for End {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut pipe = self.incoming.borrow_mut();
        if pipe.bytes.is_empty() && !pipe.has_ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        pipe.bytes.read(bytes)
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut pipe = self.outgoing.borrow_mut();
        let room = self.capacity.saturating_sub(pipe.bytes.len()).min(bytes.len());
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        pipe.bytes.write(&bytes[..room])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A session with its end of the pipe.
pub(super) struct Peer {
    pub(super) session: Session,
    pub(super) end: End,
    pub(super) received: Vec<u8>,
    pub(super) has_ended: bool,
}

pub(super) fn join(client: Session, server: Session, capacity: usize) -> (Peer, Peer) {
    let peer = |session, end| Peer { session, end, received: Vec::new(), has_ended: false };
    let (near, far) = pipes(capacity);
    (peer(client, near), peer(server, far))
}

fn unless_blocked<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Peer {
    /// Writes from `unsent` and reads, as far as the pipes allow.
    pub(super) fn step(&mut self, unsent: &mut &[u8]) -> io::Result<()> {
        unless_blocked(self.session.flush(&mut self.end))?;
        if !unsent.is_empty()
            && let Some(len) = unless_blocked(self.session.write(&mut self.end, unsent))?
        {
            *unsent = &unsent[len..];
        }
        let mut bytes = [0; 5_000];
        match unless_blocked(self.session.read(&mut self.end, &mut bytes))? {
            Some(0) => self.has_ended = true,
            Some(len) => self.received.extend_from_slice(&bytes[..len]),
            None => {}
        }
        Ok(())
    }
}

/// Sends `there` from the client and `back` from the server until both have received everything.
pub(super) fn exchange(client: &mut Peer, server: &mut Peer, mut there: &[u8], mut back: &[u8]) -> io::Result<()> {
    let wanted = (client.received.len() + back.len(), server.received.len() + there.len());
    for _ in 0..100_000 {
        if client.received.len() >= wanted.0 && server.received.len() >= wanted.1 {
            return Ok(());
        }
        let stepped = client.step(&mut there);
        let server_stepped = server.step(&mut back);
        stepped.and(server_stepped)?;
    }
    panic!("the peers wait for each other");
}

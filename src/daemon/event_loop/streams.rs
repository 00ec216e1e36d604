//! The sockets of the loop: accepts, reads within a budget and writes the send queues.

mod connecting;

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::event::Event;
use mio::{Interest, Registry, Token};

use crate::daemon::dispatch::Dispatch;
use crate::edge::sockets::{HandshakeStep, Stream};
use crate::model::connection::ConnectionId;
use crate::model::time::Now;

use super::storage::JobResult;
use super::workers::Rank;
use super::{EventLoop, SourceMap, stream_source};

/// Size in bytes of the read buffer. All connections share it, so an idle connection needs none.
const READ_BYTES: usize = 64 << 10;
/// Maximum number of bytes read from one connection in one turn.
const READS_PER_TURN: usize = 2;
/// Maximum number of TLS handshake steps in one turn; each takes up to a millisecond.
const HANDSHAKES_PER_TURN: usize = 16;

/// Maximum number of unauthenticated connections read in one turn.
const STRANGERS_PER_TURN: usize = 16;

/// Number of bytes received or sent after which returning memory to the system is worthwhile.
const BURST_BYTES: usize = 2 << 20;

enum State {
    /// The connection is being opened; with the addresses to try if it fails.
    Connecting(Vec<SocketAddr>),
    Open,
    /// The last bytes are being sent.
    Closing,
    /// Our last bytes are sent. What the peer still sends is read and discarded: closing at once would reset the
    /// connection, and the peer could lose our last bytes.
    Draining,
}

struct Entry {
    connection: ConnectionId,
    stream: Stream,
    state: State,
    /// Whether there is something to read; mio reports it only once.
    readable: bool,
    /// Whether the peer has sent its last byte; no further event reports it.
    ended: bool,
}

pub(super) struct Streams {
    entries: SourceMap<Entry>,
    /// Open connections that have something to read and should be read.
    reading: BTreeSet<usize>,
    /// Connections whose socket is full or whose TLS handshake is in progress.
    blocked: BTreeSet<usize>,
    /// Connections whose TLS layer has bytes to write and may write again.
    unflushed: BTreeSet<usize>,
    /// Connections whose socket has room again.
    unblocked: Vec<usize>,
    /// The unauthenticated connection that was read last.
    last_stranger: usize,
    buffer: Box<[u8]>,
    /// Number of bytes received and sent since the last burst.
    moved_bytes: usize,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self {
            entries: SourceMap::default(),
            reading: BTreeSet::new(),
            blocked: BTreeSet::new(),
            unflushed: BTreeSet::new(),
            unblocked: Vec::new(),
            last_stranger: 0,
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            moved_bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn has_readable(&self) -> bool {
        !self.reading.is_empty()
    }

    /// Whether [`BURST_BYTES`] were received or sent since the last call that returned `true`.
    pub(super) fn take_burst(&mut self) -> bool {
        let burst = self.moved_bytes >= BURST_BYTES;
        if burst {
            self.moved_bytes = 0;
        }
        burst
    }

    pub(super) fn all_flushed(&self) -> bool {
        self.blocked.is_empty() && self.unblocked.is_empty() && self.unflushed.is_empty()
    }

    pub(super) fn insert_accepted(
        &mut self,
        connection: ConnectionId,
        stream: Stream,
        registry: &Registry,
    ) -> io::Result<()> {
        self.insert(connection, stream, State::Open, registry)
    }

    fn insert(
        &mut self,
        connection: ConnectionId,
        mut stream: Stream,
        state: State,
        registry: &Registry,
    ) -> io::Result<()> {
        let source = stream_source(connection);
        registry.register(&mut stream, Token(source), Interest::READABLE | Interest::WRITABLE)?;
        self.entries.insert(source, Entry { connection, stream, state, readable: false, ended: false });
        Ok(())
    }

    pub(super) fn close(&mut self, connection: ConnectionId, registry: &Registry) {
        let source = stream_source(connection);
        drop(self.take_out(connection, registry));
        self.reading.remove(&source);
        self.blocked.remove(&source);
        self.unflushed.remove(&source);
    }

    /// Takes a connection out, for another part of the loop.
    pub(super) fn take_out(&mut self, connection: ConnectionId, registry: &Registry) -> Option<Stream> {
        let mut entry = self.entries.remove(&stream_source(connection))?;
        let _already_gone = registry.deregister(&mut entry.stream);
        Some(entry.stream)
    }

    pub(super) fn shutdown(&mut self, connection: ConnectionId) {
        let source = stream_source(connection);
        if let Some(entry) = self.entries.get_mut(&source) {
            // An error means that the peer is already gone.
            let _gone = entry.stream.shutdown_write();
            if entry.stream.wants_flush() {
                self.unflushed.insert(source);
            }
        }
    }

    pub(super) fn close_after_flush(&mut self, connection: ConnectionId) {
        let source = stream_source(connection);
        if let Some(entry) = self.entries.get_mut(&source) {
            entry.state = State::Closing;
            self.reading.remove(&source);
        }
    }

    fn want(&mut self, source: usize, dispatch: &Dispatch) {
        let wanted = self.entries.get(&source).is_some_and(|entry| {
            entry.readable
                && match entry.state {
                    State::Open => dispatch.wants_read(entry.connection),
                    State::Draining => true,
                    State::Connecting(_) | State::Closing => false,
                }
        });
        if wanted {
            self.reading.insert(source);
        }
    }
}

impl EventLoop {
    pub(super) fn stream_event(&mut self, source: usize, event: &Event, now: Now) {
        let Some(entry) = self.streams.entries.get_mut(&source) else { return };
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            entry.readable = true;
            let was_open = !entry.ended;
            entry.ended |= event.is_read_closed();
            if was_open && entry.ended {
                self.dispatch.hung_up(entry.connection, now);
            }
        }
        if matches!(entry.state, State::Connecting(_)) && (event.is_writable() || event.is_error()) {
            self.finish_connect(source, now);
        }
        if event.is_writable() && self.streams.blocked.remove(&source) {
            // Nothing is written here, because data queued by earlier events is not committed yet.
            self.streams.unblocked.push(source);
        }
        self.streams.want(source, &self.dispatch);
    }

    /// The connections to read in this turn; of unauthenticated ones only some, in rotation.
    fn take_readable(&mut self) -> Vec<usize> {
        let all = std::mem::take(&mut self.streams.reading).into_iter();
        let (entries, dispatch) = (&self.streams.entries, &self.dispatch);
        let is_stranger = |source: &usize| entries.get(source).is_some_and(|at| dispatch.is_stranger(at.connection));
        let (mut strangers, mut chosen): (Vec<usize>, Vec<usize>) = all.partition(is_stranger);
        let last = self.streams.last_stranger;
        let after = strangers.partition_point(|source| *source <= last);
        strangers.rotate_left(after);
        self.streams.reading.extend(strangers.split_off(strangers.len().min(STRANGERS_PER_TURN)));
        self.streams.last_stranger = strangers.last().copied().unwrap_or(last);
        chosen.extend(strangers);
        chosen
    }

    pub(super) fn read_streams(&mut self, now: Now) {
        let mut handshakes = 0;
        for source in self.take_readable() {
            let stream = self.streams.entries.get(&source).map(|entry| &entry.stream);
            if stream.is_some_and(Stream::is_server_handshaking) {
                self.take_handshake_on(source, now);
                continue;
            }
            if stream.is_some_and(Stream::is_handshaking) {
                handshakes += 1;
                if handshakes > HANDSHAKES_PER_TURN {
                    self.streams.reading.insert(source);
                    continue;
                }
            }
            self.read_stream(source, now);
        }
    }

    /// Gives the next step of an incoming TLS handshake to a worker. Handshakes of strangers come last.
    fn take_handshake_on(&mut self, source: usize, now: Now) {
        let Some(entry) = self.streams.entries.get_mut(&source) else { return };
        let connection = entry.connection;
        match entry.stream.take_step() {
            Ok(mut step) => {
                let rank = if self.dispatch.is_known(connection) { Rank::Handshake } else { Rank::Stranger };
                let job = move || {
                    step.run();
                    JobResult::Handshake(connection, step)
                };
                self.workers.submit(rank, Box::new(job));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => entry.readable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => drop(self.streams.reading.insert(source)),
            Err(error) => self.handshake_failed(source, &error, now),
        }
    }

    /// Takes the result of a handshake step. Its bytes are written at the end of the turn. There may be more to read.
    pub(super) fn handshake_went_on(&mut self, connection: ConnectionId, step: HandshakeStep) {
        let source = stream_source(connection);
        let Some(entry) = self.streams.entries.get_mut(&source) else { return };
        entry.stream.put_back(step);
        entry.readable = true;
        self.streams.unflushed.insert(source);
        self.streams.want(source, &self.dispatch);
    }

    fn read_stream(&mut self, source: usize, now: Now) {
        for _ in 0..READS_PER_TURN {
            let Some(entry) = self.streams.entries.get_mut(&source) else { return };
            if matches!(entry.state, State::Draining) {
                return self.drop_input(source, now);
            }
            if !matches!(entry.state, State::Open) || !self.dispatch.wants_read(entry.connection) {
                return;
            }
            let connection = entry.connection;
            let was_handshaking = entry.stream.is_handshaking();
            let room = self.dispatch.room(connection);
            let into_room = room.is_some();
            let into = room.unwrap_or(&mut self.streams.buffer);
            let (read, asked) = (entry.stream.read(into), into.len());
            if was_handshaking || entry.stream.wants_flush() {
                // Data that waited for the handshake is sent at the end of the turn, after the commit.
                self.streams.unflushed.insert(source);
            }
            match read {
                Ok(0) => {
                    entry.readable = false;
                    return self.dispatch.ended(connection, now);
                }
                Ok(len) => {
                    let is_emptied = entry.stream.is_emptied(len < asked);
                    self.streams.moved_bytes = self.streams.moved_bytes.saturating_add(len);
                    if into_room {
                        self.dispatch.received_into_room(connection, len, now);
                    } else {
                        let Some(bytes) = self.streams.buffer.get(..len) else { return };
                        self.dispatch.received(connection, bytes, now);
                    }
                    if is_emptied {
                        // A short read emptied the socket; later bytes cause a new event.
                        if let Some(entry) = self.streams.entries.get_mut(&source).filter(|entry| !entry.ended) {
                            entry.readable = false;
                        }
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    entry.readable = false;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if was_handshaking => return self.handshake_failed(source, &error, now),
                Err(error) => return self.broken(source, error.to_string(), now),
            }
        }
        self.streams.want(source, &self.dispatch);
    }

    /// Reads and discards what the peer of a closing connection sends, within the budget of a turn.
    fn drop_input(&mut self, source: usize, now: Now) {
        for _ in 0..READS_PER_TURN {
            let Some(entry) = self.streams.entries.get_mut(&source) else { return };
            match entry.stream.read(&mut self.streams.buffer) {
                Ok(0) => return self.broken(source, "closed by us".to_owned(), now),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    entry.readable = false;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.broken(source, error.to_string(), now),
            }
        }
        self.streams.reading.insert(source);
    }

    fn broken(&mut self, source: usize, reason: String, now: Now) {
        if let Some(entry) = self.streams.entries.get(&source) {
            let connection = entry.connection;
            self.streams.close(connection, self.poll.registry());
            self.dispatch.closed(connection, reason, now);
        }
    }

    fn handshake_failed(&mut self, source: usize, error: &io::Error, now: Now) {
        if let Some(entry) = self.streams.entries.get(&source) {
            self.dispatch.handshake_failed(entry.connection, &error.to_string(), now);
        }
        self.broken(source, error.to_string(), now);
    }

    pub(super) fn start_tls(&mut self, connection: ConnectionId, server_name: &str, now: Now) {
        let source = stream_source(connection);
        let Some(entry) = self.streams.entries.get_mut(&source) else { return };
        let session = match self.listening.client_tls() {
            Some(context) => context.session(server_name),
            None => Err("TLS is not configured for outgoing connections".to_owned()),
        };
        match session {
            Ok(session) => {
                entry.stream.start_tls(session);
                self.streams.unflushed.insert(source);
            }
            Err(reason) => self.broken(source, reason, now),
        }
    }

    pub(super) fn flush_streams(&mut self, now: Now) {
        let mut sources: BTreeSet<usize> = self.dispatch.take_dirty(now).into_iter().map(stream_source).collect();
        for source in std::mem::take(&mut self.streams.unflushed) {
            self.streams.blocked.remove(&source);
            sources.insert(source);
        }
        for source in std::mem::take(&mut self.streams.unblocked) {
            sources.insert(source);
        }
        for source in sources {
            if !self.streams.blocked.contains(&source) {
                self.flush_stream(source, now);
            }
        }
    }

    fn flush_stream(&mut self, source: usize, now: Now) {
        let Some(entry) = self.streams.entries.get_mut(&source) else { return };
        if matches!(entry.state, State::Connecting(_)) {
            return;
        }
        let connection = entry.connection;
        let mut written = false;
        let failure = loop {
            let queue = self.dispatch.send_queue(connection).filter(|queue| !queue.is_empty());
            let outcome = match queue {
                Some(queue) => entry.stream.write(queue.front()).map(|len| {
                    queue.consume(len);
                    self.streams.moved_bytes = self.streams.moved_bytes.saturating_add(len);
                    written = true;
                }),
                // TLS may hold bytes that are not written yet.
                None => match entry.stream.flush() {
                    Ok(()) => break None,
                    blocked => blocked,
                },
            };
            match outcome {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.streams.blocked.insert(source);
                    break None;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Some(error),
            }
        };
        let finished = matches!(entry.state, State::Closing) && !self.streams.blocked.contains(&source);
        if let Some(error) = failure {
            return self.broken(source, error.to_string(), now);
        }
        if finished {
            entry.state = State::Draining;
            // If the peer is already gone, reading reports it.
            let _gone = entry.stream.shutdown_write();
            self.streams.reading.insert(source);
            return;
        }
        if written {
            self.dispatch.flushed(connection, now);
        }
        // This also applies if nothing was written, because reading may have waited for an answered question.
        self.streams.want(source, &self.dispatch);
    }
}

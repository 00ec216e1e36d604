//! Many ZeroMQ nodes simulated by one thread for each kind: pull nodes, which dial a central, and push nodes, which it
//! dials. They use the daemon's session and wire layers, have one key, and answer the minimum that a central requires.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustix::net::{AddressFamily, SocketFlags, SocketType as Kind};

use stheno::edge::clock;
use stheno::edge::random::SystemRandom;
use stheno::model::action::Action;
use stheno::model::connection::{ConnectionId, Endpoint, FingerprintMode, PeerAddress};
use stheno::model::link::LinkMode;
use stheno::model::message::Message;
use stheno::session::zmq_dialer::{DialerOutput, DialerSettings, ZmqDialer};
use stheno::session::zmq_listener::{ListenerOutput, ListenerSettings, ZmqListener};
use stheno::wire::tls_link::{ClientTls, ServerTls, TlsIdentity};
use stheno::wire::zmtp::connection::{Event, Settings, SocketType, ZmtpConnection};

use crate::Outcome;
use crate::platform::key;

/// Interval of checks of deadlines.
const TICK: Duration = Duration::from_millis(5);
const READ_BYTES: usize = 64 << 10;
/// Events for each wait.
const EVENTS: usize = 1_024;

/// Counters of the nodes of one kind.
#[derive(Default)]
pub struct Counters {
    /// Number of nodes whose current connection has answered a ping.
    pub pinged: AtomicUsize,
    /// Number of commands received.
    pub commands: AtomicUsize,
}

/// The running nodes, which end when dropped.
pub struct ZmqNodes {
    /// Their counters.
    pub counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ZmqNodes {
    /// Starts pull nodes with these ids, which dial the external socket of a central, each from an address of its own.
    ///
    /// # Errors
    /// The system provides no thread or no key.
    pub fn pull(ids: std::ops::Range<u64>, port: u16) -> Outcome<Self> {
        let counters = Arc::new(Counters::default());
        let mut nodes = PullNodes::new(ids, port, Arc::clone(&counters))?;
        Self::start(counters, move |stop| nodes.run(stop))
    }

    /// Starts push nodes with these ids behind sockets that are bound already.
    ///
    /// # Errors
    /// The system provides no thread or no key.
    pub fn push(sockets: Vec<(u64, std::net::TcpListener)>) -> Outcome<Self> {
        let counters = Arc::new(Counters::default());
        let mut nodes = PushNodes::new(sockets, Arc::clone(&counters))?;
        Self::start(counters, move |stop| nodes.run(stop))
    }

    fn start(
        counters: Arc<Counters>,
        mut run: impl FnMut(&AtomicBool) -> Outcome<()> + Send + 'static,
    ) -> Outcome<Self> {
        stheno::edge::raise_open_file_limit()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = std::thread::Builder::new().spawn(move || {
            if let Err(error) = run(&stopping) {
                eprintln!("the nodes stopped: {error}");
            }
        })?;
        Ok(Self { counters, stop, thread: Some(thread) })
    }
}

impl Drop for ZmqNodes {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // If the thread has ended by itself, it has printed the reason.
            thread.join().unwrap_or_default();
        }
    }
}

/// A connection with its ZMTP state.
struct Wire {
    stream: TcpStream,
    zmtp: ZmtpConnection,
    is_connected: bool,
}

impl Wire {
    /// Reads what is there; `false` if the connection has ended.
    fn fill(&mut self, buffer: &mut [u8]) -> bool {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(len) => self.zmtp.receive(buffer.get(..len).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    /// What cannot be written now is written at the next event; reading tells that a connection is broken.
    fn flush(&mut self) {
        let queue = self.zmtp.send_queue();
        while self.is_connected && !queue.is_empty() {
            match self.stream.write(queue.front()) {
                Ok(len) => queue.consume(len),
                Err(_) => return,
            }
        }
    }
}

/// The answer of node `id` to a message, if it is due one.
fn answer(id: u64, message: &Message, is_pinged: &mut bool, counters: &Counters) -> Option<String> {
    let token = message.token.as_ref().map_or("", |token| token.as_str());
    match message.action {
        Action::Ping => {
            if !std::mem::replace(is_pinged, true) {
                counters.pinged.fetch_add(1, Ordering::Relaxed);
            }
            Some(format!(
                r#"[PONG] [{token}] [] {{"code":0,"data":{{"action":"ping","message":"ping ok","id":{id},"hostname":"node-{id}","data":{{}}}}}}"#
            ))
        }
        Action::GetLog => Some(format!(
            r#"[SETLOGS] [{token}] [] {{"code":0,"data":{{"action":"getlog","id":{id},"nb_total_msg":1,"result":[]}}}}"#
        )),
        Action::Command => {
            counters.commands.fetch_add(1, Ordering::Relaxed);
            Some(format!(
                r#"[ACK] [{token}] [] {{"code":0,"data":{{"message":"command has started","token":"{token}"}}}}"#
            ))
        }
        _ => None,
    }
}

struct PullNode {
    id: u64,
    dialer: ZmqDialer,
    wire: Option<Wire>,
    is_pinged: bool,
}

struct PullNodes {
    poll: Poll,
    nodes: Vec<PullNode>,
    port: u16,
    random: SystemRandom,
    counters: Arc<Counters>,
}

impl PullNodes {
    fn new(ids: std::ops::Range<u64>, port: u16, counters: Arc<Counters>) -> Outcome<Self> {
        let tls = ClientTls::new(&TlsIdentity::new(key()?)?)?;
        let endpoint = Endpoint::Tcp { host: Ipv4Addr::LOCALHOST.to_string(), port };
        let public_key_pem = key()?.public().to_pem();
        let node = |id: u64| PullNode {
            id,
            dialer: ZmqDialer::new(DialerSettings {
                own_name: format!("gorgone-{id}"),
                endpoint: endpoint.clone(),
                fingerprint_mode: FingerprintMode::First,
                node: None,
                stored_fingerprint: None,
                successors: Arc::default(),
                link: LinkMode::Auto,
                tls: Some(tls.clone()),
                is_pinned: false,
                public_key_pem: public_key_pem.clone(),
                queue_messages: 100,
                queue_bytes: 1 << 20,
                step_timeout: Duration::from_secs(30),
                max_wait: Duration::from_secs(10),
            }),
            wire: None,
            is_pinged: false,
        };
        Ok(Self { poll: Poll::new()?, nodes: ids.map(node).collect(), port, random: SystemRandom::new(), counters })
    }

    fn run(&mut self, stop: &AtomicBool) -> Outcome<()> {
        let (mut events, mut buffer) = (Events::with_capacity(EVENTS), vec![0; READ_BYTES]);
        for index in 0..self.nodes.len() {
            self.with(index, |node, random| node.dialer.handle_start(clock::read(), random))?;
        }
        let mut next_tick = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            self.poll.poll(&mut events, Some(next_tick.saturating_duration_since(Instant::now())))?;
            for event in &events {
                self.handle_event(event.token().0, &mut buffer)?;
            }
            if Instant::now() < next_tick {
                continue;
            }
            next_tick = Instant::now() + TICK;
            let now = clock::read();
            for index in 0..self.nodes.len() {
                let node = self.nodes.get(index);
                if node.and_then(|node| node.dialer.poll_timeout()).is_some_and(|when| when <= now.monotonic) {
                    self.with(index, |node, random| node.dialer.handle_timeout(now, random))?;
                }
            }
        }
        Ok(())
    }

    fn handle_event(&mut self, index: usize, buffer: &mut [u8]) -> Outcome<()> {
        let Some(wire) = self.nodes.get_mut(index).and_then(|node| node.wire.as_mut()) else { return Ok(()) };
        if !wire.is_connected {
            if wire.stream.peer_addr().is_err() {
                return match wire.stream.take_error()? {
                    Some(error) => self.broken(index, &error.to_string()),
                    None => Ok(()),
                };
            }
            wire.is_connected = true;
        }
        if !wire.fill(buffer) {
            return self.broken(index, "closed by the central");
        }
        loop {
            let Some(node) = self.nodes.get_mut(index) else { return Ok(()) };
            let Some(wire) = &mut node.wire else { return Ok(()) };
            let event = wire.zmtp.poll_event().map_err(|error| error.to_string())?;
            let now = clock::read();
            match event {
                Some(Event::Ready { .. }) => self.with(index, |node, _| node.dialer.handle_connected(now))?,
                Some(Event::Message(payload)) => {
                    self.with(index, |node, random| node.dialer.handle_payload(&payload, now, random))?;
                }
                Some(Event::Multipart { .. }) => {}
                None => {
                    wire.flush();
                    return Ok(());
                }
            }
        }
    }

    fn broken(&mut self, index: usize, reason: &str) -> Outcome<()> {
        if let Some(node) = self.nodes.get_mut(index) {
            node.wire = None;
        }
        self.with(index, |node, random| node.dialer.handle_disconnected(reason, clock::read(), random))
    }

    /// Calls `act` with a node, then performs its outputs and writes its send queue.
    fn with(&mut self, index: usize, act: impl FnOnce(&mut PullNode, &mut SystemRandom)) -> Outcome<()> {
        let Some(node) = self.nodes.get_mut(index) else { return Ok(()) };
        act(node, &mut self.random);
        while let Some(output) = node.dialer.poll_output() {
            match output {
                DialerOutput::Connect { routing_id, .. } => {
                    let mut stream = connect_from(source(node.id), self.port)?;
                    let interests = Interest::READABLE | Interest::WRITABLE;
                    self.poll.registry().register(&mut stream, Token(index), interests)?;
                    let settings =
                        Settings { socket_type: SocketType::Dealer, identity: routing_id, max_message_bytes: 1 << 20 };
                    node.wire = Some(Wire { stream, zmtp: ZmtpConnection::new(settings), is_connected: false });
                }
                DialerOutput::Disconnect => node.wire = None,
                DialerOutput::Send(payload) => {
                    if let Some(wire) = &mut node.wire {
                        wire.zmtp.send_owned_message(payload);
                    }
                }
                DialerOutput::RunJob(ticket) => {
                    let result = ticket.run(key()?);
                    node.dialer.handle_job(result, clock::read(), &mut self.random);
                }
                DialerOutput::Up(_) => {
                    let id = node.id;
                    let text = format!(
                        r#"[REGISTERNODES] [] [] {{"nodes":[{{"id":{id},"type":"pull","identity":"gorgone-{id}"}}]}}"#
                    );
                    node.dialer.send(&[text.as_bytes()], None, clock::read(), &mut self.random);
                }
                DialerOutput::Message(message) => {
                    if let Some(text) = answer(node.id, &message, &mut node.is_pinged, &self.counters) {
                        node.dialer.send(&[text.as_bytes()], None, clock::read(), &mut self.random);
                    }
                }
                DialerOutput::Down { .. } if std::mem::take(&mut node.is_pinged) => {
                    self.counters.pinged.fetch_sub(1, Ordering::Relaxed);
                }
                _ => {}
            }
        }
        if let Some(wire) = &mut node.wire {
            wire.flush();
        }
        Ok(())
    }
}

/// An address of its own on loopback for each node, as nodes have in life: limits count by address.
fn source(id: u64) -> Ipv4Addr {
    let [.., high, low] = id.to_be_bytes();
    Ipv4Addr::new(127, 77, high, low)
}

fn connect_from(source: Ipv4Addr, port: u16) -> Outcome<TcpStream> {
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        Kind::STREAM,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::net::bind(&socket, &SocketAddr::from((source, 0)))?;
    match rustix::net::connect(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let stream = TcpStream::from_std(std::net::TcpStream::from(socket));
    stream.set_nodelay(true)?;
    Ok(stream)
}

struct PushConnection {
    wire: Wire,
    id: u64,
    is_pinged: bool,
}

struct PushNodes {
    poll: Poll,
    sockets: Vec<(u64, TcpListener)>,
    connections: HashMap<usize, PushConnection>,
    next: usize,
    listener: ZmqListener,
    random: SystemRandom,
    counters: Arc<Counters>,
}

impl PushNodes {
    fn new(sockets: Vec<(u64, std::net::TcpListener)>, counters: Arc<Counters>) -> Outcome<Self> {
        let settings = ListenerSettings {
            public_key_pem: key()?.public().to_pem(),
            authorized: vec![key()?.public().thumbprint()],
            successors: Arc::default(),
            link: LinkMode::Auto,
            tls: Some(ServerTls::new(&TlsIdentity::new(key()?)?)?),
            pinned: std::collections::BTreeMap::new(),
            fresh_sessions: true,
            key_size: 32,
            rotation: Duration::ZERO,
            hostname: "nodes".to_owned(),
            session_idle: Duration::from_secs(3_600),
            max_sessions: 100_000,
            max_pending_hellos: 100_000,
            hellos_per_peer_per_second: 100_000,
            hellos_of_strangers_per_second: 100_000,
        };
        let poll = Poll::new()?;
        let mut bound = Vec::new();
        for (index, (id, socket)) in sockets.into_iter().enumerate() {
            socket.set_nonblocking(true)?;
            let mut socket = TcpListener::from_std(socket);
            poll.registry().register(&mut socket, Token(index), Interest::READABLE)?;
            bound.push((id, socket));
        }
        Ok(Self {
            poll,
            next: bound.len(),
            sockets: bound,
            connections: HashMap::new(),
            listener: ZmqListener::new(settings, Vec::new(), clock::read()),
            random: SystemRandom::new(),
            counters,
        })
    }

    fn run(&mut self, stop: &AtomicBool) -> Outcome<()> {
        let (mut events, mut buffer) = (Events::with_capacity(EVENTS), vec![0; READ_BYTES]);
        while !stop.load(Ordering::Relaxed) {
            self.poll.poll(&mut events, Some(TICK.saturating_mul(20)))?;
            for event in &events {
                let token = event.token().0;
                if token < self.sockets.len() { self.accept(token)? } else { self.read(token, &mut buffer)? }
            }
            self.listener.handle_timeout(clock::read(), &mut self.random);
            self.drain()?;
        }
        Ok(())
    }

    fn accept(&mut self, index: usize) -> Outcome<()> {
        while let Some((id, Ok((mut stream, _)))) = self.sockets.get(index).map(|(id, socket)| (*id, socket.accept())) {
            stream.set_nodelay(true)?;
            self.poll.registry().register(&mut stream, Token(self.next), Interest::READABLE | Interest::WRITABLE)?;
            let settings =
                Settings { socket_type: SocketType::Router, identity: Vec::new(), max_message_bytes: 1 << 20 };
            let wire = Wire { stream, zmtp: ZmtpConnection::new(settings), is_connected: true };
            self.connections.insert(self.next, PushConnection { wire, id, is_pinged: false });
            self.next += 1;
        }
        Ok(())
    }

    fn read(&mut self, token: usize, buffer: &mut [u8]) -> Outcome<()> {
        let Some(connection) = self.connections.get_mut(&token) else { return Ok(()) };
        let is_open = connection.wire.fill(buffer);
        let id = ConnectionId(u64::try_from(token)?);
        while is_open && let Some(connection) = self.connections.get_mut(&token) {
            let now = clock::read();
            match connection.wire.zmtp.poll_event().map_err(|error| error.to_string())? {
                Some(Event::Ready { routing_id, .. }) => {
                    self.listener.handle_ready(id, routing_id, PeerAddress::Local, now);
                }
                Some(Event::Message(payload)) => {
                    self.listener.handle_message(id, &payload, now, &mut self.random);
                }
                Some(Event::Multipart { .. }) => {}
                None => {
                    connection.wire.flush();
                    break;
                }
            }
            self.drain()?;
        }
        if !is_open {
            self.close(id);
        }
        Ok(())
    }

    fn close(&mut self, id: ConnectionId) {
        let removed = usize::try_from(id.0).ok().and_then(|token| self.connections.remove(&token));
        if removed.is_some_and(|connection| connection.is_pinged) {
            self.counters.pinged.fetch_sub(1, Ordering::Relaxed);
        }
        self.listener.handle_closed(id);
    }

    fn connection(&mut self, id: ConnectionId) -> Option<&mut PushConnection> {
        self.connections.get_mut(&usize::try_from(id.0).ok()?)
    }

    fn drain(&mut self) -> Outcome<()> {
        while let Some(output) = self.listener.poll_output() {
            match output {
                ListenerOutput::Send { connection, payload } => {
                    if let Some(connection) = self.connection(connection) {
                        connection.wire.zmtp.send_owned_message(payload);
                        connection.wire.flush();
                    }
                }
                ListenerOutput::Close { connection, .. } => self.close(connection),
                ListenerOutput::OpenHello { hello, job, .. } => {
                    let result = job.run(key()?);
                    self.listener.handle_hello(hello, result, clock::read());
                }
                ListenerOutput::Message { client, message } => {
                    let counters = Arc::clone(&self.counters);
                    let connection = self.listener.connection_of(client).and_then(|id| self.connection(id));
                    let text = connection
                        .and_then(|connection| answer(connection.id, &message, &mut connection.is_pinged, &counters));
                    if let Some(text) = text {
                        self.listener.send(client, &[text.as_bytes()]);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

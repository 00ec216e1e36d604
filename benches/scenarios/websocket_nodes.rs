//! Many pullwss nodes simulated by one thread. They use the daemon's session layer for the WebSocket, and send the
//! minimum that a central requires.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll};
use stheno::config::settings::ClientTls;
use stheno::edge::clock;
use stheno::edge::random::SystemRandom;
use stheno::edge::sockets::Stream;
use stheno::edge::tls::client::ClientContext;
use stheno::model::action::Action;
use stheno::model::message::Message;
use stheno::model::random::Random;
use stheno::session::websocket_dialer::{WebSocketDialer, WebSocketDialerOutput, WebSocketDialerSettings};

use crate::Outcome;
use crate::platform::WEBSOCKET_TOKEN;

/// Interval of checks of deadlines and of unrequested PONGs.
const TICK: Duration = Duration::from_millis(5);
const READ_BYTES: usize = 64 << 10;

/// The behaviour of the nodes.
pub struct Behaviour {
    /// Id of the first node; the others follow.
    pub first_id: usize,
    /// Number of nodes.
    pub count: usize,
    /// Port of the central's WebSocket listener on loopback.
    pub port: u16,
    /// The certificate authority to trust; `None` for connections without TLS.
    pub authority: Option<PathBuf>,
    /// Unrequested PONGs per second of all nodes together, sent in turn; at most one per [`TICK`].
    pub pongs_per_second: u32,
}

/// Counters of the nodes.
#[derive(Default)]
pub struct Seen {
    /// Number of WebSockets that were opened.
    pub up: AtomicUsize,
    /// Number of nodes that have answered a ping on their current connection.
    pub pinged: AtomicUsize,
    /// Number of PONGs sent, requested or not.
    pub pongs: AtomicUsize,
    /// Number of commands received.
    pub commands: AtomicUsize,
    /// Tokens of the commands of each node, in the order of arrival.
    pub tokens: Mutex<Vec<Vec<String>>>,
}

/// The running nodes, which end when dropped.
pub struct WebSocketNodes {
    /// Counters of the nodes.
    pub seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl WebSocketNodes {
    /// Starts the nodes, which connect and reconnect automatically.
    ///
    /// # Errors
    /// The system provides no thread, or the authority cannot be read.
    pub fn start(behaviour: Behaviour) -> Outcome<Self> {
        stheno::edge::raise_open_file_limit()?;
        let seen = Arc::new(Seen::default());
        *seen.tokens.lock().unwrap_or_else(PoisonError::into_inner) = vec![Vec::new(); behaviour.count];
        let stop = Arc::new(AtomicBool::new(false));
        let mut driver = Driver::new(behaviour, Arc::clone(&seen))?;
        let stopping = Arc::clone(&stop);
        let thread = std::thread::Builder::new().spawn(move || {
            if let Err(error) = driver.run(&stopping) {
                eprintln!("the nodes stopped: {error}");
            }
        })?;
        Ok(Self { seen, stop, thread: Some(thread) })
    }

    /// Waits until a counter has reached `count`, up to a time limit. Returns whether it has.
    pub fn wait_for(&self, counter: impl Fn(&Seen) -> &AtomicUsize, count: usize, patience: Duration) -> bool {
        let begun = Instant::now();
        while counter(&self.seen).load(Ordering::Relaxed) < count {
            if begun.elapsed() > patience {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

impl Drop for WebSocketNodes {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // If the thread has ended by itself, it has printed the reason.
            thread.join().unwrap_or_default();
        }
    }
}

struct Player {
    id: usize,
    node: WebSocketDialer,
    stream: Option<Stream>,
    is_connected: bool,
    is_pinged: bool,
}

struct Driver {
    poll: Poll,
    players: Vec<Player>,
    behaviour: Behaviour,
    tls: Option<ClientContext>,
    random: SystemRandom,
    seen: Arc<Seen>,
    buffer: Vec<u8>,
}

impl Driver {
    fn new(behaviour: Behaviour, seen: Arc<Seen>) -> Outcome<Self> {
        let tls = match &behaviour.authority {
            Some(file) => {
                let settings = ClientTls::Verify { ca_file: Some(file.clone()) };
                Some(ClientContext::load(&settings).map_err(|error| error.to_string())?)
            }
            None => None,
        };
        let settings = WebSocketDialerSettings {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port: behaviour.port,
            uri: "/".to_owned(),
            token: WEBSOCKET_TOKEN.to_owned(),
            is_tls: tls.is_some(),
            proxy: None,
            step_timeout: Duration::from_secs(10),
            silence_timeout: Duration::from_secs(120),
            max_message_bytes: 262_144,
            max_waiting_bytes: 1 << 20,
        };
        let player = |index| Player {
            id: behaviour.first_id.saturating_add(index),
            node: WebSocketDialer::new(settings.clone()),
            stream: None,
            is_connected: false,
            is_pinged: false,
        };
        let players = (0..behaviour.count).map(player).collect();
        let buffer = vec![0; READ_BYTES];
        Ok(Self { poll: Poll::new()?, players, behaviour, tls, random: SystemRandom::new(), seen, buffer })
    }

    fn run(&mut self, stop: &AtomicBool) -> Outcome<()> {
        let mut events = Events::with_capacity(1024);
        for index in 0..self.players.len() {
            self.with(index, |node, _| node.handle_start(clock::read()))?;
        }
        let begun = Instant::now();
        let (mut next_tick, mut volunteered) = (begun, 0_u32);
        while !stop.load(Ordering::Relaxed) {
            self.poll.poll(&mut events, Some(next_tick.saturating_duration_since(Instant::now())))?;
            for event in &events {
                self.handle_event(event.token().0)?;
            }
            if Instant::now() < next_tick {
                continue;
            }
            next_tick = Instant::now() + TICK;
            for index in 0..self.players.len() {
                let now = clock::read();
                let due = |node: &WebSocketDialer| node.poll_timeout().is_some_and(|when| when <= now.monotonic);
                if self.players.get(index).is_some_and(|player| due(&player.node)) {
                    self.with(index, |node, random| node.handle_timeout(now, random))?;
                }
            }
            let owed = begun.elapsed().as_secs_f64() * f64::from(self.behaviour.pongs_per_second);
            if f64::from(volunteered) < owed {
                let index = usize::try_from(volunteered)?.checked_rem(self.players.len()).unwrap_or_default();
                volunteered = volunteered.saturating_add(1);
                self.volunteer(index)?;
            }
        }
        Ok(())
    }

    fn volunteer(&mut self, index: usize) -> Outcome<()> {
        if let Some(player) = self.players.get_mut(index).filter(|player| player.node.is_up()) {
            let pong = pong(player.id, "");
            self.seen.pongs.fetch_add(1, Ordering::Relaxed);
            self.with(index, |node, _| {
                let _not_up = node.send(pong);
            })?;
        }
        Ok(())
    }

    fn handle_event(&mut self, index: usize) -> Outcome<()> {
        let Some(player) = self.players.get_mut(index) else { return Ok(()) };
        let Some(stream) = &mut player.stream else { return Ok(()) };
        if !player.is_connected {
            match stream.connected() {
                Ok(false) => return Ok(()),
                Ok(true) => {
                    player.is_connected = true;
                    self.with(index, |node, random| node.handle_connected(clock::read(), random))?;
                }
                Err(error) => return self.broken(index, &error.to_string()),
            }
        }
        self.read(index)
    }

    fn read(&mut self, index: usize) -> Outcome<()> {
        while let Some(Player { stream: Some(stream), .. }) = self.players.get_mut(index) {
            match stream.read(&mut self.buffer) {
                Ok(0) => return self.broken(index, "closed by the central"),
                Ok(len) => {
                    let bytes = self.buffer.get(..len).unwrap_or_default().to_vec();
                    self.with(index, |node, random| node.receive(&bytes, clock::read(), random))?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.with(index, |_, _| ()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.broken(index, &error.to_string()),
            }
        }
        Ok(())
    }

    fn broken(&mut self, index: usize, reason: &str) -> Outcome<()> {
        if let Some(player) = self.players.get_mut(index) {
            player.stream = None;
            player.is_connected = false;
        }
        self.with(index, |node, random| node.handle_disconnected(reason, clock::read(), random))
    }

    /// Calls `act` with a node, then performs its outputs and writes its send queue.
    fn with(&mut self, index: usize, act: impl FnOnce(&mut WebSocketDialer, &mut dyn Random)) -> Outcome<()> {
        let Some(player) = self.players.get_mut(index) else { return Ok(()) };
        act(&mut player.node, &mut self.random);
        while let Some(output) = player.node.poll_output() {
            match output {
                WebSocketDialerOutput::Connect { .. } => {
                    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.behaviour.port));
                    let mut stream = Stream::connect(address)?;
                    let interests = Interest::READABLE | Interest::WRITABLE;
                    self.poll.registry().register(&mut stream, mio::Token(index), interests)?;
                    player.stream = Some(stream);
                    player.is_connected = false;
                }
                WebSocketDialerOutput::StartTls { server_name } => {
                    if let (Some(stream), Some(tls)) = (&mut player.stream, &self.tls) {
                        stream.start_tls(tls.session(&server_name)?);
                    }
                }
                WebSocketDialerOutput::Disconnect => player.stream = None,
                WebSocketDialerOutput::Up => {
                    self.seen.up.fetch_add(1, Ordering::Relaxed);
                    let id = player.id;
                    let text = format!(
                        r#"[REGISTERNODES] [] [] {{"nodes":[{{"id":{id},"type":"wss","identity":"gorgone-{id}"}}]}}"#
                    );
                    let _not_up = player.node.send(text.into_bytes());
                }
                WebSocketDialerOutput::Down { .. } => {
                    // This is also output for failed attempts.
                    if std::mem::take(&mut player.is_pinged) {
                        self.seen.pinged.fetch_sub(1, Ordering::Relaxed);
                    }
                }
                WebSocketDialerOutput::Message(message) => player.answer(index, &message, &self.seen),
                WebSocketDialerOutput::Malformed { .. } | WebSocketDialerOutput::Log(_) => {}
            }
        }
        player.flush();
        Ok(())
    }
}

impl Player {
    fn answer(&mut self, index: usize, message: &Message, seen: &Seen) {
        let token = message.token.as_ref().map_or("", |token| token.as_str());
        match message.action {
            Action::Ping => {
                let _not_up = self.node.send(pong(self.id, token));
                seen.pongs.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut self.is_pinged, true) {
                    seen.pinged.fetch_add(1, Ordering::Relaxed);
                }
            }
            Action::GetLog => {
                let id = self.id;
                let text = format!(
                    r#"[SETLOGS] [{token}] [] {{"code":0,"data":{{"action":"getlog","id":{id},"nb_total_msg":1,"result":[]}}}}"#
                );
                let _not_up = self.node.send(text.into_bytes());
            }
            Action::Command => {
                let mut tokens = seen.tokens.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(tokens) = tokens.get_mut(index) {
                    tokens.push(token.to_owned());
                }
                seen.commands.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    /// Bytes that cannot be written now are written at the next event; reading detects a broken connection.
    fn flush(&mut self) {
        let Some(stream) = self.stream.as_mut().filter(|_| self.is_connected) else { return };
        let queue = self.node.send_queue();
        while !queue.is_empty() {
            match stream.write(queue.front()) {
                Ok(len) => queue.consume(len),
                Err(_) => return,
            }
        }
        stream.flush().unwrap_or_default();
    }
}

fn pong(id: usize, token: &str) -> Vec<u8> {
    format!(
        r#"[PONG] [{token}] [] {{"code":0,"data":{{"action":"ping","message":"ping ok","id":{id},"hostname":"node-{id}","data":{{}}}}}}"#
    )
    .into_bytes()
}

//! The listeners of the loop: their sockets, their TLS files, and the reload of these files.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use mio::{Interest, Registry, Token};

use crate::config::Config;
use crate::config::settings::ServerTls;
use crate::daemon::dispatch::Listener;
use crate::edge::log::LogWriter;
use crate::edge::sockets::{self, Stream};
use crate::edge::tls::server::ServerContext;
use crate::edge::tls::{TlsError, client::ClientContext};
use crate::model::connection::{Endpoint, PeerAddress};
use crate::model::log::LogLine;
use crate::model::time::{Monotonic, Now};

use super::storage::JobResult;
use super::workers::Rank;
use super::{EventLoop, FIRST_LISTENER, RunError};

/// How long accepting pauses when no descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Minimum interval between two log lines about connections that cannot be accepted.
const ACCEPT_COMPLAINT: Duration = Duration::from_secs(10);
/// Maximum number of connections accepted on one listener in one turn.
const ACCEPTS_PER_TURN: usize = 16;
/// Number of descriptors reserved for the history, children, copies and our own links.
const DESCRIPTORS_KEPT: u64 = 128;

/// A bound listener.
struct Bound {
    which: Listener,
    socket: sockets::Listener,
    tls: Option<BoundTls>,
}

struct BoundTls {
    settings: ServerTls,
    context: ServerContext,
}

/// All listeners, and which have waiting connections.
pub(super) struct Listening {
    bound: Vec<Bound>,
    /// TLS settings of connections that we open.
    client_tls: Option<ClientContext>,
    keep_alive: bool,
    /// Maximum number of connections; more would leave too few descriptors for our own work.
    connections_max: usize,
    #[cfg(feature = "status")]
    descriptors_reserved: u64,
    waiting: BTreeSet<usize>,
    again: Option<Monotonic>,
    complained: Option<Monotonic>,
}

/// A connection that was accepted.
struct Accepted {
    which: Listener,
    stream: Stream,
    peer: PeerAddress,
}

impl Listening {
    /// Binds every listener; `open_files` is the limit of descriptors.
    pub(super) fn open(
        config: &Config,
        open_files: u64,
        registry: &Registry,
        log: &mut LogWriter,
        now: Now,
    ) -> Result<Self, RunError> {
        let reserved = DESCRIPTORS_KEPT.min(open_files / 4);
        Ok(Self {
            bound: bind_all(config, registry, log, now)?,
            client_tls: client_context(config)?,
            keep_alive: config.core.tcp_keepalive,
            connections_max: usize::try_from(open_files.saturating_sub(reserved)).unwrap_or(usize::MAX),
            #[cfg(feature = "status")]
            descriptors_reserved: reserved,
            waiting: BTreeSet::new(),
            again: None,
            complained: None,
        })
    }

    /// Notes that connections wait at the listener with this token.
    pub(super) fn mark_waiting(&mut self, source: usize) {
        self.waiting.insert(source);
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) const fn poll_timeout(&self) -> Option<Monotonic> {
        self.again
    }

    /// TLS settings of connections that we open, if configured.
    pub(super) const fn client_tls(&self) -> Option<&ClientContext> {
        self.client_tls.as_ref()
    }

    pub(super) const fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// The listeners with TLS, and the times at which their certificates expire, in seconds since 1970.
    #[cfg(feature = "status")]
    pub(super) fn certificates(&self) -> Vec<(&'static str, i64)> {
        let expires = |bound: &Bound| Some((module_of(bound.which), bound.tls.as_ref()?.context.expires_at_s()?));
        self.bound.iter().filter_map(expires).collect()
    }

    /// Maximum number of open descriptors.
    #[cfg(feature = "status")]
    pub(super) fn descriptors_max(&self) -> Option<u64> {
        u64::try_from(self.connections_max).ok()?.checked_add(self.descriptors_reserved)
    }

    /// Accepts the next connection of a listener.
    fn accept(&self, source: usize) -> io::Result<Option<Accepted>> {
        let Some(bound) = self.bound.get(source.wrapping_sub(FIRST_LISTENER)) else { return Ok(None) };
        let Some((mut stream, peer)) = bound.socket.accept()? else { return Ok(None) };
        if self.keep_alive {
            // Without keep-alive a vanished peer is noticed later.
            let _not_supported = stream.set_keepalive();
        }
        if let Some(tls) = &bound.tls {
            stream.start_tls(tls.context.session().map_err(io::Error::other)?);
        }
        Ok(Some(Accepted { which: bound.which, stream, peer }))
    }
}

/// A configured listener.
struct Wanted<'a> {
    which: Listener,
    endpoint: Endpoint,
    tls: Option<&'a ServerTls>,
}

/// The configured listeners. A REST API and a WebSocket server with the same address and settings share one.
fn wanted(config: &Config) -> Vec<Wanted<'_>> {
    let tcp = |address: std::net::IpAddr, port| Endpoint::Tcp { host: address.to_string(), port };
    let external = config.core.external.clone();
    let external = external.map(|endpoint| Wanted { which: Listener::External, endpoint, tls: None });
    let api = config.modules.httpserver.as_ref().map(|http| Wanted {
        which: Listener::Api,
        endpoint: tcp(http.address, http.port),
        tls: http.tls.as_ref(),
    });
    let web_socket = config.modules.proxy.as_ref().and_then(|proxy| proxy.httpserver.as_ref());
    let web_socket = web_socket.map(|server| Wanted {
        which: Listener::WebSocket,
        endpoint: tcp(server.address, server.port),
        tls: server.tls.as_ref(),
    });
    let page = config.modules.httpserver.as_ref().and_then(|http| http.status.as_ref());
    let page = page.map(|page| Wanted {
        which: Listener::Page,
        endpoint: tcp(page.address, page.port),
        tls: page.tls.as_ref(),
    });
    let all = match (api, web_socket) {
        (Some(api), Some(web_socket)) if api.endpoint == web_socket.endpoint && api.tls == web_socket.tls => {
            external.into_iter().chain([Wanted { which: Listener::Shared, ..api }]).collect::<Vec<_>>()
        }
        (api, web_socket) => external.into_iter().chain(api).chain(web_socket).collect::<Vec<_>>(),
    };
    all.into_iter().chain(page).collect()
}

/// The module that a listener belongs to, for the log.
const fn module_of(listener: Listener) -> &'static str {
    match listener {
        Listener::External => "core",
        Listener::Api | Listener::Shared => "httpserver",
        Listener::WebSocket => "proxy",
        Listener::Page => "status",
    }
}

/// Binds every listener of the configuration.
fn bind_all(config: &Config, registry: &Registry, log: &mut LogWriter, now: Now) -> Result<Vec<Bound>, RunError> {
    let mut all = Vec::new();
    for (index, wanted) in wanted(config).into_iter().enumerate() {
        let tls = wanted.tls.map(|settings| load(settings, log, now)).transpose().map_err(RunError::new)?;
        let mut socket = sockets::Listener::bind(&wanted.endpoint, config.core.ipv6).map_err(RunError::new)?;
        let token = Token(FIRST_LISTENER + index);
        registry.register(&mut socket, token, Interest::READABLE).map_err(RunError::new)?;
        let what = if tls.is_some() { " (TLS)" } else { "" };
        let module = module_of(wanted.which);
        log.write(&LogLine::info(module, format!("listening on {}{what}", wanted.endpoint)), now.wall);
        all.push(Bound { which: wanted.which, socket, tls });
    }
    Ok(all)
}

fn load(settings: &ServerTls, log: &mut LogWriter, now: Now) -> Result<BoundTls, TlsError> {
    let (context, warnings) = ServerContext::load(settings, now.wall)?;
    warn(warnings, log, now);
    Ok(BoundTls { settings: settings.clone(), context })
}

fn warn(warnings: Vec<String>, log: &mut LogWriter, now: Now) {
    for warning in warnings {
        log.write(&LogLine::warning("tls", warning), now.wall);
    }
}

/// TLS settings of the connection to our central, if it is configured with TLS.
fn client_context(config: &Config) -> Result<Option<ClientContext>, RunError> {
    let settings = config.modules.pullwss.as_ref().and_then(|node| node.tls.as_ref());
    settings.map(ClientContext::load).transpose().map_err(RunError::new)
}

impl EventLoop {
    pub(super) fn accept_all(&mut self, now: Now) {
        let listening = &mut self.listening;
        if listening.again.is_some_and(|when| when <= now.monotonic) {
            listening.again = None;
            listening.waiting.extend(FIRST_LISTENER..FIRST_LISTENER + listening.bound.len());
        }
        for source in std::mem::take(&mut self.listening.waiting) {
            match self.accept_on(source, now) {
                Ok(false) => {}
                Ok(true) => self.listening.mark_waiting(source),
                Err(error) => {
                    // Probably no file descriptors are left. Waiting peers are accepted when some are free again.
                    self.listening.again = Some(now.monotonic + ACCEPT_PAUSE);
                    self.complain_of_accepting(&format!("connections cannot be accepted now: {error}"), now);
                }
            }
        }
    }

    /// Accepts connections of one listener; returns whether more may be waiting.
    fn accept_on(&mut self, source: usize, now: Now) -> io::Result<bool> {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(accepted) = self.listening.accept(source)? else { return Ok(false) };
            let is_full = self.streams.len() >= self.listening.connections_max;
            if !is_full || self.dispatch.close_a_stranger(now) {
                let connection = self.dispatch.next_connection_id();
                if self.streams.insert_accepted(connection, accepted.stream, self.poll.registry()).is_ok() {
                    self.dispatch.accepted(connection, accepted.which, accepted.peer, now);
                }
            } else {
                let text = format!("{}: closed at once, too few descriptors are left (LimitNOFILE)", accepted.peer);
                self.complain_of_accepting(&text, now);
            }
            if is_full {
                // The descriptor of the closed stranger becomes free only after this turn.
                return Ok(true);
            }
        }
        Ok(true)
    }

    fn complain_of_accepting(&mut self, text: &str, now: Now) {
        let complained = &mut self.listening.complained;
        if complained.is_none_or(|last| now.monotonic.since(last) >= ACCEPT_COMPLAINT) {
            *complained = Some(now.monotonic);
            self.log.write(&LogLine::error("core", text), now.wall);
        }
    }

    /// Reloads the certificate files of all listeners on a worker, because decrypting a key takes time.
    pub(super) fn reload_certificates(&mut self, now: Now) {
        let all: Vec<_> = self
            .listening
            .bound
            .iter()
            .enumerate()
            .filter_map(|(index, listener)| Some((index, listener.tls.as_ref()?.settings.clone())))
            .collect();
        for (listener, settings) in all {
            self.workers.submit(
                Rank::Own,
                Box::new(move || {
                    JobResult::CertificateLoaded(listener, Box::new(ServerContext::load(&settings, now.wall)))
                }),
            );
        }
    }

    /// Takes a reloaded certificate, which new connections use. A certificate that cannot be used changes nothing.
    pub(super) fn certificate_loaded(
        &mut self,
        listener: usize,
        loaded: Result<(ServerContext, Vec<String>), TlsError>,
        now: Now,
    ) {
        let Some(tls) = self.listening.bound.get_mut(listener).and_then(|listener| listener.tls.as_mut()) else {
            return;
        };
        let shown = tls.settings.certificate_file.display();
        match loaded {
            Ok((context, warnings)) => {
                let line = LogLine::info("tls", format!("{shown}: certificate read again"));
                tls.context = context;
                self.log.write(&line, now.wall);
                warn(warnings, &mut self.log, now);
            }
            Err(error) => {
                let text = format!("certificate not changed, the one from before stays in use: {error}");
                self.log.write(&LogLine::error("tls", text), now.wall);
            }
        }
    }
}

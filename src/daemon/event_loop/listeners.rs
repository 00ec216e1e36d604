//! The listeners of the loop: what is bound, with which TLS files, and how those are read again.

use std::time::Duration;

use mio::{Interest, Registry, Token};

use crate::config::settings::{Config, ServerTls};
use crate::daemon::dispatch::Listener;
use crate::edge::log::LogWriter;
use crate::edge::sockets;
use crate::edge::tls::server::ServerContext;
use crate::edge::tls::{TlsError, client::ClientContext};
use crate::model::connection::Endpoint;
use crate::model::log::LogLine;
use crate::model::time::{Monotonic, Now};

use super::storage::JobResult;
use super::workers::Rank;
use super::{ACCEPT_COMPLAINT, EventLoop, FIRST_LISTENER, RunError};

/// How long accepting pauses when descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A bound listener.
pub(super) struct Bound {
    pub(super) which: Listener,
    pub(super) socket: sockets::Listener,
    pub(super) tls: Option<BoundTls>,
}

pub(super) struct BoundTls {
    settings: ServerTls,
    pub(super) context: ServerContext,
}

/// One listener as configured.
struct Wanted<'a> {
    which: Listener,
    endpoint: Endpoint,
    tls: Option<&'a ServerTls>,
}

/// A REST API and a WebSocket server that are configured alike share one listener.
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
    match (api, web_socket) {
        (Some(api), Some(web_socket)) if api.endpoint == web_socket.endpoint && api.tls == web_socket.tls => {
            external.into_iter().chain([Wanted { which: Listener::Shared, ..api }]).collect()
        }
        (api, web_socket) => external.into_iter().chain(api).chain(web_socket).collect(),
    }
}

/// The module that a listener belongs to, for the log.
const fn module_of(listener: Listener) -> &'static str {
    match listener {
        Listener::External => "core",
        Listener::Api | Listener::Shared => "httpserver",
        Listener::WebSocket => "proxy",
    }
}

/// Binds every listener of the configuration.
pub(super) fn bind_all(
    config: &Config,
    registry: &Registry,
    log: &mut LogWriter,
    now: Now,
) -> Result<Vec<Bound>, RunError> {
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

/// How connections to a parent check its certificate, where one is configured with TLS.
pub(super) fn client_context(config: &Config) -> Result<Option<ClientContext>, RunError> {
    let settings = config.modules.pullwss.as_ref().and_then(|node| node.tls.as_ref());
    settings.map(ClientContext::load).transpose().map_err(RunError::new)
}

impl EventLoop {
    pub(super) fn accept_all(&mut self, now: Now) {
        if self.accept_again.is_some_and(|when: Monotonic| when <= now.monotonic) {
            self.accept_again = None;
            self.accepting.extend(FIRST_LISTENER..FIRST_LISTENER + self.listeners.len());
        }
        for source in std::mem::take(&mut self.accepting) {
            let Some(listener) = self.listeners.get(source.wrapping_sub(FIRST_LISTENER)) else { continue };
            match self.streams.accept(listener, &mut self.dispatch, self.poll.registry(), self.keep_alive, now) {
                Ok(more) => {
                    if more {
                        self.accepting.insert(source);
                    }
                }
                Err(error) => {
                    // Out of file descriptors, most likely: the waiting peers are taken when some are free again.
                    self.accept_again = Some(now.monotonic + ACCEPT_PAUSE);
                    if self.accept_complaint.is_none_or(|last| now.monotonic.since(last) >= ACCEPT_COMPLAINT) {
                        self.accept_complaint = Some(now.monotonic);
                        let line = LogLine::error("core", format!("connections cannot be accepted now: {error}"));
                        self.log.write(&line, now.wall);
                    }
                }
            }
        }
    }

    /// Reads the certificate files of all listeners again, on a worker: an encrypted key takes a while.
    pub(super) fn reload_certificates(&mut self, now: Now) {
        let all: Vec<_> = self
            .listeners
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

    /// New connections use the new certificate; one that cannot be used changes nothing.
    pub(super) fn certificate_loaded(
        &mut self,
        listener: usize,
        loaded: Result<(ServerContext, Vec<String>), TlsError>,
        now: Now,
    ) {
        let Some(tls) = self.listeners.get_mut(listener).and_then(|listener| listener.tls.as_mut()) else { return };
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

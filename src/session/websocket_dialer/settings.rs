//! What a connection to a central needs to know.

use std::time::Duration;

/// An HTTP proxy that is asked to CONNECT. Holds a password: no `Debug`.
#[derive(Clone)]
pub struct WebSocketProxy {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User and password.
    pub auth: Option<(String, String)>,
}

/// Options of module `pullwss`, and bounds. Holds a token: no `Debug`.
#[derive(Clone)]
pub struct WebSocketDialerSettings {
    /// `address`: name or address of the central.
    pub host: String,
    /// `port`
    pub port: u16,
    /// `central_uri` (`/`)
    pub uri: String,
    /// `token`
    pub token: String,
    /// `ssl`
    pub is_tls: bool,
    /// `proxy`
    pub proxy: Option<WebSocketProxy>,
    /// How long each step may take: connecting, the proxy's answer, TLS and upgrade together (10 s).
    pub step_timeout: Duration,
    /// Silence after which the central is given up (120 s); it is pinged after half of that.
    pub silence_timeout: Duration,
    /// The largest message in either direction, in bytes (262144).
    pub max_message_bytes: usize,
    /// Once more bytes than these wait for the central, no more are taken (16 MiB).
    pub max_waiting_bytes: usize,
}

impl WebSocketDialerSettings {
    /// The central as the log names it.
    pub(super) fn shown_address(&self) -> String {
        let scheme = if self.is_tls { "wss" } else { "ws" };
        let Self { host, port, .. } = self;
        let way = if self.proxy.is_some() { format!(" through {}", self.shown_proxy()) } else { String::new() };
        if host.contains(':') {
            format!("{scheme}://[{host}]:{port}{way}")
        } else {
            format!("{scheme}://{host}:{port}{way}")
        }
    }

    /// The proxy as the log names it.
    pub(super) fn shown_proxy(&self) -> String {
        self.proxy.as_ref().map_or_else(String::new, |proxy| format!("the proxy {}:{}", proxy.host, proxy.port))
    }
}

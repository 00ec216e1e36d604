//! Settings of the connection to a central.

use std::time::Duration;

/// An HTTP proxy that supports CONNECT. It holds a password, so it has no `Debug`.
#[derive(Clone)]
pub struct WebSocketProxy {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User and password, if the proxy needs them.
    pub auth: Option<(String, String)>,
}

/// Options of the module `pullwss`, and limits. It holds a token, so it has no `Debug`.
#[derive(Clone)]
pub struct WebSocketDialerSettings {
    /// `address`: host name or address of the central.
    pub host: String,
    /// `port` of the central.
    pub port: u16,
    /// `central_uri` (`/`): path of the upgrade request.
    pub uri: String,
    /// `token` for the central.
    pub token: String,
    /// `ssl`: whether to use TLS.
    pub is_tls: bool,
    /// `proxy` to connect through.
    pub proxy: Option<WebSocketProxy>,
    /// Time limit of each step: connecting, the proxy's answer, TLS and upgrade together (10 s).
    pub step_timeout: Duration,
    /// Silence after which the connection is closed (120 s); a ping is sent after half of it.
    pub silence_timeout: Duration,
    /// Maximum size in bytes of a message in either direction (262144).
    pub max_message_bytes: usize,
    /// Number of bytes waiting for the central beyond which messages are refused (16 MiB).
    pub max_waiting_bytes: usize,
}

impl WebSocketDialerSettings {
    /// The central's address as shown in the log.
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

    /// The proxy's address as shown in the log.
    pub(super) fn shown_proxy(&self) -> String {
        self.proxy.as_ref().map_or_else(String::new, |proxy| format!("the proxy {}:{}", proxy.host, proxy.port))
    }
}

impl super::WebSocketDialer {
    /// Sets the other hosts and ports of the central, which are tried in order when this one fails.
    pub fn also(&mut self, others: Vec<(String, u16)>) {
        self.turns = crate::session::turns::Turns::new(others);
    }
}

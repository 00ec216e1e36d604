//! The role of a daemon in a platform. It is only used in output for people.

use std::fmt;

use super::Config;

/// The role of a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Routes to nodes, and has no central above it.
    Central,
    /// Routes to nodes and is commanded by a central: through its external socket, or as a node that connects there.
    Relay,
    /// Has no nodes.
    Poller,
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Central => "central",
            Self::Relay => "relay",
            Self::Poller => "poller",
        })
    }
}

impl Config {
    /// Derives the role from the settings: without `proxy` a poller; with it a relay if it connects to a central, or if
    /// clients may command it and it has no REST API; otherwise a central.
    #[must_use]
    pub const fn role(&self) -> Role {
        let commanded = self.core.external.is_some() && !self.core.authorized_clients.is_empty();
        let dials_in = self.modules.pull.is_some() || self.modules.pullwss.is_some();
        match (&self.modules.proxy, &self.modules.httpserver) {
            (None, _) => Role::Poller,
            (Some(_), _) if dials_in => Role::Relay,
            (Some(_), None) if commanded => Role::Relay,
            (Some(_), _) => Role::Central,
        }
    }
}

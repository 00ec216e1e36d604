//! The first frame of each direction: who speaks. Members that are not known are ignored.

use serde::{Deserialize, Serialize};

use crate::model::random::{from_hex, to_hex};

/// What an end says of itself.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Greeting {
    /// The client's routing id in hexadecimal digits, which it has said in clear before.
    #[serde(skip_serializing_if = "Option::is_none")]
    routing_id: Option<String>,
    /// The server's host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
}

impl Greeting {
    /// The greeting of a client.
    #[must_use]
    pub fn of_client(routing_id: &[u8]) -> Self {
        Self { routing_id: Some(to_hex(routing_id)), ..Self::default() }
    }

    /// The greeting of a server.
    #[must_use]
    pub fn of_server(hostname: &str) -> Self {
        Self { hostname: Some(hostname.to_owned()), ..Self::default() }
    }

    /// The bytes of the frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Texts can always be written as JSON.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a frame; `None` if it is no greeting.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// The routing id that a client has said.
    #[must_use]
    pub fn routing_id(&self) -> Option<Vec<u8>> {
        self.routing_id.as_deref().and_then(from_hex)
    }
}

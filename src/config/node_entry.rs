//! One entry of a list of nodes: its fields by name, and the registration that they describe (docs/protocol.md sections
//! 5 and 10). It is used for the register file, REGISTERNODES and the Centreon database.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::address;
use super::section::{BOOLEANS, boolean};
use crate::model::connection::Endpoint;
use crate::model::link::LinkMode;
use crate::model::node_id::{self, NodeId};
use crate::model::registration::{NodeKind, Registration, Subnode};
use crate::model::secret::Secret;
use crate::model::ssh::{DEFAULT_CONNECT_TIMEOUT, DEFAULT_PORT, HostKeyCheck, SshTarget};
use crate::model::text::quoted;

/// Default port of a `push_zmq` node.
pub const ZMQ_PORT: &str = "5556";
/// Fields whose surrounding blanks are removed.
pub const WORDS: [&str; 11] = [
    "id",
    "uid",
    "type",
    "address",
    "port",
    "prevail",
    "ssh_port",
    "strict_serverkey_check",
    "ssh_username",
    "ssh_connect_timeout",
    "ssh_legacy_algorithms",
];
/// Fields whose surrounding blanks are significant.
pub const SECRETS: [&str; 2] = ["ssh_password", "ssh_passphrase"];
/// Fields that name a file of this machine; only a source on this machine may set them.
pub const PATHS: [&str; 3] = ["ssh_directory", "ssh_known_hosts", "ssh_identity"];

const IDS: &str = node_id::ALLOWED;
const PORTS: &str = "a whole number from 1 to 65535";
const HOSTS: &str = "a host name, an IPv4 or an IPv6 address, without a port";
const KINDS: &str = "push_zmq, push_ssh, pull, wss or pullwss";
const SCORES: &str = "a whole number from -1000000 to 1000000";
const CHECKS: &str = "true or false (also 1/0, yes/no, on/off), or never";
const TIMEOUTS: &str = "a number of seconds from 1 to 600";

/// The fields of an entry, with the entries below it. It may hold passwords, so it has no `Debug`.
#[derive(Default)]
pub struct NodeEntry {
    fields: BTreeMap<&'static str, String>,
    /// The entries of `nodes`.
    pub below: Vec<NodeEntry>,
}

/// A missing or wrong field. Its text has the form `no address; allowed: …` and follows the word "has".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Index of the entry of `nodes` that has the fault; `None` for the entry itself.
    pub below: Option<usize>,
    /// Name of the field.
    pub field: &'static str,
    /// Text of the field; `None` if missing.
    pub text: Option<String>,
    /// The allowed values.
    pub allowed: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { below, field, text, allowed } = self;
        if let Some(number) = below {
            write!(formatter, "in nodes[{number}] ")?;
        }
        match text {
            Some(text) => write!(formatter, "the invalid {field} {}; allowed: {allowed}", quoted(text)),
            None => write!(formatter, "no {field}; allowed: {allowed}"),
        }
    }
}

impl NodeEntry {
    /// Sets the text of a field; an empty text counts as absent.
    pub fn put(&mut self, field: &'static str, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.fields.insert(field, text);
        }
    }

    /// Returns the text of a field, if present.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    /// Returns the registration that the fields describe.
    ///
    /// # Errors
    /// All faults of the fields.
    pub fn read(&self) -> Result<Registration, Vec<Fault>> {
        let mut reader = Reader { entry: self, below: None, faults: Vec::new() };
        let id = reader.required("id", IDS, |text| text.parse().ok());
        let uid = reader.optional("uid", IDS, |text| text.parse().ok());
        let kind = reader.kind();
        let prevail = reader.optional("prevail", BOOLEANS, boolean).unwrap_or(false);
        let link = reader.optional("link", LinkMode::WORDS, LinkMode::from_word);
        let (mut subnodes, mut faults) = (Vec::with_capacity(self.below.len()), reader.faults);
        for (number, entry) in self.below.iter().enumerate() {
            let mut reader = Reader { entry, below: Some(number), faults: Vec::new() };
            let id: Option<NodeId> = reader.required("id", IDS, |text| text.parse().ok());
            let path_score = reader.optional("pathscore", SCORES, |text| {
                text.parse().ok().filter(|score| (-1_000_000..=1_000_000).contains(score))
            });
            let uid = reader.optional("uid", IDS, |text| text.parse().ok());
            subnodes.extend(id.map(|id| Subnode { id, path_score: path_score.unwrap_or(1), uid }));
            faults.extend(reader.faults);
        }
        let identity = self.text("identity").map(str::to_owned);
        match (id, kind) {
            (Some(id), Some(kind)) if faults.is_empty() => {
                Ok(Registration { id, uid, kind, identity, link, prevail, subnodes })
            }
            _ => Err(faults),
        }
    }

    /// Returns the kind of connection to the node, for an entry without an id.
    ///
    /// # Errors
    /// All faults of the fields.
    pub fn read_kind(&self) -> Result<NodeKind, Vec<Fault>> {
        let mut reader = Reader { entry: self, below: None, faults: Vec::new() };
        let kind = reader.kind();
        kind.filter(|_| reader.faults.is_empty()).ok_or(reader.faults)
    }
}

/// Reads the fields of an entry and collects the faults.
struct Reader<'a> {
    entry: &'a NodeEntry,
    below: Option<usize>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn refuse(&mut self, field: &'static str, text: Option<&str>, allowed: &'static str) {
        self.faults.push(Fault { below: self.below, field, text: text.map(str::to_owned), allowed });
    }

    fn optional<T>(
        &mut self,
        field: &'static str,
        allowed: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.entry.text(field)?;
        let value = read(text);
        if value.is_none() {
            self.refuse(field, Some(text), allowed);
        }
        value
    }

    fn required<T>(
        &mut self,
        field: &'static str,
        allowed: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        if self.entry.text(field).is_none() {
            self.refuse(field, None, allowed);
        }
        self.optional(field, allowed, read)
    }

    fn kind(&mut self) -> Option<NodeKind> {
        let word = self.required("type", KINDS, |text| Some(text.to_owned()))?;
        match word.as_str() {
            "push_zmq" => {
                let host = self.required("address", HOSTS, address::host);
                let port = self.required("port", PORTS, address::port_number);
                Some(NodeKind::PushZmq { endpoint: Endpoint::Tcp { host: host?, port: port? } })
            }
            "push_ssh" => self.ssh_target().map(|target| NodeKind::PushSsh(Box::new(target))),
            "pull" => Some(NodeKind::Pull),
            "wss" | "pullwss" => Some(NodeKind::WebSocket),
            _ => {
                self.refuse("type", Some(&word), KINDS);
                None
            }
        }
    }

    fn ssh_target(&mut self) -> Option<SshTarget> {
        let host = self.required("address", HOSTS, address::host)?;
        let port = self.optional("ssh_port", PORTS, address::port_number).unwrap_or(DEFAULT_PORT);
        let host_key_check = self.optional("strict_serverkey_check", CHECKS, |text| match boolean(text) {
            Some(true) => Some(HostKeyCheck::Strict),
            Some(false) => Some(HostKeyCheck::First),
            None => text.eq_ignore_ascii_case("never").then_some(HostKeyCheck::Never),
        });
        let timeout = self.optional("ssh_connect_timeout", TIMEOUTS, |text| {
            text.parse().ok().filter(|seconds| (1.0..=600.0).contains(seconds)).map(Duration::from_secs_f64)
        });
        let legacy_algorithms = self.optional("ssh_legacy_algorithms", BOOLEANS, boolean).unwrap_or(false);
        let text = |field| self.entry.text(field).map(str::to_owned);
        Some(SshTarget {
            host,
            port,
            username: text("ssh_username").unwrap_or_default(),
            password: text("ssh_password").map(Secret::new),
            directory: text("ssh_directory").map(Into::into),
            known_hosts: text("ssh_known_hosts").map(Into::into),
            identity: text("ssh_identity").map(Into::into),
            passphrase: text("ssh_passphrase").map(Secret::new),
            host_key_check: host_key_check.unwrap_or(HostKeyCheck::First),
            connect_timeout: timeout.unwrap_or(DEFAULT_CONNECT_TIMEOUT),
            legacy_algorithms,
        })
    }
}

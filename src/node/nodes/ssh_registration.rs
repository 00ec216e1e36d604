//! How a node is reached by SSH, as REGISTERNODES says it (docs/protocol.md section 10).

use std::time::Duration;

use serde_json::Value;

use crate::model::node_id::NodeId;
use crate::model::ssh::{DEFAULT_PORT, HostKeyCheck, Secret, SshTarget};

use crate::node::json;

/// A connection may take between one second and ten minutes.
const CONNECT_TIMEOUTS: std::ops::RangeInclusive<f64> = 1.0..=600.0;

/// Options that name a file here: whoever sends them over the network could have us write to it, or try any key.
const PATHS: [&str; 3] = ["ssh_directory", "ssh_known_hosts", "ssh_identity"];

/// Reads the options of an entry that came over the network.
///
/// # Errors
/// What is wrong with it.
pub(in crate::node) fn read(node: &Value, id: NodeId) -> Result<SshTarget, String> {
    let member = |key: &str| node.get(key).filter(|value| !value.is_null());
    if let Some(path) = PATHS.iter().find(|path| member(path).and_then(json::text).is_some()) {
        return Err(format!(
            "node '{id}' has {path}: files of this machine are named by its own register file or database only"
        ));
    }
    let text = |key: &str| member(key).and_then(json::text);
    let port = match member("ssh_port").filter(|port| port.as_str() != Some("")) {
        None => DEFAULT_PORT,
        Some(port) => json::integer(port)
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port > 0)
            .ok_or_else(|| format!("node '{id}' has an invalid ssh_port: use 1 to 65535"))?,
    };
    let check = member("strict_serverkey_check");
    let timeout = member("ssh_connect_timeout").and_then(json::float);
    let timeout = timeout.filter(|seconds| CONNECT_TIMEOUTS.contains(seconds)).unwrap_or(5.0);
    Ok(SshTarget {
        host: text("address").ok_or_else(|| format!("node '{id}' has no address"))?,
        port,
        username: text("ssh_username").unwrap_or_default(),
        password: text("ssh_password").map(Secret::new),
        directory: None,
        known_hosts: None,
        identity: None,
        passphrase: text("ssh_passphrase").map(Secret::new),
        host_key_check: match check {
            Some(word) if word.as_str() == Some("never") => HostKeyCheck::Never,
            Some(truth) if json::is_true(truth) => HostKeyCheck::Strict,
            _ => HostKeyCheck::First,
        },
        connect_timeout: Duration::from_secs_f64(timeout),
        legacy_algorithms: member("ssh_legacy_algorithms").is_some_and(json::is_true),
    })
}

//! The keys and YAML files of the demo's four daemons.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::certificate::{self, Certificate};
use super::ssh_host::{self, SshHost};
use crate::edge::random::SystemRandom;
use crate::model::token::Token;

/// Id of the central.
pub(super) const CENTRAL: u64 = 1;

/// How a daemon of the demo is connected to the central.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The central itself.
    Central,
    /// The central connects to the node over ZeroMQ.
    Push,
    /// The node connects to the central over ZeroMQ.
    Pull,
    /// The node connects to the central over a WebSocket.
    PullWss,
}

pub(super) struct DaemonFiles {
    /// Id of the daemon.
    pub(super) id: u64,
    /// Name of the daemon and of its files.
    pub(super) name: String,
    /// Kind of the daemon.
    pub(super) kind: Kind,
    /// Address on which it listens or to which it connects.
    pub(super) place: String,
    /// Its configuration file.
    pub(super) config: PathBuf,
    /// Its log file.
    pub(super) log: PathBuf,
}

/// The whole platform of the demo.
pub(super) struct Plan {
    /// The daemons, the central first.
    pub(super) daemons: Vec<DaemonFiles>,
    /// TCP port of the central's REST API.
    pub(super) api_port: u16,
    /// Whether the pullwss node connects with TLS; it needs the command `openssl`.
    pub(super) uses_tls: bool,
    central_port: u16,
    push_port: u16,
    websocket_port: u16,
    websocket_token: String,
    certificate: Option<Certificate>,
    /// The host of the node reached by SSH, if any.
    pub(super) ssh: Option<SshHost>,
    folder: PathBuf,
}

/// Creates the keys with `program`, a certificate, and the files of a central and of one node of each kind; those of a
/// host reached by SSH only if `with_ssh`.
///
/// # Errors
/// A file cannot be written, or `program` cannot create keys.
pub(super) fn write(program: &Path, folder: &Path, with_ssh: bool) -> Result<Plan, String> {
    let mut ports = free_ports(5)?.into_iter();
    let mut port = || ports.next().unwrap_or_default();
    let settings = folder.join("openssl.cnf");
    put(&settings, certificate::SETTINGS)?;
    let certificate = certificate::make(folder, &settings)?;
    let mut plan = Plan {
        daemons: Vec::new(),
        api_port: port(),
        uses_tls: certificate.is_some(),
        central_port: port(),
        push_port: port(),
        websocket_port: port(),
        websocket_token: Token::generate(&mut SystemRandom::new()).as_str().to_owned(),
        certificate,
        ssh: if with_ssh { ssh_host::make(folder, port())? } else { None },
        folder: folder.to_owned(),
    };
    let kinds = [
        (CENTRAL, "central", Kind::Central),
        (2, "push", Kind::Push),
        (3, "pull", Kind::Pull),
        (4, "pullwss", Kind::PullWss),
    ];
    for (id, name, kind) in kinds {
        let keys = folder.join("keys").join(name);
        fs::create_dir_all(&keys).map_err(|error| format!("{} cannot be made: {error}", keys.display()))?;
        own(program, &["keys", "generate"], &keys)?;
        plan.daemons.push(DaemonFiles {
            id,
            name: name.to_owned(),
            kind,
            place: plan.place(kind),
            config: folder.join(format!("{name}.yaml")),
            log: folder.join(format!("{name}.log")),
        });
    }
    let thumbprint = |name: &str| -> Result<String, String> {
        let said = own(program, &["keys", "thumbprint"], &folder.join("keys").join(name).join("rsakey.pub.pem"))?;
        Ok(said.split_whitespace().last().unwrap_or_default().to_owned())
    };
    let (central, pull) = (thumbprint("central")?, thumbprint("pull")?);
    for daemon in &plan.daemons {
        // Each daemon accepts the key of the one that connects to it.
        let trusted = match (daemon.kind, plan.daemons.iter().find(|daemon| daemon.kind == Kind::Pull)) {
            (Kind::Central, Some(node)) => format!("key: {pull}, node: {}", node.id),
            _ => format!("key: {central}, name: central, may: central"),
        };
        put(&daemon.config, &config(&plan, daemon, &trusted))?;
    }
    put(&folder.join("nodes.yaml"), &register_file(&plan))?;
    Ok(plan)
}

/// Runs this program with a path as last argument and returns its output.
pub(super) fn own(program: &Path, arguments: &[&str], path: &Path) -> Result<String, String> {
    let call = format!("stheno {} {}", arguments.join(" "), path.display());
    let output =
        Command::new(program).args(arguments).arg(path).output().map_err(|error| format!("{call}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{call}: {}", String::from_utf8_lossy(&output.stderr).trim_end()))
    }
}

/// Writes a file that only its owner can read, because it may contain a token.
pub(super) fn put(path: &Path, text: &str) -> Result<(), String> {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

/// Returns ports that are free now. All are held until the last is found, so that they differ.
pub(super) fn free_ports(count: usize) -> Result<Vec<u16>, String> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let held: Vec<TcpListener> =
        (0..count).map(|_| bind()).collect::<Result<_, _>>().map_err(|error| format!("no free TCP port: {error}"))?;
    held.iter()
        .map(|listener| listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string()))
        .collect()
}

impl Plan {
    fn place(&self, kind: Kind) -> String {
        let scheme = if self.uses_tls { "wss" } else { "ws" };
        match kind {
            Kind::Central => format!("listens on tcp://127.0.0.1:{}", self.central_port),
            Kind::Push => format!("listens on tcp://127.0.0.1:{}", self.push_port),
            Kind::Pull => format!("connects to tcp://127.0.0.1:{}", self.central_port),
            Kind::PullWss => format!("connects to {scheme}://127.0.0.1:{}", self.websocket_port),
        }
    }

    /// Returns the entries of all modules except `action`.
    fn modules(&self, kind: Kind) -> String {
        match kind {
            Kind::Central => self.central_modules(),
            Kind::Push => String::new(),
            Kind::Pull => format!(
                "{}        target_type: tcp\n        target_path: 127.0.0.1:{}\n",
                module("pull"),
                self.central_port
            ),
            Kind::PullWss => {
                let tls = self.certificate.as_ref().map(|certificate| {
                    format!("        ssl: true\n        ssl_ca_file: {}\n", yaml_path(&certificate.authority))
                });
                format!(
                    "{}        address: 127.0.0.1\n        port: {}\n        token: \"{}\"\n{}",
                    module("pullwss"),
                    self.websocket_port,
                    self.websocket_token,
                    tls.unwrap_or_default()
                )
            }
        }
    }

    fn central_modules(&self) -> String {
        let tls = self.certificate.as_ref().map(|certificate| {
            format!(
                "          ssl: true\n          ssl_cert_file: {}\n          ssl_key_file: {}\n",
                yaml_path(&certificate.server),
                yaml_path(&certificate.key)
            )
        });
        // The first ping of a node is sent at a random moment of the period, so a short period avoids a long wait.
        format!(
            "{}        ping: 5
        httpserver:
          enable: true
          address: 127.0.0.1
          port: {}
          token: \"{}\"
{}{}        config_file: {}
{}        address: 127.0.0.1
        port: {}
",
            module("proxy"),
            self.websocket_port,
            self.websocket_token,
            tls.unwrap_or_default(),
            module("register"),
            yaml_path(&self.folder.join("nodes.yaml")),
            module("httpserver"),
            self.api_port
        )
    }
}

/// Returns the first lines of a module's entry.
pub(super) fn module(name: &str) -> String {
    let group = if matches!(name, "nodes" | "engine" | "legacycmd") { "centreon" } else { "core" };
    format!("      - name: {name}\n        package: gorgone::modules::{group}::{name}::hooks\n        enable: true\n")
}

/// Quotes a path, because a temporary folder may have any name.
pub(super) fn yaml_path(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "''"))
}

/// Returns the beginning of a daemon's configuration, up to its modules: it listens on `port` and accepts the key of
/// the entry `trusted`. A node that dials in needs no port. `made_by` is the command of the demo.
pub(super) fn core(folder: &Path, daemon: &DaemonFiles, made_by: &str, port: Option<u16>, trusted: &str) -> String {
    let (id, name) = (daemon.id, &daemon.name);
    let keys = folder.join("keys").join(name);
    let (private, public) = (yaml_path(&keys.join("rsakey.priv.pem")), yaml_path(&keys.join("rsakey.pub.pem")));
    let database = folder.join(format!("{name}.sdb")).display().to_string().replace('\'', "''");
    let mut text = format!(
        "\
name: {name}
description: made by '{made_by}'
configuration:
  gorgone:
    gorgonecore:
      id: {id}
      hostname: {name}
      privkey: {private}
      pubkey: {public}
      gorgone_db_type: SQLite
      gorgone_db_name: 'dbname={database}'
"
    );
    if let Some(port) = port {
        text.push_str(&format!(
            "      external_com_type: tcp\n      external_com_path: '127.0.0.1:{port}'\n      \
             authorized_clients:\n        - {{{trusted}}}\n"
        ));
    }
    text.push_str("    modules:\n");
    text
}

/// Returns the configuration of one daemon, which accepts the key with the thumbprint `trusted`.
fn config(plan: &Plan, daemon: &DaemonFiles, trusted: &str) -> String {
    let port = match daemon.kind {
        Kind::Central => Some(plan.central_port),
        Kind::Push => Some(plan.push_port),
        Kind::Pull | Kind::PullWss => None,
    };
    let text = core(&plan.folder, daemon, "stheno demo", port, trusted);
    let roots = format!("        copy_roots: [{}]\n", yaml_path(&plan.folder));
    format!("{text}{}{roots}{}", module("action"), plan.modules(daemon.kind))
}

/// Returns the central's register file.
fn register_file(plan: &Plan) -> String {
    let mut text = "nodes:\n".to_owned();
    for daemon in &plan.daemons {
        let id = daemon.id;
        let kind = match daemon.kind {
            Kind::Central => continue,
            Kind::Push => format!("push_zmq\n    address: 127.0.0.1\n    port: {}", plan.push_port),
            Kind::Pull => "pull".to_owned(),
            Kind::PullWss => "wss".to_owned(),
        };
        text.push_str(&format!("  - id: {id}\n    type: {kind}\n    prevail: 1\n"));
    }
    text.extend(plan.ssh.iter().map(|host| host.entry(yaml_path)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_files_that_are_written_are_configurations_without_a_warning() {
        let folder = std::env::temp_dir().join(format!("stheno-demo-files-'x'-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let certificate = ["ca.pem", "server.pem", "server.key"].map(|name| folder.join(name));
        certificate.iter().for_each(|file| put(file, "").unwrap());
        let [authority, server, key] = certificate;
        for with_tls in [true, false] {
            let certificate = Certificate { authority: authority.clone(), server: server.clone(), key: key.clone() };
            let mut plan = Plan {
                daemons: Vec::new(),
                api_port: 1,
                uses_tls: with_tls,
                central_port: 2,
                push_port: 3,
                websocket_port: 4,
                websocket_token: "t0k3n".to_owned(),
                certificate: with_tls.then_some(certificate),
                ssh: None,
                folder: folder.clone(),
            };
            for (id, kind) in [(1, Kind::Central), (2, Kind::Push), (3, Kind::Pull), (4, Kind::PullWss)] {
                let config = folder.join(format!("{id}.yaml"));
                let (name, log, place) = (format!("node-{id}"), folder.join("x.log"), plan.place(kind));
                plan.daemons.push(DaemonFiles { id, name, kind, place, config, log });
            }
            put(&folder.join("nodes.yaml"), &register_file(&plan)).unwrap();
            const TRUSTED: &str = "key: 0123456789abcdefghijABCDEFGHIJ-_0123456789a, name: central, may: central";
            for daemon in &plan.daemons {
                put(&daemon.config, &config(&plan, daemon, TRUSTED)).unwrap();
                let read = config::load(&daemon.config).unwrap_or_else(|problems| panic!("{problems:?}"));
                assert_eq!(read.warnings, [], "{}", daemon.name);
            }
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}

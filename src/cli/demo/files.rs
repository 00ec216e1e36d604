//! The keys and YAML files of the demo's three daemons.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Id of the central.
pub(super) const CENTRAL: u64 = 1;

/// One daemon and its files.
pub(super) struct DaemonFiles {
    /// Its id.
    pub(super) id: u64,
    /// Its name, also that of its files.
    pub(super) name: String,
    /// TCP port of its external socket.
    pub(super) port: u16,
    /// TCP port of its REST API; only the central has one.
    pub(super) api_port: u16,
    /// Its configuration file.
    pub(super) config: PathBuf,
    /// Its log file.
    pub(super) log: PathBuf,
}

/// Makes the keys with `program` and writes the files of a central and two pollers, the central first.
///
/// # Errors
/// A file cannot be written, or `program` makes no keys.
pub(super) fn write(program: &Path, folder: &Path) -> Result<Vec<DaemonFiles>, String> {
    let mut ports = free_ports(4)?.into_iter();
    let mut port = || ports.next().unwrap_or_default();
    let api_port = port();
    let daemons: Vec<DaemonFiles> = [(CENTRAL, "central"), (2, "poller-2"), (3, "poller-3")]
        .into_iter()
        .map(|(id, name)| DaemonFiles {
            id,
            name: name.to_owned(),
            port: port(),
            api_port,
            config: folder.join(format!("{name}.yaml")),
            log: folder.join(format!("{name}.log")),
        })
        .collect();
    for daemon in &daemons {
        let keys = folder.join("keys").join(&daemon.name);
        fs::create_dir_all(&keys).map_err(|error| format!("{} cannot be made: {error}", keys.display()))?;
        own(program, &["keys", "generate"], &keys)?;
    }
    let said = own(program, &["keys", "thumbprint"], &folder.join("keys/central/rsakey.pub.pem"))?;
    let thumbprint = said.split_whitespace().last().unwrap_or_default();
    for daemon in &daemons {
        put(&daemon.config, &config(folder, daemon, thumbprint))?;
    }
    put(&folder.join("nodes.yaml"), &register_file(&daemons))?;
    Ok(daemons)
}

/// Runs this program with a path as last argument and returns what it printed.
fn own(program: &Path, arguments: &[&str], path: &Path) -> Result<String, String> {
    let call = format!("stheno {} {}", arguments.join(" "), path.display());
    let output =
        Command::new(program).args(arguments).arg(path).output().map_err(|error| format!("{call}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{call}: {}", String::from_utf8_lossy(&output.stderr).trim_end()))
    }
}

fn put(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

/// Ports that are free now. All are held until the last is found, so no port comes twice.
fn free_ports(count: usize) -> Result<Vec<u16>, String> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let held: Vec<TcpListener> =
        (0..count).map(|_| bind()).collect::<Result<_, _>>().map_err(|error| format!("no free TCP port: {error}"))?;
    held.iter()
        .map(|listener| listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string()))
        .collect()
}

/// The configuration of one daemon. Paths are quoted, because a temporary folder may have any name.
fn config(folder: &Path, daemon: &DaemonFiles, central_thumbprint: &str) -> String {
    let folder = folder.display().to_string().replace('\'', "''");
    let (id, name, port) = (daemon.id, &daemon.name, daemon.port);
    let mut text = format!(
        "\
name: {name}
description: made by 'stheno demo'
configuration:
  gorgone:
    gorgonecore:
      id: {id}
      hostname: {name}
      external_com_type: tcp
      external_com_path: '127.0.0.1:{port}'
      privkey: '{folder}/keys/{name}/rsakey.priv.pem'
      pubkey: '{folder}/keys/{name}/rsakey.pub.pem'
      authorized_clients:
        - key: {central_thumbprint}
      gorgone_db_type: SQLite
      gorgone_db_name: 'dbname={folder}/{name}.sdb'
    modules:
      - name: action
        package: gorgone::modules::core::action::hooks
        enable: true
"
    );
    if id == CENTRAL {
        let api_port = daemon.api_port;
        text.push_str(&format!(
            "      - name: proxy
        package: gorgone::modules::core::proxy::hooks
        enable: true
      - name: register
        package: gorgone::modules::core::register::hooks
        enable: true
        config_file: '{folder}/nodes.yaml'
      - name: httpserver
        package: gorgone::modules::core::httpserver::hooks
        enable: true
        address: 127.0.0.1
        port: {api_port}
"
        ));
    }
    text
}

/// The list of nodes that the central connects to.
fn register_file(daemons: &[DaemonFiles]) -> String {
    let mut text = "nodes:\n".to_owned();
    for daemon in daemons.iter().filter(|daemon| daemon.id != CENTRAL) {
        let (id, port) = (daemon.id, daemon.port);
        text.push_str(&format!(
            "  - id: {id}\n    type: push_zmq\n    address: 127.0.0.1\n    port: {port}\n    prevail: 1\n"
        ));
    }
    text
}

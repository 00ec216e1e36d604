//! Directories, keys, configuration and processes of the measured daemons.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::Value;
use stheno::model::random::Random;
use stheno::wire::gorgone::keys::PrivateKey;
use stheno::wire::gorgone::seeded_random::SEED_LEN;

use crate::http_client::HttpClient;
use crate::process::Writes;
use crate::{Outcome, certificate, peer, process};

/// Time limit for a daemon to reach a state; longer for another daemon than ours.
fn patience() -> Duration {
    Duration::from_secs(if peer::get().is_some() { 180 } else { 30 })
}

/// The token of every WebSocket listener.
pub const WEBSOCKET_TOKEN: &str = "t0k3n-of-the-measurements";

/// Whether each daemon's use of processor and files is printed when it is killed (`--usage`).
pub static USAGE: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// The random source of the system.
#[derive(Default)]
pub struct SystemRandomness(Option<SystemRandom>);

impl SystemRandomness {
    /// Returns a seed for one job.
    #[must_use]
    pub fn seed(&mut self) -> [u8; SEED_LEN] {
        let mut seed = [0; SEED_LEN];
        self.fill(&mut seed);
        seed
    }
}

impl Random for SystemRandomness {
    fn fill(&mut self, bytes: &mut [u8]) {
        let source = self.0.get_or_insert_with(SystemRandom::new);
        // The system's source does not fail on the systems used for measurements; zeros would be sufficient here.
        source.fill(bytes).unwrap_or_default();
    }
}

/// Returns the key of all daemons and clients. One key is enough, because only the generation of keys takes time.
///
/// # Errors
/// No key can be generated.
pub fn key() -> Outcome<&'static PrivateKey> {
    static KEY: OnceLock<Result<PrivateKey, String>> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        PrivateKey::generate(2048, &mut SystemRandomness::default()).map_err(|error| format!("no key: {error}"))
    });
    Ok(key.as_ref().map_err(Clone::clone)?)
}

/// The role of a daemon.
pub struct Role {
    /// Id of the daemon.
    pub id: u64,
    /// Whether the REST API is enabled.
    pub with_api: bool,
    /// Ids and ports of its push nodes; if there are any, the proxy is loaded.
    pub nodes: Vec<(u64, u16)>,
    /// Ids and register entries of its SSH nodes; if there are any, the proxy is loaded.
    pub ssh_nodes: Vec<(u64, String)>,
    /// Number of pullwss nodes, with ids from 2, that may dial in; if there are any, the proxy with a WebSocket
    /// listener is loaded.
    pub websocket_nodes: usize,
    /// Ids of its pull nodes.
    pub pull_nodes: Vec<u64>,
    /// Whether it syncs its nodes by itself, at the default interval.
    pub has_default_syncs: bool,
    /// Whether the API is without TLS, whatever [`Role::with_tls`] says.
    pub has_plain_api: bool,
    /// Interval of its pings in seconds; `None` for the original's default.
    pub ping_s: Option<u32>,
    /// Whether the listeners of the API and of WebSockets use TLS.
    pub with_tls: bool,
    /// Whether its commits are batched.
    pub is_batched: bool,
    /// Another build of ours that runs instead of this one.
    pub program: Option<&'static Path>,
    /// Port of the WebSocket listener (without TLS) of the central that it dials.
    pub central: Option<u16>,
    /// Port of the external socket of the central that it dials.
    pub pull: Option<u16>,
}

impl Role {
    /// Returns the role of a node with the module `action`.
    #[must_use]
    pub const fn poller(id: u64) -> Self {
        Self {
            id,
            with_api: false,
            nodes: Vec::new(),
            ssh_nodes: Vec::new(),
            websocket_nodes: 0,
            pull_nodes: Vec::new(),
            has_default_syncs: false,
            has_plain_api: false,
            ping_s: None,
            with_tls: false,
            is_batched: false,
            program: None,
            central: None,
            pull: None,
        }
    }

    /// Returns the role of a central with the API and these pollers as push nodes.
    #[must_use]
    pub fn central(pollers: &[Daemon]) -> Self {
        let nodes = (2..).zip(pollers).map(|(id, poller)| (id, poller.port)).collect();
        Self { with_api: true, nodes, ..Self::poller(1) }
    }

    /// Returns the role of a central with the API into which `nodes` pullwss nodes may dial.
    #[must_use]
    pub fn websocket_server(nodes: usize, ping_s: u32, with_tls: bool) -> Self {
        Self { with_api: true, websocket_nodes: nodes, ping_s: Some(ping_s), with_tls, ..Self::poller(1) }
    }

    /// Returns the role of a poller that dials a central's WebSocket listener.
    #[must_use]
    pub fn websocket_dialer(id: u64, central: &Daemon) -> Self {
        Self { central: Some(central.websocket_port), ..Self::poller(id) }
    }

    /// Returns the role of a poller that dials a central's external socket.
    #[must_use]
    pub fn pull_node(id: u64, central: &Daemon) -> Self {
        Self { pull: Some(central.port), ..Self::poller(id) }
    }
}

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    directory: PathBuf,
    /// Port of the external socket.
    pub port: u16,
    /// Port of the API; unused if the API is disabled.
    pub api_port: u16,
    /// Port of the WebSocket listener; unused if there is none.
    pub websocket_port: u16,
    /// Time of the start.
    pub started: Instant,
}

impl Daemon {
    /// Writes keys and configuration and starts the daemon, without waiting until it is ready.
    ///
    /// # Errors
    /// Files cannot be written or the program cannot be started.
    pub fn start(role: &Role) -> Outcome<Self> {
        static RUNS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let run = RUNS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}-{run}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let ports = Ports { external: free_port()?, api: free_port()?, websocket: free_port()? };
        write_files(&directory, role, &ports)?;
        // Each daemon has its own copy of the program: pages shared with other daemons would make each look smaller
        // than the only daemon of a machine.
        if peer::get().is_none() {
            let program = role.program.unwrap_or(Path::new(env!("CARGO_BIN_EXE_stheno")));
            fs::copy(program, directory.join("stheno"))?;
        }
        let started = Instant::now();
        let child = spawn(&directory)?;
        let Ports { external: port, api: api_port, websocket: websocket_port } = ports;
        Ok(Self { child, directory, port, api_port, websocket_port, started })
    }

    /// Kills the daemon and starts it again with the same files.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn restart(&mut self) -> Outcome<()> {
        self.kill()?;
        self.started = Instant::now();
        self.child = spawn(&self.directory)?;
        Ok(())
    }

    /// Starts a daemon and waits until its external socket accepts connections.
    ///
    /// # Errors
    /// The daemon does not become ready.
    pub fn start_ready(role: &Role) -> Outcome<Self> {
        let mut daemon = Self::start(role)?;
        daemon.wait_until("its external socket", |daemon| {
            Ok(std::net::TcpStream::connect(("127.0.0.1", daemon.port)).is_ok())
        })?;
        Ok(daemon)
    }

    /// Returns the process id.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Returns the directory of its files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the path of the database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.directory.join("history.sdb")
    }

    /// Waits for a condition, which is checked every millisecond, and returns the time since the start of the daemon.
    ///
    /// # Errors
    /// The daemon ends or the condition is not met in time; with the end of the log.
    pub fn wait_until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> Outcome<bool>) -> Outcome<Duration> {
        let begun = Instant::now();
        loop {
            if holds(self).unwrap_or(false) {
                return Ok(self.started.elapsed());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the daemon ended ({status}) before {what}: {}", self.last_words()).into());
            }
            if begun.elapsed() > patience() {
                return Err(format!("no {what} after {} s: {}", patience().as_secs(), self.last_words()).into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until every one of `nodes` has answered a ping.
    ///
    /// # Errors
    /// A node does not answer.
    pub fn wait_for_pongs(&mut self, nodes: usize) -> Outcome<Duration> {
        self.wait_until("answer to a ping of every node", |daemon| {
            let status = HttpClient::connect(daemon.api_port)?.get("/api/internal/constatus")?.json()?;
            let entries = status.get("data").and_then(Value::as_object).ok_or("no constatus map")?;
            let answered = entries.values().filter(|entry| as_f64(entry.get("last_ping_recv")) > 0.0).count();
            Ok(answered >= nodes)
        })
    }

    /// Kills the daemon and waits for its end, so that its files can be read.
    ///
    /// # Errors
    /// Waiting for the process fails.
    pub fn kill(&mut self) -> Outcome<()> {
        if USAGE.load(std::sync::atomic::Ordering::Relaxed) {
            self.print_usage().unwrap_or_default();
        }
        // Another daemon may have several processes. There are none if it has already ended.
        process::signal_group("KILL", self.child.id()).unwrap_or_default();
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Stops the daemon with SIGTERM and returns the time until all its processes have ended.
    ///
    /// # Errors
    /// The daemon does not stop in time, or its exit status is not 0.
    pub fn stop(&mut self) -> Outcome<Duration> {
        let begun = Instant::now();
        process::signal_group("TERM", self.child.id())?;
        while begun.elapsed() < patience() {
            if let Some(status) = self.child.try_wait()?
                && process::of_group(self.child.id())?.is_empty()
            {
                let elapsed = begun.elapsed();
                return if status.success() { Ok(elapsed) } else { Err(format!("it stopped with {status}").into()) };
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(format!("it did not stop within {} s: {}", patience().as_secs(), self.last_words()).into())
    }

    /// Prints the resources that the daemon has used so far.
    fn print_usage(&self) -> Outcome<()> {
        let (seconds, writes) = (process::own_cpu_seconds(self.process())?, process::Writes::of(self.process())?);
        let name = self.directory.file_name().unwrap_or_default().to_string_lossy();
        let Writes { file_bytes, calls } = writes;
        eprintln!("  {name}: {seconds:.2} s of a processor, {file_bytes} bytes to files, {calls} writing calls");
        Ok(())
    }

    fn last_words(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        let text = read("output.log") + &read("daemon.log");
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The daemon may have ended already; a remaining directory is harmless.
        self.kill().unwrap_or_default();
        fs::remove_dir_all(&self.directory).unwrap_or_default();
    }
}

/// Reads a number of a constatus map, which may be written as text.
fn as_f64(value: Option<&Value>) -> f64 {
    match value {
        Some(Value::Number(number)) => number.as_f64().unwrap_or_default(),
        Some(Value::String(text)) => text.parse().unwrap_or_default(),
        _ => 0.0,
    }
}

/// The ports of a daemon.
struct Ports {
    external: u16,
    api: u16,
    websocket: u16,
}

fn spawn(directory: &Path) -> Outcome<Child> {
    let log = fs::OpenOptions::new().create(true).append(true).open(directory.join("output.log"))?;
    let child =
        peer::command(directory).process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
    Ok(child)
}

fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn write_files(directory: &Path, role: &Role, ports: &Ports) -> Outcome<()> {
    let key = key()?;
    write_file(&directory.join("private.pem"), &key.to_pkcs1_pem().map_err(|error| error.to_string())?, 0o600)?;
    write_file(&directory.join("public.pem"), &key.public().to_pem(), 0o640)?;
    write_file(&directory.join("config.yaml"), &configuration(directory, role, ports)?, 0o640)?;
    let mut nodes = String::from("nodes:\n");
    for (id, port) in &role.nodes {
        writeln!(nodes, "  - id: {id}\n    type: push_zmq\n    address: 127.0.0.1\n    port: {port}")?;
    }
    for (id, lines) in &role.ssh_nodes {
        write!(nodes, "  - id: {id}\n{lines}")?;
    }
    for id in (2..).take(role.websocket_nodes) {
        writeln!(nodes, "  - id: {id}\n    type: wss\n    prevail: 1")?;
    }
    for id in &role.pull_nodes {
        writeln!(nodes, "  - id: {id}\n    type: pull\n    prevail: 1")?;
    }
    if role.with_tls {
        certificate::make(directory)?;
    }
    write_file(&directory.join("nodes.yaml"), &nodes, 0o640)
}

fn write_file(file: &Path, text: &str, mode: u32) -> Outcome<()> {
    fs::write(file, text)?;
    Ok(fs::set_permissions(file, fs::Permissions::from_mode(mode))?)
}

fn configuration(directory: &Path, role: &Role, ports: &Ports) -> Outcome<String> {
    let (id, thumbprint, directory) = (role.id, key()?.public().thumbprint(), directory.display());
    let Ports { external: port, api: api_port, websocket: websocket_port } = ports;
    let tls = |indent: &str, with_tls: bool| match with_tls {
        true => format!(
            "{indent}ssl: true\n{indent}ssl_cert_file: {directory}/server.pem\n{indent}ssl_key_file: {directory}/server.key\n"
        ),
        false => format!("{indent}ssl: false\n"),
    };
    let commits = if role.is_batched { "batched" } else { "full" };
    let mut text = format!(
        "name: bench-{id}
configuration:
  gorgone:
    gorgonecore:
      id: {id}
      external_com_type: tcp
      external_com_path: \"127.0.0.1:{port}\"
      privkey: {directory}/private.pem
      pubkey: {directory}/public.pem
      authorized_clients:
        - key: {thumbprint}
      gorgone_db_name: \"dbname={directory}/history.sdb\"
      gorgone_db_synchronous: {commits}
    modules:
      - name: action
        package: gorgone::modules::core::action::hooks
        enable: true
        copy_roots: [{directory}]
"
    );
    if role.with_api {
        write!(
            text,
            "      - name: httpserver
        package: gorgone::modules::core::httpserver::hooks
        enable: true
        address: 127.0.0.1
        port: {api_port}
{}        auth:
          enabled: false
",
            tls("        ", role.with_tls && !role.has_plain_api)
        )?;
    }
    if let Some(port) = role.central {
        write!(
            text,
            "      - name: pullwss
        package: gorgone::modules::core::pullwss::hooks
        enable: true
        address: 127.0.0.1
        port: {port}
        ssl: false
        token: {WEBSOCKET_TOKEN}
"
        )?;
    }
    if let Some(port) = role.pull {
        write!(
            text,
            "      - name: pull
        package: gorgone::modules::core::pull::hooks
        enable: true
        target_type: tcp
        target_path: 127.0.0.1:{port}
"
        )?;
    }
    if !role.nodes.is_empty() || !role.ssh_nodes.is_empty() || role.websocket_nodes > 0 {
        // Elsewhere the daemon starts no syncs by itself, so that the measured one is the only one.
        let syncs = if role.has_default_syncs { "" } else { "        synchistory_time: 3600\n" };
        write!(
            text,
            "      - name: register
        package: gorgone::modules::core::register::hooks
        enable: true
        config_file: {directory}/nodes.yaml
      - name: proxy
        package: gorgone::modules::core::proxy::hooks
        enable: true
{syncs}"
        )?;
        if let Some(seconds) = role.ping_s {
            writeln!(text, "        ping: {seconds}")?;
        }
        if role.websocket_nodes > 0 {
            write!(
                text,
                "        httpserver:
          enable: true
          address: 127.0.0.1
          port: {websocket_port}
          token: {WEBSOCKET_TOKEN}
{}",
                tls("          ", role.with_tls)
            )?;
        }
    }
    Ok(text)
}

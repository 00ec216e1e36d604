//! Directories, keys, configuration and processes of the daemons that are measured.

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

/// A daemon that does not get there in this time never will. Another one than ours may take its time.
fn patience() -> Duration {
    Duration::from_secs(if peer::get().is_some() { 180 } else { 30 })
}

/// The token of every WebSocket listener here.
pub const WEBSOCKET_TOKEN: &str = "t0k3n-of-the-measurements";

/// Whether each daemon's use of processor and files is printed when it is killed (`--usage`).
pub static USAGE: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// The system's randomness.
#[derive(Default)]
pub struct SystemRandomness(Option<SystemRandom>);

impl SystemRandomness {
    /// A seed for one job.
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
        // The system's source fails on no system that these measurements run on; zeros would do for a measurement.
        source.fill(bytes).unwrap_or_default();
    }
}

/// The one key of all daemons and clients here: who has which key costs nothing, making keys does.
///
/// # Errors
/// When none can be made.
pub fn key() -> Outcome<&'static PrivateKey> {
    static KEY: OnceLock<Result<PrivateKey, String>> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        PrivateKey::generate(2048, &mut SystemRandomness::default()).map_err(|error| format!("no key: {error}"))
    });
    Ok(key.as_ref().map_err(Clone::clone)?)
}

/// What a daemon is to be.
pub struct Role {
    /// Its id.
    pub id: u64,
    /// Whether it has the REST API.
    pub with_api: bool,
    /// Ids and ports of the nodes that it reaches; with them it has a proxy.
    pub nodes: Vec<(u64, u16)>,
    /// Ids of nodes that it reaches by SSH and what their entries say; with them it has a proxy.
    pub ssh_nodes: Vec<(u64, String)>,
    /// Pullwss nodes with the ids from 2 on that may dial in; with them it has a proxy and a WebSocket listener.
    pub websocket_nodes: usize,
    /// Period of its pings in seconds, where it is not the original's.
    pub ping_s: Option<u32>,
    /// Whether its listeners, of the API and of WebSockets, use TLS.
    pub with_tls: bool,
    /// Port of the WebSocket listener, without TLS, of the central that it dials.
    pub central: Option<u16>,
    /// Port of the external socket of the central that it dials.
    pub pull: Option<u16>,
}

impl Role {
    /// A node with the module `action`.
    #[must_use]
    pub const fn poller(id: u64) -> Self {
        Self {
            id,
            with_api: false,
            nodes: Vec::new(),
            ssh_nodes: Vec::new(),
            websocket_nodes: 0,
            ping_s: None,
            with_tls: false,
            central: None,
            pull: None,
        }
    }

    /// A central with the API that reaches these pollers.
    #[must_use]
    pub fn central(pollers: &[Daemon]) -> Self {
        let nodes = (2..).zip(pollers).map(|(id, poller)| (id, poller.port)).collect();
        Self { with_api: true, nodes, ..Self::poller(1) }
    }

    /// A central with the API into which so many pullwss nodes may dial.
    #[must_use]
    pub fn websocket_server(nodes: usize, ping_s: u32, with_tls: bool) -> Self {
        Self { with_api: true, websocket_nodes: nodes, ping_s: Some(ping_s), with_tls, ..Self::poller(1) }
    }

    /// A poller that dials a central's WebSocket listener.
    #[must_use]
    pub fn websocket_dialer(id: u64, central: &Daemon) -> Self {
        Self { central: Some(central.websocket_port), ..Self::poller(id) }
    }

    /// A poller that dials a central's external socket.
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
    /// Port of the API; nobody listens there without it.
    pub api_port: u16,
    /// Port of the WebSocket listener; nobody listens there without it.
    pub websocket_port: u16,
    /// When it was started.
    pub started: Instant,
}

impl Daemon {
    /// Writes keys and configuration and starts the daemon; it may not be ready yet.
    ///
    /// # Errors
    /// When files cannot be written or the program cannot be started.
    pub fn start(role: &Role) -> Outcome<Self> {
        static RUNS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let run = RUNS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}-{run}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let ports = Ports { external: free_port()?, api: free_port()?, websocket: free_port()? };
        write_files(&directory, role, &ports)?;
        // A program of its own: pages that are shared with the other daemons here would make each of them look smaller
        // than the only one of a machine is.
        if peer::get().is_none() {
            fs::copy(env!("CARGO_BIN_EXE_stheno"), directory.join("stheno"))?;
        }
        let started = Instant::now();
        let child = spawn(&directory)?;
        let Ports { external: port, api: api_port, websocket: websocket_port } = ports;
        Ok(Self { child, directory, port, api_port, websocket_port, started })
    }

    /// Kills the daemon and starts it again as it was.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn restart(&mut self) -> Outcome<()> {
        self.kill()?;
        self.started = Instant::now();
        self.child = spawn(&self.directory)?;
        Ok(())
    }

    /// Starts a daemon and waits until its external socket is there.
    ///
    /// # Errors
    /// When it does not get there.
    pub fn start_ready(role: &Role) -> Outcome<Self> {
        let mut daemon = Self::start(role)?;
        daemon.wait_until("its external socket", |daemon| {
            Ok(std::net::TcpStream::connect(("127.0.0.1", daemon.port)).is_ok())
        })?;
        Ok(daemon)
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Where its files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The database file.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.directory.join("history.sdb")
    }

    /// Waits for a condition, looking every millisecond, and returns the time since the start at which it held.
    ///
    /// # Errors
    /// When the daemon ends or the condition does not come about; with the end of its log.
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
    /// When one does not.
    pub fn wait_for_pongs(&mut self, nodes: usize) -> Outcome<Duration> {
        self.wait_until("answer to a ping of every node", |daemon| {
            let status = HttpClient::connect(daemon.api_port)?.get("/api/internal/constatus")?.json()?;
            let entries = status.get("data").and_then(Value::as_object).ok_or("no constatus map")?;
            let answered = entries.values().filter(|entry| as_f64(entry.get("last_ping_recv")) > 0.0).count();
            Ok(answered >= nodes)
        })
    }

    /// Kills the daemon and waits for its end, so that its files may be looked at.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Outcome<()> {
        if USAGE.load(std::sync::atomic::Ordering::Relaxed) {
            self.print_usage().unwrap_or_default();
        }
        // Another daemon may have processes beside the one that was started. None is left when it had ended already.
        process::signal_group("KILL", self.child.id()).unwrap_or_default();
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks the daemon to stop and returns how long it took until all its processes were gone.
    ///
    /// # Errors
    /// When it does not stop in time, or not with status 0.
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

    /// Says what the daemon has used so far.
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
        // Ended already, perhaps; a directory that stays behind does no harm.
        self.kill().unwrap_or_default();
        fs::remove_dir_all(&self.directory).unwrap_or_default();
    }
}

/// Numbers of a constatus map may be written as text.
fn as_f64(value: Option<&Value>) -> f64 {
    match value {
        Some(Value::Number(number)) => number.as_f64().unwrap_or_default(),
        Some(Value::String(text)) => text.parse().unwrap_or_default(),
        _ => 0.0,
    }
}

/// Where a daemon may listen.
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
    let tls = |indent: &str| match role.with_tls {
        true => format!(
            "{indent}ssl: true\n{indent}ssl_cert_file: {directory}/server.pem\n{indent}ssl_key_file: {directory}/server.key\n"
        ),
        false => format!("{indent}ssl: false\n"),
    };
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
            tls("        ")
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
        // No synchronisation of its own, so that the one that is measured is the only one.
        write!(
            text,
            "      - name: register
        package: gorgone::modules::core::register::hooks
        enable: true
        config_file: {directory}/nodes.yaml
      - name: proxy
        package: gorgone::modules::core::proxy::hooks
        enable: true
        synchistory_time: 3600
"
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
                tls("          ")
            )?;
        }
    }
    Ok(text)
}

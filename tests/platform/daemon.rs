//! A daemon as a child process.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::api::Api;
use super::client::Client;
use super::{Plan, keys, program, seconds, tail, until};

/// A running daemon; killed and reaped when it is dropped.
pub struct Daemon {
    /// The plan with which it was started.
    pub plan: Plan,
    child: Child,
}

impl Daemon {
    /// Writes the configuration, starts the daemon and waits until it serves.
    #[track_caller]
    pub fn start(plan: Plan) -> Self {
        let mut command = Command::new(program());
        command.arg("run");
        Self::start_as(plan, command)
    }

    /// Does the same with another program, possibly with a subcommand. The usual options are added.
    #[track_caller]
    pub fn start_as(plan: Plan, mut command: Command) -> Self {
        plan.write();
        let mut daemon = Self { child: spawn(&plan, &mut command), plan };
        daemon.wait_until_ready();
        daemon
    }

    /// Starts a daemon that must refuse to start. Returns its exit status and output.
    #[track_caller]
    pub fn refused(plan: Plan) -> (ExitStatus, String) {
        plan.write();
        let mut daemon = Self { child: spawn(&plan, Command::new(program()).arg("run")), plan };
        let status = daemon.wait_for_exit(seconds(20));
        (status, daemon.said())
    }

    #[track_caller]
    fn wait_until_ready(&mut self) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} ended while starting: {status}\n{}", self.plan.name, self.said());
            }
            if self.is_ready() {
                return;
            }
            assert!(start.elapsed() < seconds(40), "{} does not serve within 40 s\n{}", self.plan.name, self.said());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn is_ready(&self) -> bool {
        let external = match &self.plan.external {
            Some((kind, path)) if kind == "ipc" => UnixStream::connect(path).is_ok(),
            Some((_, path)) => TcpStream::connect(path).is_ok(),
            None => self.plan.stands_by || TcpStream::connect(("127.0.0.1", self.plan.port)).is_ok(),
        };
        external && self.plan.api_port.is_none_or(|port| TcpStream::connect(("127.0.0.1", port)).is_ok())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name (`TERM`, `HUP`, `STOP` …).
    pub fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.pid());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success(), "{line}");
    }

    /// Kills it as a power failure would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it with SIGTERM and returns its exit status and the time that it took.
    #[track_caller]
    pub fn stop(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        self.signal("TERM");
        (self.wait_for_exit(seconds(40)), start.elapsed())
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn wait_for_exit(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < limit, "{} still runs after {limit:?}\n{}", self.plan.name, self.said());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again after [`Self::kill`] or [`Self::stop`], with the same ports and files.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.child = spawn(&self.plan, Command::new(program()).arg("run"));
        self.wait_until_ready();
    }

    /// Panics if it has ended.
    #[track_caller]
    pub fn assert_running(&mut self) {
        let status = self.child.try_wait().unwrap();
        assert!(status.is_none(), "{} ended: {status:?}\n{}", self.plan.name, self.said());
    }

    /// Its REST API.
    pub fn api(&self) -> Api {
        Api::new(self.plan.api_port.expect("this daemon has no API"))
    }

    /// Opens a session of an authorised client on its external socket.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.plan.port, "client", "gorgone-client").unwrap()
    }

    /// Its database, read-only.
    pub fn database(&self) -> Connection {
        open_database(&self.plan.database)
    }

    /// Returns its log so far.
    pub fn log(&self) -> String {
        fs::read(self.plan.log_file()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until the log contains a text.
    #[track_caller]
    pub fn wait_for_log(&self, words: &str, limit: Duration) {
        until(&format!("'{words}' in the log of {}", self.plan.name), limit, || {
            self.log().contains(words).then_some(())
        });
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.memory_kib("VmRSS:")
    }

    /// Peak resident memory in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    fn memory_kib(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn said(&self) -> String {
        let out = self.plan.folder.join(format!("{}.out", self.plan.name));
        let log = tail(&self.plan.log_file(), 40);
        format!("--- {} printed\n{}\n--- its log ends with\n{log}", self.plan.name, tail(&out, 40))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
        if thread::panicking() {
            eprintln!("{}", self.said());
        }
    }
}

/// Opens a database read-only.
pub fn open_database(path: &Path) -> Connection {
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    database.busy_timeout(seconds(5)).unwrap();
    database.pragma_update(None, "query_only", true).unwrap();
    database
}

/// Starts the process with its standard output and error in a file.
fn spawn(plan: &Plan, command: &mut Command) -> Child {
    let out = File::options().create(true).append(true).open(plan.folder.join(format!("{}.out", plan.name))).unwrap();
    command
        .arg(format!("--config={}", plan.config_file().display()))
        .arg(format!("--logfile={}", plan.log_file().display()))
        .arg(format!("--severity={}", plan.severity))
        .envs(plan.environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap()
}

/// Returns the key pair of a client that no daemon of a test trusts.
pub fn stranger() -> std::path::PathBuf {
    keys::private_file("stranger")
}

//! A Gorgone platform of real processes in a temporary folder: keys, YAML files, daemons that are killed and reaped
//! when the test ends. It does not use the protocol code of the library, so a mistake there cannot hide itself.
#![allow(dead_code, reason = "each test crate uses its own part of this")]

pub mod api;
pub mod between;
pub mod client;
pub mod daemon;
pub mod fake_clock;
pub mod keys;
pub mod plan;
pub mod small_disk;
pub mod thin_line;
pub mod zmtp;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub use daemon::Daemon;
pub use plan::Plan;
#[allow(unused_imports, reason = "each test crate uses its own part of this")]
pub use small_disk::SmallDisk;

/// The program under test.
pub const STHENO: &str = env!("CARGO_BIN_EXE_stheno");

/// Returns the program to start: [`STHENO`], or the one that `STHENO_PROGRAM` names, to compare it with another build.
pub fn program() -> String {
    std::env::var("STHENO_PROGRAM").unwrap_or_else(|_| STHENO.to_owned())
}

/// A temporary folder. It is removed if the test passed; otherwise it is kept and named.
pub struct Platform {
    folder: PathBuf,
}

impl Platform {
    /// An empty folder with a short path, because a path of a Unix socket has at most 107 bytes.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("stheno-{}-{count}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self { folder }
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file in the folder and returns its path.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Settings of a daemon with an external socket, and without an API and nodes.
    pub fn plan(&self, name: &str, id: u32) -> Plan {
        Plan::new(&self.folder, name, id)
    }

    /// A central with an API that pushes to `pollers`, which are started first.
    pub fn central_with(&self, pollers: &[&Daemon]) -> Plan {
        let mut plan = self.plan("central", 1).with_api();
        for poller in pollers {
            plan = plan.with_node(poller.plan.id, poller.plan.port);
        }
        plan
    }

    /// A started poller and a started central that knows it.
    pub fn pair(&self) -> (Daemon, Daemon) {
        let poller = Daemon::start(self.plan("poller", 2));
        let central = Daemon::start(self.central_with(&[&poller]));
        (central, poller)
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("files of the failed test are kept in {}", self.folder.display());
        } else if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("{} is left behind: {error}", self.folder.display());
        }
    }
}

/// Returns a TCP port of 127.0.0.1 on which nobody listens. It is below the range that the system uses for outgoing
/// connections, so that it stays free while its daemon restarts.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    let base = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let at = base.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + at).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free TCP port between {FIRST} and {}", FIRST + COUNT);
}

/// Factor by which limits are longer on a loaded machine than on an idle one. It separates a delay from a hang and
/// measures nothing; `benches/scenarios` does.
const PATIENCE: u32 = 4;

/// Fails the test if `time` was longer than `limit` allows on a loaded machine.
#[track_caller]
pub fn assert_within(time: Duration, limit: Duration) {
    assert!(time < limit * PATIENCE, "{time:?} where a machine with nothing else to do needs less than {limit:?}");
}

/// Probes every 10 ms until `probe` gives a value; fails the test, naming `what`, after `limit` (and [`PATIENCE`]).
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(start.elapsed() < limit * PATIENCE, "not within {limit:?} or {PATIENCE} times that: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Returns a limit in seconds.
pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Returns the last `count` lines of a file, or why there are none.
pub fn tail(path: &Path, count: usize) -> String {
    match fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(count)..].join("\n")
        }
        Err(error) => format!("({error})"),
    }
}

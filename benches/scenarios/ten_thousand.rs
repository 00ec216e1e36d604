//! A central with very many nodes, all simulated by this process: half of them pullwss with TLS, three tenths pull, two
//! tenths push.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::certificate::authority;
use crate::footprint::megabytes;
use crate::gorgone_client::GorgoneClient;
use crate::http_client::{HttpClient, request};
use crate::load::{float, percentile_ms};
use crate::platform::{Daemon, Role, key};
use crate::process::{own_cpu_seconds, pss_bytes};
use crate::report::{Figure, Target};
use crate::websocket_nodes::{Behaviour, WebSocketNodes};
use crate::zmq_nodes::ZmqNodes;
use crate::{Outcome, Scale};

/// Commands a second, to all nodes in turn.
const COMMANDS_PER_SECOND: usize = 200;
/// Duration of the measurement of a quiet central: each node is pinged once in it.
const QUIET: Duration = Duration::from_secs(60);
/// Duration of the measurement with commands.
const BUSY: Duration = Duration::from_secs(20);
/// Time limit until all nodes are there.
const PATIENCE: Duration = Duration::from_secs(300);

/// All nodes.
struct Fleet {
    websocket: WebSocketNodes,
    pull: ZmqNodes,
    push: ZmqNodes,
    count: usize,
}

impl Fleet {
    fn pinged(&self) -> usize {
        let websocket = self.websocket.seen.pinged.load(Ordering::Relaxed);
        [&self.pull, &self.push]
            .iter()
            .fold(websocket, |sum, nodes| sum.saturating_add(nodes.counters.pinged.load(Ordering::Relaxed)))
    }

    fn wait(&self) -> Outcome<Duration> {
        let begun = Instant::now();
        while self.pinged() < self.count {
            if begun.elapsed() > PATIENCE {
                let kinds = [
                    self.websocket.seen.pinged.load(Ordering::Relaxed),
                    self.pull.counters.pinged.load(Ordering::Relaxed),
                    self.push.counters.pinged.load(Ordering::Relaxed),
                ];
                return Err(format!("of {} nodes {kinds:?} (pullwss, pull, push) were pinged", self.count).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(begun.elapsed())
    }
}

/// Memory, processor time, latency and the restart of a central with 10,000 nodes.
pub fn ten_thousand_nodes(scale: Scale) -> Outcome<Vec<Figure>> {
    figures(scale.of(10_000))
}

/// The same with 1,000 nodes.
pub fn thousand_nodes(scale: Scale) -> Outcome<Vec<Figure>> {
    figures(scale.of(1_000))
}

/// The same with 100 nodes.
pub fn hundred_nodes(scale: Scale) -> Outcome<Vec<Figure>> {
    figures(scale.of(100))
}

fn figures(count: usize) -> Outcome<Vec<Figure>> {
    let (websocket, pull) = (count / 2, count * 3 / 10);
    let push = count - websocket - pull;
    let first_pull = 2 + u64::try_from(websocket)?;
    let first_push = first_pull + u64::try_from(pull)?;
    stheno::edge::raise_open_file_limit()?;
    let mut sockets = Vec::new();
    for id in (first_push..).take(push) {
        sockets.push((id, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?));
    }
    let mut nodes = Vec::new();
    for (id, socket) in &sockets {
        nodes.push((*id, socket.local_addr()?.port()));
    }
    let pull_nodes = (first_pull..).take(pull).collect();
    let role = Role {
        nodes,
        pull_nodes,
        ping_s: None,
        has_default_syncs: true,
        has_plain_api: true,
        ..Role::websocket_server(websocket, 60, true)
    };
    let mut central = Daemon::start_ready(&role)?;
    let fleet = Fleet {
        websocket: WebSocketNodes::start(Behaviour {
            first_id: 2,
            count: websocket,
            port: central.websocket_port,
            authority: Some(authority(central.directory())),
            pongs_per_second: 0,
        })?,
        pull: ZmqNodes::pull(first_pull..first_push, central.port)?,
        push: ZmqNodes::push(sockets)?,
        count,
    };
    let first = fleet.wait()?;
    eprintln!("  all {count} nodes are there after {:.1} s", first.as_secs_f64());
    std::thread::sleep(Duration::from_secs(15));
    let before = own_cpu_seconds(central.process())?;
    let begun = Instant::now();
    std::thread::sleep(QUIET);
    let quiet = (own_cpu_seconds(central.process())? - before) / begun.elapsed().as_secs_f64() * 100.0;
    let pss = pss_bytes(central.process())?;
    let snapshot = snapshots(&central)?;
    let (busy, busy_ping) = commands(&central, count)?;
    let (back, ping) = restart(&mut central, &fleet)?;
    let figure = |part, value, unit, target| Figure { part, value, unit, target, original: None };
    let kilobytes = megabytes(pss) * 1_000.0 / float(count);
    Ok(vec![
        figure("PSS", megabytes(pss), "MB", Target::AtMost(90.0)),
        figure("PSS, a node", kilobytes, "kB", Target::AtMost(9.0)),
        figure("quiet", quiet, "% of a core", Target::AtMost(15.0)),
        figure("200 commands a second", busy, "% of a core", Target::Small),
        figure("200 commands a second: PING p99", busy_ping, "ms", Target::AtMost(20.0)),
        figure("GET status, whole", snapshot.0, "ms", Target::Small),
        figure("GET metrics, whole", snapshot.1, "ms", Target::Small),
        figure("GET status and metrics: longest PING", snapshot.2, "ms", Target::AtMost(20.0)),
        figure("all back after a restart", back.as_secs_f64(), "s", Target::AtMost(15.0)),
        figure("restart: PING p99", ping, "ms", Target::AtMost(20.0)),
    ])
}

/// A client that sends a PING every 5 ms until it is stopped.
struct Pinger {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<Duration>>,
}

impl Pinger {
    fn start(port: u16) -> Outcome<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = std::thread::Builder::new().spawn(move || {
            let mut taken = Vec::new();
            let connect = || key().and_then(|key| GorgoneClient::connect(port, key));
            let Ok(mut client) = connect() else { return taken };
            while !stopping.load(Ordering::Relaxed) {
                let begun = Instant::now();
                if client.request("[PING] [] [] {}").is_err() {
                    break;
                }
                taken.push(begun.elapsed());
                std::thread::sleep(Duration::from_millis(5));
            }
            taken
        })?;
        Ok(Self { stop, thread })
    }

    fn taken(self) -> Outcome<Vec<Duration>> {
        self.stop.store(true, Ordering::Relaxed);
        let taken = self.thread.join().map_err(|_| "the client died")?;
        if taken.is_empty() { Err("no PING was answered".into()) } else { Ok(taken) }
    }
}

/// The median times of `GET status` and `GET metrics`, and the longest PING meanwhile, in milliseconds.
fn snapshots(central: &Daemon) -> Outcome<(f64, f64, f64)> {
    let mut client = HttpClient::connect(central.api_port)?;
    let pinger = Pinger::start(central.port)?;
    let mut median = |path: &str| -> Outcome<f64> {
        let mut taken = Vec::new();
        for _ in 0..11 {
            let begun = Instant::now();
            let status = client.get(path)?.status;
            if status != 200 {
                return Err(format!("GET {path}: status {status}").into());
            }
            taken.push(begun.elapsed());
        }
        Ok(percentile_ms(&mut taken, 50))
    };
    let both = (median("/api/status")?, median("/metrics")?);
    Ok((both.0, both.1, percentile_ms(&mut pinger.taken()?, 100)))
}

/// The processor time of a central (% of a core) that sends 200 commands a second to its nodes in turn, and the p99 of
/// PING meanwhile.
fn commands(central: &Daemon, count: usize) -> Outcome<(f64, f64)> {
    let mut client = HttpClient::connect(central.api_port)?;
    let pinger = Pinger::start(central.port)?;
    let (before, begun) = (own_cpu_seconds(central.process())?, Instant::now());
    let mut sent = 0_usize;
    while begun.elapsed() < BUSY {
        let due = usize::try_from(begun.elapsed().as_millis())?.saturating_mul(COMMANDS_PER_SECOND) / 1_000;
        while sent < due {
            let id = 2 + sent.checked_rem(count).unwrap_or_default();
            let path = format!("/api/nodes/{id}/core/action/command");
            client.send(request("POST", &path, r#"[{"command":"true"}]"#).as_bytes())?;
            client.receive()?;
            sent += 1;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let used = (own_cpu_seconds(central.process())? - before) / begun.elapsed().as_secs_f64() * 100.0;
    Ok((used, percentile_ms(&mut pinger.taken()?, 99)))
}

/// The time from the restart of a central until it has the PONG of all nodes, and the p99 of PING meanwhile.
fn restart(central: &mut Daemon, fleet: &Fleet) -> Outcome<(Duration, f64)> {
    central.kill()?;
    let begun = Instant::now();
    while fleet.pinged() > 0 && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
    central.restart()?;
    central.wait_until("its external socket", |daemon| {
        Ok(std::net::TcpStream::connect(("127.0.0.1", daemon.port)).is_ok())
    })?;
    let pinger = Pinger::start(central.port)?;
    fleet.wait()?;
    let back = central.started.elapsed();
    Ok((back, percentile_ms(&mut pinger.taken()?, 99)))
}

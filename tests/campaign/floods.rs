//! Floods: requests of strangers and careless callers must not keep a good client from being served. Each flood is
//! compared with the same minute without one.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::item::{Skipped, Trial};
use crate::platform::api::request;
use crate::platform::client::{Client, hello, server_key};
use crate::platform::zmtp::{Dealer, frame, greeting, ready};
use crate::platform::{Daemon, Platform, free_port, keys};

/// Maximum memory of the daemon during floods.
const MEMORY_MAX_KIB: u64 = 120 << 10;
/// Time within which a good client is answered, even by a debug build on a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const ROWS: i64 = 200_000;
/// `u:kolibri`
const LOGIN: &str = "Authorization: Basic dTprb2xpYnJp\r\n";

/// The attackers and the attacked daemon.
struct Attack<'a> {
    central: &'a Daemon,
    wss: u16,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// The names of the three figures, and the function that starts the flood.
type Flood = ([&'static str; 3], fn(&mut Attack<'_>));

const FLOODS: [Flood; 9] = [
    (["PING p99 quiet", "COMMAND quiet", "PSS quiet"], |_| {}),
    (["PING p99 deaf", "COMMAND deaf", "PSS deaf"], deaf),
    (["PING p99 halves", "COMMAND halves", "PSS halves"], halves),
    (["PING p99 strangers", "COMMAND strangers", "PSS strangers"], strangers),
    (["PING p99 scans", "COMMAND scans", "PSS scans"], scans),
    (["PING p99 tls", "COMMAND tls", "PSS tls"], handshakes),
    (["PING p99 guesses", "COMMAND guesses", "PSS guesses"], guesses),
    (["PING p99 crowd", "COMMAND crowd", "PSS crowd"], crowd),
    (["PING p99 loud", "COMMAND loud", "PSS loud"], loud),
];

pub fn floods(trial: &mut Trial) -> Result<(), Skipped> {
    let platform = Platform::new();
    let (certificate, key) = (platform.path("tls.crt"), platform.path("tls.key"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:4096", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout"])
        .args([&key, std::path::Path::new("-out"), &certificate])
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return Err(Skipped("openssl is not installed".to_owned()));
    }
    let wss = free_port();
    let mut plan = platform.plan("central", 1).with_api().with_dial_in_node(7, "wss");
    for line in ["httpserver:", "  enable: true", "  address: 127.0.0.1", "  ssl: true", "  token: t0k3n-0f-the-test"] {
        plan = plan.with_proxy(line);
    }
    plan =
        plan.with_proxy(&format!("  port: {wss}")).with_proxy(&format!("  ssl_cert_file: {}", certificate.display()));
    plan = plan.with_proxy(&format!("  ssl_key_file: {}", key.display()));
    plan = plan.with_api_option("auth: {enabled: true, user: u, password: kolibri}");
    let mut central = Daemon::start(plan);
    fill(&central);
    let time = trial.end.saturating_duration_since(Instant::now()) / 12;
    let time = time.clamp(Duration::from_millis(800), Duration::from_secs(8));
    for ([ping, command, memory], begin) in FLOODS {
        let stop = Arc::new(AtomicBool::new(false));
        let mut attack = Attack { central: &central, wss, stop, threads: Vec::new() };
        begin(&mut attack);
        thread::sleep(time / 8);
        let seen = measure(&central, time, memory);
        attack.stop.store(true, Ordering::Relaxed);
        attack.threads.drain(..).for_each(|thread| thread.join().unwrap());
        trial.worst(ping, seen.ping_p99.as_secs_f64() * 1_000.0, "ms");
        trial.worst(command, seen.command.as_secs_f64() * 1_000.0, "ms");
        trial.worst(memory, seen.pss_kib as f64 / 1_024.0, "MiB");
        trial.tried += 1;
    }
    central.assert_running();
    Ok(())
}

/// Writes many rows, some of them large and with the same token.
fn fill(central: &Daemon) {
    let mut database = rusqlite::Connection::open(&central.plan.database).unwrap();
    database.busy_timeout(Duration::from_secs(20)).unwrap();
    let transaction = database.transaction().unwrap();
    let sql = "INSERT INTO gorgone_history (token, code, etime, ctime, instant, data) VALUES (?1, 2, 1, ?2, 0, ?3)";
    {
        let mut insert = transaction.prepare(sql).unwrap();
        for row in 0..ROWS {
            insert
                .execute(rusqlite::params![format!("old{row}"), 1_000.0 + row as f64 / 1_000.0, "{\"a\":1}"])
                .unwrap();
        }
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(60_000));
        for row in 0..120 {
            insert.execute(rusqlite::params!["big", 2_000.0 + f64::from(row), large]).unwrap();
        }
    }
    transaction.commit().unwrap();
}

struct Seen {
    ping_p99: Duration,
    command: Duration,
    pss_kib: u64,
}

/// Measures a good client for a given time.
fn measure(central: &Daemon, time: Duration, what: &str) -> Seen {
    let mut client = central.client();
    let end = Instant::now() + time;
    let (mut pings, mut seen) =
        (Vec::new(), Seen { ping_p99: Duration::ZERO, command: Duration::ZERO, pss_kib: pss_kib(central.pid()) });
    let mut round = 0;
    while Instant::now() < end || pings.len() < 50 {
        let start = Instant::now();
        assert_eq!(client.request("PING", "ping", "", &json!({})).kind, "PONG");
        pings.push(start.elapsed());
        round += 1;
        if round % 25 == 0 {
            let token = format!("c{}-{round}", what.len() * 7 + pings.len());
            let start = Instant::now();
            client.send("COMMAND", &token, "", &json!({ "content": [{ "command": "true" }] })).unwrap();
            client.wait_for_rows(&token, ANSWER_MAX);
            seen.command = seen.command.max(start.elapsed());
            seen.pss_kib = seen.pss_kib.max(pss_kib(central.pid()));
        }
        assert!(start.elapsed() < ANSWER_MAX, "{what}: {:?}", start.elapsed());
        thread::sleep(Duration::from_millis(2));
    }
    assert!(seen.pss_kib < MEMORY_MAX_KIB, "{what}: {} KiB", seen.pss_kib);
    pings.sort();
    seen.ping_p99 = pings[pings.len() * 99 / 100];
    seen
}

fn pss_kib(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap_or_default().to_owned();
    line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}

impl Attack<'_> {
    /// Repeats an action on its own thread until the end.
    fn repeat(&mut self, mut once: impl FnMut(usize) + Send + 'static) {
        let stop = Arc::clone(&self.stop);
        self.threads.push(thread::spawn(move || {
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                once(round);
                round += 1;
            }
        }));
    }

    /// Keeps a value until the end.
    fn keep<T: Send + 'static>(&mut self, kept: T) {
        let stop = Arc::clone(&self.stop);
        self.threads.push(thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(20));
            }
            drop(kept);
        }));
    }

    fn api_port(&self) -> u16 {
        self.central.plan.api_port.unwrap()
    }
}

/// Opens a connection from its own address.
fn from(last: usize, port: u16) -> std::io::Result<TcpStream> {
    let (high, low) = (u8::try_from(last / 250 % 250).unwrap(), u8::try_from(2 + last % 250).unwrap());
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::from(([127, 9, high, low], 0)))?;
    rustix::net::connect(&socket, &SocketAddr::from(([127, 0, 0, 1], port)))?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    stream.set_write_timeout(Some(Duration::from_millis(200)))?;
    Ok(stream)
}

/// F2: callers that ask for much and do not read the answers.
fn deaf(attack: &mut Attack<'_>) {
    let question = request("GET", "/api/log/big", LOGIN, b"");
    let streams: Vec<TcpStream> = (0..10).filter_map(|number| from(number, attack.api_port()).ok()).collect();
    for mut stream in &streams {
        let _some_of_it = stream.write_all(&question.repeat(64));
    }
    attack.keep(streams);
}

/// Bodies that never become complete.
fn halves(attack: &mut Attack<'_>) {
    let port = attack.api_port();
    let head =
        format!("POST /api/core/action/command HTTP/1.1\r\nHost: 127.0.0.1\r\n{LOGIN}Content-Length: 8000000\r\n\r\n");
    let streams: Vec<TcpStream> = (0..30).filter_map(|number| from(number, port).ok()).collect();
    let body = vec![b' '; 7 << 20];
    for mut stream in &streams {
        let _some_of_it = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
    }
    attack.keep(streams);
}

/// F3: handshakes of strangers from many addresses. Each costs the daemon an RSA operation.
fn strangers(attack: &mut Attack<'_>) {
    let port = attack.central.plan.port;
    let mut dealer = Dealer::connect(port, b"gorgone-first", 0).unwrap();
    dealer.send(b"[GETPUBKEY]").unwrap();
    let server = server_key(&dealer.receive().unwrap()).unwrap();
    let hello = frame(0, &hello(&server, &keys::private("stranger"), "x", b"HELO"));
    for attacker in 0..4 {
        let hello = hello.clone();
        attack.repeat(move |round| {
            let number = attacker * 15 + round % 15;
            let Ok(mut stream) = from(number, port) else { return };
            let identity = format!("gorgone-{attacker}-{round}");
            let bytes = [&greeting(0)[..], &ready(identity.as_bytes()), &hello].concat();
            let _refused = stream.write_all(&bytes).and_then(|()| stream.read(&mut [0; 4_096]));
        });
    }
}

/// F4: questions that read the whole history.
fn scans(attack: &mut Attack<'_>) {
    let port = attack.api_port();
    for number in 0..8 {
        let question = request("GET", "/api/log/absent?code=77&limit=1", LOGIN, b"");
        let mut stream = from(number, port).ok();
        attack.repeat(move |_| {
            let Some(open) = &mut stream else { return stream = from(number, port).ok() };
            let done = open.write_all(&question).and_then(|()| open.read(&mut [0; 4_096]));
            if !done.is_ok_and(|read| read > 0) {
                stream = None;
            }
        });
    }
    for number in 0..4 {
        let mut client = Client::connect(attack.central.plan.port, "client", &format!("gorgone-scan{number}")).unwrap();
        client.set_timeout(Duration::from_secs(20));
        attack.repeat(move |round| {
            let token = format!("scan{round}");
            let _some_answer =
                client.send("GETLOG", &token, "", &json!({ "code": 77 })).and_then(|()| client.receive());
        });
    }
}

/// F5: TLS handshakes with a certificate of 4096 bits.
fn handshakes(attack: &mut Attack<'_>) {
    let port = attack.wss;
    let config = rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty());
    let config = Arc::new(config.with_no_client_auth());
    for attacker in 0..4 {
        let config = Arc::clone(&config);
        attack.repeat(move |round| {
            let Ok(mut stream) = from(attacker * 15 + round % 15, port) else { return };
            let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
            let mut hello = Vec::new();
            let mut client = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
            client.write_tls(&mut hello).unwrap();
            let _refused = stream.write_all(&hello).and_then(|()| stream.read(&mut [0; 8_192]));
        });
    }
}

/// F6: guesses at passwords.
fn guesses(attack: &mut Attack<'_>) {
    let port = attack.api_port();
    for attacker in 0..4 {
        attack.repeat(move |round| {
            let Ok(mut stream) = from(attacker * 15 + round % 15, port) else { return };
            let guess = request("GET", "/api/internal/thumbprint", "Authorization: Basic dTp3cm9uZw==\r\n", b"");
            let _refused = stream.write_all(&guess).and_then(|()| stream.read(&mut [0; 4_096]));
        });
    }
}

/// F8: strangers that hold connections.
fn crowd(attack: &mut Attack<'_>) {
    let (port, api) = (attack.central.plan.port, attack.api_port());
    let streams: Vec<TcpStream> =
        (0..1_500).filter_map(|number| from(number, if number % 2 == 0 { port } else { api }).ok()).collect();
    attack.keep(streams);
}

/// F10: commands that print a lot.
fn loud(attack: &mut Attack<'_>) {
    let mut client = Client::connect(attack.central.plan.port, "client", "gorgone-loud").unwrap();
    for number in 0..30 {
        let content = json!({ "content": [{ "command": "head -c 3000000 /dev/zero | tr '\\0' x", "timeout": 60 }] });
        client.send("COMMAND", &format!("loud{number}"), "", &content).unwrap();
    }
    attack.keep(client);
}

//! A host that closes in every phase: a proxy before sshd that cuts the connection after so many bytes, each node after
//! more.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::json;

use super::server::Sshd;
use super::{COPIED, central};
use crate::platform::api::{code, data};
use crate::platform::{Daemon, Platform, seconds};

/// Opens a port that leads to sshd until a number of bytes went in one direction.
struct Proxy {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Passes bytes on until the limit, then closes both ends.
fn pass(mut from: TcpStream, mut to: TcpStream, limit: usize) {
    let mut left = limit;
    let mut bytes = [0; 4096];
    while left > 0 {
        let room = left.min(bytes.len());
        match from.read(&mut bytes[..room]) {
            Ok(len) if len > 0 && to.write_all(&bytes[..len]).is_ok() => left -= len,
            _ => break,
        }
    }
    let _gone = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

impl Proxy {
    fn start(sshd: u16, from_host: usize, to_host: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if told.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(far) = TcpStream::connect(("127.0.0.1", sshd)) else { continue };
                let (near_2, far_2) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                std::thread::spawn(move || pass(far, near, from_host));
                std::thread::spawn(move || pass(near_2, far_2, to_host));
            }
        });
        Self { port, stop, thread: Some(thread) }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _wakes = TcpStream::connect(("127.0.0.1", self.port));
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn a_host_that_closes_in_any_phase_ends_what_was_asked_of_it_and_harms_nobody_else() {
    const ALL: usize = usize::MAX;
    // The limit is in the middle of the copy and of a packet.
    const STEPS: usize = 40;
    const STEP_BYTES: usize = 181;
    let platform = Platform::new();
    let sshd = Sshd::start(&platform, "host", &[]);
    let there = platform.path("there");
    fs::create_dir(&there).unwrap();
    // The limits lie between the banner and the middle of a file.
    let from_host = (0..STEPS).map(|step| (step * STEP_BYTES, ALL));
    let to_host = (0..STEPS).map(|step| (ALL, step * STEP_BYTES)).chain([(ALL, 700_000), (ALL, 1_500_000)]);
    let proxies: Vec<(u32, Proxy)> =
        (100..).zip(from_host.chain(to_host).map(|(from, to)| Proxy::start(sshd.port, from, to))).collect();
    let mut nodes = vec![(4, sshd.node(&[]))];
    for (id, proxy) in &proxies {
        let lines = sshd.node(&[]).into_iter().filter(|line| !line.starts_with("ssh_port"));
        nodes.push((*id, lines.chain([format!("ssh_port: {}", proxy.port)]).collect()));
    }
    let mut central = Daemon::start(central(&platform, &nodes));
    let api = central.api();
    assert_eq!(api.output_of_ssh(4, "echo first"), "first");
    let body = vec![b'z'; 1_000_000];
    let source = platform.write("source", &body);
    let asked: Vec<(u32, String, String)> = proxies
        .iter()
        .map(|(id, _)| {
            let request = json!({ "source": source, "destination": there.join(id.to_string()) });
            let copied = api.post(&format!("/api/nodes/{id}/core/proxy/remotecopy"), &request).json();
            (*id, api.command(*id, "echo $((6 * 7)); exit 7"), copied["token"].as_str().unwrap().to_owned())
        })
        .collect();
    let (mut ran, mut copies) = (0, 0);
    for (id, command, copied) in &asked {
        let rows = api.finished_rows(0, command, seconds(60));
        match rows.iter().find(|row| code(row) == 100) {
            Some(row) => {
                let (result, whole) =
                    (data(row)["result"].clone(), json!({ "exit_code": 7, "stdout": "42", "stderr": "" }));
                assert_eq!(result, whole, "{id}: a success that was none");
                ran += 1;
            }
            None => assert_eq!(rows.last().map(code), Some(1), "{id}: {rows:?}"),
        }
        let rows = api.finished_rows(0, copied, seconds(60));
        let is_there = there.join(id.to_string()).exists();
        if data(rows.last().unwrap())["message"] == COPIED {
            assert!(is_there, "{id}");
            copies += 1;
        } else {
            assert_eq!(rows.last().map(code), Some(1), "{id}: {rows:?}");
        }
        assert!(!is_there || fs::read(there.join(id.to_string())).unwrap() == body, "{id}: a part of the file");
    }
    assert!(ran > 0 && ran < asked.len() && copies > 0 && copies < ran + 1, "{ran} {copies} of {}", asked.len());
    for words in ["key exchange: the host closed the connection", "during the login", "the host closed the connection"]
    {
        central.wait_for_log(words, seconds(5));
    }
    // The good node was not affected.
    let log = central.log();
    assert!(!log.lines().any(|line| line.contains("WARNING") && line.contains("node '4'")), "{log}");
    assert_eq!(api.output_of_ssh(4, "echo alive"), "alive");
    central.assert_running();
}

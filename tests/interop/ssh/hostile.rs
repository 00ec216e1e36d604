//! Ports that are not SSH hosts, and hosts that end the conversation. They do not affect a good node.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use super::server::Sshd;
use super::{central, command, last_message};
use crate::platform::api::number;
use crate::platform::{Daemon, Platform, assert_within, seconds, until};

/// What a script does with a connection until it is told to stop.
type Serve = fn(TcpStream, &AtomicBool);

/// A port where each connection is given to `serve`, on a thread of its own.
pub struct Script {
    port: u16,
    connections: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Script {
    /// Sends a text to each client and closes the connection.
    pub fn saying(text: &str) -> Self {
        let text = text.to_owned();
        Self::start(move |mut stream: TcpStream, _: &AtomicBool| drop(stream.write_all(text.as_bytes())))
    }

    fn start(serve: impl Fn(TcpStream, &AtomicBool) + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if told.load(Ordering::Relaxed) {
                    break;
                }
                stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let (told, serve) = (Arc::clone(&told), serve.clone());
                std::thread::spawn(move || serve(stream, &told));
            }
        });
        Self { port, connections, stop, thread: Some(thread) }
    }

    /// Returns the number of connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub fn node(&self) -> Vec<String> {
        ["address: 127.0.0.1".to_owned(), format!("ssh_port: {}", self.port), "ssh_connect_timeout: 2".to_owned()]
            .into()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _wakes = TcpStream::connect(("127.0.0.1", self.port));
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Sends nothing until the test ends.
fn silent(mut stream: TcpStream, stop: &AtomicBool) {
    let mut bytes = [0; 1024];
    while !stop.load(Ordering::Relaxed) {
        if stream.read(&mut bytes).is_ok_and(|len| len == 0) {
            return;
        }
    }
}

fn http(mut stream: TcpStream, _stop: &AtomicBool) {
    let _gone = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
}

fn endless_banner(mut stream: TcpStream, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        if stream.write_all("still not SSH\r\n".repeat(100).as_bytes()).is_err() {
            return;
        }
    }
}

/// Sends a line that never ends.
fn endless_line(mut stream: TcpStream, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        if stream.write_all(&[b'x'; 4096]).is_err() {
            return;
        }
    }
}

fn closes_at_once(stream: TcpStream, _stop: &AtomicBool) {
    drop(stream);
}

fn closes_after_its_banner(mut stream: TcpStream, _stop: &AtomicBool) {
    let _gone = stream.write_all(b"SSH-2.0-Script\r\n");
}

fn is_silent_after_its_banner(mut stream: TcpStream, stop: &AtomicBool) {
    let _gone = stream.write_all(b"SSH-2.0-Script\r\n");
    silent(stream, stop);
}

/// Sends bytes that are not a packet instead of the key exchange.
fn talks_nonsense(mut stream: TcpStream, stop: &AtomicBool) {
    let _gone = stream.write_all(b"SSH-2.0-Script\r\n");
    let _gone = stream.write_all(&[0xff; 100_000]);
    silent(stream, stop);
}

#[test]
fn ports_that_are_no_ssh_hosts_are_told_apart_and_cost_a_good_node_nothing() {
    let platform = Platform::new();
    let sshd = Sshd::start(&platform, "host", &[]);
    let scripts: [(Serve, &str); 8] = [
        (silent, "no key exchange within 2 s"),
        (http, "it is not an SSH server, it says: HTTP/1.1 400 Bad Request"),
        (endless_banner, "it is not an SSH server, it says: still not SSH"),
        (endless_line, "it is not an SSH server, it says: xxx"),
        (closes_at_once, "closed the connection"),
        (closes_after_its_banner, "closed the connection"),
        (is_silent_after_its_banner, "no key exchange within 2 s"),
        (talks_nonsense, "key exchange"),
    ];
    let scripts: Vec<(Script, &str)> =
        scripts.into_iter().map(|(serve, words)| (Script::start(serve), words)).collect();
    let mut nodes = vec![(4, sshd.node(&[]))];
    nodes.extend((10..).zip(&scripts).map(|(id, (script, _))| (id, script.node())));
    let central = Daemon::start(central(&platform, &nodes));
    let api = central.api();
    api.wait_for_pong(4, seconds(20));
    let tokens: Vec<String> = (10..18).map(|id| api.command(id, "true")).collect();
    assert_eq!(api.output_of_ssh(4, "echo alive"), "alive");
    for ((token, id), (_, words)) in tokens.iter().zip(10..).zip(&scripts) {
        let rows = api.finished_rows(0, token, seconds(30));
        let said = crate::platform::api::data(rows.last().unwrap())["message"].to_string();
        assert!(said.contains(&format!("cannot connect on target node '{id}'")), "{id}: {said}");
        central.wait_for_log(words, seconds(10));
    }
}

#[test]
fn two_hundred_nodes_of_which_most_are_black_holes_do_not_hold_up_the_others() {
    let platform = Platform::new();
    let sshd = Sshd::start(&platform, "host", &[]);
    let script = Script::start(silent);
    let mut nodes: Vec<(u32, Vec<String>)> = (100..290).map(|id| (id, script.node())).collect();
    nodes.extend((10..20).map(|id| (id, sshd.node(&[]))));
    let central = Daemon::start(central(&platform, &nodes));
    let api = central.api();
    for id in 10..20 {
        api.wait_for_pong(id, seconds(30));
    }
    for id in 10..20 {
        assert_eq!(api.output_of_ssh(id, "echo alive"), "alive");
    }
    let asked = Instant::now();
    let rows = command(&api, 150, &json!([{ "command": "true" }]));
    assert!(last_message(&rows).contains("no key exchange within 2 s"), "{rows:?}");
    assert_within(asked.elapsed(), seconds(25));
    // As for every push node, the ping that could not be sent counts as failed once.
    until("a failed ping is counted", seconds(30), || (number(&api.node_status(150)["ping_failed"]) > 0).then_some(()));
    let (silent, alive) = (api.node_status(150), api.node_status(10));
    assert_eq!(
        (number(&silent["ping_failed"]), number(&silent["ping_ok"]), &silent["type"]),
        (1, 0, &"push_ssh".into())
    );
    assert_eq!((number(&alive["ping_failed"]), number(&alive["ping_ok"])), (0, 1));
}

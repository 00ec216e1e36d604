//! Hosts that are none: good nodes beside them do not notice.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use super::server::Sshd;
use super::{central, command, last_message};
use crate::platform::{Daemon, Platform, assert_within, seconds};

/// What a script does with a connection until it is told to stop.
type Serve = fn(TcpStream, &AtomicBool);

/// A port where each connection is given to `serve`, on a thread of its own.
struct Script {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Script {
    fn start(serve: Serve) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if told.load(Ordering::Relaxed) {
                    break;
                }
                stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
                let told = Arc::clone(&told);
                std::thread::spawn(move || serve(stream, &told));
            }
        });
        Self { port, stop, thread: Some(thread) }
    }

    fn node(&self) -> Vec<String> {
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

/// Says nothing until the test ends.
fn silent(mut stream: TcpStream, stop: &AtomicBool) {
    let mut bytes = [0; 1024];
    while !stop.load(Ordering::Relaxed) {
        if stream.read(&mut bytes).is_ok_and(|len| len == 0) {
            return;
        }
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
}

//! Many ZeroMQ clients that want a session at once.

use std::time::Instant;

use crate::gorgone_client::GorgoneClient;
use crate::load::float;
use crate::platform::{Daemon, Role, key};
use crate::report::{Figure, Target};
use crate::{Outcome, Scale};

/// How many come back: all from one address, which gets no more than a burst of 100 handshakes and then 20 a second.
pub const CLIENTS: usize = 80;

/// At once; the others wait for one of them to be through.
const THREADS: usize = 20;

/// From the restart of a daemon until 80 clients, each with a handshake of its own, have had a PING answered.
pub fn reconnect_storm(scale: Scale) -> Outcome<Vec<Figure>> {
    let count = scale.of(CLIENTS);
    let mut daemon = Daemon::start_ready(&Role::poller(2))?;
    // With the key made and everything warm.
    GorgoneClient::connect(daemon.port, key()?)?.request("[PING] [] [] {}")?;
    daemon.restart()?;
    daemon.wait_until("its external socket", |daemon| {
        Ok(std::net::TcpStream::connect(("127.0.0.1", daemon.port)).is_ok())
    })?;
    let (port, each) = (daemon.port, count.div_ceil(THREADS));
    let begun = Instant::now();
    let clients = std::thread::scope(|scope| {
        let connect = move || -> Outcome<Vec<GorgoneClient>> {
            let mut clients = Vec::new();
            for _ in 0..each {
                let mut client = GorgoneClient::connect(port, key()?)?;
                client.request("[PING] [] [] {}")?;
                clients.push(client);
            }
            Ok(clients)
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(connect)).collect();
        threads.into_iter().try_fold(0_usize, |count, thread| {
            Outcome::Ok(count.saturating_add(thread.join().map_err(|_| "a client died")??.len()))
        })
    })?;
    // What the clients take of the processors is theirs; the figure is of both sides on one machine.
    let elapsed = begun.elapsed().as_secs_f64() * float(count) / float(clients);
    Ok(vec![Figure { part: "", value: elapsed, unit: "s", target: Target::AtMost(1.0), original: None }])
}

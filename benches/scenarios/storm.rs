//! Many ZeroMQ clients that open a session at the same time.

use std::time::Instant;

use crate::gorgone_client::GorgoneClient;
use crate::load::float;
use crate::platform::{Daemon, Role, key};
use crate::report::{Figure, Target};
use crate::{Outcome, Scale};

/// Number of clients. All have the same address, which is limited to a burst of 100 handshakes and then 20 per second.
pub const CLIENTS: usize = 80;

/// Number of simultaneous clients.
const THREADS: usize = 20;

/// Time from the restart of a daemon until 80 clients, each with its own handshake, have had a PING answered.
pub fn reconnect_storm(scale: Scale) -> Outcome<Vec<Figure>> {
    let count = scale.of(CLIENTS);
    let mut daemon = Daemon::start_ready(&Role::poller(2))?;
    // The first session warms up everything and generates the key.
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
    // The figure includes the work of the clients, which run on the same machine.
    let elapsed = begun.elapsed().as_secs_f64() * float(count) / float(clients);
    Ok(vec![Figure { part: "", value: elapsed, unit: "s", target: Target::AtMost(1.0), original: None }])
}

//! Many ZeroMQ clients that open a session at the same time.

use std::time::Instant;

use stheno::wire::tls_link::{ClientTls, TlsIdentity};

use crate::gorgone_client::GorgoneClient;
use crate::load::float;
use crate::platform::{Daemon, Role, key};
use crate::report::{Figure, Target};
use crate::{Outcome, Scale};

/// Number of clients. All have the same address, which is limited to a burst of 100 handshakes and then 20 per second.
pub const CLIENTS: usize = 80;

/// Number of simultaneous clients.
const THREADS: usize = 20;

/// Time until 80 clients that have lost their connections have had a PING answered again: those with sealed links,
/// which have tickets, and classic ones, which make new sessions.
pub fn reconnect_known(scale: Scale) -> Outcome<Vec<Figure>> {
    let count = scale.of(CLIENTS);
    let mut figures = Vec::new();
    for (is_sealed, part) in [(true, "sealed"), (false, "classic")] {
        let daemon = Daemon::start_ready(&Role::poller(2))?;
        let mut known = Vec::new();
        for _ in 0..count {
            let tls = ClientTls::new(&TlsIdentity::new(key()?)?)?;
            connect(daemon.port, &tls, is_sealed)?.request("[PING] [] [] {}")?;
            known.push(tls);
            // The limit of handshakes of one address.
            std::thread::sleep(std::time::Duration::from_millis(60));
        }
        std::thread::sleep(std::time::Duration::from_secs(6));
        let (port, begun) = (daemon.port, Instant::now());
        let clients = std::thread::scope(|scope| {
            let run = |part: &[ClientTls]| -> Outcome<Vec<GorgoneClient>> {
                let mut clients = Vec::new();
                for tls in part {
                    let mut client = connect(port, tls, is_sealed)?;
                    client.request("[PING] [] [] {}")?;
                    clients.push(client);
                }
                Ok(clients)
            };
            let parts = known.chunks(count.div_ceil(THREADS).max(1));
            let threads: Vec<_> = parts.map(|part| scope.spawn(move || run(part))).collect();
            threads.into_iter().try_fold(0_usize, |count, thread| {
                Outcome::Ok(count.saturating_add(thread.join().map_err(|_| "a client died")??.len()))
            })
        })?;
        let value = begun.elapsed().as_secs_f64() * float(count) / float(clients);
        figures.push(Figure { part, value, unit: "s", target: Target::Small, original: None });
    }
    Ok(figures)
}

fn connect(port: u16, tls: &ClientTls, is_sealed: bool) -> Outcome<GorgoneClient> {
    if is_sealed { GorgoneClient::resume_sealed(port, tls) } else { GorgoneClient::connect(port, key()?) }
}

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

//! Opens connections: looks the name up and tries its addresses one after the other.

use std::io;
use std::net::SocketAddr;

use crate::edge::resolver;
use crate::edge::sockets::Stream;
use crate::model::connection::{ConnectionId, Endpoint};
use crate::model::time::Now;

use super::super::EventLoop;
use super::super::storage::JobResult;
use super::State;

impl EventLoop {
    pub(in crate::daemon::event_loop) fn connect(&mut self, connection: ConnectionId, endpoint: &Endpoint, now: Now) {
        match endpoint {
            Endpoint::Ipc(path) => {
                let connected = Stream::connect_path(path);
                self.connecting(connection, connected, Vec::new(), now);
            }
            Endpoint::Tcp { host, port } => match resolver::parse_literal(host, *port) {
                Some(address) => self.resolved(connection, Ok(vec![address]), now),
                None => {
                    let (host, port) = (host.clone(), *port);
                    let lookup = Box::new(move || JobResult::Resolved(connection, resolver::resolve(&host, port)));
                    self.submit_lookup(lookup, connection, now);
                }
            },
        }
    }

    pub(in crate::daemon::event_loop) fn resolved(
        &mut self,
        connection: ConnectionId,
        addresses: Result<Vec<SocketAddr>, String>,
        now: Now,
    ) {
        match addresses {
            Err(reason) => self.dispatch.closed(connection, reason, now),
            Ok(mut addresses) => {
                addresses.truncate(8);
                addresses.reverse();
                self.connect_next(connection, addresses, now);
            }
        }
    }

    /// Connects to the last of the addresses.
    fn connect_next(&mut self, connection: ConnectionId, mut addresses: Vec<SocketAddr>, now: Now) {
        match addresses.pop() {
            None => self.dispatch.closed(connection, "its name has no address".to_owned(), now),
            Some(address) => {
                let connected = Stream::connect(address);
                self.connecting(connection, connected, addresses, now);
            }
        }
    }

    fn connecting(&mut self, connection: ConnectionId, connected: io::Result<Stream>, rest: Vec<SocketAddr>, now: Now) {
        // The attempt may have been cancelled during the lookup.
        if self.dispatch.send_queue(connection).is_none() {
            return;
        }
        let inserted = connected.and_then(|stream| {
            self.streams.insert(connection, stream, State::Connecting(rest.clone()), self.poll.registry())
        });
        match inserted {
            Ok(()) => {}
            Err(_) if !rest.is_empty() => self.connect_next(connection, rest, now),
            Err(error) => self.dispatch.closed(connection, error.to_string(), now),
        }
    }

    pub(super) fn finish_connect(&mut self, source: usize, now: Now) {
        let Some(entry) = self.streams.entries.get_mut(&source) else { return };
        let connection = entry.connection;
        match entry.stream.connected() {
            Ok(false) => {}
            Ok(true) => {
                entry.state = State::Open;
                if self.listening.keep_alive() {
                    let _not_supported = entry.stream.set_keepalive();
                }
                self.dispatch.connected(connection, now);
            }
            Err(error) => {
                let State::Connecting(rest) = std::mem::replace(&mut entry.state, State::Closing) else { return };
                self.streams.close(connection, self.poll.registry());
                if rest.is_empty() {
                    self.dispatch.closed(connection, error.to_string(), now);
                } else {
                    self.connect_next(connection, rest, now);
                }
            }
        }
    }
}

//! Our two ends of a WebSocket, connected to each other.

use std::rc::Rc;
use std::time::Duration;

use super::websocket_dialer::{WebSocketDialer, WebSocketDialerOutput, WebSocketDialerSettings};
use super::websocket_server::{WebSocketAccess, WebSocketServer, WebSocketServerOutput, WebSocketServerSettings};
use crate::model::connection::PeerAddress;
use crate::model::node_id::NodeId;
use crate::model::time::Now;
use crate::wire::gorgone::envelope;
use crate::wire::gorgone::seeded_random::SeededRandom;
use crate::wire::send_queue::SendQueue;

struct Pair {
    node: WebSocketDialer,
    central: WebSocketServer,
    random: SeededRandom,
    at_node: Vec<WebSocketDialerOutput>,
    at_central: Vec<WebSocketServerOutput>,
}

fn connected(token: &str) -> Pair {
    let now = Now::default();
    let settings = WebSocketDialerSettings {
        host: "central".to_owned(),
        port: 80,
        uri: "/".to_owned(),
        token: token.to_owned(),
        is_tls: false,
        proxy: None,
        step_timeout: Duration::from_secs(10),
        silence_timeout: Duration::from_secs(120),
        max_message_bytes: 262_144,
        max_waiting_bytes: 1 << 20,
    };
    let access = Rc::new(WebSocketAccess::new(Some("s3cret"), Vec::new(), WebSocketServerSettings::default()));
    let mut pair = Pair {
        node: WebSocketDialer::new(settings),
        central: WebSocketServer::new(access, PeerAddress::Local, now),
        random: SeededRandom::new(&[3; 32]),
        at_node: Vec::new(),
        at_central: Vec::new(),
    };
    pair.node.handle_start(now);
    pair.node.handle_connected(now, &mut pair.random);
    pair
}

fn take(queue: &mut SendQueue, step_bytes: usize) -> Vec<u8> {
    let piece = queue.front().get(..step_bytes).unwrap_or(queue.front()).to_vec();
    queue.consume(piece.len());
    piece
}

impl Pair {
    /// Carries bytes both ways in pieces until none are left.
    fn exchange(&mut self, step_bytes: usize) {
        let now = Now::default();
        loop {
            let (up, down) = (take(self.node.send_queue(), step_bytes), take(self.central.send_queue(), step_bytes));
            self.central.handle_sent(now);
            self.central.receive(&up, now);
            self.node.receive(&down, now, &mut self.random);
            let node = std::iter::from_fn(|| self.node.poll_output());
            self.at_node.extend(node.filter(|output| !matches!(output, WebSocketDialerOutput::Log(_))));
            let central = std::iter::from_fn(|| self.central.poll_output());
            self.at_central.extend(central.filter(|output| !matches!(output, WebSocketServerOutput::Log(_))));
            if up.is_empty() && down.is_empty() {
                return;
            }
        }
    }
}

#[test]
fn a_node_registers_and_both_say_the_same_however_the_bytes_are_cut() {
    let register = "[REGISTERNODES] [] [] {\"nodes\":[{\"id\":6,\"type\":\"wss\",\"identity\":6}]}";
    let logs = format!("[SETLOGS] [t] [] {{\"é\":\"{}<&'>€\"}}", "x".repeat(100_000));
    let command = format!("[COMMAND] [t] [] {{\"é&amp;\":\"{}\"}}", "y".repeat(70_000));
    for step_bytes in [1, 7, 1460, usize::MAX] {
        let mut pair = connected("s3cret");
        pair.exchange(step_bytes);
        assert!(pair.node.is_up());
        for text in [register, &logs] {
            pair.node.send(text.into()).unwrap();
        }
        pair.exchange(step_bytes);
        assert_eq!(pair.central.node(), NodeId::new(6).ok());
        pair.central.send(command.clone().into_bytes(), Now::default()).unwrap();
        pair.exchange(step_bytes);
        let message = |text: &str| envelope::parse(text.as_bytes()).unwrap();
        assert!(pair.at_central == [register, &logs].map(|text| WebSocketServerOutput::Message(message(text))));
        assert!(pair.at_node.last() == Some(&WebSocketDialerOutput::Message(message(&command))));
    }
}

#[test]
fn a_wrong_token_is_told_to_the_node_and_both_end() {
    let mut pair = connected("wrong");
    pair.exchange(100);
    let Some(WebSocketDialerOutput::Down { reason }) = pair.at_node.last() else { panic!("{:?}", pair.at_node) };
    assert!(reason.contains("set 'token' of module pullwss"), "{reason}");
    pair.central.handle_end(Now::default());
    pair.exchange(100);
    assert_eq!(pair.at_central, [WebSocketServerOutput::Close]);
}

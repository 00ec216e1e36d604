//! The API client of the test.

use stheno::daemon::dispatch::Listener;
use stheno::model::connection::PeerAddress;

use super::queueing::Request;
use super::world::{Pipe, World};

/// What was asked for.
pub enum Asked {
    Started,
    Queued(Box<Request>),
    Cancelled,
}

/// A request that is not answered.
pub struct Call {
    pub pipe: usize,
    pub asked: Asked,
}

impl World {
    /// Sends a command through the central's REST API. Returns the token if it is answered at once.
    pub fn command(&mut self, target: u64) -> Option<String> {
        self.commands(target, 1)
    }

    /// Sends a request that the central queues. Returns its token, which may come a little later.
    pub fn accepted_command(&mut self, target: u64) -> String {
        let (known, end) = (self.tokens.len(), self.millis + 2_000);
        self.command(target);
        while self.tokens.len() == known {
            assert!(self.millis < end, "the central does not answer a command for machine {target}");
            self.advance(10);
        }
        self.tokens[known].clone()
    }

    /// Sends one request with several commands.
    pub fn commands(&mut self, target: u64, count: usize) -> Option<String> {
        let commands: Vec<String> =
            (0..count).map(|_| format!(r#"{{"command":"run {}"}}"#, self.ledger.next_serial())).collect();
        self.call(&format!("/api/nodes/{target}/core/action/command"), &format!("[{}]", commands.join(",")))
    }

    /// Sends a request to the central's REST API. Returns the token if it is answered at once.
    pub fn call(&mut self, path: &str, body: &str) -> Option<String> {
        let known = self.tokens.len();
        self.ask(0, ("POST", path), body, Asked::Started);
        self.tokens.get(known).cloned()
    }

    /// A request to the REST API of a machine. Its answer may come later.
    pub fn ask(&mut self, machine: usize, (method, path): (&str, &str), body: &str, asked: Asked) {
        let now = self.now_of(machine);
        let Some(dispatch) = self.machines[machine].dispatch.as_mut() else { return };
        let connection = dispatch.next_connection_id();
        dispatch.accepted(connection, Listener::Api, PeerAddress::Ip([127, 0, 0, 1].into()), now);
        self.pipes.push(Pipe { ends: [Some((machine, connection)), None], directions: Default::default(), open: true });
        let pipe = self.pipes.len() - 1;
        self.machines[machine].pipes.insert(connection, pipe);
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if let Some(dispatch) = self.machines[machine].dispatch.as_mut() {
            dispatch.received(connection, request.as_bytes(), now);
        }
        self.waiting_answers.push(Call { pipe, asked });
        self.settle_turn(machine);
        self.read_answers();
    }

    /// A token counts as accepted once its answer has left the daemon.
    pub fn read_answers(&mut self) {
        let mut still_waiting = Vec::new();
        for call in std::mem::take(&mut self.waiting_answers) {
            let bytes: Vec<u8> = self.pipes[call.pipe].directions[0].bytes.iter().copied().collect();
            let text = String::from_utf8_lossy(&bytes);
            if let Some((_, body)) = text.split_once("\r\n\r\n").filter(|(_, body)| body.ends_with('\n')) {
                let is_ok = text.starts_with("HTTP/1.1 200");
                let is_refused = text.starts_with("HTTP/1.1 5")
                    || matches!(call.asked, Asked::Cancelled) && text.starts_with("HTTP/1.1 40");
                assert!(is_ok || is_refused, "{text}");
                let answer: serde_json::Value = serde_json::from_str(body).unwrap();
                let token = answer["token"].as_str().filter(|_| is_ok).map(str::to_owned);
                self.break_pipe(call.pipe, None);
                match (token, call.asked) {
                    (Some(token), Asked::Started) => self.tokens.push(token),
                    (Some(token), Asked::Queued(request)) => {
                        if request.by == 0 {
                            self.tokens.push(token.clone());
                        }
                        let place = self.ledger.accepted.len();
                        self.ledger.accepted.push(Request { token, place, ..*request });
                    }
                    (None, _) | (_, Asked::Cancelled) => {}
                }
            } else if self.pipes[call.pipe].open {
                still_waiting.push(call);
            }
        }
        self.waiting_answers.extend(still_waiting);
    }
}

//! The API client of the test.

use stheno::daemon::dispatch::Listener;
use stheno::model::connection::PeerAddress;

use super::world::{Pipe, World};

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
        let body = format!("[{}]", vec![r#"{"command":"true"}"#; count].join(","));
        self.call(&format!("/api/nodes/{target}/core/action/command"), &body)
    }

    /// Sends a request to the central's REST API. Returns the token if it is answered at once.
    pub fn call(&mut self, path: &str, body: &str) -> Option<String> {
        let now = self.now();
        let central = self.machines[0].dispatch.as_mut()?;
        let connection = central.next_connection_id();
        central.accepted(connection, Listener::Api, PeerAddress::Ip([127, 0, 0, 1].into()), now);
        self.pipes.push(Pipe { ends: [Some((0, connection)), None], directions: Default::default(), open: true });
        let pipe = self.pipes.len() - 1;
        self.machines[0].pipes.insert(connection, pipe);
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.machines[0].dispatch.as_mut()?.received(connection, request.as_bytes(), now);
        self.waiting_answers.push(pipe);
        self.settle_turn(0);
        let known = self.tokens.len();
        self.read_answers();
        self.tokens.get(known).cloned()
    }

    /// A token counts as accepted once its answer has left the central.
    pub fn read_answers(&mut self) {
        let mut still_waiting = Vec::new();
        for pipe in std::mem::take(&mut self.waiting_answers) {
            let bytes: Vec<u8> = self.pipes[pipe].directions[0].bytes.iter().copied().collect();
            let text = String::from_utf8_lossy(&bytes);
            if let Some((_, body)) = text.split_once("\r\n\r\n").filter(|(_, body)| body.ends_with('\n')) {
                if text.starts_with("HTTP/1.1 200") {
                    let answer: serde_json::Value = serde_json::from_str(body).unwrap();
                    self.tokens.push(answer["token"].as_str().unwrap().to_owned());
                } else {
                    assert!(text.starts_with("HTTP/1.1 5"), "{text}");
                }
                self.break_pipe(pipe, None);
            } else if self.pipes[pipe].open {
                still_waiting.push(pipe);
            }
        }
        self.waiting_answers.extend(still_waiting);
    }
}

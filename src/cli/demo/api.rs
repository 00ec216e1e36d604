//! A minimal HTTP client for the REST API of the demo: one connection per call, answers are read to the end.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::model::code::Code;
use crate::model::history::is_last_row;

/// The REST API of the central.
pub(super) struct Api {
    port: u16,
}

/// A history row, for display.
pub(super) struct Row {
    /// The code of the row (docs/protocol.md section 1).
    pub(super) code: i64,
    /// The message, followed by the output, if any.
    pub(super) text: String,
    /// Whether it is the last row of its token.
    pub(super) is_last: bool,
}

impl Row {
    fn read(row: &Value) -> Option<Self> {
        let json = row.get("data")?.as_str()?;
        let data: Value = serde_json::from_str(json).ok()?;
        let mut text = data.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(output) = data.pointer("/result/stdout").and_then(Value::as_str) {
            text.push_str(": ");
            text.push_str(output);
        }
        let code = number(row.get("code")?)?;
        Some(Self { code, text, is_last: is_last_row(Code(code), json) })
    }
}

impl Api {
    /// Returns the API on `port` of this machine.
    pub(super) const fn new(port: u16) -> Self {
        Self { port }
    }

    /// Returns the address of the API for a browser.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the ids of the nodes that have answered a ping; `None` while the API does not answer.
    pub(super) fn alive_nodes(&self) -> Option<Vec<u64>> {
        let answer = self.call("GET", "/api/internal/constatus", "").ok()?;
        let map = answer.get("data").unwrap_or(&answer).as_object()?;
        let alive = map.iter().filter(|(_, node)| node.get("ping_ok").and_then(number).is_some_and(|count| count > 0));
        Some(alive.filter_map(|(id, _)| id.parse().ok()).collect())
    }

    /// Starts a command on a node and returns its token.
    pub(super) fn command(&self, node: u64, command: &str) -> Option<String> {
        let body = json!([{ "command": command }]).to_string();
        let answer = self.call("POST", &format!("/api/nodes/{node}/core/action/command"), &body).ok()?;
        answer.get("token")?.as_str().map(str::to_owned)
    }

    /// Returns the rows of a token in the central's history, after requesting new ones from the node.
    pub(super) fn rows(&self, node: u64, token: &str) -> Option<Vec<Row>> {
        let answer = self.call("GET", &format!("/api/nodes/{node}/log/{token}"), "").ok()?;
        answer.get("data")?.as_array()?.iter().map(Row::read).collect()
    }

    fn call(&self, method: &str, path: &str, body: &str) -> io::Result<Value> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.set_write_timeout(Some(Duration::from_secs(5)))?;
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {length}");
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes())?;
        let mut answer = String::new();
        // The limit protects against another program that has taken the daemon's port.
        stream.take(16 << 20).read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
        Ok(serde_json::from_str(body)?)
    }
}

/// Returns a number that may be written as text.
fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// Answers one call with `body` and returns what was asked.
    fn serve_once(body: &'static str) -> (Api, thread::JoinHandle<String>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let api = Api::new(listener.local_addr().unwrap().port());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                request.push(byte[0]);
            }
            let text = String::from_utf8(request).unwrap();
            let length = text.split("Content-Length: ").nth(1).unwrap().trim().parse().unwrap();
            let mut rest = vec![0; length];
            stream.read_exact(&mut rest).unwrap();
            stream.write_all(format!("HTTP/1.1 200 OK\r\nX: y\r\n\r\n{body}\n").as_bytes()).unwrap();
            text + std::str::from_utf8(&rest).unwrap()
        });
        (api, server)
    }

    #[test]
    fn a_command_is_posted_to_the_node_and_its_token_read() {
        let (api, server) = serve_once(r#"{"token":"abc"}"#);
        assert_eq!(api.command(2, "echo \"x\"").as_deref(), Some("abc"));
        let request = server.join().unwrap();
        assert!(request.starts_with("POST /api/nodes/2/core/action/command HTTP/1.1\r\n"), "{request}");
        assert!(request.ends_with(r#"[{"command":"echo \"x\""}]"#), "{request}");
    }

    #[test]
    fn rows_are_read_with_their_output_and_with_codes_of_either_kind() {
        let (api, server) = serve_once(
            r#"{"data":[{"code":"0","data":"{\"message\":\"begun\"}"},
                {"code":2,"data":"{\"message\":\"done\",\"result\":{\"stdout\":\"hello\"}}"}]}"#,
        );
        let rows = api.rows(2, "abc").unwrap();
        server.join().unwrap();
        let seen: Vec<_> = rows.iter().map(|row| (row.code, row.text.as_str(), row.is_last)).collect();
        assert_eq!(seen, [(0, "begun", false), (2, "done: hello", true)]);
    }

    #[test]
    fn only_nodes_that_answered_count_as_alive() {
        let (api, server) = serve_once(r#"{"data":{"2":{"ping_ok":1},"3":{"ping_ok":"2"},"4":{"ping_ok":0}}}"#);
        assert_eq!(api.alive_nodes(), Some(vec![2, 3]));
        server.join().unwrap();
    }
}

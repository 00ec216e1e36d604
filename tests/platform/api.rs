//! A small HTTP/1.1 client for the REST API.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{seconds, until};

/// An answer of the API.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Header lines, with names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// Returns the body as JSON; `null` if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// One connection to the API.
pub struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    pub fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(seconds(20)))?;
        stream.set_write_timeout(Some(seconds(20)))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// Returns the socket itself.
    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    /// Writes bytes unchanged.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Reads one answer. Fails if the connection ends before.
    pub fn receive(&mut self) -> io::Result<Answer> {
        let first = self.line()?;
        let status =
            first.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(|| io::Error::other(first))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other(line.clone()))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        let length = answer.header("content-length").map_or(Ok(0), str::parse).map_err(io::Error::other)?;
        answer.body = vec![0; length];
        self.reader.read_exact(&mut answer.body)?;
        Ok(answer)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// One request and its answer.
    pub fn call(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> io::Result<Answer> {
        self.send(&request(method, path, headers, body))?;
        self.receive()
    }
}

/// Returns the bytes of a request; `headers` are complete lines with `\r\n`.
pub fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The API of one daemon. Each call has its own connection.
#[derive(Clone)]
pub struct Api {
    pub port: u16,
    /// Header lines sent with every call.
    pub headers: String,
}

impl Api {
    pub fn new(port: u16) -> Self {
        Self { port, headers: String::new() }
    }

    #[track_caller]
    pub fn call(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let headers = format!("{}Connection: close\r\n", self.headers);
        let answer = Connection::open(self.port).and_then(|mut open| open.call(method, path, &headers, body));
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, b"")
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, body.to_string().as_bytes())
    }

    /// Starts a command on a node (0 = on the daemon itself) and returns its token.
    #[track_caller]
    pub fn command(&self, node: u32, line: &str) -> String {
        let answer = self.post(&format!("{}core/action/command", prefix(node)), &json!([{ "command": line }]));
        let token = answer.json()["token"].as_str().map(str::to_owned);
        token.unwrap_or_else(|| panic!("no token: {} {}", answer.status, String::from_utf8_lossy(&answer.body)))
    }

    /// Returns the rows of a token, for which the node is asked first.
    #[track_caller]
    pub fn rows(&self, node: u32, token: &str) -> Vec<Value> {
        self.get(&format!("{}log/{token}", prefix(node))).json()["data"].as_array().cloned().unwrap_or_default()
    }

    /// The rows of a token once it has finished.
    #[track_caller]
    pub fn finished_rows(&self, node: u32, token: &str, limit: Duration) -> Vec<Value> {
        until(&format!("token {token} finishes"), limit, || {
            let rows = self.rows(node, token);
            rows.iter().any(is_last).then_some(rows)
        })
    }

    /// Runs a command on a node and returns its output, or the rows when it has none.
    #[track_caller]
    pub fn output_of(&self, node: u32, line: &str, limit: Duration) -> String {
        let rows = self.finished_rows(node, &self.command(node, line), limit);
        let result = rows.iter().find(|row| code(row) == 100).map(data);
        let stdout = result.as_ref().and_then(|data| data["result"]["stdout"].as_str());
        stdout.map_or_else(|| format!("{rows:?}"), str::to_owned)
    }

    /// Does the same for a node that is reached by SSH, whose rows are in the daemon's own history.
    #[track_caller]
    pub fn output_of_ssh(&self, node: u32, line: &str) -> String {
        let rows = self.finished_rows(0, &self.command(node, line), Duration::from_secs(30));
        let result = rows.iter().find(|row| code(row) == 100).map(data);
        let stdout = result.as_ref().and_then(|data| data["result"]["stdout"].as_str());
        stdout.map_or_else(|| format!("{rows:?}"), str::to_owned)
    }

    /// Returns the entry of a node in the constatus map.
    #[track_caller]
    pub fn node_status(&self, id: u32) -> Value {
        let answer = self.get("/api/internal/constatus").json();
        answer["data"].get(id.to_string()).or_else(|| answer.get(id.to_string())).cloned().unwrap_or_default()
    }

    /// Waits until a node has answered a ping and returns how long that took.
    #[track_caller]
    pub fn wait_for_pong(&self, id: u32, limit: Duration) -> Duration {
        let start = Instant::now();
        until(&format!("node {id} answers a ping"), limit, || {
            (number(&self.node_status(id)["ping_ok"]) >= 1).then_some(())
        });
        start.elapsed()
    }
}

/// Returns `/api/` or `/api/nodes/ID/`.
fn prefix(node: u32) -> String {
    if node == 0 { "/api/".to_owned() } else { format!("/api/nodes/{node}/") }
}

/// Returns a number that may be written as a string.
pub fn number(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default()
}

/// The code of a history row.
pub fn code(row: &Value) -> i64 {
    row.get("code").map_or(-1, number)
}

/// Returns the data of a history row, which is JSON text.
pub fn data(row: &Value) -> Value {
    row["data"].as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Returns whether a history row is the last of its token.
pub fn is_last(row: &Value) -> bool {
    stheno::model::history::is_last_row(stheno::model::code::Code(code(row)), row["data"].as_str().unwrap_or_default())
}

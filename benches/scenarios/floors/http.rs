//! The least that an HTTP answer costs: a thread that reads a request with httparse and writes a fixed answer.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Instant;

use super::{Memory, once};
use crate::Outcome;
use crate::http_client::{HttpClient, request};
use crate::load::{per_second, percentile_ms};

const PIPELINED: usize = 300_000;
const SINGLE: usize = 20_000;
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n{}\n";

/// Answers over TCP on loopback.
#[derive(Clone, Copy)]
pub struct Answers {
    /// In a second, pipelined over one connection.
    pub rate: f64,
    /// One at a time.
    pub p99_ms: f64,
}

/// Measures the loop.
///
/// # Errors
/// What the system says.
pub fn answers() -> Outcome<Answers> {
    static MEMORY: Memory<Answers> = Memory::new(None);
    once(&MEMORY, || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        std::thread::scope(|scope| {
            // It ends when the client goes.
            scope.spawn(move || listener.accept().map_err(Into::into).and_then(|(stream, _)| serve(stream)));
            let mut client = HttpClient::connect(port)?;
            let text = request("GET", "/api/log/no-such-token", "");
            let elapsed = client.pipeline(text.repeat(PIPELINED).as_bytes(), PIPELINED, 200)?;
            let mut measurements = Vec::new();
            for _ in 0..SINGLE {
                let begun = Instant::now();
                client.get("/api/log/no-such-token")?;
                measurements.push(begun.elapsed());
            }
            Ok(Answers { rate: per_second(PIPELINED, elapsed), p99_ms: percentile_ms(&mut measurements, 99) })
        })
    })
}

fn serve(mut stream: TcpStream) -> Outcome<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut piece, mut answers) = (Vec::new(), vec![0; 64 << 10], Vec::new());
    loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        buffer.extend_from_slice(piece.get(..count).unwrap_or_default());
        let mut used = 0;
        while let Some(rest) = buffer.get(used..) {
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut head = httparse::Request::new(&mut headers);
            match head.parse(rest).map_err(|error| error.to_string())? {
                httparse::Status::Complete(length) => {
                    used += length;
                    answers.extend_from_slice(ANSWER.as_bytes());
                }
                httparse::Status::Partial => break,
            }
        }
        buffer.drain(..used);
        stream.write_all(&answers)?;
        answers.clear();
    }
}

//! The minimum cost of an HTTP answer: a thread that parses a request with httparse and writes a fixed answer.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Memory, once};
use crate::constatus::{ANSWER_BYTES, SECONDS, wrk};
use crate::http_client::{HttpClient, request};
use crate::load::{per_second, percentile_ms};
use crate::{Outcome, Scale, certificate};

const PIPELINED: usize = 300_000;
const SINGLE: usize = 20_000;

/// Figures of answers over TCP on loopback.
#[derive(Clone, Copy)]
pub struct Answers {
    /// Answers per second, pipelined over one connection.
    pub rate: f64,
    /// 99th percentile in ms of single requests.
    pub p99_ms: f64,
}

/// Measures single and pipelined answers.
///
/// # Errors
/// The error of the system.
pub fn answers() -> Outcome<Answers> {
    static MEMORY: Memory<Answers> = Memory::new(None);
    once(&MEMORY, || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        std::thread::scope(|scope| {
            // The thread ends when the client disconnects.
            scope.spawn(move || -> Outcome<()> {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                serve(stream, &answer("{}\n"))
            });
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

/// Answers per second to `wrk`. Each connection is served by a thread, and each answer is as long as in the scenario.
///
/// # Errors
/// The error of `wrk`, `openssl` or the system.
pub fn many_clients(scale: Scale, with_tls: bool) -> Outcome<f64> {
    let tls = if with_tls { Some(tls_settings()?) } else { None };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| -> Outcome<()> {
            while let (stream, false) = (listener.accept()?.0, is_over.load(Ordering::Relaxed)) {
                let (tls, text) = (tls.clone(), answer(&"x".repeat(ANSWER_BYTES)));
                stream.set_nodelay(true)?;
                // The threads end when the clients disconnect.
                scope.spawn(move || match tls {
                    Some(tls) => serve(StreamOwned::new(ServerConnection::new(tls)?, stream), &text),
                    None => serve(stream, &text),
                });
            }
            Ok(())
        });
        let scheme = if with_tls { "https" } else { "http" };
        let rate = wrk(&format!("{scheme}://127.0.0.1:{port}/"), scale.of(SECONDS));
        is_over.store(true, Ordering::Relaxed);
        TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        rate
    })
}

fn tls_settings() -> Outcome<Arc<ServerConfig>> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("floor-http-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let made = certificate::make(&directory).and_then(|()| {
        let chain = CertificateDer::pem_file_iter(directory.join("server.pem"))?.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(directory.join("server.key"))?;
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        Ok(builder.with_safe_default_protocol_versions()?.with_no_client_auth().with_single_cert(chain, key)?)
    });
    std::fs::remove_dir_all(&directory).unwrap_or_default();
    Ok(Arc::new(made?))
}

fn answer(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

fn serve(mut stream: impl Read + Write, answer: &[u8]) -> Outcome<()> {
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
                    answers.extend_from_slice(answer);
                }
                httparse::Status::Partial => break,
            }
        }
        buffer.drain(..used);
        stream.write_all(&answers)?;
        answers.clear();
    }
}

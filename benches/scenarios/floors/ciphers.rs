//! The time that OpenSSL needs for cryptographic operations, measured with its command.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Memory, once};
use crate::{Outcome, certificate};

const SECONDS: &str = "2";
const PATIENCE: Duration = Duration::from_secs(10);

/// Seconds for `count` RSA-2048 operations with a private key, on all processors.
///
/// # Errors
/// `openssl` is not installed, or its output.
pub fn decryptions_s(count: usize) -> Outcome<f64> {
    static MEMORY: Memory<f64> = Memory::new(None);
    let rate = once(&MEMORY, || {
        let processors = std::thread::available_parallelism()?.get().to_string();
        decryptions_per_second(&["-multi", &processors])
    })?;
    Ok(crate::load::float(count) / rate)
}

/// Seconds for two such operations in sequence, as at the two ends of a handshake.
///
/// # Errors
/// `openssl` is not installed, or its output.
pub fn handshake_s() -> Outcome<f64> {
    static MEMORY: Memory<f64> = Memory::new(None);
    Ok(2.0 / once(&MEMORY, || decryptions_per_second(&[]))?)
}

fn decryptions_per_second(more_words: &[&str]) -> Outcome<f64> {
    let words = [&["speed", "-mr", "-elapsed", "-seconds", SECONDS], more_words, &["rsa2048"]].concat();
    let text = openssl(&words)?;
    // Format: `+F2:2:2048:SIGNATURES PER SECOND:VERIFICATIONS PER SECOND`, of all processors together.
    let line = text.lines().find(|line| line.starts_with("+F2:")).ok_or("openssl speed said no figure")?;
    Ok(line.split(':').nth(3).ok_or("openssl speed said no rate")?.parse::<f64>()?)
}

/// Seconds for `count` full TLS handshakes over loopback between `openssl s_time` and `openssl s_server`.
///
/// # Errors
/// `openssl` is not installed, or its output.
pub fn tls_handshakes_s(count: usize) -> Outcome<f64> {
    static MEMORY: Memory<f64> = Memory::new(None);
    let rate = once(&MEMORY, || {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("floor-tls-{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let result = handshakes_per_second(&directory);
        std::fs::remove_dir_all(&directory).unwrap_or_default();
        result
    })?;
    Ok(crate::load::float(count) / rate)
}

fn handshakes_per_second(directory: &Path) -> Outcome<f64> {
    certificate::make(directory)?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let mut server = Command::new("openssl")
        .args(["s_server", "-quiet", "-accept", &port.to_string(), "-cert", "server.pem", "-key", "server.key"])
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let result = wait_for(port)
        .and_then(|()| openssl(&["s_time", "-connect", &format!("127.0.0.1:{port}"), "-new", "-time", SECONDS]));
    stop(&mut server)?;
    let text = result?;
    // Format: `N connections in S real seconds, …`.
    let line = text.lines().find(|line| line.contains("real seconds")).ok_or("openssl s_time said no figure")?;
    let numbers: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match *numbers.as_slice() {
        [connections, seconds, ..] if connections > 0.0 => Ok(connections / seconds),
        _ => Err(format!("openssl s_time: {line}").into()),
    }
}

fn wait_for(port: u16) -> Outcome<()> {
    let begun = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if begun.elapsed() > PATIENCE {
            return Err("openssl s_server does not listen".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn stop(server: &mut Child) -> Outcome<()> {
    if let Some(mut input) = server.stdin.take() {
        input.write_all(b"Q\n").unwrap_or_default();
    }
    server.kill()?;
    server.wait()?;
    Ok(())
}

fn openssl(words: &[&str]) -> Outcome<String> {
    let output = Command::new("openssl")
        .args(words)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("openssl cannot be run ({error}): install it"))?;
    if !output.status.success() {
        return Err(format!("openssl {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

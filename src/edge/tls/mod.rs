//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446) for streams of the event loop, by rustls with ring.
//!
//! [`server::ServerContext`] and [`client::ClientContext`] hold what the files say. [`session::Session`] is the state
//! of one connection, without a socket. Out of scope: client certificates (except to a database), revocation lists,
//! early data, ALPN (peers of this daemon speak HTTP/1.1 whatever they offer), renegotiation.

mod certificate;
pub mod client;
#[cfg(feature = "centreon")]
pub mod database;
mod pem;
mod private_key;
pub mod server;
pub mod session;
mod verifier;

/// The number of PEM blocks.
///
/// # Errors
/// The fault of a block.
#[cfg(fuzzing)]
pub fn count_pem_blocks(bytes: &[u8]) -> Result<usize, String> {
    pem::parse(bytes).map(|blocks| blocks.len())
}

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use crate::edge::clock;

/// Why a certificate or key file cannot be used, with the remedy. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError {
    /// The file; empty if the fault is not in a file.
    pub file: PathBuf,
    /// The fault and the remedy.
    pub fault: String,
}

impl TlsError {
    fn new(file: &Path, fault: impl Into<String>) -> Self {
        Self { file: file.to_owned(), fault: fault.into() }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.file.as_os_str().is_empty() {
            formatter.write_str(&self.fault)
        } else {
            write!(formatter, "{}: {}", self.file.display(), self.fault)
        }
    }
}

/// The cipher suites and key exchanges that rustls considers safe, computed by ring.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The time at which certificates have to be valid: that of [`clock::wall`], which has a lower bound.
#[derive(Debug)]
struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let micros = u64::try_from(clock::wall().as_micros()).unwrap_or(0);
        Some(UnixTime::since_unix_epoch(Duration::from_micros(micros)))
    }
}

/// Maximum size of a PEM file in bytes. A full bundle of roots has a quarter of a megabyte.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// Reads a whole PEM file.
fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |error: std::io::Error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::NotFound => "does not exist: correct the path".to_owned(),
            std::io::ErrorKind::PermissionDenied => {
                "cannot be read by this user: let the daemon's user or group read it".to_owned()
            }
            _ => format!("cannot be read: {error}"),
        };
        TlsError::new(path, remedy)
    };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(TlsError::new(path, "is not a regular file: name a PEM file"));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(TlsError::new(path, format!("is larger than {MAX_FILE_BYTES} bytes: name a PEM file")));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    if bytes.trim_ascii().is_empty() {
        return Err(TlsError::new(path, "is empty: write the PEM text into it"));
    }
    Ok(bytes)
}

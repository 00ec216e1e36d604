//! The memory that the TLS library needs per connection, measured in a separate process that holds connections after
//! their handshakes.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use crate::footprint::megabytes;
use crate::process::anonymous_bytes;
use crate::{Outcome, certificate};

/// The option that turns this program into that process.
pub const HOLD: &str = "--hold-tls";

/// Heap in MB of `count` connections.
///
/// # Errors
/// The error of `openssl` or the system.
pub fn held_megabytes(count: usize) -> Outcome<f64> {
    let mut child = Command::new(std::env::current_exe()?)
        .args([HOLD, &count.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut text = String::new();
    child.stdout.take().ok_or("no output")?.read_to_string(&mut text)?;
    child.wait()?;
    text.trim().parse().map_err(|_| format!("{HOLD} said: {text}").into())
}

/// Runs that process: prints the memory of the connections.
///
/// # Errors
/// The error of `openssl` or the system.
pub fn hold(count: usize) -> Outcome<()> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("floor-held-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let made = certificate::make(&directory).and_then(|()| settings(&directory));
    std::fs::remove_dir_all(&directory)?;
    let (server, client) = made?;
    drop(connect(&server, &client)?);
    let before = anonymous_bytes(std::process::id())?;
    let held = (0..count).map(|_| connect(&server, &client)).collect::<Outcome<Vec<_>>>()?;
    let after = anonymous_bytes(std::process::id())?;
    println!("{}", megabytes(after) - megabytes(before));
    drop(held);
    Ok(())
}

fn settings(directory: &Path) -> Outcome<(Arc<ServerConfig>, Arc<ClientConfig>)> {
    let provider = Arc::new(ring::default_provider());
    let chain = CertificateDer::pem_file_iter(directory.join("server.pem"))?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(directory.join("server.key"))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let server = builder.with_no_client_auth().with_single_cert(chain, key)?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate::authority(directory))?)?;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok((Arc::new(server), Arc::new(builder.with_root_certificates(roots).with_no_client_auth())))
}

/// Returns the server's end after a handshake in memory; the client's end is dropped.
fn connect(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Outcome<ServerConnection> {
    let mut server = ServerConnection::new(Arc::clone(server))?;
    let mut client = ClientConnection::new(Arc::clone(client), ServerName::try_from("127.0.0.1")?.to_owned())?;
    while server.is_handshaking() || client.is_handshaking() || server.wants_write() || client.wants_write() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes)?;
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest)?;
            server.process_new_packets()?;
        }
        bytes.clear();
        while server.wants_write() {
            server.write_tls(&mut bytes)?;
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest)?;
            client.process_new_packets()?;
        }
    }
    // Transfers a byte, as used connections have done.
    client.writer().write_all(b"x")?;
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes)?;
    server.read_tls(&mut bytes.as_slice())?;
    server.process_new_packets()?;
    server.reader().read_exact(&mut [0])?;
    Ok(server)
}

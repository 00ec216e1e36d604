//! How a TLS client checks its server, and the errors when the check fails.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::{ClientConnection, Resumption, WebPkiServerVerifier};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, RootCertStore, StreamOwned};

use super::session::Session;
use super::verifier::{Accepted, Verifier};
use super::{Clock, TlsError, certificate, provider};
use crate::config::settings::ClientTls;
use crate::edge::clock;
use crate::model::time::WallTime;

/// Where distributions keep the trusted roots. The first existing file counts.
const SYSTEM_ROOTS: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ca-certificates/extracted/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Maximum number of servers whose session may be resumed. A node has one parent.
const RESUMABLE_SERVERS: usize = 4;

/// The configuration of outgoing TLS connections.
#[derive(Clone)]
pub struct ClientContext {
    config: Arc<ClientConfig>,
    is_pinned: bool,
}

impl ClientContext {
    /// Prepares the check. Reads the roots if they are needed.
    ///
    /// # Errors
    /// The roots cannot be read, or there are none.
    pub fn load(settings: &ClientTls) -> Result<Self, TlsError> {
        let provider = provider();
        let accepted = match settings {
            ClientTls::Verify { ca_file } => {
                let (file, roots) = read_roots(ca_file.as_deref())?;
                let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                    .build()
                    .map_err(|error| TlsError::new(&file, format!("its roots cannot be used: {error}")))?;
                Accepted::Verified(verifier)
            }
            ClientTls::Pinned(sha256) => Accepted::Fingerprint(*sha256),
            ClientTls::NoVerify => Accepted::Any,
        };
        let verifier = Verifier { accepted, provider: Arc::clone(&provider) };
        let mut config = ClientConfig::builder_with_details(provider, Arc::new(Clock))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::new(Path::new(""), error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(RESUMABLE_SERVERS);
        Ok(Self { config: Arc::new(config), is_pinned: matches!(settings, ClientTls::Pinned(_)) })
    }

    /// The state of a connection to `server_name`, a host name or an address (with or without brackets).
    ///
    /// # Errors
    /// The name is invalid.
    pub fn session(&self, server_name: &str) -> Result<Session, String> {
        let bare = server_name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(server_name);
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| {
            format!("'{}' is not a host name or address that TLS can check", server_name.escape_debug())
        })?;
        let connection = ClientConnection::new(Arc::clone(&self.config), name).map_err(|error| error.to_string())?;
        Ok(Session::client(connection, bare.into()))
    }
}

impl ClientContext {
    /// Accepts only the certificate in this file, which is that of a server on this machine.
    ///
    /// # Errors
    /// The file cannot be read, or holds none.
    pub fn for_own_certificate(file: &Path) -> Result<Self, TlsError> {
        let chain = certificate::read_chain(file)?;
        let first = chain.first().ok_or_else(|| TlsError::new(file, "holds no certificate".to_owned()))?;
        let sha256 = ring::digest::digest(&ring::digest::SHA256, first);
        let sha256 = sha256.as_ref().try_into().unwrap_or_default();
        Self::load(&ClientTls::Pinned(sha256))
    }

    /// A blocking connection, for subcommands.
    ///
    /// # Errors
    /// `server_name` is invalid.
    pub fn blocking(
        &self,
        server_name: &str,
        stream: TcpStream,
    ) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
        Ok(StreamOwned::new(self.connection(server_name)?, stream))
    }

    /// Does the whole handshake over a blocking stream.
    ///
    /// # Errors
    /// The kind of the fault, and a sentence with the remedy.
    pub fn handshake(
        &self,
        server_name: &str,
        mut stream: TcpStream,
    ) -> Result<StreamOwned<ClientConnection, TcpStream>, (TlsFault, String)> {
        let mut connection = self.connection(server_name).map_err(|text| (TlsFault::Other, text))?;
        while connection.is_handshaking() {
            if let Err(error) = connection.complete_io(&mut stream) {
                let fault = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
                return Err(match fault {
                    Some(fault) => (TlsFault::of(fault, self.is_pinned), explain(fault, server_name)),
                    None => (TlsFault::NoTls, format!("'{server_name}' does not answer the TLS handshake: {error}")),
                });
            }
        }
        Ok(StreamOwned::new(connection, stream))
    }

    /// The state of one connection, for a stream that waits.
    ///
    /// # Errors
    /// `server_name` is invalid.
    pub fn connection(&self, server_name: &str) -> Result<ClientConnection, String> {
        let bare = server_name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(server_name);
        let name = ServerName::try_from(bare.to_owned()).map_err(|error| error.to_string())?;
        ClientConnection::new(Arc::clone(&self.config), name).map_err(|error| error.to_string())
    }
}

/// Why a handshake failed, in kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet, or its end has passed by a clock that cannot be right.
    NotYetValid,
    /// The certificate is for another name.
    WrongName,
    /// The issuer is unknown, or the certificate is self-signed.
    UnknownIssuer,
    /// It is not the pinned certificate.
    WrongPin,
    /// The peer speaks no TLS.
    NoTls,
    /// Anything else.
    Other,
}

impl TlsFault {
    fn of(error: &rustls::Error, is_pinned: bool) -> Self {
        match error {
            rustls::Error::InvalidCertificate(fault) => match fault {
                CertificateError::ExpiredContext { .. } if clock::wrong().is_some() => Self::NotYetValid,
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
                CertificateError::Other(_) if is_pinned => Self::WrongPin,
                // A self-signed certificate is reported so.
                CertificateError::UnknownIssuer | CertificateError::BadSignature | CertificateError::Other(_) => {
                    Self::UnknownIssuer
                }
                _ => Self::Other,
            },
            rustls::Error::InvalidMessage(_) => Self::NoTls,
            _ => Self::Other,
        }
    }
}

/// Loads what a start would load.
///
/// # Errors
/// As [`ClientContext::load`].
pub fn check(settings: &ClientTls) -> Result<(), TlsError> {
    ClientContext::load(settings).map(drop)
}

pub(super) fn read_roots(ca_file: Option<&Path>) -> Result<(PathBuf, RootCertStore), TlsError> {
    let Some(file) = ca_file.or_else(|| SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.is_file())) else {
        let places = SYSTEM_ROOTS.join(", ");
        let fault = format!(
            "this system has no file of trusted roots (looked for {places}): install the package ca-certificates, or \
                set ssl_ca_file"
        );
        return Err(TlsError::new(Path::new(""), fault));
    };
    let mut roots = RootCertStore::empty();
    // Bundles may hold a root that webpki cannot read. The others count.
    let (taken, _passed_over) = roots.add_parsable_certificates(certificate::read_chain(file)?);
    if taken == 0 {
        return Err(TlsError::new(file, "has no usable root certificate: X.509 version 3 is needed"));
    }
    Ok((file.to_owned(), roots))
}

/// Explains a failed handshake with `server_name`: the cause and the remedy.
pub(super) fn explain(error: &rustls::Error, server_name: &str) -> String {
    match error {
        rustls::Error::InvalidCertificate(fault) => {
            format!("the certificate of '{server_name}' is refused: {}", explain_certificate(fault))
        }
        rustls::Error::InvalidMessage(_) => {
            format!("'{server_name}' does not speak TLS there ({error}): check the port, or set ssl: false")
        }
        rustls::Error::AlertReceived(alert) => {
            format!("'{server_name}' refused the TLS handshake ({alert:?}): its log says why")
        }
        _ => format!("TLS with '{server_name}' failed: {error}"),
    }
}

/// What is wrong when a certificate is not valid `until` or `from` a time by this machine's clock.
fn wrong_clock(machines: WallTime, word: &str, bound: UnixTime) -> String {
    let bound = time_of(bound);
    let taken = Some(clock::wall()).filter(|taken| taken.as_seconds().abs_diff(machines.as_seconds()) > 1);
    let taken = taken.map_or_else(String::new, |taken| format!("; {taken} is taken instead"));
    format!(
        "this machine's clock is wrong: it says {machines}{taken}, and the certificate is valid {word} {bound}: set \
         the clock by NTP"
    )
}

fn time_of(time: UnixTime) -> WallTime {
    WallTime::from_seconds(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

pub(super) fn explain_certificate(fault: &CertificateError) -> String {
    match fault {
        CertificateError::ExpiredContext { not_after, .. } => match clock::wrong() {
            Some(machines) => wrong_clock(machines, "until", *not_after),
            None => {
                let (end, now) = (time_of(*not_after), clock::wall());
                format!(
                    "it has expired (valid until {end}, by this machine's clock it is {now}): renew it there, and \
                        check the clocks of both machines"
                )
            }
        },
        CertificateError::NotValidYetContext { not_before, .. } => {
            wrong_clock(clock::wrong().unwrap_or_else(clock::wall), "from", *not_before)
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names = if presented.is_empty() { "it names none".to_owned() } else { presented.join(", ") };
            format!("it is for another host ({names}): set the address to a name in it, or pin it with ssl_fingerprint")
        }
        CertificateError::NotValidForName => {
            "it is for another host: set the address to a name in it, or pin it with ssl_fingerprint".to_owned()
        }
        // An issuer with the name of a trusted one but another key gives a bad signature.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its issuer is unknown: set ssl_ca_file to the CA's certificate (and let the server send its whole \
                chain), or pin it with ssl_fingerprint"
                .to_owned()
        }
        CertificateError::Other(reason) => reason.0.to_string(),
        other => format!("{other}; renew it, or pin it with ssl_fingerprint"),
    }
}

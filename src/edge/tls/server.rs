//! The certificate chain and key of a TLS listener, loaded from files.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ServerConnection};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::certificate::{self, Summary};
use super::session::Session;
use super::{Clock, TlsError, private_key, provider};
use crate::config::settings::ServerTls;
use crate::model::time::WallTime;

/// Remaining validity of a certificate below which a warning is given.
const EXPIRY_WARNING_S: i64 = 14 * 86_400;

/// The configuration of one listener. Connections keep the one that they began with, so replacing it drops no
/// connection.
#[derive(Clone)]
pub struct ServerContext {
    config: Arc<ServerConfig>,
    expires_at_s: Option<i64>,
}

impl ServerContext {
    /// Loads certificate chain and key. Returns also warnings: an expired certificate is used nevertheless, so that the
    /// daemon starts. Reading an encrypted key takes some milliseconds.
    ///
    /// # Errors
    /// A file cannot be used, or the key does not belong to the first certificate.
    pub fn load(settings: &ServerTls, wall: WallTime) -> Result<(Self, Vec<String>), TlsError> {
        let certificate_file = settings.certificate_file.as_path();
        let chain = certificate::read_chain(certificate_file)?;
        let key = private_key::load(&settings.key_file, settings.passphrase.as_deref())?;
        let (mut warnings, mut expires_at_s) = (Vec::new(), None);
        if let Some(leaf) = chain.first().and_then(|leaf| Summary::read(leaf)) {
            warnings.extend(validity_warning(certificate_file, &leaf, wall));
            expires_at_s = i64::try_from(leaf.not_after_s).ok();
        }
        warnings.extend(order_warning(certificate_file, &chain));
        let certified = CertifiedKey::new(chain, key);
        check_match(&certified, certificate_file, &settings.key_file)?;
        let fault = |error: rustls::Error| TlsError::new(certificate_file, format!("cannot be used: {error}"));
        let mut config = ServerConfig::builder_with_details(provider(), Arc::new(Clock))
            .with_safe_default_protocol_versions()
            .map_err(fault)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        // Sessions are resumed by tickets that the client keeps, so nothing is stored here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(fault)?;
        config.send_tls13_tickets = 1;
        Ok((Self { config: Arc::new(config), expires_at_s }, warnings))
    }

    /// The time at which the certificate expires, in seconds since 1970.
    #[cfg_attr(not(feature = "status"), expect(dead_code, reason = "for metrics"))]
    pub(crate) const fn expires_at_s(&self) -> Option<i64> {
        self.expires_at_s
    }

    /// The state of a newly accepted connection.
    ///
    /// # Errors
    /// A sentence. It is not expected to happen.
    pub fn session(&self) -> Result<Session, String> {
        let connection = ServerConnection::new(Arc::clone(&self.config)).map_err(|error| error.to_string())?;
        Ok(Session::server(connection))
    }
}

/// Loads what a start would load and returns its warnings.
///
/// # Errors
/// As [`ServerContext::load`].
pub fn check(settings: &ServerTls, wall: WallTime) -> Result<Vec<String>, TlsError> {
    ServerContext::load(settings, wall).map(|(_, warnings)| warnings)
}

/// The seconds that the certificate of a listener is still valid, negative after its end, and whether it is valid
/// already.
///
/// # Errors
/// As [`ServerContext::load`].
pub fn validity(settings: &ServerTls, wall: WallTime) -> Result<(i64, bool), TlsError> {
    ServerContext::load(settings, wall)?;
    let chain = certificate::read_chain(&settings.certificate_file)?;
    let leaf = chain.first().and_then(|leaf| Summary::read(leaf));
    let now_s = wall.as_seconds();
    let seconds = |time_s: u64| i64::try_from(time_s).unwrap_or(i64::MAX).saturating_sub(now_s);
    Ok(leaf.map_or((0, true), |leaf| (seconds(leaf.not_after_s), seconds(leaf.not_before_s) <= 0)))
}

/// The SHA-256 of the certificate of a listener, by which clients may pin it.
///
/// # Errors
/// The file cannot be read, or holds none.
pub fn fingerprint(settings: &ServerTls) -> Result<[u8; 32], TlsError> {
    let chain = certificate::read_chain(&settings.certificate_file)?;
    let first = chain.first().map(|leaf| ring::digest::digest(&ring::digest::SHA256, leaf));
    Ok(first.and_then(|digest| digest.as_ref().try_into().ok()).unwrap_or_default())
}

fn check_match(certified: &CertifiedKey, certificate_file: &Path, key_file: &Path) -> Result<(), TlsError> {
    let Err(error) = certified.keys_match() else { return Ok(()) };
    if !matches!(error, rustls::Error::InconsistentKeys(_)) {
        let fault = format!("its first certificate cannot be used ({error}): an X.509 version 3 certificate is needed");
        return Err(TlsError::new(certificate_file, fault));
    }
    let owner = certified.cert.iter().position(|certificate| {
        CertifiedKey::new(vec![certificate.clone()], Arc::clone(&certified.key)).keys_match().is_ok()
    });
    let fault = match owner {
        Some(index) => format!(
            "is in the wrong order: the server's certificate (number {}) must be first, then those of its issuers",
            index + 1
        ),
        None => format!(
            "its certificate does not belong to the key {}: set ssl_cert_file and ssl_key_file to files that were \
                made together",
            key_file.display()
        ),
    };
    Err(TlsError::new(certificate_file, fault))
}

fn validity_warning(file: &Path, leaf: &Summary<'_>, wall: WallTime) -> Option<String> {
    let now_s = wall.as_micros().div_euclid(1_000_000);
    let left_s = i64::try_from(leaf.not_after_s).unwrap_or(i64::MAX).saturating_sub(now_s);
    let starts_s = i64::try_from(leaf.not_before_s).unwrap_or(i64::MAX);
    let shown = file.display();
    if left_s < 0 {
        let days = left_s.unsigned_abs() / 86_400;
        Some(format!(
            "{shown}: the certificate expired {days} days ago, clients will refuse it: renew it, then send SIGHUP"
        ))
    } else if starts_s > now_s {
        Some(format!(
            "{shown}: the certificate is not valid yet, clients will refuse it: check the clock of this machine"
        ))
    } else if left_s < EXPIRY_WARNING_S {
        let days = left_s / 86_400;
        Some(format!("{shown}: the certificate expires in {days} days: renew it, then send SIGHUP"))
    } else {
        None
    }
}

/// A warning about certificates in the wrong order. Clients look for issuers in the order of the file, and some skip a
/// certificate in another place.
fn order_warning(file: &Path, chain: &[rustls::pki_types::CertificateDer<'_>]) -> Option<String> {
    let issued_by_next = chain.iter().zip(chain.iter().skip(1)).all(|(certificate, next)| {
        match (Summary::read(certificate), Summary::read(next)) {
            (Some(certificate), Some(next)) => certificate.issuer == next.subject,
            _ => false,
        }
    });
    let shown = file.display();
    (!issued_by_next).then(|| {
        format!(
            "{shown}: its certificates are not in order, some clients may refuse them: put the issuer of each after it"
        )
    })
}

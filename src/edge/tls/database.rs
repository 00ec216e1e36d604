//! TLS to a database server, with the meaning of the `mysql_ssl_*` options of its client library. No socket.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::{ClientConnection, WebPkiServerVerifier};
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig};

use super::verifier::{Accepted, Verifier};
use super::{Clock, TlsError, certificate, client, private_key, provider};
use crate::config::database::DatabaseTls;

/// Explains a failed handshake: the cause and the remedy; `None` for an error from outside TLS.
#[must_use]
pub fn explain(error: &io::Error, settings: Option<&DatabaseTls>) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            match settings.and_then(|settings| settings.ca_file.as_ref()) {
                Some(file) => format!(
                    "its certificate was not issued by an authority in {}: put the right one into that file \
                        ('mysql_ssl_ca_file')",
                    file.display()
                ),
                None => "the issuer of its certificate is unknown: set 'mysql_ssl_ca_file' to the certificate of its \
                    authority"
                    .to_owned(),
            }
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another host: correct 'host', or leave 'mysql_ssl_verify_server_cert' out"
            .to_owned(),
        rustls::Error::InvalidCertificate(
            fault @ (CertificateError::ExpiredContext { .. } | CertificateError::NotValidYetContext { .. }),
        ) => format!("its certificate is refused: {}", client::explain_certificate(fault)),
        rustls::Error::InvalidCertificate(fault) => format!("its certificate is refused: {fault}"),
        other => format!("TLS failed: {other}"),
    })
}

/// The state of one connection to the server `host`, a name or an address without brackets.
///
/// # Errors
/// A file that cannot be used.
pub fn session(settings: &DatabaseTls, host: &str) -> Result<ClientConnection, TlsError> {
    let provider = provider();
    let accepted = match &settings.ca_file {
        None => Accepted::Any,
        Some(file) => {
            let (file, roots) = client::read_roots(Some(file))?;
            let web_pki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| TlsError::new(&file, format!("its roots cannot be used: {error}")))?;
            if settings.verify_name { Accepted::Verified(web_pki) } else { Accepted::OfIssuer(web_pki) }
        }
    };
    let verifier = Verifier { accepted, provider: Arc::clone(&provider) };
    let failed = |error: rustls::Error| TlsError::new(Path::new(""), error.to_string());
    let builder = ClientConfig::builder_with_details(provider, Arc::new(Clock))
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let config = match &settings.client {
        None => builder.with_no_client_auth(),
        Some((certificate_file, key_file)) => {
            let key = private_key::load(key_file, None)?;
            let own = CertifiedKey::new(certificate::read_chain(certificate_file)?, key);
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)))
        }
    };
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| TlsError::new(Path::new(""), format!("'{host}' is not a host name that TLS can check")))?;
    ClientConnection::new(Arc::new(config), name).map_err(failed)
}

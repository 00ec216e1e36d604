//! How a server's certificate is checked. The signature of the handshake is always verified, so that the peer must own
//! the key of its certificate.

use std::fmt;
use std::sync::Arc;

use ring::digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use super::certificate::Summary;

/// Which certificates are accepted.
#[derive(Debug)]
pub(super) enum Accepted {
    /// Those that webpki accepts: a trusted issuer, the right name, valid now.
    Verified(Arc<WebPkiServerVerifier>),
    /// The same with any name.
    #[cfg(feature = "centreon")]
    OfIssuer(Arc<WebPkiServerVerifier>),
    /// Only the certificate with this SHA-256 of its DER, whatever its names, dates and issuer.
    Fingerprint([u8; 32]),
    /// Every certificate.
    Any,
}

/// Decides about a server's certificate.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) accepted: Accepted,
    pub(super) provider: Arc<CryptoProvider>,
}

/// Why a certificate is refused, if rustls has no error for it.
#[derive(Debug)]
struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

fn refused(text: impl Into<String>) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Refusal(text.into())))))
}

/// The fingerprint as in `openssl x509 -fingerprint -sha256`, without the colons.
fn check_fingerprint(certificate: &CertificateDer<'_>, wanted: &[u8; 32]) -> Result<(), Error> {
    let found = digest::digest(&digest::SHA256, certificate);
    if found.as_ref() == wanted {
        return Ok(());
    }
    let found: String = found.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Err(refused(format!("its SHA-256 is {found}, not that of ssl_fingerprint: if it was renewed, set the new one")))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.accepted {
            Accepted::Any => Ok(ServerCertVerified::assertion()),
            Accepted::Fingerprint(wanted) => {
                check_fingerprint(end_entity, wanted).map(|()| ServerCertVerified::assertion())
            }
            #[cfg(feature = "centreon")]
            Accepted::OfIssuer(web_pki) => {
                // Names are checked last, after everything else.
                match web_pki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
                    Err(Error::InvalidCertificate(
                        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                    )) => Ok(ServerCertVerified::assertion()),
                    verified => verified,
                }
            }
            Accepted::Verified(web_pki) => {
                let verified = web_pki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
                verified.map_err(|error| {
                    let is_untrusted = matches!(
                        error,
                        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::Other(_))
                    );
                    if is_untrusted && Summary::read(end_entity).is_some_and(|leaf| leaf.is_self_signed()) {
                        return refused(
                            "it is self-signed: pin it with ssl_fingerprint, or let a CA issue one and set \
                                ssl_ca_file to that CA",
                        );
                    }
                    error
                })
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

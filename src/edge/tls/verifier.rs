//! Checks of a server's certificate other than the usual one. The handshake's signature is always verified, so that the
//! peer must own the key of the certificate that it shows.

use std::sync::Arc;

use ring::digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// Which certificate is taken.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    Any,
    Fingerprint([u8; 32]),
}

/// Takes one certificate by its SHA-256, or any.
#[derive(Debug)]
pub(super) struct ByFingerprint {
    wanted: Wanted,
    provider: Arc<CryptoProvider>,
}

impl ByFingerprint {
    /// Only the certificate whose DER has this SHA-256, whatever its names, dates and issuer.
    pub(super) fn pinned(sha256: [u8; 32], provider: Arc<CryptoProvider>) -> Self {
        Self { wanted: Wanted::Fingerprint(sha256), provider }
    }

    /// Every certificate.
    pub(super) fn any(provider: Arc<CryptoProvider>) -> Self {
        Self { wanted: Wanted::Any, provider }
    }
}

/// The SHA-256 of a certificate's DER, as `openssl x509 -fingerprint -sha256` shows it.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    digest::digest(&digest::SHA256, certificate).as_ref().try_into().ok()
}

impl ServerCertVerifier for ByFingerprint {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.wanted {
            Wanted::Fingerprint(wanted) if fingerprint(end_entity) != Some(wanted) => {
                Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
            _ => Ok(ServerCertVerified::assertion()),
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

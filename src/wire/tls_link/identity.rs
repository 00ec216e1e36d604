//! Our RSA key as TLS needs it, and the settings of both roles.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig};
use rustls::{PeerIncompatible, SignatureScheme};

use crate::model::time::Monotonic;
use crate::wire::gorgone::keys::{PrivateKey, PublicKey};

/// Our key pair for TLS links, for both roles. It has no `Debug`.
#[derive(Clone)]
pub struct TlsIdentity {
    key: Arc<CertifiedKey>,
    provider: Arc<CryptoProvider>,
}

impl TlsIdentity {
    /// Prepares our key.
    ///
    /// # Errors
    /// A sentence, if the key is one that TLS cannot use: ring wants a public exponent of 65537 or more, and primes of
    /// equal length.
    pub fn new(key: &PrivateKey) -> Result<Self, String> {
        let (private, public) = (key.to_pkcs1_der(), key.public().to_der());
        let (Some(private), Some(public)) = (private, public) else {
            return Err("our key cannot be encoded for TLS".to_owned());
        };
        let private = PrivateKeyDer::from(PrivatePkcs1KeyDer::from(private));
        let signer = rustls::crypto::ring::sign::any_supported_type(&private).map_err(|_| {
            "our key pair has an unusual form (a public exponent below 65537, or primes of unequal length), with which \
             no link can be sealed; make a new pair with 'stheno keys generate'"
                .to_owned()
        })?;
        let key = Arc::new(CertifiedKey::new(vec![CertificateDer::from(public)], signer));
        Ok(Self { key, provider: Arc::new(rustls::crypto::ring::default_provider()) })
    }

    fn verifier(&self) -> Arc<AnyRawKey> {
        Arc::new(AnyRawKey { provider: Arc::clone(&self.provider) })
    }
}

/// The server's role: one for a listener, so that its clients can resume sessions.
#[derive(Clone)]
pub struct ServerTls {
    pub(super) config: Arc<ServerConfig>,
    pub(super) clock: Arc<Clock>,
}

impl ServerTls {
    /// Prepares the role. Tickets are sealed under keys of this process, so a restart makes handshakes whole again.
    ///
    /// # Errors
    /// A sentence, if rustls does not take the settings.
    pub fn new(identity: &TlsIdentity) -> Result<Self, String> {
        let clock = Arc::new(Clock::default());
        let builder = ServerConfig::builder_with_details(Arc::clone(&identity.provider), clock.clone());
        let mut config = builder
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| error.to_string())?
            .with_client_cert_verifier(identity.verifier())
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::clone(&identity.key))));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(|error| error.to_string())?;
        Ok(Self { config: Arc::new(config), clock })
    }
}

/// The client's role: one for each server, because it keeps that server's tickets.
#[derive(Clone)]
pub struct ClientTls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) clock: Arc<Clock>,
}

impl ClientTls {
    /// Prepares the role.
    ///
    /// # Errors
    /// A sentence, if rustls does not take the settings.
    pub fn new(identity: &TlsIdentity) -> Result<Self, String> {
        let clock = Arc::new(Clock::default());
        let builder = ClientConfig::builder_with_details(Arc::clone(&identity.provider), clock.clone());
        let mut config = builder
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(identity.verifier())
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::clone(&identity.key))));
        config.enable_sni = false;
        config.resumption = Resumption::in_memory_sessions(1);
        Ok(Self { config: Arc::new(config), clock })
    }
}

/// The clock for the age of tickets: the monotonic time of the last handshake that began. A wall clock that is wrong
/// or jumps changes nothing.
#[derive(Debug, Default)]
pub(super) struct Clock(AtomicU64);

impl Clock {
    pub(super) fn set(&self, now: Monotonic) {
        self.0.store(now.as_millis(), Ordering::Relaxed);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.load(Ordering::Relaxed))))
    }
}

/// Takes every RSA key whose owner has signed the handshake. `session` decides by the thumbprint.
#[derive(Debug)]
struct AnyRawKey {
    provider: Arc<CryptoProvider>,
}

impl AnyRawKey {
    fn check(key: &CertificateDer<'_>) -> Result<(), Error> {
        PublicKey::from_der(key).map(drop).map_err(|_| CertificateError::BadEncoding.into())
    }

    fn verify(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.provider.signature_verification_algorithms)
    }

    fn no_tls12() -> Error {
        Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered)
    }
}

impl ServerCertVerifier for AnyRawKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Self::check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Self::no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for AnyRawKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Self::check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Self::no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// A `fmt::Debug` for rustls' traits that shows nothing of the keys.
impl fmt::Debug for TlsIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TlsIdentity")
    }
}

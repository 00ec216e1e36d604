//! A server's private key file: PKCS#1, PKCS#8 (also encrypted, RFC 5958 section 3) or SEC1.

use std::path::Path;
use std::sync::Arc;

use rsa::pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use rustls::sign::SigningKey;

use super::{TlsError, pem};

const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
const LABELS: [&str; 4] = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", ENCRYPTED];

/// Reads the first private key of a file.
pub(super) fn load(path: &Path, passphrase: Option<&str>) -> Result<Arc<dyn SigningKey>, TlsError> {
    let key = read(path, passphrase)?;
    rustls::crypto::ring::sign::any_supported_type(&key).map_err(|_| {
        let fault =
            "this kind of key is not supported: use RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, or Ed25519";
        TlsError::new(path, fault)
    })
}

fn read(path: &Path, passphrase: Option<&str>) -> Result<PrivateKeyDer<'static>, TlsError> {
    let blocks = pem::read_blocks(path)?;
    let seen = blocks.first().map(|block| block.label.clone()).unwrap_or_default();
    let Some(block) = blocks.into_iter().find(|block| LABELS.contains(&block.label.as_str())) else {
        let fault = format!("has no private key, only '{seen}': name a file with BEGIN PRIVATE KEY");
        return Err(TlsError::new(path, fault));
    };
    if block.is_legacy_encrypted {
        let fault = format!(
            "is encrypted in the legacy form (Proc-Type: 4,ENCRYPTED), which is too weak to be supported; convert it: \
                {}",
            convert(path)
        );
        return Err(TlsError::new(path, fault));
    }
    Ok(match block.label.as_str() {
        "RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(block.der).into(),
        "EC PRIVATE KEY" => PrivateSec1KeyDer::from(block.der).into(),
        ENCRYPTED => PrivatePkcs8KeyDer::from(decrypt(path, &block.der, passphrase)?).into(),
        _ => PrivatePkcs8KeyDer::from(block.der).into(),
    })
}

/// The command that converts the key to a supported form.
fn convert(path: &Path) -> String {
    let shown = path.display();
    format!("`openssl pkcs8 -topk8 -v2 aes256 -v2prf hmacWithSHA256 -in {shown} -out {shown}.new`")
}

fn decrypt(path: &Path, der: &[u8], passphrase: Option<&str>) -> Result<Vec<u8>, TlsError> {
    if !cfg!(feature = "status") {
        let shown = path.display();
        let fault = format!(
            "is encrypted, which this build for pollers does not read; decrypt it: \
                `openssl pkey -in {shown} -out {shown}.new`"
        );
        return Err(TlsError::new(path, fault));
    }
    let Some(passphrase) = passphrase else {
        return Err(TlsError::new(path, "is encrypted: set its `passphrase`"));
    };
    let info = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| {
        let fault = format!(
            "is damaged, or encrypted in a way that is not supported (only PBES2 with AES is); convert it: {}",
            convert(path)
        );
        TlsError::new(path, fault)
    })?;
    let plain = info.decrypt(passphrase).map_err(|_| {
        let fault = format!(
            "cannot be decrypted: the `passphrase` is wrong, or the encryption is not supported; check it, or convert \
                the key: {}",
            convert(path)
        );
        TlsError::new(path, fault)
    })?;
    Ok(plain.as_bytes().to_vec())
}

//! RSA keys: PEM files, thumbprints, and the two operations of the key exchange (docs/protocol.md section 3).
//!
//! Out of scope: files. Private keys have no `Debug`; every operation with them belongs on a worker thread.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest;
use rsa::pkcs1::{DecodeRsaPrivateKey as _, DecodeRsaPublicKey as _, EncodeRsaPrivateKey as _};
use rsa::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePublicKey as _, LineEnding};
use rsa::traits::PublicKeyParts as _;

use super::seeded_random::RsaRandom;
use crate::model::random::Random;

/// Minimum size of a modulus in bits.
pub const MIN_BITS: usize = 2_048;
/// Maximum size of a modulus in bits.
pub const MAX_BITS: usize = 4_096;
/// Maximum length of a PEM text in bytes.
pub const MAX_PEM_LEN: usize = 16 * 1_024;
/// Maximum length of a public key in DER. A 4096-bit key takes about 550 bytes; more is refused before any arithmetic.
const MAX_PUBLIC_DER_LEN: usize = 1_024;
/// Minimum length of PKCS#1 v1.5 padding in bytes (RFC 8017 section 7.2.1).
const PADDING_LEN: usize = 11;

/// Why a key cannot be used; the caller names the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// There is no PEM block of the wanted kind.
    NotPem,
    /// The text is longer than any key.
    TooLong,
    /// The private key is protected by a passphrase.
    Encrypted,
    /// A key of another algorithm than RSA; the word names it.
    NotRsa(&'static str),
    /// The key is public and should be private.
    OnlyPublic,
    /// The key is private and should be public.
    IsPrivate,
    /// The block is there, but its content is not a valid RSA key.
    Damaged,
    /// The modulus has fewer than 2048 or more than 4096 bits.
    Size(usize),
    /// The key pair could not be made.
    Generation,
}

impl fmt::Display for KeyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let make = "make a new pair with `stheno keys generate`";
        match self {
            Self::NotPem => write!(formatter, "is not an RSA key in PEM format; {make}"),
            Self::TooLong => write!(formatter, "is longer than {MAX_PEM_LEN} bytes and no key; {make}"),
            Self::Encrypted => formatter.write_str(
                "is protected by a passphrase, which a daemon cannot type; remove it with `openssl rsa -in OLD -out \
                    NEW`",
            ),
            Self::NotRsa(kind) => write!(formatter, "is {kind} key, but Gorgone daemons only know RSA; {make}"),
            Self::OnlyPublic => formatter.write_str("is a public key; name the file of the private key here"),
            Self::IsPrivate => formatter.write_str("is a private key; name the file of the public key here"),
            Self::Damaged => write!(
                formatter,
                "is damaged: its PEM frame holds no valid RSA key; restore it or \
                {make}"
            ),
            Self::Size(bits) => {
                write!(formatter, "has {bits} bits; {MIN_BITS} to {MAX_BITS} are allowed; {make}")
            }
            Self::Generation => formatter.write_str("could not be made: the key size is not possible"),
        }
    }
}

impl std::error::Error for KeyError {}

/// A public key of 2048 to 4096 bits.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(rsa::PublicKey);

impl PublicKey {
    /// Reads a PEM block by its content, SPKI or else PKCS#1. The label is never trusted: an original daemon writes
    /// `RSA PUBLIC KEY` around SPKI.
    ///
    /// # Errors
    /// [`KeyError`] if it is not a public RSA key of an allowed size.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let blocks = pem_blocks(pem)?;
        if blocks.iter().any(|block| block.label.ends_with("PRIVATE KEY")) {
            return Err(KeyError::IsPrivate);
        }
        let block = blocks.iter().find(|block| block.label.ends_with("PUBLIC KEY")).ok_or(KeyError::NotPem)?;
        let der = block.der().filter(|der| der.len() <= MAX_PUBLIC_DER_LEN).ok_or(KeyError::Damaged)?;
        let key = rsa::PublicKey::from_public_key_der(&der)
            .or_else(|_| rsa::PublicKey::from_pkcs1_der(&der))
            .map_err(|_| foreign_algorithm(&der).unwrap_or(KeyError::Damaged))?;
        check_size(key.n().bit_width())?;
        Ok(Self(key))
    }

    /// The key as SPKI in a `PUBLIC KEY` block, lines ending with LF.
    #[must_use]
    pub fn to_pem(&self) -> String {
        // Encoding a valid key does not fail; an empty text would be refused by every reader.
        self.0.to_public_key_pem(LineEnding::LF).unwrap_or_default()
    }

    /// Reads an SPKI structure.
    ///
    /// # Errors
    /// [`KeyError`] if it is not a public RSA key of an allowed size.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        if der.len() > MAX_PUBLIC_DER_LEN {
            return Err(KeyError::Damaged);
        }
        let key = rsa::PublicKey::from_public_key_der(der)
            .map_err(|_| foreign_algorithm(der).unwrap_or(KeyError::Damaged))?;
        check_size(key.n().bit_width())?;
        Ok(Self(key))
    }

    /// The key as an SPKI structure; `None` if it cannot be encoded, which does not happen to a valid key.
    #[must_use]
    pub fn to_der(&self) -> Option<Vec<u8>> {
        self.0.to_public_key_der().ok().map(rsa::pkcs8::Document::into_vec)
    }

    /// RFC 7638 thumbprint: SHA-256 over the JWK, base64url without padding, 43 characters.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (exponent, modulus) = (encode(&self.0.e_bytes()), encode(&self.0.n_bytes()));
        let jwk = format!("{{\"e\":\"{exponent}\",\"kty\":\"RSA\",\"n\":\"{modulus}\"}}");
        encode(digest::digest(&digest::SHA256, jwk.as_bytes()).as_ref())
    }

    /// Maximum number of bytes for one [`PublicKey::encrypt`].
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.0.size().saturating_sub(PADDING_LEN)
    }

    /// RSAES-PKCS1-v1_5 (RFC 8017 section 7.2). `None` when `plain` is longer than [`PublicKey::capacity_bytes`].
    #[must_use]
    pub fn encrypt(&self, plain: &[u8], random: &mut dyn Random) -> Option<Vec<u8>> {
        self.0.pkcs1v15_encrypt_with_rng(&mut RsaRandom(random), plain).ok()
    }
}

/// A private key of 2048 to 4096 bits. No `Debug`.
#[derive(Clone)]
pub struct PrivateKey(rsa::PrivateKey);

impl PrivateKey {
    /// Reads a PEM text with a PKCS#8 or PKCS#1 private key; other blocks around it are skipped.
    ///
    /// # Errors
    /// [`KeyError`] that names what the file holds instead.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let blocks = pem_blocks(pem)?;
        let Some(block) = blocks.iter().find(|block| block.label.ends_with("PRIVATE KEY")) else {
            let public = blocks.iter().any(|block| block.label.ends_with("PUBLIC KEY"));
            return Err(if public { KeyError::OnlyPublic } else { KeyError::NotPem });
        };
        match block.label {
            "ENCRYPTED PRIVATE KEY" => return Err(KeyError::Encrypted),
            "EC PRIVATE KEY" => return Err(KeyError::NotRsa("an elliptic-curve")),
            "DSA PRIVATE KEY" => return Err(KeyError::NotRsa("a DSA")),
            "OPENSSH PRIVATE KEY" => return Err(KeyError::NotRsa("an OpenSSH")),
            _ if block.body.contains("ENCRYPTED") => return Err(KeyError::Encrypted),
            _ => {}
        }
        let der = block.der().ok_or(KeyError::Damaged)?;
        let key = rsa::PrivateKey::from_pkcs8_der(&der)
            .or_else(|_| rsa::PrivateKey::from_pkcs1_der(&der))
            .map_err(|_| foreign_algorithm(&der).unwrap_or(KeyError::Damaged))?;
        check_size(key.n().bit_width())?;
        Ok(Self(key))
    }

    /// Makes a key with the public exponent 65537. Takes up to several seconds, so it never runs on the event loop.
    ///
    /// # Errors
    /// [`KeyError::Size`] outside 2048 to 4096 bits.
    pub fn generate(bits: usize, random: &mut dyn Random) -> Result<Self, KeyError> {
        check_size(u32::try_from(bits).unwrap_or(u32::MAX))?;
        rsa::PrivateKey::new(&mut RsaRandom(random), bits).map(Self).map_err(|_| KeyError::Generation)
    }

    /// The key as PKCS#1 in an `RSA PRIVATE KEY` block, lines ending with LF.
    ///
    /// # Errors
    /// [`KeyError::Damaged`] if the key cannot be encoded. A valid key always can.
    pub fn to_pkcs1_pem(&self) -> Result<String, KeyError> {
        let pem = self.0.to_pkcs1_pem(LineEnding::LF).map_err(|_| KeyError::Damaged)?;
        Ok(pem.as_str().to_owned())
    }

    /// The key as a PKCS#1 structure; `None` if it cannot be encoded, which does not happen to a valid key.
    #[must_use]
    pub fn to_pkcs1_der(&self) -> Option<Vec<u8>> {
        self.0.to_pkcs1_der().ok().map(|document| document.as_bytes().to_vec())
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(rsa::PublicKey::from(&self.0))
    }

    /// Length in bytes of every text that is encrypted with this key.
    #[must_use]
    pub fn encrypted_len(&self) -> usize {
        self.0.size()
    }

    /// RSAES-PKCS1-v1_5 with implicit rejection: wrong padding gives an unpredictable text and not an error, so the
    /// caller compares it with the expected text. `None` at once if `encrypted` has the wrong length or exceeds the
    /// modulus.
    #[must_use]
    pub fn decrypt(&self, encrypted: &[u8], random: &mut dyn Random) -> Option<Vec<u8>> {
        self.0.pkcs1v15_decrypt_with_rng(&mut RsaRandom(random), encrypted).ok()
    }
}

fn check_size(bits: u32) -> Result<(), KeyError> {
    let bits = usize::try_from(bits).unwrap_or(usize::MAX);
    if (MIN_BITS..=MAX_BITS).contains(&bits) { Ok(()) } else { Err(KeyError::Size(bits)) }
}

/// Names the algorithm of a PKCS#8 or SPKI text that is not RSA, by its object identifier in DER.
fn foreign_algorithm(der: &[u8]) -> Option<KeyError> {
    // A short key fails in the RSA library before its size is known, so its modulus is found here.
    const KNOWN: [(&[u8], &str); 3] = [
        (&[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01], "an elliptic-curve"),
        (&[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01], "a DSA"),
        (&[0x06, 0x03, 0x2b, 0x65, 0x70], "an Ed25519"),
    ];
    let head = der.get(..64).unwrap_or(der);
    let found = KNOWN.iter().find(|(oid, _)| head.windows(oid.len()).any(|window| window == *oid));
    found.map(|(_, name)| KeyError::NotRsa(name))
}

struct PemBlock<'a> {
    label: &'a str,
    body: &'a str,
}

impl PemBlock<'_> {
    fn der(&self) -> Option<Vec<u8>> {
        let text: Vec<u8> = self.body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        STANDARD.decode(text).ok()
    }
}

/// The PEM blocks of a text (RFC 7468). Lines may have any length; text between blocks is skipped.
fn pem_blocks(pem: &[u8]) -> Result<Vec<PemBlock<'_>>, KeyError> {
    if pem.len() > MAX_PEM_LEN {
        return Err(KeyError::TooLong);
    }
    let mut rest = std::str::from_utf8(pem).map_err(|_| KeyError::NotPem)?;
    let mut blocks = Vec::new();
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let (label, after) = after.split_once("-----").ok_or(KeyError::NotPem)?;
        let (body, after) = after.split_once("-----END ").ok_or(KeyError::Damaged)?;
        blocks.push(PemBlock { label, body });
        rest = after;
    }
    if blocks.is_empty() { Err(KeyError::NotPem) } else { Ok(blocks) }
}

#[cfg(test)]
mod tests {
    use super::super::seeded_random::SeededRandom;
    use super::super::test_keys::*;
    use super::*;

    const SERVER_THUMBPRINT: &str = "NOKI_HazwKrEonsK_mZnn3-H-IOZmbYzVDcGuePg0Gs";

    #[test]
    fn private_keys_are_read_from_pkcs1_and_pkcs8() {
        for pem in [SERVER_PKCS1, SERVER_PKCS8] {
            let key = PrivateKey::from_pem(pem.as_bytes()).ok().unwrap();
            assert_eq!(key.public().thumbprint(), SERVER_THUMBPRINT);
            assert_eq!(key.encrypted_len(), 256);
            assert_eq!(key.to_pkcs1_pem().unwrap(), SERVER_PKCS1);
        }
    }

    #[test]
    fn public_keys_are_read_by_content_under_any_label_and_line_length() {
        let mislabelled = SERVER_SPKI.replace("PUBLIC", "RSA PUBLIC");
        let one_line =
            mislabelled.replace('\n', "").replace("KEY-----", "KEY-----\n").replace("-----END", "\n-----END");
        let windows = SERVER_SPKI.replace('\n', "\r\n");
        for pem in [SERVER_SPKI, SERVER_PUBLIC_PKCS1, &mislabelled, &one_line, &windows] {
            let key = PublicKey::from_pem(pem.as_bytes()).expect(pem);
            assert_eq!(key.thumbprint(), SERVER_THUMBPRINT);
            assert_eq!(key.to_pem(), SERVER_SPKI);
            assert_eq!(key.capacity_bytes(), 245);
        }
    }

    #[test]
    fn an_unusable_private_key_is_refused_with_what_it_is() {
        let body = "AAAA";
        let block = |label: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        for (pem, error) in [
            (String::new(), KeyError::NotPem),
            ("hello".into(), KeyError::NotPem),
            (block("CERTIFICATE"), KeyError::NotPem),
            (block("ENCRYPTED PRIVATE KEY"), KeyError::Encrypted),
            (block("RSA PRIVATE KEY").replace(body, "Proc-Type: 4,ENCRYPTED\n\nAAAA"), KeyError::Encrypted),
            (block("EC PARAMETERS") + &block("EC PRIVATE KEY"), KeyError::NotRsa("an elliptic-curve")),
            (block("OPENSSH PRIVATE KEY"), KeyError::NotRsa("an OpenSSH")),
            (block("RSA PRIVATE KEY"), KeyError::Damaged),
            (SERVER_SPKI.into(), KeyError::OnlyPublic),
            (SERVER_PKCS1.chars().take(900).collect(), KeyError::Damaged),
            (SERVER_PKCS1.replacen("MII", "MIJ", 1), KeyError::Damaged),
            (SHORT_PKCS1.into(), KeyError::Size(1024)),
            ("x".repeat(MAX_PEM_LEN + 1), KeyError::TooLong),
        ] {
            assert_eq!(PrivateKey::from_pem(pem.as_bytes()).err(), Some(error), "{pem}");
            assert!(error.to_string().len() > 20);
        }
        assert_eq!(PublicKey::from_pem(SERVER_PKCS1.as_bytes()).err(), Some(KeyError::IsPrivate));
    }

    #[test]
    fn what_is_encrypted_for_a_key_is_decrypted_with_it_and_with_no_other() {
        let server = PrivateKey::from_pem(SERVER_PKCS1.as_bytes()).ok().unwrap();
        let client = PrivateKey::from_pem(CLIENT_PKCS1.as_bytes()).ok().unwrap();
        let mut random = SeededRandom::new(&[1; 32]);
        let encrypted = server.public().encrypt(b"HELO", &mut random).unwrap();
        assert_eq!(server.decrypt(&encrypted, &mut random).as_deref(), Some(&b"HELO"[..]));
        assert_ne!(client.decrypt(&encrypted, &mut random).as_deref(), Some(&b"HELO"[..]));
        assert_eq!(server.decrypt(&encrypted[1..], &mut random), None);
        assert_eq!(server.public().encrypt(&[0; 246], &mut random), None);
    }

    #[test]
    fn a_generated_key_is_read_back_from_its_files() {
        let mut random = SeededRandom::new(&[5; 32]);
        assert_eq!(PrivateKey::generate(1024, &mut random).err(), Some(KeyError::Size(1024)));
        let key = PrivateKey::generate(2048, &mut random).ok().unwrap();
        let read = PrivateKey::from_pem(key.to_pkcs1_pem().unwrap().as_bytes()).ok().unwrap();
        let public = PublicKey::from_pem(key.public().to_pem().as_bytes()).ok().unwrap();
        assert_eq!(read.public().thumbprint(), public.thumbprint());
    }
}

//! The fields of an X.509 certificate (RFC 5280 section 4.1) that messages to the administrator need.
//!
//! Only webpki decides whether a certificate is valid. This module reads names and dates for diagnosis.

use std::path::Path;

use rsa::pkcs8::der::Decode as _;
use rsa::pkcs8::der::asn1::{GeneralizedTime, UtcTime};
use rustls::pki_types::CertificateDer;

use super::{TlsError, pem};

/// Issuer, subject and validity of a certificate. Names are DER.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Summary<'a> {
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    /// Seconds since 1970.
    pub(super) not_before_s: u64,
    /// Seconds since 1970.
    pub(super) not_after_s: u64,
}

impl<'a> Summary<'a> {
    /// Reads a certificate; `None` if it is not one.
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        let (certificate, _) = element(der)?;
        let (to_be_signed, _) = element(certificate.value)?;
        let (first, rest) = element(to_be_signed.value)?;
        // Version 1 has no version field.
        let rest = if first.tag == 0xa0 { element(rest)?.1 } else { rest };
        let (_signature_algorithm, rest) = element(rest)?;
        let (issuer, rest) = element(rest)?;
        let (validity, rest) = element(rest)?;
        let (subject, _) = element(rest)?;
        let (not_before, rest) = element(validity.value)?;
        let (not_after, _) = element(rest)?;
        Some(Self {
            issuer: issuer.value,
            subject: subject.value,
            not_before_s: not_before.time_s()?,
            not_after_s: not_after.time_s()?,
        })
    }

    /// Whether issuer and subject are equal.
    pub(super) fn is_self_signed(&self) -> bool {
        self.issuer == self.subject
    }
}

struct Element<'a> {
    tag: u8,
    value: &'a [u8],
    whole: &'a [u8],
}

impl Element<'_> {
    fn time_s(&self) -> Option<u64> {
        let since_1970 = match self.tag {
            0x17 => UtcTime::from_der(self.whole).ok()?.to_unix_duration(),
            0x18 => GeneralizedTime::from_der(self.whole).ok()?.to_unix_duration(),
            _ => return None,
        };
        Some(since_1970.as_secs())
    }
}

/// Splits off the first DER element (X.690 section 8.1).
fn element(der: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 {
            return None;
        }
        let (bytes, rest) = rest.split_at_checked(count)?;
        (bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
    };
    let (value, after) = rest.split_at_checked(len)?;
    let whole = der.get(..der.len() - after.len())?;
    Some((Element { tag, value, whole }, after))
}

/// The certificates of a file in order, at least one. Other blocks, such as a key, are skipped.
pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let blocks = pem::read_blocks(path)?;
    let seen = blocks.first().map(|block| block.label.clone()).unwrap_or_default();
    let chain: Vec<_> = blocks
        .into_iter()
        .filter(|block| matches!(block.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE"))
        .map(|block| CertificateDer::from(block.der))
        .collect();
    if chain.is_empty() {
        let fault = format!("has no certificate, only '{seen}': name a file with BEGIN CERTIFICATE");
        return Err(TlsError::new(path, fault));
    }
    for (index, certificate) in chain.iter().enumerate() {
        if Summary::read(certificate).is_none() {
            let fault = format!("certificate number {} is damaged: copy the file again", index + 1);
            return Err(TlsError::new(path, fault));
        }
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_certificates_are_no_certificates() {
        for der in [&[][..], &[0x30], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 0x80], &[0x30, 2, 0x30, 0]] {
            assert_eq!(Summary::read(der), None);
        }
    }
}

//! The digest of a copied file: MD5, which every peer knows, or SHA-256 if both ends are ours and their processors have
//! instructions for it, because it then takes less than half the time.

use std::io;

use md5::Digest as _;

use crate::model::copy::DigestKind;

/// A running digest.
#[derive(Clone)]
pub(super) enum Digest {
    Md5(md5::Md5),
    Sha256(ring::digest::Context),
}

/// The fastest kind on this processor.
pub(super) fn fastest() -> DigestKind {
    #[cfg(target_arch = "x86_64")]
    let has_sha = std::arch::is_x86_feature_detected!("sha");
    #[cfg(target_arch = "aarch64")]
    let has_sha = std::arch::is_aarch64_feature_detected!("sha2");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let has_sha = false;
    if has_sha { DigestKind::Sha256 } else { DigestKind::Md5 }
}

impl Digest {
    /// The digest of no bytes.
    pub(super) fn new(kind: DigestKind) -> Self {
        match kind {
            DigestKind::Md5 => Self::Md5(md5::Md5::new()),
            DigestKind::Sha256 => Self::Sha256(ring::digest::Context::new(&ring::digest::SHA256)),
        }
    }

    pub(super) const fn kind(&self) -> DigestKind {
        match self {
            Self::Md5(_) => DigestKind::Md5,
            Self::Sha256(_) => DigestKind::Sha256,
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(digest) => digest.update(bytes),
            Self::Sha256(digest) => digest.update(bytes),
        }
    }

    /// The hexadecimal digits so far. More bytes may follow.
    pub(super) fn hex(&self) -> String {
        match self {
            Self::Md5(digest) => super::text::hex(digest),
            Self::Sha256(digest) => crate::model::random::to_hex(digest.clone().finish().as_ref()),
        }
    }

    /// Reads `len_bytes` bytes from the current position, or fewer at the end of the file. Returns their number.
    pub(super) fn read(&mut self, file: &mut impl io::Read, len_bytes: u64) -> io::Result<u64> {
        let mut buffer = vec![0_u8; 128 << 10];
        let mut left = len_bytes;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let Some(part) = buffer.get_mut(..want) else { break };
            match file.read(part) {
                Ok(0) => break,
                Ok(count) => {
                    self.update(part.get(..count).unwrap_or_default());
                    left = left.saturating_sub(count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(len_bytes - left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_give_their_digits_and_may_be_fed_on() {
        for (kind, of_abc) in [
            (DigestKind::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            (DigestKind::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ] {
            let mut digest = Digest::new(kind);
            assert_eq!((digest.read(&mut &b"ab"[..], 5).unwrap(), digest.kind()), (2, kind));
            assert_ne!(digest.hex(), of_abc);
            digest.update(b"c");
            assert_eq!(digest.hex(), of_abc);
            assert_eq!(DigestKind::of(of_abc), kind, "the number of digits tells the kind");
        }
    }
}

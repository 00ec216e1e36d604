//! The digest of a copied file: MD5, which every peer knows, or SHA-256 by pieces if both ends are ours. An older
//! daemon of ours knows SHA-256 over the whole, and uses it where its processor has instructions for it.

use std::io;

use md5::Digest as _;

use crate::model::copy::DigestKind;

/// A running digest.
#[derive(Clone)]
pub(super) enum Digest {
    Md5(md5::Md5),
    Sha256(ring::digest::Context),
    Pieces(Pieces),
}

/// Number of hexadecimal digits by which a piece is compared.
const PIECE_DIGITS: usize = 16;
/// Maximum number of pieces that are told.
const PIECES_TOLD_MAX: usize = 4_096;

/// A running digest by pieces.
#[derive(Clone)]
pub(super) struct Pieces {
    log2: u8,
    whole: Vec<ring::digest::Digest>,
    current: ring::digest::Context,
    /// Number of bytes in the current piece.
    filled: u64,
}

impl Pieces {
    fn new(log2: u8) -> Self {
        Self { log2, whole: Vec::new(), current: sha256(), filled: 0 }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let left = (1_u64 << self.log2).saturating_sub(self.filled);
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at_checked(len).unwrap_or((bytes, &[]));
            self.current.update(now);
            self.filled += now.len() as u64;
            bytes = later;
            if self.filled == 1_u64 << self.log2 {
                self.whole.push(std::mem::replace(&mut self.current, sha256()).finish());
                self.filled = 0;
            }
        }
    }

    fn hex(&self) -> String {
        let mut all = sha256();
        self.whole.iter().for_each(|piece| all.update(piece.as_ref()));
        if self.filled > 0 {
            all.update(self.current.clone().finish().as_ref());
        }
        format!("{}-{}", self.log2, crate::model::random::to_hex(all.finish().as_ref()))
    }

    fn told(&self) -> String {
        if self.whole.len() > PIECES_TOLD_MAX {
            return String::new();
        }
        self.whole.iter().map(told).collect()
    }
}

fn sha256() -> ring::digest::Context {
    ring::digest::Context::new(&ring::digest::SHA256)
}

fn told(piece: &ring::digest::Digest) -> String {
    let mut digits = crate::model::random::to_hex(piece.as_ref());
    digits.truncate(PIECE_DIGITS);
    digits
}

/// Reads a file from its beginning and returns up to which offset its pieces are those that were `told`.
pub(super) fn agreed(file: &mut impl io::Read, log2: u8, told_pieces: &str) -> io::Result<u64> {
    let piece_bytes = 1_u64 << log2;
    let mut agreed = 0;
    for theirs in told_pieces.as_bytes().chunks(PIECE_DIGITS) {
        let mut digest = Digest::new(DigestKind::Pieces(log2));
        let read = digest.read(file, piece_bytes)?;
        if read < piece_bytes || digest.pieces().as_bytes() != theirs {
            break;
        }
        agreed += piece_bytes;
    }
    Ok(agreed)
}

/// The kind that is used of what a sender offers.
pub(super) fn taken(offered: DigestKind) -> DigestKind {
    match offered {
        DigestKind::Pieces(_) => offered,
        DigestKind::Sha256 if fastest() == DigestKind::Sha256 => offered,
        DigestKind::Sha256 | DigestKind::Md5 => DigestKind::Md5,
    }
}

/// The faster of the digests over the whole on this processor.
fn fastest() -> DigestKind {
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
            DigestKind::Sha256 => Self::Sha256(sha256()),
            DigestKind::Pieces(log2) => Self::Pieces(Pieces::new(log2)),
        }
    }

    pub(super) const fn kind(&self) -> DigestKind {
        match self {
            Self::Md5(_) => DigestKind::Md5,
            Self::Sha256(_) => DigestKind::Sha256,
            Self::Pieces(pieces) => DigestKind::Pieces(pieces.log2),
        }
    }

    /// The beginnings of the digests of the whole pieces so far, in hexadecimal digits; empty without pieces.
    pub(super) fn pieces(&self) -> String {
        match self {
            Self::Pieces(pieces) => pieces.told(),
            Self::Md5(_) | Self::Sha256(_) => String::new(),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(digest) => digest.update(bytes),
            Self::Sha256(digest) => digest.update(bytes),
            Self::Pieces(pieces) => pieces.update(bytes),
        }
    }

    /// The digest of all bytes so far in hexadecimal digits. More bytes may follow.
    pub(super) fn hex(&self) -> String {
        match self {
            Self::Md5(digest) => super::text::hex(digest),
            Self::Pieces(pieces) => pieces.hex(),
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
    fn the_digest_by_pieces_is_the_same_however_the_bytes_come_and_tells_where_two_ends_differ() {
        let kind = DigestKind::pieces_for(0);
        let DigestKind::Pieces(log2) = kind else { panic!() };
        let piece = 1_usize << log2;
        let mut bytes: Vec<u8> = (0..2 * piece + 9).map(|at| ((at * at) >> 7) as u8).collect();
        let of = |bytes: &[u8], step: usize| {
            let mut digest = Digest::new(kind);
            bytes.chunks(step).for_each(|part| digest.update(part));
            (digest.hex(), digest.pieces())
        };
        let (whole, pieces) = of(&bytes, piece);
        assert_eq!(of(&bytes, 150_000), (whole.clone(), pieces.clone()));
        assert_eq!((DigestKind::of(&whole), pieces.len()), (kind, 2 * PIECE_DIGITS));
        assert_eq!(agreed(&mut bytes.as_slice(), log2, &pieces).unwrap(), 2 * piece as u64);
        bytes[piece + 1] ^= 1;
        assert_eq!(agreed(&mut bytes.as_slice(), log2, &pieces).unwrap(), piece as u64);
        assert_ne!(of(&bytes, piece).0, whole);
        assert_eq!(agreed(&mut &bytes[..9], log2, &pieces).unwrap(), 0);
        assert_eq!(of(&[], 1).0.split_once('-').unwrap().1.len(), 64);
        assert_eq!(DigestKind::pieces_for(u64::MAX), DigestKind::Pieces(40));
        assert_eq!(DigestKind::pieces_for(5 << 32), DigestKind::Pieces(25));
        assert_eq!(DigestKind::of("3-00"), DigestKind::Md5, "pieces too small");
    }

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

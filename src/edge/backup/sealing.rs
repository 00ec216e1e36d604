//! Seals a stream by a passphrase: Argon2id makes the key, ChaCha20-Poly1305 seals pieces that are numbered, so that
//! none can be left out, exchanged or cut off.

use std::io::{self, Read, Write};

use argon2::{Algorithm, Argon2, Params, Version};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::edge::random::SystemRandom;
use crate::model::random::Random as _;

/// How a sealed backup begins.
pub(super) const MAGIC: &[u8] = b"stheno sealed backup 1\n";
const SALT_LEN: usize = 16;
const KEY_LEN: usize = 32;
/// Argon2id: 64 MiB, three passes, one lane (RFC 9106 section 4, the second recommended choice with one lane).
const MEMORY_KIB: u32 = 64 << 10;
const PASSES: u32 = 3;
/// Plain bytes of a piece.
const PIECE_LEN: usize = 64 << 10;
const TAG_LEN: usize = 16;
/// What is sealed along with a piece: whether it is the last.
const MORE: &[u8] = b"more";
const LAST: &[u8] = b"last";

fn key(passphrase: &[u8], salt: &[u8]) -> io::Result<LessSafeKey> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, Some(KEY_LEN)).map_err(io::Error::other)?;
    let mut bytes = Zeroizing::new([0; KEY_LEN]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(passphrase, salt, bytes.as_mut()).map_err(io::Error::other)?;
    let key = UnboundKey::new(&CHACHA20_POLY1305, bytes.as_ref()).map_err(|_| io::Error::other("no key"))?;
    Ok(LessSafeKey::new(key))
}

/// The nonce of a piece. Each file has a key of its own, by its salt.
fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    let (_, end) = bytes.split_at_mut(NONCE_LEN - 8);
    end.copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Seals what is written to it.
pub(super) struct Sealer<W: Write> {
    out: W,
    key: LessSafeKey,
    number: u64,
    piece: Vec<u8>,
}

impl<W> Sealer<W>
where
    W: Write,
{
    /// Writes the beginning.
    pub(super) fn new(mut out: W, passphrase: &[u8]) -> io::Result<Self> {
        let mut salt = [0; SALT_LEN];
        SystemRandom::new().fill(&mut salt);
        out.write_all(MAGIC)?;
        out.write_all(&salt)?;
        let key = key(passphrase, &salt)?;
        Ok(Self { out, key, number: 0, piece: Vec::with_capacity(PIECE_LEN + TAG_LEN) })
    }

    fn seal(&mut self, aad: &[u8]) -> io::Result<()> {
        let sealed = self.key.seal_in_place_append_tag(nonce(self.number), Aad::from(aad), &mut self.piece);
        sealed.map_err(|_| io::Error::other("a piece cannot be sealed"))?;
        self.number += 1;
        self.out.write_all(&self.piece)?;
        self.piece.clear();
        Ok(())
    }

    /// Writes the last piece.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.seal(LAST)?;
        self.out.flush()
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full piece is sealed when more comes, so that the last one is never empty by accident.
        if self.piece.len() == PIECE_LEN {
            self.seal(MORE)?;
        }
        let taken = bytes.len().min(PIECE_LEN - self.piece.len());
        self.piece.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens what a [`Sealer`] has written, after [`MAGIC`].
pub(super) struct Opener<R: Read> {
    from: R,
    key: LessSafeKey,
    number: u64,
    /// Sealed bytes that were read ahead, to know whether a piece is the last.
    ahead: Vec<u8>,
    piece: Vec<u8>,
    given: usize,
    has_ended: bool,
}

impl<R> Opener<R>
where
    R: Read,
{
    pub(super) fn new(mut from: R, passphrase: &[u8]) -> io::Result<Self> {
        let mut salt = [0; SALT_LEN];
        from.read_exact(&mut salt)?;
        let key = key(passphrase, &salt)?;
        let mut opener =
            Self { from, key, number: 0, ahead: Vec::new(), piece: Vec::new(), given: 0, has_ended: false };
        opener.ahead = opener.read_piece()?;
        Ok(opener)
    }

    fn read_piece(&mut self) -> io::Result<Vec<u8>> {
        let mut sealed = Vec::new();
        (&mut self.from).take((PIECE_LEN + TAG_LEN) as u64).read_to_end(&mut sealed)?;
        Ok(sealed)
    }

    fn open_next(&mut self) -> io::Result<()> {
        let next = self.read_piece()?;
        let mut sealed = std::mem::replace(&mut self.ahead, next);
        let is_last = self.ahead.is_empty();
        let aad = if is_last { LAST } else { MORE };
        let opened = self.key.open_in_place(nonce(self.number), Aad::from(aad), &mut sealed);
        let len = opened.map(|plain| plain.len()).map_err(|_| {
            io::Error::other(if self.number == 0 {
                "cannot be opened: the passphrase is wrong, or the file is damaged"
            } else {
                "is damaged or was cut off"
            })
        })?;
        sealed.truncate(len);
        self.number += 1;
        (self.piece, self.given, self.has_ended) = (sealed, 0, is_last);
        Ok(())
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.given == self.piece.len() {
            if self.has_ended {
                return Ok(0);
            }
            self.open_next()?;
        }
        let rest = self.piece.get(self.given..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        if let (Some(to), Some(from)) = (bytes.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.given += count;
        Ok(count)
    }
}

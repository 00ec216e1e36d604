//! AES in CBC mode over whole blocks.
//!
//! Each byte of a copy to an original peer passes through here. It is a crate of its own because a profile chooses the
//! optimisation of a crate, and the ciphers are generic code that is compiled where it is used: a build for pollers
//! optimises this for speed and the rest for size. Out of scope: everything else about messages.

#![no_std]

use aes::cipher::array::Array;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt as _, BlockModeEncrypt as _};
use aes::cipher::{InnerIvInit as _, KeyInit as _, consts::U16};
use aes::{Aes128, Aes192, Aes256, Block};

/// Length of a block and of a vector in bytes.
pub const BLOCK_LEN: usize = 16;

/// A key with its schedule. No `Debug`.
pub enum Key {
    /// 16 bytes.
    Aes128(Aes128),
    /// 24 bytes.
    Aes192(Aes192),
    /// 32 bytes.
    Aes256(Aes256),
}

impl Key {
    /// Expands a key of 16, 24 or 32 bytes. The caller checks the length: any other key is cut or filled with zeros to 32.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        if let Ok(cipher) = Aes128::new_from_slice(key) {
            return Self::Aes128(cipher);
        }
        if let Ok(cipher) = Aes192::new_from_slice(key) {
            return Self::Aes192(cipher);
        }
        let mut padded = [0; 32];
        for (to, from) in padded.iter_mut().zip(key) {
            *to = *from;
        }
        Self::Aes256(Aes256::new(&padded.into()))
    }

    /// Encrypts in place. `vector` becomes the vector of what follows. Bytes after the last whole block stay.
    pub fn encrypt(&self, vector: &mut [u8; BLOCK_LEN], bytes: &mut [u8]) {
        match self {
            Self::Aes128(cipher) => encrypt(cipher, vector, bytes),
            Self::Aes192(cipher) => encrypt(cipher, vector, bytes),
            Self::Aes256(cipher) => encrypt(cipher, vector, bytes),
        }
    }

    /// Decrypts in place. Bytes after the last whole block stay.
    pub fn decrypt(&self, vector: &[u8; BLOCK_LEN], bytes: &mut [u8]) {
        match self {
            Self::Aes128(cipher) => decrypt(cipher, vector, bytes),
            Self::Aes192(cipher) => decrypt(cipher, vector, bytes),
            Self::Aes256(cipher) => decrypt(cipher, vector, bytes),
        }
    }
}

fn encrypt<C: BlockCipherEncrypt<BlockSize = U16>>(cipher: &C, vector: &mut [u8; BLOCK_LEN], bytes: &mut [u8]) {
    let blocks = Array::slice_as_chunks_mut(bytes).0;
    cbc::Encryptor::inner_iv_init(cipher, &Block::from(*vector)).encrypt_blocks(blocks);
    if let Some(last) = blocks.last() {
        *vector = (*last).into();
    }
}

fn decrypt<C: BlockCipherDecrypt<BlockSize = U16>>(cipher: &C, vector: &[u8; BLOCK_LEN], bytes: &mut [u8]) {
    let blocks = Array::slice_as_chunks_mut(bytes).0;
    cbc::Decryptor::inner_iv_init(cipher, &Block::from(*vector)).decrypt_blocks(blocks);
}

/// Length of the text without its PKCS#7 padding, every byte of which is checked (RFC 5652 section 6.3); `None` if the
/// padding is wrong.
#[must_use]
pub fn unpadded_len(bytes: &[u8]) -> Option<usize> {
    let last = bytes.last_chunk::<BLOCK_LEN>()?;
    let pad = usize::from(*last.last()?);
    let valid = (1..=BLOCK_LEN).contains(&pad) && last.iter().rev().take(pad).all(|byte| usize::from(*byte) == pad);
    if valid { bytes.len().checked_sub(pad) } else { None }
}

//! Directories by difference: the sender lists what it has in a manifest, the receiver says what differs, and only that
//! is packed and sent. Each end goes through the manifest once and keeps one record of it in memory.

pub(super) mod arriving;
pub(super) mod build;
mod compare;
mod delete;
pub(super) mod format;
pub(super) mod select;
mod settle;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;

use ring::digest::{Context, SHA256};

/// The beginning of a digest by which two files of a tree are compared.
pub(super) type Brief = [u8; 16];

/// Reads a file to its end. Returns the beginning of its SHA-256 and the number of bytes.
fn brief(file: &mut File) -> io::Result<(Brief, u64)> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0_u8; 128 << 10];
    let mut len_bytes = 0;
    loop {
        match io::Read::read(file, &mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                context.update(buffer.get(..count).unwrap_or_default());
                len_bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let whole = context.finish();
    Ok((whole.as_ref().first_chunk().copied().unwrap_or_default(), len_bytes))
}

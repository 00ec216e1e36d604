//! Errors of the system in the form of the original's rows, and digests as text.

use std::io;
use std::path::Path;

use md5::{Digest, Md5};

use crate::model::copy::CopyFailure;

/// The system's words without a number: `No such file or directory`.
pub(super) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text.get(..at).unwrap_or(&text).to_owned(),
        None => text,
    }
}

pub(super) fn about(path: &Path, error: &io::Error) -> String {
    format!("{}: {}", path.display(), words(error))
}

pub(super) fn failure(message: impl Into<String>, detail: impl Into<String>) -> CopyFailure {
    CopyFailure { message: message.into(), detail: detail.into() }
}

/// The hexadecimal digits of a digest so far. More bytes may follow.
pub(super) fn hex(digest: &Md5) -> String {
    digest.clone().finalize().iter().fold(String::with_capacity(32), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
        text
    })
}

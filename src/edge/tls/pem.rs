//! PEM (RFC 7468), read as tolerantly as OpenSSL does: text around the blocks and any line length are allowed.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{TlsError, read_file};

/// One `-----BEGIN label-----` block. May hold a key: no `Debug`.
pub(super) struct Block {
    /// The label, for instance `CERTIFICATE`.
    pub(super) label: String,
    /// The content; empty for the legacy encrypted form.
    pub(super) der: Vec<u8>,
    /// Whether it has the legacy encrypted form with `Proc-Type: 4,ENCRYPTED` (RFC 1421).
    pub(super) is_legacy_encrypted: bool,
}

/// The blocks of a file in order, at least one.
pub(super) fn read_blocks(path: &Path) -> Result<Vec<Block>, TlsError> {
    let bytes = read_file(path)?;
    let blocks = parse(&bytes).map_err(|fault| TlsError::new(path, fault))?;
    if blocks.is_empty() {
        let fault = if bytes.first() == Some(&0x30) {
            "is in DER form: convert it with `openssl x509 -inform der` or `openssl pkey -inform der`"
        } else {
            "has no PEM block (-----BEGIN ...-----): it must be a PEM file"
        };
        return Err(TlsError::new(path, fault));
    }
    Ok(blocks)
}

pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Block>, String> {
    let text = String::from_utf8_lossy(bytes);
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) else {
            continue;
        };
        let end = format!("-----END {label}-----");
        let (mut body, mut is_legacy_encrypted, mut has_ended) = (String::new(), false, false);
        for line in lines.by_ref() {
            if line == end {
                has_ended = true;
                break;
            }
            if line.contains(':') {
                is_legacy_encrypted |= line.starts_with("Proc-Type:") && line.contains("ENCRYPTED");
            } else {
                body.push_str(line);
            }
        }
        if !has_ended {
            return Err(format!("the block {label} has no end line: the file is cut off, copy it again"));
        }
        let der = if is_legacy_encrypted {
            Vec::new()
        } else {
            STANDARD.decode(&body).map_err(|_| format!("the block {label} is not valid base64: copy the file again"))?
        };
        blocks.push(Block { label: label.to_owned(), der, is_legacy_encrypted });
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_around_blocks_and_windows_line_ends_are_fine() {
        let blocks = parse(b"subject=x\r\n-----BEGIN A B-----\r\nAQI\r\nD\r\n-----END A B-----\r\nrest").unwrap();
        assert_eq!(blocks.len(), 1);
        assert_eq!((blocks[0].label.as_str(), blocks[0].der.as_slice()), ("A B", [1, 2, 3].as_slice()));
    }

    #[test]
    fn a_block_that_is_cut_off_or_damaged_is_named() {
        assert!(parse(b"-----BEGIN KEY-----\nAQID\n").err().unwrap().contains("KEY has no end"));
        assert!(parse(b"-----BEGIN KEY-----\nA*ID\n-----END KEY-----").err().unwrap().contains("KEY is not valid"));
    }
}

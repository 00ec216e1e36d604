//! The TLS options of listeners and of nodes that dial in (docs/protocol.md sections 9 and 13). This module checks that
//! the files can be opened; their users read the contents.

use std::fs::File;
use std::path::PathBuf;

use super::findings::Findings;
use super::section::{Section, refuse};
use super::settings::{ClientTls, ServerTls};

/// Reads `ssl`, `ssl_cert_file`, `ssl_key_file` and `passphrase`. `None` without TLS, and after a problem.
pub(super) fn read_server(section: &Section<'_>, findings: &mut Findings) -> Option<ServerTls> {
    if !section.boolean("ssl", false, findings) {
        return None;
    }
    let certificate_file = required_file(section, "ssl_cert_file", findings);
    let key_file = required_file(section, "ssl_key_file", findings);
    let passphrase = section.exact("passphrase", findings).map(|(text, _)| text.to_owned());
    Some(ServerTls { certificate_file: certificate_file?, key_file: key_file?, passphrase })
}

fn required_file(section: &Section<'_>, key: &'static str, findings: &mut Findings) -> Option<PathBuf> {
    let file = file(section, key, findings);
    if file.is_none() && section.value(key).is_none() {
        let text = "is missing or empty; 'ssl: true' needs it: the path of a PEM file";
        findings.problem(section.place(), &section.path(key), text);
    }
    file
}

/// Reads the path at `key`; reports a problem if the file cannot be opened.
fn file(section: &Section<'_>, key: &'static str, findings: &mut Findings) -> Option<PathBuf> {
    let (name, declared_in) = section.text(key, findings)?;
    // As for the register file, a relative path does not refer to the working directory, which administrators do not
    // expect.
    let beside = declared_in.beside(name);
    let path = if beside.exists() { beside } else { PathBuf::from(name) };
    let fault = match File::open(&path) {
        Ok(_) if path.is_file() => return Some(path),
        Ok(_) => "it is not a regular file".to_owned(),
        Err(error) => error.to_string(),
    };
    let text = format!("the file {} cannot be read: {fault}", path.display());
    findings.problem(declared_in, &section.path(key), text);
    None
}

/// Reads `ssl`, `https_cert_no_verify`, `ssl_ca_file` and `ssl_fingerprint`. `None` without TLS.
pub(super) fn read_client(section: &Section<'_>, findings: &mut Findings) -> Option<ClientTls> {
    const FINGERPRINT: &str =
        "the SHA-256 of the certificate, 64 hexadecimal digits ('openssl x509 -in FILE -noout -fingerprint -sha256')";
    let uses_tls = section.boolean("ssl", false, findings);
    // The original's default is true.
    let no_verify = section.boolean("https_cert_no_verify", false, findings);
    let pin = section.text("ssl_fingerprint", findings);
    let ca_file = if uses_tls { file(section, "ssl_ca_file", findings) } else { None };
    let names_roots = section.value("ssl_ca_file").is_some();
    if !uses_tls {
        let without_effect = [("ssl_fingerprint", pin.is_some()), ("ssl_ca_file", names_roots)];
        for (key, _) in without_effect.into_iter().filter(|(_, is_set)| *is_set) {
            let text = "has no effect without 'ssl: true': the connection is neither encrypted nor checked";
            findings.warning(section.place(), &section.path(key), text);
        }
        return None;
    }
    if let Some((text, file)) = pin {
        let pinned = fingerprint(text);
        if pinned.is_none() {
            refuse(file, &section.path("ssl_fingerprint"), text, FINGERPRINT, findings);
        }
        if no_verify || names_roots {
            let text = "decides alone: 'https_cert_no_verify' and 'ssl_ca_file' have no effect beside it";
            findings.warning(file, &section.path("ssl_fingerprint"), text);
        }
        return pinned.map(ClientTls::Pinned);
    }
    if no_verify {
        let text = "is true, so the certificate of the central is not checked and anybody on the way can read and \
            change \
                    everything; allowed and safe: false, with 'ssl_ca_file' or 'ssl_fingerprint'";
        findings.warning(section.place(), &section.path("https_cert_no_verify"), text);
        return Some(ClientTls::NoVerify);
    }
    Some(ClientTls::Verify { ca_file })
}

/// Reads `https_cert_no_verify` and `ssl_ca_file` of a server whose URL decides about TLS; with `is_unverified` another
/// option has switched off the check of its certificate.
pub(super) fn read_check(section: &Section<'_>, is_unverified: bool, findings: &mut Findings) -> ClientTls {
    let ca_file = file(section, "ssl_ca_file", findings);
    if section.boolean("https_cert_no_verify", is_unverified, findings) {
        let text = "its certificate is not checked, so anybody on the way can read and change everything; safe: \
                    https_cert_no_verify: false, with 'ssl_ca_file' where the system does not know its authority";
        findings.warning(section.place(), &section.path("https_cert_no_verify"), text);
        return ClientTls::NoVerify;
    }
    ClientTls::Verify { ca_file }
}

/// Parses 32 bytes in hex, with or without `:` between them.
fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| *byte != b':')
        .map(|byte| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    if rest.is_empty() { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_with_and_without_colons_in_either_case() {
        let plain = "00ff".repeat(16);
        let colons = vec!["00:FF"; 16].join(":");
        let expected: Option<[u8; 32]> = [0x00, 0xff].repeat(16).try_into().ok();
        assert_eq!(fingerprint(&plain), expected);
        assert_eq!(fingerprint(&colons), expected);
        for text in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(fingerprint(text), None, "{text}");
        }
    }
}

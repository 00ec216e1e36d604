//! A temporary certificate authority with a certificate for 127.0.0.1, created by the command `openssl`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;

const SETTINGS: &str = "\
[req]
distinguished_name = name
prompt = no
[name]
CN = bench
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
[server]
basicConstraints = critical, CA:FALSE
subjectAltName = IP:127.0.0.1
extendedKeyUsage = serverAuth
";

/// Writes `ca.pem`, `server.pem` and `server.key` into a directory.
///
/// # Errors
/// `openssl` is not installed, or its output.
pub fn make(directory: &Path) -> Outcome<()> {
    const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    std::fs::write(directory.join("openssl.cnf"), SETTINGS)?;
    let steps = [
        format!("req -config openssl.cnf -x509 -new {NEW_KEY} -extensions authority -days 2 -keyout ca.key -out ca.pem"),
        format!("req -config openssl.cnf -new {NEW_KEY} -keyout server.key -out server.csr"),
        "x509 -extfile openssl.cnf -req -extensions server -days 2 -CA ca.pem -CAkey ca.key -CAcreateserial -in server.csr -out server.pem"
            .to_owned(),
    ];
    for step in steps {
        let output = Command::new("openssl")
            .args(step.split(' '))
            .current_dir(directory)
            .output()
            .map_err(|error| format!("openssl cannot be run ({error}): install it, TLS needs a certificate"))?;
        if !output.status.success() {
            return Err(format!("openssl {step}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
    }
    Ok(())
}

/// Returns the path of the authority's certificate in a directory for which [`make`] was called.
#[must_use]
pub fn authority(directory: &Path) -> PathBuf {
    directory.join("ca.pem")
}

//! A temporary certificate authority with a server certificate, created by the command `openssl`. Without that command
//! the demo uses no TLS; everything else works.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The files, all in the demo's folder.
pub(super) struct Certificate {
    /// The authority's certificate, which the node trusts.
    pub(super) authority: PathBuf,
    /// The server's certificate, for 127.0.0.1 and localhost.
    pub(super) server: PathBuf,
    /// The server's key.
    pub(super) key: PathBuf,
}

/// Settings of both certificates. A separate file is used because the system's may be missing or changed.
pub(super) const SETTINGS: &str = "\
[req]
distinguished_name = name
prompt = no
[name]
CN = stheno demo
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
subjectAltName = IP:127.0.0.1, DNS:localhost
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
";

/// Creates both certificates, valid for two days; `None` if `openssl` is not installed. `settings` is a file with
/// [`SETTINGS`].
///
/// # Errors
/// The output of `openssl`.
pub(super) fn make(folder: &Path, settings: &Path) -> Result<Option<Certificate>, String> {
    const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    let steps = [
        format!("req -x509 -new {NEW_KEY} -extensions authority -days 2 -keyout ca.key -out ca.pem"),
        format!("req -new {NEW_KEY} -keyout server.key -out server.csr"),
        "x509 -req -extensions server -days 2 -CA ca.pem -CAkey ca.key -CAcreateserial -in server.csr -out server.pem"
            .to_owned(),
    ];
    for step in steps {
        let option = if step.starts_with("req") { "-config" } else { "-extfile" };
        let mut command = Command::new("openssl");
        command.args(step.split(' ')).arg(option).arg(settings).current_dir(folder).stdin(Stdio::null());
        match command.output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                return Err(format!("openssl {step}: {}", String::from_utf8_lossy(&output.stderr).trim_end()));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("openssl cannot be run: {error}")),
        }
    }
    let file = |name: &str| folder.join(name);
    Ok(Some(Certificate { authority: file("ca.pem"), server: file("server.pem"), key: file("server.key") }))
}

//! Certificates and keys for one test, made by the `openssl` command.

use std::path::PathBuf;
use std::process::Command;

use crate::config::settings::ServerTls;
use crate::edge::temp_dir::TempDir;

const CA_CONFIG: &str = "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\n\
    default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n";

/// A directory with a CA (`ca.pem`, `ca.key`) and the files made from it.
pub(super) struct Files(TempDir);

impl Files {
    pub(super) fn new() -> Self {
        let files = Self(TempDir::new());
        files.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 30 -subj \
                /CN=CA",
        );
        files
    }

    /// Runs `openssl` in the directory; `arguments` are split at spaces.
    pub(super) fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        let output =
            command.args(arguments.split(' ')).current_dir(self.0.path()).output().expect("openssl is missing");
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Makes `{name}.key` (PKCS#8) and `{name}.pem`, issued by the CA for `names` such as `DNS:localhost`.
    pub(super) fn issue(&self, name: &str, names: &str) {
        self.request(name, names);
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile {name}.ext -days 20 -out \
                {name}.pem"
        ));
    }

    /// Does the same as [`Self::issue`], but the certificate expired years ago.
    pub(super) fn issue_expired(&self, name: &str, names: &str) {
        self.request(name, names);
        self.write("ca.cnf", CA_CONFIG);
        self.write("index.txt", "");
        self.openssl(&format!(
            "ca -batch -notext -config ca.cnf -in {name}.csr -cert ca.pem -keyfile ca.key -extfile {name}.ext \
             -startdate 20200101000000Z -enddate 20200201000000Z -out {name}.pem"
        ));
    }

    fn request(&self, name: &str, names: &str) {
        self.write(&format!("{name}.ext"), &format!("subjectAltName={names}\n"));
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
        ));
    }

    pub(super) fn server(&self, certificate: &str, key: &str, passphrase: Option<&str>) -> ServerTls {
        ServerTls {
            certificate_file: self.path(certificate),
            key_file: self.path(key),
            passphrase: passphrase.map(str::to_owned),
        }
    }
}

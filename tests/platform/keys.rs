//! RSA key pairs for the tests, made once by `stheno keys generate` and kept with the build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::PrivateKey;
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::traits::PublicKeyParts as _;

/// The names that `stheno keys generate DIR` gives its files.
pub const PRIVATE_FILE: &str = "rsakey.priv.pem";
pub const PUBLIC_FILE: &str = "rsakey.pub.pem";

/// The folder of the pair of `owner` (`central`, `client`, `stranger` …); made when it is missing.
pub fn folder(owner: &str) -> PathBuf {
    let keys = Path::new(env!("CARGO_TARGET_TMPDIR")).join("keys");
    let folder = keys.join(owner);
    if folder.join(PUBLIC_FILE).exists() {
        return folder;
    }
    // The pair is made in another folder and renamed, because several test programs may make the same pair.
    let aside = keys.join(format!("{owner}-{}-{:?}", std::process::id(), std::thread::current().id()));
    fs::create_dir_all(&aside).unwrap();
    let output = Command::new(super::STHENO).args(["keys", "generate"]).arg(&aside).output().unwrap();
    assert!(output.status.success(), "stheno keys generate: {}", String::from_utf8_lossy(&output.stderr));
    if fs::rename(&aside, &folder).is_err() {
        assert!(folder.join(PUBLIC_FILE).exists(), "{} cannot be made", folder.display());
        fs::remove_dir_all(&aside).unwrap();
    }
    folder
}

/// The private key of `owner` as a file.
pub fn private_file(owner: &str) -> PathBuf {
    folder(owner).join(PRIVATE_FILE)
}

/// The private key of `owner`.
pub fn private(owner: &str) -> PrivateKey {
    let pem = fs::read_to_string(private_file(owner)).unwrap();
    PrivateKey::from_pkcs1_pem(&pem).or_else(|_| PrivateKey::from_pkcs8_pem(&pem)).unwrap()
}

/// The RFC 7638 thumbprint of the key of `owner`, computed here and not by the program under test.
pub fn thumbprint(owner: &str) -> String {
    let key = private(owner).to_public_key();
    let number = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        URL_SAFE_NO_PAD.encode(&bytes[zeros..])
    };
    let (e, n) = (number(&key.e_bytes()), number(&key.n_bytes()));
    let text = format!("{{\"e\":\"{e}\",\"kty\":\"RSA\",\"n\":\"{n}\"}}");
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()))
}

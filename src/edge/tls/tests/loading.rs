//! Which files are accepted, and the messages about the others.

use super::files::Files;
use super::{ServerContext, client, context, talk, trusting};
use crate::config::settings::{ClientTls, ServerTls};
use crate::edge::clock;
use crate::edge::tls::client::ClientContext;
use crate::edge::tls::server;

fn fault(settings: &ServerTls) -> String {
    ServerContext::load(settings, clock::wall()).err().expect("the files must be refused").to_string()
}

#[test]
fn every_key_format_is_taken() {
    let files = Files::new();
    files.issue("node", "DNS:localhost");
    files.openssl("ec -in node.key -out sec1.key");
    files.openssl("pkcs8 -topk8 -in node.key -out encrypted.key -passout pass:secret");
    files.openssl("pkcs8 -topk8 -in node.key -out aes128.key -v2 aes128 -passout pass:secret");
    files.openssl("pkcs8 -topk8 -in node.key -out scrypt.key -scrypt -scrypt_N 1024 -passout pass:secret");
    files.openssl("req -x509 -newkey rsa:2048 -nodes -keyout rsa.key -out rsa.pem -days 20 -subj /CN=rsa");
    files.openssl("rsa -in rsa.key -traditional -out pkcs1.key");
    files.openssl("req -x509 -newkey ed25519 -nodes -keyout ed25519.key -out ed25519.pem -days 20 -subj /CN=ed");
    assert!(files.read("sec1.key").contains("BEGIN EC PRIVATE KEY"));
    assert!(files.read("pkcs1.key").contains("BEGIN RSA PRIVATE KEY"));
    assert!(files.read("encrypted.key").contains("BEGIN ENCRYPTED PRIVATE KEY"));
    let cases = [
        ("node.pem", "node.key", None),
        ("node.pem", "sec1.key", None),
        ("node.pem", "encrypted.key", Some("secret")),
        ("node.pem", "aes128.key", Some("secret")),
        ("node.pem", "scrypt.key", Some("secret")),
        ("rsa.pem", "rsa.key", None),
        ("rsa.pem", "pkcs1.key", None),
        ("ed25519.pem", "ed25519.key", None),
        // An unnecessary passphrase does no harm.
        ("node.pem", "node.key", Some("secret")),
    ];
    for (certificate, key, passphrase) in cases {
        let server = context(&files.server(certificate, key, passphrase));
        talk(client(&ClientTls::NoVerify, "localhost"), &server).unwrap_or_else(|error| panic!("{key}: {error}"));
    }
}

#[test]
fn encrypted_keys_that_cannot_be_read_are_refused_with_the_remedy() {
    let files = Files::new();
    files.issue("node", "DNS:localhost");
    files.openssl("pkcs8 -topk8 -in node.key -out encrypted.key -passout pass:secret");
    files.openssl("pkcs8 -topk8 -in node.key -out des.key -v1 PBE-SHA1-3DES -passout pass:secret");
    files.openssl("ec -in node.key -aes256 -out legacy.key -passout pass:secret");
    assert!(files.read("legacy.key").contains("Proc-Type: 4,ENCRYPTED"));
    let refused = |key, passphrase| fault(&files.server("node.pem", key, passphrase));
    assert!(refused("encrypted.key", None).contains("set its `passphrase`"));
    let wrong = refused("encrypted.key", Some("wrong-phrase"));
    assert!(wrong.contains("encrypted.key: cannot be decrypted") && !wrong.contains("wrong-phrase"), "{wrong}");
    let legacy = refused("legacy.key", Some("secret"));
    assert!(legacy.contains("legacy form") && legacy.contains("openssl pkcs8 -topk8"), "{legacy}");
    assert!(refused("des.key", Some("secret")).contains("openssl pkcs8 -topk8"));
}

#[test]
fn files_that_do_not_fit_are_named_with_the_remedy() {
    let files = Files::new();
    files.issue("node", "DNS:localhost");
    files.issue("other", "DNS:localhost");
    files.write("empty.pem", "\n");
    files.write("text.pem", "hello");
    files.write("cut.pem", &files.read("node.pem")[..200]);
    files.write("reversed.pem", &(files.read("ca.pem") + &files.read("node.pem")));
    files.openssl("genrsa -out weak.key 1024");
    let cases = [
        ("node.pem", "other.key", "does not belong to the key"),
        ("reversed.pem", "node.key", "wrong order"),
        ("missing.pem", "node.key", "missing.pem: does not exist"),
        ("empty.pem", "node.key", "empty.pem: is empty"),
        ("text.pem", "node.key", "no PEM block"),
        ("cut.pem", "node.key", "cut off"),
        ("node.key", "node.key", "has no certificate"),
        ("node.pem", "node.pem", "has no private key"),
        ("node.pem", "weak.key", "2048"),
        (".", "node.key", "not a regular file"),
    ];
    for (certificate, key, expected) in cases {
        let said = fault(&files.server(certificate, key, None));
        assert!(said.contains(expected), "{certificate}, {key}: {said}");
    }
}

#[test]
fn certificates_that_end_or_stand_in_a_strange_order_are_warned_of() {
    let files = Files::new();
    files.issue("node", "DNS:localhost");
    files.issue_expired("old", "DNS:localhost");
    files.write("chain.pem", &(files.read("node.pem") + &files.read("ca.pem")));
    files.write("strange.pem", &(files.read("node.pem") + &files.read("node.pem")));
    let warnings = |certificate, key| server::check(&files.server(certificate, key, None), clock::wall()).unwrap();
    assert!(warnings("node.pem", "node.key").is_empty());
    assert!(warnings("chain.pem", "node.key").is_empty());
    assert!(warnings("old.pem", "old.key").concat().contains("expired"));
    assert!(warnings("strange.pem", "node.key").concat().contains("not in order"));
}

#[test]
fn one_file_may_hold_the_chain_and_the_key() {
    let files = Files::new();
    files.issue("node", "DNS:localhost");
    files.write("all.pem", &(files.read("node.key") + &files.read("node.pem") + &files.read("ca.pem")));
    talk(client(&trusting(&files), "localhost"), &context(&files.server("all.pem", "all.pem", None))).unwrap();
}

#[test]
fn roots_that_cannot_be_used_and_names_that_are_none_are_refused() {
    let files = Files::new();
    files.write("empty.pem", "");
    let verify = |name| ClientContext::load(&ClientTls::Verify { ca_file: Some(files.path(name)) });
    assert!(verify("empty.pem").err().unwrap().to_string().contains("empty.pem: is empty"));
    assert!(verify("ca.key").err().unwrap().to_string().contains("has no certificate"));
    assert!(verify("ca.pem").unwrap().session("not a name").err().unwrap().contains("'not a name'"));
}

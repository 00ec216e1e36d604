//! Every text of the key exchange, PEM, and sealed messages, each out of any bytes: no panic; what is read is written
//! and read again the same; what was sealed opens.
//!
//! The first octet chooses what the rest is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stheno::model::random::Random;
use stheno::wire::gorgone::key_exchange::{
    Hello, encode_key, encode_public_key, is_get_public_key, is_handshake_issue, parse_key, parse_public_key,
};
use stheno::wire::gorgone::keys::{PrivateKey, PublicKey};
use stheno::wire::gorgone::sealing::{KeyMaterial, SessionKey};

struct Sevens;

impl Random for Sevens {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

fuzz_target!(|input: &[u8]| {
    let [choice, bytes @ ..] = input else { return };
    match choice % 6 {
        0 => {
            if let Some(hello) = Hello::parse(bytes) {
                assert!(Hello::parse(&hello.encode()).is_some_and(|again| again == hello));
            }
        }
        1 => {
            if let Some(pem) = parse_public_key(bytes)
                && let Ok(text) = String::from_utf8(pem)
            {
                assert_eq!(parse_public_key(&encode_public_key(&text)), Some(text.into_bytes()));
            }
            let _ = (is_get_public_key(bytes), is_handshake_issue(bytes));
        }
        2 => {
            if let Ok(material) = parse_key(bytes) {
                assert!(parse_key(&encode_key(&material, "host", 501)).is_ok_and(|again| again == material));
            }
        }
        3 => {
            if let Ok(key) = PublicKey::from_pem(bytes) {
                assert!(PublicKey::from_pem(key.to_pem().as_bytes()).is_ok_and(|again| again == key));
                assert_eq!(key.thumbprint().len(), 43);
            }
        }
        4 => drop(PrivateKey::from_pem(bytes)),
        _ => {
            let key = SessionKey::new(KeyMaterial::generate(32, &mut Sevens));
            let _ = key.open(bytes);
            assert_eq!(key.open(&key.seal(bytes)).as_deref(), Some(bytes));
        }
    }
});

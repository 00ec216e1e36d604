use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::keys::{KeyError, PrivateKey, PublicKey};
use super::super::seeded_random::SeededRandom;
use super::super::test_keys::*;
use super::*;

fn server() -> PrivateKey {
    PrivateKey::from_pem(SERVER_PKCS1.as_bytes()).ok().unwrap()
}

fn client() -> PrivateKey {
    PrivateKey::from_pem(CLIENT_PKCS1.as_bytes()).ok().unwrap()
}

fn material() -> KeyMaterial {
    KeyMaterial::new(vec![0xab; 32], &[0xcd; 16]).unwrap()
}

fn hello_from(payload: Vec<u8>) -> DialResult {
    let public_key_pem: Arc<str> = client().public().to_pem().into();
    DialJob::SealHello { payload, name: "gorgone-proxy-1-2".into(), public_key_pem, seed: [1; 32] }.run(&client())
}

fn run(hello: Hello, authorized: &[String]) -> HelloOutcome {
    let authorized: Arc<BTreeSet<String>> = Arc::new(authorized.iter().cloned().collect());
    HelloJob { hello, authorized, material: material(), hostname: "central.example".into(), seed: [2; 32] }
        .run(&server())
}

fn good_hello() -> Hello {
    let DialResult::Hello { thumbprint, payload } = hello_from(encode_public_key(SERVER_SPKI)) else { panic!() };
    assert_eq!(thumbprint, server().public().thumbprint());
    Hello::parse(&payload).unwrap()
}

#[test]
fn both_ends_agree_on_a_key() {
    let hello = good_hello();
    assert_eq!(hello.name, "gorgone-proxy-1-2");
    let HelloOutcome::Accepted { thumbprint, reply, material: made } = run(hello, &[client().public().thumbprint()])
    else {
        panic!()
    };
    assert_eq!(thumbprint, client().public().thumbprint());
    let DialResult::Key(key) = (DialJob::OpenKey { payload: reply, seed: [3; 32] }).run(&client()) else { panic!() };
    assert!(key == material() && made == material());
}

#[test]
fn every_wrong_hello_is_refused_and_the_log_learns_why() {
    let allowed = [client().public().thumbprint()];
    let refusal = |hello, allowed: &[String]| match run(hello, allowed) {
        HelloOutcome::Refused { reason, .. } => reason,
        HelloOutcome::Accepted { .. } => panic!(),
    };
    assert_eq!(refusal(good_hello(), &[]), RefusalReason::Unauthorized);
    for encrypted in [Vec::new(), vec![0; 256], vec![0xff; 256], vec![1; 300]] {
        assert_eq!(refusal(Hello { encrypted, ..good_hello() }, &allowed), RefusalReason::Proof);
    }
    let other = server().public().encrypt(b"HELLO", &mut SeededRandom::new(&[9; 32])).unwrap();
    assert_eq!(refusal(Hello { encrypted: other, ..good_hello() }, &allowed), RefusalReason::Proof);
    let short = Hello { public_key_pem: b"x".to_vec(), ..good_hello() };
    assert_eq!(refusal(short, &allowed), RefusalReason::Key(KeyError::NotPem));
}

#[test]
fn a_key_that_is_not_for_us_does_not_open() {
    let text = encode_key(&material(), "h", 245);
    let foreign = server().public().encrypt(&text, &mut SeededRandom::new(&[9; 32])).unwrap();
    for payload in [STANDARD.encode(foreign).into_bytes(), b"garbage".to_vec(), Vec::new()] {
        let result = DialJob::OpenKey { payload, seed: [3; 32] }.run(&client());
        assert!(matches!(result, DialResult::Failed(_)));
    }
}

#[test]
fn the_first_steps_are_told_by_their_text() {
    assert!(is_get_public_key(b"[GETPUBKEY]"));
    assert!(is_get_public_key(b" \n[GETPUBKEY] []"));
    assert!(!is_get_public_key(b"[GETPUB]"));
    assert!(is_handshake_issue(HANDSHAKE_ISSUE));
    assert!(is_handshake_issue(b"[ACK] [] {\"data\":{\"message\":\"handshake issue\"},\"code\":1}"));
    assert!(!is_handshake_issue(b"[ACK] [] {\"code\":0}"));
    assert_eq!(parse_public_key(b"[PUBKEY] [aGk=]").unwrap(), b"hi");
    assert_eq!(parse_public_key(b"[PUBKEY] [aGk=] [what is new]").unwrap(), b"hi");
    for bad in [&b"[PUBKEY]"[..], b"[PUBKEY][aGk=]", b"[PUBKEY] [a", b"[PUBKEY] [%]", b"aGk="] {
        assert!(parse_public_key(bad).is_none());
    }
}

#[test]
fn a_perl_daemons_public_key_is_read() {
    let text = "[PUBKEY] [LS0tLS1CRUdJTiBSU0EgUFVCTElDIEtFWS0tLS0tCk1JSUJJakFOQmdrcWhraUc5dzBCQVFFRkFBT0NBUThBTUlJQkNnS0NBUUVBdC9iU1RidjNUdXFjWXVockRsVDUKVWl0akl1WXlWc1ZnQlhyNWpYbFpGV3psZWNIM2V6eFlRVnJDU2lkSFI3TXZqbHo5d1N1V05DUkJzNmxCNFFZWApFeHRqTVZsbFdRZ3hZU0hhT3dERzF0aXI2VU5GVkxjTEZxYW5USlc5SEJSSFZHZVdwUFBxZjhpcTN1bU5EeC91ClRiZ3N6U1JZZmFrQUxnVitzWFptQ01tMzU4elhJdmhBd3pya2dQWlVZMk9vS2pxbzJHR2hpTEY4U2hBWlBNb3gKSUx5eFVjdnY4dkE4cmNjYkJsWERxN0UyVXhmb0Q0YitJYUp6TnN4ZDNMeWZneERoSEhnQnkxdmhEcnczVFNhTQo3OExGc2xoWXJ6NTRZREhvdFhZRk5ReW12RDhPRTNkVEJPMWM1VXJMVlMyeEhqazFicldpb3N5WVhEREFRazdiCnBRSURBUUFCCi0tLS0tRU5EIFJTQSBQVUJMSUMgS0VZLS0tLS0K]";
    let pem = parse_public_key(text.as_bytes()).unwrap();
    assert!(pem.starts_with(b"-----BEGIN RSA PUBLIC KEY-----"));
    assert_eq!(PublicKey::from_pem(&pem).ok().unwrap().capacity_bytes(), 245);
    assert!(matches!(hello_from(text.into()), DialResult::Hello { .. }));
}

#[test]
fn a_hello_of_another_form_is_none() {
    assert!(Hello::parse(b"[gorgone-6] [aGk=] [aGk=]").is_some());
    assert!(Hello::parse(b"[caf\xe9] [aGk=]\n[aGk=]\n").is_some());
    let long = format!("[gorgone-6] [{}] [aGk=]", "A".repeat(MAX_FIELD_LEN + 4));
    for bad in [
        "",
        "[a] [b]",
        "[] [aGk=] [aGk=]",
        "[a] [] [aGk=]",
        "[a] [aGk=] []",
        "[a] [aGk=] [aGk=] x",
        "[a] [%] [aGk=]",
        "[PING] [] [] {}",
        &long,
    ] {
        assert!(Hello::parse(bad.as_bytes()).is_none(), "{bad}");
    }
}

#[test]
fn keys_of_real_peers_are_read() {
    for text in [
        r#"[KEY] {"hostname":"fakepoller5","cipher":"AES","padding":1,"key":"739b96783a03e5c8b5fa1e27607d57f3025f8335e45983a103c7cc71dc0ab498","iv":"9c80812e7fbd27f4a6bbf6f59296c851"}"#,
        r#"[KEY] {"hostname":"central","cipher":"AES","iv":"5230389166cde01575f4de91d45a8d79","key":"a4e04d4620d334d0945214ca2fe36db7131412c4f6fb07ec46a312700d8140ac","padding":"1","new":{}}"#,
        "[KEY] {\"key\":\"00112233445566778899AABBCCDDEEFF\",\"iv\":\"00112233445566778899aabbccddeeff\"}\n",
    ] {
        assert!(parse_key(text.as_bytes()).is_ok(), "{text}");
    }
    assert!(parse_key(b"[KEY] {\"hostname\":\"\xe9\",\"key\":\"00112233445566778899AABBCCDDEEFF\",\"iv\":\"00112233445566778899aabbccddeeff\"}").is_ok());
}

#[test]
fn a_broken_key_is_refused_in_words() {
    let good = String::from_utf8(encode_key(&material(), "h", 245)).unwrap();
    for (from, to) in
        [("[KEY]", "[KEX]"), ("AES", "DES"), (":1", ":0"), ("abab", "xxxx"), ("abab", ""), ("cdcd", ""), ("}", "")]
    {
        assert!(parse_key(good.replacen(from, to, 1).as_bytes()).is_err(), "{from} {to}");
    }
}

#[test]
fn the_host_name_is_cut_at_a_character_to_fit_the_modulus() {
    for (name, len) in [
        ("central".to_owned(), 168),
        ("x".repeat(400), 245),
        ("x".to_owned() + &"é".repeat(200), 244),
        ("\"\\\n".to_owned(), 161),
    ] {
        let text = encode_key(&material(), &name, 245);
        assert_eq!(text.len(), len, "{name}");
        assert!(parse_key(&text).ok().unwrap() == material());
    }
}

//! Handshakes and messages between two ends, and attacks of a man in the middle.

use super::*;
use crate::model::link::LinkMode;
use crate::model::time::Monotonic;
use crate::wire::gorgone::keys::PrivateKey;
use crate::wire::gorgone::test_keys::{CLIENT_PKCS1, SERVER_PKCS1};

const AT: Monotonic = Monotonic::from_millis(1_000);

fn key(pem: &str) -> PrivateKey {
    PrivateKey::from_pem(pem.as_bytes()).ok().unwrap()
}

fn identity(pem: &str) -> TlsIdentity {
    TlsIdentity::new(&key(pem)).unwrap()
}

struct Ends {
    client: ClientTls,
    server: ServerTls,
}

/// Both ends of a finished handshake, and the lengths of its messages.
struct Met {
    client: TlsLink,
    server: TlsLink,
    thumbprints: [String; 2],
    lengths: Vec<usize>,
    greeting: Frame,
}

impl Ends {
    fn new(client: &str, server: &str) -> Self {
        Self { client: ClientTls::new(&identity(client)).unwrap(), server: ServerTls::new(&identity(server)).unwrap() }
    }

    fn meet(&self) -> Met {
        let (client, hello) = Step::client(&self.client, b"who I am", AT).ok().unwrap();
        let server = Step::server(&self.server, AT).ok().unwrap();
        assert!(is_handshake(&hello) && is_records(&hello));
        let mut lengths = vec![hello.len()];
        let StepResult::Goes { step: server, reply } = server.run(hello) else { panic!() };
        lengths.push(reply.len());
        let StepResult::Proved(client) = client.run(reply) else { panic!() };
        lengths.push(client.reply.len());
        let StepResult::Proved(mut server) = server.run(client.reply) else { panic!() };
        lengths.push(server.reply.len());
        let mut link = client.link;
        assert!(link.open(server.reply).unwrap().0.is_empty(), "tickets only");
        let greeting = server.frames.remove(0);
        Met {
            client: link,
            server: server.link,
            thumbprints: [client.thumbprint, server.thumbprint],
            lengths,
            greeting,
        }
    }
}

fn standard() -> Ends {
    Ends::new(CLIENT_PKCS1, SERVER_PKCS1)
}

#[test]
fn both_ends_prove_their_keys_and_messages_pass_both_ways() {
    let mut met = standard().meet();
    let thumbprint = |pem| key(pem).public().thumbprint();
    assert_eq!(met.thumbprints, [thumbprint(SERVER_PKCS1), thumbprint(CLIENT_PKCS1)]);
    assert_eq!(met.greeting, Frame { kind: FrameKind::Greeting, body: b"who I am".to_vec() });
    for len in [0, 1, 100, 16_379, 16_380, 300_000] {
        let text = vec![b'x'; len];
        let there = met.client.seal(FrameKind::Envelope, &[&text, b"!"]).unwrap();
        assert!(is_records(&there) && !is_handshake(&there));
        let body = [text.as_slice(), b"!"].concat();
        assert_eq!(met.server.open(there).unwrap(), (vec![Frame { kind: FrameKind::Envelope, body }], vec![]));
        let back = met.server.seal(FrameKind::Envelope, &[&text]).unwrap();
        assert_eq!(met.client.open(back).unwrap().0[0].body, text);
    }
}

#[test]
fn keys_of_every_allowed_size_are_proved() {
    let large = include_str!("rsa4096.pem");
    let met = Ends::new(include_str!("rsa3072.pem"), large).meet();
    assert_eq!(met.thumbprints[0], key(large).public().thumbprint());
    assert!(met.lengths.iter().all(|len| *len < 4_096), "{:?} fit what a stranger may send", met.lengths);
}

#[test]
fn a_key_that_tls_cannot_use_is_named() {
    let error = TlsIdentity::new(&key(include_str!("exponent3.pem"))).map(drop).unwrap_err();
    assert!(error.contains("stheno keys generate"), "{error}");
}

#[test]
fn ends_that_know_each_other_meet_again_without_their_keys_signing() {
    let ends = standard();
    let first = ends.meet().lengths;
    let second = ends.meet();
    assert!(second.lengths[1] + 400 < first[1], "{first:?} {:?}", second.lengths);
    assert_eq!(second.thumbprints[1], key(CLIENT_PKCS1).public().thumbprint(), "the ticket says whose it is");
    let restarted = Ends { client: ends.client.clone(), ..standard() };
    assert_eq!(restarted.meet().lengths[2..3], first[2..3], "a new server wants the whole handshake");
}

#[test]
fn a_changed_repeated_reordered_or_cut_message_ends_the_link() {
    type Meddle = fn(Vec<u8>, Vec<u8>) -> Vec<Vec<u8>>;
    let cases: [(&str, Meddle); 7] = [
        ("changed", |mut first, _| {
            first[20] ^= 1;
            vec![first]
        }),
        ("repeated", |first, _| vec![first.clone(), first]),
        ("reordered", |first, second| vec![second, first]),
        ("lost", |_, second| vec![second]),
        ("cut", |mut first, _| {
            first.pop();
            vec![first]
        }),
        ("cut between records", |first, _| {
            let record = 5 + usize::from(u16::from_be_bytes([first[3], first[4]]));
            assert!(record < first.len());
            vec![first[..record].to_vec()]
        }),
        ("of another protocol", |_, _| vec![b"\x17 ello".to_vec()]),
    ];
    for (name, meddle) in cases {
        let mut met = standard().meet();
        let text = [7; 20_000];
        let mut message = || met.client.seal(FrameKind::Envelope, &[&text]).unwrap();
        let (first, second) = (message(), message());
        let opened: Vec<_> = meddle(first, second).into_iter().map(|message| met.server.open(message)).collect();
        let failed = opened.last().unwrap().as_ref().map(drop).unwrap_err();
        assert!(failed.len() > 10, "{name}: {failed}");
    }
}

#[test]
fn a_handshake_that_is_meddled_with_fails_and_does_not_panic() {
    let ends = standard();
    let (_, hello) = Step::client(&ends.client, b"", AT).ok().unwrap();
    for at in 0..hello.len() {
        let mut changed = hello.clone();
        changed[at] ^= 0x40;
        let server = Step::server(&ends.server, AT).ok().unwrap();
        // The server cannot know yet: both ends notice when they compare what they have seen.
        if let StepResult::Goes { reply, .. } = server.run(changed) {
            let (client, _) = Step::client(&ends.client, b"", AT).ok().unwrap();
            assert!(matches!(client.run(reply), StepResult::Failed(_)));
        }
        let server = Step::server(&ends.server, AT).ok().unwrap();
        assert!(matches!(server.run(hello[..at].to_vec()), StepResult::Failed(_) | StepResult::Goes { .. }));
    }
}

#[test]
fn the_offer_is_read_behind_the_key_and_nowhere_else() {
    for mode in [LinkMode::Auto, LinkMode::Sealed, LinkMode::Classic] {
        let text = format!("[PUBKEY] [QUJD]{}", Offer(mode).encode());
        assert_eq!(Offer::parse(text.as_bytes()), Some(Offer(mode)));
        assert_eq!(parse_demand(&encode_demand(mode)), Some(mode));
    }
    for none in ["[PUBKEY] [QUJD]", "", "[PUBKEY] [QUJD] [LINK]", "[LINK] [x", "[LINK] [quantum]", "[LINK] auto"] {
        assert_eq!(Offer::parse(none.as_bytes()), None, "{none}");
    }
}

//! Sealed links: agreed, kept, not talked down, and not to be meddled with.

use super::*;
use crate::wire::tls_link;

fn pair_of(dialer: LinkMode, listener: LinkMode) -> Pair {
    Pair::new(
        ListenerSettings { link: listener, ..listener_settings() },
        DialerSettings { link: dialer, ..dialer_settings() },
    )
}

fn sealed() -> Pair {
    pair_of(LinkMode::Auto, LinkMode::Auto)
}

/// Cuts our offer off, as an older Stheno or a Perl daemon has none.
fn without_offer(to_listener: bool, mut payload: Vec<u8>) -> Vec<Vec<u8>> {
    let at = payload.windows(7).position(|window| window == b" [LINK]");
    if let (false, Some(at)) = (to_listener, at) {
        payload.truncate(at);
    }
    vec![payload]
}

impl Pair {
    fn lines(&self, level: Level) -> Vec<&str> {
        self.log.iter().filter(|line| line.level == level).map(|line| line.text.as_str()).collect()
    }
}

#[test]
fn two_of_ours_seal_their_link_and_messages_pass() {
    for modes in
        [(LinkMode::Auto, LinkMode::Auto), (LinkMode::Sealed, LinkMode::Auto), (LinkMode::Auto, LinkMode::Sealed)]
    {
        let mut pair = pair_of(modes.0, modes.1);
        assert_eq!((pair.kinds.as_slice(), pair.pins), (&[LinkKind::Sealed][..], 2));
        assert_eq!(pair.fingerprints, [server_key().public().thumbprint()]);
        assert!((0..50).all(|number| pair.round_trip(number)));
        assert!(pair.database.is_empty(), "no session key is stored");
        assert!(pair.log.iter().any(|line| line.text.contains("is up (sealed)")), "{:?}", pair.log);
    }
}

#[test]
fn without_an_offer_or_with_classic_at_one_end_the_link_is_classic() {
    let mut pair = pair_of(LinkMode::Auto, LinkMode::Classic);
    assert_eq!((pair.kinds.as_slice(), pair.pins), (&[LinkKind::Classic][..], 0));
    assert!(pair.round_trip(1));
    let mut pair = pair_of(LinkMode::Classic, LinkMode::Auto);
    assert!(pair.round_trip(1) && pair.pins == 0);
}

#[test]
fn sealed_at_one_end_and_classic_at_the_other_is_refused_with_a_sentence_at_both() {
    for modes in [(LinkMode::Sealed, LinkMode::Classic), (LinkMode::Classic, LinkMode::Sealed)] {
        let pair = pair_of(modes.0, modes.1);
        assert_eq!(pair.ups, 0);
        let errors = pair.lines(Level::Error);
        assert!(errors.len() == 2 && errors.iter().all(|text| text.contains("link: sealed")), "{errors:?}");
    }
}

#[test]
fn a_broken_link_is_made_again_whatever_has_restarted() {
    let mut pair = sealed();
    for number in 0..20 {
        match number % 3 {
            0 => pair.cut(),
            1 => {
                pair.cut();
                pair.restart_listener(false);
            }
            _ => {
                let settings = DialerSettings { link: LinkMode::Auto, is_pinned: true, ..dialer_settings() };
                pair.cut();
                pair.dialer = ZmqDialer::new(settings);
                let now = pair.now();
                pair.dialer.handle_start(now, &mut pair.random);
                pair.pump();
            }
        }
        pair.advance(10_000);
        assert!(pair.round_trip(number), "{number}");
    }
    assert!(pair.kinds.iter().all(|kind| *kind == LinkKind::Sealed));
}

#[test]
fn who_was_met_sealed_is_not_talked_down() {
    let mut pair = sealed();
    pair.between = Box::new(without_offer);
    pair.cut();
    pair.advance(200_000);
    assert_eq!((pair.ups, pair.dialer.is_up()), (1, false));
    let warnings: Vec<_> = pair.lines(Level::Warning).into_iter().filter(|text| text.contains("sealed")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("stheno keys forget --config FILE 2"), "{warnings:?}");
    // An administrator who means it.
    pair.dialer.unpin();
    pair.dialer.set_fingerprint(None);
    let now = pair.now();
    pair.dialer.reset(now, &mut pair.random);
    pair.pump();
    // The listener remembers, too.
    pair.advance(1_000);
    assert!(!pair.dialer.is_up());
    let refused = pair.lines(Level::Warning).into_iter().find(|text| text.contains("is refused: its key"));
    assert!(refused.is_some_and(|text| text.contains("met sealed")), "{:?}", pair.log);
    pair.listener.unpin("gorgone-proxy-1-2");
    pair.advance(60_000);
    assert!(pair.round_trip(1));
    assert_eq!(pair.kinds.last(), Some(&LinkKind::Classic));
}

#[test]
fn an_end_that_is_set_to_classic_may_speak_so_again_if_both_are() {
    let mut pair = sealed();
    let thumbprint = client_key().public().thumbprint();
    pair.settings.pinned.insert("gorgone-proxy-1-2".into(), thumbprint);
    pair.settings.link = LinkMode::Classic;
    pair.cut();
    pair.restart_listener(false);
    let settings = DialerSettings { link: LinkMode::Classic, is_pinned: true, ..dialer_settings() };
    pair.dialer = ZmqDialer::new(settings);
    let now = pair.now();
    pair.dialer.handle_start(now, &mut pair.random);
    pair.pump();
    assert!(pair.round_trip(1));
}

#[test]
fn who_changes_repeats_reorders_or_cuts_messages_ends_the_link_with_a_line_and_nothing_else() {
    type Meddle = fn(&mut Vec<Vec<u8>>, Vec<u8>) -> Vec<Vec<u8>>;
    let kinds: [(&str, Meddle); 5] = [
        ("changed", |_, mut payload| {
            let last = payload.len() - 1;
            payload[last] ^= 1;
            vec![payload]
        }),
        ("repeated", |_, payload| vec![payload.clone(), payload]),
        ("reordered", |held, payload| {
            held.push(payload);
            if held.len() < 2 { Vec::new() } else { held.drain(..).rev().collect() }
        }),
        ("cut", |_, payload| vec![payload[..payload.len() / 2].to_vec()]),
        ("halved", |_, payload| {
            let (front, back) = payload.split_at(payload.len() / 2);
            vec![front.to_vec(), back.to_vec()]
        }),
    ];
    for (name, meddle) in kinds {
        for to_listener in [true, false] {
            let mut pair = sealed();
            let mut held = Vec::new();
            pair.between = Box::new(move |towards, payload| {
                let is_text = tls_link::is_records(&payload) && !tls_link::is_handshake(&payload);
                if is_text && towards == to_listener { meddle(&mut held, payload) } else { vec![payload] }
            });
            let (heard, answered) = (pair.at_listener.len(), pair.at_dialer.len());
            for number in 0..4 {
                let was_up = pair.dialer.is_up();
                pair.round_trip(number);
                if was_up && !pair.dialer.is_up() {
                    break;
                }
            }
            assert!(!pair.downs.is_empty(), "{name} {to_listener}");
            let (heard, answered) = (pair.at_listener.len() - heard, pair.at_dialer.len() - answered);
            assert!(heard <= 2 && answered <= 1, "{name} {to_listener}: {heard} {answered}");
            pair.between = Box::new(|_, payload| vec![payload]);
            pair.advance(60_000);
            assert!(pair.round_trip(9), "{name}: it comes back");
            assert_eq!(pair.kinds.last(), Some(&LinkKind::Sealed));
        }
    }
}

#[test]
fn every_octet_of_the_handshake_is_proved() {
    // The clear texts before it are not: they can only hinder a link of those who have met.
    for number in 0..60 {
        let mut pair = Pair::new(
            listener_settings(),
            DialerSettings { link: LinkMode::Sealed, is_pinned: true, ..dialer_settings() },
        );
        pair.between = Box::new(move |_, mut payload| {
            if tls_link::is_records(&payload) {
                let at = number * 37 % payload.len();
                payload[at] ^= 1 << (number % 8);
            }
            vec![payload]
        });
        pair.cut();
        pair.advance(30_000);
        assert_eq!(pair.ups, 1, "{number}: {:?}", pair.log);
        pair.between = Box::new(|_, payload| vec![payload]);
        pair.advance(60_000);
        assert!(pair.round_trip(1));
    }
}

#[test]
fn a_key_that_is_not_authorized_or_not_the_known_one_is_refused() {
    let strange = ListenerSettings { authorized: vec!["other".into()], ..listener_settings() };
    let pair = Pair::new(strange, DialerSettings { link: LinkMode::Sealed, ..dialer_settings() });
    assert_eq!((pair.ups, pair.pins), (0, 0));
    let errors = pair.lines(Level::Error);
    assert!(errors.iter().all(|text| text.contains("authorized_clients")) && errors.len() == 2, "{errors:?}");
    let known = DialerSettings {
        link: LinkMode::Sealed,
        stored_fingerprint: Some(client_key().public().thumbprint()),
        successors: std::sync::Arc::default(),
        ..dialer_settings()
    };
    let pair = Pair::new(listener_settings(), known);
    assert_eq!((pair.ups, pair.pins), (0, 0));
    assert!(pair.lines(Level::Error)[0].contains("somebody may be in between"), "{:?}", pair.log);
}

#[test]
fn a_routing_id_that_was_changed_on_the_way_is_refused() {
    let mut pair = sealed();
    pair.rename = |_| b"gorgone-proxy-1-9-000000000000000000000000".to_vec();
    pair.cut();
    pair.advance(5_000);
    assert_eq!(pair.ups, 1);
    assert!(pair.lines(Level::Error).iter().any(|text| text.contains("somebody is in between")), "{:?}", pair.log);
}

use super::super::pair_tests::{client_key, dialer_settings, now_at};
use super::*;
use crate::wire::gorgone::key_exchange::{HANDSHAKE_ISSUE, encode_public_key};
use crate::wire::gorgone::keys::PrivateKey;
use crate::wire::gorgone::sealing::KeyMaterial;
use crate::wire::gorgone::sealing::SessionKey;
use crate::wire::gorgone::seeded_random::SeededRandom;

fn outputs(dialer: &mut ZmqDialer) -> Vec<DialerOutput> {
    std::iter::from_fn(|| dialer.poll_output()).collect()
}

fn key(byte: u8) -> SessionKey {
    SessionKey::new(KeyMaterial::new(vec![byte; 32], &[byte; 16]).unwrap())
}

/// Returns a link that is up under `key(1)`, its outputs drained.
fn up(random: &mut dyn Random) -> ZmqDialer {
    let mut dialer = ZmqDialer::new(dialer_settings());
    dialer.handle_start(now_at(0), random);
    dialer.handle_connected(now_at(0));
    dialer.handle_payload(&encode_public_key(&dialer_settings().public_key_pem), now_at(0), random);
    run_jobs(&mut dialer, random);
    dialer.handle_payload(b"AAAA", now_at(0), random);
    let attempt = dialer.attempt;
    let result = DialResult::Key(key(1).material().clone());
    dialer.handle_job(DialOutcome { attempt, answer: DialAnswer::Classic(result) }, now_at(0), random);
    assert!(dialer.is_up());
    outputs(&mut dialer);
    dialer
}

fn run_jobs(dialer: &mut ZmqDialer, random: &mut dyn Random) {
    for output in outputs(dialer) {
        if let DialerOutput::RunJob(ticket) = output {
            dialer.handle_job(ticket.run(&client_key()), now_at(0), random);
        }
    }
}

fn messages(dialer: &mut ZmqDialer) -> Vec<Message> {
    let only = |output| if let DialerOutput::Message(message) = output { Some(message) } else { None };
    outputs(dialer).into_iter().filter_map(only).collect()
}

#[test]
fn a_rotated_key_is_used_at_once_and_the_old_one_still_read() {
    let mut random = SeededRandom::new(&[1; 32]);
    let mut dialer = up(&mut random);
    let rotation = key_exchange::encode_key(key(2).material(), "node", 999);
    dialer.handle_payload(&key(1).seal(&rotation), now_at(1), &mut random);
    dialer.handle_payload(&key(1).seal(&rotation), now_at(2), &mut random);
    dialer.handle_payload(&key(1).seal(b"[PONG] [a] [] {}"), now_at(3), &mut random);
    dialer.handle_payload(&key(2).seal(b"[PONG] [b] [] {}"), now_at(3), &mut random);
    assert_eq!(messages(&mut dialer).len(), 2);
    dialer.send(&[b"[PING] ", b"[] [] {}"], None, now_at(4), &mut random);
    let sent = outputs(&mut dialer);
    assert!(matches!(&sent[..], [DialerOutput::Send(payload)] if key(2).open(payload).is_some()));
}

#[test]
fn what_its_keys_do_not_open_starts_a_new_handshake_but_clear_leftovers_do_not() {
    let mut random = SeededRandom::new(&[1; 32]);
    for (payload, stays) in [
        (key(9).seal(b"[PONG] [] [] {}"), false),
        (HANDSHAKE_ISSUE.to_vec(), false),
        (b"garbage".to_vec(), false),
        (encode_public_key("x"), true),
    ] {
        let mut dialer = up(&mut random);
        dialer.handle_payload(&payload, now_at(1), &mut random);
        assert_eq!(dialer.is_up(), stays);
        dialer.handle_timeout(now_at(200), &mut random);
        let connects = outputs(&mut dialer).iter().filter(|o| matches!(o, DialerOutput::Connect { .. })).count();
        assert_eq!(connects, usize::from(!stays));
    }
}

#[test]
fn messages_that_arrive_while_the_key_is_opened_are_read_afterwards() {
    let mut random = SeededRandom::new(&[1; 32]);
    let mut dialer = up(&mut random);
    dialer.state = DialState::OpeningKey { deadline: Monotonic::from_millis(99), early: Vec::new() };
    dialer.handle_payload(&key(1).seal(b"[PING] [a] [] {}"), now_at(1), &mut random);
    let rotation = key_exchange::encode_key(key(2).material(), "node", 999);
    dialer.handle_payload(&key(1).seal(&rotation), now_at(1), &mut random);
    dialer.handle_payload(&key(2).seal(b"[PING] [b] [] {}"), now_at(1), &mut random);
    let result = DialResult::Key(key(1).material().clone());
    let attempt = dialer.attempt;
    dialer.handle_job(DialOutcome { attempt, answer: DialAnswer::Classic(result) }, now_at(2), &mut random);
    assert_eq!(messages(&mut dialer).len(), 2);
    dialer.state = DialState::OpeningKey { deadline: Monotonic::from_millis(99), early: Vec::new() };
    for _ in 0..=MAX_EARLY_MESSAGES {
        dialer.handle_payload(b"AAAA", now_at(3), &mut random);
    }
    assert!(matches!(dialer.state, DialState::Waiting { .. }), "early messages are bounded");
}

#[test]
fn the_outcome_of_an_abandoned_attempt_is_ignored() {
    let mut random = SeededRandom::new(&[1; 32]);
    let mut dialer = up(&mut random);
    let abandoned = dialer.attempt;
    dialer.reset(now_at(1), &mut random);
    dialer.state = DialState::OpeningKey { deadline: Monotonic::from_millis(99), early: Vec::new() };
    let mut come = |attempt| {
        let result = DialResult::Key(key(3).material().clone());
        dialer.handle_job(DialOutcome { attempt, answer: DialAnswer::Classic(result) }, now_at(1), &mut random);
        dialer.is_up()
    };
    assert!(!come(abandoned));
    assert!(come(abandoned + 1));
}

#[test]
fn jobs_and_keys_may_travel_to_worker_threads() {
    fn travels<T: Send>() {}
    fn is_shared<T: Send + Sync>() {}
    travels::<DialTicket>();
    travels::<DialOutcome>();
    travels::<key_exchange::HelloJob>();
    travels::<key_exchange::HelloOutcome>();
    is_shared::<PrivateKey>();
}

#[test]
fn a_link_that_stops_fails_what_waits() {
    let mut random = SeededRandom::new(&[1; 32]);
    let mut dialer = ZmqDialer::new(DialerSettings { queue_messages: 2, ..dialer_settings() });
    dialer.handle_start(now_at(0), &mut random);
    for name in ["a", "b", "c"] {
        dialer.send(&[], Token::parse(name).ok(), now_at(0), &mut random);
    }
    let failed = |dialer: &mut ZmqDialer| -> Vec<(String, String)> {
        let only = |output| match output {
            DialerOutput::Failed { token, reason } => Some((token.unwrap().to_string(), reason)),
            _ => None,
        };
        outputs(dialer).into_iter().filter_map(only).collect()
    };
    let overflow = failed(&mut dialer);
    assert!(overflow[0].0 == "c" && overflow[0].1.contains("2 messages already wait"), "{overflow:?}");
    dialer.stop("node 2 was unregistered");
    let reason = "node 2 was unregistered".to_owned();
    assert_eq!(failed(&mut dialer), [("a".into(), reason.clone()), ("b".into(), reason)]);
    assert_eq!(dialer.poll_timeout(), None);
    dialer.handle_disconnected("x", now_at(1), &mut random);
    assert!(outputs(&mut dialer).is_empty());
}

#[test]
fn garbage_in_any_state_never_panics_and_the_link_always_tries_again() {
    let mut random = SeededRandom::new(&[8; 32]);
    let mut dialer = up(&mut random);
    let mut now_ms = 0;
    for _ in 0..5_000 {
        now_ms += random.below(300);
        let len = usize::try_from(random.below(40)).unwrap();
        let mut payload = vec![0; len];
        random.fill(&mut payload);
        match random.below(8) {
            0 => dialer.handle_connected(now_at(now_ms)),
            1 => dialer.handle_disconnected("cut", now_at(now_ms), &mut random),
            2 => dialer.handle_payload(HANDSHAKE_ISSUE, now_at(now_ms), &mut random),
            3 => dialer.handle_payload(&encode_public_key("x"), now_at(now_ms), &mut random),
            4 => dialer.handle_payload(&key(1).seal(&payload), now_at(now_ms), &mut random),
            5 => dialer.handle_payload(&payload, now_at(now_ms), &mut random),
            6 => dialer.send(&[&payload], None, now_at(now_ms), &mut random),
            _ => dialer.handle_timeout(now_at(now_ms), &mut random),
        }
        for output in outputs(&mut dialer) {
            if let DialerOutput::RunJob(ticket) = output {
                let attempt = ticket.attempt;
                let result = if random.below(2) == 0 {
                    DialResult::Failed("x".into())
                } else {
                    DialResult::Key(key(1).material().clone())
                };
                dialer.handle_job(
                    DialOutcome { attempt, answer: DialAnswer::Classic(result) },
                    now_at(now_ms),
                    &mut random,
                );
            }
        }
        assert!(dialer.is_up() || dialer.state.deadline().is_some());
    }
}

#[test]
fn a_node_that_sends_several_frames_is_named_and_what_waits_ends_with_that_reason() {
    let mut random = SeededRandom::new(&[5; 32]);
    let mut dialer = ZmqDialer::new(dialer_settings());
    dialer.handle_start(now_at(0), &mut random);
    dialer.handle_connected(now_at(0));
    dialer.send(&[b"[COMMAND] [t] [] {}"], Token::parse("t").ok(), now_at(0), &mut random);
    outputs(&mut dialer);
    dialer.handle_multipart(2, now_at(10), &mut random);
    let after = outputs(&mut dialer);
    let is_named = |line: &LogLine| line.text.contains("a message of 2 frames");
    assert!(after.iter().any(|output| matches!(output, DialerOutput::Log(line) if is_named(line))));
    dialer.handle_timeout(now_at(10_000), &mut random);
    let failed = outputs(&mut dialer).into_iter().find_map(|output| match output {
        DialerOutput::Failed { reason, .. } => Some(reason),
        _ => None,
    });
    assert!(failed.is_some_and(|reason| reason.contains("a message of 2 frames")));
    // On a link that is up this writes a line, and the link continues.
    let mut dialer = up(&mut random);
    dialer.handle_multipart(3, now_at(20), &mut random);
    assert!(
        dialer.is_up()
            && matches!(&outputs(&mut dialer)[..], [DialerOutput::Log(line)] if line.text.contains("3 frames"))
    );
}

#[test]
fn what_waits_for_a_first_handshake_says_which_step_takes_so_long() {
    let mut random = SeededRandom::new(&[6; 32]);
    let mut dialer = ZmqDialer::new(dialer_settings());
    dialer.handle_start(now_at(0), &mut random);
    dialer.send(&[b"[COMMAND] [t] [] {}"], None, now_at(0), &mut random);
    dialer.handle_connected(now_at(5_000));
    outputs(&mut dialer);
    dialer.handle_timeout(now_at(10_000), &mut random);
    let failed = outputs(&mut dialer);
    assert!(
        matches!(&failed[..], [DialerOutput::Failed { reason, .. }] if reason.ends_with("takes its time to send its public key"))
    );
}

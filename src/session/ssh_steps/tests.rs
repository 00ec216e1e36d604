use super::*;
use crate::model::ssh::{HostKeyCheck, HostKeyVerdict, SshCommand, SshExit, SshRun};
use crate::model::time::WallTime;
use crate::wire::gorgone::seeded_random::SeededRandom;

struct Bench {
    steps: SshSteps,
    random: SeededRandom,
    millis: u64,
}

fn target(check: HostKeyCheck) -> Box<SshTarget> {
    let target = SshTarget::new("host".to_owned(), 2222, "me".to_owned());
    Box::new(SshTarget { host_key_check: check, ..target })
}

fn report(verdict: HostKeyVerdict) -> SshNews {
    SshNews::HostKey(HostKeyReport {
        kind: "ssh-ed25519".to_owned(),
        fingerprint: "SHA256:x".to_owned(),
        line: "[host]:2222 ssh-ed25519 AAAA".to_owned(),
        verdict,
        authority: None,
    })
}

fn command(line: &str, is_urgent: bool) -> SshTask {
    SshTask::Run(SshCommand {
        line: line.to_owned(),
        timeout: Duration::from_secs(60),
        timeout_nodata: Duration::from_secs(30),
        output_limit: 100,
        is_urgent,
    })
}

fn ran() -> SshEnd {
    SshEnd::Ran(SshRun { exit: SshExit::Status(0), stdout: Vec::new(), stderr: Vec::new(), output_cut: false })
}

impl Bench {
    fn new(check: HostKeyCheck) -> Self {
        let steps = SshSteps::new(target(check), Vec::new());
        let mut bench = Self { steps, random: SeededRandom::new(&[1; 32]), millis: 0 };
        bench.steps.handle_start(bench.now());
        assert_eq!(bench.drain(), ["connect"]);
        bench
    }

    /// Returns a bench that is logged in.
    fn up() -> Self {
        let mut bench = Self::new(HostKeyCheck::First);
        bench.log_in();
        bench
    }

    /// Goes on until it has its turn: TCP is connected, and the host has greeted.
    fn connected(&mut self) -> Vec<String> {
        self.steps.handle_connected(self.now());
        self.steps.handle_spoken(self.now());
        assert!(self.steps.wants_turn());
        self.steps.begin_exchange(self.now());
        assert!(self.steps.has_turn());
        self.drain()
    }

    fn log_in(&mut self) {
        self.connected();
        self.news(report(HostKeyVerdict::Known));
        assert_eq!(self.news(SshNews::LoggedIn("key".to_owned())), ["up"]);
    }

    fn now(&self) -> Now {
        Now { monotonic: Monotonic::from_millis(self.millis), wall: WallTime::default() }
    }

    fn news(&mut self, news: SshNews) -> Vec<String> {
        self.steps.handle_news(news, self.now(), &mut self.random);
        self.drain()
    }

    fn pass(&mut self, millis: u64) -> Vec<String> {
        self.millis += millis;
        self.steps.handle_timeout(self.now(), &mut self.random);
        self.drain()
    }

    fn start(&mut self, id: u64, task: SshTask) -> Vec<String> {
        self.steps.start_task(SshTaskId(id), task, self.now());
        self.drain()
    }

    /// Returns every output but log lines.
    fn drain(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(output) = self.steps.poll_output() {
            lines.push(match output {
                StepsOutput::Connect => "connect".to_owned(),
                StepsOutput::Disconnect => "disconnect".to_owned(),
                StepsOutput::Order(SshOrder::Open { is_sparing, .. }) => {
                    if is_sparing {
                        "open for one channel".to_owned()
                    } else {
                        "open".to_owned()
                    }
                }
                StepsOutput::Order(SshOrder::Trust { add }) => format!("trust, add {add:?}"),
                StepsOutput::Order(SshOrder::Start(id, _)) => format!("start {}", id.0),
                StepsOutput::Order(SshOrder::Abort(id)) => format!("abort {}", id.0),
                StepsOutput::Order(SshOrder::KeepAlive) => "keep alive".to_owned(),
                StepsOutput::Up => "up".to_owned(),
                StepsOutput::Down { reason } => format!("down: {reason}"),
                StepsOutput::Ended(id, end) => format!("ended {}: {end:?}", id.0),
                StepsOutput::StoreHostKey { host, line } => format!("store {host}: {line}"),
                StepsOutput::Log(_) => continue,
            });
        }
        lines
    }
}

#[test]
fn a_connection_goes_from_tcp_over_the_host_key_to_the_login() {
    let mut bench = Bench::new(HostKeyCheck::First);
    assert_eq!(bench.connected(), ["open"]);
    assert_eq!(bench.start(1, command("a", false)), [""; 0]);
    assert_eq!(
        bench.news(report(HostKeyVerdict::Unknown)),
        ["store [host]:2222: [host]:2222 ssh-ed25519 AAAA", "trust, add None"]
    );
    assert_eq!(bench.news(SshNews::LoggedIn("key".to_owned())), ["up", "start 1"]);
    assert_eq!(bench.news(SshNews::Ended(SshTaskId(1), ran())).len(), 1);
}

#[test]
fn whether_a_key_is_taken_depends_on_what_is_known_and_on_the_option() {
    use HostKeyCheck::{First, Never, Strict};
    let changed = || HostKeyVerdict::Changed("/etc/known_hosts, line 3".to_owned());
    let unreadable = || HostKeyVerdict::Unreadable("/etc/known_hosts: denied".to_owned());
    let revoked = || HostKeyVerdict::Revoked("/etc/known_hosts, line 4".to_owned());
    for (check, verdict, refusal) in [
        (Strict, HostKeyVerdict::Known, ""),
        (
            Strict,
            HostKeyVerdict::Unknown,
            "add this line to a file that ssh_known_hosts names: [host]:2222 ssh-ed25519 AAAA",
        ),
        (Strict, changed(), "/etc/known_hosts, line 3"),
        (First, changed(), "HOST KEY CHANGED"),
        (First, unreadable(), "denied"),
        (First, HostKeyVerdict::Unknown, ""),
        (Never, changed(), ""),
        (Never, unreadable(), ""),
        (Never, HostKeyVerdict::Unknown, ""),
        (Never, revoked(), "line 4"),
    ] {
        let mut bench = Bench::new(check);
        bench.connected();
        bench.drain();
        let lines = bench.news(report(verdict)).join("; ");
        if refusal.is_empty() {
            assert!(lines.ends_with("trust, add None"), "{check:?}: {lines}");
        } else {
            assert!(lines.starts_with("disconnect; down: ") && lines.contains(refusal), "{check:?}: {lines}");
            // Nobody waits for a host that refuses us or that we refuse.
            let ended = bench.start(1, command("a", false)).join("");
            assert!(ended.starts_with("ended 1: NotConnected(") && ended.contains(refusal), "{ended}");
        }
    }
}

#[test]
fn a_new_key_goes_into_the_known_hosts_file_where_one_is_named() {
    let mut with_file = target(HostKeyCheck::First);
    with_file.known_hosts = Some("/etc/known_hosts".into());
    let mut bench = Bench::new(HostKeyCheck::First);
    bench.steps.target = with_file;
    bench.connected();
    let line = "[host]:2222 ssh-ed25519 AAAA";
    assert_eq!(bench.news(report(HostKeyVerdict::Unknown)), [format!("trust, add Some({line:?})")]);
}

#[test]
fn a_host_whose_key_is_forgotten_is_tried_again_at_once() {
    let mut bench = Bench::new(HostKeyCheck::First);
    bench.connected();
    let refused = bench.news(report(HostKeyVerdict::Changed("the database".to_owned()))).join("; ");
    assert!(refused.contains("stheno keys forget"), "{refused}");
    bench.steps.forget_host_key(bench.now());
    assert_eq!(bench.drain(), ["connect"]);
}

#[test]
fn every_phase_has_its_time_and_what_waits_ends_with_the_reason() {
    let mut bench = Bench::new(HostKeyCheck::First);
    assert_eq!(bench.pass(5_000), ["disconnect", "down: no connection within 5 s"]);
    assert_eq!(bench.start(1, command("a", false)), [""; 0]);
    assert_eq!(bench.pass(100), ["connect"]);
    bench.connected();
    assert_eq!(bench.pass(5_000), ["disconnect", "down: it accepts connections, but no key exchange within 5 s"]);
    // The host is alive, so it is asked less often.
    assert_eq!(bench.pass(900), [""; 0]);
    assert_eq!(bench.pass(1_100), ["connect"]);
    bench.connected();
    let late = bench.pass(2_900);
    let reason = "it accepts connections, but no key exchange within 5 s";
    assert_eq!(late, [format!("ended 1: NotConnected({reason:?})")]);
    bench.news(report(HostKeyVerdict::Known));
    assert_eq!(bench.pass(20_000), ["disconnect", "down: the login takes too long"]);
}

#[test]
fn a_refused_login_is_not_tried_again_at_once() {
    let mut bench = Bench::new(HostKeyCheck::First);
    bench.connected();
    bench.news(report(HostKeyVerdict::Known));
    let reason = "login as 'me' failed: no key";
    assert_eq!(
        bench.news(SshNews::LoginRefused("no key".to_owned())),
        ["disconnect".to_owned(), format!("down: {reason}")]
    );
    assert_eq!(bench.start(1, command("a", false)), [format!("ended 1: NotConnected({reason:?})")]);
    assert_eq!(bench.pass(59_000), [""; 0]);
    assert_eq!(bench.pass(1_000), ["connect"]);
}

#[test]
fn only_so_many_commands_run_at_once_and_a_ping_does_not_wait_for_them() {
    let mut bench = Bench::up();
    let started: Vec<String> = (1..=9).flat_map(|id| bench.start(id, command("a", false))).collect();
    assert_eq!(started, ["start 1", "start 2", "start 3", "start 4", "start 5", "start 6", "start 7"]);
    assert_eq!(bench.start(10, command("hostname", true)), ["start 10"]);
    let upload = |pipe: &str| SshTask::Submit { pipe: pipe.to_owned(), lines: Vec::new() };
    assert_eq!(bench.start(11, upload("a")), ["start 11"]);
    assert_eq!(bench.start(12, upload("b")), [""; 0]);
    assert_eq!(bench.news(SshNews::Ended(SshTaskId(11), SshEnd::Done)), ["ended 11: Done", "start 12"]);
    assert_eq!(bench.news(SshNews::Ended(SshTaskId(3), ran())).last().map(String::as_str), Some("start 8"));
}

fn no_channel(id: u64, had_one: bool) -> SshNews {
    SshNews::NoChannel { id: SshTaskId(id), reason: "too many".to_owned(), had_one }
}

#[test]
fn a_task_that_gets_no_channel_waits_for_another_to_end_and_the_kinds_take_turns() {
    let mut bench = Bench::up();
    let upload = |pipe: &str| SshTask::Submit { pipe: pipe.to_owned(), lines: Vec::new() };
    bench.start(1, command("a", false));
    bench.start(2, command("b", false));
    bench.start(3, upload("c"));
    assert_eq!(bench.news(no_channel(3, true)), [""; 0]);
    assert_eq!(bench.start(4, command("d", false)), [""; 0]);
    // A host that refuses is alive, and that is what a ping asks.
    assert_eq!(bench.start(5, command("hostname", true)), ["start 5"]);
    assert_eq!(bench.news(no_channel(5, true)), [r#"ended 5: Refused("the host gives no channel: too many")"#]);
    assert_eq!(bench.news(SshNews::Ended(SshTaskId(1), ran())).last().map(String::as_str), Some("start 3"));
    assert_eq!(bench.news(SshNews::Ended(SshTaskId(2), ran())).last().map(String::as_str), Some("start 4"));
}

#[test]
fn a_host_without_any_channel_is_asked_a_few_times_and_then_said_to_give_none() {
    let mut bench = Bench::up();
    assert_eq!(bench.start(1, command("a", false)), ["start 1"]);
    for _ in 0..3 {
        assert_eq!(bench.news(no_channel(1, false)), [""; 0]);
        assert_eq!(bench.pass(299), [""; 0]);
        assert_eq!(bench.pass(1), ["start 1"]);
    }
    assert_eq!(bench.news(no_channel(1, false)), [r#"ended 1: Refused("the host gives no channel: too many")"#]);
}

#[test]
fn a_host_that_gives_one_channel_for_each_connection_gets_a_connection_for_each_task() {
    let mut bench = Bench::up();
    bench.start(1, command("a", false));
    for _ in 0..3 {
        bench.news(no_channel(1, true));
        assert_eq!(bench.pass(300), ["start 1"]);
    }
    assert_eq!(bench.news(no_channel(1, true)), ["disconnect", "connect"]);
    let log_in = |bench: &mut Bench| {
        assert_eq!(bench.connected(), ["open for one channel"]);
        bench.news(report(HostKeyVerdict::Known));
        bench.news(SshNews::LoggedIn("key".to_owned()))
    };
    assert_eq!(log_in(&mut bench), ["start 1"]);
    assert_eq!(bench.start(2, command("b", false)), [""; 0]);
    // Nobody is told that the connection was lost, and nobody who waits gives up for that reason.
    assert_eq!(bench.news(SshNews::Ended(SshTaskId(1), ran()))[1..], ["disconnect", "connect"]);
    assert_eq!(log_in(&mut bench), ["start 2"]);
    assert_eq!(bench.news(SshNews::Closed("gone".to_owned()))[..2], ["disconnect", "down: gone"]);
}

#[test]
fn a_host_that_closes_with_its_first_task_gets_a_connection_for_each() {
    let mut bench = Bench::up();
    let done = |bench: &mut Bench, id: u64| {
        bench.news(SshNews::Asked(SshTaskId(id)));
        bench.news(SshNews::Ended(SshTaskId(id), ran()))
    };
    bench.start(1, command("a", false));
    done(&mut bench, 1);
    // The task began at the moment when the host closed, so it never arrived.
    assert_eq!(bench.start(2, command("b", false)), ["start 2"]);
    assert_eq!(bench.news(SshNews::Closed("gone".to_owned())), ["disconnect", "disconnect", "connect"]);
    assert_eq!(bench.connected(), ["open"]);
    bench.news(report(HostKeyVerdict::Known));
    assert_eq!(bench.news(SshNews::LoggedIn("key".to_owned())), ["start 2"]);
    done(&mut bench, 2);
    assert_eq!(bench.news(SshNews::Closed("gone".to_owned())), ["disconnect", "disconnect", "connect"]);
    assert_eq!(bench.connected(), ["open for one channel"]);
}

#[test]
fn a_task_that_never_reaches_its_host_ends_all_the_same() {
    let mut bench = Bench::up();
    bench.start(1, command("a", false));
    bench.news(SshNews::Closed("gone".to_owned()));
    assert_eq!(bench.pass(5_000), ["connect"]);
    bench.connected();
    bench.news(report(HostKeyVerdict::Known));
    assert_eq!(bench.news(SshNews::LoggedIn("key".to_owned())), ["up", "start 1"]);
    bench.news(SshNews::Closed("gone".to_owned()));
    let said = bench.pass(5_000);
    assert!(said.contains(&r#"ended 1: NotConnected("gone")"#.to_owned()), "{said:?}");
}

#[test]
fn a_host_that_takes_no_connections_for_now_is_left_alone_for_a_while() {
    let mut bench = Bench::new(HostKeyCheck::First);
    bench.connected();
    assert_eq!(bench.news(SshNews::TurnedAway("not now".to_owned())), ["disconnect", "down: not now"]);
    assert_eq!(bench.start(1, command("a", false)), [r#"ended 1: NotConnected("not now")"#]);
    assert_eq!(bench.pass(29_000), [""; 0]);
    assert_eq!(bench.pass(1_000), ["connect"]);
}

#[test]
fn a_command_ends_when_it_takes_too_long_or_is_silent_for_too_long() {
    let mut bench = Bench::up();
    bench.start(1, command("a", false));
    bench.start(2, command("b", false));
    bench.pass(29_000);
    bench.news(SshNews::Moved(SshTaskId(1)));
    assert_eq!(bench.pass(1_000), ["keep alive", "abort 2", "ended 2: Silent"]);
    bench.pass(28_000);
    bench.news(SshNews::Moved(SshTaskId(1)));
    assert_eq!(bench.pass(2_000), ["keep alive", "abort 1", "ended 1: TimedOut"]);
}

#[test]
fn what_ran_is_lost_with_the_connection_and_what_waits_runs_on_the_next() {
    let mut bench = Bench::up();
    (1..=8).for_each(|id| drop(bench.start(id, command("a", false))));
    // The seventh did not reach the host, so it may run on the next connection.
    (1..=6).for_each(|id| drop(bench.news(SshNews::Asked(SshTaskId(id)))));
    let lines = bench.news(SshNews::Closed("gone".to_owned()));
    assert_eq!(lines[..2], ["disconnect", "down: gone"]);
    assert_eq!(lines.len(), 8);
    assert_eq!(lines[2], r#"ended 1: Failed("the connection broke before the exit status: gone")"#);
    assert_eq!(bench.pass(100), ["connect"]);
    bench.connected();
    bench.news(report(HostKeyVerdict::Known));
    assert_eq!(bench.news(SshNews::LoggedIn("key".to_owned())), ["up", "start 7", "start 8"]);
}

#[test]
fn nothing_is_told_twice_of_a_task_that_was_given_up() {
    let mut bench = Bench::up();
    bench.start(1, command("a", false));
    bench.steps.abort_task(SshTaskId(1), "stopping", bench.now());
    assert_eq!(bench.drain(), ["abort 1", r#"ended 1: Failed("stopping")"#]);
    assert_eq!(bench.news(SshNews::Ended(SshTaskId(1), ran())), [""; 0]);
}

#[test]
fn a_host_that_still_says_something_keeps_its_session_when_a_ping_is_late() {
    let mut bench = Bench::up();
    bench.pass(5_000);
    assert_eq!(bench.news(SshNews::Heard), [""; 0]);
    bench.pass(3_000);
    bench.steps.reset(bench.now(), &mut bench.random);
    assert_eq!(bench.drain(), [""; 0]);
    bench.pass(2_000);
    bench.steps.reset(bench.now(), &mut bench.random);
    assert_eq!(bench.drain(), ["disconnect", "down: it does not answer"]);
}

#[test]
fn a_host_that_takes_one_command_at_a_time_gets_one_and_pings_all_the_same() {
    let mut bench = Bench::up();
    assert_eq!(bench.news(SshNews::OneCommandAtATime), [""; 0]);
    assert_eq!(bench.start(1, command("a", false)), ["start 1"]);
    assert_eq!(bench.start(2, command("b", false)), [""; 0]);
    assert_eq!(bench.start(3, command("hostname", true)), ["start 3"]);
    assert_eq!(
        bench.news(SshNews::Ended(SshTaskId(1), ran())),
        ["ended 1: ".to_owned() + &format!("{:?}", ran()), "start 2".to_owned()]
    );
}

#[test]
fn a_silent_host_is_spoken_to_without_a_turn_and_one_that_speaks_gets_more_time() {
    let mut bench = Bench::new(HostKeyCheck::First);
    bench.steps.handle_connected(bench.now());
    assert_eq!(bench.pass(999), [""; 0]);
    assert_eq!(bench.pass(1), ["open"]);
    let silent = ["disconnect", "down: it accepts connections, but no key exchange within 5 s"];
    assert_eq!(bench.pass(4_000), silent, "counted from the connection");
    bench.pass(2_000);
    bench.steps.handle_connected(bench.now());
    bench.steps.handle_spoken(bench.now());
    assert_eq!(bench.pass(60_000), [""; 0], "it waits for its turn as long as need be");
    bench.steps.begin_exchange(bench.now());
    assert_eq!(bench.drain(), ["open"]);
    for _ in 0..4 {
        assert_eq!(bench.pass(4_900), [""; 0]);
        assert_eq!(bench.news(SshNews::Heard), [""; 0]);
    }
    assert_eq!(bench.pass(400), silent, "but not for ever");
}

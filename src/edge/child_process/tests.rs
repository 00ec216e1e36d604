use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::*;
use crate::edge::clock;
use crate::edge::temp_dir::TempDir;
use crate::model::command::OutputCut;

fn spec(program: Program) -> CommandSpec {
    CommandSpec { program, timeout: Duration::from_secs(60), output_limit: 1 << 20, streams: false }
}

fn shell(line: &str) -> CommandSpec {
    spec(Program::Shell(line.to_owned()))
}

fn words(words: &[&str]) -> CommandSpec {
    spec(Program::Words(words.iter().map(|word| (*word).to_owned()).collect()))
}

fn start(spec: &CommandSpec) -> ChildProcess {
    ChildProcess::spawn(spec, &Environment::new(&[]), clock::read(), |_| ()).unwrap()
}

/// Acts as the event loop. Instead of reading `SIGCHLD`, which the test process does not, it checks every few
/// milliseconds.
fn finish(process: &mut ChildProcess) -> CommandOutcome {
    let poll = watching(process);
    finish_with(process, poll)
}

fn finish_with(process: &mut ChildProcess, mut poll: Poll) -> CommandOutcome {
    let mut events = Events::with_capacity(4);
    let start = clock::read();
    loop {
        while process.read_output(1 << 16) == ReadState::Open {}
        if let Some(outcome) = process.poll(clock::read()) {
            return outcome;
        }
        assert!(clock::read().monotonic.since(start.monotonic) < Duration::from_secs(120), "the command does not end");
        while let Err(error) = poll.poll(&mut events, Some(Duration::from_millis(5))) {
            // This was a signal of another test.
            assert_eq!(error.kind(), std::io::ErrorKind::Interrupted);
        }
        tell(process, &events);
    }
}

fn watching(process: &ChildProcess) -> Poll {
    let poll = Poll::new().unwrap();
    process.output.descriptors().for_each(|output| watch(&poll, output));
    poll
}

fn watch(poll: &Poll, (number, descriptor): (usize, RawFd)) {
    poll.registry().register(&mut SourceFd(&descriptor), Token(number), Interest::READABLE).unwrap();
}

fn tell(process: &mut ChildProcess, events: &Events) {
    events.iter().for_each(|event| process.output_ready(event.token().0, event.is_read_closed()));
}

fn run(spec: &CommandSpec) -> CommandOutcome {
    let poll = Poll::new().unwrap();
    let environment = Environment::new(&[]);
    let mut process = ChildProcess::spawn(spec, &environment, clock::read(), |output| watch(&poll, output)).unwrap();
    finish_with(&mut process, poll)
}

fn text(outcome: &CommandOutcome) -> &str {
    std::str::from_utf8(&outcome.output).unwrap()
}

fn is_alive(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    !status.is_empty() && !status.contains(") Z ")
}

fn await_gone(pid: &str) {
    let start = clock::read();
    while is_alive(pid) {
        assert!(clock::read().monotonic.since(start.monotonic) < Duration::from_secs(10), "process {pid} lives on");
        std::thread::yield_now();
    }
}

#[test]
fn both_outputs_come_in_their_order_with_the_exit_code() {
    let outcome = run(&shell("echo one; echo two >&2; printf three; exit 7"));
    assert_eq!((outcome.end.clone(), text(&outcome)), (CommandEnd::Exited(7), "one\ntwo\nthree"));
    assert!(outcome.ended >= outcome.started && outcome.cut.is_none());
    let line = "for n in $(seq 100); do echo o$n; echo e$n >&2; echo f$n >&2; done";
    let expected: String = (1..=100).map(|number| format!("o{number}\ne{number}\nf{number}\n")).collect();
    assert_eq!(text(&run(&shell(line))), expected);
    assert_eq!(text(&run(&shell("echo err >&2; echo out"))), "err\nout\n");
}

#[test]
fn words_reach_the_program_without_a_shell() {
    let outcome = run(&words(&["printf", "%s|", "a b", "$HOME", "*"]));
    assert_eq!((outcome.end.clone(), text(&outcome)), (CommandEnd::Exited(0), "a b|$HOME|*|"));
}

#[test]
fn a_signal_counts_as_a_shell_counts_it() {
    assert_eq!(run(&shell("kill -TERM $$")).end, CommandEnd::Exited(143));
}

#[test]
fn a_program_that_cannot_run_is_named_without_its_arguments() {
    let dir = TempDir::new();
    std::fs::write(dir.join("plain"), "text").unwrap();
    let plain = dir.join("plain");
    let refused = |list: &[&str]| {
        ChildProcess::spawn(&words(list), &Environment::new(&[]), Now::default(), |_| ()).err().unwrap()
    };
    let missing = "program 'no-such-program' was not found; give its full path or install it".to_owned();
    assert_eq!(refused(&["no-such-program", "--password=secret"]), CommandEnd::NoProgram(127, missing));
    let CommandEnd::NoProgram(126, text) = refused(&[plain.to_str().unwrap()]) else { panic!() };
    assert!(text.contains("may not be executed"));
    let CommandEnd::NotStarted(text) = refused(&["echo", "a\0b"]) else { panic!() };
    assert!(text.contains("could not be started"));
    assert_eq!(refused(&[]), CommandEnd::NotStarted("the command is empty".to_owned()));
}

#[test]
fn a_child_has_no_mask_no_input_no_descriptors_of_ours_and_a_group_of_its_own() {
    crate::edge::system::keep_inherited_descriptors();
    let _open = std::fs::File::open("/proc/self/status").unwrap();
    let script = "grep SigBlk /proc/self/status; readlink /proc/self/fd/0; pwd; \
                  test $(cut -d' ' -f5 /proc/$$/stat) = $$ && echo leader; cat";
    let outcome = run(&shell(script));
    let lines: Vec<&str> = text(&outcome).lines().collect();
    assert_eq!(lines, ["SigBlk:\t0000000000000000", "/dev/null", "/", "leader"]);
    // The fourth one is the directory that `ls` reads.
    assert_eq!(text(&run(&words(&["ls", "/proc/self/fd"]))), "0\n1\n2\n3\n");
}

#[test]
fn a_command_has_few_variables_and_those_that_are_named() {
    let environment = Environment::new(&["CARGO_PKG_NAME".into(), "GIVEN=a=b".into(), "NOT_SET_ANYWHERE".into()]);
    let mut process = ChildProcess::spawn(&words(&["env"]), &environment, clock::read(), |_| ()).unwrap();
    let outcome = finish(&mut process);
    let mut names: Vec<&str> = text(&outcome).lines().map(|line| line.split('=').next().unwrap()).collect();
    names.retain(|name| !["HOME", "LANG", "USER", "SHELL", "TZ"].contains(name));
    assert_eq!(names, ["CARGO_PKG_NAME", "GIVEN", "PATH"]);
    assert!(text(&outcome).contains("CARGO_PKG_NAME=stheno\nGIVEN=a=b\n"));
}

#[test]
fn output_beyond_the_limit_is_dropped_and_the_command_runs_on() {
    let limited = CommandSpec { output_limit: 1_000, ..shell("head -c 3000000 /dev/zero | tr '\\0' x; echo; exit 3") };
    let outcome = run(&limited);
    let cut = OutputCut { stdout: Some(1_000), stderr: None };
    assert_eq!((outcome.end, outcome.output.len(), outcome.cut), (CommandEnd::Exited(3), 1_000, cut));
    let exact = run(&CommandSpec { output_limit: 3, ..shell("printf abc") });
    assert_eq!((exact.output.as_slice(), exact.cut.is_none()), (b"abc".as_slice(), true));
    let split = run(&CommandSpec {
        output_limit: 4,
        ..shell("printf 'caf\\303\\251'; printf '\\303' >&2; printf '\\251!!' >&2")
    });
    assert_eq!((text(&split), split.cut), ("caf\u{e9}!!", OutputCut { stdout: Some(4), stderr: None }));
}

#[test]
fn each_output_has_a_limit_of_its_own() {
    let flood = "head -c 300000 /dev/zero | tr '\\0' o; head -c 300000 /dev/zero | tr '\\0' e >&2; echo last";
    let outcome = run(&CommandSpec { output_limit: 100_000, ..shell(flood) });
    let count = |wanted| text(&outcome).chars().filter(|letter| *letter == wanted).count();
    assert_eq!((count('o'), count('e')), (100_000, 100_000));
    assert_eq!(outcome.cut, OutputCut { stdout: Some(100_000), stderr: Some(100_000) });
    let late =
        run(&CommandSpec { output_limit: 1_000, ..shell("yes | head -c 300000; echo 'why it failed' >&2; exit 1") });
    assert!(text(&late).ends_with("why it failed\n"), "an error behind a flood is not lost");
    assert_eq!(late.cut, OutputCut { stdout: Some(1_000), stderr: None });
}

#[test]
fn reading_stops_at_its_budget() {
    let mut process = start(&shell("head -c 60000 /dev/zero; exec sleep 60"));
    let mut poll = watching(&process);
    let mut events = Events::with_capacity(4);
    let mut read = Vec::new();
    while read.is_empty() {
        while let Err(error) = poll.poll(&mut events, Some(Duration::from_secs(10))) {
            // This was a signal of another test.
            assert_eq!(error.kind(), std::io::ErrorKind::Interrupted);
        }
        tell(&mut process, &events);
        process.read_output(1);
        read = process.output.take_news().unwrap_or_default();
    }
    assert!(read.len() <= 16 << 10);
    assert!(process.poll(clock::read()).is_none());
}

#[test]
fn a_time_out_kills_the_whole_group_and_keeps_the_output() {
    // On a loaded machine the shell may not have got far enough after the first of these times.
    let (mut process, leader, outcome) = [300, 3_000, 30_000]
        .into_iter()
        .find_map(|timeout| {
            let timeout = Duration::from_millis(timeout);
            let mut process = start(&CommandSpec { timeout, ..shell("sleep 600 & echo $!; wait") });
            let leader = process.id().to_string();
            let outcome = finish(&mut process);
            assert_eq!(outcome.end, CommandEnd::TimedOut);
            (!outcome.output.is_empty()).then_some((process, leader, outcome))
        })
        .unwrap();
    await_gone(text(&outcome));
    assert!(!std::path::Path::new(&format!("/proc/{leader}")).exists(), "a zombie is left");
    assert_eq!((process.poll(clock::read()), process.poll_timeout()), (None, None));
}

#[test]
fn a_grandchild_that_keeps_the_pipe_does_not_hold_the_result() {
    let mut process = start(&shell("sleep 600 & echo $!; exit 4"));
    let before = clock::read().monotonic;
    let outcome = finish(&mut process);
    assert_eq!(outcome.end, CommandEnd::Exited(4));
    let waited = clock::read().monotonic.since(before);
    assert!(waited >= PIPE_GRACE && waited < Duration::from_secs(10), "{waited:?}");
    let pid = text(&outcome).trim().to_owned();
    assert!(is_alive(&pid), "a process that a command leaves behind is its own business");
    Command::new("kill").arg(&pid).status().unwrap();
}

#[test]
fn time_is_an_argument_of_the_state_machine() {
    let now = clock::read();
    let mut process = ChildProcess::spawn(&shell("exec sleep 600"), &Environment::new(&[]), now, |_| ()).unwrap();
    let at = |seconds: u64| Now { monotonic: now.monotonic + Duration::from_secs(seconds), ..now };
    assert_eq!(process.poll_timeout(), Some(at(60).monotonic));
    assert_eq!(process.poll(at(59)), None);
    assert_eq!(process.poll(at(60)), None);
    assert_eq!(process.poll_timeout(), Some(at(60).monotonic + KILL_GRACE));
    assert_eq!(finish(&mut process).end, CommandEnd::TimedOut);
}

#[test]
fn a_command_that_is_dropped_or_killed_leaves_no_process() {
    let process = start(&shell("exec sleep 600"));
    let pid = process.id().to_string();
    drop(process);
    let start_time = clock::read();
    while std::path::Path::new(&format!("/proc/{pid}")).exists() {
        reap_abandoned();
        assert!(clock::read().monotonic.since(start_time.monotonic) < Duration::from_secs(10), "{pid} is left");
    }
    let mut process = start(&shell("exec sleep 600"));
    process.kill_group();
    assert_eq!(finish(&mut process).end, CommandEnd::Exited(137));
}

/// Polls a command until it has ended, at the real time plus `ahead`.
fn finish_ahead(process: &mut ChildProcess, ahead: Duration) -> CommandOutcome {
    loop {
        let now = clock::read();
        if let Some(outcome) = process.poll(Now { monotonic: now.monotonic + ahead, ..now }) {
            return outcome;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_command_that_is_asked_to_end_has_time_for_it_with_its_children_and_is_killed_afterwards() {
    // The command ends by itself, with the output that it still has.
    let mut process = start(&shell("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.02; done"));
    let text_of = |outcome: &CommandOutcome| String::from_utf8_lossy(&outcome.output).into_owned();
    while process.kept_bytes() == 0 {
        process.output_ready(0, false);
        process.read_output(1_024);
    }
    process.end_group(clock::read().monotonic);
    let outcome = finish(&mut process);
    // A shell may report on its other output that its child was ended, and that may be read later.
    assert_eq!(outcome.end, CommandEnd::Exited(3));
    assert!(text_of(&outcome).contains("bye\n"));
    // The shell ends at once and its child a moment later: the test waits for that.
    let child = "(trap 'sleep 0.3; echo cleaned; exit' TERM; echo up; while :; do sleep 0.02; done) & wait";
    let mut process = start(&shell(child));
    while process.kept_bytes() == 0 {
        process.output_ready(0, false);
        process.read_output(1_024);
    }
    process.end_group(clock::read().monotonic);
    assert!(text_of(&finish(&mut process)).contains("cleaned\n"));
    // Neither the command nor its child reacts to TERM.
    let mut process = start(&shell("trap '' TERM; echo up; sleep 600 & sleep 600"));
    let leader = process.id();
    while process.kept_bytes() == 0 {
        process.output_ready(0, false);
        process.read_output(1_024);
    }
    process.end_group(clock::read().monotonic);
    let asked = clock::read();
    assert_eq!(process.poll(asked), None);
    assert!(process.poll_timeout().is_some_and(|at| at <= asked.monotonic + END_LOOK_EVERY));
    let outcome = finish_ahead(&mut process, END_GRACE);
    assert_eq!(outcome.end, CommandEnd::TimedOut);
    let start_time = clock::read().monotonic;
    while !process_group::is_over(leader) {
        assert!(clock::read().monotonic.since(start_time) < Duration::from_secs(10), "a child is left");
    }
}

#[test]
fn many_commands_at_once_each_give_their_own_output() {
    let mut processes: Vec<ChildProcess> = (0..40).map(|number| start(&shell(&format!("echo {number}")))).collect();
    for (number, process) in processes.iter_mut().enumerate() {
        let outcome = finish(process);
        assert_eq!((outcome.end.clone(), text(&outcome)), (CommandEnd::Exited(0), format!("{number}\n").as_str()));
    }
}

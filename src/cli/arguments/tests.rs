//! Command lines and their meaning.

use super::super::remote_arguments::Direction;
use super::super::targets::Targets;
use super::*;

fn parse(line: &str) -> Result<Command, String> {
    super::parse(line.split_whitespace().map(OsString::from).collect(), &Defaults::default())
}

fn run(config: &str, logfile: Option<&str>, severity: impl Into<Option<Level>>) -> Result<Command, String> {
    let logfile = logfile.map(PathBuf::from);
    let vault = DEFAULT_VAULT.into();
    Ok(Command::Run(RunOptions {
        config_path: config.into(),
        logfile,
        vault,
        severity: severity.into(),
        log_format: None,
    }))
}

#[test]
fn the_originals_options_alone_start_a_daemon() {
    for line in [
        "run --config c --logfile l --severity error",
        "--config=c --logfile=l --severity=error",
        "--config c --logfile l --severity 3 --flushoutput",
    ] {
        assert_eq!(parse(line), run("c", Some("l"), Level::Error), "{line}");
    }
    assert_eq!(parse("--severity DEBUG --config c"), run("c", None, Level::Debug));
    let Ok(Command::Run(options)) = parse("--config c --vault=/v.json") else { panic!("it does not start") };
    assert_eq!(options.vault, PathBuf::from("/v.json"));
}

#[test]
fn each_command_takes_its_own_words() {
    let check = |logfile: Option<&str>, json| {
        Ok(Command::Check { config: "c".into(), logfile: logfile.map(PathBuf::from), json })
    };
    assert_eq!(parse("check --config c --json"), check(None, true));
    assert_eq!(parse("check c"), check(None, false));
    assert_eq!(parse("check --config=c --logfile=l --severity=error"), check(Some("l"), false));
    assert_eq!(parse("keys generate d"), Ok(Command::KeysGenerate { directory: "d".into(), bits: 2048 }));
    assert_eq!(parse("keys generate --bits 4096 d"), Ok(Command::KeysGenerate { directory: "d".into(), bits: 4096 }));
    assert_eq!(parse("keys hash-password"), Ok(Command::KeysHashPassword));
    assert_eq!(parse("keys hash-token"), Ok(Command::KeysHashToken));
    assert_eq!(parse("keys new-token"), Ok(Command::KeysNewToken));
    assert_eq!(parse("keys thumbprint f"), Ok(Command::KeysThumbprint("f".into())));
    assert_eq!(parse("demo --once"), Ok(Command::Demo(DemoOptions { once: true, ..DemoOptions::default() })));
    let all = DemoOptions {
        once: true,
        ssh: true,
        keep: true,
        whole_central: false,
        central: Some("a".into()),
        nodes: Some("b".into()),
    };
    let whole = DemoOptions { once: true, whole_central: true, ..DemoOptions::default() };
    assert_eq!(parse("demo --central --once"), Ok(Command::Demo(whole.clone())));
    assert_eq!(parse("demo --once --central"), Ok(Command::Demo(whole)));
    let played = DemoOptions { central: Some("a".into()), ..DemoOptions::default() };
    assert_eq!(parse("demo --central a"), Ok(Command::Demo(played)));
    assert_eq!(parse("demo --keep --ssh --once --nodes b --central=a"), Ok(Command::Demo(all)));
    let exec = ExecOptions {
        config: "c".into(),
        targets: Targets::parse("2").unwrap(),
        command: "ls --all -l".to_owned(),
        timeout_seconds: Some(5),
        ttl: Some(60),
        at_once: 10,
        cancels: true,
        by_node: false,
        json: true,
    };
    assert_eq!(
        parse("exec --config c --json --cancel-on-interrupt --timeout 5 --ttl 60 2 -- ls --all -l"),
        Ok(Command::Exec(exec))
    );
    let copy = CopyOptions {
        config: "c".into(),
        direction: Direction::ToNodes,
        source: "/etc/hosts".into(),
        targets: Targets::parse("2,all").unwrap(),
        destination: "/tmp/a:b".to_owned(),
        cache_dir: "/tmp".to_owned(),
        owner: Some("root".to_owned()),
        group: None,
        mode: Some("0644".to_owned()),
        ttl: None,
        delete: false,
        checksum: true,
        at_once: 3,
        json: false,
    };
    assert_eq!(
        parse("copy --config c --checksum --at-once 3 --owner root --mode 0644 /etc/hosts 2,all:/tmp/a:b"),
        Ok(Command::Copy(copy))
    );
    let ends = |line: &str| match parse(line) {
        Ok(Command::Copy(copy)) => Ok((copy.direction, copy.source.display().to_string(), copy.destination)),
        other => Err(format!("{other:?}")),
    };
    let from = |source: &str, destination: &str| Ok((Direction::FromNodes, source.to_owned(), destination.to_owned()));
    let to = |source: &str, destination: &str| Ok((Direction::ToNodes, source.to_owned(), destination.to_owned()));
    assert_eq!(ends("copy --config c 2:/var/log/x:y ."), from("/var/log/x:y", "."));
    assert_eq!(ends("copy --config c 2,all:/var/log ./3:/x"), from("/var/log", "./3:/x"));
    assert_eq!(ends("copy --config c ./2:x 3:/tmp/"), to("./2:x", "/tmp/"));
    assert_eq!(ends("copy --config c a:b 3:/tmp/"), to("a:b", "/tmp/"));
    for (line, said) in [
        ("2:/a 3:/b", "both SOURCE and DESTINATION are on nodes"),
        ("2:a /b", "give an absolute one"),
        ("2: /b", "give an absolute one"),
        ("--delete 2:/a /b", "are for copies to nodes"),
        ("2,,3:/a /b", "needs --config"),
    ] {
        assert!(ends(&format!("copy --config c {line}")).unwrap_err().contains(said), "{line}");
    }
    let key = |thumbprint| Ok(Command::NodeKey { config: "c".into(), node: 2, thumbprint });
    assert_eq!(parse("keys forget --config c 2"), key(None));
    assert_eq!(parse("keys trust 2 abc --config c"), key(Some("abc".to_owned())));
    let doctor = |node, json| Ok(Command::Doctor(DoctorOptions { config: "c".into(), logfile: None, node, json }));
    assert_eq!(parse("doctor --config c"), doctor(None, false));
    assert_eq!(parse("doctor --json 2 --config c"), doctor(Some(2), true));
    assert_eq!(parse("demo --help"), Ok(Command::Help(Topic::Demo)));
    assert!(parse("demo --twice").unwrap_err().contains("--twice"));
    for (line, topic) in [
        ("help", Topic::All),
        ("--help", Topic::All),
        ("-?", Topic::All),
        ("help check", Topic::Check),
        ("help help", Topic::Help),
        ("help --help", Topic::Help),
        ("completions --help", Topic::Completions),
        ("keys --help", Topic::Keys),
        ("run -h", Topic::Run),
    ] {
        assert_eq!(parse(line), Ok(Command::Help(topic)), "{line}");
    }
    assert_eq!(parse("help --man"), Ok(Command::Manual));
    assert_eq!(parse("completions fish"), Ok(Command::Completions(Shell::Fish)));
    assert_eq!(parse("--config c --version"), Ok(Command::Version));
}

#[test]
fn mistakes_are_answered_with_one_line_that_helps() {
    for (line, words) in [
        ("", "say what to do"),
        ("start", "there is no command 'start'; commands are run, check, keys, copy, exec, "),
        ("run", "needs --config FILE"),
        ("--logfile x", "needs --config FILE"),
        ("--config c --severity loud", "--severity is 'loud'; allowed: debug, info, warning or error"),
        ("--config c --verbose", "unknown option '--verbose'; 'stheno help run' lists what there is"),
        ("run --config c extra", "unknown argument 'extra'"),
        ("run --config", "missing argument"),
        ("run --config=", "--config needs a file name"),
        ("check", "needs --config FILE"),
        ("keys", "needs 'generate DIR'"),
        ("keys destroy x", "there is no 'keys destroy'"),
        ("keys generate", "needs the directory"),
        ("keys generate d --bits 1024", "--bits is '1024'; allowed: a multiple of 64 from 2048 to 4096"),
        ("keys thumbprint", "needs the file"),
        ("keys hash-password secret", "reads a line from standard input"),
        ("keys hash-token secret", "reads a line from standard input"),
        ("keys new-token --bits 2048", "takes no arguments"),
        ("keys trust --config c 2", "needs --config FILE NODE THUMBPRINT"),
        ("keys forget 2", "needs --config FILE NODE, NODE by its id"),
        ("keys forget --config c two", "needs --config FILE NODE, NODE by its id"),
        ("keys forget --config c 2 extra", "unknown argument 'extra'"),
        ("keys forget --config c --bits 2048 2", "--bits belongs to"),
        ("keys hash-password --config c", "--config belongs to"),
        ("demo --nodes", "missing argument"),
        ("demo --nodes=", "--nodes needs a command"),
        ("help me", "there is no help on 'me'"),
        ("copy --config c /etc/hosts", "needs --config FILE SOURCE NODE:DESTINATION"),
        ("copy --config c /etc/hosts two:/tmp/", "'two' is not the id of a node"),
        ("copy --config c /etc/hosts 0:/tmp/", "'0' is not the id of a node: give a whole number from 1 on"),
        ("copy --config c /etc/hosts 2:", "needs --config FILE SOURCE NODE:DESTINATION"),
        ("copy --config c --mode rw a 2:b", "--mode is 'rw'; allowed: one to four octal digits"),
        ("exec --config c 2 --", "needs --config FILE NODE -- COMMAND"),
        ("exec --config c two -- id", "'two' is not the id of a node"),
        ("exec --config c 2,,3 -- id", "'2,,3' has an empty place"),
        ("exec --config c --at-once 0 2 -- id", "--at-once is '0'; allowed: 1 to 100 nodes"),
        ("exec --config c 0 -- id", "'0' is not the id of a node: give a whole number from 1 on"),
        ("exec --config c --timeout 0 2 -- id", "--timeout is '0'; allowed: 1 to 86400 seconds"),
        ("running --config c", "'running' needs the id of a node"),
        ("cancel --config c", "'cancel' needs a token"),
        ("cancel --config c a/b", "'a/b' is not a token"),
        ("log --since soon", "--since is 'soon'; allowed: 30s, 10m"),
        ("log --code one", "--code is 'one'; allowed: numbers"),
        ("log --limit 0", "--limit is '0'; allowed: 1 to 1000000 rows"),
        ("log 2", "unknown argument '2'"),
        ("nodes 2 3", "unknown argument '3'"),
        ("routes x", "'x' is not the id of a node"),
        ("completions", "needs the name of a shell: bash, zsh, fish"),
        ("completions csh", "there are no completions for 'csh'"),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.contains(words) && !error.contains('\n'), "{line}: {error}");
    }
}

//! `join`: makes keys and configuration of a node from the word of `stheno node add`, has the central know it, starts
//! the daemon and waits for its first answer to the central.

use std::fs::{self, File, OpenOptions};
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use super::node_arguments::JoinOptions;
use super::{complain, fail, run, say};
use crate::config;
use crate::config::joined::JoinedKind;
use crate::daemon::doctor::accepted_on;
use crate::daemon::joining::{self, Word};
use crate::daemon::key_files::{self, DEFAULT_BITS, KeyPair, PRIVATE_NAME, PUBLIC_NAME};
use crate::daemon::run_options::RunOptions;
use crate::daemon::secrets;
use crate::edge::random::SystemRandom;
use crate::edge::{clock, history_store, system};

/// How long to wait for the first PONG.
const PATIENCE: Duration = Duration::from_secs(90);
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Clocks of the two machines may differ by this many seconds.
const CLOCK_SECONDS: i64 = 300;
/// How many questions later a connection of the central still has to be there.
const LASTS: usize = 3;
const SERVICE: &str = "stheno";

/// Where the files of the node are.
struct Places {
    config: PathBuf,
    keys: PathBuf,
    database: PathBuf,
    log: PathBuf,
    is_packaged: bool,
}

impl Places {
    fn of(dir: Option<&Path>) -> Result<Self, String> {
        let Some(dir) = dir else {
            return Ok(Self {
                config: "/etc/centreon-gorgone/config.yaml".into(),
                keys: "/var/lib/centreon-gorgone/.keys".into(),
                database: "/var/lib/centreon-gorgone/history.sdb".into(),
                log: "/var/log/centreon-gorgone/gorgoned.log".into(),
                is_packaged: true,
            });
        };
        fs::create_dir_all(dir).map_err(|error| format!("{}: cannot be made: {error}", dir.display()))?;
        let dir = dir.canonicalize().map_err(|error| format!("{}: {error}", dir.display()))?;
        let file = |name: &str| dir.join(name);
        let (config, database, log) = (file("config.yaml"), file("history.sdb"), file("gorgoned.log"));
        Ok(Self { config, keys: dir, database, log, is_packaged: false })
    }
}

/// What is known after the exchange.
struct Node {
    word: Word,
    places: Places,
    keys: KeyPair,
    token: String,
    /// The newest session before the start.
    session: i64,
}

pub(super) fn run(options: &JoinOptions) -> ExitCode {
    let node = match prepare(options) {
        Ok(node) => node,
        Err(text) => return fail(&text),
    };
    if options.foreground { stay(node) } else { start(&node) }
}

fn prepare(options: &JoinOptions) -> Result<Node, String> {
    let word = Word::decode(&options.word)?;
    if clock::wall().as_seconds() > word.until.saturating_add(CLOCK_SECONDS) {
        return Err(
            "the word has expired, it is valid for an hour: 'stheno node add' on the central prints a new one \
            (if it is younger, the clock of this machine is wrong)"
                .to_owned(),
        );
    }
    let places = Places::of(options.dir.as_deref())?;
    let session = history_store::newest_session(&places.database);
    if history_store::holder(&places.database).is_some() {
        return Err(format!("a daemon runs with {} already: stop it first", places.database.display()));
    }
    ask_before_replacing(&places.config)?;
    let keys = keys(&places)?;
    let token = secrets::new_token(&mut SystemRandom::new());
    joining::meet(&word, &keys, &token)?;
    write_configuration(&word, &places, &token)?;
    Ok(Node { word, places, keys, token, session })
}

/// Has the user agree that a configuration is replaced; without a terminal it is left alone.
fn ask_before_replacing(config: &Path) -> Result<(), String> {
    if !config.exists() {
        return Ok(());
    }
    let shown = config.display();
    let kept =
        format!("{shown} is there already, and nothing was changed: move it away, or give --dir another directory");
    if !std::io::stdin().is_terminal() {
        return Err(kept);
    }
    eprint!("{shown} is there already. Keep it as {shown}.before and write a new one? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_err() || !matches!(answer.trim(), "y" | "Y" | "yes") {
        return Err(kept);
    }
    let before = config.with_extension("yaml.before");
    if before.exists() {
        return Err(format!("{} is there already: move it away first", before.display()));
    }
    fs::rename(config, &before).map_err(|error| format!("{shown}: cannot be renamed: {error}"))
}

/// The keys of the directory, or new ones.
fn keys(places: &Places) -> Result<KeyPair, String> {
    let private = places.keys.join(PRIVATE_NAME);
    if let Some(keys) = key_files::load(&private).map_err(|error| error.to_string())? {
        return Ok(keys);
    }
    let made = key_files::generate_in(&places.keys, DEFAULT_BITS, &mut SystemRandom::new());
    made.map_err(|error| error.to_string())?;
    let state = places.database.parent().unwrap_or(Path::new("/"));
    for path in [&places.keys, &private, &places.keys.join(PUBLIC_NAME)] {
        give(path, state);
    }
    let keys = key_files::load(&private).map_err(|error| error.to_string())?;
    keys.ok_or_else(|| format!("{} is gone", private.display()))
}

/// Gives a new file to the owner of the directory `like`, which is the daemon's user where a package made it.
fn give(path: &Path, like: &Path) {
    let Ok(owner) = fs::metadata(like) else { return };
    if fs::metadata(path).is_ok_and(|metadata| metadata.uid() != owner.uid()) {
        let _not_root = chown(path, Some(owner.uid()), Some(owner.gid()));
    }
}

fn write_configuration(word: &Word, places: &Places, token: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: cannot be written: {error}", places.config.display());
    if let Some(directory) = places.config.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    // It may hold a token.
    let aside = places.config.with_extension("yaml.new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&aside).map_err(failed)?;
    file.write_all(yaml(word, places, token).as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&aside, &places.config).and_then(|()| system::sync_folder_of(&places.config)).map_err(failed)?;
    give(&places.config, places.database.parent().unwrap_or(Path::new("/")));
    config::load(&places.config).map(drop).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        format!("the new configuration cannot be used: {}", lines.join("; "))
    })
}

/// A text as a YAML scalar: JSON texts are some.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn yaml(word: &Word, places: &Places, token: &str) -> String {
    let path = |path: &Path| quoted(&path.display().to_string());
    let mut text = format!(
        "name: node-{id}\ndescription: made by 'stheno join'\nconfiguration:\n  gorgone:\n    gorgonecore:\n      \
         id: {id}\n      privkey: {private}\n      pubkey: {public}\n      gorgone_db_type: SQLite\n      \
         gorgone_db_name: {database}\n",
        id = word.node,
        private = path(&places.keys.join(PRIVATE_NAME)),
        public = path(&places.keys.join(PUBLIC_NAME)),
        database = quoted(&format!("dbname={}", places.database.display())),
    );
    if word.kind == JoinedKind::PushZmq {
        text.push_str(&format!(
            "      external_com_type: tcp\n      external_com_path: \"*:{}\"\n      authorized_clients:\n        - \
             {{key: {}, name: central, may: central}}\n",
            word.port,
            word.central_thumbprint()
        ));
    }
    text.push_str(
        "    modules:\n      - name: action\n        package: gorgone::modules::core::action::hooks\n        enable: \
         true\n        copy_roots: [/etc/centreon-engine, /etc/centreon-broker, /etc/snmp, /var/lib/centreon, \
         /var/cache/centreon]\n      - name: engine\n        package: gorgone::modules::centreon::engine::hooks\n\
         \x20       enable: true\n        command_file: /var/lib/centreon-engine/rw/centengine.cmd\n",
    );
    let module = |name: &str| {
        format!("      - name: {name}\n        package: gorgone::modules::core::{name}::hooks\n        enable: true\n")
    };
    let host = if word.host.contains(':') { format!("[{}]", word.host) } else { word.host.clone() };
    match word.kind {
        JoinedKind::PushZmq => {}
        JoinedKind::Pull => {
            let target = quoted(&format!("{host}:{}", word.port));
            text.push_str(&format!("{}        target_type: tcp\n        target_path: {target}\n", module("pull")));
        }
        JoinedKind::Pullwss => {
            text.push_str(&format!(
                "{}        address: {}\n        port: {}\n        token: {}\n        ssl: {}\n",
                module("pullwss"),
                quoted(&word.host),
                word.port,
                quoted(token),
                word.is_tls
            ));
            if word.is_tls {
                let pin = crate::model::random::to_hex(&word.central);
                text.push_str(&format!("        ssl_fingerprint: {}\n", quoted(&pin)));
            }
        }
    }
    text
}

/// Whether the central has heard an answer of the node. One that connects to the node says so by a session that is
/// stored, or by a connection that stays for `LASTS` questions: who has no session is cut off.
fn is_joined(node: &Node, lasting: &mut (Option<u16>, usize)) -> bool {
    match node.word.kind {
        JoinedKind::PushZmq => {
            let process = history_store::holder(&node.places.database);
            let peer = process.and_then(|process| accepted_on(process, node.word.port));
            *lasting = if peer.is_some() && peer == lasting.0 { (peer, lasting.1 + 1) } else { (peer, 0) };
            lasting.1 >= LASTS || history_store::newest_session(&node.places.database) > node.session
        }
        _ => joining::has_answered(&node.word, &node.keys, &node.token),
    }
}

/// Waits for the first PONG; `ended` says why to wait no longer.
fn wait(node: &Node, mut ended: impl FnMut() -> Option<String>) -> Result<(), String> {
    let start = clock::monotonic();
    let mut lasting = (None, 0);
    loop {
        if is_joined(node, &mut lasting) {
            return Ok(());
        }
        if let Some(text) = ended() {
            return Err(text);
        }
        if clock::monotonic().since(start) > PATIENCE {
            let seconds = PATIENCE.as_secs();
            let more = match node.word.kind {
                JoinedKind::PushZmq => format!(
                    "the central has not connected to port {} of this machine: compare --address of 'stheno node add', \
                     and firewalls; or the word was used already",
                    node.word.port
                ),
                _ => "the central has heard no answer of this node".to_owned(),
            };
            let config = node.places.config.display();
            return Err(format!(
                "not joined within {seconds} s, the daemon goes on: {more}; 'stheno doctor --config {config}' looks \
                 for the cause"
            ));
        }
        thread::sleep(ASK_EVERY);
    }
}

/// Stays as the daemon, and says when it has joined.
fn stay(node: Node) -> ExitCode {
    let options = RunOptions {
        config_path: node.places.config.clone(),
        logfile: None,
        vault: super::arguments::DEFAULT_VAULT.into(),
        severity: None,
        log_format: None,
    };
    thread::spawn(move || match wait(&node, || None) {
        Ok(()) => {
            say("joined\n");
        }
        Err(text) => complain(&text),
    });
    run::run(&options)
}

/// Starts the service or a daemon in the background, and waits until it has joined.
fn start(node: &Node) -> ExitCode {
    let has_systemd = Path::new("/run/systemd/system").is_dir();
    let done = if node.places.is_packaged && has_systemd {
        let enabled = Command::new("systemctl").args(["enable", "--now", SERVICE]).stdin(Stdio::null()).status();
        match enabled {
            Ok(status) if status.success() => wait(node, || None),
            Ok(_) => Err(format!("'systemctl enable --now {SERVICE}' failed: 'journalctl -u {SERVICE}' says why")),
            Err(error) => Err(format!("systemctl cannot be run: {error}")),
        }
    } else {
        spawn(node).and_then(|mut child| wait(node, || ended(&mut child, node)))
    };
    match done {
        Ok(()) => say("joined\n"),
        Err(text) => fail(&text),
    }
}

fn ended(child: &mut Child, node: &Node) -> Option<String> {
    let status = child.try_wait().ok().flatten()?;
    Some(format!("the daemon has ended ({status}): {} says why", node.places.log.display()))
}

fn spawn(node: &Node) -> Result<Child, String> {
    let places = &node.places;
    let failed = |error: std::io::Error| format!("{}: cannot be written: {error}", places.log.display());
    if let Some(directory) = places.log.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    let log = File::options().create(true).append(true).open(&places.log).map_err(failed)?;
    let child = Command::new("/proc/self/exe")
        .arg("run")
        .arg("--config")
        .arg(&places.config)
        .arg("--logfile")
        .arg(&places.log)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        // Ctrl-C in this terminal is not for it.
        .process_group(0)
        .spawn();
    child.map_err(|error| format!("the daemon cannot be started: {error}"))
}

//! `stheno demo`: starts a central and one node of each kind (by SSH on request) as real processes, and runs a command
//! on each node through the REST API.
//!
//! It works like a real platform: keys from `keys generate`, YAML files, four processes of `run --config`, HTTP from
//! outside. It uses no internal functions of the daemon.

mod api;
#[cfg(feature = "centreon")]
mod central;
mod certificate;
mod files;
mod ssh_host;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use crate::edge::signals::{Signal, Signals};
use crate::edge::{clock, system};

use super::arguments::DemoOptions;
use api::Api;
use files::{CENTRAL, DaemonFiles, Plan};

/// The command to run on each node.
const COMMAND: &str = "echo \"hello from process $$ below process $PPID\"";
/// Time limit in ms for the start of the daemons, and for each command.
const PATIENCE_MS: u64 = 15_000;
/// Time limit in ms with other programs, which may be emulated.
const LONG_PATIENCE_MS: u64 = 120_000;
/// Interval between two checks for a change by another process.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Runs the demo and returns the exit status. It prints progress to stderr and results to stdout.
#[must_use]
pub(super) fn run(options: DemoOptions) -> ExitCode {
    match play(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            progress(&format!("demo: {text}"));
            ExitCode::FAILURE
        }
    }
}

fn play(options: DemoOptions) -> Result<(), String> {
    // Signals are handled first, so that Ctrl-C always stops the children and removes the folder.
    system::keep_inherited_descriptors();
    let mut signals = Signals::open().map_err(|error| format!("signals cannot be caught: {error}"))?;
    if options.ssh && !cfg!(feature = "ssh") {
        return Err("--ssh: push_ssh needs a build with ssh".to_owned());
    }
    if options.whole_central {
        return play_central(&options, &mut signals);
    }
    let mut demo = Demo::new(&options)?;
    progress(&format!("making keys and configuration files in {}", demo.folder.display()));
    let mut plan = files::write(&demo.program, &demo.folder, options.ssh)?;
    if !plan.uses_tls {
        progress("openssl is not installed, so there is no certificate and the pullwss node connects without TLS");
    }
    match &mut plan.ssh {
        Some(host) => {
            progress(&format!("starting sshd of our own for a node without a daemon, on port {}", host.port));
            demo.start_program("sshd", host.command())?;
        }
        None if options.ssh => {
            progress(
                "sshd or ssh-keygen is not installed, so there is no node by SSH (Debian: apt-get install \
                    openssh-server)",
            );
        }
        None => {}
    }
    for daemon in &plan.daemons {
        let player = demo.player(daemon).map_or("stheno".to_owned(), |words| words.join(" "));
        progress(&format!("starting {}: {player} run --config {}", daemon.name, daemon.config.display()));
        demo.start(daemon)?;
    }
    let api = Api::new(plan.api_port);
    let mut ids: Vec<u64> = plan.daemons.iter().map(|daemon| daemon.id).filter(|id| *id != CENTRAL).collect();
    ids.extend(plan.ssh.iter().map(|_| ssh_host::NODE));
    demo.wait_for_nodes(&mut signals, &api, &ids)?;
    table_line("node", "code", "what");
    for daemon in &plan.daemons {
        demo.round_trip(&mut signals, &api, daemon.id, daemon.id)?;
    }
    if plan.ssh.is_some() {
        // Such a host has no history; its rows are in the central's.
        demo.round_trip(&mut signals, &api, ssh_host::NODE, CENTRAL)?;
    }
    if !options.once {
        describe(&demo.folder, &api, &plan);
        demo.stay_up(&mut signals)?;
    }
    Ok(())
}

/// Runs `demo --central`.
#[cfg(feature = "centreon")]
fn play_central(options: &DemoOptions, signals: &mut Signals) -> Result<(), String> {
    let mut demo = Demo::new(options)?;
    let platform = central::play(&mut demo, signals)?;
    if !options.once {
        central::describe(&platform, &demo.folder);
        demo.stay_up(signals)?;
    }
    Ok(())
}

/// Fails, because this build has no support for a database.
#[cfg(not(feature = "centreon"))]
fn play_central(_: &DemoOptions, _: &mut Signals) -> Result<(), String> {
    Err("--central needs a build with the feature 'centreon'".to_owned())
}

/// The running demo; dropping it stops the children and removes the folder.
struct Demo {
    program: PathBuf,
    folder: PathBuf,
    keep: bool,
    /// Command that replaces this program as the central; empty for none.
    central: Vec<String>,
    nodes: Vec<String>,
    children: Vec<(String, PathBuf, Child)>,
}

impl Demo {
    fn new(options: &DemoOptions) -> Result<Self, String> {
        let program =
            std::env::current_exe().map_err(|error| format!("this program's own file is unknown: {error}"))?;
        let folder = std::env::temp_dir().join(format!("stheno-demo-{}", std::process::id()));
        // The folder will hold private keys. An existing one could have been prepared by an attacker.
        let made = fs::DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(|error| {
            format!("{} cannot be made: {error}; set TMPDIR to a folder you can write to", folder.display())
        })?;
        let words = |command: &Option<String>| -> Vec<String> {
            command.iter().flat_map(|command| command.split_whitespace()).map(str::to_owned).collect()
        };
        let (central, nodes) = (words(&options.central), words(&options.nodes));
        Ok(Self { program, folder, keep: options.keep, central, nodes, children: Vec::new() })
    }

    /// Returns the command that replaces this program for a daemon, if any.
    fn player(&self, daemon: &DaemonFiles) -> Option<&[String]> {
        let words = if daemon.id == CENTRAL { &self.central } else { &self.nodes };
        (!words.is_empty()).then_some(words.as_slice())
    }

    fn patience_ms(&self) -> u64 {
        if self.central.is_empty() && self.nodes.is_empty() { PATIENCE_MS } else { LONG_PATIENCE_MS }
    }

    fn start(&mut self, daemon: &DaemonFiles) -> Result<(), String> {
        let output = self.folder.join(format!("{}.out", daemon.name));
        let failed = |error: std::io::Error| format!("{} does not start: {error}", daemon.name);
        let out = fs::File::create(&output).map_err(failed)?;
        let mut command = match self.player(daemon) {
            Some([program, words @ ..]) => {
                let mut command = Command::new(program);
                command.args(words);
                command
            }
            _ => Command::new(&self.program),
        };
        command.arg("run").arg("--config").arg(&daemon.config).arg("--logfile").arg(&daemon.log);
        command.stdin(Stdio::null()).stdout(out.try_clone().map_err(failed)?).stderr(out);
        // Children are in separate process groups, so that Ctrl-C reaches only us, and we stop them.
        command.process_group(0);
        self.children.push((daemon.name.clone(), output, command.spawn().map_err(failed)?));
        Ok(())
    }

    /// Keeps the platform running until Ctrl-C.
    fn stay_up(&mut self, signals: &mut Signals) -> Result<(), String> {
        progress("running until Ctrl-C");
        while !stop_asked(signals) {
            self.check_children()?;
            thread::sleep(LOOK_EVERY * 4);
        }
        progress("stopping");
        Ok(())
    }

    /// Starts an additional program: an sshd, a database, an engine.
    fn start_program(&mut self, name: &str, mut command: Command) -> Result<(), String> {
        let output = self.folder.join(format!("{}.out", name.replace(' ', "-")));
        let failed = |error: std::io::Error| format!("{name} does not start: {error}");
        let out = fs::File::create(&output).map_err(failed)?;
        command.stdin(Stdio::null()).stdout(out.try_clone().map_err(failed)?).stderr(out).process_group(0);
        self.children.push((name.to_owned(), output, command.spawn().map_err(failed)?));
        Ok(())
    }

    /// Returns an error with the last lines of a daemon's log if the daemon has ended.
    fn check_children(&mut self) -> Result<(), String> {
        for (name, output, child) in &mut self.children {
            if let Ok(Some(status)) = child.try_wait() {
                let said = fs::read_to_string(output).unwrap_or_default();
                return Err(format!("{name} ended by itself ({status}); it said:\n{}", said.trim_end()));
            }
        }
        Ok(())
    }

    /// Calls `look` repeatedly until it returns a value.
    fn wait<T>(&mut self, signals: &mut Signals, what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, String> {
        let end_ms = clock::monotonic().as_millis().saturating_add(self.patience_ms());
        loop {
            if let Some(value) = look() {
                return Ok(value);
            }
            self.check_children()?;
            if stop_asked(signals) {
                return Err("interrupted".to_owned());
            }
            if clock::monotonic().as_millis() >= end_ms {
                self.keep = true;
                let folder = self.folder.display();
                let patience_ms = self.patience_ms();
                return Err(format!("{what} did not happen within {patience_ms} ms; the logs are kept in {folder}"));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn wait_for_nodes(&mut self, signals: &mut Signals, api: &Api, ids: &[u64]) -> Result<(), String> {
        progress("waiting for the API and for the first pong of each node");
        let start_ms = clock::monotonic().as_millis();
        let all_alive = || {
            let alive = api.alive_nodes()?;
            ids.iter().all(|id| alive.contains(id)).then_some(())
        };
        self.wait(signals, "a pong of every node", all_alive)?;
        let passed_ms = clock::monotonic().as_millis().saturating_sub(start_ms);
        progress(&format!("all nodes are alive after {passed_ms} ms"));
        Ok(())
    }

    /// Runs the command on one node and prints each row as it arrives in the history of `rows_of`.
    fn round_trip(&mut self, signals: &mut Signals, api: &Api, node: u64, rows_of: u64) -> Result<(), String> {
        let token = self.wait(signals, "a token for the command", || api.command(node, COMMAND))?;
        let mut shown = 0;
        let finished = || {
            let rows = api.rows(rows_of, &token)?;
            for row in rows.iter().skip(shown) {
                table_line(&node.to_string(), &row.code.to_string(), &row.text);
            }
            shown = shown.max(rows.len());
            rows.iter().any(|row| row.is_last).then_some(())
        };
        self.wait(signals, &format!("the end of the command on node {node}"), finished)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        for (name, _, child) in &mut self.children {
            // The process is killed, which loses no data.
            if let Err(error) = child.kill().and_then(|()| child.wait()) {
                progress(&format!("{name} cannot be stopped: {error}"));
            }
        }
        if self.keep {
            progress(&format!("the files are kept in {}", self.folder.display()));
        } else if let Err(error) = fs::remove_dir_all(&self.folder) {
            progress(&format!("{} is left behind: {error}", self.folder.display()));
        }
    }
}

fn stop_asked(signals: &mut Signals) -> bool {
    signals.read().contains(&Signal::Stop)
}

/// Prints what the user can try next.
fn describe(folder: &Path, api: &Api, plan: &Plan) {
    let url = api.url();
    let node = plan.daemons.last().map_or(CENTRAL, |daemon| daemon.id);
    print(&format!(
        "\nStatus page of the central\n  {url}/\n\nREST API of the central\n  {url}/api/internal/constatus\n  \
         {url}/api/internal/information\n  \
         {url}/api/log/<token>\n\nTry it\n  curl {url}/api/internal/constatus\n  \
         curl -d '[{{\"command\":\"uptime\"}}]' '{url}/api/nodes/{node}/core/action/command?log_wait=5000000'\n\
         \nFiles in {}",
        folder.display()
    ));
    for daemon in &plan.daemons {
        let (name, place) = (&daemon.name, &daemon.place);
        print(&format!("  {name:<8}  {name}.yaml, {name}.log, {name}.sdb, keys/{name}/   {place}"));
    }
    if let Some(host) = &plan.ssh {
        print(&format!("  {:<8}  ssh/   node {}, no daemon, {}", "sshd", ssh_host::NODE, host.place()));
    }
}

fn table_line(node: &str, code: &str, what: &str) {
    print(&format!("{node:>4}  {code:>4}  {what}"));
}

/// Prints a line to stdout. Errors are ignored, so that the children are stopped even if the reader is gone.
fn print(line: &str) {
    let _nobody_reads = writeln!(std::io::stdout(), "{line}");
}

/// Prints a line to stderr.
fn progress(line: &str) {
    let _nobody_reads = writeln!(std::io::stderr(), "{line}");
}

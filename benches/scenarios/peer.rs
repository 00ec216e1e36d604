//! The command that starts the daemon which is measured: our own program, or another one that takes its place
//! (`--peer`).

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

static PEER: OnceLock<String> = OnceLock::new();

/// From now on daemons are started by this shell command. `{config}` and `{logfile}` in it stand for the two files;
/// without them the options `--config=FILE --logfile=FILE --severity=error` are appended.
pub fn set(command: String) {
    // Set once, by the command line.
    PEER.set(command).unwrap_or_default();
}

/// The command of another daemon, where one is measured.
#[must_use]
pub fn get() -> Option<&'static str> {
    PEER.get().map(String::as_str)
}

/// What starts the daemon whose files are in `directory`.
#[must_use]
pub fn command(directory: &Path) -> Command {
    let (config, logfile) = (directory.join("config.yaml"), directory.join("daemon.log"));
    let Some(peer) = get() else {
        let mut command = Command::new(directory.join("stheno"));
        command.arg("run").arg("--config").arg(config).arg("--logfile").arg(logfile);
        return command;
    };
    let mut line = format!("exec {peer}");
    if !peer.contains("{config}") {
        line.push_str(" --config={config} --logfile={logfile} --severity=error");
    }
    let line = line.replace("{config}", &quoted(&config)).replace("{logfile}", &quoted(&logfile));
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).current_dir(directory);
    command
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

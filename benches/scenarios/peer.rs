//! The command that starts the measured daemon: our program, or another one that replaces it (`--peer`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

static PEER: OnceLock<String> = OnceLock::new();

/// Sets the shell command that starts daemons from now on. `{config}` and `{logfile}` in it are replaced by the two
/// files; without them the options `--config=FILE --logfile=FILE --severity=error` are appended.
pub fn set(command: String) {
    // This is called only once, for the command line.
    PEER.set(command).unwrap_or_default();
}

static BESIDE: OnceLock<PathBuf> = OnceLock::new();

/// Also measures another build of ours, where a scenario can (`--beside FILE`).
pub fn set_beside(program: String) {
    BESIDE.get_or_init(|| program.into());
}

/// Returns the other build of ours, if there is one.
#[must_use]
pub fn beside() -> Option<&'static Path> {
    BESIDE.get().map(PathBuf::as_path)
}

/// Returns the command of another daemon, if one is measured.
#[must_use]
pub fn get() -> Option<&'static str> {
    PEER.get().map(String::as_str)
}

/// Returns the command that starts the daemon with the files in `directory`.
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

//! A throw-away sshd for `demo --ssh`: the machine's own program with a configuration, keys and a port of the demo's.
//! Without that program there is no such node in the demo; everything else works. Out of scope: PAM, passwords,
//! any file of the system's sshd or of the user's `~/.ssh`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Id of the node.
pub(super) const NODE: u64 = 5;
/// Where systems keep the program, which is in nobody's `PATH` but root's.
const PLACES: [&str; 5] =
    ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd", "/usr/local/bin/sshd", "/usr/bin/sshd"];
/// Started as root, sshd wants this directory, which the system makes only for its service.
const PRIVILEGE_SEPARATION: &str = "/run/sshd";

/// The host and its files, all in the demo's folder.
pub(super) struct SshHost {
    /// Where it listens.
    pub(super) port: u16,
    /// The program.
    program: PathBuf,
    folder: PathBuf,
    /// A directory of the system that was made for it.
    made: Option<PathBuf>,
}

/// Makes the keys and the configuration; `None` where sshd or `ssh-keygen` is not installed.
///
/// # Errors
/// A file cannot be made.
pub(super) fn make(folder: &Path, port: u16) -> Result<Option<SshHost>, String> {
    let Some(program) = PLACES.iter().map(PathBuf::from).find(|path| path.is_file()) else { return Ok(None) };
    let folder = folder.join("ssh");
    fs::create_dir_all(&folder).map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
    let host = SshHost { port, program, folder, made: None };
    for key in [host.host_key(), host.identity()] {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-C", "stheno demo", "-f"]).arg(&key).stdin(Stdio::null());
        match command.output() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("ssh-keygen: {error}")),
            Ok(output) if !output.status.success() => {
                return Err(format!("ssh-keygen: {}", String::from_utf8_lossy(&output.stderr).trim_end()));
            }
            Ok(_) => {}
        }
    }
    let public = host.read(&host.host_key().with_extension("pub"))?;
    host.write("known_hosts", &format!("[127.0.0.1]:{port} {public}"))?;
    let own = host.read(&host.identity().with_extension("pub"))?;
    host.write("authorized_keys", &own)?;
    host.write("sshd_config", &host.configuration())?;
    Ok(Some(host))
}

impl SshHost {
    fn host_key(&self) -> PathBuf {
        self.folder.join("host_key")
    }

    fn identity(&self) -> PathBuf {
        self.folder.join("identity")
    }

    fn read(&self, path: &Path) -> Result<String, String> {
        fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.folder.join(name);
        fs::write(&path, text).map_err(|error| format!("{} cannot be written: {error}", path.display()))
    }

    fn configuration(&self) -> String {
        let quoted = |path: PathBuf| format!("\"{}\"", path.display());
        format!(
            "Port {}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM \
                no\nStrictModes no\n\
             PermitRootLogin prohibit-password\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n",
            self.port,
            quoted(self.host_key()),
            quoted(self.folder.join("authorized_keys"))
        )
    }

    /// Its lines of the central's list of nodes; `path` writes a path for YAML.
    pub(super) fn entry(&self, path: impl Fn(&Path) -> String) -> String {
        format!(
            "  - id: {NODE}\n    type: push_ssh\n    address: 127.0.0.1\n    ssh_port: {}\n    ssh_identity: {}\n    \
             ssh_directory: {}\n    ssh_known_hosts: {}\n    strict_serverkey_check: true\n    prevail: 1\n",
            self.port,
            path(&self.identity()),
            path(&self.folder),
            path(&self.folder.join("known_hosts"))
        )
    }

    /// Where it is, for people.
    pub(super) fn place(&self) -> String {
        format!("listens on ssh://127.0.0.1:{}", self.port)
    }

    /// How it is started.
    pub(super) fn command(&mut self) -> Command {
        let directory = Path::new(PRIVILEGE_SEPARATION);
        // Only root can, and only root needs it.
        if !directory.exists() && fs::create_dir(directory).is_ok() {
            self.made = Some(directory.to_owned());
        }
        let mut command = Command::new(&self.program);
        command.arg("-D").arg("-f").arg(self.folder.join("sshd_config")).arg("-E").arg(self.folder.join("sshd.log"));
        command
    }
}

impl Drop for SshHost {
    fn drop(&mut self) {
        if let Some(directory) = &self.made {
            let _in_use = fs::remove_dir(directory);
        }
    }
}

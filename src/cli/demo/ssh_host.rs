//! A temporary sshd for `demo --ssh`: the installed program with a separate configuration, keys and port. Without that
//! program the demo has no such node; everything else works. It uses no PAM, no passwords, and no files of the system's
//! sshd or of the user's `~/.ssh`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Id of the node.
pub(super) const NODE: u64 = 5;
/// Paths of the program, whose directory is usually only in root's `PATH`.
const PLACES: [&str; 5] =
    ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd", "/usr/local/bin/sshd", "/usr/bin/sshd"];
/// Directory that sshd needs if started by root; the system creates it only for its service.
const PRIVILEGE_SEPARATION: &str = "/run/sshd";

/// The host and its files, all in the demo's folder.
pub(super) struct SshHost {
    /// TCP port of sshd.
    pub(super) port: u16,
    program: PathBuf,
    folder: PathBuf,
    /// A system directory that was created for sshd and must be removed.
    made: Option<PathBuf>,
}

/// Creates the keys and the configuration; `None` if sshd or `ssh-keygen` is not installed.
///
/// # Errors
/// A file cannot be created.
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

    /// Returns its entry in the central's register file; `path` writes a path for YAML.
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

    /// Returns the address for display.
    pub(super) fn place(&self) -> String {
        format!("listens on ssh://127.0.0.1:{}", self.port)
    }

    /// Returns the command that starts sshd.
    pub(super) fn command(&mut self) -> Command {
        let directory = Path::new(PRIVILEGE_SEPARATION);
        // Only root needs the directory, and only root can create it.
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

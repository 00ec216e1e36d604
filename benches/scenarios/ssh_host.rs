//! OpenSSH's sshd for the measurements, with a separate port, keys and configuration, without PAM, and with a high
//! limit of sessions; and OpenSSH's client over one persistent connection, for the floors.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;

const SSHD: &str = "/usr/sbin/sshd";
const PATIENCE: Duration = Duration::from_secs(20);

/// A running sshd, which ends when dropped.
pub struct SshHost {
    child: Child,
    directory: PathBuf,
    port: u16,
}

impl SshHost {
    /// Starts sshd with additional lines of `sshd_config`.
    ///
    /// # Errors
    /// sshd is not installed or does not start.
    pub fn start(lines: &str) -> Outcome<Self> {
        static RUNS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let run = RUNS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}-ssh-{run}", std::process::id()));
        fs::create_dir_all(&directory)?;
        // sshd needs this directory if started by root; the package creates it only for its service.
        fs::create_dir_all("/run/sshd").unwrap_or_default();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        for name in ["host_key", "identity"] {
            keygen(&directory.join(name), &[])?;
        }
        fs::copy(directory.join("identity.pub"), directory.join("authorized_keys"))?;
        let host_key = fs::read_to_string(directory.join("host_key.pub"))?;
        fs::write(directory.join("known_hosts"), format!("[127.0.0.1]:{port} {host_key}"))?;
        let shown = directory.display();
        // When started by sshd, bash reads the user's ~/.bashrc, unless it seems to run inside another shell. The cost
        // of that should not be measured.
        fs::write(
            directory.join("sshd_config"),
            format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {shown}/host_key\nAuthorizedKeysFile {shown}/authorized_keys\n\
                 PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nMaxStartups 1000\nLoginGraceTime 120\nSetEnv SHLVL=2\n\
                 Subsystem sftp internal-sftp\n{lines}"
            ),
        )?;
        let child = Command::new(SSHD)
            .arg("-D")
            .arg("-f")
            .arg(directory.join("sshd_config"))
            .arg("-E")
            .arg(directory.join("sshd.log"))
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("{SSHD} (Debian: apt-get install openssh-server): {error}"))?;
        let host = Self { child, directory, port };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begun.elapsed() > PATIENCE {
                let log = fs::read_to_string(host.directory.join("sshd.log")).unwrap_or_default();
                return Err(format!("sshd does not listen: {log}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(host)
    }

    /// Creates an additional accepted key with a passphrase; returns the lines of a register entry for it.
    ///
    /// # Errors
    /// The key cannot be created.
    pub fn sealed_identity(&self) -> Outcome<String> {
        let path = self.directory.join("sealed");
        keygen(&path, &["-N", "passphrase"])?;
        let keys = fs::read_to_string(self.directory.join("authorized_keys"))?
            + &fs::read_to_string(path.with_extension("pub"))?;
        fs::write(self.directory.join("authorized_keys"), keys)?;
        Ok(format!("    ssh_identity: {}\n    ssh_passphrase: passphrase\n", path.display()))
    }

    /// Returns the lines of a register entry for the host's key.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("    ssh_identity: {}/identity\n", self.directory.display())
    }

    /// Returns an entry of a register file, with the given lines for the login.
    #[must_use]
    pub fn node(&self, login: &str) -> String {
        let mut text = String::new();
        let (port, shown) = (self.port, self.directory.display());
        // Writing to a string cannot fail.
        write!(
            text,
            "    type: push_ssh\n    address: 127.0.0.1\n    ssh_port: {port}\n    ssh_directory: {shown}\n    \
             ssh_known_hosts: {shown}/known_hosts\n    strict_serverkey_check: true\n{login}"
        )
        .unwrap_or_default();
        text
    }

    /// Returns the directory of its files, which measurements may also use.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the command for OpenSSH's `ssh` or `sftp` over an open connection.
    #[must_use]
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let shown = self.directory.display();
        command.args(["-F", "/dev/null", "-o", "BatchMode=yes"]);
        command.arg("-o").arg(format!("UserKnownHostsFile={shown}/known_hosts"));
        command.arg("-o").arg(format!("ControlPath={shown}/master"));
        command.arg("-o").arg(format!("Port={}", self.port)).arg("-i").arg(self.directory.join("identity"));
        command
    }

    /// Opens the connection for [`Self::client`]; it is closed when the returned value is dropped.
    ///
    /// # Errors
    /// The connection cannot be opened.
    pub fn open_client(&self) -> Outcome<OpenClient> {
        let mut command = self.client("ssh");
        command.args(["-o", "ControlMaster=yes", "-N", "127.0.0.1"]).stdin(Stdio::null()).stdout(Stdio::null());
        let open = OpenClient(command.spawn()?);
        let begun = Instant::now();
        while !self.directory.join("master").exists() {
            if begun.elapsed() > PATIENCE {
                return Err("ssh opens no connection".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(open)
    }
}

/// A connection of OpenSSH's client.
pub struct OpenClient(Child);

impl Drop for OpenClient {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait().map(drop)).unwrap_or_default();
    }
}

impl Drop for SshHost {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait().map(drop)).unwrap_or_default();
        fs::remove_dir_all(&self.directory).unwrap_or_default();
    }
}

fn keygen(path: &Path, options: &[&str]) -> Outcome<()> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519"]).args(if options.is_empty() { &["-N", ""] } else { options });
    let status = command.arg("-f").arg(path).status()?;
    if status.success() { Ok(()) } else { Err("ssh-keygen failed".into()) }
}

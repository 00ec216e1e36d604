//! OpenSSH's sshd for a test: on a port of its own, with keys of its own, without PAM.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::platform::{Platform, free_port, seconds, until};

const SSHD: &str = "/usr/sbin/sshd";
const KINDS: [&str; 2] = ["ed25519", "rsa"];

pub struct Sshd {
    pub port: u16,
    folder: PathBuf,
    base: PathBuf,
    process: Child,
}

fn keygen(path: &Path, options: &[&str]) {
    let mut command = Command::new("ssh-keygen");
    command.arg("-q").args(options).arg("-f").arg(path);
    if !options.contains(&"-N") {
        command.args(["-N", ""]);
    }
    assert!(command.status().unwrap().success(), "ssh-keygen {options:?}");
}

impl Sshd {
    /// With lines of `sshd_config`; `no sftp` leaves the subsystem out.
    pub fn start(platform: &Platform, name: &str, lines: &[&str]) -> Self {
        // sshd needs this directory; the package creates it only for its service.
        let _exists = fs::create_dir_all("/run/sshd");
        let folder = platform.path(name);
        fs::create_dir(&folder).unwrap();
        let port = free_port();
        for kind in KINDS {
            keygen(&folder.join(kind), &["-t", kind]);
        }
        keygen(&folder.join("id"), &["-t", "ed25519"]);
        let authorized = folder.join("authorized");
        fs::copy(folder.join("id.pub"), &authorized).unwrap();
        // sshd uses the first of two lines with the same keyword.
        let own: String = lines.iter().filter(|line| **line != "no sftp").map(|line| format!("{line}\n")).collect();
        // With SHLVL, bash does not read the user's ~/.bashrc, which may take long.
        let mut config = format!(
            "{own}Port {port}\nListenAddress 127.0.0.1\nAuthorizedKeysFile {}\nUsePAM no\nStrictModes no\n\
             PermitRootLogin yes\nPasswordAuthentication no\nMaxStartups 100\nPidFile none\nSetEnv SHLVL=2\n",
            authorized.display()
        );
        for kind in KINDS {
            config.push_str(&format!("HostKey {}\n", folder.join(kind).display()));
        }
        if !lines.contains(&"no sftp") {
            config.push_str("Subsystem sftp internal-sftp\n");
        }
        // From OpenSSH 9.8 on, a source of cut connections is refused for a while; older ones do not know the line.
        fs::write(folder.join("config"), format!("PerSourcePenalties no\n{config}")).unwrap();
        let known = Command::new(SSHD).arg("-t").arg("-f").arg(folder.join("config")).stderr(Stdio::null()).status();
        if !known.expect("sshd: apt-get install openssh-server").success() {
            fs::write(folder.join("config"), config).unwrap();
        }
        let process = Self::run(&folder, port);
        let base = platform.path("");
        Self { port, folder, base, process }
    }

    fn run(folder: &Path, port: u16) -> Child {
        let mut command = Command::new(SSHD);
        command.arg("-D").arg("-f").arg(folder.join("config")).arg("-E").arg(folder.join("log"));
        let process = command.stdin(Stdio::null()).spawn().expect("sshd: apt-get install openssh-server");
        until("sshd listens", seconds(15), || TcpStream::connect(("127.0.0.1", port)).ok());
        process
    }

    /// Option lines of a node that logs in with the host's own key pair.
    pub fn node(&self, lines: &[String]) -> Vec<String> {
        let identity = format!("ssh_identity: {}", self.folder.join("id").display());
        let all = [identity, "ssh_directory: /nonexistent".to_owned()].into_iter().chain(lines.iter().cloned());
        self.bare_node(&all.collect::<Vec<_>>())
    }

    /// Option lines of a node without any way to log in.
    pub fn bare_node(&self, lines: &[String]) -> Vec<String> {
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        let mut all = vec![
            "address: 127.0.0.1".to_owned(),
            format!("ssh_port: {}", self.port),
            format!("ssh_username: {}", user.trim()),
        ];
        all.extend(lines.iter().cloned());
        all
    }

    /// A key that the host knows, at a path below the test's folder.
    pub fn make_key(&self, name: &str, options: &[&str]) -> PathBuf {
        let path = self.make(name, options);
        let public = fs::read_to_string(path.with_extension("pub")).unwrap();
        let authorized = self.folder.join("authorized");
        let known = fs::read_to_string(&authorized).unwrap();
        fs::write(&authorized, format!("{known}{public}")).unwrap();
        path
    }

    /// A key that the host does not know.
    pub fn make_stranger(&self, name: &str) -> PathBuf {
        self.make(name, &["-t", "ed25519"])
    }

    fn make(&self, name: &str, options: &[&str]) -> PathBuf {
        let path = self.base.join(name);
        keygen(&path, options);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// The public half of the key that opens.
    pub fn public_key(&self) -> String {
        fs::read_to_string(self.folder.join("id.pub")).unwrap()
    }

    /// Has an authority sign the host's key for any name.
    pub fn certify(&self, authority: &Path, certificate: &Path) {
        let mut command = Command::new("ssh-keygen");
        command.arg("-q").arg("-s").arg(authority).args(["-I", "host", "-h"]).arg(self.folder.join("ed25519.pub"));
        assert!(command.status().unwrap().success());
        fs::rename(self.folder.join("ed25519-cert.pub"), certificate).unwrap();
    }

    /// The same host with further lines of `sshd_config`.
    pub fn start_again(mut self, lines: &[String]) -> Self {
        self.stop();
        let file = self.folder.join("config");
        let config = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{}\n{config}", lines.join("\n"))).unwrap();
        self.process = Self::run(&self.folder, self.port);
        self
    }

    /// The line of a known-hosts file for one of its keys.
    pub fn known_hosts_line(&self, kind: &str) -> String {
        let key = fs::read_to_string(self.folder.join(format!("{kind}.pub"))).unwrap();
        format!("[127.0.0.1]:{} {key}", self.port)
    }

    /// Makes new host keys; the next start uses them.
    pub fn change_host_keys(&mut self) {
        for kind in KINDS {
            fs::remove_file(self.folder.join(kind)).unwrap();
            keygen(&self.folder.join(kind), &["-t", kind]);
        }
        self.process = Self::run(&self.folder, self.port);
    }

    /// The processes of its sessions. From OpenSSH 9.8 on a session of root has two, and lives on in the second one.
    fn sessions(&self) -> Vec<String> {
        let output = Command::new("ps").args(["-eo", "pid=,ppid=,comm="]).output().unwrap().stdout;
        let text = String::from_utf8(output).unwrap();
        let processes: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let mut found = vec![self.process.id().to_string()];
        let mut next = 0;
        while let Some(parent) = found.get(next).cloned() {
            let children = processes.iter().filter(|of| of[1] == parent && of[2].starts_with("sshd"));
            found.extend(children.map(|of| of[0].to_owned()));
            next += 1;
        }
        found.split_off(1)
    }

    pub fn has_sessions(&self) -> bool {
        !self.sessions().is_empty()
    }

    /// Kills all sessions.
    pub fn kill_sessions(&self) {
        assert!(Command::new("kill").arg("-9").args(self.sessions()).status().unwrap().success());
    }

    /// Stops the listener and ends all sessions.
    pub fn stop(&mut self) {
        let sessions = self.sessions();
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let _gone = Command::new("kill").arg("-9").args(sessions).stderr(Stdio::null()).status();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.stop();
        }
    }
}

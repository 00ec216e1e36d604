//! Nodes that are reached by SSH, as values: targets, tasks and results (docs/protocol.md section 10).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::copy::{CopyKind, SinkId, SourceSpec};
use super::secret::Secret;

/// How the key of a host is checked (`strict_serverkey_check`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostKeyCheck {
    /// `true`: the key must be known.
    Strict,
    /// `false` or absent: the first key is remembered, and a change is refused.
    #[default]
    First,
    /// `never`: every key is accepted.
    Never,
}

/// How a node is reached by SSH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshTarget {
    /// Host name or address (without brackets).
    pub host: String,
    /// Port of its sshd.
    pub port: u16,
    /// User for the login; empty for the user of the daemon.
    pub username: String,
    /// Password for password and keyboard-interactive authentication.
    pub password: Option<Secret>,
    /// Folder of keys and `known_hosts`; `None` for `~/.ssh` of the daemon's user.
    pub directory: Option<PathBuf>,
    /// Known-hosts file in OpenSSH's format. Accepted keys are added to it.
    pub known_hosts: Option<PathBuf>,
    /// Private key that is tried first.
    pub identity: Option<PathBuf>,
    /// Passphrase of encrypted private keys.
    pub passphrase: Option<Secret>,
    /// See [`HostKeyCheck`].
    pub host_key_check: HostKeyCheck,
    /// Time limit for the TCP connection, and again for the key exchange.
    pub connect_timeout: Duration,
    /// Whether to also offer algorithms that are no longer considered safe, if the library has them.
    pub legacy_algorithms: bool,
}

/// Port of an sshd.
pub const DEFAULT_PORT: u16 = 22;
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl SshTarget {
    /// A host with defaults for everything else. An empty `username` stands for the user of the daemon.
    #[must_use]
    pub const fn new(host: String, port: u16, username: String) -> Self {
        Self {
            host,
            port,
            username,
            password: None,
            directory: None,
            known_hosts: None,
            identity: None,
            passphrase: None,
            host_key_check: HostKeyCheck::First,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            legacy_algorithms: false,
        }
    }

    /// The host in the form of known-hosts files: `host`, or `[host]:port` if the port is not 22.
    #[must_use]
    pub fn known_as(&self) -> String {
        if self.port == 22 { self.host.clone() } else { format!("[{}]:{}", self.host, self.port) }
    }
}

impl fmt::Display for SshTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.username.is_empty() { "" } else { "@" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(formatter, "ssh://{}{at}{open}{}{close}:{}", self.username, self.host, self.port)
    }
}

/// Number of a task on a host, unique in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SshTaskId(pub u64);

/// A command for the login shell of the host. Holds a command line: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SshCommand {
    pub line: String,
    /// Time limit.
    pub timeout: Duration,
    /// Time without output after which it is ended.
    pub timeout_nodata: Duration,
    /// Maximum number of bytes kept of stdout and stderr together. The rest is read and dropped.
    pub output_limit: usize,
    /// Whether it goes before all waiting tasks (pings).
    pub is_urgent: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadSource {
    /// A file, or a directory that is packed.
    Local(SourceSpec),
    /// A gathered copy for the host.
    Gathered(SinkId, CopyKind),
}

/// A copy of a file or a directory to the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshUpload {
    pub source: UploadSource,
    /// The path of a file there, absolute or relative to the home directory.
    pub destination: String,
    /// The temporary name, before the rename.
    pub temporary: String,
    /// The path of a packed directory there.
    pub archive: String,
    /// The temporary name, before the rename.
    pub archive_temporary: String,
    /// Permissions of the file there; `None` for those of the source.
    pub mode: Option<u32>,
}

/// A task on a host.
#[derive(Clone, PartialEq, Eq)]
pub enum SshTask {
    Run(SshCommand),
    /// Write lines to an existing named pipe.
    Submit {
        pipe: String,
        /// The lines, without their newlines.
        lines: Vec<String>,
    },
    /// Write a small file.
    Write {
        path: String,
        content: String,
        /// Its permissions.
        mode: u32,
    },
    /// Copy a file.
    Upload(Box<SshUpload>),
}

impl SshTask {
    /// Whether it uses SFTP.
    #[must_use]
    pub const fn is_transfer(&self) -> bool {
        !matches!(self, Self::Run(_))
    }
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SshExit {
    /// With this exit status.
    Status(i32),
    /// A signal ended it, named without `SIG`.
    Signal(String),
}

/// The outcome of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshRun {
    /// How it ended.
    pub exit: SshExit,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// Whether either was cut.
    pub output_cut: bool,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SshEnd {
    /// The command ended by itself.
    Ran(SshRun),
    /// The command ran too long.
    TimedOut,
    /// The command printed nothing for too long.
    Silent,
    /// Everything is written.
    Done,
    /// A file or a packed directory was copied, with its size in bytes.
    Copied(CopyKind, u64),
    /// This number of lines went into the pipe, then this error occurred.
    SubmittedInPart(usize, String),
    /// The host answers but refuses the task, for this reason.
    Refused(String),
    /// The pipe or the file cannot be used, or the connection broke, for this reason.
    Failed(String),
    /// There was no connection, so the task did not begin, for this reason.
    NotConnected(String),
}

/// What is known about the key of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKeyReport {
    /// The type, such as `ssh-ed25519`.
    pub kind: String,
    /// `SHA256:…` in the form of `ssh-keygen -l`.
    pub fingerprint: String,
    /// Its line for a known-hosts file.
    pub line: String,
    /// What the known hosts say about it.
    pub verdict: HostKeyVerdict,
    /// Where the known hosts name a certificate authority for the host (`FILE, line N`). It is not used.
    pub authority: Option<String>,
}

/// What the known hosts say about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostKeyVerdict {
    Known,
    /// The host is unknown.
    Unknown,
    /// Another key is known, in this place (`FILE, line N`, or `the database`).
    Changed(String),
    /// The key is marked as revoked in this place.
    Revoked(String),
    /// The known hosts cannot be read, for this reason.
    Unreadable(String),
}

/// An order for a session of the library.
#[derive(Clone, PartialEq, Eq)]
pub enum SshOrder {
    /// Begin with banner and key exchange.
    Open {
        target: Box<SshTarget>,
        /// Known-hosts lines from the database.
        remembered: Vec<String>,
        /// Whether the host gives only one channel in the life of a connection, so that a channel is opened only for a
        /// task.
        is_sparing: bool,
    },
    /// Accept the key of the host and log in. If there is a line, add it to the known-hosts file first.
    Trust {
        /// The line to add.
        add: Option<String>,
    },
    Start(SshTaskId, SshTask),
    /// Abort a task and end what it runs on the host. Nothing more is reported about it.
    Abort(SshTaskId),
    /// Send a keep-alive, so that routers on the way do not forget the connection.
    KeepAlive,
}

/// News from a session of the library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SshNews {
    /// The key exchange is done.
    HostKey(HostKeyReport),
    /// A text for the log. It never holds a secret.
    Notice(String),
    /// The login succeeded, by this method.
    LoggedIn(String),
    /// The host cannot run several commands in one session.
    OneCommandAtATime,
    /// The host refused every login method that we have. Says what was tried and why each failed.
    LoginRefused(String),
    /// Bytes arrived from the host.
    Heard,
    /// The host was asked to do a task. A begun task without this news has not reached the host.
    Asked(SshTaskId),
    /// Bytes arrived for a task.
    Moved(SshTaskId),
    /// The host gives no channel for a task although only other tasks have channels. The task goes back to its owner.
    NoChannel {
        id: SshTaskId,
        /// The reason in the words of the library.
        reason: String,
        /// Whether the connection has had a channel before.
        had_one: bool,
    },
    Ended(SshTaskId, SshEnd),
    /// The session and all its tasks have ended, for this reason.
    Closed(String),
    /// The host takes no connections now, or has no algorithm in common with us, as the text says.
    TurnedAway(String),
}

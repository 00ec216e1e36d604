//! Nodes that are reached by SSH, as values: where they are, what is to be done there, and what came of it
//! (docs/protocol.md section 10).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::copy::{CopyKind, SinkId, SourceSpec};

/// A password or passphrase. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a secret.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("…")
    }
}

/// What is done about the key of a host (`strict_serverkey_check`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostKeyCheck {
    /// `true`: it must be known.
    Strict,
    /// `false` or absent: the first one is remembered, a change is refused.
    #[default]
    First,
    /// `never`: every key is taken.
    Never,
}

/// How a node is reached by SSH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshTarget {
    /// Host name or address (without brackets).
    pub host: String,
    /// Port of its sshd.
    pub port: u16,
    /// Whom we log in as; empty for the user of the daemon.
    pub username: String,
    /// For password and keyboard-interactive authentication.
    pub password: Option<Secret>,
    /// Where keys and `known_hosts` are looked for; `None` for `~/.ssh` of the daemon's user.
    pub directory: Option<PathBuf>,
    /// Known hosts in OpenSSH's format; keys that are accepted are added here.
    pub known_hosts: Option<PathBuf>,
    /// The private key that is tried first.
    pub identity: Option<PathBuf>,
    /// Opens encrypted private keys.
    pub passphrase: Option<Secret>,
    /// See [`HostKeyCheck`].
    pub host_key_check: HostKeyCheck,
    /// For the TCP connection, and once more for the key exchange.
    pub connect_timeout: Duration,
    /// Also offer algorithms that are no longer considered safe, as far as the library has them.
    pub legacy_algorithms: bool,
}

/// Port of an sshd.
pub const DEFAULT_PORT: u16 = 22;
/// Where nothing else is configured.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl SshTarget {
    /// A host of which nothing else is said; an empty `username` stands for the user of the daemon.
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

    /// The host as known-hosts files write it: `host`, or `[host]:port` where the port is not 22.
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

/// One piece of work on a host; never used twice in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SshTaskId(pub u64);

/// A command for the login shell of the host. Holds a command line: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SshCommand {
    /// The line.
    pub line: String,
    /// It is ended after this time.
    pub timeout: Duration,
    /// Silence on its outputs after which it is ended.
    pub timeout_nodata: Duration,
    /// Bytes of stdout and stderr together that are kept; the rest is read and dropped.
    pub output_limit: usize,
    /// Goes before all that waits (pings).
    pub is_urgent: bool,
}

/// Where the bytes of an upload come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadSource {
    /// A file, or a directory that is packed.
    Local(SourceSpec),
    /// What came in pieces for the host.
    Gathered(SinkId, CopyKind),
}

/// A file or a directory that is copied to the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshUpload {
    /// What is copied.
    pub source: UploadSource,
    /// The name of a file there, absolute or relative to the home directory.
    pub destination: String,
    /// Written under this name first, then renamed.
    pub temporary: String,
    /// The name of a packed directory there.
    pub archive: String,
    /// Written under this name first, then renamed.
    pub archive_temporary: String,
    /// Permissions of a file there; `None` for those of the source.
    pub mode: Option<u32>,
}

/// What is to be done on a host.
#[derive(Clone, PartialEq, Eq)]
pub enum SshTask {
    /// Run a command.
    Run(SshCommand),
    /// Write lines to a named pipe that exists.
    Submit {
        /// The pipe.
        pipe: String,
        /// Each is written with a line break behind it.
        lines: Vec<String>,
    },
    /// Make a small file.
    Write {
        /// Its name.
        path: String,
        /// Its content.
        content: String,
        /// Its permissions.
        mode: u32,
    },
    /// Copy a file.
    Upload(Box<SshUpload>),
}

impl SshTask {
    /// Whether it goes over SFTP.
    #[must_use]
    pub const fn is_transfer(&self) -> bool {
        !matches!(self, Self::Run(_))
    }
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SshExit {
    /// With this status.
    Status(i32),
    /// A signal ended it, named without `SIG`.
    Signal(String),
}

/// The outcome of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshRun {
    /// How it ended.
    pub exit: SshExit,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it complained of.
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
    /// All is written.
    Done,
    /// A file, or a packed directory, is there; with the bytes of it.
    Copied(CopyKind, u64),
    /// So many lines went into the pipe, then this went wrong.
    SubmittedInPart(usize, String),
    /// The host answers, but does no such thing; says what is wrong.
    Refused(String),
    /// The pipe or the file cannot be used, or the connection broke; says what is wrong.
    Failed(String),
    /// There is no connection, so it was not begun; says why.
    NotConnected(String),
}

/// What is known of a host's key before it is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKeyReport {
    /// `ssh-ed25519` and so on.
    pub kind: String,
    /// `SHA256:…` as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// The line for a known-hosts file.
    pub line: String,
    /// What the known hosts say.
    pub verdict: HostKeyVerdict,
    /// Where the known hosts name an authority whose certificates would speak for the host (`FILE, line N`); not used.
    pub authority: Option<String>,
}

/// What the known hosts say of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostKeyVerdict {
    /// It is the known one.
    Known,
    /// Nothing is known of the host.
    Unknown,
    /// Another key is known; says where (`FILE, line N`, or `the database`).
    Changed(String),
    /// The key is marked as revoked; says where.
    Revoked(String),
    /// The known hosts cannot be read; says why.
    Unreadable(String),
}

/// What a session of the library is to do next.
#[derive(Clone, PartialEq, Eq)]
pub enum SshOrder {
    /// Begin: banner and key exchange. `remembered` are lines of known hosts from the database.
    Open {
        /// Where and as whom.
        target: Box<SshTarget>,
        /// Known hosts beside those of the files.
        remembered: Vec<String>,
        /// The host gives one channel in the life of a connection: none is opened but for a task.
        is_sparing: bool,
    },
    /// The key of the host is accepted: log in. With a line: add it to the known-hosts file first.
    Trust {
        /// The line to add.
        add: Option<String>,
    },
    /// Begin a task.
    Start(SshTaskId, SshTask),
    /// Give a task up and end what runs on the host for it. Nothing more is told of it.
    Abort(SshTaskId),
    /// Send something, so that the connection stays known to routers on the way.
    KeepAlive,
}

/// What happened in a session of the library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SshNews {
    /// The key exchange is done.
    HostKey(HostKeyReport),
    /// Something that the log should show; never a secret.
    Notice(String),
    /// Logged in; says how.
    LoggedIn(String),
    /// The host cannot run several commands over one session.
    OneCommandAtATime,
    /// The host lets us in by none of the ways that we have; says what was tried and why each failed.
    LoginRefused(String),
    /// Bytes came from the host, for whatever.
    Heard,
    /// The host is asked to do a task; what was begun before and not told as such did not reach it.
    Asked(SshTaskId),
    /// Bytes came for a task.
    Moved(SshTaskId),
    /// The host gives no channel for a task, though none is open but those of other tasks; it goes back to whoever
    /// began it.
    NoChannel {
        /// The task.
        id: SshTaskId,
        /// Why, in the words of the library.
        reason: String,
        /// The connection has had a channel before.
        had_one: bool,
    },
    /// A task is over.
    Ended(SshTaskId, SshEnd),
    /// The session is over, and with it every task; says why.
    Closed(String),
    /// The host takes no connections for now, or has no algorithm in common with us; says so.
    TurnedAway(String),
}

//! One command of a session: its channel, its output, its end.

use std::ffi::c_int;

use libssh2_sys as sys;

use super::ffi::{ChannelId, Fault, Outcome, Ssh2};
use crate::model::ssh::{SshCommand, SshEnd, SshExit, SshRun};

/// stdout and stderr.
const STREAMS: [c_int; 2] = [0, 1];
/// The whole output of any command under `ForceCommand internal-sftp` of OpenSSH's sshd, which then exits with 1.
const SFTP_ONLY: &[u8] = b"This service allows sftp connections only.\n";
const SFTP_ONLY_TEXT: &str =
    "the host runs no commands for this user, it allows SFTP only (ForceCommand internal-sftp in its sshd_config)";

/// A command whose channel is open.
pub(super) struct Running {
    channel: ChannelId,
    phase: Phase,
    limit: usize,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    cut: bool,
}

enum Phase {
    Starting(String),
    Reading,
    Closing,
}

/// The result of one look at a command.
pub(super) enum Look {
    /// Nothing new.
    Quiet,
    /// There was output or an answer.
    Moved,
    /// The command has ended. The channel is to be closed.
    Ended(SshEnd),
}

impl Running {
    pub fn new(channel: ChannelId, command: SshCommand) -> Self {
        Self {
            channel,
            phase: Phase::Starting(command.line),
            limit: command.output_limit,
            stdout: Vec::new(),
            stderr: Vec::new(),
            cut: false,
        }
    }

    /// Whether the host has yet to confirm the start of the command.
    pub const fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Starting(_))
    }

    pub const fn channel(&self) -> ChannelId {
        self.channel
    }

    /// Continues as far as the socket allows. Output is read into `buffer`.
    ///
    /// # Errors
    /// The session can no longer be used.
    pub fn look(&mut self, ssh: &mut Ssh2, buffer: &mut [u8]) -> Outcome<Look> {
        match self.go_on(ssh, buffer) {
            Err(Fault::WouldBlock) => Ok(Look::Quiet),
            other => other,
        }
    }

    fn go_on(&mut self, ssh: &mut Ssh2, buffer: &mut [u8]) -> Outcome<Look> {
        if let Phase::Starting(line) = &self.phase {
            match ssh.start(self.channel, line) {
                Err(fault) if fault.is(&[sys::LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED]) => {
                    self.phase = Phase::Closing;
                    return Ok(Look::Ended(SshEnd::Refused("the host runs no commands for this user".to_owned())));
                }
                other => other?,
            }
            self.phase = Phase::Reading;
        }
        if matches!(self.phase, Phase::Reading) {
            let mut moved = false;
            for stream in STREAMS {
                match ssh.read(self.channel, stream, buffer) {
                    Ok(0) | Err(Fault::WouldBlock) => {}
                    Ok(len) => {
                        moved = true;
                        self.keep(stream, buffer.get(..len).unwrap_or_default());
                    }
                    Err(fault) => return Err(fault),
                }
            }
            if moved {
                return Ok(Look::Moved);
            }
            if !ssh.has_ended(self.channel) {
                return Ok(Look::Quiet);
            }
            self.phase = Phase::Closing;
        }
        // Where the connection breaks here, the host may have said before how the command ended.
        if matches!(ssh.wait_closed(self.channel), Err(Fault::WouldBlock)) {
            return Ok(Look::Quiet);
        }
        let Some(exit) = ssh.exit(self.channel) else {
            let broken =
                ssh.socket().broken().map(|reason| format!("the connection broke before the exit status: {reason}"));
            let closed = || "the host closed the channel before the exit status".to_owned();
            return Ok(Look::Ended(SshEnd::Failed(broken.unwrap_or_else(closed))));
        };
        if exit == SshExit::Status(1) && self.stdout == SFTP_ONLY && self.stderr.is_empty() {
            return Ok(Look::Ended(SshEnd::Refused(SFTP_ONLY_TEXT.to_owned())));
        }
        let (stdout, stderr) = (std::mem::take(&mut self.stdout), std::mem::take(&mut self.stderr));
        Ok(Look::Ended(SshEnd::Ran(SshRun { exit, stdout, stderr, output_cut: self.cut })))
    }

    fn keep(&mut self, stream: c_int, bytes: &[u8]) {
        let room = self.limit.saturating_sub(self.stdout.len() + self.stderr.len());
        let kept = bytes.get(..room).unwrap_or(bytes);
        self.cut |= kept.len() < bytes.len();
        if stream == 0 { &mut self.stdout } else { &mut self.stderr }.extend_from_slice(kept);
    }
}

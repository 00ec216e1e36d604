//! The file transfers of a session. They share one SFTP channel and run one at a time.

use std::collections::VecDeque;

use super::ffi::{Fault, Ssh2};
use super::transfer::Transfer;
use crate::edge::copy::Opened;
use crate::model::ssh::{SshEnd, SshNews, SshTask, SshTaskId};

/// The library's words for "no channel", as opposed to "no SFTP on this host".
const NO_CHANNEL: &str = "Unable to startup channel";

/// The SFTP channel of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sftp {
    None,
    /// The host has been asked for the channel and has not answered.
    Opening,
    Open,
    /// The channel is being closed.
    Closing,
}

/// All transfers of a session.
pub(super) struct Transfers {
    sftp: Sftp,
    waiting: VecDeque<Transfer>,
    current: Option<Transfer>,
    /// The host's words when it gave no channel for the current transfer.
    refusal: Option<String>,
}

impl Transfers {
    pub const fn new() -> Self {
        Self { sftp: Sftp::None, waiting: VecDeque::new(), current: None, refusal: None }
    }

    /// Whether the SFTP channel is being opened. No command may be started meanwhile.
    pub fn is_opening(&self) -> bool {
        self.sftp == Sftp::Opening
    }

    /// Whether an SFTP channel is there, also one that is opening or closing.
    pub fn has_channel(&self) -> bool {
        self.sftp != Sftp::None
    }

    /// Whether the SFTP channel is closing.
    pub fn is_closing(&self) -> bool {
        self.sftp == Sftp::Closing
    }

    pub fn start(&mut self, id: SshTaskId, task: SshTask, opened: Option<Opened>) {
        self.waiting.extend(Transfer::new(id, task, opened));
    }

    /// Drops a transfer without news of it. If it is under way, the host does not answer, so the whole channel is
    /// closed.
    pub fn abort(&mut self, id: SshTaskId) {
        self.waiting.retain(|waiting| waiting.id != id);
        if self.current.take_if(|current| current.id == id).is_some() && self.sftp == Sftp::Open {
            self.sftp = Sftp::Closing;
        }
    }

    /// Ends all transfers with the session.
    pub fn break_off(&mut self) {
        self.current = None;
        self.waiting.clear();
    }

    /// Closes the SFTP channel if no transfer uses it. Returns whether that was so.
    pub fn yield_channel(&mut self) -> bool {
        let is_idle = self.sftp == Sftp::Open && self.current.is_none() && self.waiting.is_empty();
        if is_idle {
            self.sftp = Sftp::Closing;
        }
        is_idle
    }

    /// Takes the reason why the host gave no channel for the current transfer. The next call asks the host again.
    pub const fn take_refusal(&mut self) -> Option<String> {
        self.refusal.take()
    }

    /// Takes out the current transfer, which has not begun.
    pub fn take_current(&mut self) -> Option<Transfer> {
        self.current.take()
    }

    /// Continues as far as the socket allows. Returns whether anything moved. Opens the SFTP channel only if it
    /// `may_open`.
    pub fn go_on(&mut self, ssh: &mut Ssh2, may_open: bool, news: &mut Vec<SshNews>) -> bool {
        if self.sftp == Sftp::Closing {
            if !ssh.close_sftp() {
                return false;
            }
            self.sftp = Sftp::None;
        }
        let mut moved = false;
        // Whoever wanted it may be gone; the answer has to be accepted nevertheless.
        if self.is_opening() && self.current.is_none() {
            moved = !matches!(self.open(ssh), Err(Fault::WouldBlock));
        }
        loop {
            if self.current.is_none() {
                self.current = self.waiting.pop_front();
            }
            if self.current.is_none() || (!may_open && self.sftp == Sftp::None) {
                return moved;
            }
            match self.open(ssh) {
                Ok(()) => {}
                Err(Fault::WouldBlock) => return moved,
                Err(Fault::Failed { text, .. }) if text == NO_CHANNEL => {
                    self.refusal = Some(text);
                    return true;
                }
                Err(Fault::Failed { text, .. }) => {
                    let text = format!("the host offers no SFTP ({text}); its sshd needs a line 'Subsystem sftp …'");
                    news.extend(self.current.take().map(|current| SshNews::Ended(current.id, SshEnd::Failed(text))));
                    continue;
                }
            }
            let Some(current) = &mut self.current else { continue };
            if !std::mem::replace(&mut current.is_asked, true) {
                news.push(SshNews::Asked(current.id));
            }
            if current.go_on(ssh, &mut moved) {
                news.extend(self.current.take().map(|current| SshNews::Ended(current.id, current.into_end())));
            } else {
                if moved && !news.contains(&SshNews::Moved(current.id)) {
                    news.push(SshNews::Moved(current.id));
                }
                return moved;
            }
        }
    }

    /// Opens the SFTP channel before the first transfer.
    fn open(&mut self, ssh: &mut Ssh2) -> Result<(), Fault> {
        let opened = ssh.open_sftp();
        self.sftp = match opened {
            Ok(()) => Sftp::Open,
            Err(Fault::WouldBlock) => Sftp::Opening,
            Err(_) => Sftp::None,
        };
        opened
    }
}

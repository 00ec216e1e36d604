//! The file transfers of a session: their SFTP channel, and which of them has its turn. One at a time.
#![allow(unsafe_code)]

use std::collections::VecDeque;

use libssh2_sys as ffi;

use super::library::{last_errno, last_error};
use super::transfer::{Step, Transfer};
use crate::edge::copy::Opened;
use crate::model::ssh::{SshEnd, SshNews, SshTask, SshTaskId};

/// The SFTP channel of a session.
enum Sftp {
    None,
    Open(*mut ffi::LIBSSH2_SFTP),
    /// It is of no use any more, but not gone yet.
    Closing(*mut ffi::LIBSSH2_SFTP),
}

/// All transfers of a session.
pub(super) struct Transfers {
    session: *mut ffi::LIBSSH2_SESSION,
    sftp: Sftp,
    /// The host has been asked for the SFTP channel and has not answered.
    is_opening: bool,
    waiting: VecDeque<Transfer>,
    current: Option<Transfer>,
}

impl Transfers {
    pub const fn new(session: *mut ffi::LIBSSH2_SESSION) -> Self {
        Self { session, sftp: Sftp::None, is_opening: false, waiting: VecDeque::new(), current: None }
    }

    /// Whether the host is being asked for the SFTP channel; meanwhile no command may be started.
    pub const fn is_opening(&self) -> bool {
        self.is_opening
    }

    pub fn start(&mut self, id: SshTaskId, task: SshTask, opened: Option<Opened>) {
        self.waiting.extend(Transfer::new(id, task, opened));
    }

    /// Nothing more is told of the transfer. One under way still tidies up, unless the host does not answer: then the
    /// whole channel goes.
    pub fn abort(&mut self, id: SshTaskId) {
        self.waiting.retain(|waiting| waiting.id != id);
        let Some(current) = self.current.as_mut().filter(|current| current.id == id) else { return };
        if !current.aborted {
            current.aborted = true;
            self.drop_channel();
        }
    }

    /// The session is over.
    pub fn break_off(&mut self) {
        // Its handle goes with the channel.
        self.current = None;
        self.waiting.clear();
    }

    /// Frees what belongs to the SFTP channel. The session goes next.
    pub fn free(&mut self) {
        self.drop_channel();
        for _ in 0..1_000 {
            if !self.shut_down() {
                break;
            }
        }
    }

    /// Gives up the channel with everything that is under way in it.
    fn drop_channel(&mut self) {
        if let Some(current) = self.current.take()
            && !current.handle.is_null()
            && let Sftp::Open(_) = self.sftp
        {
            // SAFETY: the handle is alive and its channel open; the request to close it goes out, the answer is not
            // awaited: the handle is not used again and its memory goes with the process at worst.
            unsafe { ffi::libssh2_sftp_close_handle(current.handle) };
        }
        if let Sftp::Open(sftp) = self.sftp {
            self.sftp = Sftp::Closing(sftp);
        }
    }

    /// Whether the channel is still being closed.
    fn shut_down(&mut self) -> bool {
        let Sftp::Closing(sftp) = self.sftp else { return false };
        // SAFETY: the channel is alive until this returns anything but "would block", and not used afterwards.
        if unsafe { ffi::libssh2_sftp_shutdown(sftp) } == ffi::LIBSSH2_ERROR_EAGAIN {
            return true;
        }
        self.sftp = Sftp::None;
        false
    }

    /// Goes on as far as the socket allows; whether anything moved. The SFTP channel is made only where it `may_open`.
    pub fn go_on(&mut self, may_open: bool, news: &mut Vec<SshNews>) -> bool {
        if self.shut_down() {
            return false;
        }
        let mut moved = false;
        // Whoever wanted it may be gone; the answer has to be taken all the same.
        if self.is_opening && self.current.is_none() {
            moved = !matches!(self.channel(), Ok(None));
        }
        loop {
            if self.current.is_none() {
                let Some(next) = self.waiting.pop_front() else { return moved };
                self.current = Some(next);
            }
            if !may_open && !self.is_opening && !matches!(self.sftp, Sftp::Open(_)) {
                return moved;
            }
            let sftp = match self.channel() {
                Ok(Some(sftp)) => sftp,
                Ok(None) => return moved,
                Err(reason) => {
                    if let Some(current) = self.current.take() {
                        news.push(SshNews::Ended(current.id, SshEnd::Failed(reason)));
                    }
                    continue;
                }
            };
            let session = self.session;
            let Some(current) = &mut self.current else { continue };
            let step = current.step(session, sftp, &mut moved);
            match step {
                Step::WouldBlock => {
                    if moved && !news.contains(&SshNews::Moved(current.id)) {
                        news.push(SshNews::Moved(current.id));
                    }
                    return moved;
                }
                Step::Next(phase) => {
                    moved = true;
                    current.phase = phase;
                }
                Step::Over => {
                    moved = true;
                    let Some(current) = self.current.take() else { continue };
                    news.push(SshNews::Ended(current.id, current.end));
                }
            }
        }
    }

    /// The SFTP channel, made when it is needed first.
    fn channel(&mut self) -> Result<Option<*mut ffi::LIBSSH2_SFTP>, String> {
        if let Sftp::Open(sftp) = self.sftp {
            return Ok(Some(sftp));
        }
        // SAFETY: the session is alive and logged in; while it would block it is called again.
        let sftp = unsafe { ffi::libssh2_sftp_init(self.session) };
        self.is_opening = sftp.is_null() && last_errno(self.session) == ffi::LIBSSH2_ERROR_EAGAIN;
        if !sftp.is_null() {
            self.sftp = Sftp::Open(sftp);
            return Ok(Some(sftp));
        }
        match self.is_opening {
            true => Ok(None),
            false => Err(format!(
                "the host offers no SFTP ({}); its sshd needs a line 'Subsystem sftp …'",
                last_error(self.session)
            )),
        }
    }
}

//! File transfers of a session over SFTP, one at a time: lines into a named pipe, small files, copies of local files. A
//! file is written under another name and renamed, so it appears whole or not at all.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_ulong};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use libssh2_sys as ffi;

use super::library::{self, chars, last_errno, last_error, short_len};
use crate::edge::copy::Opened;
use crate::model::copy::CopyKind;
use crate::model::ssh::{SshEnd, SshTask, SshTaskId};

/// File data on its way at once: more than the window of OpenSSH's sshd, so that it never waits for us.
const WINDOW_BYTES: usize = 2 << 20;
/// Read from the local file at once.
const READ_BYTES: usize = 256 << 10;
/// Acknowledged in one look, at most.
const LOOK_BYTES: usize = 4 << 20;

/// Where the bytes come from.
enum Source {
    Memory,
    File(File),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Look,
    Open,
    Write,
    Permit,
    Sync,
    Close,
    Rename,
    /// The host cannot rename over a file that exists.
    MakeRoom,
    PlainRename,
    CleanUp,
}

pub(super) struct Transfer {
    pub id: SshTaskId,
    pub phase: Phase,
    /// What is opened.
    name: String,
    /// What it is called in the end; `None` for a pipe.
    renamed: Option<String>,
    mode: u32,
    source: Source,
    pub handle: *mut ffi::LIBSSH2_SFTP_HANDLE,
    /// Bytes from `done` on are not acknowledged.
    window: Vec<u8>,
    done: usize,
    at_end: bool,
    lines_done: usize,
    pub aborted: bool,
    has_failed: bool,
    /// What is told in the end.
    pub end: SshEnd,
}

/// What a step of the library brought.
pub(super) enum Step {
    WouldBlock,
    Next(Phase),
    Over,
}

impl Transfer {
    /// `opened` is the source of an upload.
    pub fn new(id: SshTaskId, task: SshTask, opened: Option<Opened>) -> Option<Self> {
        let mut end = SshEnd::Done;
        let mut source = Source::Memory;
        let (name, renamed, mode, content, phase) = match task {
            SshTask::Run(_) => return None,
            SshTask::Submit { pipe, lines } => {
                let mut text = String::new();
                lines.iter().for_each(|line| {
                    text.push_str(line);
                    text.push('\n');
                });
                (pipe, None, 0, text.into_bytes(), Phase::Look)
            }
            SshTask::Write { path, content, mode } => {
                let temporary = match path.rsplit_once('/') {
                    Some((directory, name)) => format!("{directory}/.{name}.part"),
                    None => format!(".{path}.part"),
                };
                (temporary, Some(path), mode, content.into_bytes(), Phase::Open)
            }
            SshTask::Upload(upload) => {
                let upload = *upload;
                let Opened { file, kind, .. } = opened?;
                let own_mode = file.metadata().map_or(0o600, |metadata| metadata.permissions().mode() & 0o7777);
                source = Source::File(file);
                end = SshEnd::Copied(kind, 0);
                match kind {
                    CopyKind::Regular => {
                        let mode = upload.mode.unwrap_or(own_mode);
                        (upload.temporary, Some(upload.destination), mode, Vec::new(), Phase::Open)
                    }
                    CopyKind::Archive => {
                        (upload.archive_temporary, Some(upload.archive), 0o600, Vec::new(), Phase::Open)
                    }
                }
            }
        };
        Some(Self {
            id,
            phase,
            name,
            renamed,
            mode,
            source,
            handle: std::ptr::null_mut(),
            window: content,
            done: 0,
            at_end: false,
            lines_done: 0,
            aborted: false,
            has_failed: false,
            end,
        })
    }

    fn is_pipe(&self) -> bool {
        self.renamed.is_none()
    }

    /// Fills the window from the local file.
    fn fill(&mut self) -> Result<(), String> {
        let Source::File(file) = &mut self.source else {
            self.at_end = true;
            return Ok(());
        };
        if self.at_end || self.window.len() - self.done >= WINDOW_BYTES - READ_BYTES {
            return Ok(());
        }
        if self.done >= WINDOW_BYTES {
            self.window.drain(..self.done);
            self.done = 0;
        }
        while !self.at_end && self.window.len() - self.done < WINDOW_BYTES {
            let len = file.by_ref().take(READ_BYTES as u64).read_to_end(&mut self.window);
            self.at_end = len.map_err(|error| format!("the local file cannot be read: {error}"))? < READ_BYTES;
        }
        Ok(())
    }

    fn fail(&mut self, reason: String) {
        self.has_failed = true;
        self.end =
            if self.lines_done > 0 { SshEnd::SubmittedInPart(self.lines_done, reason) } else { SshEnd::Failed(reason) };
    }

    fn acknowledged(&mut self, len: usize) {
        let end = self.done.saturating_add(len).min(self.window.len());
        if self.is_pipe() {
            let new = self.window.get(self.done..end).unwrap_or_default();
            self.lines_done += new.iter().filter(|byte| **byte == b'\n').count();
        }
        if let SshEnd::Copied(_, copied) = &mut self.end {
            *copied += (end - self.done) as u64;
        }
        self.done = end;
    }
}

/// An error of the last call in words.
fn error_of(session: *mut ffi::LIBSSH2_SESSION, sftp: *mut ffi::LIBSSH2_SFTP) -> String {
    if last_errno(session) == ffi::LIBSSH2_ERROR_SFTP_PROTOCOL {
        // SAFETY: the channel is alive.
        let number = unsafe { ffi::libssh2_sftp_last_error(sftp) };
        if number != 0 {
            return library::sftp_error(number).to_owned();
        }
    }
    last_error(session)
}

impl Transfer {
    pub fn step(&mut self, session: *mut ffi::LIBSSH2_SESSION, sftp: *mut ffi::LIBSSH2_SFTP, moved: &mut bool) -> Step {
        match self.phase {
            Phase::Look => self.look(session, sftp),
            Phase::Open => self.open(session, sftp),
            Phase::Write => self.write(session, sftp, moved),
            Phase::Permit => {
                let mut attributes = ffi::LIBSSH2_SFTP_ATTRIBUTES {
                    flags: ffi::LIBSSH2_SFTP_ATTR_PERMISSIONS,
                    filesize: 0,
                    uid: 0,
                    gid: 0,
                    permissions: c_ulong::from(self.mode),
                    atime: 0,
                    mtime: 0,
                };
                // SAFETY: handle and attributes are alive.
                let result = unsafe { ffi::libssh2_sftp_fstat_ex(self.handle, &raw mut attributes, 1) };
                // A host that does not let us is no reason to fail: the file was made with these permissions.
                if result == ffi::LIBSSH2_ERROR_EAGAIN { Step::WouldBlock } else { Step::Next(Phase::Sync) }
            }
            Phase::Sync => {
                // SAFETY: the handle is alive. A host without this extension keeps the file as it does otherwise.
                let result = unsafe { ffi::libssh2_sftp_fsync(self.handle) };
                if result == ffi::LIBSSH2_ERROR_EAGAIN { Step::WouldBlock } else { Step::Next(Phase::Close) }
            }
            Phase::Close => self.close(session, sftp),
            Phase::Rename => self.rename(session, sftp),
            Phase::MakeRoom => {
                let Some(name) = &self.renamed else { return Step::Over };
                match unlink(sftp, name) {
                    ffi::LIBSSH2_ERROR_EAGAIN => Step::WouldBlock,
                    // Whether it was there is seen by the renaming.
                    _ => Step::Next(Phase::PlainRename),
                }
            }
            Phase::PlainRename => self.plain_rename(session, sftp),
            Phase::CleanUp => match unlink(sftp, &self.name) {
                ffi::LIBSSH2_ERROR_EAGAIN => Step::WouldBlock,
                _ => Step::Over,
            },
        }
    }

    /// Whether the pipe is one.
    fn look(&mut self, session: *mut ffi::LIBSSH2_SESSION, sftp: *mut ffi::LIBSSH2_SFTP) -> Step {
        let mut attributes =
            ffi::LIBSSH2_SFTP_ATTRIBUTES { flags: 0, filesize: 0, uid: 0, gid: 0, permissions: 0, atime: 0, mtime: 0 };
        let name = self.name.as_bytes();
        // SAFETY: the channel is alive, the name is given with its length, `attributes` is a place for the answer.
        let result = unsafe {
            ffi::libssh2_sftp_stat_ex(sftp, chars(name), short_len(name), ffi::LIBSSH2_SFTP_STAT, &raw mut attributes)
        };
        let shown = &self.name;
        match result {
            ffi::LIBSSH2_ERROR_EAGAIN => return Step::WouldBlock,
            0 if attributes.permissions & ffi::LIBSSH2_SFTP_S_IFMT == ffi::LIBSSH2_SFTP_S_IFIFO => {
                return Step::Next(Phase::Open);
            }
            0 => self.fail(format!("command file '{shown}' must be a pipe file")),
            _ => {
                let text = match error_of(session, sftp) {
                    error if error.starts_with("no such file") => format!("command file '{shown}' must exist"),
                    error => format!("command file '{shown}': {error}"),
                };
                self.fail(text);
            }
        }
        Step::Over
    }

    fn open(&mut self, session: *mut ffi::LIBSSH2_SESSION, sftp: *mut ffi::LIBSSH2_SFTP) -> Step {
        let flags = if self.is_pipe() {
            ffi::LIBSSH2_FXF_WRITE | ffi::LIBSSH2_FXF_APPEND
        } else {
            ffi::LIBSSH2_FXF_WRITE | ffi::LIBSSH2_FXF_CREAT | ffi::LIBSSH2_FXF_TRUNC
        };
        let name = self.name.as_bytes();
        let mode = library::Mode::from(u16::try_from(self.mode & 0o7777).unwrap_or(0o600));
        // SAFETY: the channel is alive, the name is given with its length.
        let handle = unsafe {
            ffi::libssh2_sftp_open_ex(sftp, chars(name), short_len(name), flags, mode, ffi::LIBSSH2_SFTP_OPENFILE)
        };
        if !handle.is_null() {
            self.handle = handle;
            return Step::Next(Phase::Write);
        }
        if last_errno(session) == ffi::LIBSSH2_ERROR_EAGAIN {
            return Step::WouldBlock;
        }
        let error = error_of(session, sftp);
        let text = if self.is_pipe() {
            format!("cannot open command file '{}': {error}", self.name)
        } else {
            format!("cannot sftp copy file: '{}': {error}", self.name)
        };
        self.fail(text);
        Step::Over
    }

    fn write(&mut self, session: *mut ffi::LIBSSH2_SESSION, sftp: *mut ffi::LIBSSH2_SFTP, moved: &mut bool) -> Step {
        let mut written = 0;
        loop {
            if let Err(reason) = self.fill() {
                self.fail(reason);
                return Step::Next(Phase::Close);
            }
            let rest = self.window.get(self.done..).unwrap_or_default();
            if rest.is_empty() {
                return Step::Next(if self.is_pipe() { Phase::Close } else { Phase::Permit });
            }
            if written >= LOOK_BYTES {
                return Step::Next(Phase::Write);
            }
            // SAFETY: the handle is alive; pointer and length describe `rest`. What is not acknowledged yet is given
            // again the next time, followed by more, as the library wants it.
            let len = unsafe { ffi::libssh2_sftp_write(self.handle, chars(rest), rest.len()) };
            match usize::try_from(len) {
                Ok(0) => return Step::WouldBlock,
                Ok(len) => {
                    written += len;
                    *moved = true;
                    self.acknowledged(len);
                }
                Err(_) if len == ffi::LIBSSH2_ERROR_EAGAIN as isize => return Step::WouldBlock,
                Err(_) => {
                    let error = error_of(session, sftp);
                    let text = if self.is_pipe() {
                        format!("command file '{}' must be writeable: {error}", self.name)
                    } else {
                        format!("cannot sftp copy file: '{}': {error}", self.name)
                    };
                    self.fail(text);
                    return Step::Next(Phase::Close);
                }
            }
        }
    }

    fn close(&mut self, session: *mut ffi::LIBSSH2_SESSION, sftp: *mut ffi::LIBSSH2_SFTP) -> Step {
        // SAFETY: the handle is alive until this returns anything but "would block", and not used afterwards.
        let result = unsafe { ffi::libssh2_sftp_close_handle(self.handle) };
        if result == ffi::LIBSSH2_ERROR_EAGAIN {
            return Step::WouldBlock;
        }
        self.handle = std::ptr::null_mut();
        if result != 0 && !self.has_failed {
            let error = error_of(session, sftp);
            self.fail(format!("cannot sftp copy file: '{}': {error}", self.name));
        }
        match (self.is_pipe(), self.has_failed) {
            (true, _) => Step::Over,
            (false, false) => Step::Next(Phase::Rename),
            (false, true) => Step::Next(Phase::CleanUp),
        }
    }

    fn rename(&mut self, session: *mut ffi::LIBSSH2_SESSION, sftp: *mut ffi::LIBSSH2_SFTP) -> Step {
        let Some(to) = self.renamed.as_ref().map(String::as_bytes) else { return Step::Over };
        let from = self.name.as_bytes();
        // SAFETY: the channel is alive, both names are given with their lengths.
        let result =
            unsafe { library::libssh2_sftp_posix_rename_ex(sftp, chars(from), from.len(), chars(to), to.len()) };
        match result {
            0 => Step::Over,
            ffi::LIBSSH2_ERROR_EAGAIN => Step::WouldBlock,
            // SAFETY: the channel is alive.
            _ if unsafe { ffi::libssh2_sftp_last_error(sftp) } == ffi::LIBSSH2_FX_OP_UNSUPPORTED as c_ulong => {
                Step::Next(Phase::MakeRoom)
            }
            _ => self.not_renamed(session, sftp),
        }
    }

    fn plain_rename(&mut self, session: *mut ffi::LIBSSH2_SESSION, sftp: *mut ffi::LIBSSH2_SFTP) -> Step {
        let Some(to) = self.renamed.as_ref().map(String::as_bytes) else { return Step::Over };
        let from = self.name.as_bytes();
        let flags =
            ffi::LIBSSH2_SFTP_RENAME_OVERWRITE | ffi::LIBSSH2_SFTP_RENAME_ATOMIC | ffi::LIBSSH2_SFTP_RENAME_NATIVE;
        // SAFETY: the channel is alive, both names are given with their lengths.
        let result =
            unsafe { ffi::libssh2_sftp_rename_ex(sftp, chars(from), short_len(from), chars(to), short_len(to), flags) };
        match result {
            0 => Step::Over,
            ffi::LIBSSH2_ERROR_EAGAIN => Step::WouldBlock,
            _ => self.not_renamed(session, sftp),
        }
    }

    fn not_renamed(&mut self, session: *mut ffi::LIBSSH2_SESSION, sftp: *mut ffi::LIBSSH2_SFTP) -> Step {
        let error = error_of(session, sftp);
        let text = format!("Can't copy file to {}: {error}", self.renamed.as_deref().unwrap_or_default());
        self.fail(text);
        Step::Next(Phase::CleanUp)
    }
}

fn unlink(sftp: *mut ffi::LIBSSH2_SFTP, name: &str) -> c_int {
    let name = name.as_bytes();
    // SAFETY: the channel is alive, the name is given with its length.
    unsafe { ffi::libssh2_sftp_unlink_ex(sftp, chars(name), short_len(name)) }
}

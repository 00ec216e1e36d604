//! One file transfer over SFTP: lines into a named pipe, a small file, or a copy of a local file. A file is written
//! under another name and renamed, so it appears whole or not at all.

use std::ffi::c_ulong;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use libssh2_sys as sys;

use super::ffi::{Fault, Outcome, Ssh2};
use crate::edge::copy::Opened;
use crate::model::copy::CopyKind;
use crate::model::ssh::{SshEnd, SshTask, SshTaskId};

/// Maximum number of bytes of file data on the way: more than the window of OpenSSH's sshd, so that it never waits for
/// us.
const WINDOW_BYTES: usize = 2 << 20;
/// Number of bytes read from the local file at once.
const READ_BYTES: usize = 256 << 10;
/// Maximum number of acknowledgements handled at once.
const LOOK_BYTES: usize = 4 << 20;

const NO_SUCH_FILE: &str = "no such file or directory";

/// Where the bytes come from.
enum Source {
    Memory,
    File(File),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
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
    /// The transfer has begun.
    pub is_asked: bool,
    phase: Phase,
    /// The path that is opened.
    name: String,
    /// The final path; `None` for a pipe.
    renamed: Option<String>,
    mode: u32,
    source: Source,
    /// The bytes before `done` are acknowledged.
    window: Vec<u8>,
    done: usize,
    at_end: bool,
    lines_done: usize,
    has_failed: bool,
    end: SshEnd,
}

impl Transfer {
    /// Prepares a transfer. `opened` is the source of an upload.
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
                    CopyKind::Archive | CopyKind::Manifest => {
                        (upload.archive_temporary, Some(upload.archive), 0o600, Vec::new(), Phase::Open)
                    }
                }
            }
        };
        Some(Self {
            id,
            is_asked: false,
            phase,
            name,
            renamed,
            mode,
            source,
            window: content,
            done: 0,
            at_end: false,
            lines_done: 0,
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

/// The name of an SFTP status.
pub(super) const fn words_of(status: c_ulong) -> &'static str {
    match status {
        2 | 10 => NO_SUCH_FILE,
        3 => "permission denied",
        4 => "the host refuses it (for instance because its disk is full)",
        8 => "the host does not know the operation",
        11 => "it exists already",
        12 => "read-only file system",
        14 => "no space left on the disk",
        15 => "the disk quota is used up",
        18 => "the directory is not empty",
        19 => "not a directory",
        20 => "not a file name there",
        _ => "unknown error",
    }
}

impl Transfer {
    /// Continues as far as the host answers. Returns whether the transfer is over. A failure ends it with a reason.
    pub fn go_on(&mut self, ssh: &mut Ssh2, moved: &mut bool) -> bool {
        while let Ok(next) = self.step(ssh, moved) {
            *moved = true;
            match next {
                Some(phase) => self.phase = phase,
                None => return true,
            }
        }
        false
    }

    fn step(&mut self, ssh: &mut Ssh2, moved: &mut bool) -> Next {
        match self.phase {
            Phase::Look => self.look(ssh),
            Phase::Open => self.open(ssh),
            Phase::Write => self.write(ssh, moved),
            // A host that does not let us is no reason to fail: the file was made with these permissions.
            Phase::Permit => settled(ssh.set_mode(self.mode)).map(|_| Some(Phase::Sync)),
            // A host without this extension keeps the file as it does otherwise.
            Phase::Sync => settled(ssh.sync()).map(|_| Some(Phase::Close)),
            Phase::Close => self.close(ssh),
            Phase::Rename => self.rename(ssh, false),
            // Whether it was there is seen by the renaming.
            Phase::MakeRoom => {
                settled(ssh.unlink(self.renamed.as_deref().unwrap_or_default())).map(|_| Some(Phase::PlainRename))
            }
            Phase::PlainRename => self.rename(ssh, true),
            Phase::CleanUp => settled(ssh.unlink(&self.name)).map(|_| None),
        }
    }

    /// How it ended.
    pub fn into_end(self) -> SshEnd {
        self.end
    }

    /// Checks that the destination is a pipe.
    fn look(&mut self, ssh: &mut Ssh2) -> Next {
        let shown = &self.name;
        let text = match settled(ssh.is_pipe(shown))? {
            Ok(true) => return Ok(Some(Phase::Open)),
            Ok(false) => format!("command file '{shown}' must be a pipe file"),
            Err(text) if text == NO_SUCH_FILE => format!("command file '{shown}' must exist"),
            Err(text) => format!("command file '{shown}': {text}"),
        };
        self.fail(text);
        Ok(None)
    }

    fn open(&mut self, ssh: &mut Ssh2) -> Next {
        let new = (!self.is_pipe()).then_some(self.mode);
        let Err(error) = settled(ssh.open_file(&self.name, new))? else { return Ok(Some(Phase::Write)) };
        self.fail(match new {
            None => format!("cannot open command file '{}': {error}", self.name),
            Some(_) => format!("cannot sftp copy file: '{}': {error}", self.name),
        });
        Ok(None)
    }

    fn write(&mut self, ssh: &mut Ssh2, moved: &mut bool) -> Next {
        let mut written = 0;
        loop {
            if let Err(reason) = self.fill() {
                self.fail(reason);
                return Ok(Some(Phase::Close));
            }
            // What is not confirmed yet is given again, followed by more, as the library wants it.
            let rest = self.window.get(self.done..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(Some(if self.is_pipe() { Phase::Close } else { Phase::Permit }));
            }
            if written >= LOOK_BYTES {
                return Err(Later);
            }
            match settled(ssh.write(rest))? {
                Ok(0) => return Err(Later),
                Ok(len) => {
                    written += len;
                    *moved = true;
                    self.acknowledged(len);
                }
                Err(error) => {
                    self.fail(if self.is_pipe() {
                        format!("command file '{}' must be writeable: {error}", self.name)
                    } else {
                        format!("cannot sftp copy file: '{}': {error}", self.name)
                    });
                    return Ok(Some(Phase::Close));
                }
            }
        }
    }

    fn close(&mut self, ssh: &mut Ssh2) -> Next {
        if let (Err(error), false) = (settled(ssh.close_file())?, self.has_failed) {
            self.fail(format!("cannot sftp copy file: '{}': {error}", self.name));
        }
        Ok(match (self.is_pipe(), self.has_failed) {
            (true, _) => None,
            (false, false) => Some(Phase::Rename),
            (false, true) => Some(Phase::CleanUp),
        })
    }

    fn rename(&mut self, ssh: &mut Ssh2, plain: bool) -> Next {
        let to = self.renamed.as_deref().unwrap_or_default();
        let text = match ssh.rename(&self.name, to, plain) {
            Ok(()) => return Ok(None),
            Err(Fault::WouldBlock) => return Err(Later),
            Err(fault) if !plain && fault.is(&[sys::LIBSSH2_FX_OP_UNSUPPORTED]) => return Ok(Some(Phase::MakeRoom)),
            Err(fault) => format!("Can't copy file to {to}: {fault}"),
        };
        self.fail(text);
        Ok(Some(Phase::CleanUp))
    }
}

/// The host has not answered yet, or it is the turn of others.
struct Later;

/// What a transfer does next; `None` when it is over.
type Next = Result<Option<Phase>, Later>;

/// The result of a call once the host has answered; an error is in words.
fn settled<T>(outcome: Outcome<T>) -> Result<Result<T, String>, Later> {
    match outcome {
        Ok(value) => Ok(Ok(value)),
        Err(Fault::WouldBlock) => Err(Later),
        Err(Fault::Failed { text, .. }) => Ok(Err(text)),
    }
}

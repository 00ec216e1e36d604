//! Files over the SFTP channel of a session.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_long, c_ulong};
use std::ptr::NonNull;

use libc::size_t;
use libssh2_sys as sys;

use super::{Fault, Outcome, Ssh2, chars, len};

// SAFETY: the signature is that of the header of libssh2 1.11.2.
unsafe extern "C" {
    fn libssh2_sftp_posix_rename_ex(
        sftp: *mut sys::LIBSSH2_SFTP,
        from: *const c_char,
        from_len: size_t,
        to: *const c_char,
        to_len: size_t,
    ) -> c_int;
}

const fn attributes(flags: c_ulong, mode: u32) -> sys::LIBSSH2_SFTP_ATTRIBUTES {
    let permissions = mode as c_ulong;
    sys::LIBSSH2_SFTP_ATTRIBUTES { flags, filesize: 0, uid: 0, gid: 0, permissions, atime: 0, mtime: 0 }
}

impl Ssh2 {
    /// Opens the SFTP channel, unless that is done.
    pub fn open_sftp(&mut self) -> Outcome<()> {
        if self.sftp.is_none() {
            // SAFETY: the session is logged in, or the library says that it is not.
            let sftp = NonNull::new(unsafe { sys::libssh2_sftp_init(self.raw.as_ptr()) });
            self.sftp = Some(sftp.ok_or_else(|| self.fault())?);
        }
        Ok(())
    }

    /// Closes the SFTP channel and the file open in it. Returns `false` while that would block; then call it again.
    pub fn close_sftp(&mut self) -> bool {
        if let Some(file) = self.file.take() {
            // SAFETY: the handle is alive and forgotten here. The request goes out; its answer is not awaited, and
            // where that would block the memory of the handle stays the library's.
            unsafe { sys::libssh2_sftp_close_handle(file.as_ptr()) };
        }
        let Some(sftp) = self.sftp else { return true };
        // SAFETY: the channel is alive; after any other answer than "would block" it is gone, and forgotten here.
        let is_gone = unsafe { sys::libssh2_sftp_shutdown(sftp.as_ptr()) != sys::LIBSSH2_ERROR_EAGAIN };
        if is_gone {
            self.sftp = None;
        }
        is_gone
    }

    fn sftp(&self) -> Outcome<*mut sys::LIBSSH2_SFTP> {
        self.sftp.map(NonNull::as_ptr).ok_or_else(Self::no_longer_there)
    }

    fn file(&self) -> Outcome<*mut sys::LIBSSH2_SFTP_HANDLE> {
        self.file.map(NonNull::as_ptr).ok_or_else(Self::no_longer_there)
    }

    /// An error of the SFTP channel, with the host's number and text if it gave them.
    fn in_sftp<T>(&self, outcome: Outcome<T>) -> Outcome<T> {
        let fault = match outcome {
            Err(fault) if fault.is(&[sys::LIBSSH2_ERROR_SFTP_PROTOCOL]) => fault,
            other => return other,
        };
        // SAFETY: the channel is alive.
        match self.sftp().map_or(0, |sftp| unsafe { sys::libssh2_sftp_last_error(sftp) }) {
            0 => Err(fault),
            number => Err(Fault::Failed {
                number: c_int::try_from(number).unwrap_or(c_int::MAX),
                text: super::super::transfer::words_of(number).to_owned(),
            }),
        }
    }

    /// Whether a path on the host is a named pipe.
    pub fn is_pipe(&mut self, name: &str) -> Outcome<bool> {
        let (sftp, name, mut found) = (self.sftp()?, name.as_bytes(), attributes(0, 0));
        // SAFETY: the channel is alive, the name is given with its length, `found` is a place for the answer.
        let result =
            unsafe { sys::libssh2_sftp_stat_ex(sftp, chars(name), len(name), sys::LIBSSH2_SFTP_STAT, &raw mut found) };
        self.in_sftp(self.check(result))?;
        Ok(found.permissions & sys::LIBSSH2_SFTP_S_IFMT == sys::LIBSSH2_SFTP_S_IFIFO)
    }

    /// Opens a file on the host for writing: a new one if permissions are given, else to append. One file is open at a
    /// time.
    pub fn open_file(&mut self, name: &str, new: Option<u32>) -> Outcome<()> {
        let (sftp, name) = (self.sftp()?, name.as_bytes());
        let flags = match new {
            Some(_) => sys::LIBSSH2_FXF_WRITE | sys::LIBSSH2_FXF_CREAT | sys::LIBSSH2_FXF_TRUNC,
            None => sys::LIBSSH2_FXF_WRITE | sys::LIBSSH2_FXF_APPEND,
        };
        let mode = c_long::from(u16::try_from(new.unwrap_or(0) & 0o7777).unwrap_or(0o600));
        // SAFETY: the channel is alive, the name is given with its length.
        let file = NonNull::new(unsafe {
            sys::libssh2_sftp_open_ex(sftp, chars(name), len(name), flags, mode, sys::LIBSSH2_SFTP_OPENFILE)
        });
        self.file = Some(self.in_sftp(file.ok_or_else(|| self.fault()))?);
        Ok(())
    }

    /// Writes to the open file. Returns the number of bytes that the host has confirmed.
    pub fn write(&mut self, bytes: &[u8]) -> Outcome<usize> {
        let file = self.file()?;
        // SAFETY: the handle is alive; pointer and length describe `bytes`.
        let result = unsafe { sys::libssh2_sftp_write(file, chars(bytes), bytes.len()) };
        self.in_sftp(self.check_len(result))
    }

    /// Sets the permissions of the open file.
    pub fn set_mode(&mut self, mode: u32) -> Outcome<()> {
        let (file, mut wanted) = (self.file()?, attributes(sys::LIBSSH2_SFTP_ATTR_PERMISSIONS, mode));
        // SAFETY: handle and attributes are alive.
        let result = unsafe { sys::libssh2_sftp_fstat_ex(file, &raw mut wanted, 1) };
        self.in_sftp(self.check(result))
    }

    /// Asks the host to sync the open file to disk.
    pub fn sync(&mut self) -> Outcome<()> {
        let file = self.file()?;
        // SAFETY: the handle is alive.
        let result = unsafe { sys::libssh2_sftp_fsync(file) };
        self.in_sftp(self.check(result))
    }

    /// Closes the open file.
    pub fn close_file(&mut self) -> Outcome<()> {
        let file = self.file()?;
        // SAFETY: the handle is alive; after any other answer than "would block" it is gone, and forgotten here.
        let result = unsafe { sys::libssh2_sftp_close_handle(file) };
        if result != sys::LIBSSH2_ERROR_EAGAIN {
            self.file = None;
        }
        self.in_sftp(self.check(result))
    }

    /// Renames a file, replacing what has the new name. Falls back to the plain rename if the host knows only that.
    pub fn rename(&mut self, from: &str, to: &str, plain: bool) -> Outcome<()> {
        const FLAGS: c_long =
            sys::LIBSSH2_SFTP_RENAME_OVERWRITE | sys::LIBSSH2_SFTP_RENAME_ATOMIC | sys::LIBSSH2_SFTP_RENAME_NATIVE;
        let (sftp, from, to) = (self.sftp()?, from.as_bytes(), to.as_bytes());
        // SAFETY: the channel is alive, both names are given with their lengths.
        let result = unsafe {
            match plain {
                true => sys::libssh2_sftp_rename_ex(sftp, chars(from), len(from), chars(to), len(to), FLAGS),
                false => libssh2_sftp_posix_rename_ex(sftp, chars(from), from.len(), chars(to), to.len()),
            }
        };
        self.in_sftp(self.check(result))
    }

    /// Removes a file.
    pub fn unlink(&mut self, name: &str) -> Outcome<()> {
        let (sftp, name) = (self.sftp()?, name.as_bytes());
        // SAFETY: the channel is alive, the name is given with its length.
        let result = unsafe { sys::libssh2_sftp_unlink_ex(sftp, chars(name), len(name)) };
        self.in_sftp(self.check(result))
    }
}

//! libssh2 as this program calls it: functions that its Rust declarations lack, its initialisation, and its errors as
//! text.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_long, c_ulong, c_void};
use std::sync::Once;

use libc::size_t;
use libssh2_sys::{LIBSSH2_CHANNEL, LIBSSH2_SESSION, LIBSSH2_SFTP};

pub(super) const CALLBACK_SEND: c_int = 5;
pub(super) const CALLBACK_RECEIVE: c_int = 6;

/// `OPENSSL_INIT_NO_ATEXIT`: a worker may still calculate when the process ends.
const NO_ATEXIT: u64 = 0x0008_0000;

// SAFETY: the signatures are those of the headers of libssh2 1.11 and OpenSSL 3.
unsafe extern "C" {
    pub(super) fn libssh2_session_callback_set2(
        session: *mut LIBSSH2_SESSION,
        kind: c_int,
        callback: *mut c_void,
    ) -> *mut c_void;
    pub(super) fn libssh2_channel_signal_ex(
        channel: *mut LIBSSH2_CHANNEL,
        name: *const c_char,
        name_len: size_t,
    ) -> c_int;
    pub(super) fn libssh2_sftp_posix_rename_ex(
        sftp: *mut LIBSSH2_SFTP,
        from: *const c_char,
        from_len: size_t,
        to: *const c_char,
        to_len: size_t,
    ) -> c_int;
    fn OPENSSL_init_crypto(options: u64, settings: *const c_void) -> c_int;
}

/// Makes the library ready, once. Before the first SSH node nothing of it or of OpenSSL is touched.
pub(super) fn initialise() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: called once, before any other call of either library; null settings are allowed. A failure of the
        // first shows when a session is made.
        unsafe {
            OPENSSL_init_crypto(NO_ATEXIT, std::ptr::null());
            libssh2_sys::libssh2_init(0);
        }
    });
}

/// The last error of a session, in the library's words.
pub(super) fn last_error(session: *mut LIBSSH2_SESSION) -> String {
    let mut text: *mut c_char = std::ptr::null_mut();
    let mut len: c_int = 0;
    // SAFETY: the session is alive; the text stays the library's (`want_buf` is 0) and is copied before any other call.
    let text = unsafe {
        libssh2_sys::libssh2_session_last_error(session, &raw mut text, &raw mut len, 0);
        if text.is_null() {
            return "unknown error".to_owned();
        }
        std::slice::from_raw_parts(text.cast::<u8>(), usize::try_from(len).unwrap_or(0))
    };
    String::from_utf8_lossy(text).into_owned()
}

/// What the host called itself.
pub(super) fn banner(session: *mut LIBSSH2_SESSION) -> Option<String> {
    // SAFETY: the session is alive; the text is a C string that belongs to it and is copied at once.
    unsafe {
        let text = libssh2_sys::libssh2_session_banner_get(session);
        (!text.is_null()).then(|| std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned())
    }
}

/// The number of the last error of a session.
pub(super) fn last_errno(session: *mut LIBSSH2_SESSION) -> c_int {
    // SAFETY: the session is alive.
    unsafe { libssh2_sys::libssh2_session_last_errno(session) }
}

/// An error of SFTP in words.
pub(super) fn sftp_error(number: c_ulong) -> &'static str {
    match number {
        2 | 10 => "no such file or directory",
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

/// A length as the library's older functions want it.
pub(super) fn short_len(text: &[u8]) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

/// A pointer to text for the library, which takes a length beside it.
pub(super) const fn chars(text: &[u8]) -> *const c_char {
    text.as_ptr().cast()
}

/// Permissions as the library wants them.
pub(super) type Mode = c_long;

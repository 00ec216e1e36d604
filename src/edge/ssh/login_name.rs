//! Whom to log in as where the configuration does not say.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::mem::MaybeUninit;

/// The name of the user that this process runs as; its number where it has none.
pub(super) fn own() -> String {
    let mut entry = MaybeUninit::<libc::passwd>::zeroed();
    let mut found = std::ptr::null_mut();
    let mut text = [0_u8; 4096];
    // SAFETY: all pointers are valid for the call and the length is that of `text`; the name points into `text` and is
    // copied before that goes.
    unsafe {
        let user = libc::geteuid();
        let result = libc::getpwuid_r(user, entry.as_mut_ptr(), text.as_mut_ptr().cast(), text.len(), &raw mut found);
        if result != 0 || found.is_null() {
            return user.to_string();
        }
        CStr::from_ptr((*found).pw_name).to_string_lossy().into_owned()
    }
}

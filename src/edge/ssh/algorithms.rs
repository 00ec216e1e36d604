//! Which algorithms are offered to a host.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int};

use libssh2_sys as ffi;

/// What is offered where nothing else is configured, the preferred ones first. AES-GCM before ChaCha20: it is several
/// times faster here, on both ends.
const MODERN: [(c_int, &[&str]); 5] = [
    (
        ffi::LIBSSH2_METHOD_KEX,
        &[
            "mlkem768x25519-sha256",
            "curve25519-sha256",
            "curve25519-sha256@libssh.org",
            "ecdh-sha2-nistp256",
            "ecdh-sha2-nistp384",
            "ecdh-sha2-nistp521",
            "diffie-hellman-group14-sha256",
            "diffie-hellman-group16-sha512",
            "diffie-hellman-group-exchange-sha256",
            "ext-info-c",
            "kex-strict-c-v00@openssh.com",
        ],
    ),
    (
        ffi::LIBSSH2_METHOD_HOSTKEY,
        &[
            "ssh-ed25519",
            "ecdsa-sha2-nistp256",
            "ecdsa-sha2-nistp384",
            "ecdsa-sha2-nistp521",
            "rsa-sha2-512",
            "rsa-sha2-256",
        ],
    ),
    (ffi::LIBSSH2_METHOD_CRYPT_CS, CIPHERS),
    (ffi::LIBSSH2_METHOD_CRYPT_SC, CIPHERS),
    (
        ffi::LIBSSH2_METHOD_MAC_CS,
        &["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512"],
    ),
];
const CIPHERS: &[&str] = &[
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
];
/// What old devices need, and of which at least the first is left out of the library as it is usually built.
const LEGACY_HOST_KEY: &str = "ssh-rsa";

/// Tells a new session what to offer: `preferred` host-key algorithms before all others. Returns what the log should
/// say.
///
/// # Errors
/// The library takes none of it.
pub(super) fn choose(
    session: *mut ffi::LIBSSH2_SESSION,
    preferred: &[&'static str],
    legacy: bool,
) -> Result<Option<String>, String> {
    let mut lacks_legacy = false;
    for (kind, modern) in MODERN {
        let supported = supported(session, kind);
        let mut wanted: Vec<&str> = Vec::new();
        let is_host_key = kind == ffi::LIBSSH2_METHOD_HOSTKEY;
        let first = if is_host_key { preferred } else { &[] };
        let all = first.iter().filter(|name| legacy || modern.contains(*name)).chain(modern);
        let old = supported.iter().map(String::as_str).filter(|name| legacy && !name.contains("-cert-"));
        for name in all.copied().chain(old) {
            if supported.iter().any(|other| other == name) && !wanted.contains(&name) {
                wanted.push(name);
            }
        }
        lacks_legacy |= is_host_key && !wanted.contains(&LEGACY_HOST_KEY);
        set(session, kind, &wanted)?;
        if kind == ffi::LIBSSH2_METHOD_MAC_CS {
            set(session, ffi::LIBSSH2_METHOD_MAC_SC, &wanted)?;
        }
    }
    let text = "ssh_legacy_algorithms: this build has CBC ciphers, but neither ssh-rsa keys nor SHA-1; build with \
                CFLAGS='-DLIBSSH2_RSA_SHA1_ENABLE -DLIBSSH2_KEX_SHA1_ENABLE -DLIBSSH2_HMAC_SHA1_ENABLE \
                -DLIBSSH2_DSA_ENABLE -DLIBSSH2_3DES_ENABLE' for those";
    Ok((legacy && lacks_legacy).then(|| text.to_owned()))
}

/// The names of one kind that the library was built with.
fn supported(session: *mut ffi::LIBSSH2_SESSION, kind: c_int) -> Vec<String> {
    let mut names: *mut *const c_char = std::ptr::null_mut();
    // SAFETY: the session is alive; on success `names` points to `count` C strings that live as long as the library, in
    // an array that is ours to free.
    unsafe {
        let count = ffi::libssh2_session_supported_algs(session, kind, &raw mut names);
        let Ok(count) = usize::try_from(count) else { return Vec::new() };
        if names.is_null() {
            return Vec::new();
        }
        let list = std::slice::from_raw_parts(names, count);
        let list = list.iter().map(|name| CStr::from_ptr(*name).to_string_lossy().into_owned()).collect();
        ffi::libssh2_free(session, names.cast());
        list
    }
}

fn set(session: *mut ffi::LIBSSH2_SESSION, kind: c_int, names: &[&str]) -> Result<(), String> {
    let list = CString::new(names.join(",")).map_err(|error| error.to_string())?;
    // SAFETY: the session is alive and copies the list.
    match unsafe { ffi::libssh2_session_method_pref(session, kind, list.as_ptr()) } {
        0 => Ok(()),
        _ => Err(format!("no usable algorithms: {}", super::library::last_error(session))),
    }
}

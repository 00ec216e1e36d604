//! How a password is shown to a server: `mysql_native_password`, `caching_sha2_password` and `unix_socket`. No socket.

use ring::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

/// What answers the random bytes of a plugin; `None` for a plugin that is not known here.
pub(super) fn answer(plugin: &str, password: &str, nonce: &[u8]) -> Option<Vec<u8>> {
    match plugin {
        // The server knows who is at the other end of its socket.
        "unix_socket" | "auth_socket" => Some(Vec::new()),
        "mysql_native_password" | "caching_sha2_password" if password.is_empty() => Some(Vec::new()),
        "mysql_native_password" => Some(native(password.as_bytes(), nonce)),
        "caching_sha2_password" => Some(caching_sha2(password.as_bytes(), nonce)),
        _ => None,
    }
}

/// SHA1(password) xor SHA1(nonce, SHA1(SHA1(password)))
fn native(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    let once = digest(&SHA1_FOR_LEGACY_USE_ONLY, password);
    let twice = digest(&SHA1_FOR_LEGACY_USE_ONLY, once.as_ref());
    xor(once.as_ref(), &of_two(&SHA1_FOR_LEGACY_USE_ONLY, nonce, twice.as_ref()))
}

/// SHA256(password) xor SHA256(SHA256(SHA256(password)), nonce)
fn caching_sha2(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    let once = digest(&SHA256, password);
    let twice = digest(&SHA256, once.as_ref());
    xor(once.as_ref(), &of_two(&SHA256, twice.as_ref(), nonce))
}

fn of_two(algorithm: &'static Algorithm, first: &[u8], second: &[u8]) -> Vec<u8> {
    let mut context = Context::new(algorithm);
    context.update(first);
    context.update(second);
    context.finish().as_ref().to_vec()
}

fn xor(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter().zip(right).map(|(left, right)| left ^ right).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Expected values computed with Python's hashlib.
    #[test]
    fn scrambles_are_those_of_the_protocol() {
        let nonce = b"ABCDEFGHIJKLMNOPQRST";
        let answered = |plugin, password| answer(plugin, password, nonce).map(|bytes| hex(&bytes));
        assert_eq!(answered("mysql_native_password", "secret").unwrap(), "28441590674285e7d03cae7af237504797f70e91");
        assert_eq!(
            answered("caching_sha2_password", "secret").unwrap(),
            "d721e183c1f036a196c1389201b8d53f38064a16f1d0923683ab886763152d75"
        );
        assert_eq!(answered("caching_sha2_password", "").unwrap(), "");
        assert_eq!(answered("unix_socket", "secret").unwrap(), "");
        assert_eq!(answered("client_ed25519", "secret"), None);
    }
}

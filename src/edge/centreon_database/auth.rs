//! Password authentication to a server: `mysql_native_password`, `caching_sha2_password`, `client_ed25519` and
//! `unix_socket`. It uses no socket.

use curve25519_dalek::EdwardsPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use ring::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512, digest};
use zeroize::Zeroize as _;

/// Returns the answer to the random bytes of a plugin; `None` for an unknown plugin.
pub(super) fn answer(plugin: &str, password: &str, nonce: &[u8]) -> Option<Vec<u8>> {
    if plugin == "client_ed25519" {
        return ed25519(password.as_bytes(), nonce.get(..32)?);
    }
    // The random bytes of the older plugins end with a zero.
    let nonce = nonce.strip_suffix(&[0]).unwrap_or(nonce);
    match plugin {
        // The server identifies the user by the Unix socket.
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

/// The Ed25519 signature of the nonce (RFC 8032 section 5.1.6). MariaDB uses the password in place of the seed of 32
/// bytes.
fn ed25519(password: &[u8], nonce: &[u8]) -> Option<Vec<u8>> {
    let mut expanded: [u8; 64] = sha512(&[password])?;
    let (secret, prefix) = expanded.split_at(32);
    let key = Scalar::from_bytes_mod_order(clamp_integer(secret.try_into().ok()?));
    let public = EdwardsPoint::mul_base(&key).compress();
    let once = Scalar::from_bytes_mod_order_wide(&sha512(&[prefix, nonce])?);
    expanded.zeroize();
    let point = EdwardsPoint::mul_base(&once).compress();
    let challenge = sha512(&[point.as_bytes(), public.as_bytes(), nonce])?;
    let proof = Scalar::from_bytes_mod_order_wide(&challenge) * key + once;
    Some([point.to_bytes(), proof.to_bytes()].concat())
}

fn sha512(parts: &[&[u8]]) -> Option<[u8; 64]> {
    let mut context = Context::new(&SHA512);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().try_into().ok()
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

    /// Expected values computed with Python's hashlib, and for Ed25519 by the formulas of RFC 8032 there.
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
        let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
        let signature = answer("client_ed25519", "secret", nonce).map(|bytes| hex(&bytes)).unwrap();
        let expected = concat!(
            "1961f2f49a2d3b788f2c904f6369817b94500f34eff666c210a8d1dbfc481696",
            "ba8dde6c123d318a3956be11afda97c4d9556eb2c61bdf925e649e990376a009"
        );
        assert_eq!(signature, expected);
        assert!(answer("client_ed25519", "secret", &[0; 31]).is_none(), "32 bytes are signed, no more and no less");
        assert_eq!(answered("dialog", "secret"), None);
    }
}

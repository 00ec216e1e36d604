//! Proofs of a node that joins by a word of `stheno node add` (docs/protocol.md section 20): the one-time secret is
//! never sent, only a keyed digest over what the node wants to be known by.
//!
//! A `pull` node puts the proof of its key into its name in the handshake, a `pullwss` node that of its future token
//! into the token of its upgrade.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use crate::model::node_id::NodeId;
use crate::model::random::{from_hex, to_hex};

/// How the name of a joining pull node begins.
const NAME: &str = "gorgone-join-";
/// How the token of a joining pullwss node begins.
const TOKEN: &str = "join:";

fn message(node: NodeId, what: &[u8]) -> Vec<u8> {
    [node.to_string().as_bytes(), b"\0", what].concat()
}

fn proof(secret: &[u8], node: NodeId, what: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, &message(node, what)))
}

fn is_proof(secret: &[u8], node: NodeId, what: &[u8], proof: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = URL_SAFE_NO_PAD.decode(proof).unwrap_or_default();
    hmac::verify(&key, &message(node, what), &tag).is_ok()
}

/// The name by which node `node` asks that its key be taken.
#[must_use]
pub fn name(secret: &[u8], node: NodeId, thumbprint: &str) -> String {
    format!("{NAME}{node}-{}", proof(secret, node, thumbprint.as_bytes()))
}

/// The node in such a name, whatever its proof is worth.
#[must_use]
pub fn node_in_name(name: &str) -> Option<NodeId> {
    name.strip_prefix(NAME)?.split_once('-')?.0.parse().ok()
}

/// Whether a name proves that the owner of the key knows the secret.
#[must_use]
pub fn proves_key(secret: &[u8], node: NodeId, name: &str, thumbprint: &str) -> bool {
    let rest = name.strip_prefix(NAME).and_then(|rest| rest.split_once('-'));
    rest.is_some_and(|(_, proof)| is_proof(secret, node, thumbprint.as_bytes(), proof))
}

/// The token by which node `node` asks that its future token, of which `hash` is the SHA-256, be taken.
#[must_use]
pub fn token(secret: &[u8], node: NodeId, hash: &[u8; 32]) -> String {
    format!("{TOKEN}{node}:{}:{}", to_hex(hash), proof(secret, node, hash))
}

/// The node, the hash of its future token and the proof in such a token.
#[must_use]
pub fn read_token(token: &[u8]) -> Option<(NodeId, [u8; 32], &str)> {
    let mut parts = std::str::from_utf8(token).ok()?.strip_prefix(TOKEN)?.split(':');
    let (node, hash, proof) = (parts.next()?.parse().ok()?, from_hex(parts.next()?)?.try_into().ok()?, parts.next()?);
    parts.next().is_none().then_some((node, hash, proof))
}

/// Whether the parts of a token prove that its sender knows the secret.
#[must_use]
pub fn proves_token(secret: &[u8], node: NodeId, hash: &[u8; 32], proof: &str) -> bool {
    is_proof(secret, node, hash, proof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_one_secret_one_node_and_one_key() {
        let (two, three) = (NodeId::new(2).unwrap(), NodeId::new(3).unwrap());
        let name = name(b"secret", two, "thumb");
        assert_eq!(node_in_name(&name), Some(two));
        assert!(name.len() < 255 && proves_key(b"secret", two, &name, "thumb"));
        assert!(!proves_key(b"secre", two, &name, "thumb"));
        assert!(!proves_key(b"secret", three, &name, "thumb"));
        assert!(!proves_key(b"secret", two, &name, "other"));
        assert!(!proves_key(b"secret", two, "gorgone-join-2-", "thumb"));
        assert_eq!(node_in_name("gorgone-2"), None);
    }

    #[test]
    fn a_token_carries_the_hash_and_its_proof() {
        let node = NodeId::new(7).unwrap();
        let token = token(b"secret", node, &[9; 32]);
        let (found, hash, proof) = read_token(token.as_bytes()).unwrap();
        assert_eq!((found, hash), (node, [9; 32]));
        assert!(proves_token(b"secret", node, &hash, proof));
        assert!(!proves_token(b"secret", node, &[8; 32], proof));
        for text in ["", "join:7", "join:7:zz:x", "poller:7", "join:0:00:x"] {
            assert!(read_token(text.as_bytes()).is_none(), "{text}");
        }
    }
}

//! The RSA work of a handshake, to be run on a worker thread.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::keys::{KeyError, PrivateKey, PublicKey};
use super::super::sealing::{KeyMaterial, decode_base64};
use super::super::seeded_random::{SEED_LEN, SeededRandom};
use super::{Hello, encode_key, parse_key, parse_public_key};
use crate::model::random::Random as _;

/// The text that a client encrypts for the server.
const PROOF: &[u8] = b"HELO";

/// Server: judges step 4 and makes step 6. No `Debug`: it holds the key of the session.
pub struct HelloJob {
    /// Step 4 as the client sent it.
    pub hello: Hello,
    /// Thumbprints of the authorised keys.
    pub authorized: Arc<BTreeSet<String>>,
    /// The key that the session gets if the client is accepted.
    pub material: KeyMaterial,
    /// Our host name, for the client's log.
    pub hostname: Arc<str>,
    /// Randomness for this job alone.
    pub seed: [u8; SEED_LEN],
}

/// Why a client was refused. For our own log only: the client is never told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// Its public key cannot be used.
    Key(KeyError),
    /// It did not encrypt the right text with our key: it knows another key of ours.
    Proof,
    /// Its key is not among the authorised ones.
    Unauthorized,
}

/// The outcome of a [`HelloJob`]. No `Debug`: it holds the key of the session.
pub enum HelloOutcome {
    /// The client gets a session.
    Accepted {
        /// Thumbprint of its key.
        thumbprint: String,
        /// Step 6, ready to be sent.
        reply: Vec<u8>,
        /// The key of the session.
        material: KeyMaterial,
    },
    /// The client gets the same refusal as every other.
    Refused {
        /// Thumbprint of its key, if the key could be read.
        thumbprint: Option<String>,
        /// The cause, as a sentence for the log and for rows.
        reason: RefusalReason,
    },
}

impl HelloJob {
    /// Runs every step even after a failure, with stand-ins for what is missing, so that neither the time nor the
    /// answer tells a client which part of its attempt was wrong.
    #[must_use]
    pub fn run(self, private_key: &PrivateKey) -> HelloOutcome {
        let mut random = SeededRandom::new(&self.seed);
        let parsed = PublicKey::from_pem(&self.hello.public_key_pem);
        let client_key = parsed.as_ref().map_or_else(|_| private_key.public(), Clone::clone);
        let thumbprint = client_key.thumbprint();
        let authorized = self.authorized.contains(&thumbprint);
        let proved = proof_holds(private_key, &self.hello.encrypted, &mut random);
        let text = encode_key(&self.material, &self.hostname, client_key.capacity_bytes());
        let reply = client_key.encrypt(&text, &mut random).map(|bytes| STANDARD.encode(bytes).into_bytes());
        let (refusal, reply) = match (parsed, reply) {
            (Err(error), _) => return HelloOutcome::Refused { thumbprint: None, reason: RefusalReason::Key(error) },
            (Ok(_), None) => (Some(RefusalReason::Key(KeyError::Damaged)), Vec::new()),
            (Ok(_), Some(_)) if !authorized => (Some(RefusalReason::Unauthorized), Vec::new()),
            (Ok(_), Some(_)) if !proved => (Some(RefusalReason::Proof), Vec::new()),
            (Ok(_), Some(reply)) => (None, reply),
        };
        match refusal {
            Some(reason) => HelloOutcome::Refused { thumbprint: Some(thumbprint), reason },
            None => HelloOutcome::Accepted { thumbprint, reply, material: self.material },
        }
    }
}

fn proof_holds(private_key: &PrivateKey, encrypted: &[u8], random: &mut SeededRandom) -> bool {
    let opened = private_key.decrypt(encrypted, random).or_else(|| {
        // A text of a wrong length would fail without any arithmetic, so a stand-in is decrypted. Its first byte is 0,
        // which keeps it below the modulus.
        let mut stand_in = vec![0; private_key.encrypted_len()];
        random.fill(stand_in.get_mut(1..).unwrap_or_default());
        private_key.decrypt(&stand_in, random).map(|_| Vec::new())
    });
    // No early end at the first difference: the decrypted text of a stranger's attempt is our secret.
    opened.is_some_and(|text| {
        text.len() == PROOF.len() && text.iter().zip(PROOF).fold(0, |all, (a, b)| all | (a ^ b)) == 0
    })
}

/// Client: the two steps that need RSA. No `Debug`: the second one carries a key.
pub enum DialJob {
    /// Reads step 2 and makes step 4 from it.
    SealHello {
        /// Step 2 as received.
        payload: Vec<u8>,
        /// Our name for ourselves.
        name: String,
        /// PEM text of our public key.
        public_key_pem: Arc<str>,
        /// Randomness for this job alone.
        seed: [u8; SEED_LEN],
    },
    /// Opens step 6.
    OpenKey {
        /// Step 6 as received.
        payload: Vec<u8>,
        /// Randomness for this job alone.
        seed: [u8; SEED_LEN],
    },
}

/// The outcome of a [`DialJob`]. No `Debug`: it may hold a key.
pub enum DialResult {
    /// Step 4 is ready.
    Hello {
        /// Thumbprint of the server's key.
        thumbprint: String,
        /// Step 4, to be sent if that thumbprint is the expected one.
        payload: Vec<u8>,
    },
    /// The key of the session.
    Key(KeyMaterial),
    /// The step failed. The text is for the log and holds no secret.
    Failed(String),
}

impl DialJob {
    /// Does the step.
    #[must_use]
    pub fn run(self, private_key: &PrivateKey) -> DialResult {
        match self {
            Self::SealHello { payload, name, public_key_pem, seed } => {
                seal_hello(&payload, name, &public_key_pem, &seed).unwrap_or_else(DialResult::Failed)
            }
            Self::OpenKey { payload, seed } => {
                open_key(private_key, &payload, &seed).map_or_else(DialResult::Failed, DialResult::Key)
            }
        }
    }
}

fn seal_hello(payload: &[u8], name: String, own_pem: &str, seed: &[u8; SEED_LEN]) -> Result<DialResult, String> {
    let pem = parse_public_key(payload).ok_or("the node's answer to GETPUBKEY holds no public key")?;
    let key = PublicKey::from_pem(&pem).map_err(|error| format!("the node's public key {error}"))?;
    let encrypted = key.encrypt(PROOF, &mut SeededRandom::new(seed)).ok_or("the node's public key is too short")?;
    let hello = Hello { name, public_key_pem: own_pem.as_bytes().to_vec(), encrypted };
    Ok(DialResult::Hello { thumbprint: key.thumbprint(), payload: hello.encode() })
}

fn open_key(private_key: &PrivateKey, payload: &[u8], seed: &[u8; SEED_LEN]) -> Result<KeyMaterial, String> {
    let encrypted = decode_base64(payload).ok_or("the node's answer to our handshake is not base64")?;
    let text = private_key
        .decrypt(&encrypted, &mut SeededRandom::new(seed))
        .ok_or("the node's answer to our handshake is not encrypted for our key")?;
    parse_key(&text).map_err(|problem| {
        format!("the node's session key cannot be read: {problem} (privkey and pubkey here may not belong together)")
    })
}

//! A Gorgone client (docs/protocol.md section 3) for load and crash tests. `tests/interop` uses the independent one.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use aes::Aes256;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::pkcs8::{DecodePublicKey as _, EncodePublicKey as _, LineEnding};
use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::{Pkcs1v15Encrypt, PrivateKey, PublicKey};
use serde_json::{Value, json};
use stheno::model::random::from_hex;

use super::keys;
use super::zmtp::Dealer;

/// A reply: the word in the first brackets, the token, the JSON.
pub struct Reply {
    pub kind: String,
    pub token: String,
    pub json: Value,
}

/// An established session.
pub struct Client {
    dealer: Dealer,
    identity: Vec<u8>,
    key: Vec<u8>,
    iv: Vec<u8>,
    /// How often the server has changed the key of the session.
    pub rotations: usize,
}

impl Client {
    /// Connects to 127.0.0.1 and shakes hands as `name` with the key of `owner` and a new routing id.
    pub fn connect(port: u16, owner: &str, name: &str) -> io::Result<Self> {
        let mut suffix = [0_u8; 12];
        SystemRandom.try_fill_bytes(&mut suffix).unwrap();
        let identity = format!("{name}-{}", stheno::model::random::to_hex(&suffix));
        Self::connect_as(port, owner, name, identity.as_bytes())
    }

    /// Does the same with a given routing id.
    pub fn connect_as(port: u16, owner: &str, name: &str, identity: &[u8]) -> io::Result<Self> {
        let key = keys::private(owner);
        let mut dealer = Dealer::connect(port, identity, 0)?;
        dealer.send(b"[GETPUBKEY]")?;
        let server = server_key(&dealer.receive()?)?;
        dealer.send(&hello(&server, &key, name, b"HELO"))?;
        let answer = dealer.receive()?;
        if answer.starts_with(b"[ACK]") {
            return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
        }
        let sealed = STANDARD.decode(&answer).map_err(not_base64)?;
        let plain = key.decrypt(Pkcs1v15Encrypt, &sealed).map_err(io::Error::other)?;
        let identity = identity.to_vec();
        let mut client = Self { dealer, identity, key: Vec::new(), iv: Vec::new(), rotations: 0 };
        client.take_key(&plain)?;
        Ok(client)
    }

    /// Reconnects with the same routing id and key, as libzmq does after a broken connection.
    pub fn reconnect(self, port: u16) -> io::Result<Self> {
        let dealer = Dealer::connect(port, &self.identity, 0)?;
        Ok(Self { dealer, ..self })
    }

    /// Returns two handles on one session, for a thread that writes and one that reads.
    pub fn split(self) -> io::Result<(Dealer, Self)> {
        Ok((self.dealer.writer_only()?, self))
    }

    fn take_key(&mut self, plain: &[u8]) -> io::Result<()> {
        let json = plain.strip_prefix(b"[KEY] ").ok_or_else(|| io::Error::other("no [KEY]"))?;
        let json: Value = serde_json::from_slice(json)?;
        let hex = |name: &str| json[name].as_str().and_then(from_hex).ok_or_else(|| io::Error::other(json.to_string()));
        (self.key, self.iv) = (hex("key")?, hex("iv")?);
        Ok(())
    }

    /// Sets how long [`Self::receive`] waits.
    pub fn set_timeout(&self, limit: Duration) {
        self.dealer.set_timeout(limit);
    }

    /// Sends `[action] [token] [target] data`.
    pub fn send(&mut self, action: &str, token: &str, target: &str, data: &Value) -> io::Result<()> {
        self.send_plain(format!("[{action}] [{token}] [{target}] {data}").as_bytes())
    }

    /// Seals and sends any bytes.
    pub fn send_plain(&mut self, plain: &[u8]) -> io::Result<()> {
        let sealed = self.seal(plain);
        self.dealer.send(&sealed)
    }

    /// A sealed message.
    pub fn seal(&self, plain: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; plain.len() + 16];
        buffer[..plain.len()].copy_from_slice(plain);
        let cipher = cbc::Encryptor::<Aes256>::new_from_slices(&self.key, &self.iv).unwrap();
        let sealed = cipher.encrypt_padded::<Pkcs7>(&mut buffer, plain.len()).unwrap();
        STANDARD.encode(sealed).into_bytes()
    }

    /// Writes raw bytes of ZMTP.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.dealer.send_bytes(bytes)
    }

    /// Returns the next plain text, and applies a new key.
    pub fn receive_plain(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let message = self.dealer.receive()?;
            if message.starts_with(b"[") {
                return Ok(message);
            }
            let mut buffer = STANDARD.decode(&message).map_err(not_base64)?;
            let cipher = cbc::Decryptor::<Aes256>::new_from_slices(&self.key, &self.iv).unwrap();
            let plain = cipher.decrypt_padded::<Pkcs7>(&mut buffer).map_err(|_| io::Error::other("padding"))?.to_vec();
            if !plain.starts_with(b"[KEY]") {
                return Ok(plain);
            }
            self.take_key(&plain)?;
            self.rotations += 1;
        }
    }

    /// The next reply.
    pub fn receive(&mut self) -> io::Result<Reply> {
        let plain = self.receive_plain()?;
        let text = String::from_utf8(plain).map_err(io::Error::other)?;
        read_reply(&text).ok_or_else(|| io::Error::other(format!("no reply: {text}")))
    }

    /// Sends and waits for the reply with the same token.
    #[track_caller]
    pub fn request(&mut self, action: &str, token: &str, target: &str, data: &Value) -> Reply {
        self.send(action, token, target, data).unwrap();
        loop {
            let reply = self.receive().unwrap_or_else(|error| panic!("no reply to {action} {token}: {error}"));
            if reply.token == token {
                return reply;
            }
        }
    }

    /// Returns the rows of a token in this daemon after it has finished.
    #[track_caller]
    pub fn wait_for_rows(&mut self, token: &str, limit: Duration) -> Vec<Value> {
        super::until(&format!("{token} finishes"), limit, || {
            let reply = self.request("GETLOG", &format!("{token}-log"), "", &json!({ "token": token }));
            let rows = reply.json["data"]["result"].as_array().cloned().unwrap_or_default();
            rows.iter().any(super::api::is_last).then_some(rows)
        })
    }
}

fn not_base64(error: base64::DecodeError) -> io::Error {
    io::Error::other(error.to_string())
}

/// Splits `[TYPE] [TOKEN] ([TARGET]) JSON`.
fn read_reply(text: &str) -> Option<Reply> {
    let (kind, rest) = text.strip_prefix('[')?.split_once("] [")?;
    let (token, rest) = rest.split_once(']')?;
    let rest = rest.trim_start();
    let json = rest.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map_or(rest, |(_, json)| json);
    Some(Reply { kind: kind.to_owned(), token: token.to_owned(), json: serde_json::from_str(json).ok()? })
}

/// Returns the server's key from `[PUBKEY] [base64]`, whatever its label is.
pub fn server_key(message: &[u8]) -> io::Result<PublicKey> {
    let text = String::from_utf8_lossy(message);
    let body = text.strip_prefix("[PUBKEY] [").and_then(|rest| rest.split(']').next());
    let pem = body.and_then(|body| STANDARD.decode(body).ok()).ok_or_else(|| io::Error::other(text.to_string()))?;
    let pem = String::from_utf8_lossy(&pem);
    let lines: String = pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
    let der = STANDARD.decode(lines).map_err(not_base64)?;
    PublicKey::from_public_key_der(&der).or_else(|_| PublicKey::from_pkcs1_der(&der)).map_err(io::Error::other)
}

/// Returns step 4 of the handshake with `text` sealed for the server.
pub fn hello(server: &PublicKey, own: &PrivateKey, name: &str, text: &[u8]) -> Vec<u8> {
    let sealed = server.encrypt(&mut SystemRandom, Pkcs1v15Encrypt, text).unwrap();
    let pem = own.to_public_key().to_public_key_pem(LineEnding::LF).unwrap();
    format!("[{name}] [{}] [{}]", STANDARD.encode(pem), STANDARD.encode(sealed)).into_bytes()
}

/// Random bytes of the system.
pub struct SystemRandom;

impl TryRng for SystemRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        File::open("/dev/urandom").unwrap().read_exact(bytes).unwrap();
        Ok(())
    }
}

impl TryCryptoRng for SystemRandom {}

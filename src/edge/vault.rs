//! Reads secrets from a HashiCorp vault (docs/protocol.md section 18): AppRole login, then paths of the KV engine
//! version 2. It blocks, so it runs on worker threads, or before the event loop.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::web_client::{self, WebReply};
use crate::config::settings::ClientTls;
use crate::config::vault::VaultReference;
use crate::config::web_api::WebUrl;
use crate::model::secret::Secret;

/// Time limit of each call.
const PATIENCE: Duration = Duration::from_secs(5);
/// The file in which the web interface keeps the key of encrypted credentials.
const ENVIRONMENT_FILE: &str = "/usr/share/centreon/.env";
/// Length in bytes of the initialisation vector before an encrypted text.
const VECTOR_BYTES: usize = 16;
const DIGEST_BYTES: usize = 64;
const KEY_BYTES: usize = 32;

/// Reads secrets from the vault that `file` describes.
///
/// # Errors
/// A sentence that names the file, the server, or the path and the key, but never a value.
pub fn look_up(file: &Path, references: &BTreeSet<VaultReference>) -> Result<BTreeMap<VaultReference, Secret>, String> {
    let shown = file.display();
    let bytes = fs::read(file).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let settings: Value =
        serde_json::from_slice(&bytes).map_err(|error| format!("{shown} is no JSON (line {})", error.line()))?;
    let text = |key: &str| {
        let value = settings.get(key).filter(|value| !value.is_null())?;
        value.as_str().map(str::to_owned).or_else(|| value.as_u64().map(|number| number.to_string()))
    };
    let url = url(&text).ok_or_else(|| format!("{shown} has no 'url' and 'port' that can be used"))?;
    let credential = |key: &str| {
        let value = text(key).ok_or_else(|| format!("{shown} has no '{key}'"))?;
        let plain = match (text("salt").filter(|salt| !salt.is_empty()), app_secret()) {
            (Some(_), Some(key)) => decrypt(&value, &key),
            _ => Some(value),
        };
        plain.ok_or_else(|| format!("the '{key}' of {shown} cannot be decrypted by APP_SECRET"))
    };
    let login = json!({ "role_id": credential("role_id")?, "secret_id": credential("secret_id")? });
    let kind = "Content-Type: application/json".to_owned();
    let said = web_client::call(&url, ("POST", "/v1/auth/approle/login"), &[kind], &login.to_string(), PATIENCE)?;
    let said =
        answer(said).map_err(|why| format!("the vault at {}:{} refuses the login: {why}", url.host, url.port))?;
    let token = said.pointer("/auth/client_token").and_then(Value::as_str).ok_or("the vault's login gives no token")?;
    let header = [format!("X-Vault-Token: {}", token.replace(['\r', '\n'], ""))];
    let mut paths: BTreeMap<&str, Value> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for reference in references {
        let VaultReference { path, key } = reference;
        if !paths.contains_key(path.as_str()) {
            let said = web_client::call(&url, ("GET", &format!("/v1/{path}")), &header, "", PATIENCE)?;
            let data = answer(said).map_err(|why| format!("the vault has nothing at '{path}' ('{key}'): {why}"))?;
            paths.insert(path, data.pointer("/data/data").cloned().unwrap_or_default());
        }
        let value = paths.get(path.as_str()).and_then(|data| data.get(key));
        let value = value.and_then(|value| value.as_str().map(str::to_owned).or_else(|| Some(value.to_string())));
        let value = value.ok_or_else(|| format!("the vault has no key '{key}' at '{path}'"))?;
        found.insert(reference.clone(), Secret::new(value));
    }
    Ok(found)
}

fn url(text: &impl Fn(&str) -> Option<String>) -> Option<WebUrl> {
    let host = text("url").filter(|host| !host.is_empty()).unwrap_or_else(|| "127.0.0.1".to_owned());
    let host = host.trim_start_matches("https://").trim_end_matches('/').to_owned();
    let port = text("port").filter(|port| !port.is_empty()).unwrap_or_else(|| "443".to_owned()).parse().ok()?;
    let is_unverified = text("https_cert_no_verify").is_some_and(|word| word == "true" || word == "1");
    let ca_file = text("ssl_ca_file").map(Into::into);
    let tls = if is_unverified { ClientTls::NoVerify } else { ClientTls::Verify { ca_file } };
    let fits = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    fits.then(|| WebUrl { host, port, path: String::new(), tls: Some(tls) })
}

/// Returns the JSON of an answer, or why it is invalid.
fn answer(reply: WebReply) -> Result<Value, String> {
    match reply.status {
        200..=299 => serde_json::from_slice(&reply.body).map_err(|_| "its answer is no JSON".to_owned()),
        status => Err(format!("it answers {status}")),
    }
}

fn app_secret() -> Option<String> {
    let from_file = || {
        let text = fs::read_to_string(ENVIRONMENT_FILE).ok()?;
        text.lines().find_map(|line| line.strip_prefix("APP_SECRET=").map(str::to_owned))
    };
    std::env::var("APP_SECRET").ok().filter(|key| !key.is_empty()).or_else(from_file)
}

/// Decrypts AES-256-CBC data after a vector and a digest, all in base64. The digest is not checked, as in the original.
fn decrypt(text: &str, key: &str) -> Option<String> {
    let bytes = STANDARD.decode(text.trim()).ok()?;
    let key = STANDARD.decode(key.trim()).ok()?;
    let vector = bytes.get(..VECTOR_BYTES)?;
    let encrypted = bytes.get(VECTOR_BYTES.saturating_add(DIGEST_BYTES)..)?;
    if key.len() != KEY_BYTES || !encrypted.len().is_multiple_of(aes_cbc::BLOCK_LEN) {
        return None;
    }
    let mut plain = encrypted.to_vec();
    aes_cbc::Key::new(&key).decrypt(vector.try_into().ok()?, &mut plain);
    plain.truncate(aes_cbc::unpadded_len(&plain)?);
    String::from_utf8(plain).ok()
}

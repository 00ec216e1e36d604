//! Queries the web API for a token of a node (docs/protocol.md section 18). It blocks, so it runs on worker threads.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::web_client::{self, WebReply};
use crate::config::web_api::{WebAccount, WebUrl};
use crate::model::secret::Secret;

/// Time limit of all calls of one query, so that its answer arrives while the node still waits.
const PATIENCE: Duration = Duration::from_secs(8);
const JSON: &str = "Content-Type: application/json";

/// A token in the web interface.
pub struct FoundToken {
    /// Value of the token.
    pub value: Secret,
    /// Expiry time in seconds since the epoch; `None` if it never expires.
    pub expires: Option<i64>,
    /// Whether the token was revoked.
    pub is_revoked: bool,
}

/// The current login at the web API: the value of `X-AUTH-TOKEN`.
#[derive(Default)]
pub struct WebLogin(Mutex<Option<String>>);

impl WebLogin {
    fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, login: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(login.to_owned());
    }
}

/// Returns the token of this name; `None` if there is none.
///
/// # Errors
/// Says why the token is unknown, with the address of the web API and without secrets.
pub fn look_up(account: &WebAccount, login: &WebLogin, name: &str) -> Result<Option<FoundToken>, String> {
    let url = account.url.as_ref().ok_or("'centreonv2' in 'tpapi' has no 'base_url'")?;
    let found = ask_for(account, url, login, name);
    found.map_err(|why| format!("the web API at {}:{}{}: {why}", url.host, url.port, url.path))
}

fn ask_for(account: &WebAccount, url: &WebUrl, login: &WebLogin, name: &str) -> Result<Option<FoundToken>, String> {
    let deadline = Instant::now() + PATIENCE;
    let ask = |login: &str| {
        let headers = [JSON.to_owned(), format!("X-AUTH-TOKEN: {login}")];
        let path = format!("/administration/tokens/{}", in_path(name));
        web_client::call(url, ("GET", &path), &headers, "", left(deadline))
    };
    if let Some(known) = login.get() {
        let reply = ask(&known)?;
        if !matches!(reply.status, 401 | 403) {
            return read(&reply, name);
        }
    }
    let fresh = log_in(account, url, deadline)?;
    login.set(&fresh);
    read(&ask(&fresh)?, name)
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn log_in(account: &WebAccount, url: &WebUrl, deadline: Instant) -> Result<String, String> {
    let credentials = json!({ "login": account.username, "password": account.password.reveal() });
    let body = json!({ "security": { "credentials": credentials } }).to_string();
    let reply = web_client::call(url, ("POST", "/login"), &[JSON.to_owned()], &body, left(deadline))?;
    if !(200..300).contains(&reply.status) {
        return Err(format!("it refuses the login of 'username' with the status {}", reply.status));
    }
    let said: Value = serde_json::from_slice(&reply.body).map_err(|_| "its answer to the login is not JSON")?;
    let login = said.pointer("/security/token").and_then(Value::as_str);
    let fits = |login: &&str| !login.is_empty() && login.bytes().all(|byte| byte.is_ascii_graphic());
    Ok(login.filter(fits).ok_or("its answer to the login has no 'security.token'")?.to_owned())
}

fn read(reply: &WebReply, name: &str) -> Result<Option<FoundToken>, String> {
    // A page of another web server is not an answer, whatever its status.
    let said: Option<Value> = serde_json::from_slice(&reply.body).ok().filter(Value::is_object);
    let said = said.ok_or_else(|| format!("it answers with the status {} and no JSON", reply.status))?;
    match reply.status {
        200 => token(&said, name).map(Some).map_err(|key| format!("its answer has no '{key}' that can be read")),
        404 => Ok(None),
        401 | 403 => Err("'username' may not read tokens".to_owned()),
        status => Err(format!("it answers with the status {status}")),
    }
}

/// Returns the token, or the name of its faulty field.
fn token(said: &Value, name: &str) -> Result<FoundToken, &'static str> {
    if said.get("name").and_then(Value::as_str) != Some(name) {
        return Err("name");
    }
    let value = said.get("token").and_then(Value::as_str).filter(|value| !value.is_empty()).ok_or("token")?;
    let is_revoked = said.get("is_revoked").and_then(Value::as_bool).ok_or("is_revoked")?;
    let expires = match said.get("expiration_date").ok_or("expiration_date")? {
        Value::Null => None,
        date => Some(date.as_str().and_then(seconds_of).ok_or("expiration_date")?),
    };
    Ok(FoundToken { value: Secret::new(value), expires, is_revoked })
}

/// Converts an RFC 3339 date to seconds since the epoch; the colon in the time zone may be missing.
fn seconds_of(date: &str) -> Option<i64> {
    let (day, rest) = date.split_once(['T', 't', ' '])?;
    let (time, zone) = rest.split_at(rest.find(['Z', 'z', '+', '-'])?);
    let mut days = day.splitn(3, '-');
    let (year, month, day) = (days.next()?, days.next()?.parse().ok()?, days.next()?.parse().ok()?);
    let mut times = time.splitn(3, ':');
    let (hour, minute, second) = (times.next()?.parse().ok()?, times.next()?.parse().ok()?, times.next()?);
    let second = second.split('.').next()?.parse().ok()?;
    let utc = tz::UtcDateTime::new(year.parse().ok()?, month, day, hour, minute, second, 0).ok()?.unix_time();
    if zone.eq_ignore_ascii_case("z") {
        return Some(utc);
    }
    let digits = zone.get(1..)?.replace(':', "");
    let is_offset = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let offset: i64 = digits.parse().ok().filter(|_| is_offset)?;
    let east = (offset / 100 * 60 + offset % 100) * 60;
    Some(if zone.starts_with('-') { utc + east } else { utc - east })
}

/// Encodes a name as one component of a path.
fn in_path(name: &str) -> String {
    let mut path = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, body: &str) -> Result<Option<FoundToken>, String> {
        read(&WebReply { status, body: body.as_bytes().to_vec() }, "paris")
    }

    #[test]
    fn an_answer_is_a_token_none_or_no_answer_at_all() {
        let whole = r#"{"name":"paris","token":"abc","is_revoked":false,"expiration_date":null,"type":"cma"}"#;
        let found = said(200, whole).unwrap().unwrap();
        assert!(found.value.reveal() == "abc" && !found.is_revoked && found.expires.is_none());
        assert!(said(200, &whole.replace("false", "true")).unwrap().unwrap().is_revoked);
        assert!(said(404, r#"{"code":404,"message":"Token not found"}"#).unwrap().is_none());
        for (status, body, expected) in [
            (404, "<html>", "the status 404 and no JSON"),
            (200, "", "the status 200 and no JSON"),
            (200, "[]", "no JSON"),
            (500, "{}", "the status 500"),
            (403, "{}", "may not read tokens"),
            (200, &*whole.replace("paris", "lyon"), "'name'"),
            (200, &*whole.replace("\"abc\"", "null"), "'token'"),
            (200, &*whole.replace("false", "0"), "'is_revoked'"),
            (200, &*whole.replace("null", "\"soon\""), "'expiration_date'"),
        ] {
            let why = said(status, body).err().unwrap();
            assert!(why.contains(expected), "{why}");
        }
    }

    #[test]
    fn dates_have_a_zone() {
        for (date, expected) in [
            ("1970-01-02T00:00:00Z", Some(86_400)),
            ("1970-01-02T01:30:00+01:30", Some(86_400)),
            ("1970-01-01T22:00:00.123456-0200", Some(86_400)),
            ("2100-02-29T00:00:00Z", None),
            ("1970-01-02T00:00:00", None),
            ("1970-01-02", None),
            ("", None),
            ("1970-01-02T00:00:00+é", None),
        ] {
            assert_eq!(seconds_of(date), expected, "{date}");
        }
        assert_eq!(in_path("a b/ü."), "a%20b%2F%C3%BC.");
    }
}

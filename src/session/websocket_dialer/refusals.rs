//! Messages for refusals by a central or a proxy, with the remedy.

use super::settings::WebSocketDialerSettings;
use crate::session::back_off::Severity;
use crate::wire::websocket::upgrade::ResponseProblem;

/// Maximum number of characters shown of a peer's text.
const SHOWN_CHARACTERS: usize = 120;

/// Returns the message of a JSON refusal (docs/protocol.md section 9); `None` if the text is none.
pub fn message_of(text: &[u8]) -> Option<String> {
    if !text.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let value: serde_json::Value = serde_json::from_slice(text).ok()?;
    value.get("code")?;
    Some(value.get("message")?.as_str()?.to_owned())
}

/// Describes a refusal by the central after the upgrade.
pub fn of_central(settings: &WebSocketDialerSettings, message: &str) -> (String, Severity) {
    let remedy = match message {
        "token authorization unallowed" => {
            "set 'token' of module pullwss here to the 'token' of httpserver in the proxy module of the central"
        }
        "please registernodes" | "authentication failed" => {
            "check that 'id' of gorgonecore here is the id of a node that the central knows as pullwss"
        }
        "too many wrong tokens from this address, try again later" => {
            return (said(settings, message, "others at our address have a wrong token"), Severity::Transient);
        }
        "the token cannot be checked now, try again later" => {
            return (said(settings, message, "its web API does not answer it"), Severity::Transient);
        }
        _ if message.starts_with("another daemon is connected as node") => {
            "give one of the two another 'gorgonecore.id'"
        }
        "timeout reached" => return (said(settings, message, "it heard nothing from us"), Severity::Transient),
        _ => "look into the log of the central",
    };
    (said(settings, message, remedy), Severity::NeedsOperator)
}

fn said(settings: &WebSocketDialerSettings, message: &str, remedy: &str) -> String {
    format!("{} refused us: {}; {remedy}", settings.shown_address(), shown(message))
}

/// Describes an answer that is not an upgrade.
pub fn of_upgrade(settings: &WebSocketDialerSettings, problem: &ResponseProblem) -> (String, Severity) {
    let (remedy, severity) = match problem {
        ResponseProblem::Status { status: 401 | 403, .. } => {
            ("check 'token' of module pullwss", Severity::NeedsOperator)
        }
        ResponseProblem::Status { status: 404 | 405 | 426, .. } => {
            ("check 'address', 'port' and 'central_uri' of module pullwss", Severity::NeedsOperator)
        }
        ResponseProblem::Status { status: 300..=399, .. } => (
            "redirections are not followed: check 'ssl', 'address', 'port' and 'central_uri' of module pullwss",
            Severity::NeedsOperator,
        ),
        ResponseProblem::Status { status: 200..=299, .. } => (
            "a web server answers there: check 'address', 'port', 'central_uri' and 'ssl' of module pullwss",
            Severity::NeedsOperator,
        ),
        ResponseProblem::Status { status: 500..=599, .. } => ("it may be starting or overloaded", Severity::Transient),
        // A listener with TLS answers plain HTTP with an alert or, like ours, with status 400.
        ResponseProblem::NotHttp | ResponseProblem::Status { status: 400, .. } if !settings.is_tls => (
            "check 'address' and 'port' of module pullwss, and whether the central wants 'ssl: true'",
            Severity::NeedsOperator,
        ),
        _ => ("check 'address' and 'port' of module pullwss", Severity::NeedsOperator),
    };
    (format!("no WebSocket at {}: {problem}; {remedy}", settings.shown_address()), severity)
}

/// Describes an answer of the proxy that opens no connection.
pub fn of_proxy(settings: &WebSocketDialerSettings, problem: &ResponseProblem) -> (String, Severity) {
    let (remedy, severity) = match problem {
        // tinyproxy answers 401 instead of 407.
        ResponseProblem::Status { status: 401 | 407, .. } => (
            "put user and password into 'proxy' of module pullwss: http://user:password@host:port",
            Severity::NeedsOperator,
        ),
        ResponseProblem::Status { status: 403 | 405, .. } => {
            ("it has to allow CONNECT to this address and port", Severity::NeedsOperator)
        }
        ResponseProblem::Status { .. } => ("it does not reach the central now", Severity::Transient),
        _ => ("check 'proxy' of module pullwss", Severity::NeedsOperator),
    };
    (format!("no connection to {}: {problem}; {remedy}", settings.shown_address()), severity)
}

/// Describes a close by the central.
pub fn of_close(settings: &WebSocketDialerSettings, code: Option<u16>, reason: &str) -> String {
    let code = code.map_or_else(|| "without a code".to_owned(), |code| format!("with code {code}"));
    let point = if reason.is_empty() { "" } else { ": " };
    format!("{} closed the WebSocket {code}{point}{}", settings.shown_address(), shown(reason))
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARACTERS).map(|character| if character.is_control() { ' ' } else { character }).collect()
}

//! Our central over a WebSocket: proxy, TLS, upgrade, token, id.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use super::socket::{Socket, connect, explain, is_late};
use crate::config::modules::dial_in::PullWssSettings;
use crate::config::settings::ClientTls;
use crate::edge::clock;
use crate::edge::random::SystemRandom;
use crate::edge::tls::client::{ClientContext, TlsFault};
use crate::model::connection::Endpoint;
use crate::model::diagnosis::{Cause, Report};
use crate::model::time::Monotonic;
use crate::wire::receive_buffer::ReceiveBuffer;
use crate::wire::websocket::connection::{Event, Settings, WebSocketConnection};
use crate::wire::websocket::upgrade::{ResponseProblem, UpgradeCall, connect_request, read_connect_response};

/// How long to wait for each answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long an original central is given to refuse a token.
const TOKEN: Duration = Duration::from_millis(1_500);
/// Difference between two clocks from which on it is reported.
const CLOCK_SECONDS: i64 = 60;

/// What a central of our kind says to a node that it would take.
const TAKEN: &str = "the node may register";

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// Looks at the way to the central of the module `pullwss`; adds the steps. Returns what the central says to node `id`,
/// if its token is accepted.
pub fn look_at_web_socket(report: &mut Report, settings: &PullWssSettings, id: u64) -> Option<Result<(), String>> {
    let socket = reach(report, settings)?;
    let stream: Box<dyn Stream> = match &settings.tls {
        None => Box::new(socket),
        Some(tls) => secure(report, settings, tls, socket)?,
    };
    upgrade(report, settings, stream, id)
}

/// Connects to the central, through the proxy if there is one.
fn reach(report: &mut Report, settings: &PullWssSettings) -> Option<TcpStream> {
    let (host, port) =
        settings.proxy.as_ref().map_or((&settings.host, settings.port), |proxy| (&proxy.host, proxy.port));
    let endpoint = Endpoint::Tcp { host: host.clone(), port };
    let mut stream = match connect(report, &endpoint) {
        Ok(Socket::Tcp(stream)) => stream,
        Ok(Socket::Unix(_)) | Err(None) => return None,
        Err(Some(refused)) => {
            explain(report, &endpoint, refused, None);
            return None;
        }
    };
    let patience = Some(ANSWER);
    stream.set_read_timeout(patience).and_then(|()| stream.set_write_timeout(patience)).ok()?;
    let Some(proxy) = &settings.proxy else { return Some(stream) };
    let auth = proxy.auth.as_ref().map(|auth| (auth.user.as_str(), auth.password.as_str()));
    let request = connect_request(&settings.host, settings.port, auth);
    let opened = stream.write_all(&request).map_err(|error| error.to_string()).and_then(|()| {
        let mut received = ReceiveBuffer::new();
        let deadline = clock::monotonic() + ANSWER;
        read_until(&mut stream, &mut received, deadline, read_connect_response)
    });
    let expected = format!("the proxy opens a connection to {}:{}", settings.host, settings.port);
    match opened {
        Ok(()) => {
            report.good("proxy", expected, "it does");
            Some(stream)
        }
        Err(text) => {
            let advice = "correct 'proxy' of the module pullwss (user and password included), or let the proxy allow \
                CONNECT to this address and port";
            report.bad("proxy", expected, text, Cause::OtherService, advice);
            None
        }
    }
}

/// Reads until `parse` has a whole answer.
fn read_until(
    stream: &mut dyn Read,
    received: &mut ReceiveBuffer,
    deadline: Monotonic,
    mut parse: impl FnMut(&mut ReceiveBuffer) -> Result<bool, ResponseProblem>,
) -> Result<(), String> {
    let mut buffer = [0; 4_096];
    loop {
        match parse(received) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(problem) => return Err(problem.to_string()),
        }
        if clock::monotonic() > deadline {
            return Err(format!("no answer within {} s", ANSWER.as_secs()));
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Err("it closes the connection without an answer".to_owned()),
            Ok(count) => received.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(error) if is_late(&error) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Does the TLS handshake; adds the step.
fn secure(
    report: &mut Report,
    settings: &PullWssSettings,
    tls: &ClientTls,
    socket: TcpStream,
) -> Option<Box<dyn Stream>> {
    const STEP: &str = "tls";
    let expected = match tls {
        ClientTls::Verify { ca_file: None } => "a certificate that the roots of this system vouch for".to_owned(),
        ClientTls::Verify { ca_file: Some(file) } => format!("a certificate that {} vouches for", file.display()),
        ClientTls::Pinned(_) => "the certificate of ssl_fingerprint".to_owned(),
        ClientTls::NoVerify => "TLS, with any certificate".to_owned(),
    };
    let context = match ClientContext::load(tls) {
        Ok(context) => context,
        Err(error) => {
            let advice = "let ssl_ca_file name a readable file of PEM certificates";
            report.bad(STEP, expected, error.to_string(), Cause::FileNotReadable, advice);
            return None;
        }
    };
    match context.handshake(&settings.host, socket) {
        Ok(stream) => {
            report.good(STEP, expected, "the handshake is done");
            Some(Box::new(stream))
        }
        Err((fault, text)) => {
            let (cause, advice) = advice_on(settings, fault);
            report.bad(STEP, expected, text, cause, advice);
            None
        }
    }
}

fn advice_on(settings: &PullWssSettings, fault: TlsFault) -> (Cause, String) {
    let (cause, advice) = match fault {
        TlsFault::Expired | TlsFault::NotYetValid => {
            if let Some(seconds) = clock_difference(settings) {
                let advice = format!(
                    "the clocks of the two machines differ by {seconds} s: set both by NTP ('timedatectl'), this one \
                     first"
                );
                return (Cause::ClockOff, advice);
            }
            match fault {
                TlsFault::NotYetValid => (Cause::ClockOff, "set the clock of this machine by NTP ('timedatectl')"),
                _ => (Cause::CertificateExpired, "renew the certificate on the central, then reload its daemon"),
            }
        }
        TlsFault::UnknownIssuer => (
            Cause::CertificateUnknownIssuer,
            "set ssl_ca_file of the module pullwss to the certificate of the CA that issued the central's one (and let \
             the central send its whole chain), or pin it with ssl_fingerprint",
        ),
        TlsFault::WrongName => (
            Cause::CertificateWrongName,
            "set 'address' of the module pullwss to a name in the certificate, or pin it with ssl_fingerprint",
        ),
        TlsFault::WrongPin => (
            Cause::CertificateNotTrustedPin,
            "if the certificate was renewed, set ssl_fingerprint to the new one ('openssl x509 -noout -fingerprint \
             -sha256 -in FILE' on the central)",
        ),
        TlsFault::NoTls if answers_plain_http(settings) => (
            Cause::TlsOnOneSide,
            "the central has no TLS on this port: set 'ssl: false' of the module pullwss here, or 'ssl: true' in \
             httpserver of the module proxy there",
        ),
        TlsFault::NoTls => {
            (Cause::OtherService, "correct 'address' and 'port' of the module pullwss: another program answers there")
        }
        TlsFault::Other => (Cause::TlsFailed, "look into the log of the central"),
    };
    (cause, advice.to_owned())
}

/// The difference between the central's clock and ours in seconds, by its answer to a plain request; `None` if it is
/// small or not known.
fn clock_difference(settings: &PullWssSettings) -> Option<i64> {
    let mut stream =
        ClientContext::load(&ClientTls::NoVerify).ok()?.handshake(&settings.host, silent(settings)?).ok()?;
    let answer = plain_request(&mut stream, &settings.host)?;
    let date = answer.lines().find_map(|line| line.strip_prefix("Date: ").or_else(|| line.strip_prefix("date: ")))?;
    let theirs = crate::wire::http::date::parse(date.trim())?;
    let difference = theirs.saturating_sub(clock::wall().as_seconds());
    (difference.abs() > CLOCK_SECONDS).then_some(difference)
}

/// A further connection, without steps.
fn silent(settings: &PullWssSettings) -> Option<TcpStream> {
    reach(&mut Report::default(), settings)
}

fn plain_request(stream: &mut dyn Stream, host: &str) -> Option<String> {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).ok()?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4_096];
    while answer.len() < 64 << 10 {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => answer.extend_from_slice(buffer.get(..count).unwrap_or_default()),
        }
        if answer.windows(4).any(|window| window == b"\r\n\r\n") {
            break;
        }
    }
    Some(String::from_utf8_lossy(&answer).into_owned())
}

fn answers_plain_http(settings: &PullWssSettings) -> bool {
    let answer = silent(settings).and_then(|mut stream| plain_request(&mut stream, &settings.host));
    answer.is_some_and(|answer| answer.starts_with("HTTP/1."))
}

fn answers_tls(settings: &PullWssSettings) -> bool {
    let context = ClientContext::load(&ClientTls::NoVerify).ok();
    context.zip(silent(settings)).is_some_and(|(context, stream)| context.handshake(&settings.host, stream).is_ok())
}

/// Asks for the WebSocket and shows the token; adds the steps.
fn upgrade(
    report: &mut Report,
    settings: &PullWssSettings,
    mut stream: Box<dyn Stream>,
    id: u64,
) -> Option<Result<(), String>> {
    const STEP: &str = "upgrade";
    let mut random = SystemRandom::new();
    let call = UpgradeCall::new(&mut random);
    let (host, is_tls) = (&settings.host, settings.tls.is_some());
    let request = call.request(host, settings.port, is_tls, &settings.uri, &settings.token);
    let mut received = ReceiveBuffer::new();
    let mut problem = None;
    let sent = stream.write_all(&request).and_then(|()| stream.flush());
    let deadline = clock::monotonic() + ANSWER;
    let answered = sent.map_err(|error| error.to_string()).and_then(|()| {
        read_until(&mut stream, &mut received, deadline, |received| {
            call.read_response(received).inspect_err(|fault| problem = Some(fault.clone()))
        })
    });
    let expected = format!("a WebSocket at '{}'", settings.uri);
    let Err(seen) = answered else {
        report.good(STEP, expected, "the central opens it");
        let socket = WebSocketConnection::client(Settings::default(), received, &mut random);
        return token(report, Talk { socket, stream }, if call.is_perl() { None } else { Some(id) });
    };
    let is_token = matches!(problem, Some(ResponseProblem::Status { status: 401 | 403, .. }));
    let (cause, advice) = match problem {
        _ if is_token => (Cause::WrongToken, TOKEN_ADVICE),
        _ if !is_tls && answers_tls(settings) => {
            (Cause::TlsOnOneSide, "the central wants TLS on this port: set 'ssl: true' of the module pullwss here")
        }
        _ => (
            Cause::OtherService,
            "correct 'address', 'port' and 'central_uri' of the module pullwss: another program answers there",
        ),
    };
    report.bad(STEP, expected, seen, cause, advice);
    None
}

const TOKEN_ADVICE: &str = "set 'token' of the module pullwss here to the 'token' of httpserver in the module proxy of \
    the central, or to one that 'tokens' there has for this node";

/// An open WebSocket.
struct Talk {
    socket: WebSocketConnection,
    stream: Box<dyn Stream>,
}

impl Talk {
    /// Waits for a text or the end; `None` if nothing comes in time.
    fn next(&mut self, patience: Duration) -> Option<String> {
        let deadline = clock::monotonic() + patience;
        let mut buffer = [0; 4_096];
        loop {
            match self.socket.poll_event() {
                Ok(Some(Event::Text(text))) => return Some(message_of(&text)),
                Ok(Some(Event::Closed { reason, .. })) => return Some(reason),
                Ok(Some(_)) => continue,
                Ok(None) if clock::monotonic() > deadline => return None,
                Ok(None) => {}
                Err(error) => return Some(error.to_string()),
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Some("it closes the connection".to_owned()),
                Ok(count) => self.socket.receive(buffer.get(..count).unwrap_or_default()),
                Err(error) if is_late(&error) || error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Some(error.to_string()),
            }
        }
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.socket.send_text(text.as_bytes().to_vec());
        while !self.socket.send_queue().front().is_empty() {
            let count = self.stream.write(self.socket.send_queue().front())?;
            self.socket.send_queue().consume(count);
        }
        self.stream.flush()
    }
}

/// How a central says that it does not accept a token.
const REFUSALS: [&str; 4] = ["token authorization unallowed", "try again later", "not valid any more", "come again"];

/// Asks the central whether it takes node `id`, or waits whether it refuses the token; adds the step.
fn token(report: &mut Report, mut talk: Talk, id: Option<u64>) -> Option<Result<(), String>> {
    let expected = "the token is accepted";
    // An original central would take the question for a registration, and says nothing while it waits for that.
    let patience = if let Some(id) = id {
        let node = json!({ "id": id, "type": "wss", "identity": id, "probe": true });
        let _closed_meanwhile = talk.say(&format!("[REGISTERNODES] [] [] {}", json!({ "nodes": [node] })));
        ANSWER
    } else {
        TOKEN
    };
    let said = talk.next(patience).unwrap_or_default();
    if !REFUSALS.iter().any(|refusal| said.contains(refusal)) {
        report.good("token", expected, "no objection");
        return Some(if said.is_empty() || said == TAKEN { Ok(()) } else { Err(said) });
    }
    let (cause, advice) = if said.contains("try again later") {
        (Cause::NoAnswer, "wait some minutes: too many wrong tokens came from this address, or the web API is away")
    } else {
        (Cause::WrongToken, TOKEN_ADVICE)
    };
    report.bad("token", expected, said, cause, advice);
    None
}

fn message_of(text: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
    let message = value.get("message").and_then(serde_json::Value::as_str);
    let text = message.map_or_else(|| String::from_utf8_lossy(text).into_owned(), str::to_owned);
    text.chars().take(160).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

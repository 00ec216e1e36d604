use super::super::upgrade::{
    ResponseProblem, UpgradeCall, UpgradeRefusal, accept, connect_request, read_connect_response,
};
use crate::model::time::WallTime;
use crate::wire::gorgone::seeded_random::SeededRandom;
use crate::wire::http::date::HttpDate;
use crate::wire::http::head_scanner::Limits;
use crate::wire::http::request::{RequestEvent, RequestParser};
use crate::wire::receive_buffer::ReceiveBuffer;

const GOOD: &str = "GET / HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: keep-alive, \
    Upgrade\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn answered(request: &[u8]) -> Result<Vec<u8>, UpgradeRefusal> {
    let mut parser = RequestParser::new(Limits::default());
    parser.receive(request);
    match parser.poll_event() {
        Ok(Some(RequestEvent::Head(head))) => accept(&head),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_example_of_the_rfc_is_accepted() {
    let response = String::from_utf8(answered(GOOD.as_bytes()).unwrap()).unwrap();
    assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
    assert!(response.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{response}");
}

#[test]
fn what_is_no_upgrade_is_refused() {
    let without = |name: &str| {
        let lines: Vec<&str> = GOOD.split("\r\n").filter(|line| !line.starts_with(name)).collect();
        lines.join("\r\n")
    };
    for (request, refusal) in [
        (without("Sec-WebSocket-Key"), UpgradeRefusal::Key),
        (GOOD.replace("jZQ==", "jZWU="), UpgradeRefusal::Key),
        (GOOD.replace("dGhl", "dGh!"), UpgradeRefusal::Key),
        (GOOD.replace("Host", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nHost"), UpgradeRefusal::Key),
        (without("Sec-WebSocket-Version"), UpgradeRefusal::Version),
        (GOOD.replace(": 13", ": 8"), UpgradeRefusal::Version),
        (GOOD.replace("HTTP/1.1", "HTTP/1.0"), UpgradeRefusal::NotAsked),
        (without("Connection"), UpgradeRefusal::NotAsked),
        (GOOD.replace(": websocket", ": h2c"), UpgradeRefusal::NotAsked),
        (GOOD.replace("GET", "POST"), UpgradeRefusal::NoPlainGet),
        (GOOD.replace("Host", "Content-Length: 1\r\nHost"), UpgradeRefusal::NoPlainGet),
    ] {
        assert_eq!(answered(request.as_bytes()), Err(refusal), "{request}");
    }
    let response = String::from_utf8(UpgradeRefusal::Version.response(&HttpDate::new(WallTime::default()))).unwrap();
    assert!(response.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{response}");
    assert!(response.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{response}");
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{response}");
    assert!(serde_json::from_str::<serde_json::Value>(body).is_ok(), "{body}");
}

fn call() -> UpgradeCall {
    UpgradeCall::new(&mut SeededRandom::new(&[5; 32]))
}

fn read_in_pieces(
    read: impl Fn(&mut ReceiveBuffer) -> Result<bool, ResponseProblem>,
    bytes: &[u8],
) -> Result<Vec<u8>, ResponseProblem> {
    let mut results = Vec::new();
    for step in [1, 7, usize::MAX] {
        let mut received = ReceiveBuffer::new();
        let mut result = Ok(false);
        for piece in bytes.chunks(step.min(bytes.len())) {
            received.extend_from_slice(piece);
            if result == Ok(false) {
                result = read(&mut received);
            }
        }
        results.push(result.map(|is_whole| {
            assert!(is_whole);
            received.readable().to_vec()
        }));
    }
    assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
    results.remove(0)
}

#[test]
fn our_request_and_our_response_fit_each_other() {
    let request = call().request("2001:db8::1", 8443, true, "ws\r\n/x", "se cret\r\n");
    let text = String::from_utf8(request.clone()).unwrap();
    assert!(text.starts_with("GET /ws/x HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\n"), "{text}");
    assert!(text.contains("\r\nAuthorization: Bearer secret\r\n"), "{text}");
    assert!(call().request("c", 443, true, "/", "t").starts_with(b"GET / HTTP/1.1\r\nHost: c\r\n"));
    let mut response = answered(&request).unwrap();
    response.extend_from_slice(b"\x81\x00");
    assert_eq!(read_in_pieces(|received| call().read_response(received), &response), Ok(b"\x81\x00".to_vec()));
}

#[test]
fn a_response_that_is_no_upgrade_says_why() {
    let good = String::from_utf8(answered(&call().request("c", 80, false, "/", "t")).unwrap()).unwrap();
    let status = |status, reason: &str| ResponseProblem::Status { status, reason: reason.to_owned() };
    for (response, problem) in [
        ("HTTP/1.1 401 Unauthorized\r\n\r\n".to_owned(), status(401, "Unauthorized")),
        ("HTTP/1.0 302 Found\r\nLocation: /x\r\n\r\n".to_owned(), status(302, "Found")),
        ("SSH-2.0-OpenSSH\r\n".to_owned(), ResponseProblem::NotHttp),
        ("HTTP/1.1 zzz\r\n\r\n".to_owned(), ResponseProblem::NotHttp),
        (format!("HTTP/1.1 200 {}\r\n", "x".repeat(20_000)), ResponseProblem::TooLarge),
        (
            good.replace("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: x"),
            ResponseProblem::NotOurUpgrade("Sec-WebSocket-Accept"),
        ),
        (good.replace("Upgrade: websocket", "X: y"), ResponseProblem::NotOurUpgrade("Upgrade")),
        (
            good.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
            ResponseProblem::NotOurUpgrade("Sec-WebSocket-Extensions"),
        ),
    ] {
        assert_eq!(
            read_in_pieces(|received| call().read_response(received), response.as_bytes()),
            Err(problem),
            "{response}"
        );
    }
}

#[test]
fn a_proxy_is_asked_with_and_without_credentials() {
    assert_eq!(connect_request("c", 443, None), b"CONNECT c:443 HTTP/1.1\r\nHost: c:443\r\n\r\n");
    let with = connect_request("::1", 80, Some(("u", "p:w")));
    assert!(
        with.ends_with(b"CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\nProxy-Authorization: Basic dTpwOnc=\r\n\r\n")
    );
    let good = b"HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\nrest";
    assert_eq!(read_in_pieces(read_connect_response, good), Ok(b"rest".to_vec()));
    let refused = ResponseProblem::Status { status: 407, reason: "Proxy Authentication Required".to_owned() };
    let response = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
    assert_eq!(read_in_pieces(read_connect_response, response), Err(refused));
}

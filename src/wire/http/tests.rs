use super::error::HttpError;
use super::head::{BodyLength, Version};
use super::head_scanner::Limits;
use super::request::{Awaited, RequestEvent, RequestParser};
use crate::model::api::Method;

/// Returns what a stream of bytes means, fed in pieces that end at `cuts`.
fn play(bytes: &[u8], cuts: &[usize]) -> (Vec<RequestEvent>, Option<HttpError>) {
    play_within(Limits::default(), bytes, cuts)
}

fn play_within(limits: Limits, bytes: &[u8], cuts: &[usize]) -> (Vec<RequestEvent>, Option<HttpError>) {
    let mut parser = RequestParser::new(limits);
    let mut events = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([bytes.len()]) {
        parser.receive(&bytes[start..end]);
        start = end;
        loop {
            match parser.poll_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
    }
    (events, None)
}

/// Feeds the bytes whole, byte by byte and cut at every place; the result must be the same.
fn play_every_way(bytes: &[u8]) -> (Vec<RequestEvent>, Option<HttpError>) {
    let whole = play(bytes, &[]);
    let every: Vec<usize> = (1..bytes.len()).collect();
    assert_eq!(play(bytes, &every), whole, "byte by byte: {}", bytes.escape_ascii());
    for cut in every {
        assert_eq!(play(bytes, &[cut]), whole, "cut at {cut}: {}", bytes.escape_ascii());
    }
    whole
}

fn bodies<'a>(events: &'a [RequestEvent]) -> Vec<&'a [u8]> {
    let body =
        |event: &'a RequestEvent| if let RequestEvent::Body(body) = event { Some(body.as_slice()) } else { None };
    events.iter().filter_map(body).collect()
}

fn refusal(bytes: &[u8]) -> Option<HttpError> {
    play_every_way(bytes).1
}

#[test]
fn pipelined_requests_come_one_after_the_other() {
    let (events, error) = play_every_way(
        b"GET /api/nodes/2/log/t%31?limit=5 HTTP/1.1\r\nHost: a\r\nAuthorization: Basic eDp5\r\n\r\n\
          POST /api/core/action/command HTTP/1.1\r\nhost:a\r\nCONTENT-LENGTH: \t7 \r\n\r\n[{\"a\":1\
          PATCH /api/x HTTP/1.1\r\nHost:\r\nTransfer-Encoding: Chunked\r\n\r\n\
          3;x=\"y\"\r\nabc\r\n0002\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n\
          HEAD / HTTP/1.0\r\n\r\n",
    );
    assert_eq!(error, None);
    assert_eq!(bodies(&events), [b"".as_slice(), b"[{\"a\":1", b"abcde", b""]);
    let heads: Vec<_> = events
        .iter()
        .filter_map(|event| if let RequestEvent::Head(head) = event { Some(head) } else { None })
        .collect();
    assert_eq!(heads[0].method, Method::Get);
    assert_eq!(heads[0].target.path, ["api", "nodes", "2", "log", "t1"]);
    assert_eq!(heads[0].target.query, [("limit".to_owned(), "5".to_owned())]);
    assert_eq!(heads[0].authorization.as_deref(), Some(b"Basic eDp5".as_slice()));
    assert_eq!(heads[1].body, BodyLength::Known(7));
    assert_eq!((heads[2].method, heads[2].body), (Method::Patch, BodyLength::Chunked));
    assert_eq!((heads[3].method, heads[3].version, heads[3].keep_alive), (Method::Head, Version::Http10, false));
}

#[test]
fn a_head_that_two_readers_could_frame_differently_is_refused() {
    let post = |headers: &str| format!("POST /api HTTP/1.1\r\nHost: a\r\n{headers}\r\n0\r\n\r\n");
    for (headers, expected) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", HttpError::LengthAndCoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", HttpError::LengthAndCoding),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", HttpError::RepeatedHeader("Content-Length")),
        ("Content-Length: 5\r\nContent-length: 5\r\n", HttpError::RepeatedHeader("Content-Length")),
        ("Content-Length: 5, 5\r\n", HttpError::BadContentLength),
        ("Content-Length: +5\r\n", HttpError::BadContentLength),
        ("Content-Length: -0\r\n", HttpError::BadContentLength),
        ("Content-Length: 0x5\r\n", HttpError::BadContentLength),
        ("Content-Length: 5 5\r\n", HttpError::BadContentLength),
        ("Content-Length:\r\n", HttpError::BadContentLength),
        ("Content-Length: 99999999999999999999999999\r\n", HttpError::BodyTooLarge(8 << 20)),
        ("Transfer-Encoding: gzip, chunked\r\n", HttpError::UnsupportedCoding),
        ("Transfer-Encoding: chunked, chunked\r\n", HttpError::UnsupportedCoding),
        ("Transfer-Encoding: identity\r\n", HttpError::UnsupportedCoding),
        ("Transfer-Encoding: xchunked\r\n", HttpError::UnsupportedCoding),
        ("Transfer-Encoding: \x0bchunked\r\n", HttpError::BadHeader),
        ("Transfer-Encoding:\r\n", HttpError::UnsupportedCoding),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            HttpError::RepeatedHeader("Transfer-Encoding"),
        ),
        ("Transfer-Encoding : chunked\r\n", HttpError::BadHeader),
        ("Content-Length : 5\r\n", HttpError::BadHeader),
        (" Content-Length: 5\r\n", HttpError::BadHeader),
        ("X: y\r\n Transfer-Encoding: chunked\r\n", HttpError::BadHeader),
        ("X: y\r\n\tfolded\r\n", HttpError::BadHeader),
        ("X: y\rTransfer-Encoding: chunked\r\n", HttpError::BadHeader),
        ("X: y\nTransfer-Encoding: chunked\r\n", HttpError::BareLineFeed),
        ("X\0: y\r\n", HttpError::BadHeader),
        ("X: a\0b\r\n", HttpError::BadHeader),
        ("no colon\r\n", HttpError::BadHeader),
        (": y\r\n", HttpError::BadHeader),
        ("Host: b\r\n", HttpError::RepeatedHeader("Host")),
        ("Authorization: a\r\nAuthorization: b\r\n", HttpError::RepeatedHeader("Authorization")),
        ("Expect: 200-ok\r\n", HttpError::UnsupportedExpectation),
    ] {
        assert_eq!(refusal(post(headers).as_bytes()), Some(expected), "{headers:?}");
    }
    assert_eq!(refusal(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), Some(HttpError::UnsupportedCoding));
}

#[test]
fn request_lines_are_taken_only_in_one_form() {
    for (line, expected) in [
        ("GET /", HttpError::BadRequestLine),
        ("GET", HttpError::BadRequestLine),
        ("GET  / HTTP/1.1", HttpError::BadRequestLine),
        ("GET / x HTTP/1.1", HttpError::UnsupportedVersion),
        ("GET /\tHTTP/1.1", HttpError::BadRequestLine),
        ("G\u{e9}T / HTTP/1.1", HttpError::BadRequestLine),
        ("GET / HTTP/1.1 ", HttpError::BadRequestLine),
        ("GET / http/1.1", HttpError::BadRequestLine),
        ("GET / HTTP/2.0", HttpError::UnsupportedVersion),
        ("GET / HTTP/1.2", HttpError::UnsupportedVersion),
        ("PRI * HTTP/2.0", HttpError::Http2),
        ("GET /%zz HTTP/1.1", HttpError::BadTarget),
        ("CONNECT host:443 HTTP/1.1", HttpError::BadTarget),
        ("GET /\u{20ac} HTTP/1.1", HttpError::BadTarget),
        (" GET / HTTP/1.1", HttpError::NotHttp),
        ("\u{16}\u{3}\u{1}", HttpError::TlsHello),
        ("\0", HttpError::NotHttp),
    ] {
        assert_eq!(refusal(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()), Some(expected), "{line:?}");
    }
    assert_eq!(refusal(b"GET / HTTP/1.1\r\n\r\n"), Some(HttpError::MissingHost));
    assert_eq!(refusal(b"GET / HTTP/1.1\n\n"), Some(HttpError::BareLineFeed));
    assert_eq!(refusal(b"\nGET / HTTP/1.1\r\n"), Some(HttpError::BareLineFeed));
    assert_eq!(refusal(b"\r\n\r\nGET / HTTP/1.1\r\n"), Some(HttpError::NotHttp));
    assert_eq!(play_every_way(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").0.len(), 2, "one blank line is ignored");
    assert_eq!(refusal(b"GET http://h/api HTTP/1.1\r\nHost: a\r\n\r\n"), None, "absolute form");
}

#[test]
fn chunks_are_taken_only_in_one_form() {
    let chunked = |body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    for body in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "+1\r\n",
        "0x1\r\n",
        " 1\r\na\r\n",
        "1 \r\na\r\n",
        "1\na\r\n",
        "1\r\nab\r\n",
        "1\r\na\n",
        "1\r\na\r1\r\n",
        ";x\r\n",
        "1;a\nb\r\n",
        "0\r\n \r\n",
        "0\r\na: b\n\r\n",
        "0\r\n\n",
        "00000000000000001\r\na\r\n",
        "0\r\na\0: b\r\n\r\n",
    ] {
        assert_eq!(refusal(chunked(body).as_bytes()), Some(HttpError::BadChunk), "{body:?}");
    }
    for body in ["800001\r\n", "ffffffffffffffff\r\n", "7fffffffffffffff;x\r\n"] {
        assert_eq!(refusal(chunked(body).as_bytes()), Some(HttpError::BodyTooLarge(8 << 20)), "{body:?}");
    }
    let extensions = format!("1;{}\r\na\r\n", "x".repeat(9_000)).repeat(2);
    assert_eq!(play(chunked(&extensions).as_bytes(), &[]).1, Some(HttpError::BadChunk));
}

#[test]
fn sizes_are_bounded_to_the_byte() {
    let limits = Limits { request_line_bytes: 40, head_bytes: 100, body_bytes: 10 };
    let play_cut = |text: &str| {
        let every: Vec<usize> = (1..text.len()).collect();
        let whole = play_within(limits, text.as_bytes(), &[]);
        assert_eq!(play_within(limits, text.as_bytes(), &every), whole, "{text:?}");
        whole.1
    };
    let line = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(len - 14));
    assert_eq!(play_cut(&line(40)), None);
    assert_eq!(play_cut(&line(41)), Some(HttpError::RequestLineTooLong(40)));
    assert_eq!(play_cut(&"G".repeat(42)), Some(HttpError::RequestLineTooLong(40)));
    let head = |len: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(len - 32));
    assert_eq!(play_cut(&head(100)), None);
    assert_eq!(play_cut(&head(101)), Some(HttpError::HeadTooLarge(100)));
    let body = |headers: &str, body: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n{body}");
    assert_eq!(play_cut(&body("Content-Length: 10", "0123456789")), None);
    assert_eq!(play_cut(&body("Content-Length: 11", "")), Some(HttpError::BodyTooLarge(10)));
    assert_eq!(play_cut(&body("Transfer-Encoding: chunked", "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n")), None);
    let beyond = body("Transfer-Encoding: chunked", "5\r\n01234\r\n6\r\n");
    assert_eq!(play_cut(&beyond), Some(HttpError::BodyTooLarge(10)));
    let many = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    assert_eq!(refusal(many(64).as_bytes()), None);
    assert_eq!(refusal(many(65).as_bytes()), Some(HttpError::TooManyHeaders(64)));
}

#[test]
fn an_upgrade_is_handed_over_with_the_bytes_behind_it() {
    let mut parser = RequestParser::new(Limits::default());
    parser.receive(
        b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Key: abc\r\n\r\n\x81\x05hello",
    );
    let Ok(Some(RequestEvent::Head(head))) = parser.poll_event() else { panic!("no head") };
    let upgrade = head.upgrade.expect("an upgrade");
    assert_eq!(upgrade.values("sec-websocket-key").collect::<Vec<_>>(), [b"abc"]);
    assert_eq!(upgrade.values("upgrade").collect::<Vec<_>>(), [b"websocket"]);
    assert_eq!(parser.into_remaining().readable(), b"\x81\x05hello");
    for no_upgrade in ["Upgrade: websocket", "Connection: upgrade"] {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{no_upgrade}\r\n\r\n");
        assert!(matches!(&play(text.as_bytes(), &[]).0[..], [RequestEvent::Head(head), _] if head.upgrade.is_none()));
    }
}

#[test]
fn a_discarded_body_is_read_to_its_end_without_being_kept() {
    let mut parser = RequestParser::new(Limits::default());
    parser.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    assert!(matches!(parser.poll_event(), Ok(Some(RequestEvent::Head(_)))));
    parser.discard_body();
    parser.receive(b"ab");
    assert_eq!(parser.poll_event(), Ok(None));
    assert_eq!(parser.awaited(), Awaited::Body { received_bytes: 2 });
    parser.receive(b"c");
    assert_eq!(parser.poll_event(), Ok(Some(RequestEvent::Body(Vec::new()))));
    assert_eq!(parser.awaited(), Awaited::Request);
}

#[test]
fn connection_and_expect_are_understood_per_version() {
    for (version, headers, keep_alive, expects) in [
        ("1.1", "", true, false),
        ("1.1", "Connection: close\r\n", false, false),
        ("1.1", "Connection: x , CLOSE\r\n", false, false),
        ("1.0", "Connection: Keep-Alive\r\n", true, false),
        ("1.0", "Connection: keep-alive\r\nConnection: close\r\n", false, false),
        ("1.1", "Expect: 100-Continue\r\n", true, true),
        ("1.0", "Expect: 100-continue\r\n", false, false),
    ] {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{headers}\r\n");
        let (events, _) = play_every_way(text.as_bytes());
        let RequestEvent::Head(head) = &events[0] else { panic!("no head") };
        assert_eq!((head.keep_alive, head.expects_continue), (keep_alive, expects), "{text:?}");
    }
}

#[test]
fn random_and_mutated_bytes_never_break_it_and_mean_the_same_in_pieces() {
    let seeds: [&[u8]; 3] = [
        b"POST /api/a%41?b=c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET / \
            HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nabcdGET / \
            HTTP/1.0\r\n\r\n",
        b"\r\n:;%\x16\x00\xff0 ",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    for round in 0..20_000 {
        let mut bytes = seeds[round % 3].to_vec();
        for _ in 0..next(6) {
            let (at, from) = (next(bytes.len()), next(bytes.len()));
            match next(3) {
                0 => bytes[at] = bytes[from],
                1 => bytes[at] = next(256) as u8,
                _ => bytes.insert(at, bytes[from]),
            }
        }
        let mut cuts = [next(bytes.len()), next(bytes.len())];
        cuts.sort_unstable();
        assert_eq!(play(&bytes, &cuts), play(&bytes, &[]), "{}", bytes.escape_ascii());
    }
}

//! The envelope `[ACTION] [TOKEN] [TARGET] DATA` (docs/protocol.md section 1).
//!
//! Out of scope: what an action means, and any look into DATA.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use crate::model::action::Action;
use crate::model::message::{Message, Outgoing, Reply};
use crate::model::text;
use crate::model::token::Token;

/// Maximum length of an action word in bytes.
pub const MAX_ACTION_LEN: usize = 64;
/// Maximum length of a target in bytes. Targets are node ids; a longer text is accepted so that an error can show it.
pub const MAX_TARGET_LEN: usize = 255;

/// What is wrong with an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeProblem {
    /// The text does not begin with `[`, 1 to 64 characters and `]`.
    Action,
    /// The second field is missing or is not closed.
    TokenField,
    /// The second field is closed, but holds no valid token.
    Token,
    /// The third field is longer than 255 bytes.
    Target,
}

/// An envelope that cannot be read, with what could be read of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeError {
    /// What is wrong.
    pub problem: EnvelopeProblem,
    /// The token, if the second field holds a valid one. An answer carries it.
    pub token: Option<Token>,
}

impl EnvelopeError {
    const fn new(problem: EnvelopeProblem) -> Self {
        Self { problem, token: None }
    }
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.problem {
            EnvelopeProblem::Action => "the message does not begin with [ACTION] of 1 to 64 characters",
            EnvelopeProblem::TokenField => "the message has no second field; write [ACTION] [TOKEN] [TARGET] DATA",
            EnvelopeProblem::Token => "invalid token: use 1 to 255 of the characters A-Z a-z 0-9 : _ . -",
            EnvelopeProblem::Target => "the target is longer than 255 bytes",
        })
    }
}

/// Reads an envelope with two fields (replies) or three. Owned bytes become its data.
///
/// A third bracket is the target when white space or nothing follows it; otherwise it is the beginning of DATA, and so
/// is a JSON array of objects that ends the message.
///
/// # Errors
/// [`EnvelopeError`] with the token where it could be read.
pub fn parse(bytes: impl Into<Vec<u8>>) -> Result<Message, EnvelopeError> {
    let text = String::from_utf8(bytes.into());
    let mut text = text.unwrap_or_else(|error| text::from_bytes(error.as_bytes()).into_owned());
    let head = Head::read(&text)?;
    drop(text.drain(..head.len));
    Ok(head.message(text))
}

/// The fields before DATA.
struct Head {
    action: Action,
    token: Option<Token>,
    target: Option<Box<str>>,
    /// Length of the fields in bytes.
    len: usize,
}

impl Head {
    fn read(text: &str) -> Result<Self, EnvelopeError> {
        let (word, rest) = field(text).ok_or(EnvelopeError::new(EnvelopeProblem::Action))?;
        if word.is_empty() || word.len() > MAX_ACTION_LEN {
            return Err(EnvelopeError::new(EnvelopeProblem::Action));
        }
        let token_field = after_space(rest).and_then(field).filter(|(_, rest)| ends_field(rest));
        let (token_text, rest) = token_field.ok_or(EnvelopeError::new(EnvelopeProblem::TokenField))?;
        let token = if token_text.is_empty() {
            None
        } else {
            Some(Token::parse(token_text).map_err(|_| EnvelopeError::new(EnvelopeProblem::Token))?)
        };
        let rest = rest.trim_start();
        let (target, data) = match field(rest) {
            Some((target, rest)) if is_target(target, rest) => {
                if target.len() > MAX_TARGET_LEN {
                    return Err(EnvelopeError { problem: EnvelopeProblem::Target, token });
                }
                (Some(target.into()), rest.trim_start())
            }
            _ => (None, rest),
        };
        Ok(Self { action: Action::parse(word), token, target, len: text.len() - data.len() })
    }

    fn message(self, data: String) -> Message {
        let data = if data.is_empty() { "{}".to_owned() } else { data };
        Message { action: self.action, token: self.token, target: self.target, data }
    }
}

/// Whether plain text begins like a message: `[`, 1 to 64 bytes without control characters, `]`. Text that was
/// decrypted with a wrong key does not (docs/protocol.md section 3).
#[must_use]
pub fn begins_with_word(plain: &[u8]) -> bool {
    let Some(rest) = plain.strip_prefix(b"[") else { return false };
    let window = rest.get(..=MAX_ACTION_LEN).unwrap_or(rest);
    let Some(end) = window.iter().position(|byte| *byte == b']') else { return false };
    end > 0 && window.iter().take(end).all(|byte| !byte.is_ascii_control())
}

/// The text of an outgoing message in three parts that are not joined: the fields before DATA, DATA, the end.
pub struct Text<'a> {
    head: String,
    data: Cow<'a, str>,
    tail: &'static str,
}

impl Text<'_> {
    /// The parts in order.
    #[must_use]
    pub fn parts(&self) -> [&[u8]; 3] {
        [self.head.as_bytes(), self.data.as_bytes(), self.tail.as_bytes()]
    }

    /// The parts joined.
    #[must_use]
    pub fn join(&self) -> Vec<u8> {
        self.parts().concat()
    }
}

/// The text of any outgoing message: a request with three fields, a reply with three (`PONG`, `SYNCLOGS`) or two.
/// Escapes in the data of a request become letters, because a Perl daemon cannot read the escapes.
#[must_use]
pub fn text_of(outgoing: &Outgoing) -> Text<'_> {
    match outgoing {
        Outgoing::Request(message) => text_of_request(message),
        Outgoing::Reply(reply) => text_of_reply(reply),
    }
}

fn text_of_request(message: &Message) -> Text<'_> {
    let token = message.token.as_ref().map_or("", Token::as_str);
    let target = message.target.as_deref().unwrap_or("");
    let data = if message.data.is_empty() { "{}" } else { &message.data };
    let head = format!("[{}] [{token}] [{target}] ", message.action.as_str());
    Text { head, data: text::without_escaped_letters(data), tail: "" }
}

fn text_of_reply(reply: &Reply) -> Text<'_> {
    let token = reply.token.as_ref().map_or("", Token::as_str);
    let has_target = matches!(reply.kind, Action::Pong | Action::SyncLogs);
    let data = if reply.data.is_empty() { "null" } else { &reply.data };
    let target = if has_target { " []" } else { "" };
    let kind = reply.kind.as_str();
    let mut head = String::with_capacity(kind.len() + token.len() + 48);
    for part in ["[", kind, "] [", token, "]", target, " {\"code\":"] {
        head.push_str(part);
    }
    match u8::try_from(reply.code.0) {
        Ok(digit @ 0..=9) => head.push(char::from(b'0' + digit)),
        // Writing to a string cannot fail.
        _ => drop(write!(head, "{}", reply.code.0)),
    }
    head.push_str(",\"data\":");
    Text { head, data: Cow::Borrowed(data), tail: "}" }
}

/// The text of a request.
#[must_use]
pub fn encode_request(message: &Message) -> Vec<u8> {
    text_of_request(message).join()
}

/// The text of a reply.
#[must_use]
#[cfg(test)]
pub fn encode_reply(reply: &Reply) -> Vec<u8> {
    text_of_reply(reply).join()
}

/// The text of any outgoing message.
#[must_use]
pub fn encode(outgoing: &Outgoing) -> Vec<u8> {
    text_of(outgoing).join()
}

/// Splits `[FIELD]REST` into field and rest.
fn field(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('[')?.split_once(']')
}

/// The text after white space; `None` if there is no white space.
fn after_space(text: &str) -> Option<&str> {
    let rest = text.trim_start();
    (rest.len() < text.len()).then_some(rest)
}

fn ends_field(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(char::is_whitespace)
}

fn is_target(target: &str, rest: &str) -> bool {
    // `[{"event":…}]` at the end is DATA without a target before it: it is not a node id.
    ends_field(rest) && !(rest.is_empty() && target.starts_with('{'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::code::Code;

    fn parsed(text: &[u8]) -> (String, Option<String>, Option<String>, String) {
        let message = parse(text).unwrap();
        (
            message.action.as_str().to_owned(),
            message.token.map(|token| token.as_str().to_owned()),
            message.target.map(String::from),
            message.data,
        )
    }

    fn fields(
        action: &str,
        token: &str,
        target: Option<&str>,
        data: &str,
    ) -> (String, Option<String>, Option<String>, String) {
        let token = (!token.is_empty()).then(|| token.to_owned());
        (action.to_owned(), token, target.map(str::to_owned), data.to_owned())
    }

    #[test]
    fn requests_have_three_fields_and_replies_two() {
        assert_eq!(parsed(b"[PING] [] [] {}"), fields("PING", "", Some(""), "{}"));
        assert_eq!(
            parsed(b"[COMMAND] [tokA] [3] {\"a\":\"]\\n[\"}"),
            fields("COMMAND", "tokA", Some("3"), "{\"a\":\"]\\n[\"}")
        );
        assert_eq!(
            parsed(b"[ACK] [t] {\"code\":0,\"data\":null}"),
            fields("ACK", "t", None, "{\"code\":0,\"data\":null}")
        );
        assert_eq!(parsed(b"[X]\n[t]\t [5]\r\n{\n}"), fields("X", "t", Some("5"), "{\n}"));
    }

    #[test]
    fn missing_data_reads_as_an_empty_object() {
        for text in ["[PING] [] []", "[PING] [] [] ", "[PING] [] []\n"] {
            assert_eq!(parsed(text.as_bytes()), fields("PING", "", Some(""), "{}"), "{text:?}");
        }
        assert_eq!(parsed(b"[PING] []"), fields("PING", "", None, "{}"));
    }

    #[test]
    fn an_array_is_data_and_not_a_target() {
        assert_eq!(parsed(b"[L] [t] [] [{\"event\":\"X\"}]"), fields("L", "t", Some(""), "[{\"event\":\"X\"}]"));
        assert_eq!(parsed(b"[L] [t] [{\"event\":\"X\"}]"), fields("L", "t", None, "[{\"event\":\"X\"}]"));
        assert_eq!(parsed(b"[L] [t] [{\"a\":[1]}]"), fields("L", "t", None, "[{\"a\":[1]}]"));
    }

    #[test]
    fn bytes_that_are_not_utf8_read_as_latin1_in_every_field() {
        let mixed = b"[X] [t] [] {\"x\":\"\xe9 \xc3\xa9 \xe2\x82\xac\"}";
        assert_eq!(parsed(mixed), fields("X", "t", Some(""), "{\"x\":\"é é €\"}"));
        assert_eq!(parsed(b"[caf\xe9] [t] [\xe9] {\"x\":\"\xe9\"}"), fields("café", "t", Some("é"), "{\"x\":\"é\"}"));
        assert_eq!(parsed("[€] [t] [€] {\"x\":\"€\"}".as_bytes()), fields("€", "t", Some("€"), "{\"x\":\"€\"}"));
        assert_eq!(parse("[X] [€] [] {}".as_bytes()).unwrap_err().problem, EnvelopeProblem::Token);
        assert_eq!(parse(*b"[X] [\xe9] [] {}").unwrap_err().problem, EnvelopeProblem::Token);
    }

    #[test]
    fn what_cannot_be_read_is_named_and_keeps_its_token() {
        let long = |len: usize| "x".repeat(len);
        for (text, problem) in [
            (String::new(), EnvelopeProblem::Action),
            ("PING".into(), EnvelopeProblem::Action),
            ("[] [t] [] {}".into(), EnvelopeProblem::Action),
            (" [PING] [t] [] {}".into(), EnvelopeProblem::Action),
            (format!("[{}] [t] [] {{}}", long(65)), EnvelopeProblem::Action),
            ("[PING".into(), EnvelopeProblem::Action),
            ("[PING]".into(), EnvelopeProblem::TokenField),
            ("[PING][t][]".into(), EnvelopeProblem::TokenField),
            ("[PING] {}".into(), EnvelopeProblem::TokenField),
            ("[PING] [t]x [] {}".into(), EnvelopeProblem::TokenField),
            ("[PING] [t".into(), EnvelopeProblem::TokenField),
            ("[PING] [../x] [] {}".into(), EnvelopeProblem::Token),
            ("[PING] [a\nb] [] {}".into(), EnvelopeProblem::Token),
            (format!("[PING] [{}] [] {{}}", long(256)), EnvelopeProblem::Token),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().problem, problem, "{text:?}");
        }
        let error = parse(format!("[PING] [tok] [{}] {{}}", long(256)).as_bytes()).unwrap_err();
        assert_eq!(error.problem, EnvelopeProblem::Target);
        assert_eq!(error.token.unwrap().as_str(), "tok");
    }

    #[test]
    fn what_is_written_reads_back_with_one_space_between_fields() {
        let request =
            Message { action: Action::Command, token: Token::parse("t").ok(), target: None, data: "{\"a\":1}".into() };
        assert_eq!(encode_request(&request), b"[COMMAND] [t] [] {\"a\":1}");
        let reply = |kind| Reply {
            kind,
            token: Token::parse("t").ok(),
            code: Code::FINISHED_KO,
            data: "{\"message\":\"€\"}".into(),
        };
        assert_eq!(encode_reply(&reply(Action::Ack)), "[ACK] [t] {\"code\":1,\"data\":{\"message\":\"€\"}}".as_bytes());
        assert_eq!(
            encode_reply(&reply(Action::Pong)),
            "[PONG] [t] [] {\"code\":1,\"data\":{\"message\":\"€\"}}".as_bytes()
        );
        assert_eq!(
            encode(&Outgoing::Reply(reply(Action::SyncLogs))),
            "[SYNCLOGS] [t] [] {\"code\":1,\"data\":{\"message\":\"€\"}}".as_bytes()
        );
        let escaped = Message { data: r#"{"command":"echo \u20ac \ud83d\ude00 \n"}"#.into(), ..request.clone() };
        let text = r#"[COMMAND] [t] [] {"command":"echo € 😀 \n"}"#;
        assert_eq!(encode_request(&escaped), text.as_bytes());
        let read = parse(encode_request(&request)).unwrap();
        assert_eq!(read, Message { target: Some("".into()), ..request });
    }

    #[test]
    fn the_beginning_of_a_message_is_told_from_noise() {
        for good in [&b"[PING] []"[..], b"[a]", b"[KEY] {", "[é]".as_bytes()] {
            assert!(begins_with_word(good));
        }
        let long = format!("[{}]", "x".repeat(65));
        for bad in [&b""[..], b"[", b"[]", b"PING", b"[PING", b"[\x01]", b" [PING]", long.as_bytes()] {
            assert!(!begins_with_word(bad), "{bad:?}");
        }
    }

    /// Plain texts that Perl daemons and third-party peers sent.
    const REAL: [(&str, &str, usize); 9] = [
        ("[PONG] [] [] {\"code\": 0, \"data\": {\"action\": \"ping\", \"id\": \"5\", \"data\": {}}}", "PONG", 0),
        ("[GETLOG] [] [] {\"ctime\":0}", "GETLOG", 0),
        (
            "[ACK] [] {\"code\": 0, \"data\": {\"action\": \"getlog\", \"result\": [{\"data\": \
                \"{\\\"a\\\":\\\"b\\\"}\"}]}}",
            "ACK",
            0,
        ),
        (
            "[COMMAND] [7317f2daeea7441203317d8fc572b67e589e5981cf622aa23f19604397c3ab8e0e8ca42f0859adcb40d1b03ac6a51040ff468e4d40194e4c8a75d2eac3b35ccd] [] {\"parameters\":{},\"variables\":[],\"content\":[{\"command\":\"echo hi\"}]}",
            "COMMAND",
            128,
        ),
        ("[ACK] [tokA] {\"code\":0,\"data\":null}", "ACK", 4),
        ("[INFORMATION] [1d5d37ab] [] {\"variables\":[],\"content\":null,\"parameters\":{}}", "INFORMATION", 8),
        (
            "[REGISTERNODES] [] [] \
                {\"nodes\":[{\"id\":\"3\",\"identity\":\"gorgone-3-e82882066166dc06803b7fc8\",\"type\":\"pull\"}]}",
            "REGISTERNODES",
            0,
        ),
        (
            "[COMMAND] [tokA] [3] {\"content\":[{\"command\":\"echo cafÃ©\"}],\"parameters\":{},\"variables\":[]}",
            "COMMAND",
            4,
        ),
        ("[SETLOGS] [583e6e55] [] {\"data\":{\"id\":\"3\",\"result\":[{\"token\":null}]},\"code\":0}", "SETLOGS", 8),
    ];

    #[test]
    fn texts_of_real_daemons_are_read_whole_and_cut_anywhere_without_harm() {
        for (text, action, token_len) in REAL {
            let message = parse(text.as_bytes()).unwrap();
            assert_eq!(message.action.as_str(), action);
            assert_eq!(message.token.as_ref().map_or(0, |token| token.as_str().len()), token_len);
            assert!(serde_json::from_str::<serde_json::Value>(&message.data).is_ok(), "{text}");
            assert!(begins_with_word(text.as_bytes()));
            for end in 0..text.len() {
                let _refused_or_not = parse(&text.as_bytes()[..end]);
                let _ = begins_with_word(&text.as_bytes()[..end]);
            }
        }
    }

    #[test]
    fn mutated_texts_never_panic_and_what_is_read_is_written_and_read_again_the_same() {
        use crate::model::random::Random as _;
        let mut random = crate::wire::gorgone::seeded_random::SeededRandom::new(&[3; 32]);
        for turn in 0..20_000 {
            let mut text = REAL[turn % REAL.len()].0.as_bytes().to_vec();
            for _ in 0..=random.below(4) {
                let at = usize::try_from(random.below(u64::try_from(text.len()).unwrap())).unwrap();
                match random.below(3) {
                    0 => text[at] = b"[] {}\n\xe9\xff\x00"[usize::try_from(random.below(9)).unwrap()],
                    1 => drop(text.remove(at)),
                    _ => text.insert(at, b"[] {}\n\xe9\xff\x00"[usize::try_from(random.below(9)).unwrap()]),
                }
            }
            if let Ok(message) = parse(text.clone()) {
                let again = parse(encode_request(&message)).unwrap();
                let target = Some(message.target.clone().unwrap_or_default());
                assert_eq!(again, Message { target, ..message }, "{text:?}");
            }
        }
    }
}

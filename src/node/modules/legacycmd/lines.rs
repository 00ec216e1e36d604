//! Reads one line of a command file, or one entry of a CENTREONCOMMAND: `ORDER:TARGET[:PARAM]`.

use std::borrow::Cow;

use crate::model::legacy::{CommandTables, PollerCommands};
use crate::model::text;

/// The characters removed from a parameter if the database names none.
const ILLEGAL_CHARACTERS: &str = "`";
/// Maximum number of characters of a word in a message.
const SHOWN_MAX: usize = 60;

/// A line as written. Holds text typed by an administrator: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub order: String,
    /// The target as written.
    pub target: String,
    /// The rest as bytes.
    pub param: Vec<u8>,
}

/// The kinds of lines.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Read {
    Order(Line),
    /// An empty line, or one that an earlier run of the original has marked as done.
    Skipped,
    /// Not an order.
    Malformed,
}

/// Reads a line without its end.
pub(super) fn read(line: &[u8]) -> Read {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() || line.first() == Some(&b'-') {
        return Read::Skipped;
    }
    let mut parts = line.splitn(3, |byte| *byte == b':');
    let (Some(order), Some(target)) = (parts.next(), parts.next()) else { return Read::Malformed };
    let word = |bytes| text::from_bytes(bytes).into_owned();
    Read::Order(Line { order: word(order), target: word(target), param: parts.next().unwrap_or_default().to_vec() })
}

/// Returns a word of a line, shortened for a message.
pub(super) fn shown(word: &str) -> String {
    let mut shown: String = word.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
    if word.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// The pollers in the Centreon database.
#[derive(Debug, Default)]
pub(super) struct Pollers {
    all: Vec<PollerCommands>,
    illegal: Option<String>,
}

impl Pollers {
    pub(super) fn new(tables: CommandTables) -> Self {
        Self { all: tables.pollers, illegal: tables.illegal_characters }
    }

    /// Returns the poller that a target names by its id or its uid.
    ///
    /// # Errors
    /// Returns what is wrong with the target.
    pub(super) fn find(&self, target: &str) -> Result<&PollerCommands, String> {
        if target.is_empty() {
            return Err("the target is missing; a line is ORDER:TARGET[:PARAM]".to_owned());
        }
        if !target.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("the target '{}' is not the id of a poller", shown(target)));
        }
        let named = |poller: &&PollerCommands| poller.id == target || poller.uid.as_deref() == Some(target);
        // An id has precedence over another poller's uid.
        let by_id = self.all.iter().find(|poller| poller.id == target);
        by_id
            .or_else(|| self.all.iter().find(named))
            .ok_or_else(|| format!("the database has no poller with the id or uid '{}' (nagios_server)", shown(target)))
    }

    /// Returns a parameter without the characters that the database forbids.
    pub(super) fn cleaned<'a>(&self, param: &'a [u8]) -> Cow<'a, [u8]> {
        let illegal = self.illegal.as_deref().unwrap_or(ILLEGAL_CHARACTERS);
        let is_illegal = |byte: &u8| byte.is_ascii() && illegal.as_bytes().contains(byte);
        let mut cleaned = Cow::Borrowed(param);
        if param.iter().any(is_illegal) {
            cleaned.to_mut().retain(|byte| !is_illegal(byte));
        }
        // Non-ASCII characters are only removed from a line in UTF-8, as the database's text is.
        if !illegal.is_ascii()
            && let Ok(text) = std::str::from_utf8(&cleaned)
            && text.contains(|letter: char| !letter.is_ascii() && illegal.contains(letter))
        {
            let kept: String = text.chars().filter(|letter| letter.is_ascii() || !illegal.contains(*letter)).collect();
            cleaned = Cow::Owned(kept.into_bytes());
        }
        cleaned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &[u8]) -> Option<(String, String, Vec<u8>)> {
        match read(line) {
            Read::Order(line) => Some((line.order, line.target, line.param)),
            Read::Skipped | Read::Malformed => None,
        }
    }

    fn pollers(illegal: Option<&str>) -> Pollers {
        let poller = |id: &str, uid: Option<&str>| PollerCommands {
            id: id.to_owned(),
            uid: uid.map(str::to_owned),
            ..PollerCommands::default()
        };
        let pollers = vec![poller("1", Some("2")), poller("2", Some("18446744073709551615"))];
        Pollers::new(CommandTables { pollers, illegal_characters: illegal.map(str::to_owned) })
    }

    #[test]
    fn the_parameter_is_the_rest_of_the_line_byte_by_byte() {
        for (line, expected) in [
            (&b"RELOAD:2"[..], ("RELOAD", "2", &b""[..])),
            (b"EXTERNALCMD:2:[1] ACK;a:b\xe9", ("EXTERNALCMD", "2", b"[1] ACK;a:b\xe9")),
            (b"RELOAD:2\r", ("RELOAD", "2", b"")),
            (b"x::y", ("x", "", b"y")),
            (b":2", ("", "2", b"")),
        ] {
            let (order, target, param) = parts(line).unwrap();
            assert_eq!((order.as_str(), target.as_str(), param.as_slice()), expected);
        }
    }

    #[test]
    fn other_lines_are_no_orders_and_marked_ones_are_done() {
        assert!(read(b"RELOAD") == Read::Malformed);
        for line in [&b""[..], b"\r", b"-ELOAD:2"] {
            assert!(read(line) == Read::Skipped);
        }
    }

    #[test]
    fn a_target_is_an_id_or_a_uid_of_a_poller_in_the_database() {
        let pollers = pollers(None);
        let id = |target: &str| pollers.find(target).map(|poller| poller.id.clone());
        assert_eq!(id("1").unwrap(), "1");
        assert_eq!(id("2").unwrap(), "2");
        assert_eq!(id("18446744073709551615").unwrap(), "2");
        for (target, said) in
            [("", "is missing"), ("1;2", "'1;2' is not the id"), ("-1", "not the id"), ("9", "no poller")]
        {
            assert!(id(target).unwrap_err().contains(said), "{target}");
        }
    }

    #[test]
    fn a_parameter_loses_the_characters_that_the_database_names() {
        assert_eq!(*pollers(None).cleaned(b"a`b$c"), *b"ab$c");
        assert_eq!(*pollers(Some("$|")).cleaned(b"a`b$|c\xe9"), *b"a`bc\xe9");
        assert_eq!(*pollers(Some("")).cleaned(b"a`b"), *b"a`b");
        assert_eq!(*pollers(Some("\u{e9}")).cleaned("caf\u{e9}".as_bytes()), *b"caf");
        assert_eq!(*pollers(Some("\u{e9}")).cleaned(b"caf\xe9"), *b"caf\xe9");
    }
}

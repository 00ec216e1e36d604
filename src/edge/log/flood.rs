//! Limits warnings and errors by kind, node and peer: after [`BURST`] lines within [`WINDOW`] further ones are counted,
//! and the last of them is written with their number when the window ends.
//!
//! Lines are of one kind if they begin alike, but for words with a digit (numbers, tokens, addresses) and what is
//! quoted.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use crate::model::connection::PeerAddress;
use crate::model::log::{Level, LogLine};
use crate::model::node_id::NodeId;
use crate::model::time::Monotonic;

/// Number of lines of one kind about one peer that are written in a window.
const BURST: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);
/// Maximum number of kinds and peers that are told apart; further ones share the limit of their module.
const KINDS_MAX: usize = 1_024;
/// Number of bytes by which kinds are told apart.
const KIND_LEN: usize = 32;
/// Maximum length in bytes of the text that is kept of a counted line.
const KEPT_LEN: usize = 500;

/// The lines of the current windows.
#[derive(Default)]
pub(super) struct Flood {
    kinds: BTreeMap<Key, Kind>,
    /// When the first window with counted lines ends.
    next: Option<Monotonic>,
}

type Key = (u64, Option<NodeId>, Option<PeerAddress>);

struct Kind {
    since: Monotonic,
    written: u32,
    counted: u64,
    last: Option<LogLine>,
}

impl Flood {
    /// Returns the line if it may be written; counts it otherwise.
    pub fn admit(&mut self, line: LogLine, now: Monotonic) -> Option<LogLine> {
        if line.level < Level::Warning {
            return Some(line);
        }
        let mut key = (kind_of(&line), line.node, line.peer);
        if !self.kinds.contains_key(&key) && self.kinds.len() >= KINDS_MAX {
            self.kinds.retain(|_, kind| kind.counted > 0 || now.since(kind.since) < WINDOW);
            if self.kinds.len() >= KINDS_MAX {
                let mut hasher = DefaultHasher::new();
                line.module.hash(&mut hasher);
                key = (hasher.finish(), None, None);
            }
        }
        let kind = self.kinds.entry(key).or_insert(Kind { since: now, written: 0, counted: 0, last: None });
        if kind.counted == 0 && now.since(kind.since) >= WINDOW {
            (kind.since, kind.written) = (now, 0);
        }
        if kind.written < BURST {
            kind.written += 1;
            return Some(line);
        }
        kind.counted = kind.counted.saturating_add(1);
        let ends = kind.since + WINDOW;
        self.next = Some(self.next.map_or(ends, |next| next.min(ends)));
        let mut last = line;
        let cut = (0..=KEPT_LEN.min(last.text.len())).rev().find(|at| last.text.is_char_boundary(*at));
        last.text.truncate(cut.unwrap_or(0));
        kind.last = Some(last);
        None
    }

    /// When [`Flood::ended`] has something to say.
    pub const fn poll_timeout(&self) -> Option<Monotonic> {
        self.next
    }

    /// Returns a line for each kind whose window has ended and of which lines were counted.
    pub fn ended(&mut self, now: Monotonic) -> Vec<LogLine> {
        if self.next.is_none_or(|next| next > now) {
            return Vec::new();
        }
        self.next = None;
        let mut lines = Vec::new();
        for kind in self.kinds.values_mut().filter(|kind| kind.counted > 0) {
            let ends = kind.since + WINDOW;
            if ends > now {
                self.next = Some(self.next.map_or(ends, |next| next.min(ends)));
                continue;
            }
            let counted = std::mem::take(&mut kind.counted);
            (kind.since, kind.written) = (now, 1);
            if let Some(mut line) = kind.last.take() {
                let seconds = WINDOW.as_secs();
                line.text.push_str(&format!(" (the last of {counted} more lines of this kind within {seconds} s)"));
                lines.push(line);
            }
        }
        lines
    }

    /// Returns what was counted so far, as [`Flood::ended`] would later.
    pub fn end(&mut self) -> Vec<LogLine> {
        self.next = Some(Monotonic::default());
        self.ended(Monotonic::from_millis(u64::MAX))
    }
}

/// A number that is the same for texts that begin alike but for numbers and what is quoted.
fn kind_of(line: &LogLine) -> u64 {
    let mut hasher = DefaultHasher::new();
    (line.module, line.level as u8).hash(&mut hasher);
    let plain = line.text.split('\'').step_by(2).flat_map(str::split_whitespace);
    let mut len = 0;
    for word in plain.filter(|word| !word.bytes().any(|byte| byte.is_ascii_digit())) {
        word.hash(&mut hasher);
        len += word.len();
        if len >= KIND_LEN {
            break;
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_millis(seconds * 1_000)
    }

    fn line(text: String, node: u64) -> LogLine {
        LogLine::warning("proxy", text).of_node(NodeId::new(node).unwrap())
    }

    #[test]
    fn a_flood_of_one_warning_becomes_a_counted_line_and_other_nodes_keep_theirs() {
        let mut flood = Flood::default();
        let sent = |flood: &mut Flood, node| {
            (0..1_000).filter(|n| flood.admit(line(format!("row {n} of 'x{n}' is bad"), node), at(1)).is_some()).count()
        };
        assert_eq!(sent(&mut flood, 2), 20);
        assert_eq!(sent(&mut flood, 3), 20, "another node has its own lines");
        assert!(flood.admit(line("something else".to_owned(), 2), at(1)).is_some());
        assert!(flood.ended(at(60)).is_empty());
        assert_eq!(flood.poll_timeout(), Some(at(61)));
        let texts: Vec<String> = flood.ended(at(61)).into_iter().map(|line| line.text).collect();
        let text = "row 999 of 'x999' is bad (the last of 980 more lines of this kind within 60 s)";
        assert_eq!(texts, [text, text]);
        assert_eq!(flood.poll_timeout(), None);
        assert_eq!(sent(&mut flood, 2), 19, "the counted line is the first of the next window");
    }

    #[test]
    fn other_levels_are_not_limited() {
        let mut flood = Flood::default();
        assert!((0..1_000).all(|_| flood.admit(LogLine::info("core", "again"), at(0)).is_some()));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_nothing_is_lost_at_the_end() {
        let mut flood = Flood::default();
        let text = |node: u64| format!("command {} is bad", "x".repeat(usize::try_from(node % 500).unwrap()));
        let written = (1..100_001).filter(|node| flood.admit(line(text(*node), *node), at(5)).is_some()).count();
        assert!(flood.kinds.len() <= KINDS_MAX + 1);
        let [last] = &flood.end()[..] else { panic!("one line") };
        assert!(last.text.contains(&format!("{} more lines", 100_000 - written)), "{}", last.text);
        assert_eq!(flood.poll_timeout(), None);
        assert!(flood.admit(line("bad".to_owned(), 7), at(70)).is_some());
    }
}

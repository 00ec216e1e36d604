//! Typed access to one map of the files: takes booleans, numbers and strings as they come, notes what is wrong, and in
//! the end which keys nobody asked for.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::findings::{Findings, quoted};
use super::tree::{Node, Value};
use super::yaml::join;

/// A map, or nothing where the files have none; then every key has its default.
pub(super) struct Section<'a> {
    entries: Option<&'a BTreeMap<String, Node>>,
    file: &'a Path,
    key: String,
    asked: Vec<&'static str>,
}

/// The unit of a duration in the files.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    /// Seconds.
    Seconds,
    /// Minutes.
    Minutes,
}

impl Unit {
    const fn seconds(self) -> f64 {
        match self {
            Self::Seconds => 1.0,
            Self::Minutes => 60.0,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Minutes => "minutes",
        }
    }
}

impl<'a> Section<'a> {
    /// The map `node` as `key`; without a node, an empty one of `file`. Anything but a map is a problem and reads as
    /// empty.
    pub(super) fn new(node: Option<&'a Node>, file: &'a Path, key: &str, findings: &mut Findings) -> Self {
        let entries = match node.map(|node| (&node.value, node)) {
            Some((Value::Map(entries), _)) => Some(entries),
            None | Some((Value::Null, _)) => None,
            Some((value, node)) => {
                findings.problem(&node.file, key, format!("is {}; allowed: a map", value.kind()));
                None
            }
        };
        let file = node.map_or(file, |node| &node.file);
        Self { entries, file, key: key.to_owned(), asked: Vec::new() }
    }

    /// The file in which the map begins.
    pub(super) const fn file(&self) -> &'a Path {
        self.file
    }

    /// `key` as messages write it.
    pub(super) fn path(&self, key: &str) -> String {
        join(&self.key, key)
    }

    /// The value of `key`; an empty one counts as absent, as it does in the original.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'a Node> {
        self.asked.push(key);
        let node = self.entries?.get(key)?;
        match &node.value {
            Value::Null => None,
            Value::Text(text) if text.trim().is_empty() => None,
            _ => Some(node),
        }
    }

    /// A single value with the file that says it.
    pub(super) fn text(&mut self, key: &'static str, findings: &mut Findings) -> Option<(&'a str, &'a Path)> {
        let node = self.value(key)?;
        scalar(node, &self.path(key), findings).map(|text| (text, &*node.file))
    }

    /// A single value that `read` understands, else `default`; `allowed` tells what that is.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        default: T,
        allowed: &str,
        findings: &mut Findings,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        let Some((text, file)) = self.text(key, findings) else { return default };
        read(text).unwrap_or_else(|| {
            refuse(file, &self.path(key), text, allowed, findings);
            default
        })
    }

    /// A boolean in any of its spellings.
    pub(super) fn boolean(&mut self, key: &'static str, default: bool, findings: &mut Findings) -> bool {
        self.parsed(key, default, BOOLEANS, findings, boolean)
    }

    /// A whole number in `range`. `unit` goes into the message, for instance `bytes`.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        default: usize,
        range: RangeInclusive<usize>,
        unit: &str,
        findings: &mut Findings,
    ) -> usize {
        let of = if unit.is_empty() { String::new() } else { format!(" of {unit}") };
        let allowed = format!("a whole number{of} from {} to {}", range.start(), range.end());
        self.parsed(key, default, &allowed, findings, |text| whole(text).filter(|number| range.contains(number)))
    }

    /// A time from one second to `most` units. Fractions are allowed.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        unit: Unit,
        most: u32,
        findings: &mut Findings,
    ) -> Duration {
        let name = unit.name();
        let least = if matches!(unit, Unit::Seconds) { String::new() } else { ", at least one second".to_owned() };
        let from = if matches!(unit, Unit::Seconds) { "from 1" } else { "up" };
        let allowed = format!("a number of {name} {from} to {most}{least}");
        self.parsed(key, default, &allowed, findings, |text| {
            let units: f64 = text.trim().parse().ok()?;
            let seconds = units * unit.seconds();
            let range = 1.0..=f64::from(most) * unit.seconds();
            if range.contains(&seconds) { Duration::try_from_secs_f64(seconds).ok() } else { None }
        })
    }

    /// The map at `key`, empty where there is none.
    pub(super) fn child(&mut self, key: &'static str, findings: &mut Findings) -> Self {
        let path = self.path(key);
        Section::new(self.value(key), self.file, &path, findings)
    }

    /// The list at `key`; `None` where there is none.
    pub(super) fn items(&mut self, key: &'static str, findings: &mut Findings) -> Option<&'a [Node]> {
        let node = self.value(key)?;
        match &node.value {
            Value::List(items) => Some(items),
            value => {
                let text = format!("is {}; allowed: a list, each entry beginning with '- '", value.kind());
                findings.problem(&node.file, &self.path(key), text);
                None
            }
        }
    }

    /// Warns of keys that nobody asked for and that are not in `silent`: keys of the original that have no use here.
    /// `name_*` stands for all keys that begin with `name_`.
    pub(super) fn finish(self, silent: &[&str], findings: &mut Findings) {
        for (key, node) in self.entries.into_iter().flatten() {
            let is_silent = |name: &&str| name.strip_suffix('*').map_or(*name == key, |start| key.starts_with(start));
            let known = self.asked.contains(&key.as_str()) || silent.iter().any(is_silent);
            if !known {
                findings.warning(&node.file, &join(&self.key, key), "unknown key, ignored");
            }
        }
    }
}

/// The spellings that [`boolean`] reads.
pub(super) const BOOLEANS: &str = "true or false (also 1/0, yes/no, on/off)";

/// The text of a single value; a problem if it is something else or a reference to a vault.
pub(super) fn scalar<'a>(node: &'a Node, key: &str, findings: &mut Findings) -> Option<&'a str> {
    match &node.value {
        Value::Text(text) if text.starts_with("secret::") => {
            findings.problem(&node.file, key, "refers to a vault, which is not supported; write the value itself");
            None
        }
        Value::Text(text) => Some(text.trim()),
        value => {
            findings.problem(&node.file, key, format!("is {}; allowed: a single value", value.kind()));
            None
        }
    }
}

/// Notes that the value `text` is wrong.
pub(super) fn refuse(file: &Path, key: &str, text: &str, allowed: &str, findings: &mut Findings) {
    findings.problem(file, key, format!("is {}; allowed: {allowed}", quoted(text)));
}

/// A boolean in any of its spellings.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A whole number written in digits only.
pub(super) fn whole(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

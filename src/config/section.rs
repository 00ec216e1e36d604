//! Typed access to one map of the files: reads booleans, numbers and strings in all their spellings, and reports wrong
//! values and unknown keys.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::findings::{Findings, UNKNOWN_KEY};
use super::options::Options;
use super::tree::{Entries, Node, Place, Value};
use super::yaml::join;
use crate::model::text::quoted;

/// A map, or an absent one, in which every key has its default.
pub(super) struct Section<'a> {
    entries: Option<&'a Entries>,
    place: &'a Place,
    key: String,
    options: &'static Options,
}

/// The unit of a duration in the files.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    Seconds,
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
    /// Creates the section of the map `node` at `key`; without a node, an empty one at `place`. Anything but a map is a
    /// problem and counts as empty. Keys that are not in `options` cause warnings.
    pub(super) fn new(
        node: Option<&'a Node>,
        place: &'a Place,
        key: &str,
        options: &'static Options,
        findings: &mut Findings,
    ) -> Self {
        let section = Self::among(node, place, key, options, findings);
        section.warn_of_unknown(&[options], findings);
        section
    }

    /// Like [`Self::new`], but the caller checks for unknown keys ([`Self::warn_of_unknown`]).
    pub(super) fn among(
        node: Option<&'a Node>,
        place: &'a Place,
        key: &str,
        options: &'static Options,
        findings: &mut Findings,
    ) -> Self {
        let entries = match node.map(|node| (&node.value, node)) {
            Some((Value::Map(entries), _)) => Some(entries),
            None | Some((Value::Null, _)) => None,
            Some((value, node)) => {
                findings.problem(&node.place, key, format!("is {}; allowed: a map", value.kind()));
                None
            }
        };
        let place = node.map_or(place, |node| &node.place);
        Self { entries, place, key: key.to_owned(), options }
    }

    /// Returns the same map with other options.
    pub(super) const fn with(mut self, options: &'static Options) -> Self {
        self.options = options;
        self
    }

    /// Warns of keys that are in none of `known`, with a suggestion.
    pub(super) fn warn_of_unknown(&self, known: &[&'static Options], findings: &mut Findings) {
        for (key, node) in self.entries.into_iter().flatten() {
            if !known.iter().any(|options| options.knows(key)) {
                let advice = known.last().map(|options| options.advice(key, findings.maps())).unwrap_or_default();
                findings.warning(&node.place, &self.path(key), format!("{UNKNOWN_KEY}, ignored{advice}"));
            }
        }
    }

    /// The place where the map begins.
    pub(super) const fn place(&self) -> &'a Place {
        self.place
    }

    /// The full path of `key`, for messages.
    pub(super) fn path(&self, key: &str) -> String {
        join(&self.key, key)
    }

    /// The value of `key`; an empty value counts as absent, as in the original.
    pub(super) fn value(&self, key: &'static str) -> Option<&'a Node> {
        debug_assert!(self.options.reads(key), "'{key}' is missing in config::options: {}", self.options.name);
        let (_, node) = self.entries?.iter().find(|(name, _)| **name == *key)?;
        match &node.value {
            Value::Null => None,
            Value::Text(text) if text.is_empty() => None,
            _ => Some(node),
        }
    }

    /// Reads a scalar exactly as in the file, with its place; blanks inside quotes are kept.
    pub(super) fn exact(&self, key: &'static str, findings: &mut Findings) -> Option<(&'a str, &'a Place)> {
        let node = self.value(key)?;
        scalar(node, &self.path(key), findings).map(|text| (text, &node.place))
    }

    /// Reads a scalar without surrounding blanks, with its place; one that is blank counts as absent.
    pub(super) fn text(&self, key: &'static str, findings: &mut Findings) -> Option<(&'a str, &'a Place)> {
        let (text, place) = self.exact(key, findings)?;
        Some((text.trim(), place)).filter(|(text, _)| !text.is_empty())
    }

    /// Reads a scalar with `read`; absent or wrong values give `default`. `allowed` describes the allowed values for
    /// the message.
    pub(super) fn parsed<T>(
        &self,
        key: &'static str,
        default: T,
        allowed: &str,
        findings: &mut Findings,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        let Some((text, place)) = self.text(key, findings) else { return default };
        read(text).unwrap_or_else(|| {
            refuse(place, &self.path(key), text, allowed, findings);
            default
        })
    }

    /// Parses a boolean in any of its spellings.
    pub(super) fn boolean(&self, key: &'static str, default: bool, findings: &mut Findings) -> bool {
        self.parsed(key, default, BOOLEANS, findings, boolean)
    }

    /// Reads a boolean of which the original reads some spellings differently; `original` returns how it reads a text.
    pub(super) fn boolean_unlike(
        &self,
        key: &'static str,
        default: bool,
        original: impl Fn(&str) -> bool,
        findings: &mut Findings,
    ) -> bool {
        let value = self.boolean(key, default, findings);
        if let Some((text, place)) = self.text(key, findings)
            && boolean(text).is_some()
            && original(text) != value
        {
            let text = format!(
                "is {} and read as {value}; the original takes it for {}; write '{value}', which both read alike",
                quoted(text),
                !value
            );
            findings.warning(place, &self.path(key), text);
        }
        value
    }

    /// Reads an integer in `range`. `unit`, for instance `bytes`, is used in the message.
    pub(super) fn number(
        &self,
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

    /// Reads a duration from one second to `most` units. Fractions are allowed.
    pub(super) fn duration(
        &self,
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

    /// Returns the map at `key`; empty if the key is absent.
    pub(super) fn child(&self, key: &'static str, options: &'static Options, findings: &mut Findings) -> Self {
        Section::new(self.value(key), self.place, &self.path(key), options, findings)
    }

    /// Reads a list of scalars with `read`; wrong entries are reported and left out. `allowed` describes the allowed
    /// values for the message.
    pub(super) fn list<T>(
        &self,
        key: &'static str,
        allowed: &str,
        findings: &mut Findings,
        read: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let mut entries = Vec::new();
        for (index, item) in self.items(key, findings).unwrap_or_default().iter().enumerate() {
            let path = self.path(&format!("{key}[{index}]"));
            let Some(text) = scalar(item, &path, findings).map(str::trim) else { continue };
            match read(text) {
                Some(entry) => entries.push(entry),
                None => refuse(&item.place, &path, text, allowed, findings),
            }
        }
        entries
    }

    /// Returns the list at `key`; `None` if the key is absent.
    pub(super) fn items(&self, key: &'static str, findings: &mut Findings) -> Option<&'a [Node]> {
        let node = self.value(key)?;
        match &node.value {
            Value::List(items) => Some(items),
            value => {
                let text = format!("is {}; allowed: a list, each entry beginning with '- '", value.kind());
                findings.problem(&node.place, &self.path(key), text);
                None
            }
        }
    }
}

/// The spellings that [`boolean`] accepts, for messages.
pub(super) const BOOLEANS: &str = "true or false (also 1/0, yes/no, on/off)";

/// Returns the text of a scalar; reports a problem if the value is no scalar or a reference to a vault.
pub(super) fn scalar<'a>(node: &'a Node, key: &str, findings: &mut Findings) -> Option<&'a str> {
    match &node.value {
        Value::Text(text) if text.starts_with("secret::") => {
            let text = "refers to a vault, which is possible in modules, databases, tpapi and the register file, as \
                'secret::hashicorp_vault::PATH::KEY'; write the value itself";
            findings.problem(&node.place, key, text);
            None
        }
        Value::Text(text) => Some(text),
        value => {
            findings.problem(&node.place, key, format!("is {}; allowed: a single value", value.kind()));
            None
        }
    }
}

/// Reports that the value `text` is wrong.
pub(super) fn refuse(place: &Place, key: &str, text: &str, allowed: &str, findings: &mut Findings) {
    findings.problem(place, key, format!("is {}; allowed: {allowed}", quoted(text)));
}

/// Whether `key` is present without a value.
pub(super) fn is_named_without_value(item: &Node, key: &str) -> bool {
    let Value::Map(entries) = &item.value else { return false };
    entries.iter().filter(|(name, _)| **name == *key).any(|(_, node)| match &node.value {
        Value::Null => true,
        Value::Text(text) => text.trim().is_empty(),
        _ => false,
    })
}

/// Parses a boolean in any of its spellings.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Parses an integer that consists of digits only.
pub(super) fn whole(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

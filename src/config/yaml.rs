//! Parses the text of one file into values: every scalar keeps its text, and every value its line. Errors show line,
//! column and remedy. `!include` is passed to the caller.
//!
//! The depth of nesting and the number of values added by aliases are limited. The parser used here (`granit_parser`)
//! returns events and looks ahead at most one key.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag as YamlTag};

use super::tree::{Entries, Node, Place, Value};
use crate::model::text::quoted;

/// Maximum depth of nested maps and lists.
const DEPTH_MAX: usize = 64;
/// Maximum number of values that anchors and aliases of one file may add.
const ALIASED_MAX: usize = 300_000;
/// Number of entries of a map above which a set is used to find repeated keys.
const SMALL_MAP: usize = 16;

const NO_KEY: &str = "a key is not a single word; write 'key: value'";

/// Handler of non-standard tags: called with the tag, its place and the key; returns the value that replaces it.
pub(super) type TagHandler<'a> = dyn FnMut(&Tag<'_>, &Place, &str) -> Option<Node> + 'a;

/// A tagged value, for instance `!include a.yaml,b.d/*.yaml`.
pub(super) struct Tag<'a> {
    /// The name of the tag without `!`.
    pub(super) name: &'a str,
    /// The tagged text; `None` if it is not a scalar.
    pub(super) text: Option<&'a str>,
}

/// Parses the text of `file`; an empty text gives [`Value::Null`].
///
/// # Errors
/// Says what is wrong and in which line (0 if unknown).
pub(super) fn parse(file: &Rc<Path>, bytes: &[u8], on_tag: &mut TagHandler<'_>) -> Result<Node, Fault> {
    let text = str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
        Fault::new(line, "this is not UTF-8 text; save the file as UTF-8")
    })?;
    let options = granit_parser::options! {
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
        block_scalar_eof_without_line_feed: true,
    };
    let mut reader = Reader {
        events: Parser::new_from_str_with_options(text, options),
        text,
        file,
        on_tag,
        keys: BTreeSet::new(),
        anchors: BTreeMap::new(),
        aliased: 0,
        path: Vec::new(),
    };
    reader.document()
}

/// An error in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The line, counted from 1.
    pub(super) line: u32,
    /// The message.
    pub(super) text: String,
}

impl Fault {
    fn new(line: usize, text: impl Into<String>) -> Self {
        Self { line: u32::try_from(line).unwrap_or(u32::MAX), text: text.into() }
    }

    fn at(span: &Span, text: &str) -> Self {
        Self::new(span.start.line(), format!("column {}: {text}", span.start.col().saturating_add(1)))
    }
}

struct Reader<'a, 'h> {
    events: Parser<'a, granit_parser::StrInput<'a>>,
    text: &'a str,
    file: &'a Rc<Path>,
    on_tag: &'a mut TagHandler<'h>,
    /// All keys, each stored only once.
    keys: BTreeSet<Rc<str>>,
    /// The values of anchors (`&name`); `None` while the value is being read.
    anchors: BTreeMap<usize, Option<Node>>,
    aliased: usize,
    /// The path of the current value.
    path: Vec<Step>,
}

/// One step of a path.
enum Step {
    Key(Rc<str>),
    Index(usize),
}

impl<'a> Reader<'a, '_> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        match self.events.next() {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => Err(self.explain(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn document(&mut self) -> Result<Node, Fault> {
        let mut found = None;
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => break,
                (Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _) => {}
                (_, span) if found.is_some() => {
                    let text = "the file holds more than one document ('---'); only one is allowed";
                    return Err(Fault::new(span.start.line(), text));
                }
                (event, span) => found = Some(self.node(event, &span)?),
            }
        }
        Ok(found.unwrap_or_else(|| Node { value: Value::Null, place: Place::file(self.file) }))
    }

    fn node(&mut self, event: Event<'a>, span: &Span) -> Result<Node, Fault> {
        if self.path.len() > DEPTH_MAX {
            return Err(too_deep(span.start.line()));
        }
        let place = self.place(span);
        match event {
            Event::Alias(id) => self.alias(id, span),
            Event::Scalar(text, style, anchor, tag) => {
                let node = match self.tagged(tag.as_deref(), Some(&text), &place) {
                    Some(node) => node,
                    None => Node { value: scalar(&text, style), place },
                };
                self.keep(anchor, node, span)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.anchors.insert(anchor, None);
                let value = Value::List(self.items()?);
                let node = Node { value, place };
                let node = self.tagged(tag.as_deref(), None, &node.place).unwrap_or(node);
                self.keep(anchor, node, span)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.anchors.insert(anchor, None);
                let value = Value::Map(self.entries()?);
                let node = Node { value, place };
                let node = self.tagged(tag.as_deref(), None, &node.place).unwrap_or(node);
                self.keep(anchor, node, span)
            }
            _ => Err(Fault::at(span, "this is not valid YAML")),
        }
    }

    fn items(&mut self) -> Result<Vec<Node>, Fault> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                items.shrink_to_fit();
                return Ok(items);
            }
            items.push(self.below(Step::Index(items.len()), event, &span)?);
        }
    }

    fn below(&mut self, step: Step, event: Event<'a>, span: &Span) -> Result<Node, Fault> {
        self.path.push(step);
        let node = self.node(event, span);
        self.path.pop();
        node
    }

    fn entries(&mut self) -> Result<Entries, Fault> {
        let mut entries: Entries = Vec::new();
        let mut merged = Vec::new();
        let mut seen = BTreeSet::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let is_merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let name = self.key(event, &span)?;
            let (event, value_span) = self.next()?;
            let node = self.below(Step::Key(Rc::clone(&name)), event, &value_span)?;
            if is_merge {
                merged.push((node, span));
                continue;
            }
            if is_there(&entries, &mut seen, &name) {
                let text = format!("duplicate entry with key {}; a key may occur only once in a map", quoted(&name));
                return Err(Fault::at(&span, &text));
            }
            entries.push((name, node));
        }
        for (node, span) in merged {
            merge_into(&mut entries, node, &span)?;
        }
        entries.shrink_to_fit();
        Ok(entries)
    }

    /// Returns the text of a key, shared by all equal keys.
    fn key(&mut self, event: Event<'a>, span: &Span) -> Result<Rc<str>, Fault> {
        let text = match event {
            Event::Scalar(text, style, anchor, _) => {
                let node = Node { value: scalar(&text, style), place: self.place(span) };
                self.keep(anchor, node, span)?;
                text
            }
            Event::Alias(id) => match self.alias(id, span)?.value {
                Value::Text(text) => text.into_string().into(),
                _ => return Err(Fault::at(span, NO_KEY)),
            },
            _ => return Err(Fault::at(span, NO_KEY)),
        };
        if let Some(known) = self.keys.get(&*text) {
            return Ok(Rc::clone(known));
        }
        let key: Rc<str> = Rc::from(text);
        self.keys.insert(Rc::clone(&key));
        Ok(key)
    }

    fn place(&self, span: &Span) -> Place {
        let line = span.tag_start.map_or(span.start.line(), |tag| tag.line());
        Place { file: Rc::clone(self.file), line: u32::try_from(line).unwrap_or(u32::MAX) }
    }

    /// Remembers the value of an anchor.
    fn keep(&mut self, anchor: usize, node: Node, span: &Span) -> Result<Node, Fault> {
        if anchor != 0 {
            self.count(&node, span)?;
            self.anchors.insert(anchor, Some(node.clone()));
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, span: &Span) -> Result<Node, Fault> {
        let Some(Some(node)) = self.anchors.get(&id).cloned() else {
            return Err(Fault::at(span, "an alias ('*name') is inside the value that it names"));
        };
        self.count(&node, span)?;
        Ok(node)
    }

    fn count(&mut self, node: &Node, span: &Span) -> Result<(), Fault> {
        self.aliased = self.aliased.saturating_add(size(node));
        if self.aliased > ALIASED_MAX {
            return Err(Fault::at(span, "aliases ('*name') repeat too much"));
        }
        Ok(())
    }

    /// Returns the value for a non-standard tag; `None` without a tag and for tags of YAML itself, such as `!!str`.
    fn tagged(&mut self, tag: Option<&YamlTag>, text: Option<&str>, place: &Place) -> Option<Node> {
        let name = tag?.to_string();
        let name = name.trim_start_matches('!');
        if tag.is_some_and(YamlTag::is_yaml_core_schema) || name.is_empty() || name.starts_with("tag:yaml.org,2002:") {
            return None;
        }
        let key = self.path.iter().fold(String::new(), |key, step| match step {
            Step::Key(name) => join(&key, name),
            Step::Index(index) => format!("{key}[{index}]"),
        });
        let replaced = (self.on_tag)(&Tag { name, text }, place, &key);
        Some(replaced.unwrap_or_else(|| Node { value: Value::Null, place: place.clone() }))
    }

    /// Converts the parser's message to our form. A tab in the indentation gets a separate message, because the
    /// parser's is unclear.
    fn explain(&self, error: &ScanError) -> Fault {
        let (line, column) = (error.marker().line(), error.marker().col().saturating_add(1));
        if matches!(error.kind(), granit_parser::ErrorKind::RecursionLimitExceeded) {
            return too_deep(line);
        }
        // The parser may report a tab only on the following line.
        let reached = self.text.lines().take(line.saturating_add(1)).enumerate();
        for (index, text) in reached.skip(line.saturating_sub(2)) {
            let indentation: String = text.chars().take_while(|letter| letter.is_whitespace()).collect();
            if let Some(column) = indentation.chars().position(|letter| letter == '\t') {
                let text = "the indentation contains a tab; YAML allows only spaces there";
                let text = format!("column {}: {text}", column.saturating_add(1));
                return Fault::new(index.saturating_add(1), text);
            }
        }
        let hint = unquoted_start(self.text, line);
        Fault::new(line, format!("column {column}: this is not valid YAML: {}{hint}", error.info()))
    }
}

fn too_deep(line: usize) -> Fault {
    Fault::new(line, format!("maps and lists are nested more than {DEPTH_MAX} levels deep"))
}

/// Whether a map has the key; `seen` holds the keys of a large map.
fn is_there(entries: &Entries, seen: &mut BTreeSet<Rc<str>>, name: &Rc<str>) -> bool {
    if entries.len() < SMALL_MAP {
        return entries.iter().any(|(other, _)| other == name);
    }
    if seen.is_empty() {
        seen.extend(entries.iter().map(|(name, _)| Rc::clone(name)));
    }
    !seen.insert(Rc::clone(name))
}

/// Converts a scalar: an unquoted `~`, `null` or empty text is null, everything else is text.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style == ScalarStyle::Plain && matches!(text, "" | "~" | "null") {
        Value::Null
    } else {
        Value::Text(text.into())
    }
}

/// Number of values in a value, including itself.
fn size(node: &Node) -> usize {
    let below: usize = match &node.value {
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|(_, node)| size(node)).sum(),
        _ => 0,
    };
    below.saturating_add(1)
}

/// Merges `<<: *name` or `<<: [*one, *other]`: adds entries that the map itself does not have; the first source of an
/// entry wins.
fn merge_into(entries: &mut Entries, node: Node, span: &Span) -> Result<(), Fault> {
    match node.value {
        Value::Map(below) => {
            for (name, node) in below {
                if !entries.iter().any(|(other, _)| *other == name) {
                    entries.push((name, node));
                }
            }
            Ok(())
        }
        Value::List(items) if items.iter().all(|item| matches!(item.value, Value::Map(_))) => {
            items.into_iter().try_for_each(|item| merge_into(entries, item, span))
        }
        value => {
            let text = format!("a '<<' merge cannot be done with {}; allowed: a map or a list of maps", value.kind());
            Err(Fault::at(span, &text))
        }
    }
}

/// Returns a hint if a value of the line begins with a character reserved by YAML, as in `external_com_path: *:5556`.
fn unquoted_start(text: &str, line: usize) -> &'static str {
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let starts = [": *", ": @", ": `", ": %", "- *", "- @", "- `", "- %"];
    if starts.iter().any(|start| line.contains(start)) {
        "; a value that begins with '*', '@', '`' or '%' needs quotes, for instance \"*:5556\""
    } else {
        ""
    }
}

/// Joins `parent` and `key` to a path for messages.
pub(super) fn join(parent: &str, key: &str) -> String {
    let point = if parent.is_empty() || key.is_empty() || key.starts_with('[') { "" } else { "." };
    format!("{parent}{point}{key}")
}

#[cfg(test)]
mod tests;

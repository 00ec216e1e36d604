//! Environment variables that override the files (docs/protocol.md section 18): `GORGONE__PATH__KEY=value` sets or
//! replaces one value. The container images of pollers use short names for a few values.
//!
//! A path begins below `configuration` (`GORGONE__GORGONE__MODULES__PULLWSS__TOKEN`) and is case-insensitive. An entry
//! of a list is addressed by its number, its `name` or its `id`. Empty variables count as not set.

use std::path::Path;
use std::rc::Rc;

use super::findings::Findings;
use super::tree::{Node, Place, Value};
use crate::model::action::Module;
use crate::model::text::quoted;

/// Prefix of every long name.
const PREFIX: &str = "GORGONE__";
/// Maximum number of words of a path.
const WORDS_MAX: usize = 16;
/// The lists in which a variable may create an entry by name.
const NAMED_LISTS: [&str; 2] = ["modules", "tpapi"];
/// The short names of the container images, with the paths that they stand for.
const SHORT_NAMES: [(&str, &str); 5] = [
    ("GORGONE_UID", "GORGONE__GORGONE__GORGONECORE__ID"),
    (TOKEN, "GORGONE__GORGONE__MODULES__PULLWSS__TOKEN"),
    ("CENTRAL_HOST", "GORGONE__GORGONE__MODULES__PULLWSS__ADDRESS"),
    ("CENTRAL_PORT", "GORGONE__GORGONE__MODULES__PULLWSS__PORT"),
    ("GORGONE_SSL", "GORGONE__GORGONE__MODULES__PULLWSS__SSL"),
];
const TOKEN: &str = "GORGONE_TOKEN";

/// A value that was set by an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromEnvironment {
    /// Key of the value, in the form used in messages.
    pub key: String,
    /// Name of the variable.
    pub variable: String,
}

/// Sets the values of `variables` in `tree`, short names last. Values that cannot be set cause warnings.
pub(super) fn apply(tree: &mut Node, variables: &[(String, String)], findings: &mut Findings) -> Vec<FromEnvironment> {
    let mut set = Vec::new();
    let given = |name: &str| variables.iter().any(|(variable, value)| variable == name && !value.is_empty());
    let long = variables.iter().filter(|(name, _)| name.starts_with(PREFIX)).map(|pair| (pair, pair.0.as_str()));
    let dials = given(TOKEN) || has_module(tree, Module::PullWss.name());
    let short = SHORT_NAMES
        .iter()
        .filter(|(name, _)| dials || *name == "GORGONE_UID")
        .filter_map(|(name, path)| variables.iter().find(|(variable, _)| variable == name).map(|pair| (pair, *path)));
    let mut long: Vec<_> = long.collect();
    // Sorting creates the entries of a list in the order of their numbers.
    long.sort_unstable();
    for ((variable, value), path) in long.into_iter().chain(short).filter(|((_, value), _)| !value.is_empty()) {
        let place = Place::file(Path::new(&format!("environment variable {variable}")));
        match set_value(tree, path, value, &place) {
            Ok(key) => set.push(FromEnvironment { key, variable: variable.clone() }),
            Err(text) => findings.warning(&place, "", text),
        }
    }
    set
}

fn has_module(tree: &Node, name: &str) -> bool {
    let gorgone = tree.get("configuration").and_then(|node| node.get("gorgone")).or_else(|| tree.get("gorgone"));
    match gorgone.and_then(|node| node.get("modules")).map(|node| &node.value) {
        Some(Value::List(items)) => items.iter().any(|item| is_called(item, name)),
        _ => false,
    }
}

/// Whether an entry of a list has this `name` or `id`.
fn is_called(item: &Node, word: &str) -> bool {
    ["name", "id"].iter().filter_map(|key| item.get(key)).any(|node| match &node.value {
        Value::Text(text) => text.trim().eq_ignore_ascii_case(word),
        _ => false,
    })
}

/// Sets one value; returns its key in the form used in messages.
fn set_value(tree: &mut Node, path: &str, value: &str, place: &Place) -> Result<String, String> {
    let path = path.strip_prefix(PREFIX).unwrap_or(path).to_ascii_lowercase();
    let words: Vec<&str> = path.split("__").collect();
    if words.iter().any(|word| word.is_empty()) || words.len() > WORDS_MAX {
        return Err("is not a path to a value, ignored; for instance GORGONE__GORGONE__GORGONECORE__ID".to_owned());
    }
    let root = if tree.get("configuration").is_some() || tree.get("gorgone").is_none() {
        child(tree, "configuration", "", place)?
    } else {
        tree
    };
    let mut node = root;
    let mut key = String::new();
    for (index, word) in words.iter().enumerate() {
        let is_last = index.saturating_add(1) == words.len();
        let list = key.rsplit('.').next().unwrap_or_default().to_owned();
        if let Value::List(_) = node.value {
            key = format!("{key}[{word}]");
            node = entry(node, word, &list, is_last, place)?;
        } else {
            // Messages omit `gorgone`.
            key = if index == 0 && *word == "gorgone" { String::new() } else { super::yaml::join(&key, word) };
            let next = words.get(index.saturating_add(1)).copied().unwrap_or_default();
            node = child(node, word, next, place)?;
        }
    }
    *node = Node { value: Value::Text(value.into()), place: place.clone() };
    Ok(key)
}

/// Returns the value at a key of a map, creating it if absent; `next` is the following word of the path.
fn child<'a>(node: &'a mut Node, word: &str, next: &str, place: &Place) -> Result<&'a mut Node, String> {
    if node.value == Value::Null {
        node.value = Value::Map(Vec::new());
    }
    let kind = node.value.kind();
    let Value::Map(entries) = &mut node.value else {
        return Err(format!("asks for {} of what is {kind}; ignored", quoted(word)));
    };
    let at = entries.iter().position(|(key, _)| key.eq_ignore_ascii_case(word)).unwrap_or_else(|| {
        entries.push((Rc::from(word), Node { value: Value::Null, place: place.clone() }));
        entries.len().saturating_sub(1)
    });
    let (_, child) = entries.get_mut(at).ok_or("cannot be set")?;
    let is_list = NAMED_LISTS.contains(&word) || (!next.is_empty() && next.bytes().all(|byte| byte.is_ascii_digit()));
    if child.value == Value::Null && is_list {
        child.value = Value::List(Vec::new());
    }
    Ok(child)
}

/// Returns the entry of a list that a word addresses. A new entry is created by the next free number, or by a name in
/// [`NAMED_LISTS`]; a new module gets its package and is enabled.
fn entry<'a>(node: &'a mut Node, word: &str, list: &str, is_last: bool, place: &Place) -> Result<&'a mut Node, String> {
    let Value::List(items) = &mut node.value else { return Err("cannot be set".to_owned()) };
    let number = word.parse::<usize>().ok().filter(|_| word.bytes().all(|byte| byte.is_ascii_digit()));
    let found = number.filter(|number| *number < items.len());
    let at = match found.or_else(|| items.iter().position(|item| is_called(item, word))) {
        Some(at) if is_last && number.is_none() => {
            return Err(format!("names entry {at} of '{list}' and no value in it; ignored"));
        }
        Some(at) => at,
        None if number == Some(items.len()) => {
            items.push(Node { value: Value::Null, place: place.clone() });
            items.len().saturating_sub(1)
        }
        None if number.is_none() && NAMED_LISTS.contains(&list) && !is_last => {
            items.push(named(word, list, place));
            items.len().saturating_sub(1)
        }
        None => {
            return Err(format!(
                "asks for {} of '{list}', which has {} entries, none of that name; ignored",
                quoted(word),
                items.len()
            ));
        }
    };
    items.get_mut(at).ok_or_else(|| "cannot be set".to_owned())
}

fn named(name: &str, list: &str, place: &Place) -> Node {
    let text = |text: &str| Node { value: Value::Text(text.into()), place: place.clone() };
    let mut entries = vec![(Rc::from("name"), text(name))];
    if let Some(module) = Module::ALL.iter().find(|module| list == "modules" && module.name() == name) {
        entries.push((Rc::from("package"), text(module.package())));
        entries.push((Rc::from("enable"), text("true")));
    }
    Node { value: Value::Map(entries), place: place.clone() }
}

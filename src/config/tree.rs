//! The values of the files as a tree in which every value knows its file and line.

use std::path::Path;
use std::rc::Rc;

/// The place of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: Rc<Path>,
    /// The line, counted from 1; 0 for the whole file.
    pub(super) line: u32,
}

impl Place {
    /// Returns the place of a whole file.
    pub(super) fn file(path: &Path) -> Self {
        Self { file: Rc::from(path), line: 0 }
    }

    /// Resolves a path that is written at this place: a relative one refers to the directory of the file.
    pub(super) fn beside(&self, name: &str) -> std::path::PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(name)
    }
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// The value itself.
    pub(super) value: Value,
    /// The place where it is written.
    pub(super) place: Place,
}

/// The entries of a map in the order of the file. Maps of a configuration are small, so they are searched linearly.
pub(super) type Entries = Vec<(Rc<str>, Node)>;

/// A value. Every scalar keeps the text of the file; the option decides whether it is a number or a boolean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing after the colon, or an unquoted `~` or `null`.
    Null,
    /// Any other scalar.
    Text(Box<str>),
    List(Vec<Node>),
    Map(Entries),
}

impl Value {
    /// The name of this type of value in messages.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Text(_) => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

impl Node {
    /// The value of `key` if this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(name, _)| **name == *key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Like [`Self::get`], but mutable.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().find(|(name, _)| **name == *key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Merges `right` into this value: maps are merged, lists are appended, otherwise the right side replaces the left.
    /// An empty right side changes nothing, so a file that holds only `gorgone:` does not erase the values of others.
    pub(super) fn merge(&mut self, right: Self) {
        match (&mut self.value, right) {
            (_, Self { value: Value::Null, .. }) => {}
            (Value::List(left), Self { value: Value::List(right), .. }) => left.extend(right),
            (Value::Map(left), Self { value: Value::Map(right), .. }) => {
                for (key, node) in right {
                    match left.iter_mut().find(|(name, _)| *name == key) {
                        Some((_, below)) => below.merge(node),
                        None => left.push((key, node)),
                    }
                }
            }
            (_, right) => *self = right,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml;

    fn tree(file: &str, text: &str) -> Node {
        yaml::parse(&Rc::from(Path::new(file)), text.as_bytes(), &mut |_, _, _| None).unwrap()
    }

    fn file_of(node: &Node) -> &str {
        node.place.file.to_str().unwrap()
    }

    #[test]
    fn maps_merge_lists_grow_and_the_right_side_wins() {
        let mut left = tree("a", "core: {id: 1, name: x}\nlist: [1]\nkind: [1]\n");
        left.merge(tree("b", "core: {id: 2, port: 3}\nlist: [2]\nkind: {a: 1}\n"));
        let core = left.get("core").unwrap();
        assert_eq!(core.get("id").unwrap().value, Value::Text("2".into()));
        assert_eq!(file_of(core.get("id").unwrap()), "b");
        assert_eq!(file_of(core.get("name").unwrap()), "a");
        let Value::List(list) = &left.get("list").unwrap().value else { panic!("no list") };
        assert_eq!(list.iter().map(file_of).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(left.get("kind").unwrap().value.kind(), "a map");
    }

    #[test]
    fn an_empty_right_side_wipes_nothing_out() {
        let mut left = tree("a", "gorgone: {id: 1}");
        left.merge(tree("b", "gorgone:"));
        assert!(left.get("gorgone").unwrap().get("id").is_some());
    }
}

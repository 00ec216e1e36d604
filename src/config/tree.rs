//! The values of the files as a tree in which every value knows the file and the line that it stands in.

use std::path::Path;
use std::rc::Rc;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The file that says it.
    pub(super) file: Rc<Path>,
    /// Its line, counted from 1; 0 for the file as a whole.
    pub(super) line: u32,
}

impl Place {
    /// The file as a whole.
    pub(super) fn file(path: &Path) -> Self {
        Self { file: Rc::from(path), line: 0 }
    }

    /// A path that stands here: a relative one counts from the directory of the file.
    pub(super) fn beside(&self, name: &str) -> std::path::PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(name)
    }
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// What it is.
    pub(super) value: Value,
    /// The file that said it.
    pub(super) place: Place,
}

/// The entries of a map in the order of the file. Maps of a configuration are small, so a search is a walk.
pub(super) type Entries = Vec<(Rc<str>, Node)>;

/// A value. Every scalar keeps the text of the file: what a number or a truth value is, the option decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing after the colon, or an unquoted `~` or `null`.
    Null,
    /// Any other scalar.
    Text(Box<str>),
    /// A list.
    List(Vec<Node>),
    /// A map.
    Map(Entries),
}

impl Value {
    /// How messages call this sort of value.
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
    /// The value of `key` where this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(name, _)| **name == *key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The same, to change it.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().find(|(name, _)| **name == *key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Puts `right` over this value: maps are merged, lists are appended, otherwise the right side wins. An empty right
    /// side changes nothing, so a file that holds only `gorgone:` does not wipe out what others said.
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

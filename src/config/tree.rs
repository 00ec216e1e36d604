//! The values of the files as a tree in which every value knows the file it came from.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::rc::Rc;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// What it is.
    pub(super) value: Value,
    /// The file that said it.
    pub(super) file: Rc<Path>,
}

/// A value. Booleans and numbers are kept as text, because the files mix `true`, `"true"` and `1` freely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing after the colon, `~` or `null`.
    Null,
    /// Any scalar.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map.
    Map(BTreeMap<String, Node>),
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
            Value::Map(entries) => entries.get(key),
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
                    match left.entry(key) {
                        Entry::Occupied(mut below) => below.get_mut().merge(node),
                        Entry::Vacant(place) => {
                            place.insert(node);
                        }
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
        yaml::parse(text.as_bytes()).unwrap().into_node(&Rc::from(Path::new(file)), &mut |_, _| None)
    }

    fn file_of(node: &Node) -> &str {
        node.file.to_str().unwrap()
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

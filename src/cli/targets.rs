//! The nodes that `exec` and `copy` are for: ids with commas between them, or `all`.

use super::remote::Remote;
use super::words::node_id;

/// The nodes as given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Targets {
    /// Each once, in the order in which they were given.
    ids: Vec<u64>,
    /// Whether every node is meant that the daemon knows.
    all: bool,
}

impl Targets {
    /// Parses `2`, `2,3,5`, `all` or `2,all`.
    ///
    /// # Errors
    /// A sentence about the word that is no node.
    pub(super) fn parse(words: &str) -> Result<Self, String> {
        let mut targets = Self { ids: Vec::new(), all: false };
        for word in words.split(',') {
            match word.trim() {
                "all" => targets.all = true,
                "" if words.contains(',') => {
                    return Err(format!(
                        "'{words}' has an empty place: give ids with one comma between them, as in 2,3"
                    ));
                }
                word => {
                    let id = node_id(word)?;
                    if !targets.ids.contains(&id) {
                        targets.ids.push(id);
                    }
                }
            }
        }
        Ok(targets)
    }

    /// The node, if the words name exactly one.
    pub(super) fn single(&self) -> Option<u64> {
        match self.ids.as_slice() {
            [id] if !self.all => Some(*id),
            _ => None,
        }
    }

    /// Returns the ids: the given ones, then those that `all` stands for. The daemon itself is not one of the latter.
    ///
    /// # Errors
    /// The daemon does not tell its nodes, or has none.
    pub(super) fn resolve(&self, remote: &Remote) -> Result<Vec<u64>, String> {
        let mut ids = self.ids.clone();
        if self.all {
            let known = remote.known_nodes()?;
            ids.extend(known.into_iter().filter(|id| !self.ids.contains(id) && remote.own_id() != Some(*id)));
        }
        if ids.is_empty() {
            return Err("'all' stands for the nodes that the daemon knows, and it knows none".to_owned());
        }
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_kept_in_their_order_and_once() {
        let ids = |words: &str| Targets::parse(words).map(|targets| (targets.ids, targets.all));
        assert_eq!(ids("2"), Ok((vec![2], false)));
        assert_eq!(ids("5,2, 5"), Ok((vec![5, 2], false)));
        assert_eq!(ids("all"), Ok((vec![], true)));
        assert_eq!(ids("3,all"), Ok((vec![3], true)));
        for (words, said) in
            [("", "'' is not the id of a node"), ("2,", "'2,' has an empty place"), (",", "empty place")]
        {
            assert!(ids(words).unwrap_err().contains(said), "{words}");
        }
        for (words, said) in [
            ("2,x", "'x' is not the id of a node"),
            ("2;3", "'2;3' is not the id of a node"),
            ("0", "'0' is not the id of a node"),
            ("ALL", "not the id"),
        ] {
            assert!(ids(words).unwrap_err().contains(said), "{words}");
        }
        assert_eq!(Targets::parse("2,2").unwrap().single(), Some(2));
        assert_eq!(Targets::parse("2,all").unwrap().single(), None);
    }
}

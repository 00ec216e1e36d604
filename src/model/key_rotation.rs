//! The replacement of a daemon's key by another one, as values: which keys were replaced by which, and what daemons
//! tell each other about it (docs/protocol.md section 22).

use serde::{Deserialize, Serialize};

use super::session::is_thumbprint;

/// Maximum number of replacements that are followed from one key.
const CHAIN_MAX: usize = 16;

/// The end of an old key that other daemons have, too.
pub const FOR_EVER: i64 = i64::MAX;

/// A key that was replaced. All keys are RFC 7638 thumbprints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Successor {
    /// The key that was known.
    pub old: String,
    /// The key that its owner announced over a link that the old one authenticated.
    pub new: String,
    /// Until when both are valid, in seconds since 1970. Afterwards the new one alone is. [`FOR_EVER`] if other daemons
    /// have the old one, too.
    pub until: i64,
}

/// The keys of peers that were replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Successors(pub Vec<Successor>);

impl Successors {
    /// Maximum number of replaced keys.
    pub const MAX: usize = 10_000;

    /// Returns the replacements of a key: several, where several daemons had it.
    pub fn of(&self, key: &str) -> impl Iterator<Item = &Successor> {
        self.0.iter().filter(move |successor| successor.old == key)
    }

    /// Whether a key was replaced.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.of(key).next().is_some()
    }

    /// Whether a key was replaced and is no longer valid.
    #[must_use]
    pub fn is_over(&self, key: &str, now_seconds: i64) -> bool {
        self.has(key) && self.of(key).all(|successor| successor.until <= now_seconds)
    }

    /// Whether `shown` may be the key of a peer of which `known` is known: the same, one that replaced it, or one that
    /// it replaced and that is still valid.
    #[must_use]
    pub fn may_be(&self, known: &str, shown: &str, now_seconds: i64) -> bool {
        !self.is_over(shown, now_seconds) && (self.leads(known, shown) || self.leads(shown, known))
    }

    /// Whether `new` replaced `old`, directly or not, or is the same.
    #[must_use]
    pub fn leads(&self, old: &str, new: &str) -> bool {
        let mut reached = vec![old];
        for _ in 0..CHAIN_MAX {
            if reached.contains(&new) {
                return true;
            }
            reached = reached.into_iter().flat_map(|key| self.of(key)).map(|next| next.new.as_str()).collect();
        }
        false
    }

    /// When the next key ceases to be valid.
    #[must_use]
    pub fn next_end(&self, now_seconds: i64) -> Option<i64> {
        self.0.iter().map(|successor| successor.until).filter(|until| *until > now_seconds && *until < FOR_EVER).min()
    }
}

/// A new key of this daemon that is announced and not in use yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Its thumbprint.
    pub key: String,
    /// When it is used at the latest, in seconds since 1970.
    pub switch_at: i64,
    /// Until when peers take both keys.
    pub until: i64,
}

/// The data of a NEWKEY.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KeyNews {
    /// The sender will use this key; both are valid until the given time.
    Announced {
        /// The thumbprint of the new key.
        key: String,
        /// Seconds since 1970.
        until: i64,
    },
    /// The sender has stored that this key replaces the one that it knew.
    Learned {
        /// The thumbprint of the new key.
        learned: String,
    },
}

impl KeyNews {
    /// Reads the data of a NEWKEY.
    #[must_use]
    pub fn read(data: &str) -> Option<Self> {
        let news: Self = serde_json::from_str(data).ok()?;
        let (Self::Announced { key, .. } | Self::Learned { learned: key }) = &news;
        is_thumbprint(key).then_some(news)
    }

    /// The text of the data.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn successors(list: &[(&str, &str, i64)]) -> Successors {
        let one = |(old, new, until): &(&str, &str, i64)| Successor {
            old: (*old).to_owned(),
            new: (*new).to_owned(),
            until: *until,
        };
        Successors(list.iter().map(one).collect())
    }

    #[test]
    fn both_keys_are_valid_until_the_old_one_is_over() {
        let keys = successors(&[("a", "b", 100)]);
        for (known, shown) in [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")] {
            assert!(keys.may_be(known, shown, 99), "{known} {shown}");
            assert_eq!(keys.may_be(known, shown, 100), shown == "b", "{known} {shown}");
        }
        assert!(!keys.may_be("a", "c", 99) && !keys.may_be("c", "a", 99) && keys.may_be("c", "c", 99));
        assert_eq!((keys.next_end(99), keys.next_end(100)), (Some(100), None));
    }

    #[test]
    fn replacements_are_followed_and_circles_end() {
        let keys = successors(&[("a", "b", 100), ("b", "c", 200), ("x", "y", 1), ("y", "x", 1), ("b", "d", FOR_EVER)]);
        assert!(keys.may_be("a", "c", 150) && keys.may_be("c", "b", 150) && !keys.may_be("c", "a", 150));
        assert!(!keys.may_be("x", "a", 0) && keys.may_be("a", "d", 300) && !keys.is_over("b", 300));
    }

    #[test]
    fn only_thumbprints_are_read() {
        let key = "k".repeat(43);
        let news = KeyNews::Announced { key: key.clone(), until: 7 };
        assert_eq!(KeyNews::read(&news.text()), Some(news));
        let learned = KeyNews::Learned { learned: key };
        assert_eq!(KeyNews::read(&learned.text()), Some(learned));
        for text in ["", "{}", r#"{"key":"short","until":1}"#, r#"{"learned":7}"#] {
            assert_eq!(KeyNews::read(text), None, "{text}");
        }
    }
}

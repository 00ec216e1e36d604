//! One ordered set of deadlines for everything that has at most one. No clock: the time comes in.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::time::Monotonic;

/// At most one deadline per owner; the earliest is found in O(log n).
#[derive(Debug, Default)]
pub struct Timers<Owner: Copy + Ord> {
    by_time: BTreeSet<(Monotonic, Owner)>,
    by_owner: BTreeMap<Owner, Monotonic>,
}

impl<Owner: Copy + Ord> Timers<Owner> {
    /// No deadlines yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { by_time: BTreeSet::new(), by_owner: BTreeMap::new() }
    }

    /// Replaces the owner's deadline; `None` removes it.
    pub fn set(&mut self, owner: Owner, deadline: Option<Monotonic>) {
        if self.by_owner.get(&owner).copied() == deadline {
            return;
        }
        if let Some(old) = self.by_owner.remove(&owner) {
            self.by_time.remove(&(old, owner));
        }
        if let Some(deadline) = deadline {
            self.by_owner.insert(owner, deadline);
            self.by_time.insert((deadline, owner));
        }
    }

    /// The earliest deadline.
    #[must_use]
    pub fn earliest(&self) -> Option<Monotonic> {
        self.by_time.first().map(|(deadline, _)| *deadline)
    }

    /// Removes and returns one owner whose deadline has come, earliest first.
    pub fn pop_due(&mut self, now: Monotonic) -> Option<Owner> {
        let (deadline, owner) = *self.by_time.first()?;
        if deadline > now {
            return None;
        }
        self.by_time.remove(&(deadline, owner));
        self.by_owner.remove(&owner);
        Some(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_deadline_replaces_the_old_and_due_owners_come_earliest_first() {
        let mut timers = Timers::new();
        timers.set('a', Some(Monotonic::from_millis(30)));
        timers.set('b', Some(Monotonic::from_millis(20)));
        timers.set('a', Some(Monotonic::from_millis(10)));
        assert_eq!(timers.earliest(), Some(Monotonic::from_millis(10)));
        assert_eq!(timers.pop_due(Monotonic::from_millis(5)), None);
        assert_eq!(timers.pop_due(Monotonic::from_millis(25)), Some('a'));
        assert_eq!(timers.pop_due(Monotonic::from_millis(25)), Some('b'));
        timers.set('c', Some(Monotonic::from_millis(1)));
        timers.set('c', None);
        assert_eq!(timers.pop_due(Monotonic::from_millis(99)), None);
    }
}

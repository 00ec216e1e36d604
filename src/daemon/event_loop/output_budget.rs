//! The outputs of all commands that run, as a part of the budget of all (`dispatch/budget.rs`): above it they are read
//! one after the other, and the others wait with a full pipe.

/// What the outputs of others may hold while the oldest command is still read above the budget.
const OTHERS_BYTES: usize = 16 << 20;
/// Output of commands that end in one turn: storing it takes several times as much.
const ENDED_BYTES: usize = 2 << 20;

/// What one running command holds.
#[derive(Clone, Copy)]
pub(super) struct Held {
    /// Names the command; the oldest has the lowest.
    pub(super) source: usize,
    pub(super) kept_bytes: usize,
    /// No more of it is kept, whatever it prints.
    pub(super) is_full: bool,
}

/// The budget in one turn.
pub(super) struct OutputBudget {
    /// What may be kept of all outputs together.
    limit_bytes: usize,
    total_bytes: usize,
    /// The oldest command of which more is kept.
    leader: Option<Held>,
    ended_bytes: usize,
}

impl OutputBudget {
    pub(super) fn new(limit_bytes: usize, running: impl Iterator<Item = Held>) -> Self {
        let mut budget = Self { limit_bytes, total_bytes: 0, leader: None, ended_bytes: 0 };
        for held in running {
            budget.total_bytes += held.kept_bytes;
            if !held.is_full && budget.leader.is_none_or(|leader| held.source < leader.source) {
                budget.leader = Some(held);
            }
        }
        budget
    }

    /// Whether a command is read in this turn. The oldest is, unless the others hold too much: these end, by their
    /// time-out at the latest.
    pub(super) fn may_read(&self, held: Held) -> bool {
        let is_leader = self.leader.is_some_and(|leader| leader.source == held.source);
        let of_others = self.total_bytes.saturating_sub(held.kept_bytes);
        held.is_full || self.total_bytes < self.limit_bytes || (is_leader && of_others < OTHERS_BYTES)
    }

    /// A command was read, or ended (then `kept_bytes` is what it printed).
    pub(super) const fn note(&mut self, before_bytes: usize, after_bytes: usize, has_ended: bool) {
        self.total_bytes = self.total_bytes.saturating_sub(before_bytes);
        if has_ended {
            self.ended_bytes = self.ended_bytes.saturating_add(after_bytes);
        } else {
            self.total_bytes = self.total_bytes.saturating_add(after_bytes);
        }
    }

    /// What all hold.
    pub(super) const fn total_bytes(&self) -> usize {
        self.total_bytes
    }

    /// Whether commands that could end wait for the next turn.
    pub(super) const fn is_turn_over(&self) -> bool {
        self.ended_bytes >= ENDED_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(source: usize, kept_bytes: usize, is_full: bool) -> Held {
        Held { source, kept_bytes, is_full }
    }

    #[test]
    fn below_the_budget_all_are_read_and_above_it_the_oldest_that_gains() {
        let few = [held(2, 3 << 20, false), held(4, 4 << 20, false)];
        let budget = OutputBudget::new(8 << 20, few.into_iter());
        assert!(few.into_iter().all(|one| budget.may_read(one)));
        let many = [held(2, 3 << 20, true), held(4, 4 << 20, false), held(6, 4 << 20, false)];
        let budget = OutputBudget::new(8 << 20, many.into_iter());
        assert_eq!(many.map(|one| budget.may_read(one)), [true, true, false]);
    }

    #[test]
    fn a_command_that_may_print_more_than_the_budget_is_read_when_it_is_alone() {
        let alone = held(2, 100 << 20, false);
        assert!(OutputBudget::new(8 << 20, [alone].into_iter()).may_read(alone));
        let full = [held(2, 9 << 20, true), held(4, 9 << 20, true), held(6, 0, false)];
        assert!(!OutputBudget::new(8 << 20, full.into_iter()).may_read(held(6, 0, false)));
    }

    #[test]
    fn a_turn_is_over_after_the_output_of_some_ends() {
        let mut budget = OutputBudget::new(8 << 20, std::iter::empty());
        budget.note(0, 1 << 20, true);
        assert!(!budget.is_turn_over());
        budget.note(0, 1 << 20, true);
        assert!(budget.is_turn_over());
    }
}

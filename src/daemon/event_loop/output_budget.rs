//! The share of the outputs of running commands in the budget of memory (`dispatch/budget.rs`). Above the share they
//! are read one after the other; the other commands wait with a full pipe.

/// Maximum number of bytes that the outputs of others may hold while the oldest command is still read above the budget.
const OTHERS_BYTES: usize = 16 << 20;
/// Maximum number of output bytes of commands that end in one turn; storing them takes several times as much memory.
const ENDED_BYTES: usize = 2 << 20;

/// The output that one running command holds.
#[derive(Clone, Copy)]
pub(super) struct Held {
    /// Token number of the command; older commands have lower numbers.
    pub(super) source: usize,
    pub(super) kept_bytes: usize,
    /// Whether its output has reached its limit; further output is discarded.
    pub(super) is_full: bool,
}

/// The budget in one turn.
pub(super) struct OutputBudget {
    /// Maximum number of bytes kept of all outputs together.
    limit_bytes: usize,
    total_bytes: usize,
    /// The oldest command whose output has not reached its limit.
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

    /// Whether a command is read in this turn. Above the budget only the oldest is read, unless the others hold too
    /// much; they end at the latest by their time-out.
    pub(super) fn may_read(&self, held: Held) -> bool {
        let is_leader = self.leader.is_some_and(|leader| leader.source == held.source);
        let of_others = self.total_bytes.saturating_sub(held.kept_bytes);
        held.is_full || self.total_bytes < self.limit_bytes || (is_leader && of_others < OTHERS_BYTES)
    }

    /// Notes that a command was read or has ended.
    pub(super) const fn note(&mut self, before_bytes: usize, after_bytes: usize, has_ended: bool) {
        self.total_bytes = self.total_bytes.saturating_sub(before_bytes);
        if has_ended {
            self.ended_bytes = self.ended_bytes.saturating_add(after_bytes);
        } else {
            self.total_bytes = self.total_bytes.saturating_add(after_bytes);
        }
    }

    /// Number of bytes that all outputs hold.
    pub(super) const fn total_bytes(&self) -> usize {
        self.total_bytes
    }

    /// Whether ended commands must wait for the next turn.
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

//! Events that may happen to a machine or a stream.

use stheno::model::random::Random;

use super::world::World;

impl World {
    pub fn is_full(&self, machine: usize) -> bool {
        self.full_until.get(&machine).is_some_and(|until| *until > self.millis)
    }

    pub fn break_some_pipe(&mut self) {
        let open: Vec<usize> = (0..self.pipes.len()).filter(|pipe| self.pipes[*pipe].open).collect();
        if let Some(pipe) = open.get(usize::try_from(self.random.below(open.len() as u64)).unwrap()) {
            self.break_pipe(*pipe, None);
        }
    }

    pub fn stall_some_pipe(&mut self) {
        // This is sometimes longer than the limit of a sync: its answer comes late, and so does the next one.
        let longest = if self.random.once_in(3) { 80_000 } else { 15_000 };
        let until = self.millis + self.random.below(longest);
        let skipped = usize::try_from(self.random.below(8)).unwrap();
        if let Some(pipe) = self.pipes.iter_mut().rev().filter(|pipe| pipe.open).nth(skipped) {
            let side = usize::from(self.random.once_in(2));
            pipe.directions[side].stalled_until = until;
        }
    }

    /// Cuts the way between two connected machines for a while without telling either.
    pub fn cut_some_cable(&mut self) {
        let between = |pipe: &super::world::Pipe| match pipe.ends {
            [Some((one, _)), Some((other, _))] if pipe.open => Some((one.min(other), one.max(other))),
            _ => None,
        };
        let cables: Vec<(usize, usize)> = self.pipes.iter().filter_map(between).collect();
        if cables.is_empty() {
            return;
        }
        let cable = cables[usize::try_from(self.random.below(cables.len() as u64)).unwrap()];
        let until = self.millis + self.random.below(30_000);
        self.cut_cables.insert(cable, until);
        for pipe in self.pipes.iter_mut().filter(|pipe| between(pipe) == Some(cable)) {
            pipe.directions
                .iter_mut()
                .for_each(|direction| direction.stalled_until = direction.stalled_until.max(until));
        }
    }

    /// Sets the clock of one machine up to five minutes, days or years ahead or back.
    pub fn step_clock(&mut self, machine: usize) {
        let unit = [60_000, 60_000, 86_400_000, 31_536_000_000][usize::try_from(self.random.below(4)).unwrap()];
        self.clock_is_set(machine);
        let share = i64::try_from(self.random.below(10_001)).unwrap() - 5_000;
        *self.clocks.entry(machine).or_default() += unit / 1_000 * share;
    }

    /// The disk of the central takes no changes for a while. A disk that is full until the end of a stop loses what
    /// waits for it.
    pub fn fill_disk(&mut self) {
        if !self.machines[0].stopping {
            let until = self.millis + self.random.below(4_000);
            self.full_until.insert(0, until);
        }
    }

    /// Tells a machine to stop.
    pub fn stop(&mut self, machine: usize) {
        let now = self.now_of(machine);
        let Some(dispatch) = &mut self.machines[machine].dispatch else { return };
        dispatch.stop(now);
        self.trace_event(machine, "is told to stop");
        self.machines[machine].stopping = true;
        self.settle_turn(machine);
    }

    /// Returns the number of a new history.
    pub fn next_history_number(&mut self) -> i64 {
        1 + i64::try_from(self.random.below(1 << 52)).unwrap()
    }
}

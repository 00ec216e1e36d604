//! Steady work for a long time, in a world that forgets what is over, so that what grows is a daemon.

use std::collections::BTreeMap;

use super::world::World;

/// Rows that a history keeps: far more than the work of a minute leaves.
const ROWS_KEPT: usize = 400;

/// Memory of this process that is not in a file, resident now.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() << 10
}

impl World {
    /// A command a second, each for the next machine and over a connection of its own, and a stream that breaks.
    pub fn minute_of_work(&mut self) {
        for second in 0..60 {
            let target = 1 + second % self.machines.len() as u64;
            self.accepted_command(target);
            if second == 20 {
                self.break_some_pipe();
            }
            for _ in 0..20 {
                self.advance(50);
                self.deliver_all();
            }
        }
        self.forget_what_is_over();
    }

    fn forget_what_is_over(&mut self) {
        let ended: Vec<bool> = self.tokens.iter().map(|token| self.is_finished(token)).collect();
        let known = self.tokens.len();
        let mut is_over = ended.into_iter();
        self.tokens.retain(|_| !is_over.next().unwrap());
        self.tokens_over += known - self.tokens.len();
        assert!(self.tokens.len() < 60, "commands of more than a minute ago have not ended");
        self.machines.iter_mut().for_each(|machine| machine.disk.keep_newest(ROWS_KEPT));
        // Closed streams go, and the others get new numbers.
        let mut numbers = BTreeMap::new();
        for (number, pipe) in self.pipes.iter().enumerate().filter(|(_, pipe)| pipe.open) {
            assert!(pipe.directions.iter().all(|direction| direction.bytes.len() < 1 << 20), "nobody reads a stream");
            numbers.insert(number, numbers.len());
        }
        self.pipes.retain(|pipe| pipe.open);
        for pipe in self.machines.iter_mut().flat_map(|machine| machine.pipes.values_mut()) {
            *pipe = numbers[pipe];
        }
        self.waiting_answers.retain(|call| numbers.contains_key(&call.pipe));
        self.waiting_answers.iter_mut().for_each(|call| call.pipe = numbers[&call.pipe]);
    }
}

//! Steady work for a long time. The world forgets what is over, so that only a daemon can grow.

use std::collections::BTreeMap;

use super::world::World;

/// Number of rows that a history keeps: far more than one minute of work leaves.
const ROWS_KEPT: usize = 400;

/// Returns the resident memory of this process that does not belong to a file.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() << 10
}

impl World {
    /// Sends a command a second, each to the next machine and over its own connection, and breaks a stream.
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
        // Closed streams are removed, and the others get new numbers.
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

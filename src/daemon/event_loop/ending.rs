//! The end of the loop: nothing that was decided on is left undone if it can be helped.

use crate::edge::clock;
use crate::model::log::LogLine;

use super::{EventLoop, LAST_JOBS};

impl EventLoop {
    /// Ends what runs, stores what is left, and closes the database.
    pub(super) fn finish(&mut self) {
        self.children.kill_all();
        self.await_commit();
        self.workers.shutdown(LAST_JOBS);
        self.copies.shutdown();
        while self.workers.poll_finished().is_some() {}
        let wall = clock::read().wall;
        let mut unstored = self.dispatch.take_unstored();
        unstored.append(self.dispatch.take_batch());
        if let Err(reason) = self.storage.finish(unstored, wall) {
            let text = format!("the daemon ends, and {reason}");
            self.log.write(&LogLine::error("core", text), wall);
        }
        self.log.write(&LogLine::info("core", "stopped"), wall);
        self.log.flush(wall);
    }
}

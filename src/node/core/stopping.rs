//! The end of the daemon: it takes no new work, waits a short time for running work, and then outputs
//! [`Output::Stopped`].

use std::time::Duration;

use super::Core;
use crate::node::output::Output;
use crate::node::phase::{STOPPING_TEXT, Stopping};
use crate::node::timers::Timer;

/// Time that commands have to end before they are killed.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Time to wait for the ends of killed commands.
const LAST_WAIT: Duration = Duration::from_millis(300);

impl Core {
    /// Handles [`crate::node::input::Input::Stop`]. A second one changes nothing.
    pub(super) fn stop(&mut self) {
        if self.context.is_stopping() {
            return;
        }
        self.context.stopping = Stopping::Waiting;
        self.context.timers.set(Timer::Stop, self.context.now.monotonic + PATIENCE);
        self.commands.drop_command_work(&mut self.context, STOPPING_TEXT);
        self.commands.drop_waiting_commands(&mut self.context, STOPPING_TEXT);
        self.copies.stop_sending(&mut self.context, &mut self.nodes);
        self.copies.free_all();
        self.modules.stop(&mut self.context);
        self.api().stop();
    }

    /// Handles [`Timer::Stop`].
    pub(super) fn stop_due(&mut self) {
        match self.context.stopping {
            Stopping::Waiting => {
                self.context.stopping = Stopping::Killed;
                self.commands.kill_commands(&mut self.context, STOPPING_TEXT);
                self.ssh.abort_all(&mut self.context, STOPPING_TEXT);
                self.context.timers.set(Timer::Stop, self.context.now.monotonic + LAST_WAIT);
            }
            Stopping::Killed => self.say_stopped(),
            Stopping::No | Stopping::Stopped => {}
        }
    }

    /// Outputs [`Output::Stopped`] as soon as nothing is left to wait for.
    pub(super) fn check_stopped(&mut self) {
        if !matches!(self.context.stopping, Stopping::Waiting | Stopping::Killed) {
            return;
        }
        let idle = self.commands.is_idle()
            && self.modules.engine.is_idle()
            && self.copies.receiving.is_idle()
            && self.ssh.is_idle();
        if idle && self.questions.is_empty() && self.context.journal.all_stored() {
            self.say_stopped();
        }
    }

    fn say_stopped(&mut self) {
        self.context.stopping = Stopping::Stopped;
        self.commands.give_up_commands(&mut self.context);
        self.ssh.give_up_all(&mut self.context);
        self.commands.drop_command_work(&mut self.context, STOPPING_TEXT);
        self.modules.engine.give_up_writing(&mut self.context);
        self.nodes.end_unsent(&mut self.context);
        self.context.timers.cancel(&Timer::Stop);
        self.dialled_out.unregister_from_parents(&mut self.context);
        self.context.output(Output::Stopped);
    }
}

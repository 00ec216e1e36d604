//! Whether the daemon runs or stops.

/// The answer to every request while the daemon stops.
pub(super) const STOPPING_TEXT: &str = "gorgone is stopping/restarting. Cannot proceed request.";
/// The stages of stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopping {
    /// It runs.
    No,
    /// It waits for commands.
    Waiting,
    /// It has killed the commands and waits for their ends.
    Killed,
    /// It has output [`super::output::Output::Stopped`].
    Stopped,
}

//! Whether the daemon runs or stops.

/// What every request hears while the daemon stops.
pub(super) const STOPPING_TEXT: &str = "gorgone is stopping/restarting. Cannot proceed request.";
/// How far the daemon is with stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopping {
    /// It runs.
    No,
    /// It waits for commands.
    Waiting,
    /// It has killed the commands.
    Killed,
    /// It has said so.
    Stopped,
}

//! Fits the configuration to a control group with little memory: otherwise the kernel kills the daemon as soon as many
//! commands run at once.

use crate::config::Config;
use crate::edge::memory_limit;

/// A larger group is left alone.
const SMALL_BYTES: u64 = 128 << 20;
/// What the daemon itself needs, and a shell with a small program: pages, page tables and what the kernel keeps (405
/// KiB were measured).
const DAEMON_BYTES: u64 = 5 << 20;
const COMMAND_BYTES: u64 = 448 << 10;
/// Minimum number of commands at once.
const COMMANDS_MIN: usize = 4;
const MAX_MEMORY_MIN: u64 = 8 << 20;

/// Reduces `max_concurrent_commands`, and sets `max_memory` if it is absent. Returns what to say of it in the log, if
/// the memory is small.
pub(super) fn fit(config: &mut Config) -> Option<String> {
    let limit = memory_limit::bytes().filter(|limit| *limit < SMALL_BYTES)?;
    let commands = usize::try_from(limit.saturating_sub(DAEMON_BYTES) / COMMAND_BYTES).unwrap_or(usize::MAX);
    let commands = commands.max(COMMANDS_MIN);
    config.core.max_memory.get_or_insert((limit / 4 * 3).max(MAX_MEMORY_MIN));
    let action = config.modules.action.as_mut()?;
    action.max_concurrent = action.max_concurrent.min(commands);
    Some(format!(
        "the control group has {} MiB of memory for the daemon and its commands: at most {} commands run at once",
        limit >> 20,
        action.max_concurrent
    ))
}

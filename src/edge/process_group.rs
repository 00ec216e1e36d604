//! Process groups of commands: signals to all members, and whether any is left.
//!
//! The leader must be an unreaped child, because its number could otherwise belong to another process.

use std::fs;
use std::io;

use rustix::io::Errno;
use rustix::process::{self, Pid, Signal, WaitId, WaitIdOptions};

/// Asks all members to end (`SIGTERM`). A group that has ended is not an error.
///
/// # Errors
/// The group may not be signalled.
pub fn terminate(leader: u32) -> io::Result<()> {
    signal(leader, Signal::TERM)
}

/// Kills all members (`SIGKILL`). A group that has ended is not an error.
///
/// # Errors
/// The group may not be signalled.
pub fn kill(leader: u32) -> io::Result<()> {
    signal(leader, Signal::KILL)
}

/// Has a daemon read its configuration again.
///
/// # Errors
/// Those of kill(2).
pub fn hang_up(process: u32) -> io::Result<()> {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    process::kill_process(process.ok_or(io::ErrorKind::InvalidInput)?, Signal::HUP).map_err(io::Error::from)
}

fn signal(leader: u32, signal: Signal) -> io::Result<()> {
    let group = number(leader).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    match process::kill_process_group(group, signal) {
        Err(error) if error != Errno::SRCH => Err(error.into()),
        _ => Ok(()),
    }
}

/// The number of a group that may be signalled.
fn number(leader: u32) -> Option<Pid> {
    i32::try_from(leader).ok().filter(|group| *group > 1).and_then(Pid::from_raw)
}

/// Whether the leader has ended and no other member is left. The leader stays unreaped.
#[must_use]
pub fn is_over(leader: u32) -> bool {
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let has_ended =
        number(leader).is_none_or(|leader| !matches!(process::waitid(WaitId::Pid(leader), ended), Ok(None)));
    has_ended && !has_others(leader)
}

/// Whether a process besides the leader is in the group. Without `/proc` nobody knows of any.
fn has_others(leader: u32) -> bool {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|number| *number != leader).any(|number| {
        let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        group_of(&stat) == Some(leader)
    })
}

/// The group of a process that has not ended, in its `/proc/PID/stat`: `PID (NAME) STATE PARENT GROUP …`.
fn group_of(stat: &str) -> Option<u32> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_ascii_whitespace();
    let state = fields.next()?;
    (state != "Z").then_some(())?;
    fields.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_0_and_1_are_never_signalled() {
        for leader in [0, 1] {
            assert!(kill(leader).is_err() && terminate(leader).is_err());
        }
    }

    #[test]
    fn a_name_with_blanks_and_brackets_does_not_hide_the_group() {
        assert_eq!(group_of("12 (a) b (c)) S 1 11 11 0"), Some(11));
        assert_eq!(group_of("12 (sh) Z 1 11 11 0"), None, "it has ended");
        assert_eq!(group_of(""), None);
    }
}

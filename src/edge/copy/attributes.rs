//! Owner, group and permissions of files.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::fs::{Gid, Mode, Uid};

use super::text::words;
use crate::edge::system;
use crate::model::copy::Attributes;

/// Reads octal digits; `None` if there are none or too many.
pub(super) fn octal(mode: &str) -> Option<u32> {
    let valid = !mode.is_empty() && mode.len() <= 5 && mode.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    if valid { u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777) } else { None }
}

/// Sets owner, group and permissions as requested. What cannot be done is returned as notes for the log and is not a
/// failure.
pub(super) fn apply(file: &File, attributes: &Attributes, shown: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let owner = wanted("user", &attributes.owner, system::user_id, shown, &mut notes).map(Uid::from_raw);
    let group = wanted("group", &attributes.group, system::group_id, shown, &mut notes).map(Gid::from_raw);
    if (owner.is_some() || group.is_some())
        && let Err(error) = rustix::fs::fchown(file.as_fd(), owner, group)
    {
        notes.push(format!("can't change permission of file {shown}: {}", words(&error.into())));
    }
    match octal(&attributes.mode) {
        Some(mode) => {
            if let Err(error) = rustix::fs::fchmod(file.as_fd(), Mode::from_raw_mode(mode)) {
                notes.push(format!("can't change mode of file {shown}: {}", words(&error.into())));
            }
        }
        None if attributes.mode.is_empty() => {}
        None => notes.push(format!(
            "can't change mode of file {shown}: '{}' is not one to four octal digits",
            attributes.mode.escape_debug()
        )),
    }
    notes
}

fn wanted(
    what: &str,
    name: &str,
    look_up: impl Fn(&str) -> Option<u32>,
    shown: &str,
    notes: &mut Vec<String>,
) -> Option<u32> {
    if name.is_empty() {
        return None;
    }
    let id = look_up(name);
    if id.is_none() {
        notes.push(format!("can't change permission of file {shown}: no {what} '{}'", name.escape_debug()));
    }
    id
}

/// The umask of this process.
pub(super) fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o022)
}

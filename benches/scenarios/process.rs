//! Reads data of the kernel about a daemon's processes: the one that was started and all others in its group.

use std::fs;
use std::process::Command;
#[cfg(feature = "ssh")]
use std::time::Duration;

use crate::Outcome;

/// Returns the proportional set size in bytes of all processes: private pages, and their share of shared ones.
///
/// # Errors
/// The daemon has ended or `/proc` has an unexpected format.
pub fn pss_bytes(leader: u32) -> Outcome<u64> {
    rollup_bytes(leader, "Pss:")
}

/// Returns the anonymous part of the PSS in bytes: heap and stacks. The rest are pages of files, mostly of the program;
/// those touched since their last release are mapped.
///
/// # Errors
/// The daemon has ended or `/proc` has an unexpected format.
pub fn anonymous_bytes(leader: u32) -> Outcome<u64> {
    rollup_bytes(leader, "Pss_Anon:")
}

fn rollup_bytes(leader: u32, name: &str) -> Outcome<u64> {
    let mut total = 0_u64;
    for process in all_of(leader)? {
        let kib = field(&format!("/proc/{process}/smaps_rollup"), name)?;
        total = total.saturating_add(kib.saturating_mul(1024));
    }
    Ok(total)
}

/// Returns the number of voluntary context switches of all threads of all processes.
///
/// # Errors
/// The daemon has ended or `/proc` has an unexpected format.
pub fn voluntary_switches(leader: u32) -> Outcome<u64> {
    let mut total = 0_u64;
    for process in all_of(leader)? {
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let status = thread?.path().join("status");
            total = total.saturating_add(field(&status.to_string_lossy(), "voluntary_ctxt_switches:")?);
        }
    }
    Ok(total)
}

/// Returns the processes of the group, or the process itself if it leads no group.
fn all_of(leader: u32) -> Outcome<Vec<u32>> {
    let group = of_group(leader)?;
    Ok(if group.is_empty() { vec![leader] } else { group })
}

/// Returns the running processes of a group.
///
/// # Errors
/// `/proc` cannot be read.
pub fn of_group(leader: u32) -> Outcome<Vec<u32>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // The process may end meanwhile. The name in parentheses may contain any character; state, parent and group
        // follow it.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        let (state, group) = (fields.next(), fields.nth(1).and_then(|group| group.parse::<u32>().ok()));
        if group == Some(leader) && state != Some("Z") {
            processes.push(process);
        }
    }
    Ok(processes)
}

/// Sends a signal, given by name, to every process of a group.
///
/// # Errors
/// There is no such process.
pub fn signal_group(signal: &str, leader: u32) -> Outcome<()> {
    let output = Command::new("sh").arg("-c").arg(format!("kill -s {signal} -- -{leader}")).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
    }
}

fn field(file: &str, name: &str) -> Outcome<u64> {
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| format!("{file}: no {name}"))?;
    let number = line.split_whitespace().next().ok_or_else(|| format!("{file}: {name} is empty"))?;
    Ok(number.parse()?)
}

/// Returns how long the main thread of a process and the calling thread have waited for a processor since their start.
///
/// # Errors
/// The daemon has ended or `/proc` has an unexpected format.
#[cfg(feature = "ssh")]
pub fn waited_for_processor(process: u32) -> Outcome<Duration> {
    let mut waited = Duration::ZERO;
    for file in [format!("/proc/{process}/task/{process}/schedstat"), "/proc/thread-self/schedstat".to_owned()] {
        let text = fs::read_to_string(&file)?;
        let nanoseconds = text.split_whitespace().nth(1).ok_or_else(|| format!("{file}: no waiting time"))?;
        waited += Duration::from_nanos(nanoseconds.parse()?);
    }
    Ok(waited)
}

/// Returns the processor time in seconds of the process without its children.
///
/// # Errors
/// The daemon has ended or `/proc` has an unexpected format.
pub fn own_cpu_seconds(process: u32) -> Outcome<f64> {
    /// Unit of processor times in the kernel, on every supported machine.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name in parentheses is followed by the state, ten other fields, user time and system time.
    let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(11);
    let mut next = || fields.next().and_then(|field| field.parse::<u32>().ok()).ok_or("no times in stat");
    Ok((f64::from(next()?) + f64::from(next()?)) / TICKS_PER_SECOND)
}

/// Bytes that a process has written to files on disks, and its calls of `write(2)` and similar, also to sockets.
#[derive(Clone, Copy, Debug)]
pub struct Writes {
    /// Number of bytes of pages made dirty.
    pub file_bytes: u64,
    /// Number of calls.
    pub calls: u64,
}

impl Writes {
    /// Returns the counts of a process since its start.
    ///
    /// # Errors
    /// The daemon has ended or `/proc` has an unexpected format.
    pub fn of(process: u32) -> Outcome<Self> {
        let file = format!("/proc/{process}/io");
        Ok(Self { file_bytes: field(&file, "write_bytes:")?, calls: field(&file, "syscw:")? })
    }

    /// Returns the difference to `before`.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self {
            file_bytes: self.file_bytes.saturating_sub(before.file_bytes),
            calls: self.calls.saturating_sub(before.calls),
        }
    }
}

//! What the kernel knows about a daemon's processes: the one that was started and all others of its group.

use std::fs;
use std::process::Command;
#[cfg(feature = "ssh")]
use std::time::Duration;

use crate::Outcome;

/// Proportional set size in bytes, of all processes: their own pages, and their share of those that others map as well.
///
/// # Errors
/// When the daemon is gone or `/proc` says something unexpected.
pub fn pss_bytes(leader: u32) -> Outcome<u64> {
    rollup_bytes(leader, "Pss:")
}

/// The part of it that is in no file: heap and stacks. The rest are pages of files, the program's own above all, of
/// which as many are mapped as were touched since they were let go.
///
/// # Errors
/// When the daemon is gone or `/proc` says something unexpected.
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

/// How often any thread of any process gave up the processor to wait for something.
///
/// # Errors
/// When the daemon is gone or `/proc` says something unexpected.
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

/// The process itself, if it leads no group of its own.
fn all_of(leader: u32) -> Outcome<Vec<u32>> {
    let group = of_group(leader)?;
    Ok(if group.is_empty() { vec![leader] } else { group })
}

/// The processes of a group that have not ended.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn of_group(leader: u32) -> Outcome<Vec<u32>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // It may end in between. The name in parentheses may hold anything; after it: state, parent, group.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        let (state, group) = (fields.next(), fields.nth(1).and_then(|group| group.parse::<u32>().ok()));
        if group == Some(leader) && state != Some("Z") {
            processes.push(process);
        }
    }
    Ok(processes)
}

/// Sends a signal, by its name, to every process of a group.
///
/// # Errors
/// When there is none.
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

/// How long the main thread of a process, and the calling thread, have waited for a processor since they began.
///
/// # Errors
/// When the daemon is gone or `/proc` says something unexpected.
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

/// Processor time in seconds that the process itself has used, its children not counted.
///
/// # Errors
/// When the daemon is gone or `/proc` says something unexpected.
pub fn own_cpu_seconds(process: u32) -> Outcome<f64> {
    /// What the kernel counts in, on every machine that this runs on.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // Behind the name in parentheses: state and ten others, then user and system time.
    let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(11);
    let mut next = || fields.next().and_then(|field| field.parse::<u32>().ok()).ok_or("no times in stat");
    Ok((f64::from(next()?) + f64::from(next()?)) / TICKS_PER_SECOND)
}

/// What a process has written to files that are not only in memory, and its calls of `write(2)` and the like, to sockets
/// as well.
#[derive(Clone, Copy, Debug)]
pub struct Writes {
    /// Bytes of pages that it has made dirty.
    pub file_bytes: u64,
    /// Calls.
    pub calls: u64,
}

impl Writes {
    /// Of a process since it began.
    ///
    /// # Errors
    /// When the daemon is gone or `/proc` says something unexpected.
    pub fn of(process: u32) -> Outcome<Self> {
        let file = format!("/proc/{process}/io");
        Ok(Self { file_bytes: field(&file, "write_bytes:")?, calls: field(&file, "syscw:")? })
    }

    /// Since `before`.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self {
            file_bytes: self.file_bytes.saturating_sub(before.file_bytes),
            calls: self.calls.saturating_sub(before.calls),
        }
    }
}

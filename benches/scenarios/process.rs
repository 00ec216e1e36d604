//! What the kernel knows about a process.

use std::fs;

use crate::Outcome;

/// Proportional set size in bytes: its own pages, and its share of those that others map as well.
///
/// # Errors
/// When the process is gone or `/proc` says something unexpected.
pub fn pss_bytes(process: u32) -> Outcome<u64> {
    let kib = field(&format!("/proc/{process}/smaps_rollup"), "Pss:")?;
    Ok(kib.saturating_mul(1024))
}

/// How often any thread of the process gave up the processor to wait for something.
///
/// # Errors
/// When the process is gone or `/proc` says something unexpected.
pub fn voluntary_switches(process: u32) -> Outcome<u64> {
    let mut total = 0_u64;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let status = thread?.path().join("status");
        total = total.saturating_add(field(&status.to_string_lossy(), "voluntary_ctxt_switches:")?);
    }
    Ok(total)
}

fn field(file: &str, name: &str) -> Outcome<u64> {
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| format!("{file}: no {name}"))?;
    let number = line.split_whitespace().next().ok_or_else(|| format!("{file}: {name} is empty"))?;
    Ok(number.parse()?)
}

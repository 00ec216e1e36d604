//! Purges of a database: how long one commit delays the loop.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stheno::edge::history_store::{HistoryStore, StoreOptions, checkpoint};
use stheno::model::code::Code;
use stheno::model::history::{HistoryRow, StoreChange};
use stheno::model::time::WallTime;

use crate::footprint::megabytes;
use crate::load::percentile_ms;
use crate::report::{Figure, Target};
use crate::{Outcome, Scale};

/// Number of rows per commit while the database is filled.
const BATCH: usize = 10_000;
/// One row in this many holds a long output of a command.
const LARGE_EVERY: usize = 500;
const LARGE_BYTES: usize = 1 << 20;
/// Number of rows.
pub const ROWS: usize = 100_000;

/// Purges a history of a week, all of which has expired, step by step: the duration of the commits with a purge step,
/// each as durable as any other.
pub fn purge_100000(scale: Scale) -> Outcome<Vec<Figure>> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{}-purge", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let measured = measure(&directory.join("history.sdb"), scale.of(ROWS));
    std::fs::remove_dir_all(&directory)?;
    measured
}

/// Length in bytes of the text of a row.
#[must_use]
pub const fn len_bytes(number: usize) -> usize {
    if number.is_multiple_of(LARGE_EVERY) { LARGE_BYTES } else { 400 }
}

fn row(number: usize) -> StoreChange {
    StoreChange::InsertRow(HistoryRow {
        id: 0,
        token: Some(format!("{number:0128x}")),
        code: Code::COMMAND_RESULT,
        etime: 0,
        ctime: 0.0,
        instant: false,
        data: "x".repeat(len_bytes(number)),
        origin: None,
    })
}

fn measure(path: &Path, rows: usize) -> Outcome<Vec<Figure>> {
    let seconds = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let wall = |seconds: i64| WallTime::from_micros(seconds.saturating_mul(1_000_000));
    let mut store = HistoryStore::open(
        path,
        StoreOptions { create_schema: true, synchronous_full: true, cache_kib: 4_096, max_bytes: None },
    )?;
    let mut number = 0;
    while number < rows {
        let batch: Vec<StoreChange> = (number..rows.min(number + BATCH)).map(row).collect();
        number += batch.len();
        store.apply(&batch, wall(seconds - 700_000))?;
        checkpoint(path)?;
    }
    store.apply(&[row(1)], wall(seconds))?;
    let full_bytes = std::fs::metadata(path)?.len();
    let purge = StoreChange::Purge { used_before: 0, rows_before: seconds - 604_800, instant_before: seconds - 86_400 };
    let mut steps: Vec<Duration> = Vec::new();
    loop {
        let begun = Instant::now();
        let applied = store.apply(std::slice::from_ref(&purge), wall(seconds))?;
        steps.push(begun.elapsed());
        if !applied.purge_left {
            break;
        }
        if store.wal_backlog_bytes() > 8 << 20 {
            checkpoint(path)?;
        }
    }
    checkpoint(path)?;
    let left_bytes = std::fs::metadata(path)?.len();
    let figure = |part, value, unit, target| Figure { part, value, unit, target, original: None };
    let share = 100.0 * megabytes(left_bytes) / megabytes(full_bytes);
    Ok(vec![
        figure("all steps", steps.iter().sum::<Duration>().as_secs_f64(), "s", Target::Small),
        figure("step p50", percentile_ms(&mut steps, 50), "ms", Target::Small),
        figure("longest step", percentile_ms(&mut steps, 100), "ms", Target::AtMost(20.0)),
        figure("left of the file", share, "%", Target::Small),
    ])
}

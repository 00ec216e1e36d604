//! `copy`: copies a file or directory to a node through the REST API and shows the progress.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::remote::{INTERRUPTED, Pause, READER_GONE, Remote, Row, token_of};
use super::remote_arguments::CopyOptions;
use super::waiting::Waiting;
use super::{complain, fail};
use crate::edge::clock;
use crate::model::time::Monotonic;

const POLL: Duration = Duration::from_millis(250);
const BAR_WIDTH: u64 = 30;

/// Runs the copy and shows its progress.
pub(super) fn run(options: &CopyOptions) -> ExitCode {
    match copy(options) {
        Ok(done) => done,
        Err(text) if options.json => {
            print_line(&json!({ "ok": false, "message": text }).to_string());
            ExitCode::FAILURE
        }
        Err(text) => fail(&text),
    }
}

fn copy(options: &CopyOptions) -> Result<ExitCode, String> {
    let source = absolute(&options.source)?;
    let mut pause = Pause::new()?;
    let remote = Remote::of_config(&options.config)?;
    let text = |path: &Path| {
        path.to_str().map(str::to_owned).ok_or_else(|| format!("{}: the name is not UTF-8", path.display()))
    };
    let body = json!({
        "source": text(&source)?,
        "destination": options.destination,
        "cache_dir": options.cache_dir,
        "owner": options.owner,
        "group": options.group,
        "mode": options.mode,
    });
    let node = options.node;
    if remote.own_id() == Some(node) {
        return Err(format!(
            "node {node} is this machine itself, and a copy goes to another one: use cp {} {}",
            source.display(),
            options.destination
        ));
    }
    let mut waiting = Waiting::new(node, options.json);
    let token = token_of(&remote.start(&format!("/api/nodes/{node}/core/proxy/remotecopy"), &body)?)?;
    let mut progress = Progress::new(options.json);
    let mut seen = None;
    loop {
        let rows = remote.rows(node, &token, 0, 4)?;
        let newest = rows.iter().map(|row| row.id).max();
        if newest > seen {
            seen = newest;
            waiting.heard();
        }
        rows.iter().filter(|row| row.code == 101).for_each(|row| progress.row(row));
        if let Some(last) = rows.iter().find(|row| row.is_last) {
            return Ok(progress.end(last, &token));
        }
        if progress.is_reader_gone {
            return Ok(ExitCode::from(READER_GONE));
        }
        waiting
            .look(&remote)
            .map_err(|text| format!("{text}; the copy goes on if it comes back, its token is {token}"))?;
        if pause.wait(POLL) {
            return Ok(progress.interrupted(node, &token));
        }
    }
}

/// Makes a path absolute, because the daemon has another working directory.
fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Prints a line; returns whether the reader is still there.
fn print_line(text: &str) -> bool {
    writeln!(std::io::stdout(), "{text}").is_ok()
}

struct Progress {
    json: bool,
    has_bar: bool,
    started: Monotonic,
    /// Number of bytes received; `None` while the node, which may be an original one, has not reported it.
    received: Option<u64>,
    total: Option<u64>,
    /// Whether there are rows that show that something was sent.
    has_rows: bool,
    is_reader_gone: bool,
}

impl Progress {
    fn new(json: bool) -> Self {
        let has_bar = !json && std::io::stderr().is_terminal();
        Self {
            json,
            has_bar,
            started: clock::read().monotonic,
            received: None,
            total: None,
            has_rows: false,
            is_reader_gone: false,
        }
    }

    fn row(&mut self, row: &Row) {
        let number = |key: &str| row.data.get(key).and_then(Value::as_u64);
        self.has_rows = true;
        let Some(received) = number("received").filter(|received| Some(*received) > self.received) else { return };
        self.received = Some(received);
        self.total = number("total").or(self.total);
        let seconds = clock::read().monotonic.since(self.started).as_secs_f64();
        if self.json {
            let line =
                json!({ "received": received, "total": self.total, "bytes_per_second": rate(received, seconds) });
            self.is_reader_gone = !print_line(&line.to_string());
        } else if self.has_bar {
            let _closed = write!(std::io::stderr(), "\r{}\x1b[K", bar(received, self.total, seconds));
        }
    }

    fn interrupted(&self, node: u64, token: &str) -> ExitCode {
        let text = format!("interrupted: the copy to node {node} goes on; its token is {token}");
        if self.json {
            print_line(&json!({ "ok": false, "token": token, "message": text, "received": self.received }).to_string());
        } else {
            if self.has_bar && self.received.is_some() {
                let _closed = writeln!(std::io::stderr());
            }
            complain(&text);
        }
        ExitCode::from(INTERRUPTED)
    }

    fn end(&mut self, last: &Row, token: &str) -> ExitCode {
        let seconds = clock::read().monotonic.since(self.started).as_secs_f64();
        let ok = last.code == 2;
        if self.has_bar && self.received.is_some() {
            let _closed = write!(std::io::stderr(), "\r\x1b[K");
        }
        // A host without a daemon reports no progress; if there are no rows at all, nothing had to be sent.
        let told = last.data.get("received").and_then(Value::as_u64);
        self.received = told.or(self.received).or((ok && !self.has_rows).then_some(0));
        if self.json {
            let line = json!({
                "ok": ok, "token": token, "message": last.text(), "received": self.received, "seconds": seconds,
            });
            print_line(&line.to_string());
        } else if let Some(received) = self.received.filter(|received| ok && *received > 0) {
            let bytes = bytes_text(received);
            let per_second = bytes_text(rate(received, seconds));
            print_line(&format!("{}: {bytes} in {seconds:.1} s ({per_second}/s)", last.text()));
        } else if ok {
            print_line(&last.text());
        } else {
            return fail(&last.text());
        }
        if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from f64 saturates")]
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn rate(bytes: u64, seconds: f64) -> u64 {
    (bytes as f64 / seconds.max(0.001)) as u64
}

/// Formats the progress: ` 45% [=============>                ] 450 MB of 1.00 GB, 152 MB/s, 4 s left`.
fn bar(received: u64, total: Option<u64>, seconds: f64) -> String {
    let per_second = rate(received, seconds);
    let shown_rate = format!("{}/s", bytes_text(per_second));
    let Some(total) = total.filter(|total| *total > 0) else {
        return format!("{}, {shown_rate}", bytes_text(received));
    };
    let received = received.min(total);
    let filled = u128::from(received) * u128::from(BAR_WIDTH) / u128::from(total);
    let filled = usize::try_from(filled).unwrap_or(0);
    let empty = usize::try_from(BAR_WIDTH).unwrap_or(0).saturating_sub(filled);
    let percent = u128::from(received) * 100 / u128::from(total);
    let left = (total - received).checked_div(per_second).map_or(String::new(), |left| format!(", {left} s left"));
    format!(
        "{percent:3}% [{}{}] {} of {}, {shown_rate}{left}",
        "=".repeat(filled),
        " ".repeat(empty),
        bytes_text(received),
        bytes_text(total)
    )
}

/// Formats a size with three digits and a unit.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1_000.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while value >= 999.5
        && let Some(next) = units.next()
    {
        value /= 1_000.0;
        unit = next;
    }
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits_and_a_unit() {
        let shown = [0, 999, 1_000, 9_994, 9_996, 99_960, 999_600, 1_234_567, 152_000_000, 1_000_000_000]
            .map(bytes_text)
            .join(" | ");
        let expected = "0 B | 999 B | 1.00 kB | 9.99 kB | 10.0 kB | 100 kB | 1.00 MB | 1.23 MB | 152 MB | 1.00 GB";
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_bar_shows_share_sizes_rate_and_the_time_that_is_left() {
        let half = bar(500_000_000, Some(1_000_000_000), 5.0);
        assert_eq!(half, " 50% [===============               ] 500 MB of 1.00 GB, 100 MB/s, 5 s left");
        assert_eq!(bar(10, Some(10), 1.0), "100% [==============================] 10 B of 10 B, 10 B/s, 0 s left");
        assert_eq!(bar(5_000, None, 1.0), "5.00 kB, 5.00 kB/s");
        assert!(bar(0, Some(10), 1.0).starts_with("  0% ["));
    }
}

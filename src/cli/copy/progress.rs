//! How a copy is shown while it runs: sizes, rates and the time that is left.

const BAR_WIDTH: u64 = 30;

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// Bytes that the node has.
    pub received: u64,
    /// Bytes that there are in all, if known.
    pub total: Option<u64>,
    /// Bytes per second since the beginning.
    pub per_second: u64,
}

/// Returns the bytes per second.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from f64 saturates")]
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub(super) fn rate(bytes: u64, seconds: f64) -> u64 {
    (bytes as f64 / seconds.max(0.001)) as u64
}

impl Progress {
    /// Formats a bar: ` 45% [=============>                ] 450 MB of 1.00 GB, 152 MB/s, 4 s left`.
    pub(super) fn bar(self) -> String {
        let Some(total) = self.total.filter(|total| *total > 0) else { return self.line() };
        let filled = u128::from(self.received.min(total)) * u128::from(BAR_WIDTH) / u128::from(total);
        let filled = usize::try_from(filled).unwrap_or(0);
        let empty = usize::try_from(BAR_WIDTH).unwrap_or(0).saturating_sub(filled);
        let percent = self.percent(total);
        format!("{percent:3}% [{}{}] {}", "=".repeat(filled), " ".repeat(empty), self.amounts(total))
    }

    /// Formats a line: ` 45% 450 MB of 1.00 GB, 152 MB/s, 4 s left`.
    pub(super) fn line(self) -> String {
        match self.total.filter(|total| *total > 0) {
            Some(total) => format!("{:3}% {}", self.percent(total), self.amounts(total)),
            None => format!("{}, {}/s", bytes_text(self.received), bytes_text(self.per_second)),
        }
    }

    fn percent(self, total: u64) -> u128 {
        u128::from(self.received.min(total)) * 100 / u128::from(total)
    }

    fn amounts(self, total: u64) -> String {
        let received = self.received.min(total);
        let left = (total - received).checked_div(self.per_second);
        let left = left.map_or(String::new(), |left| format!(", {left} s left"));
        format!("{} of {}, {}/s{left}", bytes_text(received), bytes_text(total), bytes_text(self.per_second))
    }
}

/// Formats a size with three digits and a unit.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub(super) fn bytes_text(bytes: u64) -> String {
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
        let at = |received, total, per_second| Progress { received, total, per_second };
        let half = at(500_000_000, Some(1_000_000_000), 100_000_000);
        assert_eq!(half.bar(), " 50% [===============               ] 500 MB of 1.00 GB, 100 MB/s, 5 s left");
        assert_eq!(half.line(), " 50% 500 MB of 1.00 GB, 100 MB/s, 5 s left");
        let whole = at(10, Some(10), 10).bar();
        assert_eq!(whole, "100% [==============================] 10 B of 10 B, 10 B/s, 0 s left");
        assert_eq!(at(5_000, None, 5_000).bar(), "5.00 kB, 5.00 kB/s");
        assert!(at(0, Some(10), 0).bar().starts_with("  0% ["));
    }
}

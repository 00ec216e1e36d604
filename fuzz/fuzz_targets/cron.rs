//! Any text as a `timespec`: no panic; each next run that is shown is a time that fits.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stheno::model::cron_expression::CronExpression;

fuzz_target!(|text: &str| {
    if let Ok(expression) = CronExpression::parse(text) {
        // The first minute of 2026, and a leap day.
        for minute in [29_453_760, 30_319_200] {
            let _ = expression.fits(minute);
            assert!(expression.next_runs(minute, 3).len() <= 3);
        }
        let _ = expression.days();
    }
});

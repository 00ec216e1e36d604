//! `--watch`: shows the same thing again and again until Ctrl-C.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use super::fail;
use super::remote::{Pause, READER_GONE};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(2);

/// Shows what `look` returns: once, or every two seconds with `watch`. On a terminal it is shown in the same place.
/// Ctrl-C is the usual end of a watch.
pub(super) fn show(watch: bool, mut look: impl FnMut() -> Result<String, String>) -> ExitCode {
    let mut pause = None;
    if watch {
        match Pause::new() {
            Ok(opened) => pause = Some(opened),
            Err(text) => return fail(&text),
        }
    }
    let clear = if watch && std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
    loop {
        let text = match look() {
            Ok(text) => text,
            Err(text) => return fail(&text),
        };
        let mut out = std::io::stdout();
        if write!(out, "{clear}{text}").and_then(|()| out.flush()).is_err() {
            return ExitCode::from(READER_GONE);
        }
        if pause.as_mut().is_none_or(|pause| pause.wait(EVERY)) {
            return ExitCode::SUCCESS;
        }
    }
}

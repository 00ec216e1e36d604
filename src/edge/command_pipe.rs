//! Writes lines to a named pipe that another program reads: the engine's command file. Blocks up to a given time, so it
//! runs on worker threads.
//!
//! A line longer than the pipe takes at once may be left half-written. The pipe is then remembered, and the next call
//! ends that line first, so that no line runs into another.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::model::work::{PipeLines, PipeReport};

/// Time after which no further request is written, so that the results of those before are not late.
const TURN: Duration = Duration::from_millis(20);
/// Interval of checks of a pipe that is full or that nobody reads.
const PAUSE: Duration = Duration::from_millis(5);

/// Maximum number of remembered pipes, because a request may name any pipe.
const CUT_MAX: usize = 1_000;
/// Pipes whose last line lacks its end. Another pipe of the same name is not meant.
static CUT: Mutex<BTreeSet<PipeId>> = Mutex::new(BTreeSet::new());

/// Identity of a pipe: device, inode, and the creation time if the file system has it, because inodes are reused.
type PipeId = (u64, u64, Option<SystemTime>);

/// Writes requests in order until one fails or [`TURN`] is over. Returns a report for each that was tried, at least
/// one. A request after another one has at least `timeout`.
#[must_use]
pub fn write_requests(path: &str, requests: &[PipeLines], timeout: Duration) -> Vec<PipeReport> {
    let begun = Instant::now();
    let mut reports: Vec<PipeReport> = Vec::new();
    for PipeLines { lines, raw, patience } in requests {
        let elapsed = begun.elapsed();
        let is_over = elapsed >= TURN || reports.last().is_some_and(|last| last.failure.is_some());
        if is_over && !reports.is_empty() {
            break;
        }
        let patience = patience.saturating_sub(elapsed);
        let patience = if reports.is_empty() { patience } else { patience.max(timeout) };
        reports.push(match raw {
            Some(raw) => write_lines(path, &[raw], patience),
            None => write_lines(path, lines, patience),
        });
    }
    reports
}

/// Writes each line and a newline. Waits up to `patience` in all for a reader and for room. A line counts as submitted
/// when the pipe has all of it.
#[must_use]
pub fn write_lines(path: &str, lines: &[impl AsRef<[u8]>], patience: Duration) -> PipeReport {
    let deadline = Instant::now() + patience;
    let mut report = PipeReport::default();
    if let Err(reason) = write_all(path, lines, deadline, &mut report.submitted) {
        report.failure = Some(reason);
    }
    report
}

fn write_all(path: &str, lines: &[impl AsRef<[u8]>], deadline: Instant, submitted: &mut usize) -> Result<(), String> {
    let (mut pipe, identity) = open(path, deadline)?;
    let failed = |reason: String, submitted: usize, cut: &str| {
        let count = lines.len();
        format!("submit engine command issue: {reason}; {submitted} of {count} commands were submitted{cut}")
    };
    if cut_lines(|cut| cut.contains(&identity)) {
        write_line(&mut pipe, path, b"", deadline).map_err(|(reason, _)| failed(reason, 0, ""))?;
        cut_lines(|cut| cut.remove(&identity));
    }
    for line in lines {
        write_line(&mut pipe, path, line.as_ref(), deadline).map_err(|(reason, is_partial)| {
            if is_partial {
                cut_lines(|cut| cut.len() < CUT_MAX && cut.insert(identity));
            }
            let cut =
                if is_partial { ", and a part of the next, which the next request to this pipe ends" } else { "" };
            failed(reason, *submitted, cut)
        })?;
        *submitted += 1;
    }
    Ok(())
}

fn cut_lines<T>(act: impl FnOnce(&mut BTreeSet<PipeId>) -> T) -> T {
    act(&mut CUT.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Opens the pipe for writing as soon as somebody reads it. Returns also its identity.
fn open(path: &str, deadline: Instant) -> Result<(File, PipeId), String> {
    loop {
        check(path)?;
        let file = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(Path::new(path));
        match file {
            // A file that has taken its place meanwhile is not written to.
            Ok(file) => {
                let metadata = file.metadata().ok().filter(|metadata| metadata.file_type().is_fifo());
                let metadata = metadata.ok_or_else(|| not_a_pipe(path))?;
                return Ok((file, (metadata.dev(), metadata.ino(), metadata.created().ok())));
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(format!("command file '{path}' must be writeable"));
            }
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
                if Instant::now() >= deadline {
                    return Err(format!("submit engine command issue: nobody reads '{path}' (timeout)"));
                }
                thread::sleep(PAUSE);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("submit engine command issue: cannot open '{path}': {error}")),
        }
    }
}

fn check(path: &str) -> Result<(), String> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(format!("submit engine command issue: cannot open '{path}': {error}"))
        }
        Err(_) => Err(format!("command file '{path}' must exist")),
        Ok(metadata) if metadata.file_type().is_fifo() => Ok(()),
        Ok(_) => Err(not_a_pipe(path)),
    }
}

fn not_a_pipe(path: &str) -> String {
    format!("command file '{path}' must be a pipe file")
}

/// Writes one line. A failure has a reason and says whether a part of the line is in the pipe.
fn write_line(pipe: &mut File, path: &str, line: &[u8], deadline: Instant) -> Result<(), (String, bool)> {
    let bytes = [line, b"\n"].concat();
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        let failed = |reason: String| Err((reason, written > 0));
        match pipe.write(rest) {
            Ok(length) => written += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if Instant::now() >= deadline {
                    return failed(format!("'{path}' is full and nobody reads it (timeout)"));
                }
                thread::sleep(PAUSE);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                return failed(format!("'{path}' is no longer read"));
            }
            Err(error) => return failed(format!("'{path}': {error}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::Command;
    use std::sync::mpsc;

    use super::*;
    use crate::edge::temp_dir::TempDir;

    const LONG: Duration = Duration::from_secs(20);

    fn pipe(folder: &TempDir) -> String {
        let path = folder.path().join("centengine.cmd").display().to_string();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn requests_are_written_in_order_until_one_fails_or_the_turn_is_over() {
        let folder = TempDir::new();
        let path = pipe(&folder);
        let request =
            |line: &str, patience| PipeLines { lines: std::sync::Arc::new(lines(&[line])), raw: None, patience };
        let short = Duration::from_millis(1);
        let reports = write_requests(&path, &[request("a", short), request("b", LONG)], LONG);
        assert!(reports.len() == 1 && reports[0].failure.is_some(), "nobody reads: {reports:?}");
        let mut reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let requests = vec![request("x", Duration::ZERO); 200_000];
        let reports = write_requests(&path, &requests, short);
        let count = reports.iter().filter(|report| report.submitted == 1).count();
        let mut read = vec![0; 2 * count + 10];
        let length = reader.read(&mut read).unwrap();
        assert!(reports.len() < requests.len() && count >= 1 && length >= 2, "{count} written, {length} read");
        assert!(reports.iter().rev().skip(1).all(|report| report.failure.is_none()));
    }

    #[test]
    fn lines_of_any_length_arrive_whole_and_in_order() {
        let folder = TempDir::new();
        let path = pipe(&folder);
        let reader = thread::spawn({
            let path = path.clone();
            move || {
                let mut text = String::new();
                File::open(path).unwrap().read_to_string(&mut text).unwrap();
                text
            }
        });
        let all = lines(&["[1] A;x", &"b".repeat(64 << 10), "", &"c".repeat(300_000)]);
        assert_eq!(write_lines(&path, &all, LONG), PipeReport { submitted: 4, failure: None });
        assert_eq!(reader.join().unwrap(), all.iter().map(|line| format!("{line}\n")).collect::<String>());
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_waited_for_and_then_given_up() {
        let folder = TempDir::new();
        let path = pipe(&folder);
        let report = write_lines(&path, &lines(&["a"]), Duration::from_millis(20));
        let text = format!("submit engine command issue: nobody reads '{path}' (timeout)");
        assert_eq!(report, PipeReport { submitted: 0, failure: Some(text) });
        // A reader that does not read. The pipe holds 64 KiB.
        let _reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let report = write_lines(&path, &lines(&["a", &"b".repeat(100_000)]), Duration::from_millis(20));
        let text = format!(
            "submit engine command issue: '{path}' is full and nobody reads it (timeout); 1 of 2 commands were submitted, \
             and a part of the next, which the next request to this pipe ends"
        );
        assert_eq!(report, PipeReport { submitted: 1, failure: Some(text) });
    }

    #[test]
    fn a_line_that_was_given_up_half_written_is_ended_before_the_next_one() {
        let folder = TempDir::new();
        let path = pipe(&folder);
        let mut reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let mut read = || {
            let (mut text, mut bytes) = (String::new(), [0; 65_536]);
            while let Ok(len) = reader.read(&mut bytes) {
                if len == 0 {
                    break;
                }
                text.push_str(std::str::from_utf8(&bytes[..len]).unwrap());
            }
            text
        };
        let short = Duration::from_millis(20);
        let first = write_lines(&path, &lines(&[&"a".repeat(100_000)]), short);
        assert_eq!(first.submitted, 0);
        assert!(first.failure.unwrap().ends_with("and a part of the next, which the next request to this pipe ends"));
        // The pipe is still full: nothing of this request is written.
        let second = write_lines(&path, &lines(&["[2] SECOND"]), short);
        assert_eq!(second.submitted, 0);
        assert!(second.failure.unwrap().ends_with("0 of 1 commands were submitted"));
        let fragment = read();
        assert!(fragment.len() < 100_000 && fragment.bytes().all(|byte| byte == b'a'));
        let report = write_lines(&path, &lines(&["[3] THIRD"]), LONG);
        assert_eq!(report, PipeReport { submitted: 1, failure: None });
        assert_eq!(read(), "\n[3] THIRD\n");
        assert_eq!(write_lines(&path, &lines(&["[4] FOURTH"]), LONG).submitted, 1);
        assert_eq!(read(), "[4] FOURTH\n");
    }

    #[test]
    fn a_reader_that_goes_away_is_noticed() {
        let folder = TempDir::new();
        let path = pipe(&folder);
        let (told, is_gone) = mpsc::channel();
        let reader = thread::spawn({
            let path = path.clone();
            move || {
                let mut file = File::open(path).unwrap();
                file.read_exact(&mut [0; 10]).unwrap();
                drop(file);
                told.send(()).unwrap();
            }
        });
        let report = write_lines(&path, &lines(&["0123456789", &"b".repeat(200_000)]), LONG);
        is_gone.recv_timeout(LONG).unwrap();
        reader.join().unwrap();
        assert_eq!(report.submitted, 1);
        assert!(report.failure.unwrap().contains("is no longer read; 1 of 2 commands were submitted"));
    }

    #[test]
    fn what_is_no_pipe_is_not_written_to() {
        let folder = TempDir::new();
        let path = folder.path().join("file").display().to_string();
        let failure = |path: &str| write_lines(path, &lines(&["a"]), LONG).failure.unwrap();
        assert_eq!(failure(&path), format!("command file '{path}' must exist"));
        fs::write(&path, "kept").unwrap();
        assert_eq!(failure(&path), format!("command file '{path}' must be a pipe file"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
        assert!(failure("/dev/null").ends_with("must be a pipe file"));
    }
}

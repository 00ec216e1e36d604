//! Writes the log: `2026-01-31 12:00:00 - INFO - [module] text` in local time (docs/protocol.md section 14).
//!
//! Lines are collected for each turn of the loop and written by [`LogWriter::flush`]. A log that cannot be written
//! (full disk, nobody reads the pipe) loses lines but never stops the daemon: lost lines are counted and reported when
//! it works again.
//!
//! If standard error is the systemd journal, lines carry their level for it. A daemon that logs to a file then also
//! writes its warnings and errors to the journal, so that `systemctl status` shows them.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{journal, system};
use crate::model::log::{AUDIT, Level, LogLine};
use crate::model::time::WallTime;

/// Maximum length of a text in bytes; longer ones are cut.
const MAX_TEXT_LEN: usize = 8 << 10;
/// Maximum number of unwritten bytes; further lines are lost.
const MAX_BUFFERED: usize = 1 << 20;
/// Number of bytes that a writable pipe takes without blocking.
const CHUNK: usize = 4_096;

/// The daemon's log.
pub struct LogWriter {
    target: Target,
    severity: Level,
    configured: Level,
    buffer: Vec<u8>,
    /// Lines for the journal beside a log file; empty if standard error is not the journal.
    journal: Vec<u8>,
    has_journal: bool,
    lost_lines: u64,
    stamp: Stamp,
    audit: Audit,
}

/// Where a writer sends lines of the audit log.
enum Audit {
    /// Nowhere.
    Dropped,
    To(Box<LogWriter>),
    /// Here: this is the audit log.
    Here,
}

enum Target {
    Stderr,
    File { path: PathBuf, file: File },
}

/// The rendered time of the last second in which a line was written.
#[derive(Default)]
struct Stamp {
    second: Option<i64>,
    text: String,
}

impl LogWriter {
    /// Opens the log: standard error, or a file that is appended to (created with mode 0640).
    ///
    /// # Errors
    /// A sentence that names the file and the remedy.
    pub fn open(path: Option<&Path>, severity: Level) -> Result<Self, String> {
        let target = match path {
            None => Target::Stderr,
            Some(path) => Target::File { path: path.to_owned(), file: open_file(path)? },
        };
        Ok(Self {
            target,
            severity,
            configured: severity,
            buffer: Vec::new(),
            journal: Vec::new(),
            has_journal: journal::is_standard_error(),
            lost_lines: 0,
            stamp: Stamp::default(),
            audit: Audit::Dropped,
        })
    }

    /// Opens the audit log beside this one.
    ///
    /// # Errors
    /// A sentence that names the file and the remedy.
    pub fn open_audit(&mut self, path: &Path) -> Result<(), String> {
        let mut audit = Self::open(Some(path), Level::Info)?;
        (audit.has_journal, audit.audit) = (false, Audit::Here);
        self.audit = Audit::To(Box::new(audit));
        Ok(())
    }

    /// Changes the severity; `None` goes back to the one given to [`LogWriter::open`].
    pub const fn set_severity(&mut self, severity: Option<Level>) {
        self.severity = match severity {
            Some(severity) => severity,
            None => self.configured,
        };
    }

    /// The log file, where there is one.
    #[must_use]
    pub const fn path(&self) -> Option<&PathBuf> {
        match &self.target {
            Target::File { path, .. } => Some(path),
            Target::Stderr => None,
        }
    }

    /// Whether a line of this level would be written. Ask before building an expensive line.
    #[must_use]
    pub fn shows(&self, level: Level) -> bool {
        level >= self.severity
    }

    /// Adds a line if the severity shows it. The next [`LogWriter::flush`] writes it.
    pub fn write(&mut self, line: &LogLine, wall: WallTime) {
        match &mut self.audit {
            Audit::To(audit) if line.module == AUDIT => return audit.write(line, wall),
            Audit::Dropped if line.module == AUDIT => return,
            Audit::To(_) | Audit::Dropped | Audit::Here => {}
        }
        if !self.shows(line.level) {
            return;
        }
        if self.buffer.len() >= MAX_BUFFERED {
            self.lost_lines = self.lost_lines.saturating_add(1);
            return;
        }
        if self.has_journal {
            self.write_for_journal(line);
        }
        let stamp = self.stamp.render(wall);
        self.buffer.extend_from_slice(stamp.as_bytes());
        for part in [" - ", word(line.level), " - [", line.module, "] "] {
            self.buffer.extend_from_slice(part.as_bytes());
        }
        push_escaped(&mut self.buffer, &line.text);
        self.buffer.push(b'\n');
    }

    /// Writes the level of the next line for the journal. Beside a log file, writes the line too if it is a warning or
    /// an error.
    fn write_for_journal(&mut self, line: &LogLine) {
        let prefix = journal::prefix(line.level).as_bytes();
        if matches!(self.target, Target::Stderr) {
            self.buffer.extend_from_slice(prefix);
        } else if line.level >= Level::Warning && self.journal.len() < MAX_BUFFERED {
            for part in [prefix, b"[", line.module.as_bytes(), b"] "] {
                self.journal.extend_from_slice(part);
            }
            push_escaped(&mut self.journal, &line.text);
            self.journal.push(b'\n');
        }
    }

    /// Writes what the operating system takes without blocking. The rest stays for the next time.
    pub fn flush(&mut self, wall: WallTime) {
        if let Audit::To(audit) = &mut self.audit {
            audit.flush(wall);
        }
        if self.lost_lines > 0 && self.buffer.len() < MAX_BUFFERED {
            let text = format!("{} lines were lost because the log could not be written", self.lost_lines);
            self.lost_lines = 0;
            self.write(&LogLine::error("log", text), wall);
        }
        if !self.journal.is_empty() {
            // The log file has these lines, so losing them here is harmless.
            let sent = write_available(&mut io::stderr(), &self.journal).unwrap_or(self.journal.len());
            self.journal.drain(..sent);
        }
        if self.buffer.is_empty() {
            return;
        }
        let written = match &mut self.target {
            Target::Stderr => write_available(&mut io::stderr(), &self.buffer),
            Target::File { file, .. } => write_available(file, &self.buffer),
        };
        match written {
            Ok(count) => drop(self.buffer.drain(..count)),
            Err(_) => self.lose_buffer(),
        }
        if self.buffer.capacity() > 64 << 10 && self.buffer.is_empty() {
            self.buffer = Vec::new();
        }
    }

    /// Opens the file again by its name, after a rotation. Does nothing for standard error.
    ///
    /// # Errors
    /// A sentence. The old file stays in use.
    pub fn reopen(&mut self, wall: WallTime) -> Result<(), String> {
        if let Audit::To(audit) = &mut self.audit {
            audit.reopen(wall)?;
        }
        self.flush(wall);
        if let Target::File { path, file } = &mut self.target {
            *file = open_file(path)?;
        }
        Ok(())
    }

    /// Counts and drops what could not be written, because keeping it would only delay the loss.
    fn lose_buffer(&mut self) {
        let lines = self.buffer.iter().filter(|byte| **byte == b'\n').count();
        self.lost_lines = self.lost_lines.saturating_add(u64::try_from(lines).unwrap_or(u64::MAX));
        self.buffer.clear();
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.flush(super::clock::wall());
    }
}

impl Stamp {
    /// The C library is asked for local time only once a second.
    fn render(&mut self, wall: WallTime) -> &str {
        let second = wall.as_seconds();
        if self.second != Some(second) {
            self.second = Some(second);
            self.text.clear();
            let written = match system::local_time(second) {
                Some(time) => write!(
                    self.text,
                    "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
                    time.year, time.month, time.day, time.hour, time.minute, time.second
                ),
                None => write!(self.text, "@{second}"),
            };
            debug_assert!(written.is_ok(), "writing to a String cannot fail");
        }
        &self.text
    }
}

/// The original's words for levels.
const fn word(level: Level) -> &'static str {
    match level {
        Level::Debug => "DEBUG",
        Level::Info => "INFO",
        Level::Warning => "WARNING",
        Level::Error => "ERROR",
    }
}

/// Appends the text on one line, with escapes for control characters and line separators, cut at [`MAX_TEXT_LEN`].
fn push_escaped(buffer: &mut Vec<u8>, text: &str) {
    let cut = (0..=MAX_TEXT_LEN.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (kept, rest) = text.split_at(cut);
    let is_odd = |letter: char| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}');
    let mut plain = kept;
    while let Some(at) = plain.find(is_odd) {
        let (before, after) = plain.split_at(at);
        buffer.extend_from_slice(before.as_bytes());
        let mut letters = after.chars();
        for escaped in letters.next().into_iter().flat_map(char::escape_default) {
            buffer.extend_from_slice(escaped.encode_utf8(&mut [0; 4]).as_bytes());
        }
        plain = letters.as_str();
    }
    buffer.extend_from_slice(plain.as_bytes());
    if !rest.is_empty() {
        buffer.extend_from_slice(format!("... ({} bytes more)", rest.len()).as_bytes());
    }
}

/// Opens for appending without blocking, so that a named pipe without a reader cannot hold us up.
fn open_file(path: &Path) -> Result<File, String> {
    OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(libc::O_NONBLOCK).open(path).map_err(
        |error| {
            format!("cannot write the log file '{}': {error}; make its directory and give us the right", path.display())
        },
    )
}

/// Writes what does not block. Returns the number of bytes; an error only if nothing was written.
fn write_available(file: &mut (impl Write + std::os::fd::AsFd), bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        if !system::is_writable(file) {
            break;
        }
        match file.write(rest.get(..CHUNK).unwrap_or(rest)) {
            Ok(0) => break,
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(_) if written > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::temp_dir::TempDir;

    const WALL: WallTime = WallTime::from_micros(1_769_860_800_000_000);

    fn writer(dir: &TempDir, severity: Level) -> LogWriter {
        LogWriter::open(Some(&dir.join("log")), severity).unwrap()
    }

    fn content(dir: &TempDir, name: &str) -> String {
        std::fs::read_to_string(dir.join(name)).unwrap()
    }

    #[test]
    fn a_line_has_the_form_of_the_original() {
        let dir = TempDir::new();
        let mut log = writer(&dir, Level::Info);
        log.write(&LogLine::info("core", "started"), WALL);
        log.write(&LogLine::warning("core", "odd"), WALL);
        log.write(&LogLine::debug("core", "unseen"), WALL);
        log.flush(WALL);
        let text = content(&dir, "log");
        let time = system::local_time(WALL.as_seconds()).unwrap();
        let stamp = format!("{}-{:02}-{:02} {:02}:00:00", time.year, time.month, time.day, time.hour);
        assert_eq!(text, format!("{stamp} - INFO - [core] started\n{stamp} - WARNING - [core] odd\n"));
    }

    #[test]
    fn the_severity_can_be_changed_and_set_back() {
        let dir = TempDir::new();
        let mut log = writer(&dir, Level::Error);
        assert!(log.shows(Level::Error) && !log.shows(Level::Warning) && !log.shows(Level::Info));
        log.set_severity(Some(Level::Debug));
        assert!(log.shows(Level::Debug));
        log.set_severity(Some(Level::Info));
        assert!(log.shows(Level::Warning) && log.shows(Level::Info) && !log.shows(Level::Debug));
        log.set_severity(Some(Level::Warning));
        assert!(log.shows(Level::Warning) && !log.shows(Level::Info));
        log.set_severity(None);
        assert!(!log.shows(Level::Info));
    }

    #[test]
    fn a_text_never_breaks_its_line_and_long_ones_are_cut() {
        let dir = TempDir::new();
        let mut log = writer(&dir, Level::Info);
        log.write(&LogLine::info("core", "a\nb\r\x1b[31m\u{2028}\u{85}é"), WALL);
        log.write(&LogLine::info("core", "é".repeat(MAX_TEXT_LEN)), WALL);
        log.flush(WALL);
        let text = content(&dir, "log");
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("[core] a\\nb\\r\\u{1b}[31m\\u{2028}\\u{85}é\n"), "{text:.200}");
        assert!(text.ends_with("... (8192 bytes more)\n"));
    }

    #[test]
    fn a_rotated_file_is_opened_again() {
        let dir = TempDir::new();
        let mut log = writer(&dir, Level::Info);
        log.write(&LogLine::info("core", "one"), WALL);
        std::fs::rename(dir.join("log"), dir.join("log.1")).unwrap();
        log.reopen(WALL).unwrap();
        log.write(&LogLine::info("core", "two"), WALL);
        drop(log);
        assert!(content(&dir, "log.1").ends_with("one\n"));
        assert!(content(&dir, "log").ends_with("two\n"));
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(dir.join("log")).unwrap().permissions());
        assert_eq!(mode & 0o137, 0);
    }

    #[test]
    fn a_full_disk_costs_lines_and_is_told_of_when_it_works_again() {
        let dir = TempDir::new();
        let mut log = writer(&dir, Level::Info);
        let Target::File { file, .. } = &mut log.target else { panic!("a file") };
        *file = open_file(Path::new("/dev/full")).unwrap();
        log.write(&LogLine::info("core", "lost"), WALL);
        log.flush(WALL);
        log.reopen(WALL).unwrap();
        log.write(&LogLine::info("core", "kept"), WALL);
        log.flush(WALL);
        let text = content(&dir, "log");
        assert!(text.contains("1 lines were lost") && text.contains("kept") && !text.contains("core] lost"), "{text}");
    }

    #[test]
    fn a_pipe_that_nobody_reads_does_not_hold_the_daemon() {
        let dir = TempDir::new();
        let mut log = writer(&dir, Level::Info);
        let (reader, pipe) = std::io::pipe().unwrap();
        let Target::File { file, .. } = &mut log.target else { panic!("a file") };
        *file = File::from(std::os::fd::OwnedFd::from(pipe));
        for _ in 0..500 {
            log.write(&LogLine::info("core", "x".repeat(8_000)), WALL);
            log.flush(WALL);
        }
        assert!(log.buffer.len() < MAX_BUFFERED + 10_000 && log.lost_lines > 0);
        drop(reader);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        assert!(LogWriter::open(Some(Path::new("/nonexistent/x.log")), Level::Info).err().unwrap().contains("x.log"));
    }
}

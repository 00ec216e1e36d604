//! Writes the log: to standard error or a file, in the original's form or as JSON ([`format`]), and to the systemd
//! journal with levels and fields.
//!
//! Lines are collected for each turn of the loop and written by [`LogWriter::flush`]. A log that cannot be written
//! (full disk, nobody reads the pipe) loses lines but never stops the daemon: lost lines are counted and reported when
//! it works again. Floods of one warning are counted, too ([`flood`]).
//!
//! If standard error is the journal, lines become its entries; if its socket is not there, they go to standard error
//! with their level. A daemon that logs to a file then also sends its warnings and errors to the journal, so that
//! `systemctl status` shows them.

mod flood;
mod format;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::journal::{self, Entry, Journal};
use super::{clock, system};
use crate::model::log::{AUDIT, Level, LogFormat, LogLine};
use crate::model::time::{Monotonic, WallTime};

use flood::Flood;
use format::TextForm;

/// Maximum number of unwritten bytes; further lines are lost.
const MAX_BUFFERED: usize = 1 << 20;
/// Number of bytes that a writable pipe takes without blocking.
const CHUNK: usize = 4_096;
/// Time after which lines that could not be written are tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The daemon's log.
pub struct LogWriter {
    /// Standard error or the file.
    main: Stream,
    /// Standard error beside a file, for warnings and errors, if it is the journal.
    beside: Option<Stream>,
    journal: Option<Journal>,
    /// The lowest level that the journal gets.
    journal_from: Level,
    format: LogFormat,
    severity: Level,
    configured: Level,
    text: TextForm,
    flood: Flood,
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

/// Bytes on their way to a target.
struct Stream {
    target: Target,
    /// Whether lines begin with their level for the journal.
    has_prefix: bool,
    buffer: Vec<u8>,
    lost_lines: u64,
}

impl LogWriter {
    /// Opens the log: standard error, or a file that is appended to (created with mode 0640).
    ///
    /// # Errors
    /// A sentence that names the file and the remedy.
    pub fn open(path: Option<&Path>, severity: Level, format: LogFormat) -> Result<Self, String> {
        let target = match path {
            None => Target::Stderr,
            Some(path) => Target::File { path: path.to_owned(), file: open_file(path)? },
        };
        let mut writer = Self {
            main: Stream::new(target),
            beside: None,
            journal: None,
            journal_from: severity,
            format,
            severity,
            configured: severity,
            text: TextForm::default(),
            flood: Flood::default(),
            audit: Audit::Dropped,
        };
        writer.arrange();
        Ok(writer)
    }

    /// Changes what [`LogWriter::open`] was told; returns whether it was told something else. A severity that was set
    /// meanwhile stays if the configured one is the same.
    pub fn configure(&mut self, severity: Level, format: LogFormat) -> bool {
        let changes = (self.configured, self.format) != (severity, format);
        if self.configured != severity {
            (self.severity, self.configured) = (severity, severity);
        }
        if self.format != format {
            self.format = format;
            self.arrange();
        }
        changes
    }

    /// Sets up the journal as the form and the target of the lines ask for it.
    fn arrange(&mut self) {
        let format = self.format;
        let is_stream = journal::is_standard_error();
        let is_file = self.path().is_some();
        let wants_journal = format == LogFormat::Journal || (is_stream && (is_file || format == LogFormat::Auto));
        self.journal = wants_journal.then(|| Journal::open(Path::new(journal::SOCKET)).ok()).flatten();
        self.journal_from = if is_file && format != LogFormat::Journal { Level::Warning } else { Level::Debug };
        self.main.has_prefix = is_stream && !is_file && format != LogFormat::Json;
        self.beside = (is_stream && is_file).then(|| {
            let mut beside = Stream::new(Target::Stderr);
            beside.has_prefix = true;
            beside
        });
    }

    /// Opens the audit log beside this one.
    ///
    /// # Errors
    /// A sentence that names the file and the remedy.
    pub fn open_audit(&mut self, path: &Path) -> Result<(), String> {
        let mut audit = Self::open(Some(path), Level::Info, LogFormat::Text)?;
        (audit.journal, audit.beside, audit.audit) = (None, None, Audit::Here);
        self.audit = Audit::To(Box::new(audit));
        Ok(())
    }

    /// Changes the severity; `None` goes back to the configured one.
    pub const fn set_severity(&mut self, severity: Option<Level>) {
        self.severity = match severity {
            Some(severity) => severity,
            None => self.configured,
        };
    }

    /// The log file, where there is one.
    #[must_use]
    pub const fn path(&self) -> Option<&PathBuf> {
        match &self.main.target {
            Target::File { path, .. } => Some(path),
            Target::Stderr => None,
        }
    }

    /// Whether a line of this level would be written. Ask before building an expensive line.
    #[must_use]
    pub fn shows(&self, level: Level) -> bool {
        level >= self.severity
    }

    /// When [`LogWriter::flush`] has something to do although no line comes: lines that were counted, or that could not
    /// be written before.
    #[must_use]
    pub fn poll_timeout(&self, now: Monotonic) -> Option<Monotonic> {
        let streams = [Some(&self.main), self.beside.as_ref()];
        let is_behind = streams.into_iter().flatten().any(|stream| !stream.buffer.is_empty())
            || self.journal.as_ref().is_some_and(Journal::is_behind);
        let audit = if let Audit::To(audit) = &self.audit { audit.poll_timeout(now) } else { None };
        let again = is_behind.then(|| now + TRY_AGAIN);
        [self.flood.poll_timeout(), again, audit].into_iter().flatten().min()
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
        if line.level < Level::Warning {
            return self.put(line, wall);
        }
        if let Some(line) = self.flood.admit(line.clone(), clock::read().monotonic) {
            self.put(&line, wall);
        }
    }

    /// Adds a line to all places where it belongs.
    fn put(&mut self, line: &LogLine, wall: WallTime) {
        let is_file = self.path().is_some();
        let journal = self.journal.as_mut().filter(|_| line.level >= self.journal_from);
        let is_sent = journal.is_some_and(|journal| journal.send(entry(line)).is_ok());
        if is_file || !is_sent {
            let (text, is_json) = (&mut self.text, self.format == LogFormat::Json);
            self.main.add(line.level, |out| {
                if is_json { format::write_json(out, line, wall) } else { text.write(out, line, wall) }
            });
        }
        if let Some(beside) = self.beside.as_mut().filter(|_| !is_sent && line.level >= Level::Warning) {
            beside.add(line.level, |out| {
                for part in ["[", line.module, "] "] {
                    out.extend_from_slice(part.as_bytes());
                }
                format::push_text(out, &line.text);
                out.push(b'\n');
            });
        }
    }

    /// Writes what the operating system takes without blocking. The rest stays for the next time.
    pub fn flush(&mut self, wall: WallTime) {
        if let Audit::To(audit) = &mut self.audit {
            audit.flush(wall);
        }
        if self.flood.poll_timeout().is_some() {
            let ended = self.flood.ended(clock::read().monotonic);
            ended.iter().for_each(|line| self.put(line, wall));
        }
        if let Some(journal) = &mut self.journal {
            journal.flush();
            let lost = journal.take_lost();
            if lost > 0 {
                let text = format!("{lost} lines were lost because the journal did not take them");
                self.put(&LogLine::error("log", text), wall);
            }
        }
        if self.main.lost_lines > 0 && self.main.buffer.len() < MAX_BUFFERED {
            let lost = std::mem::take(&mut self.main.lost_lines);
            let text = format!("{lost} lines were lost because the log could not be written");
            self.put(&LogLine::error("log", text), wall);
        }
        if let Some(beside) = &mut self.beside {
            beside.flush();
            // The log file has these lines, so losing them here is harmless.
            beside.lost_lines = 0;
        }
        self.main.flush();
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
        if let Target::File { path, file } = &mut self.main.target {
            *file = open_file(path)?;
        }
        Ok(())
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        let wall = clock::wall();
        let counted = self.flood.end();
        counted.iter().for_each(|line| self.put(line, wall));
        self.flush(wall);
    }
}

impl Stream {
    const fn new(target: Target) -> Self {
        Self { target, has_prefix: false, buffer: Vec::new(), lost_lines: 0 }
    }

    /// Adds a line, unless too much waits.
    fn add(&mut self, level: Level, write: impl FnOnce(&mut Vec<u8>)) {
        if self.buffer.len() >= MAX_BUFFERED {
            self.lost_lines = self.lost_lines.saturating_add(1);
            return;
        }
        if self.has_prefix {
            self.buffer.extend_from_slice(journal::prefix(level).as_bytes());
        }
        write(&mut self.buffer);
    }

    fn flush(&mut self) {
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

    /// Counts and drops what could not be written, because keeping it would only delay the loss.
    fn lose_buffer(&mut self) {
        let lines = self.buffer.iter().filter(|byte| **byte == b'\n').count();
        self.lost_lines = self.lost_lines.saturating_add(u64::try_from(lines).unwrap_or(u64::MAX));
        self.buffer.clear();
    }
}

/// The entry of the journal for a line.
fn entry(line: &LogLine) -> Entry {
    let mut entry = Entry::default();
    let mut text = Vec::with_capacity(line.text.len().saturating_add(16));
    for part in ["[", line.module, "] "] {
        text.extend_from_slice(part.as_bytes());
    }
    format::push_text(&mut text, &line.text);
    entry.add("MESSAGE", &text);
    entry.add("PRIORITY", journal::prefix(line.level).trim_matches(['<', '>']).as_bytes());
    entry.add("SYSLOG_IDENTIFIER", b"stheno");
    entry.add("MODULE", line.module.as_bytes());
    if let Some(node) = line.node {
        entry.add("NODE", node.to_string().as_bytes());
    }
    if let Some(token) = &line.token {
        entry.add("TOKEN", token.as_str().as_bytes());
    }
    if let Some(peer) = line.peer {
        entry.add("PEER", peer.to_string().as_bytes());
    }
    entry
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
        LogWriter::open(Some(&dir.join("log")), severity, LogFormat::Auto).unwrap()
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
        log.write(&LogLine::info("core", "é".repeat(format::MAX_TEXT_LEN)), WALL);
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
        let Target::File { file, .. } = &mut log.main.target else { panic!("a file") };
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
        let Target::File { file, .. } = &mut log.main.target else { panic!("a file") };
        *file = File::from(std::os::fd::OwnedFd::from(pipe));
        for _ in 0..500 {
            log.write(&LogLine::info("core", "x".repeat(8_000)), WALL);
            log.flush(WALL);
        }
        assert!(log.main.buffer.len() < MAX_BUFFERED + 10_000 && log.main.lost_lines > 0);
        drop(reader);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        assert!(
            LogWriter::open(Some(Path::new("/nonexistent/x.log")), Level::Info, LogFormat::Auto)
                .err()
                .unwrap()
                .contains("x.log")
        );
    }
}

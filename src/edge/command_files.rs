//! The command files of Centreon Web: finds, claims, reads (in pieces) and removes them (docs/protocol.md section 16).
//! It blocks, so it runs on worker threads.
//!
//! A file is claimed by a lock and by renaming it to `…_read`, so that several daemons on one directory process each
//! file once. A file that may still be written to is read as it grows, and removed only when nobody writes to it any
//! more; then its last line counts even without a newline.
//!
//! Out of scope: the meaning and the execution of the lines.

mod listing;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use crate::edge::{clock, system};
use crate::model::legacy::{FileMark, FileOutcome, FilePiece, FileWork};

use listing::Listing;

/// Initial size in bytes of the read buffer. A piece has at most [`LINES_MAX`] lines.
const PIECE_BYTES: usize = 64 << 10;
const LINES_MAX: usize = 1_000;
/// Maximum length in bytes of a line; longer ones are left out.
const LINE_BYTES_MAX: usize = 1 << 20;
/// Time without changes after which a file that ends with a newline is removed, if the system does not report whether a
/// process has it open for writing; [`QUIET_IN_LINE`] applies to other files.
const QUIET: Duration = Duration::from_secs(1);
const QUIET_IN_LINE: Duration = Duration::from_secs(5);
/// Time without changes after which a file is removed although a process has it open for writing.
const QUIET_WHILE_OPEN: Duration = Duration::from_secs(30);
/// Maximum number of recently removed files that are remembered.
const DONE_MAX: usize = 32;

/// A claimed file; dropping it releases the lock.
#[derive(Debug)]
struct Current {
    path: PathBuf,
    file: File,
    identity: String,
    offset: u64,
    /// The offset of the end, and since when it has not grown.
    quiet_since: Option<(u64, Instant)>,
}

/// The command files of one daemon.
#[derive(Debug)]
pub struct CommandFiles {
    listing: Listing,
    current: Option<Current>,
    done: VecDeque<String>,
}

/// The result of a read.
enum Read {
    Piece(FilePiece),
    /// There is nothing new yet.
    Waiting,
}

impl CommandFiles {
    /// Creates the reader of `cmd_file` and of the files in `cmd_dir`.
    #[must_use]
    pub fn new(cmd_file: PathBuf, cmd_dir: PathBuf) -> Self {
        Self { listing: Listing::new(cmd_file, cmd_dir), current: None, done: VecDeque::new() }
    }

    /// Does the requested work.
    pub fn run(&mut self, work: FileWork) -> FileOutcome {
        match work {
            FileWork::Read(mark) => self.read(mark.as_ref()),
            FileWork::Remove => self.remove(),
            FileWork::Leave => {
                self.current = None;
                self.listing.forget();
                FileOutcome::Nothing { is_waiting: false, complaints: Vec::new() }
            }
        }
    }

    fn read(&mut self, mark: Option<&FileMark>) -> FileOutcome {
        let mut complaints = Vec::new();
        if self.current.is_none() {
            self.current = self.claim(mark, &mut complaints);
        }
        let Some(current) = &mut self.current else { return FileOutcome::Nothing { is_waiting: false, complaints } };
        match current.read() {
            Ok(Read::Piece(piece)) => FileOutcome::Piece(piece),
            Ok(Read::Waiting) => FileOutcome::Nothing { is_waiting: true, complaints },
            Err(error) => {
                complaints.push(format!("{} cannot be read: {error}", current.path.display()));
                self.current = None;
                FileOutcome::Nothing { is_waiting: false, complaints }
            }
        }
    }

    /// Claims the next file that no other process has claimed.
    fn claim(&mut self, mark: Option<&FileMark>, complaints: &mut Vec<String>) -> Option<Current> {
        self.listing.fill(complaints);
        while let Some(path) = self.listing.next() {
            let (file, path) = match listing::claim(&path) {
                Ok(Some(claimed)) => claimed,
                Ok(None) => continue,
                Err(text) => {
                    complaints.push(text);
                    continue;
                }
            };
            let Ok(metadata) = file.metadata() else { continue };
            let mut identity = identity(&metadata);
            if self.done.contains(&identity) {
                // The inode was reused within one tick of the file system's clock.
                identity.push_str(&format!("-{}", self.done.len()));
            }
            let is_marked = |mark: &&FileMark| mark.identity == identity && Path::new(&mark.path) == path;
            let offset = mark.filter(is_marked).map_or(0, |mark| mark.offset);
            return Some(Current { path, file, identity, offset, quiet_since: None });
        }
        None
    }

    fn remove(&mut self) -> FileOutcome {
        let Some(current) = &self.current else { return FileOutcome::Removed };
        if current.is_in_place()
            && let Err(error) = fs::remove_file(&current.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return FileOutcome::NotRemoved(format!(
                "{} is done but cannot be removed: {error}; let this user write to its directory",
                current.path.display()
            ));
        }
        if let Some(current) = self.current.take() {
            self.done.push_back(current.identity);
            self.done.truncate(DONE_MAX);
        }
        FileOutcome::Removed
    }
}

/// Identifies a file: device, inode, and creation time, because inodes are reused.
fn identity(metadata: &fs::Metadata) -> String {
    let made = metadata.created().or_else(|_| metadata.modified()).unwrap_or(UNIX_EPOCH);
    let made = made.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{}-{}-{made}", metadata.dev(), metadata.ino())
}

impl Current {
    /// Whether the path still leads to the file.
    fn is_in_place(&self) -> bool {
        let same = |one: &fs::Metadata, other: &fs::Metadata| one.dev() == other.dev() && one.ino() == other.ino();
        let found = fs::symlink_metadata(&self.path).ok().zip(self.file.metadata().ok());
        found.is_some_and(|(path, file)| same(&path, &file))
    }

    /// Reads the next piece, which then counts as read.
    fn read(&mut self) -> io::Result<Read> {
        let mut piece = FilePiece {
            path: self.path.display().to_string(),
            identity: self.identity.clone(),
            next: self.offset,
            ..FilePiece::default()
        };
        let mut bytes = vec![0; PIECE_BYTES];
        let mut len = self.fill(&mut bytes, 0)?;
        while len == bytes.len() && !bytes.contains(&b'\n') && len < LINE_BYTES_MAX {
            let longer = bytes.len().saturating_mul(2);
            bytes.resize(longer, 0);
            len = self.fill(&mut bytes, len)?;
        }
        let is_end = len < bytes.len();
        bytes.truncate(len);
        let mut rest = bytes.as_slice();
        while piece.lines.len() < LINES_MAX
            && let Some(end) = rest.iter().position(|byte| *byte == b'\n')
            && let Some((line, after)) = rest.split_at_checked(end.saturating_add(1))
        {
            piece.lines.push((piece.next, line.strip_suffix(b"\n").unwrap_or(line).to_vec()));
            piece.next = piece.next.saturating_add(line.len() as u64);
            rest = after;
        }
        if piece.lines.is_empty() && !is_end {
            return self.skip_line(piece);
        }
        let has_all = is_end && !rest.contains(&b'\n');
        if has_all && self.is_settled(piece.next.saturating_add(rest.len() as u64), !rest.is_empty())? {
            if !rest.is_empty() {
                piece.lines.push((piece.next, rest.to_vec()));
                piece.next = piece.next.saturating_add(rest.len() as u64);
            }
            piece.is_whole = true;
        }
        if piece.lines.is_empty() && !piece.is_whole {
            return Ok(Read::Waiting);
        }
        self.offset = piece.next;
        Ok(Read::Piece(piece))
    }

    /// Fills `bytes` from `len` on up to the end of the file; returns the new length.
    fn fill(&self, bytes: &mut [u8], mut len: usize) -> io::Result<usize> {
        while let Some(room) = bytes.get_mut(len..).filter(|room| !room.is_empty()) {
            match self.file.read_at(room, self.offset.saturating_add(len as u64)) {
                Ok(0) => break,
                Ok(count) => len = len.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(len)
    }

    /// Skips a line that is too long: the next piece begins after it.
    fn skip_line(&mut self, mut piece: FilePiece) -> io::Result<Read> {
        let mut bytes = vec![0; PIECE_BYTES];
        let start = self.offset;
        let mut at = start;
        loop {
            let count = match self.file.read_at(&mut bytes, at) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let found = bytes.iter().take(count).position(|byte| *byte == b'\n');
            at = at.saturating_add(found.map_or(count, |end| end.saturating_add(1)) as u64);
            if found.is_some() {
                break;
            }
            if count == 0 {
                if !self.is_settled(at, true)? {
                    return Ok(Read::Waiting);
                }
                break;
            }
        }
        piece.too_long.push(start);
        piece.next = at;
        self.offset = at;
        Ok(Read::Piece(piece))
    }

    /// Whether nobody writes any more to the file, whose length is `end`.
    fn is_settled(&mut self, end: u64, is_in_line: bool) -> io::Result<bool> {
        let since = match self.quiet_since {
            Some((at, since)) if at == end => since,
            _ => {
                let now = Instant::now();
                self.quiet_since = Some((end, now));
                now
            }
        };
        let written = self.file.metadata()?.modified().unwrap_or(UNIX_EPOCH);
        let quiet = clock::of_files().duration_since(written).unwrap_or_default().max(since.elapsed());
        Ok(match system::has_writer(&self.file) {
            Some(false) => true,
            Some(true) => quiet >= QUIET_WHILE_OPEN,
            None if is_in_line => quiet >= QUIET_IN_LINE,
            None => quiet >= QUIET,
        })
    }
}

#[cfg(test)]
mod tests;

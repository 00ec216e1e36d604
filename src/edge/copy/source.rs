//! The sender's end of a copy: finds out what the source is, packs a directory, reads chunks and their digest.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

use super::pack;
use super::text::{about, digest_of, failure, hex, words};
use crate::model::copy::{Chunk, ChunkFrame, CopyFailure, CopyKind, SourceDone, SourceSpec, SourceStep};

/// What was opened; nothing before the first step.
#[derive(Default)]
pub struct Source {
    open: Option<Open>,
}

struct Open {
    path: PathBuf,
    file: File,
    kind: CopyKind,
    size: u64,
    /// Modification time and number of the file: what it is at the end, too, unless somebody changed it.
    stamp: Stamp,
    digest: Md5,
    read: u64,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    seconds: i64,
    nanoseconds: i64,
    inode: u64,
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            size: metadata.size(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
            inode: metadata.ino(),
        }
    }
}

impl Source {
    /// Whether it holds a file.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Does one step.
    pub fn run(&mut self, step: SourceStep) -> SourceDone {
        let done = match (step, &mut self.open) {
            (SourceStep::Open(spec), _) => self.open(&spec),
            (SourceStep::Close, _) => {
                self.open = None;
                Ok(SourceDone::Chunks(Vec::new()))
            }
            (SourceStep::Digest, Some(open)) => open.digest(),
            (SourceStep::Rewind(offset), Some(open)) => open.rewind(offset),
            (SourceStep::Read { count, chunk_bytes, frame }, Some(open)) => open.read(count, chunk_bytes, &frame),
            (SourceStep::Finish, Some(open)) => open.finish(),
            (_, None) => Err(failure("remote copy failed", "the source is closed")),
        };
        done.unwrap_or_else(|failure| {
            self.open = None;
            SourceDone::Failed(failure)
        })
    }

    fn open(&mut self, spec: &SourceSpec) -> Result<SourceDone, CopyFailure> {
        let path = &spec.source;
        let Opened { file, kind, notes } = open_source(spec)?;
        let metadata = file.metadata().map_err(|error| open_failed(path, &error))?;
        let stamp = Stamp::of(&metadata);
        let open = Open {
            path: path.clone(),
            file,
            kind,
            size: stamp.size,
            stamp,
            digest: Md5::new(),
            read: 0,
            buffer: Vec::new(),
        };
        self.open = Some(open);
        Ok(SourceDone::Opened { kind, total: stamp.size, notes })
    }
}

/// A source that is open.
pub struct Opened {
    /// The file, or the packed directory, at its beginning.
    pub file: File,
    /// What it is.
    pub kind: CopyKind,
    /// What was left out of an archive, for the log.
    pub notes: Vec<String>,
}

/// Finds out what the source is, packs a directory, opens it. May take long.
///
/// # Errors
/// As the row that ends the copy says it.
pub fn open_source(spec: &SourceSpec) -> Result<Opened, CopyFailure> {
    let path = &spec.source;
    let metadata = fs::metadata(path).map_err(|error| failure("unknown source", about(path, &error)))?;
    if metadata.is_file() {
        return Ok(Opened { file: open_file(path)?, kind: CopyKind::Regular, notes: Vec::new() });
    }
    if metadata.is_dir() {
        let (file, notes) = pack::pack(spec)?;
        return Ok(Opened { file, kind: CopyKind::Archive, notes });
    }
    Err(failure("unknown source", format!("{}: neither a file nor a directory", path.display())))
}

/// A FIFO that somebody puts in the place of the file must not hold up a worker.
fn open_file(path: &Path) -> Result<File, CopyFailure> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    fs::OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| open_failed(path, &error))
}

fn open_failed(path: &Path, error: &io::Error) -> CopyFailure {
    failure(format!("file '{}' open failed: {}", path.display(), words(error)), "")
}

impl Open {
    fn read_failed(&self, error: &io::Error) -> CopyFailure {
        failure("remote copy failed", format!("cannot read {}", about(&self.path, error)))
    }

    fn changed(&self) -> CopyFailure {
        failure("remote copy failed", format!("{} changed while it was read", self.path.display()))
    }

    fn digest(&mut self) -> Result<SourceDone, CopyFailure> {
        let mut digest = Md5::new();
        let read = self
            .file
            .rewind()
            .and_then(|()| digest_of(&mut self.file, self.size, &mut digest))
            .and_then(|count| self.file.seek(SeekFrom::Start(self.read)).map(|_| count))
            .map_err(|error| self.read_failed(&error))?;
        if read < self.size { Err(self.changed()) } else { Ok(SourceDone::Md5(hex(&digest))) }
    }

    fn rewind(&mut self, offset: u64) -> Result<SourceDone, CopyFailure> {
        let mut digest = Md5::new();
        let read = self
            .file
            .rewind()
            .and_then(|()| digest_of(&mut self.file, offset, &mut digest))
            .map_err(|error| self.read_failed(&error))?;
        self.read = read;
        self.digest = digest;
        Ok(SourceDone::Md5(hex(&self.digest)))
    }

    fn read(&mut self, count: usize, chunk_bytes: usize, frame: &ChunkFrame) -> Result<SourceDone, CopyFailure> {
        let mut chunks = Vec::with_capacity(count);
        if self.size == 0 {
            chunks.push(chunk(&[], 0, self.size, frame));
        }
        while chunks.len() < count && self.read < self.size {
            let left = usize::try_from(self.size - self.read).unwrap_or(usize::MAX);
            let len = left.min(chunk_bytes.max(1));
            self.buffer.resize(len, 0);
            self.file.read_exact(&mut self.buffer).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => self.changed(),
                _ => self.read_failed(&error),
            })?;
            self.digest.update(&self.buffer);
            chunks.push(chunk(&self.buffer, self.read, self.size, frame));
            self.read += len as u64;
        }
        Ok(SourceDone::Chunks(chunks))
    }

    fn finish(&mut self) -> Result<SourceDone, CopyFailure> {
        let metadata = self.file.metadata().map_err(|error| self.read_failed(&error))?;
        // Nobody else can reach a packed file: it has no name any more.
        if self.kind == CopyKind::Regular && Stamp::of(&metadata) != self.stamp {
            return Err(self.changed());
        }
        Ok(SourceDone::Md5(hex(&self.digest)))
    }
}

fn chunk(bytes: &[u8], offset: u64, total: u64, frame: &ChunkFrame) -> Chunk {
    let numbers = format!("\",\"size\":{},\"offset\":{offset},\"total\":{total}", bytes.len());
    let len = frame.before.len() + bytes.len().div_ceil(3) * 4 + numbers.len() + frame.after.len();
    let mut data = String::with_capacity(len);
    data.push_str(&frame.before);
    STANDARD.encode_string(bytes, &mut data);
    data.push_str(&numbers);
    data.push_str(&frame.after);
    Chunk { data, offset, len_bytes: bytes.len() as u64 }
}

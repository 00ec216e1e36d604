//! The sender's end of a copy: determines the kind of the source, packs a directory, reads chunks and computes their
//! digest.

mod listed;

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::digest::{self, Digest};
use super::pack::What;
use super::text::{about, failure, words};
use super::{below, pack};
use crate::model::base64_text;
use crate::model::copy::{Chunk, ChunkFrame, CopyFailure, CopyKind, DigestKind, SourceDone, SourceSpec, SourceStep};
use listed::Tree;

/// The open source; nothing before the first step.
#[derive(Default)]
pub struct Source {
    open: Option<Open>,
    /// A directory that is copied by difference.
    tree: Option<Tree>,
}

struct Open {
    path: PathBuf,
    file: File,
    kind: CopyKind,
    size: u64,
    /// Size and times of the file, which are the same at the end unless somebody changed it.
    stamp: Stamp,
    /// Whether it had been changed just before, so that the same times tell nothing.
    is_fresh: bool,
    digest: Digest,
    /// Whether it may become longer meanwhile: a log that another daemon reads is written to all the time.
    may_grow: bool,
    read: u64,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: (i64, i64),
    /// When content, owner or permissions were changed. Nobody can set it.
    changed: (i64, i64),
}

/// The clock of file times may be as coarse as this.
const COARSE: Duration = Duration::from_millis(50);

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn is_fresh(&self) -> bool {
        let before = SystemTime::now().checked_sub(COARSE).and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        before.is_none_or(|before| {
            let seconds = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            self.changed >= (seconds, i64::from(before.subsec_nanos()))
        })
    }
}

impl Source {
    /// Whether it has a file.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Does one step.
    pub fn run(&mut self, step: SourceStep) -> SourceDone {
        let done = match (step, &mut self.open) {
            (SourceStep::Open(spec), _) => self.open(&spec),
            (SourceStep::Close, _) => {
                (self.open, self.tree) = (None, None);
                Ok(SourceDone::Chunks(Vec::new()))
            }
            (SourceStep::Select { need, look }, _) => self.select(&need, &look),
            (SourceStep::Pack { whole }, _) => self.pack(whole),
            (SourceStep::Digest(kind), Some(open)) => open.digest(kind),
            (SourceStep::Rewind(offset, kind), Some(open)) => open.rewind(offset, kind),
            (SourceStep::Agree { pieces, kind }, Some(open)) => open.agree(&pieces, kind),
            (SourceStep::Read { count, chunk_bytes, frame }, Some(open)) => open.read(count, chunk_bytes, &frame),
            (SourceStep::Finish, Some(open)) => open.finish(),
            (_, None) => Err(failure("remote copy failed", "the source is closed")),
        };
        done.unwrap_or_else(|failure| {
            (self.open, self.tree) = (None, None);
            SourceDone::Failed(failure)
        })
    }

    fn open(&mut self, spec: &SourceSpec) -> Result<SourceDone, CopyFailure> {
        let path = &spec.source;
        self.tree = None;
        if let Some(options) = spec.difference
            && fs::metadata(path).is_ok_and(|metadata| metadata.is_dir())
        {
            return self.list(spec, options);
        }
        let opened = open_source(spec)?;
        self.begin(spec, opened)
    }

    fn begin(&mut self, spec: &SourceSpec, Opened { file, kind, notes }: Opened) -> Result<SourceDone, CopyFailure> {
        let path = &spec.source;
        let metadata = file.metadata().map_err(|error| open_failed(path, &error))?;
        if !metadata.is_file() {
            // It has replaced the file that was checked.
            return Err(failure("unknown source", format!("{}: neither a file nor a directory", path.display())));
        }
        let stamp = Stamp::of(&metadata);
        let open = Open {
            path: path.clone(),
            file,
            kind,
            size: stamp.size,
            is_fresh: stamp.is_fresh(),
            stamp,
            digest: Digest::new(DigestKind::Md5),
            may_grow: spec.below.is_some(),
            read: 0,
            buffer: Vec::new(),
        };
        self.open = Some(open);
        Ok(SourceDone::Opened { kind, total: stamp.size, notes, digest: DigestKind::pieces_for(stamp.size) })
    }
}

/// An open source.
pub struct Opened {
    /// The file, or the packed directory, at its beginning.
    pub file: File,
    pub kind: CopyKind,
    /// Notes for the log about what was left out of an archive.
    pub notes: Vec<String>,
}

/// Opens the source; a directory is packed first, which may take long.
///
/// # Errors
/// The error for the last row of the copy.
pub fn open_source(spec: &SourceSpec) -> Result<Opened, CopyFailure> {
    let path = &spec.source;
    let unknown = |error: io::Error| failure("unknown source", about(path, &error));
    let opened = spec.below.as_ref().map(|below| below::open(path, &below.roots)).transpose()?;
    let metadata = opened.as_ref().map_or_else(|| fs::metadata(path), File::metadata).map_err(unknown)?;
    if metadata.is_file() {
        let file = opened.map_or_else(|| open_file(path), Ok)?;
        return Ok(Opened { file, kind: CopyKind::Regular, notes: Vec::new() });
    }
    if metadata.is_dir() {
        let (file, notes) = pack::pack(spec, opened, What::All)?;
        return Ok(Opened { file, kind: CopyKind::Archive, notes });
    }
    Err(failure("unknown source", format!("{}: neither a file nor a directory", path.display())))
}

/// Opens without blocking, so that a FIFO in place of the file does not hold up a worker.
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

    fn digest(&mut self, kind: DigestKind) -> Result<SourceDone, CopyFailure> {
        let mut digest = Digest::new(kind);
        let read = self
            .file
            .rewind()
            .and_then(|()| digest.read(&mut self.file, self.size))
            .and_then(|count| self.file.seek(SeekFrom::Start(self.read)).map(|_| count))
            .map_err(|error| self.read_failed(&error))?;
        if read < self.size { Err(self.changed()) } else { Ok(SourceDone::Digest(digest.hex())) }
    }

    fn rewind(&mut self, offset: u64, kind: DigestKind) -> Result<SourceDone, CopyFailure> {
        let mut digest = Digest::new(kind);
        let read = self
            .file
            .rewind()
            .and_then(|()| digest.read(&mut self.file, offset))
            .map_err(|error| self.read_failed(&error))?;
        self.read = read;
        self.digest = digest;
        Ok(SourceDone::Digest(self.digest.hex()))
    }

    /// The reading position is lost: the next step sets it.
    fn agree(&mut self, pieces: &str, kind: DigestKind) -> Result<SourceDone, CopyFailure> {
        let DigestKind::Pieces(log2) = kind else { return Ok(SourceDone::Agreed(0)) };
        let agreed = self.file.rewind().and_then(|()| digest::agreed(&mut self.file, log2, pieces));
        agreed.map(SourceDone::Agreed).map_err(|error| self.read_failed(&error))
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
        // Nobody else can change a packed file, because it has no name.
        if self.kind != CopyKind::Regular {
            return Ok(SourceDone::Digest(self.digest.hex()));
        }
        let now = Stamp::of(&metadata);
        if now.size < self.size || now.size > self.size && !self.may_grow {
            return Err(self.changed());
        }
        if now != self.stamp || self.is_fresh {
            // Only its owner may have changed, or its end, or the times are too coarse to tell.
            let SourceDone::Digest(digits) = self.digest(self.digest.kind())? else { return Err(self.changed()) };
            if digits != self.digest.hex() {
                return Err(self.changed());
            }
            if now.size > self.size {
                return Ok(SourceDone::Grew(digits));
            }
        }
        if self.may_grow { self.finish_whole() } else { Ok(SourceDone::Digest(self.digest.hex())) }
    }

    /// Refuses a file whose size the system does not tell, such as those of `/proc`.
    fn finish_whole(&mut self) -> Result<SourceDone, CopyFailure> {
        let more = self.file.read(&mut [0]).map_err(|error| self.read_failed(&error))?;
        if more > 0 {
            let text =
                format!("{} is longer than the system says, as in /proc: it cannot be copied", self.path.display());
            return Err(failure("remote copy failed", text));
        }
        Ok(SourceDone::Digest(self.digest.hex()))
    }
}

fn chunk(bytes: &[u8], offset: u64, total: u64, frame: &ChunkFrame) -> Chunk {
    let numbers = format!("\",\"size\":{},\"offset\":{offset},\"total\":{total}", bytes.len());
    let len = frame.before.len() + base64_text::encoded_len(bytes.len()) + numbers.len() + frame.after.len();
    let mut data = String::with_capacity(len);
    data.push_str(&frame.before);
    base64_text::push(bytes, &mut data);
    data.push_str(&numbers);
    data.push_str(&frame.after);
    Chunk { data, offset, len_bytes: bytes.len() as u64 }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::edge::temp_dir::TempDir;
    use crate::model::copy::{Attributes, Reading};

    fn spec(source: PathBuf, cache_dir: &TempDir) -> SourceStep {
        let attributes = Attributes::default();
        let cache_dir = Some(cache_dir.path().to_owned());
        SourceStep::Open(SourceSpec {
            source,
            cache_dir,
            archive_name: "tmp-2.tar.gz".to_owned(),
            attributes,
            difference: None,
            below: None,
        })
    }

    fn read(count: usize) -> SourceStep {
        let frame = ChunkFrame { before: Arc::from("{\"data\":\""), after: Arc::from("}") };
        SourceStep::Read { count, chunk_bytes: 4, frame }
    }

    fn failure_of(done: SourceDone) -> String {
        match done {
            SourceDone::Failed(failure) => failure.message + " | " + &failure.detail,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_file_comes_in_chunks_with_their_places_and_its_digest_in_the_end() {
        let folder = TempDir::new();
        fs::write(folder.join("file"), "ninebytes").unwrap();
        let mut source = Source::default();
        let opened = source.run(spec(folder.join("file"), &folder));
        let (kind, notes, digest) = (CopyKind::Regular, Vec::new(), DigestKind::pieces_for(9));
        assert_eq!(opened, SourceDone::Opened { kind, total: 9, notes, digest });
        let SourceDone::Chunks(chunks) = source.run(read(8)) else { panic!() };
        let expected = [
            r#"{"data":"bmluZQ==","size":4,"offset":0,"total":9}"#,
            r#"{"data":"Ynl0ZQ==","size":4,"offset":4,"total":9}"#,
            r#"{"data":"cw==","size":1,"offset":8,"total":9}"#,
        ];
        assert_eq!(chunks.iter().map(|chunk| chunk.data.as_str()).collect::<Vec<_>>(), expected);
        let SourceDone::Digest(whole) = source.run(SourceStep::Digest(DigestKind::Md5)) else { panic!() };
        assert_eq!(source.run(SourceStep::Finish), SourceDone::Digest(whole.clone()));
        assert_eq!(whole.len(), 32);
        assert_ne!(source.run(SourceStep::Rewind(4, DigestKind::Md5)), SourceDone::Digest(whole.clone()));
        let SourceDone::Chunks(chunks) = source.run(read(1)) else { panic!() };
        assert_eq!(chunks[0].offset, 4);
        let _rest = source.run(read(8));
        assert_eq!(source.run(SourceStep::Finish), SourceDone::Digest(whole));
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_named() {
        let folder = TempDir::new();
        let file = folder.join("file");
        let named = format!("remote copy failed | {} changed while it was read", file.display());
        for new in ["shorter", "just as long", "quite a lot longer than before"] {
            fs::write(&file, "twelve bytes").unwrap();
            let mut source = Source::default();
            let _opened = source.run(spec(file.clone(), &folder));
            let _first = source.run(read(1));
            fs::write(&file, new).unwrap();
            // The clock of file systems is coarse, so the time is set explicitly.
            let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
            File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
            let rest = source.run(read(8));
            let done = if matches!(rest, SourceDone::Failed(_)) { rest } else { source.run(SourceStep::Finish) };
            assert_eq!(failure_of(done), named, "{new}");
            assert!(!source.is_open());
        }
    }

    #[test]
    fn a_file_that_changes_within_one_tick_of_its_clock_is_noticed_and_one_that_is_only_touched_is_not() {
        let folder = TempDir::new();
        let file = folder.join("file");
        for (new, is_same) in [("twelve bytes", true), ("other  bytes", false)] {
            fs::write(&file, "twelve bytes").unwrap();
            let mut source = Source::default();
            let _opened = source.run(spec(file.clone(), &folder));
            let _chunks = source.run(read(8));
            let modified = fs::metadata(&file).unwrap().modified().unwrap();
            fs::write(&file, new).unwrap();
            File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
            let done = source.run(SourceStep::Finish);
            assert_eq!(matches!(done, SourceDone::Digest(_)), is_same, "{done:?}");
        }
    }

    #[test]
    fn a_log_that_grows_while_another_daemon_reads_it_is_what_it_was_and_says_so() {
        let folder = TempDir::new();
        let file = folder.join("log");
        let roots: Arc<[PathBuf]> = Arc::from([folder.path().to_owned()]);
        let opened = |path: &Path| {
            let SourceStep::Open(mut spec) = spec(path.to_owned(), &folder) else { panic!() };
            spec.below = Some(Reading { roots: roots.clone(), pack_roots: Arc::from([]) });
            let mut source = Source::default();
            (source.run(SourceStep::Open(spec)), source)
        };
        for (new, says) in [("twelve bytes and more", "Grew"), ("other bytes and more", "Failed"), ("less", "Failed")] {
            fs::write(&file, "twelve bytes").unwrap();
            let (_, mut source) = opened(&file);
            let _chunks = source.run(read(8));
            fs::write(&file, new).unwrap();
            let done = source.run(SourceStep::Finish);
            assert!(format!("{done:?}").starts_with(says), "{new}: {done:?}");
        }
        fs::write(&file, "").unwrap();
        let (_, mut source) = opened(&file);
        let _chunk = source.run(read(1));
        assert!(matches!(source.run(SourceStep::Finish), SourceDone::Digest(_)), "an empty file is a file");
        let roots: Arc<[PathBuf]> = Arc::from([PathBuf::from("/proc")]);
        let SourceStep::Open(mut spec) = spec(PathBuf::from("/proc/version"), &folder) else { panic!() };
        spec.below = Some(Reading { roots, pack_roots: Arc::from([]) });
        let mut source = Source::default();
        let _opened = source.run(SourceStep::Open(spec));
        let _chunk = source.run(read(1));
        assert!(failure_of(source.run(SourceStep::Finish)).contains("longer than the system says"));
    }

    #[test]
    fn a_packed_directory_is_the_same_each_time_and_leaves_no_file_behind() {
        let folder = TempDir::new();
        let directory = folder.join("directory");
        fs::create_dir_all(directory.join("b/c")).unwrap();
        for name in ["z", "b/a", "b/c/d"] {
            fs::write(directory.join(name), name).unwrap();
        }
        let digests = [1, 2].map(|_| {
            let mut source = Source::default();
            let SourceDone::Opened { kind: CopyKind::Archive, total, .. } =
                source.run(spec(directory.clone(), &folder))
            else {
                panic!()
            };
            assert!(total > 0);
            source.run(SourceStep::Digest(DigestKind::Md5))
        });
        assert_eq!(digests[0], digests[1], "so that a copy of it may go on where it broke off");
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["directory"]);
    }

    #[test]
    fn an_empty_file_has_one_chunk_so_that_a_perl_node_makes_a_file_of_it() {
        let folder = TempDir::new();
        fs::write(folder.join("empty"), "").unwrap();
        let mut source = Source::default();
        let _opened = source.run(spec(folder.join("empty"), &folder));
        let SourceDone::Chunks(chunks) = source.run(read(4)) else { panic!() };
        assert_eq!(chunks.len(), 1);
        assert_eq!(chunks[0].data, r#"{"data":"","size":0,"offset":0,"total":0}"#);
    }
}

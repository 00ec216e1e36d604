//! The receiver's end of a copy: gathers chunks in `cache_dir/copy_<token>`, compares digests, and puts the file in
//! place.

mod listed;

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use md5::{Digest as _, Md5};

use super::digest::{self, Digest};
use super::left_over::{self, Note};
use super::marks::{self, Mark};
use super::place::{self, Gathered};
use super::room::max_unpacked_bytes;
use super::text::{about, failure, hex, words};
use super::tree::arriving::Arriving;
use super::{attributes, unpack};
use crate::edge::{clock, private_tmp, system};
use crate::model::base64_text;
use crate::model::copy::{Attributes, CopyFailure, CopyKind, DigestKind, SinkDone, SinkSpec, SinkStep};
use listed::no_list;

/// The gathered file; nothing before the first step.
#[derive(Default)]
pub struct Sink {
    open: Option<Open>,
    /// Identity of the copy, if the sender may ask for it again.
    identity: Option<String>,
    /// The digest that both ends use, as far as they have agreed on it.
    kind: DigestKind,
    /// The list of what is in the sender's directory.
    tree: Option<Arriving>,
}

struct Open {
    path: PathBuf,
    /// The mark by which it is found again; `None` for a file without a name, which leaves nothing behind.
    mark: Option<Mark>,
    /// Whether a file of its name was there before.
    is_found: bool,
    file: File,
    digest: Digest,
    received: u64,
    /// Offset up to which the disk was told to write.
    written: u64,
}

/// Maximum length of a token in a file name, which may have 255 bytes.
const TOKEN_IN_NAME_MAX: usize = 200;
/// Number of bytes after which the disk is told to write, so that the final flush is short.
const WRITE_BEHIND_BYTES: u64 = 8 << 20;

impl Sink {
    /// Whether it has a file or knows what will come.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open.is_some() || self.identity.is_some() || self.tree.is_some()
    }

    /// The gathered file of a relayed copy, at its beginning.
    #[must_use]
    pub fn file(&self) -> Option<File> {
        let mut file = self.open.as_ref()?.file.try_clone().ok()?;
        file.rewind().ok()?;
        Some(file)
    }

    /// Does steps one after the other. Those behind a failure are not done, which would begin the copy anew.
    pub fn run_all(&mut self, steps: Vec<SinkStep>) -> Vec<SinkDone> {
        let mut done: Vec<SinkDone> = Vec::with_capacity(steps.len());
        for step in steps {
            done.push(match done.last() {
                Some(failed @ SinkDone::Failed(_)) => failed.clone(),
                _ => self.run(step),
            });
        }
        done
    }

    /// Does one step. A failure leaves nothing of the copy.
    pub fn run(&mut self, step: SinkStep) -> SinkDone {
        let done = match step {
            SinkStep::Query { spec, total, md5, attributes, keep, identity, digest } => {
                self.identity = identity;
                self.kind = digest::taken(digest);
                self.query(&spec, total, md5.as_deref(), &attributes, keep)
            }
            SinkStep::Chunk { spec, json, base64, offset, .. } if spec.kind == CopyKind::Manifest => {
                self.tree_chunk(&spec, json.get(base64).unwrap_or_default(), offset)
            }
            SinkStep::Compare { spec, digest, from } => {
                let arrived = self.tree.as_mut().ok_or_else(no_list);
                arrived.and_then(|tree| tree.compare(&spec, &digest, from)).map(SinkDone::Compared)
            }
            SinkStep::End { spec, .. } if spec.kind == CopyKind::Manifest => self.settle(&spec).map(SinkDone::Finished),
            SinkStep::Chunk { spec, json, base64, size, offset } => {
                self.chunk(&spec, json.get(base64).unwrap_or_default(), size, offset)
            }
            SinkStep::End { spec, md5, attributes, note, by_difference } => {
                let done = self.end(&spec, &md5, &attributes, note);
                match done {
                    Ok(SinkDone::Finished(mut notes)) if by_difference => self.settle(&spec).map(|more| {
                        notes.extend(more);
                        SinkDone::Finished(notes)
                    }),
                    done => done,
                }
            }
            SinkStep::Keep => {
                if let Some(open) = self.open.take() {
                    marks::release(&open.file);
                }
                Ok(SinkDone::Discarded)
            }
            SinkStep::Discard => {
                if let Some(open) = self.open.take() {
                    open.remove();
                }
                Ok(SinkDone::Discarded)
            }
        };
        let done = done.unwrap_or_else(|failure| {
            self.tree = None;
            if let Some(open) = self.open.take() {
                open.remove();
            }
            SinkDone::Failed(failure)
        });
        let goes_on = matches!(
            done,
            SinkDone::Found { .. } | SinkDone::Written(_) | SinkDone::Repeated(_) | SinkDone::Compared(_)
        );
        if !goes_on {
            self.identity = None;
        }
        done
    }

    fn query(
        &mut self,
        spec: &SinkSpec,
        total: u64,
        md5: Option<&str>,
        attributes: &Attributes,
        keep: Option<u64>,
    ) -> Result<SinkDone, CopyFailure> {
        let path = path_of(spec)?;
        let restart = keep == Some(0);
        if !restart && !spec.is_passed_on {
            self.find(&path).map_err(|error| open_failed(&path, &error))?;
        }
        if restart || self.open.as_ref().is_some_and(|open| open.received > total) {
            match self.open.take() {
                Some(open) => open.remove(),
                None => forget(&path),
            }
        }
        let destination = (spec.kind == CopyKind::Regular)
            .then(|| place::open_destination(&spec.destination, &spec.roots).ok())
            .flatten()
            .filter(|file| file.metadata().is_ok_and(|metadata| metadata.size() == total));
        if let (Some(mut file), Some(md5)) = (destination.as_ref(), md5) {
            let mut digest = Digest::new(DigestKind::of(md5));
            let read = digest.read(&mut file, total);
            if read.is_ok_and(|read| read == total) && digest.hex() == md5 {
                if let Some(open) = self.open.take() {
                    open.remove();
                }
                let shown = spec.destination.display().to_string();
                return Ok(SinkDone::Unchanged(attributes::apply(file, attributes, &shown)));
            }
        }
        let same_size = destination.is_some();
        let Some(open) = &mut self.open else {
            let md5 = Digest::new(self.kind).hex();
            return Ok(SinkDone::Found { received: 0, md5, pieces: String::new(), same_size });
        };
        let kept = keep.filter(|keep| *keep < open.received).map_or(Ok(()), |keep| open.cut(keep));
        kept.and_then(|()| open.digest_by(self.kind)).map_err(|error| open_failed(&path, &error))?;
        let (received, md5, pieces) = (open.received, open.digest.hex(), open.digest.pieces());
        Ok(SinkDone::Found { received, md5, pieces, same_size })
    }

    /// Finds what was gathered before by this copy or by an earlier request for the same, which keeps its name.
    fn find(&mut self, path: &Path) -> io::Result<()> {
        if self.open.is_some() {
            return Ok(());
        }
        sweep_beside(path);
        let identity = self.identity_of(path);
        let before = Mark::beside(path, &identity).file().filter(|before| before != path);
        self.open = before.and_then(|before| Open::existing(&before, &identity, self.kind).ok().flatten());
        if self.open.is_none() {
            self.open = Open::existing(path, &identity, self.kind)?;
        }
        Ok(())
    }

    /// The identity of the copy that is gathered in `path`.
    fn identity_of(&self, path: &Path) -> String {
        self.identity.clone().unwrap_or_else(|| path.to_string_lossy().into_owned())
    }

    fn chunk(
        &mut self,
        spec: &SinkSpec,
        base64: &str,
        size: usize,
        offset: Option<u64>,
    ) -> Result<SinkDone, CopyFailure> {
        let path = path_of(spec)?;
        let identity = if self.open.is_none() { self.identity_of(&path) } else { String::new() };
        let open = match &mut self.open {
            Some(open) => open,
            None if spec.is_passed_on => self.open.insert(Open::nameless(&path, self.kind)?),
            None => {
                if offset.is_none() {
                    // The first request for this copy.
                    sweep_beside(&path);
                }
                // Only our own daemons send the offset of a chunk. Chunks of others continue after our restart.
                let open = if offset.is_none() { Open::existing(&path, &identity, self.kind) } else { Ok(None) };
                let open = open.and_then(|open| open.map_or_else(|| Open::new(&path, &identity, self.kind), Ok));
                self.open.insert(open.map_err(|error| open_failed(&path, &error))?)
            }
        };
        let mut bytes = decode(base64).ok_or_else(|| failure("process copy failed", "a chunk is not valid base64"))?;
        bytes.truncate(size);
        let end = offset.map(|offset| (offset, offset.saturating_add(bytes.len() as u64)));
        match end {
            Some((offset, _)) if offset == open.received => {}
            None => {}
            Some((_, end)) if end <= open.received => return Ok(SinkDone::Repeated(open.received)),
            Some((offset, _)) => {
                let text = format!("a chunk for byte {offset} came where byte {} was expected", open.received);
                return Err(failure("process copy failed", text));
            }
        }
        open.file
            .write_all(&bytes)
            .map_err(|error| failure(format!("file '{}' write failed: {}", open.path.display(), words(&error)), ""))?;
        open.digest.update(&bytes);
        open.received += bytes.len() as u64;
        if open.received - open.written >= WRITE_BEHIND_BYTES {
            system::begin_writing(&open.file, open.written, open.received - open.written);
            open.written = open.received;
        }
        Ok(SinkDone::Written(open.received))
    }

    fn end(
        &mut self,
        spec: &SinkSpec,
        md5: &str,
        attributes: &Attributes,
        note: Option<String>,
    ) -> Result<SinkDone, CopyFailure> {
        let path = path_of(spec)?;
        let identity = if self.open.is_none() { self.identity_of(&path) } else { String::new() };
        let open = match &mut self.open {
            Some(open) => open,
            None if spec.is_passed_on => self.open.insert(Open::nameless(&path, self.kind)?),
            // An empty file of a Perl sender, or the end of a copy after our restart.
            None => {
                let open = Open::existing(&path, &identity, self.kind);
                let open = open.and_then(|open| open.map_or_else(|| Open::new(&path, &identity, self.kind), Ok));
                self.open.insert(open.map_err(|error| open_failed(&path, &error))?)
            }
        };
        open.digest_by(DigestKind::of(md5)).map_err(|error| open_failed(&path, &error))?;
        let found = open.digest.hex();
        if !md5.eq_ignore_ascii_case(&found) {
            let shown = spec.destination.display();
            return Err(failure("md5 does not match", format!("{shown}: {found} came, {md5} was sent")));
        }
        if spec.is_passed_on {
            open.file.rewind().map_err(|error| failure("remote copy failed", about(&open.path, &error)))?;
            return Ok(SinkDone::Gathered);
        }
        let digest = left_over::name_digest(&open.path);
        let mut notes = match spec.kind {
            CopyKind::Archive | CopyKind::Manifest => {
                open.file.rewind().map_err(|error| failure("untar failed", about(&open.path, &error)))?;
                let inside = place::open_directory(&spec.destination, &spec.roots);
                let archive_bytes = open.file.metadata().map_or(0, |metadata| metadata.len());
                let max_bytes = max_unpacked_bytes(archive_bytes, spec.max_ratio);
                let note = Note::beside(&open.path);
                let notes = inside.and_then(|inside| {
                    note.set(inside.path());
                    unpack::unpack_into(&mut open.file, &inside, &digest, max_bytes)
                });
                note.unset();
                notes
                    .map_err(|text| failure(format!("untar failed: {text}"), spec.destination.display().to_string()))?
            }
            CopyKind::Regular => {
                let gathered = Gathered { file: &mut open.file, path: &open.path, mark: &digest };
                let placed = place::place(gathered, &spec.destination, attributes, &spec.roots);
                let shown = spec.destination.display();
                placed.map_err(|text| failure(format!("Can't copy file to {shown}, {text}"), ""))?
            }
        };
        if let Some(open) = self.open.take() {
            // A moved file no longer has that name.
            open.remove();
        }
        notes.extend(note);
        notes.extend(private_tmp::hiding(&spec.destination).map(|directory| {
            let shown = spec.destination.display();
            format!("{shown} is there, but {directory} is this service's own (PrivateTmp): nobody else sees it")
        }));
        Ok(SinkDone::Finished(notes))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // The next request gets what is there.
        if let Some(open) = &self.open {
            marks::release(&open.file);
        }
    }
}

impl Open {
    /// A new empty file that replaces any other.
    fn new(path: &Path, identity: &str, kind: DigestKind) -> io::Result<Self> {
        let was_there = match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            removed => removed.is_ok(),
        };
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        let _locked = marks::is_free(&file);
        let mark = Mark::beside(path, identity);
        mark.set(path);
        Ok(Self {
            path: path.to_owned(),
            mark: Some(mark),
            is_found: was_there,
            file,
            digest: Digest::new(kind),
            received: 0,
            written: 0,
        })
    }

    /// A file without a name in the directory of `path`, or if that does not exist here, in the directory for large
    /// temporary files.
    fn nameless(path: &Path, kind: DigestKind) -> Result<Self, CopyFailure> {
        let name = path.file_name().unwrap_or_default();
        let elsewhere = [PathBuf::from("/var/tmp"), std::env::temp_dir()].map(|directory| directory.join(name));
        let mut problem = None;
        for path in [path.to_owned()].into_iter().chain(elsewhere) {
            let opened = Self::new(&path, "", kind).and_then(|open| fs::remove_file(&path).map(|()| open));
            match opened {
                Ok(mut open) => {
                    if let Some(mark) = open.mark.take() {
                        mark.unset(&path);
                    }
                    return Ok(open);
                }
                Err(error) => problem = problem.or(Some(open_failed(&path, &error))),
            }
        }
        Err(problem.unwrap_or_else(|| failure("remote copy failed", "")))
    }

    /// The file that we left there; `None` if there is none that only we can have made.
    fn existing(path: &Path, identity: &str, kind: DigestKind) -> io::Result<Option<Self>> {
        let Some(mut file) = marks::open_ours(path)? else { return Ok(None) };
        let mut digest = Digest::new(kind);
        let received = digest.read(&mut file, u64::MAX)?;
        let mark = Mark::beside(path, identity);
        mark.set(path);
        Ok(Some(Self {
            path: path.to_owned(),
            mark: Some(mark),
            is_found: true,
            file,
            digest,
            received,
            written: received,
        }))
    }

    /// Keeps the beginning alone: what is behind it is not what was sent.
    fn cut(&mut self, len_bytes: u64) -> io::Result<()> {
        self.file.set_len(len_bytes)?;
        self.file.seek(io::SeekFrom::Start(len_bytes))?;
        (self.received, self.written) = (len_bytes, self.written.min(len_bytes));
        let kind = self.digest.kind();
        self.digest_anew(kind)
    }

    /// Computes the digest again if it is of another kind, because a sender may have begun without asking.
    fn digest_by(&mut self, kind: DigestKind) -> io::Result<()> {
        if self.digest.kind() == kind { Ok(()) } else { self.digest_anew(kind) }
    }

    fn digest_anew(&mut self, kind: DigestKind) -> io::Result<()> {
        self.digest = Digest::new(kind);
        self.file.rewind()?;
        self.digest.read(&mut self.file, self.received)?;
        Ok(())
    }

    fn remove(mut self) {
        if let Some(mark) = self.mark.take() {
            left_over::clear(&self.path, &mut self.file);
            // It may have been removed.
            let _gone = fs::remove_file(&self.path);
            mark.unset(&self.path);
            if self.is_found {
                // A mark of a question before our restart may also lead there.
                sweep_beside(&self.path);
            }
        }
    }
}

/// Removes a gathered file of this name, if there is one.
fn forget(path: &Path) {
    if let Ok(Some(mut file)) = marks::open_ours(path) {
        left_over::clear(path, &mut file);
    }
    if fs::remove_file(path).is_ok() {
        sweep_beside(path);
    }
}

/// Removes marks without a file, and old leftovers.
fn sweep_beside(path: &Path) {
    marks::sweep(path.parent().unwrap_or(Path::new(".")), clock::of_files());
}

fn open_failed(path: &Path, error: &io::Error) -> CopyFailure {
    failure(format!("file '{}' open failed: {}", path.display(), words(error)), "")
}

/// The path in which chunks are gathered. If `cache_dir` is not within the allowed roots, the directory of the
/// destination is used.
fn path_of(spec: &SinkSpec) -> Result<PathBuf, CopyFailure> {
    if spec.is_passed_on {
        let name = format!("copy_local_{}", spec.token);
        return Ok(place::scratch(spec.cache_dir.as_deref(), &spec.roots).join(name));
    }
    let token = spec.token.as_str();
    let name = if token.len() <= TOKEN_IN_NAME_MAX {
        format!("copy_{token}")
    } else {
        format!("copy_{}", hex(&Md5::new_with_prefix(token)))
    };
    let Some(cache_dir) = &spec.cache_dir else {
        return Err(failure(format!("file '/{name}' open failed: no cache_dir was given"), ""));
    };
    if spec.roots.is_empty() || place::root_of(cache_dir, &spec.roots).is_some() {
        return Ok(cache_dir.join(name));
    }
    match place::root_of(&spec.destination, &spec.roots) {
        Some(root) => Ok(root.join(name)),
        None => {
            let shown = spec.destination.display();
            Err(failure(format!("Can't copy file to {shown}, it is outside copy_roots"), ""))
        }
    }
}

/// Decodes a chunk from a JSON string with its quotation marks. A Perl peer inserts line breaks.
#[must_use]
pub fn decode(json: &str) -> Option<Vec<u8>> {
    let text = json.strip_prefix('"')?.strip_suffix('"')?;
    if !text.contains('\\') {
        return base64_text::decode(text.as_bytes());
    }
    let text: String = serde_json::from_str(json).ok()?;
    let text: String = text.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
    base64_text::decode(text.as_bytes())
}

#[cfg(test)]
mod tests;

//! The sender's side: which entries of its manifest the receiver needs, and the packing of these.

use std::fs::File;
use std::io::{self, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::format::{Entry, Kind, Reader, Record};
use super::{Brief, brief};
use crate::edge::copy::walk::{self, Problem, open_entry, open_same};
use crate::model::random::from_hex;

/// The selected entries.
pub(in crate::edge::copy) struct Selection {
    /// A bit for each entry.
    bits: Vec<u64>,
    count: u64,
    selected: u64,
    reader: Reader,
    /// The directory whose entries the reader is at.
    directory: PathBuf,
}

/// Returns the number of an entry and the digest of the receiver's file.
fn look_of(word: &str) -> Option<(u64, Brief)> {
    let (number, digest) = word.split_once(':')?;
    Some((number.parse().ok()?, from_hex(digest)?.try_into().ok()?))
}

fn range_of(word: &str) -> Option<(u64, u64)> {
    let (first, last) = word.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

impl Selection {
    /// Selects nothing of a manifest with `count` entries.
    pub(in crate::edge::copy) fn new(mut manifest: File, count: u64) -> io::Result<Self> {
        manifest.rewind()?;
        let bits = vec![0; usize::try_from(count.div_ceil(64)).unwrap_or(0)];
        Ok(Self { bits, count, selected: 0, reader: Reader::new(manifest)?, directory: PathBuf::new() })
    }

    /// Number of selected entries.
    pub(in crate::edge::copy) const fn selected(&self) -> u64 {
        self.selected
    }

    fn set(&mut self, number: u64) {
        let at = usize::try_from(number / 64).unwrap_or(usize::MAX);
        if let Some(bits) = self.bits.get_mut(at).filter(|_| number < self.count) {
            let bit = 1_u64 << (number % 64);
            self.selected += u64::from(*bits & bit == 0);
            *bits |= bit;
        }
    }

    fn has(&self, number: u64) -> bool {
        let at = usize::try_from(number / 64).unwrap_or(usize::MAX);
        self.bits.get(at).is_some_and(|bits| bits & (1 << (number % 64)) != 0)
    }

    /// Takes a part of the receiver's answer: ranges of entries, and digests of those where only the time differs,
    /// which are compared with what `root` has.
    pub(in crate::edge::copy) fn take(
        &mut self,
        (root, directory): (&Path, &File),
        need: &str,
        looks: &str,
    ) -> Result<(), Problem> {
        for (first, last) in need.split(',').filter_map(range_of) {
            (first..=last.min(self.count.saturating_sub(1))).for_each(|number| self.set(number));
        }
        let mut place = None;
        for (number, theirs) in looks.split(',').filter_map(look_of) {
            let Some(entry) = self.go_to(number, &mut place).map_err(Problem::Archive)? else { break };
            let relative = self.directory.join(&entry.name);
            if place.is_none() {
                place = Some(walk::enter(root, directory, &self.directory)?);
            }
            let Some(place) = &place else { break };
            let full = root.join(&relative);
            let (_, metadata) = open_entry(place, &entry.name, &full)?;
            let mut file = open_same(place, &entry.name, &metadata, &full)?;
            let (ours, _) = brief(&mut file).map_err(|error| Problem::Source(full.clone(), error))?;
            if ours != theirs {
                self.set(number);
            }
        }
        Ok(())
    }

    /// Reads on to an entry; `None` if it is behind the end, or before what was read already.
    fn go_to(&mut self, number: u64, place: &mut Option<File>) -> io::Result<Option<Entry>> {
        loop {
            let at = self.reader.count();
            match self.reader.next()? {
                None => return Ok(None),
                Some(Record::Directory(path)) => {
                    self.directory = path;
                    *place = None;
                }
                Some(Record::Entry(entry)) if at == number => return Ok(Some(entry)),
                Some(Record::Entry(_)) if at > number => return Ok(None),
                Some(Record::Entry(_)) => {}
            }
        }
    }

    /// Calls `take` for each selected entry of a manifest, with its directory.
    pub(in crate::edge::copy) fn each(
        &self,
        mut manifest: File,
        mut take: impl FnMut(&Path, &Entry) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        manifest.rewind().map_err(Problem::Archive)?;
        let mut reader = Reader::new(manifest).map_err(Problem::Archive)?;
        let mut directory = PathBuf::new();
        loop {
            let number = reader.count();
            match reader.next().map_err(Problem::Archive)? {
                None => return Ok(()),
                Some(Record::Directory(path)) => directory = path,
                Some(Record::Entry(entry)) if self.has(number) => take(&directory, &entry)?,
                Some(Record::Entry(_)) => {}
            }
        }
    }
}

/// Returns whether an entry of the source is still what the manifest says.
pub(in crate::edge::copy) fn is_unchanged(entry: &Entry, metadata: &std::fs::Metadata) -> bool {
    let kind = metadata.file_type();
    match &entry.kind {
        Kind::File { size, .. } => {
            let modified = (metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or(0));
            kind.is_file() && metadata.size() == *size && modified == entry.modified
        }
        Kind::Directory => kind.is_dir(),
        Kind::Symlink(_) => kind.is_symlink(),
    }
}

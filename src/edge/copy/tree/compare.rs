//! The receiver's side: which entries of a manifest differ from what is at the destination.
//!
//! Equal size and time mean an equal file. Where the time alone differs, the digest of what is here is told, and the
//! sender decides.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

use super::format::{Entry, Kind, Reader, Record};
use super::{Brief, brief};
use crate::edge::copy::inside::{Inside, Missing};
use crate::model::random::to_hex;

/// Maximum number of ranges, of digests, and of bytes that are read for digests, for one answer.
const RANGES_MAX: usize = 4_096;
const DIGESTS_MAX: usize = 1_024;
const DIGEST_BYTES_MAX: u64 = 128 << 20;
/// Maximum number of entries that are looked at for one answer.
const LOOKS_MAX: u64 = 100_000;

/// A comparison, which goes on where the last answer ended.
pub(in crate::edge::copy) struct Comparing {
    reader: Reader,
    /// The destination; `None` if it is not there.
    inside: Option<Inside>,
    /// The directory whose entries are compared; `None` if it is not there.
    place: Option<OwnedFd>,
}

/// What an entry needs.
enum Need {
    Nothing,
    Content,
    /// The sender compares this digest.
    Look(Brief),
}

/// Returns the status of a name, without following a symlink.
pub(super) fn look(place: &impl AsFd, name: &OsStr) -> Option<Stat> {
    rustix::fs::statat(place, name, AtFlags::SYMLINK_NOFOLLOW).ok()
}

/// Opens a directory below the destination as its components are written, or through symlinks that stay inside.
pub(super) fn enter(inside: &Inside, path: &std::path::Path) -> Option<OwnedFd> {
    let components = inside.components(path).ok()?;
    let way = inside.walk(&components, Missing::Refuse).ok()?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(way.directory(), ".", flags, Mode::empty()).ok()
}

/// When a file was modified, as in an entry.
pub(super) fn modified(stat: &Stat) -> (i64, u32) {
    (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0))
}

impl Comparing {
    pub(in crate::edge::copy) fn new(manifest: File, inside: Option<Inside>) -> io::Result<Self> {
        Ok(Self { reader: Reader::new(manifest)?, inside, place: None })
    }

    /// Number of entries that have been compared.
    pub(in crate::edge::copy) const fn count(&self) -> u64 {
        self.reader.count()
    }

    /// Returns the next part of the answer, as members of a JSON object: `need`, ranges of numbers of entries; `look`,
    /// numbers with digests; `next`, the number to ask for, if there is more.
    pub(in crate::edge::copy) fn page(&mut self) -> io::Result<String> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        let mut looks = String::new();
        let (mut digests, mut digest_bytes) = (0, 0);
        let begin = self.reader.count();
        let is_more = loop {
            let is_full = ranges.len() >= RANGES_MAX || digests >= DIGESTS_MAX || digest_bytes >= DIGEST_BYTES_MAX;
            if is_full || self.reader.count() - begin >= LOOKS_MAX {
                break true;
            }
            let number = self.reader.count();
            let entry = match self.reader.next()? {
                None => break false,
                Some(Record::Directory(path)) => {
                    self.place = self.inside.as_ref().and_then(|inside| enter(inside, &path));
                    continue;
                }
                Some(Record::Entry(entry)) => entry,
            };
            match self.need(&entry, &mut digest_bytes) {
                Need::Nothing => {}
                Need::Content => match ranges.last_mut() {
                    Some((_, last)) if *last + 1 == number => *last = number,
                    _ => ranges.push((number, number)),
                },
                Need::Look(digest) => {
                    digests += 1;
                    if !looks.is_empty() {
                        looks.push(',');
                    }
                    looks.push_str(&format!("{number}:{}", to_hex(&digest)));
                }
            }
        };
        let ranges: Vec<String> = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
        let next = if is_more { format!(",\"next\":{}", self.reader.count()) } else { String::new() };
        Ok(format!("\"need\":\"{}\",\"look\":\"{looks}\"{next}", ranges.join(",")))
    }

    fn need(&self, entry: &Entry, digest_bytes: &mut u64) -> Need {
        let Some(place) = &self.place else { return Need::Content };
        let Some(stat) = look(place, &entry.name) else { return Need::Content };
        let there = FileType::from_raw_mode(stat.st_mode);
        match &entry.kind {
            // A symlink that leads to a directory inside may stand for it, as when an archive is unpacked.
            Kind::Directory if matches!(there, FileType::Directory | FileType::Symlink) => Need::Nothing,
            Kind::Symlink(target) if there == FileType::Symlink => {
                let same = rustix::fs::readlinkat(place, entry.name.as_os_str(), Vec::new());
                let is_same = same.is_ok_and(|there| there.to_bytes() == target.as_os_str().as_encoded_bytes());
                if is_same { Need::Nothing } else { Need::Content }
            }
            Kind::File { size, digest }
                if there == FileType::RegularFile && u64::try_from(stat.st_size) == Ok(*size) =>
            {
                if digest.is_none() && modified(&stat) == entry.modified {
                    return Need::Nothing;
                }
                *digest_bytes += *size;
                match (digest_of(place, &entry.name, *size), digest) {
                    (None, _) => Need::Content,
                    (Some(here), Some(theirs)) if here == *theirs => Need::Nothing,
                    (Some(_), Some(_)) => Need::Content,
                    (Some(here), None) => Need::Look(here),
                }
            }
            _ => Need::Content,
        }
    }
}

/// The digest of a regular file; `None` if it cannot be read or has another size by now.
fn digest_of(place: &impl AsFd, name: &OsStr, size: u64) -> Option<Brief> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(place, name, flags, Mode::empty()).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let (digest, len_bytes) = brief(&mut file).ok()?;
    (len_bytes == size).then_some(digest)
}

//! The manifest: a gzip stream of records. A head, then for each directory its path and the entries in it in the order
//! of their names, each directory after the one that it is in. Numbers are little-endian.
//!
//! Whoever reads it checks everything: no name leads out of its directory, and no list grows in memory.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

use super::Brief;

const MAGIC: &[u8; 8] = b"stheno-1";
/// Maximum number of entries.
pub(super) const ENTRIES_MAX: u64 = 20_000_000;
/// Maximum length in bytes of a name, as in the Linux kernel, of a path, and of the target of a symlink.
const NAME_LEN_MAX: usize = 255;
const PATH_LEN_MAX: usize = 4_096;

const DIRECTORY: u8 = b'/';
const END: u8 = b'.';

/// What the sender wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::edge::copy) struct Head {
    /// Whether what the sender does not have is deleted.
    pub delete: bool,
    /// Names that replace owner and group; empty for those of each entry.
    pub owner: String,
    pub group: String,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::edge::copy) enum Kind {
    File {
        size: u64,
        /// The beginning of its digest, if files are compared by that.
        digest: Option<Brief>,
    },
    Directory,
    Symlink(PathBuf),
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::edge::copy) struct Entry {
    pub name: OsString,
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds and nanoseconds.
    pub modified: (i64, u32),
}

/// What a manifest consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::edge::copy) enum Record {
    /// The entries of this directory follow.
    Directory(PathBuf),
    Entry(Entry),
}

/// Writes a manifest.
pub(in crate::edge::copy) struct Writer<W: Write> {
    out: GzEncoder<BufWriter<W>>,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W, head: &Head) -> io::Result<Self> {
        let mut out = GzEncoder::new(BufWriter::with_capacity(64 << 10, out), Compression::fast());
        out.write_all(MAGIC)?;
        out.write_all(&[u8::from(head.delete)])?;
        write_text(&mut out, head.owner.as_bytes())?;
        write_text(&mut out, head.group.as_bytes())?;
        Ok(Self { out })
    }

    pub(super) fn directory(&mut self, path: &Path) -> io::Result<()> {
        self.out.write_all(&[DIRECTORY])?;
        write_text(&mut self.out, path.as_os_str().as_bytes())
    }

    pub(super) fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        let (kind, size, digest, target): (u8, u64, Option<&Brief>, &[u8]) = match &entry.kind {
            Kind::File { size, digest: None } => (b'f', *size, None, &[]),
            Kind::File { size, digest: Some(digest) } => (b'F', *size, Some(digest), &[]),
            Kind::Directory => (b'd', 0, None, &[]),
            Kind::Symlink(target) => (b'l', 0, None, target.as_os_str().as_bytes()),
        };
        self.out.write_all(&[kind])?;
        write_text(&mut self.out, entry.name.as_bytes())?;
        for number in [entry.mode, entry.uid, entry.gid, entry.modified.1] {
            self.out.write_all(&number.to_le_bytes())?;
        }
        self.out.write_all(&entry.modified.0.to_le_bytes())?;
        match kind {
            b'd' => Ok(()),
            b'l' => write_text(&mut self.out, target),
            _ => {
                self.out.write_all(&size.to_le_bytes())?;
                digest.map_or(Ok(()), |digest| self.out.write_all(digest))
            }
        }
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&[END])?;
        self.out.finish()?.flush()
    }
}

fn write_text(out: &mut impl Write, text: &[u8]) -> io::Result<()> {
    let len = u16::try_from(text.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    out.write_all(&len.to_le_bytes())?;
    out.write_all(text)
}

/// Reads a manifest, record by record.
pub(in crate::edge::copy) struct Reader {
    input: GzDecoder<BufReader<File>>,
    head: Head,
    /// Number of entries so far.
    count: u64,
    /// The last name in the current directory; `None` before the first directory.
    last: Option<OsString>,
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the manifest cannot be read: {why}"))
}

impl Reader {
    /// Begins to read a file from its current position.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let mut input = GzDecoder::new(BufReader::with_capacity(64 << 10, file));
        if read_array::<8>(&mut input)? != *MAGIC {
            return Err(broken("it is none of this version"));
        }
        let [flags] = read_array(&mut input)?;
        let mut name = || {
            let text = read_text(&mut input, NAME_LEN_MAX)?;
            String::from_utf8(text).map_err(|_| broken("a name of an owner is not UTF-8"))
        };
        let head = Head { delete: flags & 1 == 1, owner: name()?, group: name()? };
        Ok(Self { input, head, count: 0, last: None })
    }

    pub(super) const fn head(&self) -> &Head {
        &self.head
    }

    /// Number of entries so far.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// Reads the next record; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        let [kind] = read_array(&mut self.input)?;
        match kind {
            END => Ok(None),
            DIRECTORY => {
                let path = PathBuf::from(OsString::from_vec(read_text(&mut self.input, PATH_LEN_MAX)?));
                if path.components().any(|part| !matches!(part, Component::Normal(_))) {
                    return Err(broken("the path of a directory leads out of it"));
                }
                self.last = Some(OsString::new());
                Ok(Some(Record::Directory(path)))
            }
            _ => self.entry(kind).map(|entry| Some(Record::Entry(entry))),
        }
    }

    fn entry(&mut self, kind: u8) -> io::Result<Entry> {
        let name = OsString::from_vec(read_text(&mut self.input, NAME_LEN_MAX)?);
        let bytes = name.as_bytes();
        if matches!(bytes, b"" | b"." | b"..") || bytes.iter().any(|byte| matches!(byte, b'/' | 0)) {
            return Err(broken("the name of an entry leads out of its directory"));
        }
        let Some(last) = &mut self.last else { return Err(broken("an entry stands before the first directory")) };
        if *last >= name {
            return Err(broken("its names are not in order"));
        }
        last.clone_from(&name);
        self.count += 1;
        if self.count > ENTRIES_MAX {
            return Err(broken(&format!("it has more than {ENTRIES_MAX} entries")));
        }
        let mut number = || read_array(&mut self.input).map(u32::from_le_bytes);
        let (mode, uid, gid, nanoseconds) = (number()?, number()?, number()?, number()?);
        let seconds = i64::from_le_bytes(read_array(&mut self.input)?);
        let modified = (seconds, nanoseconds.min(999_999_999));
        let kind = match kind {
            b'd' => Kind::Directory,
            b'l' => Kind::Symlink(PathBuf::from(OsString::from_vec(read_text(&mut self.input, PATH_LEN_MAX)?))),
            b'f' | b'F' => {
                let size = u64::from_le_bytes(read_array(&mut self.input)?);
                let digest = (kind == b'F').then(|| read_array(&mut self.input)).transpose()?;
                Kind::File { size, digest }
            }
            _ => return Err(broken("an entry is of an unknown kind")),
        };
        Ok(Entry { name, kind, mode: mode & 0o777, uid, gid, modified })
    }
}

fn read_array<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => broken("it ends too early"),
        _ => error,
    })?;
    Ok(bytes)
}

fn read_text(input: &mut impl Read, len_max: usize) -> io::Result<Vec<u8>> {
    let len = usize::from(u16::from_le_bytes(read_array(input)?));
    if len > len_max {
        return Err(broken(&format!("a name of {len} bytes, {len_max} at most")));
    }
    let mut text = vec![0; len];
    input.read_exact(&mut text)?;
    Ok(text)
}

//! Copying files (docs/protocol.md section 12), as values: what the deciding part wants done to files, and what came of
//! it.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::token::Token;

/// One copy that we send; never used twice in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u64);

/// One copy that we receive; never used twice in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SinkId(pub u64);

/// What is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyKind {
    /// One file.
    Regular,
    /// A directory, as a tar.gz.
    Archive,
}

impl CopyKind {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::Archive => "archive",
        }
    }
}

/// How the bytes of a copy are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DigestKind {
    /// Known to every peer.
    #[default]
    Md5,
    /// Only between our own, where both ends are faster at it.
    Sha256,
}

impl DigestKind {
    /// The kind of a digest's hexadecimal digits: 64 are SHA-256, any other number counts as MD5.
    #[must_use]
    pub const fn of(digits: &str) -> Self {
        if digits.len() == 64 { Self::Sha256 } else { Self::Md5 }
    }
}

/// Owner, group and permissions that a request asks for; each as it stands there, empty where it does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// A user name.
    pub owner: String,
    /// A group name.
    pub group: String,
    /// Octal digits.
    pub mode: String,
}

/// Why a copy ends: the row's message, word for word the original's where it has one, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyFailure {
    /// The message of the row.
    pub message: String,
    /// Which file, and why; empty where the message says it.
    pub detail: String,
}

/// Where a copy comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSpec {
    /// A file or a directory.
    pub source: PathBuf,
    /// Where a directory is packed.
    pub cache_dir: Option<PathBuf>,
    /// The name of the packed file there. It is removed as soon as it is open.
    pub archive_name: String,
    /// What the packed files are to belong to.
    pub attributes: Attributes,
}

/// The text around a chunk: the data of one PROCESSCOPY is `before`, base64, the chunk's numbers, `after`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkFrame {
    /// Up to and with the quotation mark before the base64 text.
    pub before: Arc<str>,
    /// From the end of the member `chunk` on.
    pub after: Arc<str>,
}

/// Work on a copy that we send. Steps of one copy are never under way at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceStep {
    /// Find out what the source is, pack a directory, open it.
    Open(SourceSpec),
    /// The digest of the whole; the place of reading stays.
    Digest(DigestKind),
    /// Go on at this place, and tell the digest of what is before it. Later ones are of the same kind.
    Rewind(u64, DigestKind),
    /// The next chunks: maximum number of chunks, and maximum size of each in bytes.
    Read {
        /// Chunks.
        count: usize,
        /// Bytes of a chunk.
        chunk_bytes: usize,
        /// What stands around each.
        frame: ChunkFrame,
    },
    /// The digest of everything that was read, and whether the source is still the one that was opened.
    Finish,
    /// Nothing more is wanted.
    Close,
}

/// One chunk, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The data of its PROCESSCOPY.
    pub data: String,
    /// Where it belongs.
    pub offset: u64,
    /// Its size in bytes.
    pub len_bytes: u64,
}

/// What came of a [`SourceStep`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceDone {
    /// It is open.
    Opened {
        /// What it is.
        kind: CopyKind,
        /// Bytes to be sent.
        total: u64,
        /// What was left out of an archive, for the log.
        notes: Vec<String>,
        /// The digest that is fastest here.
        digest: DigestKind,
    },
    /// In hexadecimal digits: of [`SourceStep::Digest`], [`SourceStep::Rewind`] and [`SourceStep::Finish`].
    Digest(String),
    /// Fewer than asked for at the end. An empty source has one chunk without bytes.
    Chunks(Vec<Chunk>),
    /// The copy ends.
    Failed(CopyFailure),
}

/// Where a copy goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSpec {
    /// Its token, which is part of a file name.
    pub token: Token,
    /// Where the chunks are gathered.
    pub cache_dir: Option<PathBuf>,
    /// The file, or the directory that an archive is unpacked into.
    pub destination: PathBuf,
    /// What comes.
    pub kind: CopyKind,
    /// Directories that may be written under; empty for anywhere.
    pub roots: Arc<[PathBuf]>,
    /// How many times as large as an archive its files may be, beyond 64 MiB; 0 is no limit.
    pub max_ratio: u64,
    /// It is for a host that is reached by SSH: gathered in a file without a name, until somebody sends it there.
    pub is_passed_on: bool,
}

/// Work on a copy that we receive. The steps of one copy are done one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkStep {
    /// Tell what is there already.
    Query {
        /// Where it goes.
        spec: SinkSpec,
        /// Bytes of the whole.
        total: u64,
        /// Digest of the whole, where the sender wants to know whether the destination is that already.
        md5: Option<String>,
        /// For a destination that is.
        attributes: Attributes,
        /// Forget what is there.
        restart: bool,
        /// What stands for this copy when it is asked for anew under another token; `None` where that is not to be
        /// looked for.
        identity: Option<String>,
        /// The digest that the sender would rather use.
        digest: DigestKind,
    },
    /// Append a chunk.
    Chunk {
        /// Where it goes.
        spec: SinkSpec,
        /// The message's data.
        json: String,
        /// Where in it the base64 text stands, as a JSON string with its quotation marks.
        base64: Range<usize>,
        /// Bytes that it stands for.
        size: usize,
        /// Where it belongs; only our own kind tells.
        offset: Option<u64>,
    },
    /// All is here: compare, unpack or move, clean up.
    End {
        /// Where it goes.
        spec: SinkSpec,
        /// Digest of the whole.
        md5: String,
        /// What a file is to belong to.
        attributes: Attributes,
    },
    /// Nothing is done any more for now; what is here stays for a copy that is asked for anew.
    Keep,
    /// The sender has given up, or we have: nothing is left behind.
    Discard,
}

/// What came of a [`SinkStep`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkDone {
    /// Of [`SinkStep::Query`].
    Found {
        /// Bytes that are here.
        received: u64,
        /// Their digest.
        md5: String,
        /// Whether the destination has the size of the whole, so that it may be the same.
        same_size: bool,
    },
    /// The destination is the same already; attributes are applied. What could not be, for the log.
    Unchanged(Vec<String>),
    /// A chunk is written: bytes that are here now.
    Written(u64),
    /// A chunk was here before: bytes that are here.
    Repeated(u64),
    /// The destination is there. What could not be done to it, for the log.
    Finished(Vec<String>),
    /// The copy ends.
    Failed(CopyFailure),
    /// All of what is passed on is here.
    Gathered,
    /// It is closed.
    Discarded,
}

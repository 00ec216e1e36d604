//! Copies of files (docs/protocol.md section 12) as values: the steps that the deciding part orders, and their results.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::token::Token;

/// Number of a copy that we send, unique in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u64);

/// Number of a copy that we receive, unique in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SinkId(pub u64);

/// What is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyKind {
    /// One file.
    Regular,
    /// A directory, as a tar.gz.
    Archive,
    /// The list of what is in a directory, between our own daemons.
    Manifest,
}

/// How a directory is copied by difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeOptions {
    /// Whether the receiver deletes what the sender does not have.
    pub delete: bool,
    /// Whether files are compared by digest even if size and time are equal.
    pub checksum: bool,
}

impl CopyKind {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::Archive => "archive",
            Self::Manifest => "manifest",
        }
    }
}

/// The digest by which the bytes of a copy are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DigestKind {
    /// MD5, known to every peer.
    #[default]
    Md5,
    /// SHA-256, with older daemons of ours if it is faster at both ends.
    Sha256,
    /// SHA-256 over the SHA-256 of each piece, between our own daemons. A piece has 2 to the power of this number of
    /// bytes. Where two ends differ, their pieces tell from where on.
    Pieces(u8),
}

/// The smallest and the largest pieces.
const PIECE_LOG2_MIN: u8 = 22;
const PIECE_LOG2_MAX: u8 = 40;
/// Maximum number of pieces of a copy whose size is known when its digest is chosen.
const PIECES_MAX: u64 = 1_024;

impl DigestKind {
    /// The kind of a digest in hexadecimal digits: those by pieces have their number and a `-` before them, 64 digits
    /// are SHA-256, any other number counts as MD5.
    #[must_use]
    pub fn of(digits: &str) -> Self {
        let pieces = digits.split_once('-').and_then(|(log2, _)| Self::pieces(log2.parse().ok()?));
        pieces.unwrap_or(if digits.len() == 64 { Self::Sha256 } else { Self::Md5 })
    }

    /// Pieces of 2 to the power of this number of bytes; `None` if they are too small or too large.
    #[must_use]
    pub fn pieces(log2: u64) -> Option<Self> {
        let log2 = u8::try_from(log2).ok()?;
        (PIECE_LOG2_MIN..=PIECE_LOG2_MAX).contains(&log2).then_some(Self::Pieces(log2))
    }

    /// The pieces for a copy of this size: the smallest of which it has not too many.
    #[must_use]
    pub fn pieces_for(total_bytes: u64) -> Self {
        let fits = |log2: &u8| total_bytes >> log2 < PIECES_MAX;
        Self::Pieces((PIECE_LOG2_MIN..=PIECE_LOG2_MAX).find(fits).unwrap_or(PIECE_LOG2_MAX))
    }
}

/// Owner, group and permissions in a request, as text; empty if absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// A user name.
    pub owner: String,
    /// A group name.
    pub group: String,
    /// Octal digits.
    pub mode: String,
}

/// Why a copy failed: the message of the row, which is the original's if it has one, and a detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyFailure {
    /// The message of the row.
    pub message: String,
    /// The file and the cause; empty if the message says it.
    pub detail: String,
}

/// The source of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSpec {
    /// A file or a directory.
    pub source: PathBuf,
    /// The folder in which a directory is packed.
    pub cache_dir: Option<PathBuf>,
    /// The name of the packed file there. It is unlinked as soon as it is open.
    pub archive_name: String,
    /// Owner, group and permissions of the packed files.
    pub attributes: Attributes,
    /// How a directory is listed before it is packed; `None` if it is packed at once.
    pub difference: Option<TreeOptions>,
    /// Where it may be, if another daemon asks for it; `None` if we were asked to send it.
    pub below: Option<Reading>,
}

/// What another daemon may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The directories below which it may read; empty for nothing.
    pub roots: Arc<[PathBuf]>,
    /// The directories in which a directory may be packed; empty for anywhere.
    pub pack_roots: Arc<[PathBuf]>,
}

/// The text around a chunk: the data of a PROCESSCOPY is `before`, base64, the numbers of the chunk, `after`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkFrame {
    /// The text up to and including the quotation mark before the base64 text.
    pub before: Arc<str>,
    /// The text from the end of the member `chunk` on.
    pub after: Arc<str>,
}

/// A step of a copy that we send. Only one step of a copy is under way at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceStep {
    /// Determine the kind of the source, pack a directory, and open it.
    Open(SourceSpec),
    /// Compute the digest of the whole. The reading position is kept.
    Digest(DigestKind),
    /// Continue at this offset, and return the digest of the bytes before it. Later digests have the same kind.
    Rewind(u64, DigestKind),
    /// Return up to which offset the pieces of the receiver agree with those here.
    Agree {
        /// The pieces of the receiver ([`SinkDone::Found`]).
        pieces: String,
        /// How large they are.
        kind: DigestKind,
    },
    /// Read the next chunks.
    Read {
        /// Maximum number of chunks.
        count: usize,
        /// Maximum size of a chunk in bytes.
        chunk_bytes: usize,
        /// The text around each chunk.
        frame: ChunkFrame,
    },
    /// Take a part of the receiver's answer to a manifest ([`SinkDone::Compared`]).
    Select {
        /// Ranges of numbers of entries that it needs.
        need: String,
        /// Numbers of files of which only the time differs, with the digests of those that it has.
        look: String,
    },
    /// Pack a directory that was listed: all of it, or what was selected. Answered like [`Self::Open`].
    Pack {
        /// Whether all of it is packed.
        whole: bool,
    },
    /// Return the digest of everything read, and check that the source has not changed since it was opened.
    Finish,
    /// Close the source.
    Close,
}

/// One chunk, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The data of the chunk's PROCESSCOPY.
    pub data: String,
    /// Offset of the chunk in bytes.
    pub offset: u64,
    /// Size of the chunk in bytes.
    pub len_bytes: u64,
}

/// The result of a [`SourceStep`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceDone {
    /// The source is open.
    Opened {
        /// The kind of the source.
        kind: CopyKind,
        /// Number of bytes to send.
        total: u64,
        /// Notes for the log about what was left out of an archive.
        notes: Vec<String>,
        /// The digest that is offered to a receiver of our own kind.
        digest: DigestKind,
    },
    /// The digest in hexadecimal digits, of [`SourceStep::Digest`], [`SourceStep::Rewind`] and [`SourceStep::Finish`].
    Digest(String),
    /// Like [`Self::Digest`] after [`SourceStep::Finish`], but a source that another daemon reads has grown since it
    /// was opened: the digest is that of what was there then.
    Grew(String),
    /// The offset up to which both ends agree, after [`SourceStep::Agree`].
    Agreed(u64),
    /// A part of an answer was taken.
    Selected,
    /// Nothing was selected, so nothing is packed.
    Nothing,
    /// The chunks; fewer than asked for at the end. An empty source has one empty chunk.
    Chunks(Vec<Chunk>),
    Failed(CopyFailure),
}

/// The destination of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSpec {
    /// The token of the copy, which is part of a file name.
    pub token: Token,
    /// The folder in which the chunks are gathered.
    pub cache_dir: Option<PathBuf>,
    /// The file, or the directory into which an archive is unpacked.
    pub destination: PathBuf,
    pub kind: CopyKind,
    /// Directories below which writing is allowed; empty for anywhere.
    pub roots: Arc<[PathBuf]>,
    /// Maximum ratio of unpacked size to size of an archive, beyond 64 MiB; 0 means no limit.
    pub max_ratio: u64,
    /// Whether the copy is for a host that is reached by SSH. It is gathered in a file without a name until it is sent
    /// there.
    pub is_passed_on: bool,
}

/// A step of a copy that we receive. The steps of a copy are done one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkStep {
    /// Return what is already there.
    Query {
        /// The destination.
        spec: SinkSpec,
        /// Size of the whole in bytes.
        total: u64,
        /// Digest of the whole, if the sender asks whether the destination is already equal.
        md5: Option<String>,
        /// Owner, group and permissions for an equal destination.
        attributes: Attributes,
        /// Number of bytes to keep of what is there; `None` for all.
        keep: Option<u64>,
        /// Identity of this copy when it is asked for again with another token; `None` if an earlier one should not be
        /// found.
        identity: Option<String>,
        /// The digest that the sender prefers.
        digest: DigestKind,
    },
    /// Append a chunk.
    Chunk {
        /// The destination.
        spec: SinkSpec,
        /// The message's data.
        json: String,
        /// The range of the base64 text in it, a JSON string including its quotation marks.
        base64: Range<usize>,
        /// Number of bytes of the chunk.
        size: usize,
        /// Offset of the chunk. Only our own daemons send it.
        offset: Option<u64>,
    },
    /// Everything has arrived: compare, unpack or move, and clean up.
    End {
        /// The destination.
        spec: SinkSpec,
        /// Digest of the whole.
        md5: String,
        /// Owner, group and permissions of a file.
        attributes: Attributes,
        /// A sentence for the last row.
        note: Option<String>,
        /// Whether an archive has what differs from a manifest that came before.
        by_difference: bool,
    },
    /// Compare a manifest that has arrived with the destination.
    Compare {
        /// The destination; its kind is that of the manifest.
        spec: SinkSpec,
        /// Digest of the manifest.
        digest: String,
        /// The number of the entry to begin with.
        from: u64,
    },
    /// Stop for now. What has arrived is kept for another request for this copy.
    Keep,
    /// Remove everything, because the copy was given up.
    Discard,
}

/// The result of a [`SinkStep`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkDone {
    /// The answer to [`SinkStep::Query`].
    Found {
        /// Number of bytes that have arrived.
        received: u64,
        /// Their digest.
        md5: String,
        /// The beginnings of the digests of their whole pieces, 16 hexadecimal digits each; empty without pieces.
        pieces: String,
        /// Whether the destination has the size of the whole, so that it may be equal.
        same_size: bool,
    },
    /// The destination is already equal and has its attributes. Notes for the log about attributes that could not be
    /// set.
    Unchanged(Vec<String>),
    /// A chunk was written. Number of bytes that have now arrived.
    Written(u64),
    /// A chunk had already arrived. Number of bytes that have arrived.
    Repeated(u64),
    /// The destination is complete. Notes for the log about what could not be set.
    Finished(Vec<String>),
    Failed(CopyFailure),
    /// A part of the answer to a manifest, as members of a JSON object.
    Compared(String),
    /// A relayed copy has arrived completely.
    Gathered,
    /// Everything was removed.
    Discarded,
}

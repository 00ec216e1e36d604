//! Requests of a REMOTECOPY, and the PROCESSCOPY messages made from them (docs/protocol.md section 12).

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::model::copy::{Attributes, ChunkFrame, CopyKind, DigestKind, SourceSpec, TreeOptions};
use crate::model::node_id::NodeId;

use crate::node::json;

/// Maximum length in characters of a path or another value.
const VALUE_LEN_MAX: usize = 4_096;
/// Maximum size of a WebSocket message that a node takes, in bytes.
pub(in crate::node) const WEB_SOCKET_BYTES_MAX: usize = 262_144;
/// Maximum number of bytes of the envelope around the data of a message: action, token, target.
pub(in crate::node) const ENVELOPE_BYTES_MAX: usize = 600;

/// Maximum number of notes about a source, and maximum length of their text in bytes.
const NOTES_MAX: usize = 4;
const NOTE_LEN_MAX: usize = 1_024;

/// The content of a REMOTECOPY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::node) struct CopyRequest {
    /// The member `logging` as received JSON text.
    logging: String,
    pub source: String,
    pub destination: String,
    cache_dir: Option<String>,
    pub attributes: Attributes,
    /// The beginning of the name of the packed file.
    prefix: String,
    /// What is to be said of the source at the end; empty for nothing.
    note: String,
    /// How a directory is copied by difference.
    pub tree: TreeOptions,
}

/// The additions to the protocol in a chunk, for a receiver of our own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// None that changes what the receiver does.
    Plain,
    /// The receiver must confirm each message, even if a Perl node would not.
    Ours,
    /// As before, and an archive has what differs from a manifest.
    Difference,
}

#[derive(Deserialize)]
struct RawRequest<'a> {
    #[serde(default)]
    content: Value,
    #[serde(borrow, default)]
    logging: Option<&'a RawValue>,
}

impl CopyRequest {
    /// Reads the data of a REMOTECOPY.
    ///
    /// # Errors
    /// Returns the message of the row and a detail.
    pub(in crate::node) fn read(data: &str) -> Result<Self, (&'static str, &'static str)> {
        const FAILED: &str = "remote copy failed";
        let mut single = String::new();
        let raw: RawRequest<'_> = json::read_object(data, &mut single).ok_or((FAILED, "the request cannot be read"))?;
        let member = |key: &str| raw.content.get(key).and_then(json::text);
        let source = member("source").ok_or((FAILED, "the source is missing"))?;
        let destination = member("destination").ok_or((FAILED, "the destination is missing"))?;
        let cache_dir = member("cache_dir");
        let prefix = member("type").unwrap_or_else(|| "tmp".to_owned());
        let all = [Some(&source), Some(&destination), cache_dir.as_ref(), Some(&prefix)];
        if all.into_iter().flatten().any(|text| text.len() > VALUE_LEN_MAX || text.contains('\0')) {
            return Err((FAILED, "a path is longer than 4096 characters or holds a NUL"));
        }
        if prefix.contains('/') || prefix.len() > 128 {
            return Err((FAILED, "the type becomes part of a file name: at most 128 characters and no '/'"));
        }
        let attribute = |key: &str| member(key).filter(|text| text.len() <= 256).unwrap_or_default();
        let attributes = Attributes { owner: attribute("owner"), group: attribute("group"), mode: attribute("mode") };
        let wants = |key: &str| raw.content.get(key).is_some_and(json::is_true);
        let tree = TreeOptions { delete: wants("delete"), checksum: wants("checksum") };
        let logging = raw.logging.map_or("null", RawValue::get).to_owned();
        Ok(Self { logging, source, destination, cache_dir, attributes, prefix, note: String::new(), tree })
    }

    /// Like [`Self::read`], for a copy that is no difference.
    ///
    /// # Errors
    /// As there, and if something is to be deleted.
    pub(in crate::node) fn read_whole(data: &str) -> Result<Self, (&'static str, &'static str)> {
        let request = Self::read(data)?;
        if request.tree.delete {
            return Err(("remote copy failed", "delete is for copies to a node that is a Stheno daemon"));
        }
        Ok(request)
    }

    /// Returns the source to be opened.
    pub(in crate::node) fn spec(&self, target: &str, number: u64) -> SourceSpec {
        SourceSpec {
            source: PathBuf::from(&self.source),
            cache_dir: self.cache_dir.as_ref().map(PathBuf::from),
            archive_name: format!("{}-{target}.tar.gz.{number}", self.prefix),
            attributes: self.attributes.clone(),
            difference: None,
            below: None,
        }
    }

    /// Appends the base name if the destination is a directory.
    pub(in crate::node) fn complete_destination(&mut self, kind: CopyKind) {
        if kind == CopyKind::Regular && self.destination.ends_with('/') {
            let name = self.source.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            self.destination.push_str(name);
        }
    }

    fn opening(&self, status: &str, kind: CopyKind) -> String {
        format!("{{\"logging\":{},\"content\":{{\"status\":\"{status}\",\"type\":\"{}\"", self.logging, kind.as_str())
    }

    fn places(&self, out: &mut String) {
        out.push_str(",\"destination\":");
        json::push_string(out, &self.destination);
        out.push_str(",\"cache_dir\":");
        match &self.cache_dir {
            Some(cache_dir) => json::push_string(out, cache_dir),
            None => out.push_str("null"),
        }
    }

    fn attributes(&self, kind: CopyKind, out: &mut String) {
        let mut attribute = |key: &str, value: &str| {
            out.push_str(",\"");
            out.push_str(key);
            out.push_str("\":");
            if value.is_empty() { out.push_str("null") } else { json::push_string(out, value) }
        };
        attribute("owner", &self.attributes.owner);
        attribute("group", &self.attributes.group);
        // The permissions of an archive's files are in the archive.
        if kind == CopyKind::Regular {
            attribute("mode", &self.attributes.mode);
        }
    }

    /// Returns the text around every chunk.
    pub(super) fn frame(&self, kind: CopyKind, dialect: Dialect) -> ChunkFrame {
        let before = self.opening("inprogress", kind) + ",\"chunk\":{\"data\":\"";
        let mut after = "},\"md5\":null".to_owned();
        self.places(&mut after);
        after.push_str(dialect.member());
        after.push_str(CLOSING);
        ChunkFrame { before: Arc::from(before), after: Arc::from(after) }
    }

    /// Returns the message with a chunk that is there as JSON.
    pub(super) fn fetched_chunk(&self, kind: CopyKind, chunk: &str) -> String {
        let mut text = self.opening("inprogress", kind);
        text.reserve(chunk.len() + self.destination.len() + 256);
        text.push_str(",\"chunk\":");
        text.push_str(chunk);
        text.push_str(",\"md5\":null");
        self.places(&mut text);
        text.push_str(CLOSING);
        text
    }

    /// Adds notes about the source, which go with the last message into the last row.
    pub(super) fn note(&mut self, notes: &[String]) {
        for note in notes.iter().take(NOTES_MAX) {
            let room = NOTE_LEN_MAX.saturating_sub(self.note.len());
            let end =
                note.char_indices().map(|(at, letter)| at + letter.len_utf8()).take_while(|end| *end <= room).last();
            if !self.note.is_empty() && end.is_some() {
                self.note.push_str("; ");
            }
            self.note.push_str(note.get(..end.unwrap_or(0)).unwrap_or_default());
        }
    }

    /// The folder for temporary files.
    pub(super) fn cache_dir(&self) -> Option<&str> {
        self.cache_dir.as_deref()
    }

    /// Returns the last message.
    pub(super) fn end(&self, kind: CopyKind, md5: &str, dialect: Dialect) -> String {
        let mut text = self.opening("end", kind) + ",\"chunk\":null,\"md5\":\"" + md5 + "\"";
        self.places(&mut text);
        self.attributes(kind, &mut text);
        if dialect == Dialect::Difference {
            text.push_str(",\"by_difference\":true");
        }
        if !self.note.is_empty() {
            text.push_str(",\"note\":");
            json::push_string(&mut text, &self.note);
        }
        text.push_str(dialect.member());
        text.push_str(CLOSING);
        text
    }

    /// Returns the query, between daemons of our own kind, for the data that is already there, of which `keep` bytes
    /// are kept if not all. `digest` is the preferred digest; the answer shows whether the receiver supports it. With
    /// the id of a `sender` that has no other copy of this file in progress, data that an earlier copy left is used.
    pub(super) fn query(
        &self,
        kind: CopyKind,
        (number, total, keep): (u64, u64, Option<u64>),
        md5: Option<&str>,
        sender: Option<NodeId>,
        digest: DigestKind,
    ) -> String {
        let mut text = self.opening("query", kind) + ",\"chunk\":null,\"md5\":";
        match md5 {
            Some(md5) => json::push_string(&mut text, md5),
            None => text.push_str("null"),
        }
        self.places(&mut text);
        self.attributes(kind, &mut text);
        text.push_str(&format!(",\"query\":{number},\"total\":{total},\"restart\":{}", keep == Some(0)));
        if let Some(keep) = keep.filter(|keep| *keep > 0) {
            text.push_str(&format!(",\"keep\":{keep}"));
        }
        if let Some(sender) = sender {
            text.push_str(&format!(",\"sender\":{sender},\"alone\":true"));
        }
        if digest != DigestKind::Md5 {
            text.push_str(",\"digest\":\"sha256\"");
        }
        if let DigestKind::Pieces(log2) = digest {
            text.push_str(&format!(",\"pieces\":{log2}"));
        }
        text.push_str(Dialect::Ours.member());
        text.push_str(CLOSING);
        text
    }

    /// Returns the question, between daemons of our own kind, whether the receiver takes a directory by difference. To
    /// an older one it is a query like others.
    pub(super) fn whether_by_difference(&self, number: u64) -> String {
        let mut text = self.query(CopyKind::Archive, (number, 0, None), None, None, DigestKind::Md5);
        text.truncate(text.len() - CLOSING.len());
        text.push_str(",\"manifest\":true");
        text.push_str(CLOSING);
        text
    }

    /// Returns the question what differs from a manifest with this digest, beginning with the entry number `from`.
    pub(super) fn what_differs(&self, number: u64, digest: &str, from: u64) -> String {
        let mut text = self.query(CopyKind::Manifest, (number, 0, None), Some(digest), None, DigestKind::Md5);
        text.truncate(text.len() - CLOSING.len());
        text.push_str(&format!(",\"from\":{from}"));
        text.push_str(CLOSING);
        text
    }

    /// Returns the message, between daemons of our own kind, by which the sender gives up.
    pub(super) fn abort(&self, kind: CopyKind) -> String {
        // An older daemon knows no manifest.
        let kind = if kind == CopyKind::Manifest { CopyKind::Archive } else { kind };
        let mut text = self.opening("abort", kind) + ",\"chunk\":null,\"md5\":null";
        self.places(&mut text);
        text.push_str(CLOSING);
        text
    }
}

/// The end of every message.
const CLOSING: &str = "},\"parameters\":{\"no_fork\":1}}";

impl Dialect {
    const fn member(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Ours | Self::Difference => ",\"ack\":1",
        }
    }
}

/// Returns the maximum number of bytes of a chunk whose message fits into a WebSocket message.
pub(super) fn web_socket_chunk_bytes(frame: &ChunkFrame) -> usize {
    // Three numbers of at most 20 digits, and their names.
    let around = frame.before.len() + frame.after.len() + ENVELOPE_BYTES_MAX + 100;
    (WEB_SOCKET_BYTES_MAX.saturating_sub(around) / 4 * 3).max(1)
}

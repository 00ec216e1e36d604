//! The messages by which a node is read (docs/protocol.md section 12): PROCESSCOPY of status `fetch` with a step, and
//! the node's answers. An older daemon refuses the status, and a relay passes on steps and answers like those of any
//! copy between our own kind.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::model::copy::{CopyFailure, CopyKind, DigestKind, SourceDone};
use crate::node::copies::ending::failure_data;
use crate::node::copies::request::CopyRequest;
use crate::node::json;

/// Maximum length of a message with a step, in bytes.
const STEP_BYTES_MAX: usize = 128 << 10;
/// A part of the text of each step, by which it is told from the messages of other copies without parsing these.
const STATUS: &str = "\"status\":\"fetch\"";
/// Maximum length of a path in bytes, as in the Linux kernel.
const PATH_LEN_MAX: usize = 4_096;

/// A step that the node is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Open the source, or go on with the one that is open.
    Open,
    /// Return the digest of the whole.
    Digest(DigestKind),
    /// Go on at this offset; return the digest of what is before it.
    Rewind(u64, DigestKind),
    /// Return up to which offset these pieces are those of the source.
    Agree(String, DigestKind),
    /// Read at most so many bytes.
    Read(u64),
    /// Check that the source has not changed; return the digest of what was read.
    Finish,
    /// Say whether a step is in progress.
    Alive,
    /// Close the source.
    Close,
}

/// A step as the node reads it.
#[derive(Debug)]
pub(super) struct Asked {
    /// Its number, which the answer repeats.
    pub number: u64,
    pub step: Step,
    /// The absolute path, which the node checks.
    pub source: PathBuf,
    /// Where a directory is packed, if it may be written to.
    pub cache_dir: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Outer {
    content: Content,
}

#[derive(Deserialize)]
struct Content {
    status: String,
    step: String,
    fetch: u64,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    cache_dir: Option<String>,
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    pieces: String,
}

fn word(kind: DigestKind) -> String {
    match kind {
        DigestKind::Md5 => "md5".to_owned(),
        DigestKind::Sha256 => "sha256".to_owned(),
        DigestKind::Pieces(log2) => log2.to_string(),
    }
}

fn digest_of(word: Option<&str>) -> DigestKind {
    let pieces = word.and_then(|word| DigestKind::pieces(word.parse().ok()?));
    pieces.unwrap_or(if word == Some("sha256") { DigestKind::Sha256 } else { DigestKind::Md5 })
}

/// Returns the data of the message with a step.
pub(super) fn step(number: u64, step: &Step, request: &CopyRequest) -> String {
    let mut content = json!({ "status": "fetch", "fetch": number, "ack": 1 });
    let (word, more) = match step {
        // Relays take a number of this name for that of a question, which opens a route again that was broken.
        Step::Open => ("open", json!({ "query": number })),
        Step::Digest(kind) => ("digest", json!({ "digest": word(*kind) })),
        Step::Rewind(offset, kind) => ("rewind", json!({ "offset": offset, "digest": word(*kind) })),
        Step::Agree(pieces, kind) => ("agree", json!({ "pieces": pieces, "digest": word(*kind) })),
        Step::Read(bytes) => ("read", json!({ "bytes": bytes })),
        Step::Finish => ("finish", json!({})),
        Step::Alive => ("alive", json!({})),
        Step::Close => ("close", json!({})),
    };
    if let (Value::Object(content), Value::Object(more)) = (&mut content, more) {
        content.insert("step".to_owned(), word.into());
        content.extend(more);
        if *step == Step::Open {
            content.insert("source".to_owned(), request.source.as_str().into());
            content.insert("cache_dir".to_owned(), request.cache_dir().into());
        }
    }
    json!({ "logging": false, "content": content, "parameters": { "no_fork": 1 } }).to_string()
}

impl Asked {
    /// Reads the data of a PROCESSCOPY; `None` if it is not of this kind.
    pub(super) fn read(data: &str) -> Option<Self> {
        if data.len() > STEP_BYTES_MAX || !data.contains(STATUS) {
            return None;
        }
        let Outer { content } = serde_json::from_str(data).ok()?;
        if content.status != "fetch" {
            return None;
        }
        let path = |text: Option<String>| text.filter(|text| text.len() <= PATH_LEN_MAX && !text.contains('\0'));
        let kind = digest_of(content.digest.as_deref());
        let step = match content.step.as_str() {
            "open" => Step::Open,
            "digest" => Step::Digest(kind),
            "rewind" => Step::Rewind(content.offset, kind),
            "agree" => Step::Agree(content.pieces, kind),
            "read" => Step::Read(content.bytes),
            "finish" => Step::Finish,
            "alive" => Step::Alive,
            "close" => Step::Close,
            _ => return None,
        };
        let source = path(content.source).unwrap_or_default().into();
        Some(Self { number: content.fetch, step, source, cache_dir: path(content.cache_dir).map(PathBuf::from) })
    }
}

/// Returns the answer to step `number` from the result of its work. A chunk has its text around it already.
pub(super) fn answer(number: u64, done: SourceDone) -> String {
    match done {
        SourceDone::Opened { kind, total, notes, digest } => {
            let (kind, digest) = (kind.as_str(), word(digest));
            json!({ "fetch": number, "type": kind, "total": total, "digest": digest, "notes": notes }).to_string()
        }
        SourceDone::Agreed(offset) => json!({ "fetch": number, "agreed": offset }).to_string(),
        SourceDone::Digest(digits) => json!({ "fetch": number, "md5": digits }).to_string(),
        SourceDone::Grew(digits) => json!({ "fetch": number, "md5": digits, "grew": true }).to_string(),
        SourceDone::Chunks(chunks) => {
            let chunk = chunks.into_iter().next();
            chunk.map_or_else(|| said(number, "empty"), |chunk| format!("{{\"fetch\":{number},{}", chunk.data))
        }
        SourceDone::Failed(failure) => refused(number, &failure),
        SourceDone::Selected | SourceDone::Nothing => said(number, "idle"),
    }
}

/// Returns the answer that the work of step `number` has failed.
pub(super) fn refused(number: u64, failure: &CopyFailure) -> String {
    format!("{{\"fetch\":{number},\"refused\":{}}}", failure_data(failure))
}

/// Returns an answer of one word that holds: `busy`, `idle`, `closed`, `empty`.
pub(super) fn said(number: u64, word: &str) -> String {
    format!("{{\"fetch\":{number},\"{word}\":true}}")
}

/// The answer of the node, or of a relay before it.
#[derive(Default, Deserialize)]
pub(super) struct Answer<'a> {
    #[serde(default)]
    pub fetch: Option<u64>,
    /// Why the node cannot do the step.
    #[serde(default)]
    refused: Option<Refused>,
    /// From a relay: why it cannot pass the step on.
    #[serde(default)]
    pub failed: Option<String>,
    /// From a relay: what is behind it is not of our own kind.
    #[serde(default)]
    pub plain: bool,
    /// From a relay: the route behind it is broken, or not known yet.
    #[serde(default)]
    pub interrupted: bool,
    /// The node has no such source open.
    #[serde(default)]
    pub closed: bool,
    /// The node has the source open and does nothing with it.
    #[serde(default)]
    pub idle: bool,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    pub total: u64,
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    pub notes: Vec<String>,
    #[serde(default)]
    pub md5: Option<String>,
    /// The offset up to which the pieces agree.
    #[serde(default)]
    pub agreed: Option<u64>,
    /// The source is longer now than when it was opened.
    #[serde(default)]
    pub grew: bool,
    /// The chunk as it goes to the receiving end.
    #[serde(default, borrow)]
    pub chunk: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Refused {
    message: String,
    #[serde(default)]
    detail: String,
}

/// The numbers in a chunk.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct Numbers {
    pub offset: u64,
    pub size: u64,
}

impl Answer<'_> {
    /// Why the node cannot do the step.
    pub(super) fn refusal(&self) -> Option<CopyFailure> {
        let Refused { message, detail } = self.refused.as_ref()?;
        Some(CopyFailure { message: message.clone(), detail: detail.clone() })
    }

    /// The kind of an opened source; `None` if it is unknown here.
    pub(super) fn kind(&self) -> Option<CopyKind> {
        match self.kind.as_deref()? {
            "regular" => Some(CopyKind::Regular),
            "archive" => Some(CopyKind::Archive),
            _ => None,
        }
    }

    /// The digest that the node offers.
    pub(super) fn digest(&self) -> DigestKind {
        digest_of(self.digest.as_deref())
    }
}

/// The sentence in the data of a refusal by an older daemon.
pub(super) fn message_of(data: &str) -> String {
    let data: Value = serde_json::from_str(data).unwrap_or_default();
    data.get("message").and_then(json::text).unwrap_or_default()
}

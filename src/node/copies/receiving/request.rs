//! Reads a PROCESSCOPY tolerantly. The base64 text of its chunk is not copied.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::model::copy::{Attributes, CopyKind, DigestKind, SinkSpec, SinkStep};
use crate::model::token::Token;

use crate::node::json;

/// Maximum length of a path in bytes, as in the Linux kernel.
const PATH_LEN_MAX: usize = 4_096;

/// What a message asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A query for the data that is already there. The answer repeats the number.
    Query(u64),
    /// Like a query: whether a directory may come by difference. It is answered at once.
    Difference(u64),
    /// A chunk of a manifest, which writes no row.
    List,
    /// An internal end of the work, which nobody asked for.
    Nothing,
    Chunk,
    End,
    Abort,
}

/// A message of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CopyPart {
    pub step: SinkStep,
    /// Whether rows are written.
    pub logging: bool,
    /// Total size in bytes; only our own kind tells it.
    pub total: Option<u64>,
    /// Whether the sender wants a confirmation of each message, even if a Perl node would send none.
    pub wants_ack: bool,
    pub asked: Asked,
}

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub text: &'static str,
    pub logging: bool,
}

/// The usual form of a message. It is parsed in one pass because most of it is the text of a chunk.
#[derive(Deserialize)]
struct UsualRequest<'a> {
    #[serde(borrow)]
    content: RawContent<'a>,
    #[serde(default)]
    logging: Value,
}

/// Any other form, to find out what is wrong with it.
#[derive(Deserialize)]
struct RawRequest<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(default)]
    logging: Value,
}

#[derive(Deserialize)]
struct RawContent<'a> {
    #[serde(default)]
    status: Value,
    #[serde(rename = "type", default)]
    kind: Value,
    #[serde(borrow, default)]
    chunk: Option<RawChunk<'a>>,
    #[serde(default)]
    md5: Value,
    #[serde(default)]
    destination: Value,
    #[serde(default)]
    cache_dir: Value,
    #[serde(default)]
    owner: Value,
    #[serde(default)]
    group: Value,
    #[serde(default)]
    mode: Value,
    #[serde(default)]
    ack: Value,
    #[serde(default)]
    query: Value,
    #[serde(default)]
    total: Value,
    #[serde(default)]
    restart: Value,
    #[serde(default)]
    sender: Value,
    #[serde(default)]
    alone: Value,
    /// The digest that the sender prefers to MD5.
    #[serde(default)]
    digest: Value,
    /// The power of two that is the size of the pieces of a digest.
    #[serde(default)]
    pieces: Value,
    /// Number of bytes to keep.
    #[serde(default)]
    keep: Value,
    /// Whether the sender asks if a directory may come by difference.
    #[serde(default)]
    manifest: Value,
    /// The number of the entry from which on a manifest is compared.
    #[serde(default)]
    from: Value,
    /// Whether an archive has what differs from a manifest.
    #[serde(default)]
    by_difference: Value,
    /// A sentence for the last row.
    #[serde(default)]
    note: Value,
}

#[derive(Deserialize)]
struct RawChunk<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    size: Value,
    #[serde(default)]
    offset: Value,
    #[serde(default)]
    total: Value,
}

fn whole(value: &Value) -> Option<u64> {
    json::integer(value).and_then(|number| u64::try_from(number).ok())
}

fn attribute(value: &Value) -> String {
    json::text(value).unwrap_or_default()
}

fn path(value: &Value) -> Option<PathBuf> {
    json::text(value).filter(|path| path.len() <= PATH_LEN_MAX && !path.contains('\0')).map(PathBuf::from)
}

const fn unreadable(logging: bool) -> Refusal {
    Refusal { text: "request not well formatted", logging }
}

/// Returns the message with only the last value of each repeated key; `None` if no key is repeated.
fn without_repeats(data: &str) -> Option<String> {
    let single = serde_json::from_str::<Value>(data).ok()?.to_string();
    // A second parse would not find anything else.
    serde_json::from_str::<UsualRequest<'_>>(&single).is_ok().then_some(single)
}

fn what_is_wrong(data: &str) -> Refusal {
    let Ok(raw) = serde_json::from_str::<RawRequest<'_>>(data) else { return unreadable(true) };
    let logging = !json::is_false(&raw.logging);
    match raw.content.map_or("", RawValue::get) {
        "" | "\"\"" | "null" => Refusal { text: "no content", logging },
        _ => unreadable(logging),
    }
}

/// Returns the identity of a copy, which does not depend on its token.
fn identity(sender: u64, spec: &SinkSpec, total: u64) -> String {
    let SinkSpec { cache_dir, destination, kind, .. } = spec;
    let cache_dir = cache_dir.as_deref().unwrap_or(Path::new("")).display();
    format!("{sender}\0{}\0{total}\0{}\0{cache_dir}", kind.as_str(), destination.display())
}

impl CopyPart {
    /// Reads the data of a PROCESSCOPY.
    pub(super) fn read(
        data: String,
        token: &Token,
        (roots, max_ratio): (Arc<[PathBuf]>, u64),
        is_passed_on: bool,
    ) -> Result<Self, Refusal> {
        let (logging, content) = match serde_json::from_str::<UsualRequest<'_>>(&data) {
            Ok(usual) => (!json::is_false(&usual.logging), usual.content),
            Err(_) => match without_repeats(&data) {
                Some(single) => return Self::read(single, token, (roots, max_ratio), is_passed_on),
                None => return Err(what_is_wrong(&data)),
            },
        };
        let Some(destination) = path(&content.destination) else {
            return Err(Refusal { text: "process copy failed: the destination is missing", logging });
        };
        let kind = match content.kind.as_str() {
            Some("archive") => CopyKind::Archive,
            Some("regular") => CopyKind::Regular,
            Some("manifest") if !is_passed_on => CopyKind::Manifest,
            _ => return Err(Refusal { text: "process copy failed: the type is neither regular nor archive", logging }),
        };
        let cache_dir = path(&content.cache_dir);
        let spec = SinkSpec { token: token.clone(), cache_dir, destination, kind, roots, max_ratio, is_passed_on };
        let attributes = Attributes {
            owner: attribute(&content.owner),
            group: attribute(&content.group),
            mode: attribute(&content.mode),
        };
        let md5 = json::text(&content.md5);
        let wants_ack = json::is_true(&content.ack);
        let mut total = whole(&content.total);
        let (step, asked) = match (content.status.as_str(), content.chunk, md5) {
            (Some("inprogress"), Some(chunk), _) => {
                let base64 = chunk.data.map(RawValue::get).filter(|text| text.starts_with('"'));
                let Some(base64) = base64 else { return Err(unreadable(logging)) };
                // The position of the text in the whole message, which goes to the job unchanged.
                let start = (base64.as_ptr() as usize).wrapping_sub(data.as_ptr() as usize);
                let range = start..start.saturating_add(base64.len());
                let size = whole(&chunk.size).and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
                let offset = whole(&chunk.offset);
                total = whole(&chunk.total);
                let asked = if kind == CopyKind::Manifest { Asked::List } else { Asked::Chunk };
                if asked == Asked::List {
                    total = None;
                }
                (SinkStep::Chunk { spec, json: data, base64: range, size, offset }, asked)
            }
            (Some("end"), _, Some(md5)) => {
                let note = json::text(&content.note);
                let by_difference = json::is_true(&content.by_difference);
                (SinkStep::End { spec, md5, attributes, note, by_difference }, Asked::End)
            }
            (Some("query"), _, Some(digest)) if kind == CopyKind::Manifest => {
                total = None;
                let (number, from) = (whole(&content.query).unwrap_or(0), whole(&content.from).unwrap_or(0));
                (SinkStep::Compare { spec, digest, from }, Asked::Query(number))
            }
            (Some("query"), ..) if json::is_true(&content.manifest) && !is_passed_on => {
                total = None;
                (SinkStep::Keep, Asked::Difference(whole(&content.query).unwrap_or(0)))
            }
            (Some("query"), _, md5) => {
                let number = whole(&content.query).unwrap_or(0);
                let keep = if json::is_true(&content.restart) { Some(0) } else { whole(&content.keep) };
                let total = total.unwrap_or(0);
                // A copy for a host behind us is received for that host alone.
                let sender = whole(&content.sender).filter(|_| json::is_true(&content.alone) && !is_passed_on);
                let identity = sender.map(|sender| identity(sender, &spec, total));
                let digest = match (whole(&content.pieces).and_then(DigestKind::pieces), content.digest.as_str()) {
                    (Some(pieces), _) => pieces,
                    (None, Some("sha256")) => DigestKind::Sha256,
                    (None, _) => DigestKind::Md5,
                };
                (SinkStep::Query { spec, total, md5, attributes, keep, identity, digest }, Asked::Query(number))
            }
            (Some("abort"), ..) => (SinkStep::Discard, Asked::Abort),
            _ => return Err(unreadable(logging)),
        };
        Ok(Self { step, logging, total, wants_ack, asked })
    }
}

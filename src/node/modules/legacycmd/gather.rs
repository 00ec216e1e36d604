//! Gathers the lines of EXTERNALCMD for one poller into messages, in order.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::model::action::Action;
use crate::model::text;

use super::orders::{EXTERNAL, Message};

/// Maximum number of bytes of the lines of one message; a longer line is sent alone.
const BATCH_BYTES_MAX: usize = 64 << 10;

/// Lines for one engine. Holds text typed by an administrator: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Batch {
    /// The position of the first of them.
    pub position: u64,
    target: String,
    command_file: String,
    lines: Vec<Vec<u8>>,
    len_bytes: usize,
}

impl Batch {
    pub(super) fn new(position: u64, target: &str, command_file: &str) -> Self {
        let (target, command_file) = (target.to_owned(), command_file.to_owned());
        Self { position, target, command_file, lines: Vec::new(), len_bytes: 0 }
    }

    pub(super) fn push(&mut self, line: &[u8]) {
        self.len_bytes = self.len_bytes.saturating_add(line.len()).saturating_add(1);
        self.lines.push(line.to_vec());
    }

    /// Returns the message. Text that is not UTF-8 is sent as bytes to a node of our own kind, and as Latin-1 to any
    /// other.
    pub(super) fn into_message(self) -> Message {
        let bytes = self.lines.join(&b'\n');
        let mut content = json!({
            "command_file": self.command_file,
            "commands": [text::from_bytes(&bytes)],
            "metadata": { "centcore_cmd": EXTERNAL, "centcore_proxy": 1 },
        });
        if std::str::from_utf8(&bytes).is_err()
            && let serde_json::Value::Object(members) = &mut content
        {
            members.insert("raw".to_owned(), json!(STANDARD.encode(&bytes)));
        }
        Message { action: Action::EngineCommand, target: self.target, content, counts: true }
    }
}

/// The gathered lines of one piece of a file, by poller.
#[derive(Default)]
pub(super) struct Gathering {
    batches: BTreeMap<String, Batch>,
}

impl Gathering {
    /// Adds a line. Returns the batches that are now complete.
    pub(super) fn add(&mut self, line: Batch, bulk: usize) -> Vec<Batch> {
        let Some(batch) = self.batches.get_mut(&line.target) else {
            self.batches.insert(line.target.clone(), line);
            return Vec::new();
        };
        let fits = batch.command_file == line.command_file
            && batch.lines.len() < bulk.max(1)
            && batch.len_bytes.saturating_add(line.len_bytes) <= BATCH_BYTES_MAX;
        if fits {
            batch.len_bytes = batch.len_bytes.saturating_add(line.len_bytes);
            batch.lines.extend(line.lines);
            return Vec::new();
        }
        vec![std::mem::replace(batch, line)]
    }

    /// Takes the gathered lines for one poller.
    pub(super) fn take(&mut self, target: &str) -> Option<Batch> {
        self.batches.remove(target)
    }

    /// Takes all gathered lines, in the order of the first lines.
    pub(super) fn take_all(&mut self) -> Vec<Batch> {
        let mut batches: Vec<Batch> = std::mem::take(&mut self.batches).into_values().collect();
        batches.sort_by_key(|batch| batch.position);
        batches
    }
}

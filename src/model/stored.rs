//! The state that a start continues from, as the database has it.

use super::code::Code;
use super::history::{Origins, SyncMark};
use super::legacy::LegacyStored;
use super::node_id::NodeId;
use super::queue::QueueStored;
use super::session::StoredSession;
use super::token::Token;

/// All of it.
#[derive(Clone, Default)]
pub struct Stored {
    /// Sealed sessions of the external socket, the least recently used first.
    pub sessions: Vec<StoredSession>,
    /// Targets and the thumbprints of their keys.
    pub fingerprints: Vec<(String, String)>,
    /// SSH hosts and the known-hosts lines of their keys.
    pub host_keys: Vec<(String, String)>,
    /// What the deciding part continues from.
    pub restored: Restored,
    /// Messages about skipped rows; only a few lines.
    pub warnings: Vec<String>,
}

/// The state of the deciding part.
#[derive(Clone, Default)]
pub struct Restored {
    /// The mark of each node: how far its history was taken over.
    pub marks: Vec<(NodeId, SyncMark)>,
    /// The number of our own history, and how far others were taken over.
    pub origins: Origins,
    /// Tokens without an end, and the nodes that had not confirmed them.
    pub open_tokens: Vec<(Token, Option<NodeId>)>,
    /// Hashes of the tokens that were accepted for work here, the oldest first.
    pub taken_tokens: Vec<i64>,
    /// Open tokens that were taken from the queue of another daemon and whose work was not begun.
    pub not_begun: Vec<Token>,
    /// Hashes of tokens that were ended here although their nodes may end them later, the oldest first.
    pub late_tokens: Vec<i64>,
    /// Copies that ended here recently, and how.
    pub ended_copies: Vec<(Token, Code)>,
    /// Orders of Centreon Web that no node has confirmed.
    pub legacy: LegacyStored,
    /// Requests that wait for their nodes.
    pub queue: QueueStored,
    /// The `ctime` of the newest row of the history in seconds, 0 for an empty one.
    pub newest_ctime: f64,
}

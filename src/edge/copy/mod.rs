//! Files that are copied from daemon to daemon (docs/protocol.md section 12): read, packed, gathered, unpacked, moved
//! into place.
//!
//! Everything here blocks and runs on worker threads. Out of scope: messages, the order of steps, what a row says.

pub mod sink;
pub mod source;
pub mod unpack;

mod attributes;
mod digest;
mod inside;
mod left_over;
mod marks;
mod own_files;
mod pack;
mod place;
mod room;
mod tar_headers;
mod text;

pub use own_files::set_own_files;
#[cfg(feature = "ssh")]
pub use source::{Opened, open_source};

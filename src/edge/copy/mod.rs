//! Files of copies between daemons (docs/protocol.md section 12): reading, packing, gathering, unpacking, moving into
//! place.
//!
//! Everything here blocks and runs on worker threads. Out of scope: messages, the order of steps, and the texts of
//! rows.

pub mod sink;
pub mod source;
pub mod unpack;

mod attributes;
mod below;
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
mod tree;
mod walk;

pub use own_files::set_own_files;
#[cfg(feature = "ssh")]
pub use source::{Opened, open_source};

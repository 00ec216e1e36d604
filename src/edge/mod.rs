//! Everything that touches the operating system: sockets, files, SQLite, child processes, signals, threads, the clock.
//!
//! Simple synchronous building blocks; `daemon::event_loop` decides what runs on its own thread and what is a job.
//! Out of scope: protocols, decisions, waiting (only worker threads of [`jobs`] ever wait).

pub mod api_connection;
pub mod backup;
pub mod centreon_database;
mod child_output;
pub mod child_process;
pub mod clock;
#[cfg(feature = "centreon")]
pub mod command_files;
pub mod command_pipe;
pub mod copy;
pub mod event_file;
pub mod file_watch;
pub mod history_store;
pub mod jobs;
pub mod joined_file;
pub mod journal;
mod large_blocks;
pub mod log;
pub mod memory_folder;
pub mod memory_limit;
#[cfg(feature = "centreon")]
pub mod moving_tables;
pub mod notify;
pub mod packages;
pub mod private_tmp;
pub mod process_group;
pub mod process_memory;
pub mod random;
pub mod resolver;
#[cfg(feature = "centreon")]
pub mod server_store;
pub mod signals;
pub mod sockets;
#[cfg(feature = "ssh")]
pub mod ssh;
#[cfg(feature = "centreon")]
pub mod statistics;
pub mod store;
pub mod system;
pub mod time_zone;
pub mod tls;
#[cfg(feature = "centreon")]
pub mod vault;
#[cfg(feature = "centreon")]
pub mod web_client;
#[cfg(feature = "centreon")]
pub mod web_tokens;

#[cfg(test)]
pub(crate) mod temp_dir;

pub use system::{
    forbid_dumps, hostname, keep_freed_memory, keep_inherited_descriptors, raise_open_file_limit, release_free_memory,
    release_program_pages,
};

//! Ties the layers together: `dispatch` (no mio, no clock) and `event_loop` (the only place that waits).

pub mod dispatch;
pub mod doctor;
pub mod event_loop;
pub mod joining;
pub mod key_files;
pub mod poller_preview;
#[cfg(feature = "status")]
mod report;
pub mod run_options;
pub mod secrets;
pub mod vault;

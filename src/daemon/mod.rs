//! Ties the layers together: `dispatch` (no mio, no clock) and `event_loop` (the only place that waits).

pub mod dispatch;
pub mod timers;

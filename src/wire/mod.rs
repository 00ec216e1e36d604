//! Bytes to values and back. No socket, no clock: fed with slices, drained of slices.

pub mod gorgone;
pub mod http;
pub mod receive_buffer;
pub mod send_queue;
pub mod websocket;
pub mod zmtp;

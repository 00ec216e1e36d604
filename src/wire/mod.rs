//! Bytes to values and back. Nothing here uses a socket or a clock: input and output are slices.

mod gathering;
pub mod gorgone;
pub mod http;
pub mod receive_buffer;
pub mod send_queue;
pub mod tls_link;
pub mod websocket;
pub mod zmtp;

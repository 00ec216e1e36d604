//! HTTP/1.1 for servers (RFC 9110, RFC 9112): requests in, responses out.
//!
//! Strict where two readers of one byte stream could disagree (request smuggling): one `Content-Length` of digits only
//! or `Transfer-Encoding: chunked`, never both; lines end with CRLF; no folded headers.
//!
//! Out of scope: sockets, clocks, routing, HTTP/2, content codings, ranges, and the client's side.

pub mod basic_auth;
pub mod bearer_auth;
pub mod body;
pub mod date;
pub mod error;
pub mod head;
pub mod head_scanner;
pub mod password_hash;
pub mod request;
pub mod response;
pub mod target;

#[cfg(test)]
mod tests;

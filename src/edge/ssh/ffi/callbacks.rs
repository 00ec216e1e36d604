//! The callbacks of libssh2: socket input and output, and questions of a login.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};
use std::os::fd::BorrowedFd;

use libc::{size_t, ssize_t};
use libssh2_sys as sys;

use super::super::socket_io::{self, SocketIo};
use super::len;

/// A length or an error in the form that the library's callbacks return.
fn returned(outcome: Result<usize, c_int>) -> ssize_t {
    match outcome {
        Ok(len) => ssize_t::try_from(len).unwrap_or(ssize_t::MAX),
        Err(number) => -(number as ssize_t),
    }
}

/// libssh2's `LIBSSH2_SEND_FUNC`.
pub(super) extern "C" fn send(
    socket: c_int,
    buffer: *const c_void,
    length: size_t,
    _flags: c_int,
    context: *mut *mut c_void,
) -> ssize_t {
    // SAFETY: libssh2 calls back only from inside a call of ours, while no reference to the `SocketIo` is alive;
    // `buffer` has `length` readable bytes, and the descriptor is open: the session's, or that of its agent.
    let (io, bytes, agent) = unsafe {
        let bytes = std::slice::from_raw_parts(buffer.cast::<u8>(), length);
        (&mut *(*context).cast::<SocketIo>(), bytes, BorrowedFd::borrow_raw(socket))
    };
    returned(if socket == io.descriptor() { io.send(bytes) } else { socket_io::send_to_agent(agent, bytes) })
}

/// libssh2's `LIBSSH2_RECV_FUNC`.
pub(super) extern "C" fn receive(
    socket: c_int,
    buffer: *mut c_void,
    length: size_t,
    _flags: c_int,
    context: *mut *mut c_void,
) -> ssize_t {
    // SAFETY: as in `send`; `buffer` has `length` bytes, which are zeroed first, so that no uninitialised byte is ever
    // seen.
    let (io, into, agent) = unsafe {
        std::ptr::write_bytes(buffer.cast::<u8>(), 0, length);
        let into = std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length);
        (&mut *(*context).cast::<SocketIo>(), into, BorrowedFd::borrow_raw(socket))
    };
    returned(if socket == io.descriptor() { io.receive(into) } else { socket_io::receive_from_agent(agent, into) })
}

/// libssh2's keyboard-interactive callback: answers every question that is not shown while it is typed with the
/// password.
pub(super) extern "C" fn answer(
    _user: *const c_char,
    _user_len: c_int,
    _instruction: *const c_char,
    _instruction_len: c_int,
    count: c_int,
    prompts: *const sys::LIBSSH2_USERAUTH_KBDINT_PROMPT,
    responses: *mut sys::LIBSSH2_USERAUTH_KBDINT_RESPONSE,
    context: *mut *mut c_void,
) {
    let count = usize::try_from(count).unwrap_or(0);
    if count == 0 || prompts.is_null() || responses.is_null() {
        return;
    }
    // SAFETY: as in `send`; both arrays have `count` entries that the library has initialised. It frees each answer
    // with the allocator that it uses itself, which is malloc's; a block has room for the text and one byte more.
    unsafe {
        let io = &*(*context).cast::<SocketIo>();
        let responses = std::slice::from_raw_parts_mut(responses, count);
        for (prompt, response) in std::slice::from_raw_parts(prompts, count).iter().zip(responses) {
            let text = if prompt.echo == 0 { io.password() } else { &[] };
            let block = libc::malloc(text.len() + 1).cast::<u8>();
            if !block.is_null() {
                std::ptr::copy_nonoverlapping(text.as_ptr(), block, text.len());
                response.text = block.cast();
                response.length = len(text);
            }
        }
    }
}

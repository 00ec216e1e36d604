//! libssh2 behind a safe type: the only place of SSH with `unsafe`.
//!
//! A [`Ssh2`] owns one session of the library with everything that belongs to it: its channels, its SFTP channel, an
//! open file there, an agent, and the socket that the library's callbacks read and write. Whoever holds it has the only
//! way to any of them, so each method may call the library. Nothing waits: a call that would is [`Fault::WouldBlock`],
//! and is made again.
#![allow(unsafe_code)]

mod callbacks;
mod sftp;

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::fmt;
use std::ptr::{NonNull, null, null_mut};
use std::sync::Once;

use libc::{size_t, ssize_t};
use libssh2_sys as sys;

use super::socket_io::SocketIo;
use crate::model::ssh::SshExit;

/// `LIBSSH2_CALLBACK_SEND` and `LIBSSH2_CALLBACK_RECV`.
const CALLBACKS: [c_int; 2] = [5, 6];
/// `OPENSSL_INIT_NO_ATEXIT`: a worker may still calculate when the process ends.
const NO_ATEXIT: u64 = 0x0008_0000;
/// Window of a channel: number of output bytes that a host may send before we have read them.
const WINDOW_BYTES: c_uint = 256 << 10;
const PACKET_BYTES: c_uint = 32 << 10;
/// Minimum interval in seconds between two keep-alives.
const KEEP_ALIVE_SECONDS: c_uint = 1;
/// Maximum number of retries of a freeing call that would block although the socket is shut.
const FREE_TRIES: usize = 1_000;

// SAFETY: the signatures are those of the headers of libssh2 1.11.2 and OpenSSL 3.
unsafe extern "C" {
    fn libssh2_session_callback_set2(raw: *mut sys::LIBSSH2_SESSION, kind: c_int, call: *mut c_void) -> *mut c_void;
    fn libssh2_channel_signal_ex(channel: *mut sys::LIBSSH2_CHANNEL, name: *const c_char, len: size_t) -> c_int;
    fn libssh2_channel_has_exit_status(channel: *mut sys::LIBSSH2_CHANNEL) -> c_int;
    fn OPENSSL_init_crypto(options: u64, settings: *const c_void) -> c_int;
}

/// Why a call has no result.
#[derive(Debug)]
pub(super) enum Fault {
    /// The socket has no data, or takes none, at the moment.
    WouldBlock,
    /// The call failed.
    Failed {
        /// The error number of the library.
        number: c_int,
        /// The error in words.
        text: String,
    },
}

impl Fault {
    /// Whether the call failed with one of these error numbers.
    pub fn is(&self, wanted: &[c_int]) -> bool {
        matches!(self, Self::Failed { number, .. } if wanted.contains(number))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldBlock => formatter.write_str("it would block"),
            Self::Failed { text, .. } => formatter.write_str(text),
        }
    }
}

/// The result of a call of the library.
pub(super) type Outcome<T> = Result<T, Fault>;

/// A channel of one session. It means nothing to another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChannelId(u32);

/// An agent whose keys are tried one after the other.
struct Agent {
    raw: NonNull<sys::LIBSSH2_AGENT>,
    key: *mut sys::libssh2_agent_publickey,
}

/// One session of the library; see the module's documentation. It may move between threads.
pub(super) struct Ssh2 {
    raw: NonNull<sys::LIBSSH2_SESSION>,
    /// The library's callbacks use it too, so no reference to it is kept.
    io: NonNull<SocketIo>,
    channels: BTreeMap<ChannelId, NonNull<sys::LIBSSH2_CHANNEL>>,
    next_channel: u32,
    sftp: Option<NonNull<sys::LIBSSH2_SFTP>>,
    file: Option<NonNull<sys::LIBSSH2_SFTP_HANDLE>>,
    agent: Option<Agent>,
}

// SAFETY: everything behind the pointers belongs to this one session, and whoever owns it is the only one to touch it.
// libssh2 and OpenSSL keep nothing per thread that a session needs.
unsafe impl Send for Ssh2 {}

/// A pointer to text. The library takes the length as a separate argument.
const fn chars(text: &[u8]) -> *const c_char {
    text.as_ptr().cast()
}

/// A length in the type of the library's older functions.
fn len(text: &[u8]) -> c_uint {
    c_uint::try_from(text.len()).unwrap_or(c_uint::MAX)
}

/// Initialises the library once. Neither it nor OpenSSL is used before the first SSH node.
fn initialise() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: called once, before any other call of either library; null settings are allowed. A failure shows when
        // a session is made.
        unsafe {
            OPENSSL_init_crypto(NO_ATEXIT, null());
            sys::libssh2_init(0);
        }
    });
}

impl Ssh2 {
    /// A session over `io`; `None` without memory.
    pub fn new(io: SocketIo) -> Option<Self> {
        initialise();
        let io = NonNull::from(Box::leak(Box::new(io)));
        // SAFETY: null functions ask for malloc and free; the context is handed back to our callbacks, which expect
        // exactly this pointer.
        let raw = NonNull::new(unsafe { sys::libssh2_session_init_ex(None, None, None, io.as_ptr().cast()) });
        let Some(raw) = raw else {
            // SAFETY: made above and known to nobody else.
            drop(unsafe { Box::from_raw(io.as_ptr()) });
            return None;
        };
        let calls = [callbacks::send as *mut c_void, callbacks::receive as *mut c_void];
        // SAFETY: the session was just made; both functions have the signature that the library calls them with.
        // Keep-alives ask for no reply, because the library would keep each reply until the session ends.
        unsafe {
            sys::libssh2_session_set_blocking(raw.as_ptr(), 0);
            for (kind, call) in CALLBACKS.into_iter().zip(calls) {
                libssh2_session_callback_set2(raw.as_ptr(), kind, call);
            }
            sys::libssh2_keepalive_config(raw.as_ptr(), 0, KEEP_ALIVE_SECONDS);
        }
        let (channels, next_channel) = (BTreeMap::new(), 0);
        Some(Self { raw, io, channels, next_channel, sftp: None, file: None, agent: None })
    }

    pub const fn io(&mut self) -> &mut SocketIo {
        // SAFETY: valid as long as the session; no call of the library is under way, so no callback holds it.
        unsafe { self.io.as_mut() }
    }

    /// The socket, for reading its state.
    pub const fn socket(&self) -> &SocketIo {
        // SAFETY: as in `io`.
        unsafe { self.io.as_ref() }
    }

    /// The last error of this session.
    fn fault(&self) -> Fault {
        let (mut text, mut text_len) = (null_mut::<c_char>(), 0);
        // SAFETY: the text stays the library's (`want_buf` is 0) and is copied before any other call.
        let (number, text) = unsafe {
            let number = sys::libssh2_session_last_error(self.raw.as_ptr(), &raw mut text, &raw mut text_len, 0);
            let text = if text.is_null() { c"unknown error".as_ptr() } else { text };
            (number, CStr::from_ptr(text).to_string_lossy().into_owned())
        };
        if number == sys::LIBSSH2_ERROR_EAGAIN { Fault::WouldBlock } else { Fault::Failed { number, text } }
    }

    fn check(&self, result: c_int) -> Outcome<()> {
        match result {
            0 => Ok(()),
            sys::LIBSSH2_ERROR_EAGAIN => Err(Fault::WouldBlock),
            number => match self.fault() {
                Fault::Failed { text, .. } => Err(Fault::Failed { number, text }),
                // Left over from an earlier call.
                Fault::WouldBlock => Err(Fault::Failed { number, text: "unknown error".to_owned() }),
            },
        }
    }

    fn check_len(&self, result: ssize_t) -> Outcome<usize> {
        usize::try_from(result).or_else(|_| self.check(c_int::try_from(result).unwrap_or(-1)).map(|()| 0))
    }

    fn no_longer_there() -> Fault {
        Fault::Failed { number: sys::LIBSSH2_ERROR_BAD_USE, text: "it is no longer there".to_owned() }
    }

    /// Which algorithms of a kind the library was built with.
    pub fn supported(&mut self, kind: c_int) -> Vec<String> {
        let mut names: *mut *const c_char = null_mut();
        // SAFETY: on success `names` leads to `count` C strings that live as long as the library, in an array that is
        // ours to free.
        unsafe {
            let count = sys::libssh2_session_supported_algs(self.raw.as_ptr(), kind, &raw mut names);
            let count = usize::try_from(count).unwrap_or(0);
            if names.is_null() {
                return Vec::new();
            }
            let list = std::slice::from_raw_parts(names, count);
            let list = list.iter().map(|name| CStr::from_ptr(*name).to_string_lossy().into_owned()).collect();
            sys::libssh2_free(self.raw.as_ptr(), names.cast());
            list
        }
    }

    /// Offers these algorithms of a kind, the preferred ones first.
    pub fn prefer(&mut self, kind: c_int, names: &[String]) -> Outcome<()> {
        let list = CString::new(names.join(",")).unwrap_or_default();
        // SAFETY: the library copies the list.
        self.check(unsafe { sys::libssh2_session_method_pref(self.raw.as_ptr(), kind, list.as_ptr()) })
    }

    /// Exchanges banners and keys.
    pub fn handshake(&mut self) -> Outcome<()> {
        let descriptor = self.socket().descriptor();
        // SAFETY: the socket is open.
        self.check(unsafe { sys::libssh2_session_handshake(self.raw.as_ptr(), descriptor) })
    }

    /// The key that the host has shown.
    pub fn host_key(&mut self) -> Vec<u8> {
        let (mut len, mut kind) = (0, 0);
        // SAFETY: the key belongs to the session and is copied at once.
        unsafe {
            let key = sys::libssh2_session_hostkey(self.raw.as_ptr(), &raw mut len, &raw mut kind);
            if key.is_null() { Vec::new() } else { std::slice::from_raw_parts(key.cast::<u8>(), len).to_vec() }
        }
    }

    /// The banner of the host.
    pub fn banner(&self) -> String {
        // SAFETY: a C string that belongs to the session and is copied at once.
        unsafe {
            let text = sys::libssh2_session_banner_get(self.raw.as_ptr());
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        }
    }

    /// Sends a keep-alive, so that routers on the way do not forget the connection.
    pub fn keep_alive(&mut self) {
        // SAFETY: nobody wants to know when the next one is due. A broken connection is noticed by its socket.
        unsafe { sys::libssh2_keepalive_send(self.raw.as_ptr(), null_mut()) };
    }

    /// The login methods that the host offers; `None` if it needs no login.
    pub fn login_methods(&mut self, user: &str) -> Outcome<Option<String>> {
        let user = user.as_bytes();
        // SAFETY: the name is given with its length; the answer is a C string of the library, copied at once.
        unsafe {
            let list = sys::libssh2_userauth_list(self.raw.as_ptr(), chars(user), len(user));
            if !list.is_null() {
                return Ok(Some(CStr::from_ptr(list).to_string_lossy().into_owned()));
            }
            match sys::libssh2_userauth_authenticated(self.raw.as_ptr()) {
                0 => Err(self.fault()),
                _ => Ok(None),
            }
        }
    }

    /// Logs in with a private key, whose public half the library derives.
    pub fn log_in_by_key(&mut self, user: &str, key: &[u8], passphrase: &CStr) -> Outcome<()> {
        let user = user.as_bytes();
        // SAFETY: name and key are given with their lengths, the passphrase is a C string; there is no public key.
        self.check(unsafe {
            sys::libssh2_userauth_publickey_frommemory(
                self.raw.as_ptr(),
                chars(user),
                user.len(),
                null(),
                0,
                chars(key),
                key.len(),
                passphrase.as_ptr(),
            )
        })
    }

    /// Logs in with a password. A host that wants it changed is an error.
    pub fn log_in_by_password(&mut self, user: &str, password: &str) -> Outcome<()> {
        let (user, word) = (user.as_bytes(), password.as_bytes());
        // SAFETY: both texts are given with their lengths; no callback is given.
        self.check(unsafe {
            let session = self.raw.as_ptr();
            sys::libssh2_userauth_password_ex(session, chars(user), len(user), chars(word), len(word), None)
        })
    }

    /// Logs in by answering questions with the password of the [`SocketIo`].
    pub fn log_in_by_keyboard(&mut self, user: &str) -> Outcome<()> {
        let user = user.as_bytes();
        // SAFETY: the name is given with its length; the callback keeps to the callback's contract.
        self.check(unsafe {
            sys::libssh2_userauth_keyboard_interactive_ex(
                self.raw.as_ptr(),
                chars(user),
                len(user),
                Some(callbacks::answer),
            )
        })
    }

    /// Connects to the agent of `SSH_AUTH_SOCK`, unless that is done, and asks for its keys.
    pub fn open_agent(&mut self) -> Outcome<()> {
        if self.agent.is_some() {
            return Ok(());
        }
        // SAFETY: the session outlives the agent, see `drop`.
        let raw = NonNull::new(unsafe { sys::libssh2_agent_init(self.raw.as_ptr()) }).ok_or_else(|| self.fault())?;
        self.agent = Some(Agent { raw, key: null_mut() });
        // SAFETY: `raw` was just made.
        self.check(unsafe { sys::libssh2_agent_connect(raw.as_ptr()) })?;
        // SAFETY: as above.
        self.check(unsafe { sys::libssh2_agent_list_identities(raw.as_ptr()) })
    }

    /// Selects the agent's next key. Returns whether there is one.
    pub fn next_agent_key(&mut self) -> bool {
        let Some(agent) = &mut self.agent else { return false };
        let before = agent.key;
        // SAFETY: the agent is alive; the key before it stems from its list, which changes no more.
        unsafe { sys::libssh2_agent_get_identity(agent.raw.as_ptr(), &raw mut agent.key, before) == 0 }
    }

    /// Logs in with the selected key of the agent.
    pub fn log_in_by_agent(&mut self, user: &CStr) -> Outcome<()> {
        let agent = self.agent.as_ref().filter(|agent| !agent.key.is_null()).ok_or_else(Self::no_longer_there)?;
        // SAFETY: agent and key are alive, the name is a C string.
        self.check(unsafe { sys::libssh2_agent_userauth(agent.raw.as_ptr(), user.as_ptr(), agent.key) })
    }

    /// Opens a channel. The library opens one at a time: nothing else may be opened until this call ends.
    pub fn open_channel(&mut self) -> Outcome<ChannelId> {
        const KIND: &[u8] = b"session";
        // SAFETY: the kind is given with its length, a null message has none.
        let channel = NonNull::new(unsafe {
            let (session, len) = (self.raw.as_ptr(), len(KIND));
            sys::libssh2_channel_open_ex(session, chars(KIND), len, WINDOW_BYTES, PACKET_BYTES, null(), 0)
        });
        let channel = channel.ok_or_else(|| self.fault())?;
        let id = ChannelId(self.next_channel);
        self.next_channel += 1;
        self.channels.insert(id, channel);
        Ok(id)
    }

    fn channel(&self, id: ChannelId) -> Outcome<*mut sys::LIBSSH2_CHANNEL> {
        self.channels.get(&id).map(|channel| channel.as_ptr()).ok_or_else(Self::no_longer_there)
    }

    /// Runs a command in a channel.
    pub fn start(&mut self, id: ChannelId, line: &str) -> Outcome<()> {
        const REQUEST: &[u8] = b"exec";
        let (channel, line) = (self.channel(id)?, line.as_bytes());
        // SAFETY: the channel is alive; both texts are given with their lengths.
        self.check(unsafe {
            sys::libssh2_channel_process_startup(channel, chars(REQUEST), len(REQUEST), chars(line), len(line))
        })
    }

    /// Reads from a stream of a channel (0 is stdout, 1 is stderr). Returns the number of bytes, 0 at its end.
    pub fn read(&mut self, id: ChannelId, stream: c_int, into: &mut [u8]) -> Outcome<usize> {
        let channel = self.channel(id)?;
        // SAFETY: the channel is alive; pointer and length describe `into`.
        self.check_len(unsafe { sys::libssh2_channel_read_ex(channel, stream, into.as_mut_ptr().cast(), into.len()) })
    }

    /// Whether all output of a channel has been read.
    pub fn has_ended(&self, id: ChannelId) -> bool {
        // SAFETY: the channel is alive.
        self.channel(id).is_ok_and(|channel| unsafe { sys::libssh2_channel_eof(channel) == 1 })
    }

    /// Awaits the host's close of a channel at its end. By then the host has sent the exit status.
    pub fn wait_closed(&mut self, id: ChannelId) -> Outcome<()> {
        let channel = self.channel(id)?;
        // SAFETY: the channel is alive.
        self.check(unsafe { sys::libssh2_channel_wait_closed(channel) })
    }

    /// How the command of a channel ended; `None` if the host has not said so.
    pub fn exit(&mut self, id: ChannelId) -> Option<SshExit> {
        let channel = self.channel(id).ok()?;
        let (mut name, mut len) = (null_mut::<c_char>(), 0);
        let (text, text_len) = (null_mut::<*mut c_char>(), null_mut::<size_t>());
        // SAFETY: the channel is alive; the places that are null are not filled; the name is ours to free.
        unsafe {
            let name_place = (&raw mut name, &raw mut len);
            sys::libssh2_channel_get_exit_signal(channel, name_place.0, name_place.1, text, text_len, text, text_len);
            if !name.is_null() {
                let word = String::from_utf8_lossy(std::slice::from_raw_parts(name.cast::<u8>(), len)).into_owned();
                sys::libssh2_free(self.raw.as_ptr(), name.cast());
                return Some(SshExit::Signal(word.chars().take(32).collect()));
            }
            let is_said = libssh2_channel_has_exit_status(channel) == 1;
            is_said.then(|| SshExit::Status(sys::libssh2_channel_get_exit_status(channel)))
        }
    }

    /// Asks the host to kill what runs in a channel. Not every host does.
    pub fn kill(&mut self, id: ChannelId) {
        const NAME: &[u8] = b"KILL";
        if let Ok(channel) = self.channel(id) {
            // SAFETY: the channel is alive; the name is given with its length. Whether it worked is not known in any
            // case.
            unsafe { libssh2_channel_signal_ex(channel, chars(NAME), NAME.len()) };
        }
    }

    /// Closes a channel. Returns `false` while that would block; then call it again.
    pub fn close_channel(&mut self, id: ChannelId) -> bool {
        let Ok(channel) = self.channel(id) else { return true };
        // SAFETY: the channel is alive; after any other answer than "would block" it is gone, and forgotten here.
        let is_gone = unsafe { sys::libssh2_channel_free(channel) != sys::LIBSSH2_ERROR_EAGAIN };
        if is_gone {
            self.channels.remove(&id);
        }
        is_gone
    }
}

impl Drop for Ssh2 {
    fn drop(&mut self) {
        // Nothing is sent or awaited any more, so the library frees all channels at once.
        self.io().shut();
        if let Some(agent) = self.agent.take() {
            // SAFETY: the agent is alive and not used afterwards; its session still is alive.
            unsafe {
                sys::libssh2_agent_disconnect(agent.raw.as_ptr());
                sys::libssh2_agent_free(agent.raw.as_ptr());
            }
        }
        let _is_gone = (0..FREE_TRIES).any(|_| self.close_sftp());
        let raw = self.raw.as_ptr();
        // SAFETY: the session is alive until this says so, and not used afterwards; it frees its channels.
        let _is_gone = (0..FREE_TRIES).any(|_| unsafe { sys::libssh2_session_free(raw) != sys::LIBSSH2_ERROR_EAGAIN });
        // SAFETY: made by `new`, and nobody calls back any more.
        drop(unsafe { Box::from_raw(self.io.as_ptr()) });
    }
}

//! Logging in: public keys first (the configured one, the usual ones, an agent's), then the password, also by
//! keyboard-interactive. What was tried and why it failed is kept in words, never with a secret.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;

use libssh2_sys as ffi;

use super::key_files::{self, KeyText};
use super::library::{chars, last_errno, last_error, short_len};
use super::socket_io::SocketIo;
use super::{agent_socket, library};
use crate::model::ssh::{SshNews, SshTarget};

/// Public keys that are tried, at most: a host counts each, and OpenSSH's sshd ends the connection at the sixth
/// failure.
const MAX_KEYS: usize = 4;

enum Attempt {
    Key(KeyText),
    Agent,
    Password,
    Keyboard,
}

enum State {
    /// The host is asked which ways there are.
    Asking,
    /// One way is under way.
    Trying(Attempt),
    Over,
}

/// A login under way.
pub(super) struct Authentication {
    state: State,
    left: VecDeque<Attempt>,
    tried: Vec<String>,
    agent: Option<Agent>,
    keys_tried: usize,
}

/// What one step brought.
enum Step {
    WouldBlock,
    LoggedIn(String),
    Failed(String),
}

impl Authentication {
    pub const fn new() -> Self {
        Self { state: State::Asking, left: VecDeque::new(), tried: Vec::new(), agent: None, keys_tried: 0 }
    }

    /// Goes on as far as the socket allows; the news that ends it, if it has ended.
    pub fn go_on(&mut self, session: *mut ffi::LIBSSH2_SESSION, target: &SshTarget) -> Option<SshNews> {
        loop {
            match &self.state {
                State::Over => return None,
                State::Asking => match self.ask(session, target)? {
                    Ok(()) => self.next(),
                    Err(end) => return Some(end),
                },
                State::Trying(_) => match self.attempt(session, target) {
                    Step::WouldBlock => return None,
                    Step::LoggedIn(how) => {
                        self.state = State::Over;
                        return Some(SshNews::LoggedIn(how));
                    }
                    Step::Failed(reason) => {
                        self.tried.push(reason);
                        self.next();
                    }
                },
            }
            if matches!(self.state, State::Over) {
                return Some(SshNews::LoginRefused(self.account()));
            }
        }
    }

    /// What was tried, for the log.
    pub fn account(&self) -> String {
        if self.tried.is_empty() {
            return "nothing to log in with: give ssh_identity, ssh_password or an agent".to_owned();
        }
        self.tried.join("; ")
    }

    fn next(&mut self) {
        self.state = self.left.pop_front().map_or(State::Over, State::Trying);
    }

    /// Asks which ways the host offers; `None` while the answer is awaited.
    fn ask(&mut self, session: *mut ffi::LIBSSH2_SESSION, target: &SshTarget) -> Option<Result<(), SshNews>> {
        let user = target.username.as_bytes();
        // SAFETY: the session is alive; the name is given with its length.
        let list = unsafe { ffi::libssh2_userauth_list(session, chars(user), short_len(user)) };
        if list.is_null() {
            if last_errno(session) == ffi::LIBSSH2_ERROR_EAGAIN {
                return None;
            }
            // SAFETY: the session is alive.
            if unsafe { ffi::libssh2_userauth_authenticated(session) } != 0 {
                self.state = State::Over;
                return Some(Err(SshNews::LoggedIn("without any authentication".to_owned())));
            }
            return Some(Err(SshNews::Closed(format!("authentication: {}", last_error(session)))));
        }
        // SAFETY: a C string of the library, which lives until the next call.
        let methods = unsafe { CStr::from_ptr(list) }.to_string_lossy().into_owned();
        let has = |name: &str| methods.split(',').any(|method| method == name);
        if has("publickey") {
            let (keys, problems) = key_files::candidates(target);
            self.tried.extend(problems);
            self.left.extend(keys.into_iter().map(Attempt::Key));
            self.left.push_back(Attempt::Agent);
        } else {
            self.tried.push(format!("public key: the host offers only {methods}"));
        }
        if target.password.is_some() {
            let before = self.left.len();
            if has("password") {
                self.left.push_back(Attempt::Password);
            }
            if has("keyboard-interactive") {
                self.left.push_back(Attempt::Keyboard);
            }
            if self.left.len() == before {
                self.tried.push(format!("password: the host offers only {methods} at first"));
                // One that wants a key and a password offers the second once it has the first; the library does not
                // tell such a half success from a failure.
                self.left.extend([Attempt::Password, Attempt::Keyboard]);
            }
        } else {
            self.tried.push("no ssh_password is given".to_owned());
            // Said last.
            self.tried.rotate_right(1);
        }
        Some(Ok(()))
    }

    fn attempt(&mut self, session: *mut ffi::LIBSSH2_SESSION, target: &SshTarget) -> Step {
        match &self.state {
            State::Trying(Attempt::Key(key)) => {
                if self.keys_tried >= MAX_KEYS {
                    return Step::Failed(format!("key {}: not tried, {MAX_KEYS} others were", key.path.display()));
                }
                let step = try_key(session, target, key);
                if matches!(step, Step::Failed(_)) {
                    self.keys_tried += 1;
                }
                step
            }
            State::Trying(Attempt::Agent) => {
                let user = target.username.as_str();
                let agent = match &mut self.agent {
                    Some(agent) => agent,
                    none => match Agent::connect(session) {
                        Ok(agent) => none.insert(agent),
                        Err(reason) => return Step::Failed(format!("agent: {reason}")),
                    },
                };
                agent.go_on(session, user, &mut self.keys_tried)
            }
            State::Trying(Attempt::Password) => try_password(session, target),
            State::Trying(Attempt::Keyboard) => try_keyboard(session, target),
            State::Asking | State::Over => Step::WouldBlock,
        }
    }
}

/// The outcome of one call of the library.
fn judge(session: *mut ffi::LIBSSH2_SESSION, result: c_int, how: &str) -> Step {
    match result {
        0 => Step::LoggedIn(how.to_owned()),
        ffi::LIBSSH2_ERROR_EAGAIN => Step::WouldBlock,
        ffi::LIBSSH2_ERROR_AUTHENTICATION_FAILED | ffi::LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED => {
            Step::Failed(format!("{how}: the host does not accept it"))
        }
        _ => Step::Failed(format!("{how}: {}", last_error(session))),
    }
}

fn try_key(session: *mut ffi::LIBSSH2_SESSION, target: &SshTarget, key: &KeyText) -> Step {
    let how = format!("key {}", key.path.display());
    let passphrase = target.passphrase.as_ref().map_or("", |secret| secret.reveal());
    let Ok(passphrase) = CString::new(passphrase) else {
        return Step::Failed(format!("{how}: the passphrase holds a zero byte"));
    };
    let user = target.username.as_bytes();
    // SAFETY: the session is alive; name and key are given with their lengths, the passphrase is a C string; without a
    // public key the library derives it. While it would block it is called again with the same arguments.
    let result = unsafe {
        ffi::libssh2_userauth_publickey_frommemory(
            session,
            chars(user),
            user.len(),
            std::ptr::null(),
            0,
            chars(&key.text),
            key.text.len(),
            passphrase.as_ptr(),
        )
    };
    match result {
        ffi::LIBSSH2_ERROR_KEYFILE_AUTH_FAILED | ffi::LIBSSH2_ERROR_FILE => {
            let text = "it cannot be read: a wrong ssh_passphrase, a damaged file or an unknown kind of key";
            Step::Failed(format!("{how}: {text}"))
        }
        result => judge(session, result, &how),
    }
}

fn try_password(session: *mut ffi::LIBSSH2_SESSION, target: &SshTarget) -> Step {
    let user = target.username.as_bytes();
    let password = target.password.as_ref().map_or("", |secret| secret.reveal()).as_bytes();
    // SAFETY: the session is alive; both texts are given with their lengths; without a callback a wish of the host to
    // change the password is an error.
    let result = unsafe {
        ffi::libssh2_userauth_password_ex(
            session,
            chars(user),
            short_len(user),
            chars(password),
            short_len(password),
            None,
        )
    };
    judge(session, result, "password")
}

fn try_keyboard(session: *mut ffi::LIBSSH2_SESSION, target: &SshTarget) -> Step {
    let user = target.username.as_bytes();
    // SAFETY: the session is alive; the name is given with its length; `answer` keeps to the callback's contract.
    let result =
        unsafe { ffi::libssh2_userauth_keyboard_interactive_ex(session, chars(user), short_len(user), Some(answer)) };
    judge(session, result, "keyboard-interactive")
}

/// Answers every question that is not shown while it is typed with the password.
extern "C" fn answer(
    _user: *const c_char,
    _user_len: c_int,
    _instruction: *const c_char,
    _instruction_len: c_int,
    count: c_int,
    prompts: *const ffi::LIBSSH2_USERAUTH_KBDINT_PROMPT,
    responses: *mut ffi::LIBSSH2_USERAUTH_KBDINT_RESPONSE,
    context: *mut *mut c_void,
) {
    let count = usize::try_from(count).unwrap_or(0);
    if count == 0 || prompts.is_null() || responses.is_null() {
        return;
    }
    // SAFETY: called from inside a call of ours, while no other reference to the `SocketIo` is alive; both arrays have
    // `count` entries that the library has initialised.
    let (io, prompts, responses) = unsafe {
        let io = &*(*context).cast::<SocketIo>();
        (io, std::slice::from_raw_parts(prompts, count), std::slice::from_raw_parts_mut(responses, count))
    };
    let password = io.password.as_ref().map_or("", |secret| secret.reveal()).as_bytes();
    for (prompt, response) in prompts.iter().zip(responses) {
        let text = if prompt.echo == 0 { password } else { &[] };
        // SAFETY: the library frees the answer with the allocator that it uses itself, which is malloc's; the block has
        // room for the text and one byte more.
        unsafe {
            let block = libc::malloc(text.len() + 1).cast::<u8>();
            if block.is_null() {
                continue;
            }
            std::ptr::copy_nonoverlapping(text.as_ptr(), block, text.len());
            response.text = block.cast();
        }
        response.length = library::short_len(text);
    }
}

/// An agent whose keys are tried one after the other.
struct Agent {
    agent: *mut ffi::LIBSSH2_AGENT,
    current: *mut ffi::libssh2_agent_publickey,
    has_current: bool,
    tried: usize,
}

impl Agent {
    fn connect(session: *mut ffi::LIBSSH2_SESSION) -> Result<Self, String> {
        let path = std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty());
        let path = path.ok_or("there is none (SSH_AUTH_SOCK is not set)")?;
        agent_socket::is_listening(Path::new(&path)).map_err(|error| error.to_string())?;
        // SAFETY: the session is alive and outlives the agent: both belong to one `Session`, which drops the agent
        // first.
        let agent = unsafe { ffi::libssh2_agent_init(session) };
        if agent.is_null() {
            return Err(last_error(session));
        }
        let this = Self { agent, current: std::ptr::null_mut(), has_current: false, tried: 0 };
        // SAFETY: `agent` was just made.
        let result = unsafe {
            match ffi::libssh2_agent_connect(agent) {
                0 => ffi::libssh2_agent_list_identities(agent),
                error => error,
            }
        };
        if result == 0 { Ok(this) } else { Err(last_error(session)) }
    }

    /// Tries key after key.
    fn go_on(&mut self, session: *mut ffi::LIBSSH2_SESSION, user: &str, keys_tried: &mut usize) -> Step {
        let Ok(user) = CString::new(user) else { return Step::Failed("agent: a strange user name".to_owned()) };
        loop {
            if !self.has_current {
                if *keys_tried > MAX_KEYS {
                    return Step::Failed(format!("agent: {} of its keys not accepted, no more tried", self.tried));
                }
                let mut next = std::ptr::null_mut();
                // SAFETY: the agent is alive; the key before it stems from the same list.
                if unsafe { ffi::libssh2_agent_get_identity(self.agent, &raw mut next, self.current) } != 0 {
                    return Step::Failed(format!("agent: {} keys, none accepted", self.tried));
                }
                self.current = next;
                self.has_current = true;
            }
            // SAFETY: agent and key are alive, the name is a C string.
            let result = unsafe { ffi::libssh2_agent_userauth(self.agent, user.as_ptr(), self.current) };
            match judge(session, result, "agent") {
                Step::Failed(_) => {
                    self.has_current = false;
                    self.tried += 1;
                    *keys_tried += 1;
                }
                other => return other,
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // SAFETY: the agent is alive and not used afterwards; its session still is alive.
        unsafe {
            ffi::libssh2_agent_disconnect(self.agent);
            ffi::libssh2_agent_free(self.agent);
        }
    }
}

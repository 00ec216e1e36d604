//! Login: public keys first (the configured one, the usual ones, an agent's), then the password, also by
//! keyboard-interactive. An account of what was tried and why it failed is kept. It never holds a secret.

use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::path::Path;

use libssh2_sys as sys;

use super::ffi::{Fault, Outcome, Ssh2};
use super::key_files::{self, KeyText};
use crate::model::ssh::{SshNews, SshTarget};

/// Maximum number of public keys tried. A host counts each, and OpenSSH's sshd ends the connection at the sixth
/// failure.
const MAX_KEYS: usize = 4;
/// The library's error numbers for a login that the host refuses and for an invalid private key.
const REFUSED: [i32; 2] = [sys::LIBSSH2_ERROR_AUTHENTICATION_FAILED, sys::LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED];
const UNREADABLE: [i32; 2] = [sys::LIBSSH2_ERROR_KEYFILE_AUTH_FAILED, sys::LIBSSH2_ERROR_FILE];

enum Attempt {
    Key(KeyText),
    Agent,
    Password,
    Keyboard,
}

enum State {
    /// The host was asked for its login methods.
    Asking,
    /// One method is being tried.
    Trying(Attempt),
    Over,
}

/// A login under way.
pub(super) struct Authentication {
    state: State,
    left: VecDeque<Attempt>,
    tried: Vec<String>,
    agent: Agent,
    keys_tried: usize,
}

/// The result of one step.
enum Step {
    WouldBlock,
    LoggedIn(String),
    Failed(String),
}

impl Authentication {
    pub const fn new() -> Self {
        Self {
            state: State::Asking,
            left: VecDeque::new(),
            tried: Vec::new(),
            agent: Agent { has_key: false, tried: 0 },
            keys_tried: 0,
        }
    }

    /// Continues as far as the socket allows. Returns the news that ends the login, if it has ended.
    pub fn go_on(&mut self, ssh: &mut Ssh2, target: &SshTarget) -> Option<SshNews> {
        loop {
            match &self.state {
                State::Over => return None,
                State::Asking => match self.ask(ssh, target)? {
                    Ok(()) => self.next(),
                    Err(end) => return Some(end),
                },
                State::Trying(_) => match self.attempt(ssh, target) {
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

    /// Asks for the login methods of the host; `None` while the answer is awaited.
    fn ask(&mut self, ssh: &mut Ssh2, target: &SshTarget) -> Option<Result<(), SshNews>> {
        let methods = match ssh.login_methods(&target.username) {
            Ok(Some(methods)) => methods,
            Ok(None) => {
                self.state = State::Over;
                return Some(Err(SshNews::LoggedIn("without any authentication".to_owned())));
            }
            Err(Fault::WouldBlock) => return None,
            Err(Fault::Failed { text, .. }) => return Some(Err(SshNews::Closed(format!("authentication: {text}")))),
        };
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

    fn attempt(&mut self, ssh: &mut Ssh2, target: &SshTarget) -> Step {
        match &self.state {
            State::Trying(Attempt::Key(key)) => {
                if self.keys_tried >= MAX_KEYS {
                    return Step::Failed(format!("key {}: not tried, {MAX_KEYS} others were", key.path.display()));
                }
                let step = try_key(ssh, target, key);
                if matches!(step, Step::Failed(_)) {
                    self.keys_tried += 1;
                }
                step
            }
            State::Trying(Attempt::Agent) => self.agent.go_on(ssh, &target.username, &mut self.keys_tried),
            State::Trying(Attempt::Password) => try_password(ssh, target),
            State::Trying(Attempt::Keyboard) => try_keyboard(ssh, target),
            State::Asking | State::Over => Step::WouldBlock,
        }
    }
}

/// Turns the result of one call of the library into a step.
fn judge(outcome: Outcome<()>, how: &str) -> Step {
    match outcome {
        Ok(()) => Step::LoggedIn(how.to_owned()),
        Err(Fault::WouldBlock) => Step::WouldBlock,
        Err(fault) => match fault.is(&REFUSED) {
            true => Step::Failed(format!("{how}: the host does not accept it")),
            false => Step::Failed(format!("{how}: {fault}")),
        },
    }
}

fn try_key(ssh: &mut Ssh2, target: &SshTarget, key: &KeyText) -> Step {
    let how = format!("key {}", key.path.display());
    let passphrase = target.passphrase.as_ref().map_or("", |secret| secret.reveal());
    let Ok(passphrase) = CString::new(passphrase) else {
        return Step::Failed(format!("{how}: the passphrase holds a zero byte"));
    };
    match ssh.log_in_by_key(&target.username, &key.text, &passphrase) {
        Err(fault) if fault.is(&UNREADABLE) => {
            let text = "it cannot be read: a wrong ssh_passphrase, a damaged file or an unknown kind of key";
            Step::Failed(format!("{how}: {text}"))
        }
        outcome => judge(outcome, &how),
    }
}

fn try_password(ssh: &mut Ssh2, target: &SshTarget) -> Step {
    let password = target.password.as_ref().map_or("", |secret| secret.reveal());
    judge(ssh.log_in_by_password(&target.username, password), "password")
}

fn try_keyboard(ssh: &mut Ssh2, target: &SshTarget) -> Step {
    judge(ssh.log_in_by_keyboard(&target.username), "keyboard-interactive")
}

/// An agent whose keys are tried one after the other.
struct Agent {
    /// One of them is being tried.
    has_key: bool,
    tried: usize,
}

/// Checks that the agent accepts a connection at once, because libssh2 would wait for one that does not.
fn look_for_agent() -> Result<(), String> {
    let path = std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty());
    let path = path.ok_or("there is none (SSH_AUTH_SOCK is not set)")?;
    mio::net::UnixStream::connect(Path::new(&path)).map(drop).map_err(|error: io::Error| error.to_string())
}

impl Agent {
    /// Tries the agent's keys one after the other.
    fn go_on(&mut self, ssh: &mut Ssh2, user: &str, keys_tried: &mut usize) -> Step {
        let Ok(user) = CString::new(user) else { return Step::Failed("agent: a strange user name".to_owned()) };
        if !self.has_key
            && self.tried == 0
            && let Err(reason) = look_for_agent().and_then(|()| ssh.open_agent().map_err(|fault| fault.to_string()))
        {
            return Step::Failed(format!("agent: {reason}"));
        }
        loop {
            if !self.has_key {
                if *keys_tried > MAX_KEYS {
                    return Step::Failed(format!("agent: {} of its keys not accepted, no more tried", self.tried));
                }
                if !ssh.next_agent_key() {
                    return Step::Failed(format!("agent: {} keys, none accepted", self.tried));
                }
                self.has_key = true;
            }
            match judge(ssh.log_in_by_agent(&user), "agent") {
                Step::Failed(_) => {
                    self.has_key = false;
                    self.tried += 1;
                    *keys_tried += 1;
                }
                other => return other,
            }
        }
    }
}

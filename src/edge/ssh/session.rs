//! One SSH session, driven in turns.
#![allow(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::c_void;
use std::path::Path;
use std::time::{Duration, Instant};

use libssh2_sys as ffi;
use mio::net::TcpStream;

use super::authentication::Authentication;
use super::command::{self, Channel, Look, Opened, Running};
use super::known_hosts::KnownHosts;
use super::library::{self, last_error};
use super::socket_io::{self, SocketIo};
use super::transfers::Transfers;
use super::{algorithms, key_files, login_name};
use crate::edge::copy::Opened as OpenedSource;
use crate::model::ssh::{SshCommand, SshNews, SshOrder, SshTarget, SshTask, SshTaskId};

/// So long one turn may go on before another session has its turn.
const TURN: Duration = Duration::from_millis(20);
/// Output read at once.
const READ_BYTES: usize = 32 << 10;
/// A keep-alive goes out when asked for, but never more often than this.
const KEEP_ALIVE_SECONDS: u32 = 1;

/// What a turn brought.
pub struct Turn {
    /// What happened, in its order.
    pub news: Vec<SshNews>,
    /// There is more to do without an event of the socket.
    pub again: bool,
}

enum Phase {
    /// Nothing was ordered yet.
    New,
    Exchanging,
    /// Whether the host is trusted is decided elsewhere.
    Judging,
    LoggingIn(Authentication),
    Ready,
    Over,
}

/// See the module's page. Made on any thread, used by one at a time.
pub struct Session {
    raw: *mut ffi::LIBSSH2_SESSION,
    /// Reached by the library's callbacks, hence no reference is kept.
    io: *mut SocketIo,
    phase: Phase,
    target: Option<Box<SshTarget>>,
    known: KnownHosts,
    /// Commands that wait for a channel; the library opens one channel at a time, that of the first.
    opening: VecDeque<(SshTaskId, SshCommand)>,
    given_up: BTreeSet<SshTaskId>,
    /// The command whose start the host has been asked for: the library confuses the answers to two such questions.
    starting: Option<SshTaskId>,
    running: BTreeMap<SshTaskId, Running>,
    /// Read when nothing else is: only so the host's own requests and its farewell are noticed.
    listening: Listening,
    closing: Vec<Channel>,
    transfers: Transfers,
    news: Vec<SshNews>,
}

enum Listening {
    Wanted,
    On(Channel),
    /// The host gives no channel for it.
    Off,
}

// SAFETY: everything behind the pointers belongs to this one session, and whoever owns the `Session` is the only one to
// touch it. libssh2 and OpenSSL keep nothing per thread that a session needs.
unsafe impl Send for Session {}

impl Session {
    /// A session over a connected socket. Nothing is sent before [`SshOrder::Open`].
    ///
    /// # Errors
    /// There is no memory.
    pub fn new(socket: TcpStream) -> Result<Self, String> {
        library::initialise();
        let io = Box::into_raw(Box::new(SocketIo::new(socket, None)));
        // SAFETY: null functions ask for malloc and free; the context is handed back to our callbacks, which expect
        // exactly this pointer.
        let raw = unsafe { ffi::libssh2_session_init_ex(None, None, None, io.cast()) };
        if raw.is_null() {
            // SAFETY: made above and known to nobody else.
            drop(unsafe { Box::from_raw(io) });
            return Err("no memory for an SSH session".to_owned());
        }
        // SAFETY: the session was just made; both functions have the signature that the library calls them with.
        unsafe {
            ffi::libssh2_session_set_blocking(raw, 0);
            let (send, receive) = (socket_io::send as *mut c_void, socket_io::receive as *mut c_void);
            library::libssh2_session_callback_set2(raw, library::CALLBACK_SEND, send);
            library::libssh2_session_callback_set2(raw, library::CALLBACK_RECEIVE, receive);
            ffi::libssh2_keepalive_config(raw, 1, KEEP_ALIVE_SECONDS);
        }
        Ok(Self {
            raw,
            io,
            phase: Phase::New,
            target: None,
            known: KnownHosts::default(),
            opening: VecDeque::new(),
            given_up: BTreeSet::new(),
            starting: None,
            running: BTreeMap::new(),
            listening: Listening::Wanted,
            closing: Vec::new(),
            transfers: Transfers::new(raw),
            news: Vec::new(),
        })
    }

    /// Takes orders and goes on as far as the socket allows. `sources` are what the uploads among the orders copy.
    pub fn turn(&mut self, orders: Vec<SshOrder>, mut sources: Vec<(SshTaskId, OpenedSource)>) -> Turn {
        let started = Instant::now();
        let received = self.io().received;
        self.io().refill();
        for order in orders {
            self.take(order, &mut sources);
        }
        let mut again = false;
        loop {
            let before = self.io().received;
            let moved = self.step();
            // Whatever reads takes in what came for others, too: only a step that read nothing has left nothing behind.
            let is_done = !moved && self.io().received == before;
            if is_done || matches!(self.phase, Phase::Over) {
                break;
            }
            if started.elapsed() >= TURN {
                again = true;
                break;
            }
        }
        self.io().flush();
        if self.io().received != received {
            self.news.push(SshNews::Heard);
        }
        again |= self.io().starved;
        if self.io().broken.is_some() && !matches!(self.phase, Phase::Over) {
            self.close("");
        }
        again &= !matches!(self.phase, Phase::Over);
        Turn { news: std::mem::take(&mut self.news), again }
    }

    /// Whether something came, or the end did, that nobody has read yet.
    #[must_use]
    pub fn has_input(&self) -> bool {
        // SAFETY: as in `io`.
        unsafe { &*self.io }.has_input()
    }

    fn io(&mut self) -> &mut SocketIo {
        // SAFETY: the pointer is valid as long as the session; no call of the library is under way, so no callback
        // holds it.
        unsafe { &mut *self.io }
    }

    fn take(&mut self, order: SshOrder, sources: &mut Vec<(SshTaskId, OpenedSource)>) {
        match order {
            SshOrder::Open { target, remembered } => self.open(target, &remembered),
            SshOrder::Trust { add } => self.trust(add.as_deref()),
            SshOrder::Start(id, SshTask::Run(command)) => self.opening.push_back((id, command)),
            SshOrder::Start(id, task) => {
                let at = sources.iter().position(|(of, _)| *of == id);
                self.transfers.start(id, task, at.map(|at| sources.swap_remove(at).1));
            }
            SshOrder::Abort(id) => self.abort(id),
            SshOrder::KeepAlive => {
                // SAFETY: the session is alive; nobody wants to know when the next one is due.
                unsafe { ffi::libssh2_keepalive_send(self.raw, std::ptr::null_mut()) };
            }
        }
    }

    fn open(&mut self, mut target: Box<SshTarget>, remembered: &[String]) {
        if target.username.is_empty() {
            target.username = login_name::own();
        }
        let name = target.known_as();
        let beside = key_files::directory(&target).map(|directory| directory.join("known_hosts"));
        let beside = beside.filter(|path| target.known_hosts.as_ref() != Some(path));
        for path in target.known_hosts.iter().chain(&beside) {
            match key_files::read_known_hosts(path) {
                Ok(text) => self.known.read(&text, &path.display().to_string(), true, &name),
                Err(reason) => self.known.cannot_read(reason),
            }
        }
        for line in remembered {
            self.known.read(line, "the database", false, &name);
        }
        match algorithms::choose(self.raw, &self.known.preferred(), target.legacy_algorithms) {
            Ok(notice) => self.news.extend(notice.map(SshNews::Notice)),
            Err(reason) => return self.close(&reason),
        }
        self.io().password.clone_from(&target.password);
        self.target = Some(target);
        self.phase = Phase::Exchanging;
    }

    fn trust(&mut self, add: Option<&str>) {
        if let (Some(line), Some(path)) = (add, self.target.as_ref().and_then(|target| target.known_hosts.as_deref())) {
            self.add_known_host(path.to_owned().as_path(), line);
        }
        if matches!(self.phase, Phase::Judging) {
            self.phase = Phase::LoggingIn(Authentication::new());
        }
    }

    fn add_known_host(&mut self, path: &Path, line: &str) {
        if let Err(reason) = key_files::add_known_host(path, line) {
            self.news.push(SshNews::Notice(format!("its key could not be remembered: {reason}")));
        }
    }

    fn abort(&mut self, id: SshTaskId) {
        if self.starting == Some(id) {
            // The answer will come, and has to be taken.
            self.given_up.insert(id);
        } else if let Some(running) = self.running.remove(&id) {
            let channel = running.into_channel();
            channel.kill();
            self.closing.push(channel);
        } else if self.opening.iter().any(|(waiting, _)| *waiting == id) {
            self.given_up.insert(id);
        } else {
            self.transfers.abort(id);
        }
    }

    /// Does a little of everything that is due; whether anything moved.
    fn step(&mut self) -> bool {
        match &mut self.phase {
            Phase::New | Phase::Judging | Phase::Over => false,
            Phase::Exchanging => self.exchange(),
            Phase::LoggingIn(login) => {
                let Some(target) = &self.target else { return false };
                let Some(news) = login.go_on(self.raw, target) else { return false };
                match news {
                    SshNews::LoggedIn(how) => {
                        self.phase = Phase::Ready;
                        if library::banner(self.raw).is_some_and(|banner| loses_sessions(&banner)) {
                            self.news.push(SshNews::OneCommandAtATime);
                        }
                        self.news.push(SshNews::LoggedIn(how));
                        return true;
                    }
                    SshNews::Closed(reason) => self.close(&reason),
                    // A host that closes says so by that alone.
                    _ if self.io().broken.is_some() => self.close(""),
                    refused => {
                        self.phase = Phase::Over;
                        self.news.push(refused);
                    }
                }
                false
            }
            Phase::Ready => self.work(),
        }
    }

    fn exchange(&mut self) -> bool {
        let descriptor = self.io().descriptor();
        // SAFETY: the session is alive and its socket open; while it would block it is called again.
        match unsafe { ffi::libssh2_session_handshake(self.raw, descriptor) } {
            0 => {}
            ffi::LIBSSH2_ERROR_EAGAIN => return false,
            _ => {
                let error = last_error(self.raw);
                let strange = self.io().strange_banner();
                let reason = match (self.io().broken.clone(), strange) {
                    (_, Some(line)) => format!("it is no SSH server, it says: {line}"),
                    (Some(reason), None) if self.io().has_banner() => format!("key exchange: {reason}"),
                    (Some(reason), None) => reason,
                    (None, None) => format!("key exchange: {error}{}", self.hint()),
                };
                self.close(&reason);
                return false;
            }
        }
        let (mut len, mut kind) = (0, 0);
        // SAFETY: the session is alive; the key belongs to it and is copied at once.
        let key = unsafe {
            let key = ffi::libssh2_session_hostkey(self.raw, &raw mut len, &raw mut kind);
            if key.is_null() { Vec::new() } else { std::slice::from_raw_parts(key.cast::<u8>(), len).to_vec() }
        };
        let Some(target) = &self.target else { return false };
        self.news.push(SshNews::HostKey(self.known.report(target, &key)));
        self.known = KnownHosts::default();
        self.phase = Phase::Judging;
        false
    }

    /// What may help when the key exchange fails though the host says something.
    fn hint(&self) -> &'static str {
        let errors =
            [ffi::LIBSSH2_ERROR_KEX_FAILURE, ffi::LIBSSH2_ERROR_KEY_EXCHANGE_FAILURE, ffi::LIBSSH2_ERROR_METHOD_NONE];
        let has_legacy = self.target.as_ref().is_some_and(|target| target.legacy_algorithms);
        match errors.contains(&library::last_errno(self.raw)) {
            true if has_legacy => "; the host and this build have no algorithm in common",
            true => "; if it is an old device that knows no current algorithm, ssh_legacy_algorithms: true may help",
            false => "",
        }
    }

    /// Channels, commands and transfers.
    fn work(&mut self) -> bool {
        let mut moved = self.open_channels();
        let mut buffer = vec![0; READ_BYTES];
        let ids: Vec<SshTaskId> = self.running.keys().copied().collect();
        for id in ids {
            let Some(running) = self.running.get_mut(&id) else { continue };
            if running.is_starting() {
                if self.transfers.is_opening() || self.starting.is_some_and(|starting| starting != id) {
                    continue;
                }
                self.starting = Some(id);
            }
            let look = running.look(self.raw, &mut buffer);
            if self.starting == Some(id) && !running.is_starting() {
                self.starting = None;
                // Another one may be started now.
                moved = true;
                if self.given_up.remove(&id) {
                    self.abort(id);
                    continue;
                }
            }
            match look {
                Look::Quiet => {}
                Look::Moved => {
                    moved = true;
                    self.report_move(id);
                }
                Look::Ended(end) => {
                    moved = true;
                    self.news.push(SshNews::Ended(id, end));
                    self.closing.extend(self.running.remove(&id).map(Running::into_channel));
                }
                Look::Broken => {
                    // Where the socket broke, it says more than the library does.
                    let error = if self.io().broken.is_some() {
                        String::new()
                    } else {
                        format!("{} (libssh2 {})", last_error(self.raw), library::last_errno(self.raw))
                    };
                    self.close(&error);
                    return false;
                }
            }
        }
        self.closing.retain(|channel| !channel.close());
        // SAFETY: as in `io`; a field of its own is borrowed beside it.
        let io = unsafe { &mut *self.io };
        if io.has_room() {
            moved |= self.transfers.go_on(self.starting.is_none(), &mut self.news);
        }
        if self.running.is_empty()
            && let Listening::On(channel) = &self.listening
        {
            channel.listen();
        }
        if self.io().broken.is_some() {
            self.close("");
        }
        moved
    }

    fn report_move(&mut self, id: SshTaskId) {
        if !self.news.contains(&SshNews::Moved(id)) {
            self.news.push(SshNews::Moved(id));
        }
    }

    /// The library opens one channel at a time.
    fn open_channels(&mut self) -> bool {
        let mut moved = false;
        while matches!(self.listening, Listening::Wanted) || !self.opening.is_empty() {
            // An open channel in which nothing runs yet is closed by dropbear (2022 and older) when a command ends in
            // another.
            if self.running.values().any(Running::is_starting) {
                break;
            }
            let opened = command::open(self.raw);
            if matches!(opened, Opened::WouldBlock) {
                break;
            }
            moved = true;
            if matches!(self.listening, Listening::Wanted) {
                self.listening = match opened {
                    Opened::Open(channel) => Listening::On(channel),
                    _ => Listening::Off,
                };
                continue;
            }
            let Some((id, command)) = self.opening.pop_front() else { break };
            let is_given_up = self.given_up.remove(&id);
            match opened {
                Opened::Open(channel) if is_given_up => self.closing.push(channel),
                Opened::Open(channel) => {
                    self.running.insert(id, Running::new(channel, command));
                }
                Opened::Refused(reason) if !is_given_up => self.news.push(SshNews::NoChannel(id, reason)),
                Opened::Refused(_) | Opened::WouldBlock => {}
            }
        }
        moved
    }

    /// The session is over; an empty reason stands for that of the socket.
    fn close(&mut self, reason: &str) {
        let broken = self.io().broken.clone();
        let mut reason = if reason.is_empty() { broken.unwrap_or_default() } else { reason.to_owned() };
        if let Phase::LoggingIn(login) = &self.phase {
            reason = format!("{reason} during the login ({})", login.account());
        }
        self.phase = Phase::Over;
        self.running.clear();
        self.starting = None;
        self.transfers.break_off();
        // Nothing of the tasks: whoever hears of this knows them, and no new one may be begun here before that.
        self.news.push(SshNews::Closed(reason));
    }
}

/// dropbear before 2024.86 closes a channel in which nothing runs yet when a command ends in another, and dies of what
/// is asked there next.
fn loses_sessions(banner: &str) -> bool {
    let Some((_, version)) = banner.split_once("dropbear_") else { return banner.contains("dropbear") };
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (2024, 86)
}

impl Drop for Session {
    fn drop(&mut self) {
        // Nothing is sent or awaited any more, so the library frees all channels at once.
        self.io().shut();
        self.phase = Phase::Over;
        self.transfers.free();
        for _ in 0..1_000 {
            // SAFETY: the session is alive until this says so, and not used afterwards.
            if unsafe { ffi::libssh2_session_free(self.raw) } != ffi::LIBSSH2_ERROR_EAGAIN {
                break;
            }
        }
        // SAFETY: made by `Session::new`, and nobody calls back any more.
        drop(unsafe { Box::from_raw(self.io) });
    }
}

#[cfg(test)]
mod tests {
    use super::loses_sessions;

    #[test]
    fn hosts_that_cannot_run_several_commands_are_told_by_their_banner() {
        for (banner, loses) in [
            ("SSH-2.0-dropbear_2022.83", true),
            ("SSH-2.0-dropbear_0.52", true),
            ("SSH-2.0-dropbear", true),
            ("SSH-2.0-dropbear_2024.85", true),
            ("SSH-2.0-dropbear_2024.86", false),
            ("SSH-2.0-dropbear_2025.88", false),
            ("SSH-2.0-OpenSSH_9.2p1 Debian-2", false),
        ] {
            assert_eq!(loses_sessions(banner), loses, "{banner}");
        }
    }
}

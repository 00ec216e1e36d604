//! One SSH session, driven in turns.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::algorithms::Offer;
use super::authentication::Authentication;
use super::command::{Look, Running};
use super::ffi::{ChannelId, Fault, Ssh2};
use super::key_files;
use super::known_hosts::KnownHosts;
use super::socket_io::SocketIo;
use super::transfers::Transfers;
use crate::edge::copy::Opened;
use crate::edge::system;
use crate::model::ssh::{SshCommand, SshNews, SshOrder, SshTarget, SshTask, SshTaskId};

/// Maximum duration of one turn, after which other sessions get theirs.
const TURN: Duration = Duration::from_millis(20);
/// Maximum number of output bytes read at once.
const READ_BYTES: usize = 32 << 10;
/// What a host sends instead of its version when it takes no connection now: OpenSSH's sshd does so after our failures,
/// or while too many clients log in.
const REFUSALS: [&str; 2] = ["Not allowed at this time", "Exceeded MaxStartups"];

/// The result of a turn.
pub struct Turn {
    /// What happened, in order.
    pub news: Vec<SshNews>,
    /// There is more to do, without an event of the socket.
    pub again: bool,
}

enum Phase {
    /// No order has been given yet.
    New,
    Exchanging,
    /// The decision whether the host is trusted is awaited.
    Judging,
    LoggingIn(Authentication),
    Ready,
    Over,
}

/// One SSH session; see the module's documentation. It may move between threads.
pub struct Session {
    ssh: Ssh2,
    phase: Phase,
    target: Option<Box<SshTarget>>,
    known: KnownHosts,
    offer: Offer,
    /// Commands that wait for a channel. The library opens one channel at a time, for the first of them.
    opening: VecDeque<(SshTaskId, SshCommand)>,
    /// Whether the library is opening a channel.
    is_opening: bool,
    given_up: BTreeSet<SshTaskId>,
    /// The command whose start was requested. There is only one, because the library mixes up the answers to two
    /// requests.
    starting: Option<SshTaskId>,
    running: BTreeMap<SshTaskId, Running>,
    /// A channel that is read when no other is. This is how the host's own requests and its disconnect are noticed.
    listening: Option<ChannelId>,
    /// The host gives few channels: keep none open without need, and open none while another one closes.
    is_sparing: bool,
    /// The host gives only one channel in the life of a connection.
    is_single: bool,
    had_channel: bool,
    /// Data arrived that nobody has read.
    is_unread: bool,
    closing: Vec<ChannelId>,
    transfers: Transfers,
    news: Vec<SshNews>,
}

impl Session {
    /// A session over a connected socket. Nothing is sent before [`SshOrder::Open`].
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(socket: TcpStream) -> Result<Self, String> {
        Ok(Self {
            ssh: Ssh2::new(SocketIo::new(socket)).ok_or("no memory for an SSH session")?,
            phase: Phase::New,
            target: None,
            known: KnownHosts::default(),
            offer: Offer::default(),
            opening: VecDeque::new(),
            is_opening: false,
            given_up: BTreeSet::new(),
            starting: None,
            running: BTreeMap::new(),
            listening: None,
            is_sparing: false,
            is_single: false,
            had_channel: false,
            is_unread: false,
            closing: Vec::new(),
            transfers: Transfers::new(),
            news: Vec::new(),
        })
    }

    /// Takes orders and continues as far as the socket allows. `sources` are the files of the uploads among the orders.
    pub fn turn(&mut self, orders: Vec<SshOrder>, mut sources: Vec<(SshTaskId, Opened)>) -> Turn {
        let started = Instant::now();
        let received = self.ssh.socket().received();
        self.ssh.io().refill();
        for order in orders {
            self.take(order, &mut sources);
        }
        let mut again = false;
        loop {
            let before = self.ssh.socket().received();
            let moved = self.step();
            // Whatever reads takes in what came for others, too: only a step that read nothing has left nothing behind.
            let is_done = !moved && self.ssh.socket().received() == before;
            if is_done || matches!(self.phase, Phase::Over) {
                break;
            }
            if started.elapsed() >= TURN {
                again = true;
                break;
            }
        }
        self.ssh.io().flush();
        if self.ssh.socket().received() != received {
            self.news.push(SshNews::Heard);
        }
        again |= self.ssh.socket().is_starved();
        if self.ssh.socket().broken().is_some() && !matches!(self.phase, Phase::Over) {
            self.close("");
        }
        again &= !matches!(self.phase, Phase::Over);
        Turn { news: std::mem::take(&mut self.news), again }
    }

    /// Whether data or the end of the connection is there and has not been read.
    #[must_use]
    pub fn has_input(&self) -> bool {
        self.ssh.socket().has_input()
    }

    fn take(&mut self, order: SshOrder, sources: &mut Vec<(SshTaskId, Opened)>) {
        match order {
            SshOrder::Open { target, remembered, is_sparing } => {
                (self.is_sparing, self.is_single) = (is_sparing, is_sparing);
                self.open(target, &remembered);
            }
            SshOrder::Trust { add } => self.trust(add.as_deref()),
            SshOrder::Start(id, SshTask::Run(command)) => self.opening.push_back((id, command)),
            SshOrder::Start(id, task) => {
                let at = sources.iter().position(|(of, _)| *of == id);
                self.transfers.start(id, task, at.map(|at| sources.swap_remove(at).1));
            }
            SshOrder::Abort(id) => self.abort(id),
            SshOrder::KeepAlive => self.ssh.keep_alive(),
        }
    }

    fn open(&mut self, mut target: Box<SshTarget>, remembered: &[String]) {
        if target.username.is_empty() {
            target.username = system::own_user_name();
        }
        let beside = key_files::directory(&target).map(|directory| directory.join("known_hosts"));
        let beside = beside.filter(|path| target.known_hosts.as_ref() != Some(path));
        for path in target.known_hosts.iter().chain(&beside) {
            match key_files::read_known_hosts(path) {
                Ok(text) => self.known.read(&text, &path.display().to_string(), true, &target),
                Err(reason) => self.known.cannot_read(reason),
            }
        }
        for line in remembered {
            self.known.read(line, "the database", false, &target);
        }
        match Offer::make(&mut self.ssh, &self.known.preferred(), target.legacy_algorithms) {
            Ok(offer) => self.offer = offer,
            Err(fault) => return self.close(&format!("no usable algorithms: {fault}")),
        }
        self.news.extend(self.offer.notice().map(SshNews::Notice));
        self.ssh.io().set_password(target.password.clone());
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
            self.ssh.kill(running.channel());
            self.closing.push(running.channel());
        } else if self.opening.iter().any(|(waiting, _)| *waiting == id) {
            self.given_up.insert(id);
        } else {
            self.transfers.abort(id);
        }
    }

    /// Does some of everything that is due. Returns whether anything moved.
    fn step(&mut self) -> bool {
        match &mut self.phase {
            Phase::New | Phase::Judging | Phase::Over => false,
            Phase::Exchanging => self.exchange(),
            Phase::LoggingIn(login) => {
                let Some(target) = &self.target else { return false };
                let Some(news) = login.go_on(&mut self.ssh, target) else { return false };
                match news {
                    SshNews::LoggedIn(how) => {
                        self.phase = Phase::Ready;
                        self.ssh.io().forget_first_words();
                        if loses_sessions(&self.ssh.banner()) {
                            self.news.push(SshNews::OneCommandAtATime);
                        }
                        self.news.push(SshNews::LoggedIn(how));
                        return true;
                    }
                    SshNews::Closed(reason) => self.close(&reason),
                    // A host that closes says so by that alone.
                    _ if self.ssh.socket().broken().is_some() => self.close(""),
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
        match self.ssh.handshake() {
            Ok(()) => {}
            Err(Fault::WouldBlock) => return false,
            Err(fault) => {
                let socket = self.ssh.socket();
                let (strange, broken) = (strange_words(socket.first_words()), socket.broken());
                let turned_away = |line: &&String| REFUSALS.iter().any(|refusal| line.starts_with(refusal));
                let disagreement = self.offer.disagreement(socket.first_words());
                if let Some(line) = strange.as_ref().filter(turned_away) {
                    self.turned_away(format!("the host refuses connections for now, it says: {line}"));
                } else if let Some(line) = strange {
                    self.close(&format!("it is not an SSH server, it says: {line}"));
                } else if let Some(text) = disagreement {
                    self.turned_away(format!("key exchange: {text}"));
                } else {
                    let is_silent = socket.first_words().is_empty();
                    let reason = broken.map_or_else(|| fault.to_string(), str::to_owned);
                    self.close(&if is_silent { reason } else { format!("key exchange: {reason}") });
                }
                return false;
            }
        }
        let key = self.ssh.host_key();
        let Some(target) = &self.target else { return false };
        self.news.push(SshNews::HostKey(self.known.report(target, &key)));
        (self.known, self.offer) = (KnownHosts::default(), Offer::default());
        self.phase = Phase::Judging;
        false
    }

    fn turned_away(&mut self, text: String) {
        self.phase = Phase::Over;
        self.news.push(SshNews::TurnedAway(text));
    }

    /// Continues with channels, commands and transfers. Returns whether anything moved.
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
                if self.starting.replace(id).is_none() {
                    self.news.push(SshNews::Asked(id));
                }
            }
            let look = running.look(&mut self.ssh, &mut buffer);
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
                Ok(Look::Quiet) => {}
                Ok(Look::Moved) => {
                    moved = true;
                    self.report_move(id);
                }
                Ok(Look::Ended(end)) => {
                    moved = true;
                    self.news.push(SshNews::Ended(id, end));
                    self.closing.extend(self.running.remove(&id).map(|running| running.channel()));
                }
                Err(fault) => {
                    // Where the socket broke, it says more than the library does.
                    let is_broken = self.ssh.socket().broken().is_some();
                    self.close(&if is_broken { String::new() } else { fault.to_string() });
                    return false;
                }
            }
        }
        let (ssh, before) = (&mut self.ssh, self.closing.len());
        self.closing.retain(|channel| !ssh.close_channel(*channel));
        moved |= self.closing.len() < before;
        if self.ssh.socket().has_room() {
            moved |= self.transfer();
        }
        self.listen();
        if self.ssh.socket().broken().is_some() {
            self.close("");
        }
        moved
    }

    /// Continues with transfers. Returns whether anything moved.
    fn transfer(&mut self) -> bool {
        let may_open = self.starting.is_none() && !self.is_opening && (!self.is_sparing || self.closing.is_empty());
        let moved = self.transfers.go_on(&mut self.ssh, may_open, &mut self.news);
        self.had_channel |= self.transfers.has_channel() && !self.transfers.is_opening();
        if let Some(reason) = self.transfers.take_refusal()
            && !self.make_room()
            && let Some(transfer) = self.transfers.take_current()
        {
            self.no_channel(transfer.id, reason);
        }
        if self.is_sparing {
            self.transfers.yield_channel();
        }
        moved
    }

    /// Reads what arrived although no task wants it, or at least notices the end of the connection.
    fn listen(&mut self) {
        match self.listening {
            Some(channel) if self.running.is_empty() => {
                // What comes for this channel itself is dropped.
                let _nobody_wants_it = self.ssh.read(channel, 0, &mut [0; 64]);
            }
            None if self.running.is_empty() && !self.transfers.has_channel() => {
                self.is_unread = self.ssh.io().look() && !self.is_single;
            }
            _ => {}
        }
    }

    fn report_move(&mut self, id: SshTaskId) {
        if !self.news.contains(&SshNews::Moved(id)) {
            self.news.push(SshNews::Moved(id));
        }
    }

    /// Handles a host that gives no channel for a task.
    fn no_channel(&mut self, id: SshTaskId, reason: String) {
        self.news.push(SshNews::NoChannel { id, reason, had_one: self.had_channel });
    }

    /// Closes a channel that no task uses, so that a task can have it. Returns whether there was one.
    fn make_room(&mut self) -> bool {
        self.is_sparing = true;
        let listening = self.listening.take();
        self.closing.extend(listening);
        listening.is_some() || self.transfers.yield_channel() || self.transfers.is_closing() || !self.closing.is_empty()
    }

    /// Whether a channel should be opened only for reading. It is never the first one, which may be the only one.
    fn wants_listening(&self) -> bool {
        let is_idle = self.opening.is_empty() && self.running.is_empty() && self.closing.is_empty();
        let is_wanted = !self.is_sparing || self.is_unread && !self.transfers.has_channel();
        is_idle && is_wanted && self.listening.is_none() && self.had_channel && !self.is_single
    }

    /// Continues to open a channel. The library opens one at a time.
    fn open_channels(&mut self) -> bool {
        let mut moved = false;
        loop {
            let wants_listening = self.wants_listening();
            if !wants_listening && self.opening.is_empty() && !self.is_opening {
                break;
            }
            // An open channel in which nothing runs yet is closed by dropbear (2022 and older) when a command ends in
            // another.
            let must_wait = self.running.values().any(Running::is_starting)
                || self.transfers.is_opening()
                || self.is_sparing && (!self.closing.is_empty() || self.transfers.is_closing());
            if must_wait && !self.is_opening {
                break;
            }
            let opened = self.ssh.open_channel();
            self.is_opening = matches!(opened, Err(Fault::WouldBlock));
            if self.is_opening {
                break;
            }
            moved = true;
            self.had_channel |= opened.is_ok();
            if self.opening.is_empty() {
                self.listening = opened.ok();
                self.is_unread = false;
                self.is_sparing |= self.listening.is_none();
                continue;
            }
            let Some((id, command)) = self.opening.pop_front() else { break };
            let is_given_up = self.given_up.remove(&id);
            match opened {
                Ok(channel) if is_given_up => self.closing.push(channel),
                Ok(channel) => {
                    self.running.insert(id, Running::new(channel, command));
                }
                Err(_) if is_given_up => {}
                Err(_) if self.make_room() => self.opening.push_front((id, command)),
                Err(fault) => self.no_channel(id, fault.to_string()),
            }
        }
        moved
    }

    /// Ends the session. An empty reason stands for that of the socket.
    fn close(&mut self, reason: &str) {
        let broken = self.ssh.socket().broken().unwrap_or_default();
        let mut reason = if reason.is_empty() { broken.to_owned() } else { reason.to_owned() };
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

/// What a host sent instead of an SSH version.
fn strange_words(words: &[u8]) -> Option<String> {
    let has_version = words.starts_with(b"SSH-") || words.windows(5).any(|piece| piece == b"\nSSH-");
    if words.is_empty() || has_version {
        return None;
    }
    let line = words.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    Some(String::from_utf8_lossy(line).chars().take(60).collect())
}

/// Whether the host is dropbear before 2024.86, which closes a channel without a command when a command ends in another
/// channel, and breaks the connection at the next request there.
fn loses_sessions(banner: &str) -> bool {
    let Some((_, version)) = banner.split_once("dropbear_") else { return banner.contains("dropbear") };
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (2024, 86)
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

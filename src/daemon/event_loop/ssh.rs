//! SSH connections of the loop: their sockets are watched here, and their sessions run on separate workers.
//!
//! A session is either here, idle, or with a worker. An event of its socket that arrives meanwhile is remembered and
//! causes another turn.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::{Interest, Token};

use crate::daemon::dispatch::SshWork;
use crate::edge::copy::{self, Opened};
use crate::edge::jobs::JobQueue;
use crate::edge::resolver;
use crate::edge::sockets::Stream;
use crate::edge::ssh::{Session, Turn};
use crate::model::copy::CopyFailure;
use crate::model::node_id::NodeId;
use crate::model::ssh::{SshEnd, SshNews, SshOrder, SshTask, SshTaskId, SshUpload, UploadSource};
use crate::model::time::{Monotonic, Now};

use super::{EventLoop, LOOKUPS_MAX};

/// Token number of the first SSH connection, far above those of connections and children.
pub(super) const FIRST_SSH_SOURCE: usize = 1 << (usize::BITS - 2);
/// Maximum number of threads that wait for name servers at the same time.
const LOOKUP_THREADS: usize = 8;
/// Maximum number of threads for SSH sessions; several, so that the slow key or agent of one host delays few others.
const THREADS: usize = 4;
/// Maximum number of threads that open files and pack directories for copies over SSH.
const FILE_THREADS: usize = 2;

enum State {
    /// The host name is being looked up.
    Resolving,
    /// The connection is being opened; with the addresses to try if it fails.
    Connecting(Stream, Vec<SocketAddr>),
    /// The session is idle.
    Resting(Box<Session>),
    /// A worker is using the session.
    Working,
}

struct Entry {
    node: NodeId,
    state: State,
    orders: Vec<SshOrder>,
    /// Uploads whose source is being opened.
    opening: BTreeSet<SshTaskId>,
    sources: Vec<(SshTaskId, Opened)>,
    /// Whether the socket had an event since the last turn began.
    is_ready: bool,
    /// Whether the host has sent something.
    has_spoken: bool,
    /// Whether the session has received its first order.
    is_begun: bool,
}

/// All SSH connections by attempt number, which is never reused.
pub(super) struct SshConnections {
    entries: HashMap<u64, Entry>,
    /// Jobs; each session has at most one.
    jobs: JobQueue<Finished>,
    lookups: JobQueue<Finished>,
    files: JobQueue<Finished>,
}

/// The result of a worker's job.
pub(super) enum Finished {
    /// A name was looked up, for the attempt with this number.
    Resolved(u64, Result<Vec<SocketAddr>, String>),
    /// A session has finished a turn.
    Worked { attempt: u64, session: Box<Session>, turn: Turn },
    /// The source of an upload was opened.
    Opened { attempt: u64, task: SshTaskId, upload: Box<SshUpload>, opened: Result<Opened, CopyFailure> },
    /// A session was dropped.
    Dropped,
}

impl SshConnections {
    pub(super) fn new(wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self {
            entries: HashMap::new(),
            jobs: JobQueue::new(THREADS, Arc::clone(&wake)),
            lookups: JobQueue::new(LOOKUP_THREADS, Arc::clone(&wake)),
            files: JobQueue::new(FILE_THREADS, wake),
        }
    }

    pub(super) fn handle_timeout(&mut self) {
        for queue in [&mut self.jobs, &mut self.lookups, &mut self.files] {
            queue.handle_timeout();
        }
    }

    pub(super) fn poll_finished(&self) -> Option<Finished> {
        let finished = self.jobs.poll_finished().or_else(|| self.lookups.poll_finished());
        finished.or_else(|| self.files.poll_finished())
    }

    pub(super) fn poll_timeout(&self, now: Monotonic) -> Option<Monotonic> {
        [&self.jobs, &self.lookups, &self.files].into_iter().filter_map(|queue| queue.poll_timeout(now)).min()
    }
}

fn source(attempt: u64) -> Token {
    Token(FIRST_SSH_SOURCE + usize::try_from(attempt).unwrap_or(0) % FIRST_SSH_SOURCE)
}

impl EventLoop {
    pub(super) fn ssh_work(&mut self, node: NodeId, attempt: u64, work: SshWork, now: Now) {
        match work {
            SshWork::Connect { host, port } => {
                let entry = Entry {
                    node,
                    state: State::Resolving,
                    orders: Vec::new(),
                    opening: BTreeSet::new(),
                    sources: Vec::new(),
                    is_ready: false,
                    has_spoken: false,
                    is_begun: false,
                };
                self.ssh.entries.insert(attempt, entry);
                match resolver::parse_literal(&host, port) {
                    Some(address) => self.ssh_connect_next(attempt, vec![address], now),
                    None => {
                        let lookup = Box::new(move || Finished::Resolved(attempt, resolver::resolve(&host, port)));
                        if self.ssh.lookups.submit_below(LOOKUPS_MAX, lookup).is_err() {
                            self.ssh_failed(attempt, "too many names are being looked up", now);
                        }
                    }
                }
            }
            SshWork::Order(order) => self.ssh_order(attempt, order, now),
            SshWork::Close => {
                if let Some(Entry { state: State::Resting(session), .. }) = self.ssh.entries.remove(&attempt) {
                    self.drop_ssh_session(session);
                }
            }
        }
    }

    fn ssh_order(&mut self, attempt: u64, order: SshOrder, now: Now) {
        let Some(entry) = self.ssh.entries.get_mut(&attempt) else { return };
        match order {
            SshOrder::Start(task, SshTask::Upload(upload)) => {
                entry.opening.insert(task);
                self.ssh_open_source(attempt, task, upload, now);
            }
            // The upload has not begun and will not begin.
            SshOrder::Abort(task) if entry.opening.remove(&task) => {}
            order => {
                entry.orders.push(order);
                self.ssh_turn(attempt);
            }
        }
    }

    /// Opens the source of an upload on a worker.
    fn ssh_open_source(&mut self, attempt: u64, task: SshTaskId, upload: Box<SshUpload>, now: Now) {
        match upload.source.clone() {
            UploadSource::Local(spec) => {
                self.ssh.files.submit(Box::new(move || {
                    let opened = copy::open_source(&spec);
                    Finished::Opened { attempt, task, upload, opened }
                }));
            }
            UploadSource::Gathered(sink, kind) => {
                let gone = || CopyFailure { message: "remote copy failed".to_owned(), detail: "it is gone".to_owned() };
                let file = self.copies.gathered(sink).ok_or_else(gone);
                let opened = file.map(|file| Opened { file, kind, notes: Vec::new() });
                self.ssh_opened(attempt, task, upload, opened, now);
            }
        }
    }

    /// Takes the result of opening the source of an upload.
    fn ssh_opened(
        &mut self,
        attempt: u64,
        task: SshTaskId,
        upload: Box<SshUpload>,
        opened: Result<Opened, CopyFailure>,
        now: Now,
    ) {
        let Some(entry) = self.ssh.entries.get_mut(&attempt) else { return };
        if !entry.opening.remove(&task) {
            return;
        }
        let node = entry.node;
        match opened {
            Ok(opened) => {
                let notes: Vec<SshNews> = opened.notes.iter().cloned().map(SshNews::Notice).collect();
                entry.orders.push(SshOrder::Start(task, SshTask::Upload(upload)));
                entry.sources.push((task, opened));
                self.dispatch.ssh_news(node, attempt, notes, now);
                self.ssh_turn(attempt);
            }
            Err(CopyFailure { message, detail }) => {
                let text = if detail.is_empty() { message } else { format!("{message} ({detail})") };
                self.dispatch.ssh_news(node, attempt, vec![SshNews::Ended(task, SshEnd::Failed(text))], now);
            }
        }
    }

    fn ssh_resolved(&mut self, attempt: u64, addresses: Result<Vec<SocketAddr>, String>, now: Now) {
        match addresses {
            Err(reason) => self.ssh_failed(attempt, &reason, now),
            Ok(mut addresses) => {
                addresses.truncate(8);
                addresses.reverse();
                self.ssh_connect_next(attempt, addresses, now);
            }
        }
    }

    /// Connects to the last of the addresses.
    fn ssh_connect_next(&mut self, attempt: u64, mut addresses: Vec<SocketAddr>, now: Now) {
        let mut reason = "its name has no address".to_owned();
        // The attempt may have been cancelled during the lookup.
        while let Some(entry) = self.ssh.entries.get_mut(&attempt) {
            let Some(address) = addresses.pop() else {
                return self.ssh_failed(attempt, &reason, now);
            };
            let connected = Stream::connect(address).and_then(|mut stream| {
                let both = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(&mut stream, source(attempt), both).map(|()| stream)
            });
            match connected {
                Ok(stream) => {
                    entry.state = State::Connecting(stream, addresses);
                    return;
                }
                Err(error) => reason = error.to_string(),
            }
        }
    }

    fn ssh_failed(&mut self, attempt: u64, reason: &str, now: Now) {
        if let Some(entry) = self.ssh.entries.remove(&attempt) {
            self.dispatch.ssh_closed(entry.node, attempt, reason, now);
        }
    }

    /// Handles an event of the socket of a connection.
    pub(super) fn ssh_event(&mut self, source: usize, now: Now) {
        let attempt = (source - FIRST_SSH_SOURCE) as u64;
        let Some(entry) = self.ssh.entries.get_mut(&attempt) else { return };
        match &entry.state {
            State::Resolving => {}
            State::Connecting(stream, _) => match stream.connected() {
                Ok(false) => {}
                Ok(true) => self.ssh_connected(attempt, now),
                Err(error) => {
                    let State::Connecting(_, rest) = std::mem::replace(&mut entry.state, State::Resolving) else {
                        return;
                    };
                    if rest.is_empty() {
                        self.ssh_failed(attempt, &error.to_string(), now);
                    } else {
                        self.ssh_connect_next(attempt, rest, now);
                    }
                }
            },
            State::Resting(_) | State::Working => {
                entry.is_ready = true;
                if entry.has_spoken {
                    self.ssh_turn(attempt);
                } else {
                    self.ssh_listen(attempt, now);
                }
            }
        }
    }

    fn ssh_connected(&mut self, attempt: u64, now: Now) {
        let Some(entry) = self.ssh.entries.get_mut(&attempt) else { return };
        let State::Connecting(stream, _) = std::mem::replace(&mut entry.state, State::Working) else { return };
        // Without keep-alive a vanished host is noticed later.
        let _not_supported = stream.set_keepalive();
        let node = entry.node;
        match stream.into_tcp().map(Session::new) {
            Some(Ok(session)) => entry.state = State::Resting(Box::new(session)),
            Some(Err(reason)) => return self.ssh_failed(attempt, &reason, now),
            None => return self.ssh_failed(attempt, "no TCP connection", now),
        }
        self.dispatch.ssh_connected(node, attempt, now);
        self.ssh_listen(attempt, now);
    }

    /// Checks, without reading, whether the host has sent its first bytes, and reports it.
    fn ssh_listen(&mut self, attempt: u64, now: Now) {
        let Some(entry) = self.ssh.entries.get_mut(&attempt) else { return };
        // A session that a worker is using was begun although nothing arrived.
        entry.has_spoken = match &entry.state {
            State::Resting(session) => session.has_input(),
            _ => true,
        };
        if entry.has_spoken {
            let node = entry.node;
            self.dispatch.ssh_spoken(node, attempt, now);
            self.ssh_turn(attempt);
        }
    }

    /// Gives a session to a worker, if it is idle and has something to do.
    fn ssh_turn(&mut self, attempt: u64) {
        let Some(entry) = self.ssh.entries.get_mut(&attempt) else { return };
        // Until the key exchange is ordered, the bytes of the host stay unread.
        if entry.orders.is_empty() && !(entry.is_ready && entry.is_begun) {
            return;
        }
        entry.is_begun = true;
        match std::mem::replace(&mut entry.state, State::Working) {
            State::Resting(mut session) => {
                entry.is_ready = false;
                let (orders, sources) = (std::mem::take(&mut entry.orders), std::mem::take(&mut entry.sources));
                let job = Box::new(move || {
                    let turn = session.turn(orders, sources);
                    Finished::Worked { attempt, session, turn }
                });
                self.ssh.jobs.submit(job);
            }
            other => entry.state = other,
        }
    }

    pub(super) fn ssh_finished(&mut self, finished: Finished, now: Now) {
        match finished {
            Finished::Resolved(attempt, addresses) => self.ssh_resolved(attempt, addresses, now),
            Finished::Worked { attempt, session, turn } => self.ssh_worked(attempt, session, turn, now),
            Finished::Opened { attempt, task, upload, opened } => self.ssh_opened(attempt, task, upload, opened, now),
            Finished::Dropped => {}
        }
    }

    fn ssh_worked(&mut self, attempt: u64, session: Box<Session>, turn: Turn, now: Now) {
        let Some(entry) = self.ssh.entries.get_mut(&attempt) else { return self.drop_ssh_session(session) };
        let node = entry.node;
        entry.is_ready |= turn.again;
        entry.state = State::Resting(session);
        self.dispatch.ssh_news(node, attempt, turn.news, now);
        self.ssh_turn(attempt);
    }

    /// Drops a session on a worker, because freeing its keys and buffers takes time.
    fn drop_ssh_session(&mut self, session: Box<Session>) {
        self.ssh.jobs.submit(Box::new(move || {
            drop(session);
            Finished::Dropped
        }));
    }
}

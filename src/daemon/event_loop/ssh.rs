//! SSH connections of the loop: their sockets are watched here, and their sessions run on separate workers.
//!
//! A session is either here, idle, or with a worker. An event of its socket that arrives meanwhile is remembered and
//! causes another turn.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use mio::{Interest, Token};

use crate::daemon::dispatch::SshWork;
use crate::edge::copy::{self, Opened};
use crate::edge::jobs::JobQueue;
use crate::edge::sockets::Stream;
use crate::edge::ssh::{Session, Turn};
use crate::model::connection::ConnectionId;
use crate::model::copy::CopyFailure;
use crate::model::node_id::NodeId;
use crate::model::ssh::{SshEnd, SshNews, SshOrder, SshTask, SshTaskId, SshUpload, UploadSource};
use crate::model::time::{Monotonic, Now};

use super::EventLoop;

/// Token number of the first SSH connection, far above those of connections and children.
pub(super) const FIRST_SSH_SOURCE: usize = 1 << (usize::BITS - 2);
/// Maximum number of threads for SSH sessions; several, so that the slow key or agent of one host delays few others.
const THREADS: usize = 4;
/// Maximum number of threads that open files and pack directories for copies over SSH.
const FILE_THREADS: usize = 2;

enum State {
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

/// All SSH sessions by connection.
pub(super) struct SshConnections {
    entries: HashMap<ConnectionId, Entry>,
    /// Jobs; each session has at most one.
    jobs: JobQueue<Finished>,
    files: JobQueue<Finished>,
}

/// The result of a worker's job.
pub(super) enum Finished {
    /// A session has finished a turn.
    Worked { connection: ConnectionId, session: Box<Session>, turn: Turn },
    /// The source of an upload was opened.
    Opened { connection: ConnectionId, task: SshTaskId, upload: Box<SshUpload>, opened: Result<Opened, CopyFailure> },
    /// A session was dropped.
    Dropped,
}

impl SshConnections {
    pub(super) fn new(wake: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self {
            entries: HashMap::new(),
            jobs: JobQueue::new(THREADS, Arc::clone(&wake)),
            files: JobQueue::new(FILE_THREADS, wake),
        }
    }

    pub(super) fn handle_timeout(&mut self) {
        for queue in [&mut self.jobs, &mut self.files] {
            queue.handle_timeout();
        }
    }

    pub(super) fn poll_finished(&self) -> Option<Finished> {
        self.jobs.poll_finished().or_else(|| self.files.poll_finished())
    }

    pub(super) fn poll_timeout(&self, now: Monotonic) -> Option<Monotonic> {
        [&self.jobs, &self.files].into_iter().filter_map(|queue| queue.poll_timeout(now)).min()
    }
}

fn source(connection: ConnectionId) -> Token {
    Token(FIRST_SSH_SOURCE + usize::try_from(connection.0).unwrap_or(0) % FIRST_SSH_SOURCE)
}

impl EventLoop {
    pub(super) fn ssh_work(&mut self, node: NodeId, connection: ConnectionId, work: SshWork, now: Now) {
        match work {
            SshWork::TakeOver => self.ssh_take_over(node, connection, now),
            SshWork::Order(order) => self.ssh_order(connection, order, now),
            SshWork::Close => {
                if let Some(Entry { state: State::Resting(session), .. }) = self.ssh.entries.remove(&connection) {
                    self.drop_ssh_session(session);
                }
            }
        }
    }

    fn ssh_order(&mut self, connection: ConnectionId, order: SshOrder, now: Now) {
        let Some(entry) = self.ssh.entries.get_mut(&connection) else { return };
        match order {
            SshOrder::Start(task, SshTask::Upload(upload)) => {
                entry.opening.insert(task);
                self.ssh_open_source(connection, task, upload, now);
            }
            // The upload has not begun and will not begin.
            SshOrder::Abort(task) if entry.opening.remove(&task) => {}
            order => {
                entry.orders.push(order);
                self.ssh_turn(connection);
            }
        }
    }

    /// Opens the source of an upload on a worker.
    fn ssh_open_source(&mut self, connection: ConnectionId, task: SshTaskId, upload: Box<SshUpload>, now: Now) {
        match upload.source.clone() {
            UploadSource::Local(spec) => {
                self.ssh.files.submit(Box::new(move || {
                    let opened = copy::open_source(&spec);
                    Finished::Opened { connection, task, upload, opened }
                }));
            }
            UploadSource::Gathered(sink, kind) => {
                let gone = || CopyFailure { message: "remote copy failed".to_owned(), detail: "it is gone".to_owned() };
                let file = self.copies.gathered(sink).ok_or_else(gone);
                let opened = file.map(|file| Opened { file, kind, notes: Vec::new() });
                self.ssh_opened(connection, task, upload, opened, now);
            }
        }
    }

    /// Takes the result of opening the source of an upload.
    fn ssh_opened(
        &mut self,
        connection: ConnectionId,
        task: SshTaskId,
        upload: Box<SshUpload>,
        opened: Result<Opened, CopyFailure>,
        now: Now,
    ) {
        let Some(entry) = self.ssh.entries.get_mut(&connection) else { return };
        if !entry.opening.remove(&task) {
            return;
        }
        let node = entry.node;
        match opened {
            Ok(opened) => {
                let notes: Vec<SshNews> = opened.notes.iter().cloned().map(SshNews::Notice).collect();
                entry.orders.push(SshOrder::Start(task, SshTask::Upload(upload)));
                entry.sources.push((task, opened));
                self.dispatch.ssh_news(node, connection, notes, now);
                self.ssh_turn(connection);
            }
            Err(CopyFailure { message, detail }) => {
                let text = if detail.is_empty() { message } else { format!("{message} ({detail})") };
                self.dispatch.ssh_news(node, connection, vec![SshNews::Ended(task, SshEnd::Failed(text))], now);
            }
        }
    }

    /// Begins a session on an established connection.
    fn ssh_take_over(&mut self, node: NodeId, connection: ConnectionId, now: Now) {
        let session = match self.streams.take_out(connection, self.poll.registry()) {
            Some(stream) => self.ssh_session(stream, connection),
            None => Err("its connection was closed".to_owned()),
        };
        match session {
            Ok(session) => {
                let entry = Entry {
                    node,
                    state: State::Resting(session),
                    orders: Vec::new(),
                    opening: BTreeSet::new(),
                    sources: Vec::new(),
                    is_ready: false,
                    has_spoken: false,
                    is_begun: false,
                };
                self.ssh.entries.insert(connection, entry);
                self.dispatch.ssh_connected(node, connection, now);
                self.ssh_listen(connection, now);
            }
            Err(reason) => self.dispatch.ssh_closed(node, connection, &reason, now),
        }
    }

    fn ssh_session(&self, mut stream: Stream, connection: ConnectionId) -> Result<Box<Session>, String> {
        let both = Interest::READABLE | Interest::WRITABLE;
        let registered = self.poll.registry().register(&mut stream, source(connection), both);
        registered.map_err(|error| error.to_string())?;
        // Without keep-alive a vanished host is noticed later.
        let _not_supported = stream.set_keepalive();
        stream.into_tcp().map_or_else(|| Err("no TCP connection".to_owned()), Session::new).map(Box::new)
    }

    /// Handles an event of the socket of a connection.
    pub(super) fn ssh_event(&mut self, source: usize, now: Now) {
        let connection = ConnectionId((source - FIRST_SSH_SOURCE) as u64);
        let Some(entry) = self.ssh.entries.get_mut(&connection) else { return };
        entry.is_ready = true;
        if entry.has_spoken {
            self.ssh_turn(connection);
        } else {
            self.ssh_listen(connection, now);
        }
    }

    /// Checks, without reading, whether the host has sent its first bytes, and reports it.
    fn ssh_listen(&mut self, connection: ConnectionId, now: Now) {
        let Some(entry) = self.ssh.entries.get_mut(&connection) else { return };
        // A session that a worker is using was begun although nothing arrived.
        entry.has_spoken = match &entry.state {
            State::Resting(session) => session.has_input(),
            _ => true,
        };
        if entry.has_spoken {
            let node = entry.node;
            self.dispatch.ssh_spoken(node, connection, now);
            self.ssh_turn(connection);
        }
    }

    /// Gives a session to a worker, if it is idle and has something to do.
    fn ssh_turn(&mut self, connection: ConnectionId) {
        let Some(entry) = self.ssh.entries.get_mut(&connection) else { return };
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
                    Finished::Worked { connection, session, turn }
                });
                self.ssh.jobs.submit(job);
            }
            other => entry.state = other,
        }
    }

    pub(super) fn ssh_finished(&mut self, finished: Finished, now: Now) {
        match finished {
            Finished::Worked { connection, session, turn } => self.ssh_worked(connection, session, turn, now),
            Finished::Opened { connection, task, upload, opened } => {
                self.ssh_opened(connection, task, upload, opened, now)
            }
            Finished::Dropped => {}
        }
    }

    fn ssh_worked(&mut self, connection: ConnectionId, session: Box<Session>, turn: Turn, now: Now) {
        let Some(entry) = self.ssh.entries.get_mut(&connection) else { return self.drop_ssh_session(session) };
        let node = entry.node;
        entry.is_ready |= turn.again;
        entry.state = State::Resting(session);
        self.dispatch.ssh_news(node, connection, turn.news, now);
        self.ssh_turn(connection);
    }

    /// Drops a session on a worker, because freeing its keys and buffers takes time.
    fn drop_ssh_session(&mut self, session: Box<Session>) {
        self.ssh.jobs.submit(Box::new(move || {
            drop(session);
            Finished::Dropped
        }));
    }
}

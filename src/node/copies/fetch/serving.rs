//! The node that is read: the sources that other daemons have open, and the steps that they ask for, in order.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::wire::{self, Asked, Step};
use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::copy::{Attributes, ChunkFrame, CopyFailure, Reading, SourceDone, SourceId, SourceSpec, SourceStep};
use crate::model::host_work::HostWork;
use crate::model::log::LogLine;
use crate::model::token::Token;
use crate::node::context::Context;
use crate::node::copies::ending::confirm;
use crate::node::output::Output;
use crate::node::peer::{Handled, Peer};
use crate::node::timers::Timer;

/// Maximum number of open sources.
const SERVED_MAX: usize = 32;
/// Maximum number of steps of a source that wait.
const WAITING_MAX: usize = 16;
/// Time without a step after which a source is closed.
const IDLE: Duration = Duration::from_secs(600);
/// Maximum size of a chunk in bytes: its message fits into every transport.
const CHUNK_BYTES_MAX: u64 = 150_000;

/// An open source.
#[derive(Debug)]
struct Served {
    token: Token,
    client: ClientId,
    path: PathBuf,
    waiting: VecDeque<(u64, Step)>,
    /// The step in progress.
    running: Option<(u64, Step)>,
    /// What was found when it was opened.
    opened: Option<SourceDone>,
}

/// All of them.
#[derive(Debug, Default)]
pub(in crate::node) struct Serving {
    all: BTreeMap<SourceId, Served>,
}

/// Whether a PROCESSCOPY asks for a step.
pub(in crate::node) struct Request(Asked);

impl Request {
    /// Reads the data of a PROCESSCOPY; `None` if it belongs to a copy that we receive.
    pub(in crate::node) fn read(data: &str) -> Option<Self> {
        Asked::read(data).map(Self)
    }
}

impl Serving {
    /// Returns whether a source is one of them.
    pub(in crate::node::copies) fn has(&self, source: SourceId) -> bool {
        self.all.contains_key(&source)
    }

    /// Handles a step.
    pub(in crate::node) fn take(
        &mut self,
        context: &mut Context,
        peer: Peer,
        token: &Token,
        request: Request,
    ) -> Handled {
        let Some(client) = peer.client() else { return Handled::not_well_formatted() };
        let asked = request.0;
        let number = asked.number;
        let found = self.all.iter().find(|(_, served)| served.token == *token).map(|(source, _)| *source);
        let said = match (asked.step.clone(), found) {
            (Step::Open, found) => return self.open(context, client, (token, found), asked),
            (Step::Close, found) => {
                if let Some(source) = found {
                    self.close(context, source);
                }
                "closed"
            }
            (_, None) => "closed",
            (Step::Alive, Some(source)) => match self.all.get(&source) {
                Some(served) if served.running.is_some() => "busy",
                _ => "idle",
            },
            (step, Some(source)) => {
                let Some(served) = self.all.get_mut(&source) else { return Handled::Later };
                served.client = client;
                if served.waiting.len() >= WAITING_MAX {
                    let failure = failed("too many steps at once".to_owned());
                    return answer(context, client, token, wire::refused(number, &failure));
                }
                served.waiting.push_back((number, step));
                context.timers.set(Timer::Served(source), context.now.monotonic + IDLE);
                self.run(context, source);
                return Handled::Later;
            }
        };
        answer(context, client, token, wire::said(number, said))
    }

    /// Opens a source. One that is open already, because its reader lost the connection, is kept.
    fn open(
        &mut self,
        context: &mut Context,
        client: ClientId,
        (token, found): (&Token, Option<SourceId>),
        asked: Asked,
    ) -> Handled {
        let number = asked.number;
        if let Some(source) = found
            && let Some(served) = self.all.get_mut(&source).filter(|served| served.path == asked.source)
        {
            served.client = client;
            served.waiting.clear();
            if let Some(opened) = served.opened.clone() {
                return answer(context, client, token, wire::answer(number, opened));
            }
            served.running = Some((number, Step::Open));
            return Handled::Later;
        }
        if let Some(source) = found {
            self.close(context, source);
        }
        if self.all.len() >= SERVED_MAX {
            let failure = failed("too many files are read from this node at once, try again later".to_owned());
            return answer(context, client, token, wire::refused(number, &failure));
        }
        let settings = context.options.modules.action.as_ref();
        let (read_roots, copy_roots) =
            settings.map(|action| (action.read_roots.clone(), action.copy_roots.clone())).unwrap_or_default();
        let source = context.begin_copy();
        let text = format!("copy {token}: {} is read by another daemon", asked.source.display());
        context.log(LogLine::info("action", text).of_token(token));
        let spec = SourceSpec {
            source: asked.source.clone(),
            cache_dir: asked.cache_dir,
            archive_name: format!("fetch-{}.tar.gz", source.0),
            attributes: Attributes::default(),
            difference: None,
            below: Some(Reading { roots: read_roots, pack_roots: copy_roots }),
        };
        let running = Some((number, Step::Open));
        let (token, path, waiting) = (token.clone(), asked.source, VecDeque::new());
        self.all.insert(source, Served { token, client, path, waiting, running, opened: None });
        context.timers.set(Timer::Served(source), context.now.monotonic + IDLE);
        context.output(Output::Host(HostWork::ReadSource { source, step: SourceStep::Open(spec) }));
        Handled::Later
    }

    /// Starts the next step, unless one is in progress.
    fn run(&mut self, context: &mut Context, source: SourceId) {
        let Some(served) = self.all.get_mut(&source).filter(|served| served.running.is_none()) else { return };
        let Some((number, step)) = served.waiting.pop_front() else { return };
        served.running = Some((number, step.clone()));
        let step = match step {
            Step::Digest(kind) => SourceStep::Digest(kind),
            Step::Rewind(offset, kind) => SourceStep::Rewind(offset, kind),
            Step::Agree(pieces, kind) => SourceStep::Agree { pieces, kind },
            Step::Read(bytes) => {
                let chunk_bytes = usize::try_from(bytes.clamp(1, CHUNK_BYTES_MAX)).unwrap_or(1);
                let frame = ChunkFrame { before: Arc::from("\"chunk\":{\"data\":\""), after: Arc::from("}}") };
                SourceStep::Read { count: 1, chunk_bytes, frame }
            }
            Step::Finish => SourceStep::Finish,
            // These are answered at once.
            Step::Open | Step::Alive | Step::Close => return,
        };
        context.output(Output::Host(HostWork::ReadSource { source, step }));
    }

    /// Handles the result of a step.
    pub(in crate::node::copies) fn done(&mut self, context: &mut Context, source: SourceId, done: SourceDone) {
        let Some(served) = self.all.get_mut(&source) else { return };
        let Some((number, step)) = served.running.take() else { return };
        if step == Step::Open && matches!(done, SourceDone::Opened { .. }) {
            served.opened = Some(done.clone());
        }
        let (client, token) = (served.client, served.token.clone());
        if let SourceDone::Failed(CopyFailure { message, detail }) = &done {
            let text = format!("copy {token} to another daemon: {message} ({detail})");
            context.log(LogLine::warning("action", text).of_token(&token));
            self.close(context, source);
        }
        answer(context, client, &token, wire::answer(number, done));
        self.run(context, source);
    }

    /// Handles [`Timer::Served`].
    pub(in crate::node) fn timer_due(&mut self, context: &mut Context, source: SourceId) {
        if self.all.get(&source).is_some_and(|served| served.running.is_some()) {
            return context.timers.set(Timer::Served(source), context.now.monotonic + IDLE);
        }
        self.close(context, source);
    }

    fn close(&mut self, context: &mut Context, source: SourceId) {
        if self.all.remove(&source).is_some() {
            context.timers.cancel(&Timer::Served(source));
            context.output(Output::Host(HostWork::ReadSource { source, step: SourceStep::Close }));
        }
    }
}

fn failed(detail: String) -> CopyFailure {
    CopyFailure { message: "remote copy failed".to_owned(), detail }
}

fn answer(context: &mut Context, client: ClientId, token: &Token, data: String) -> Handled {
    confirm(context, client, token, Code::BEGIN, data);
    Handled::Later
}

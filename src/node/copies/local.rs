//! Copies from one place of this machine to another: a REMOTECOPY whose target is this daemon, as the web interface
//! orders it for the central's own configuration. The source is read as for another node, and what would be sent goes
//! to [`Receiving`], which writes the rows and puts the copy in place as any other. A few chunks are on the way at a
//! time.

use std::collections::BTreeMap;

use crate::model::code::Code;
use crate::model::copy::{CopyFailure, CopyKind, SourceDone, SourceId, SourceStep};
use crate::model::host_work::HostWork;
use crate::model::log::LogLine;
use crate::model::token::Token;

use super::ending::failure_data;
use super::receiving::Receiving;
use super::request::{CopyRequest, Dialect};
use crate::node::context::Context;
use crate::node::json;
use crate::node::output::Output;
use crate::node::peer::{Handled, Peer};

/// Maximum number of copies in progress.
const COPIES_MAX: usize = 64;
/// Number of chunks that a job reads.
const READ_COUNT: usize = 2;
/// Number of bytes that may wait for the disk when more is read.
const WAITING_MAX: usize = 1 << 20;
const CHUNK_BYTES: usize = 150_000;

#[derive(Debug)]
struct Copy {
    token: Token,
    request: CopyRequest,
    kind: CopyKind,
    total: u64,
    /// Whether a step of the source is in progress.
    has_step: bool,
    all_read: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(in crate::node) struct LocalCopies {
    all: BTreeMap<SourceId, Copy>,
}

/// The copies, with references to the state that they use.
pub(in crate::node) struct Local<'a> {
    pub context: &'a mut Context,
    pub receiving: &'a mut Receiving,
    pub copies: &'a mut LocalCopies,
}

impl LocalCopies {
    /// Returns whether a source is one of them.
    pub(super) fn has(&self, source: SourceId) -> bool {
        self.all.contains_key(&source)
    }

    /// Returns whether none is in progress.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl Local<'_> {
    /// Starts a REMOTECOPY to this daemon.
    pub(super) fn begin(&mut self, token: &Token, data: &str) -> Handled {
        let read = match CopyRequest::read_whole(data) {
            Ok(_) if self.copies.all.len() >= COPIES_MAX => Err(("too many copies at once, try again later", "")),
            read => read,
        };
        let request = match read {
            Ok(request) => request,
            Err((message, detail)) => {
                let failure = CopyFailure { message: message.to_owned(), detail: detail.to_owned() };
                self.context.finish(token, Code::FINISHED_KO, failure_data(&failure));
                return Handled::accepted();
            }
        };
        let source = self.context.begin_copy();
        self.context.open_token(token, None);
        let spec = request.spec("local", source.0);
        let (kind, token) = (CopyKind::Regular, token.clone());
        let copy = Copy { token, request, kind, total: 0, has_step: false, all_read: false };
        self.copies.all.insert(source, copy);
        self.step(source, SourceStep::Open(spec));
        Handled::accepted()
    }

    fn step(&mut self, source: SourceId, step: SourceStep) {
        if let Some(copy) = self.copies.all.get_mut(&source) {
            copy.has_step = true;
            self.context.output(Output::Host(HostWork::ReadSource { source, step }));
        }
    }

    /// Handles the result of a step of a source.
    pub(super) fn done(&mut self, source: SourceId, done: SourceDone) {
        let Some(copy) = self.copies.all.get_mut(&source) else { return };
        copy.has_step = false;
        match done {
            SourceDone::Opened { kind, total, notes, .. } => {
                (copy.kind, copy.total) = (kind, total);
                copy.request.complete_destination(kind);
                copy.request.note(&notes);
                for note in notes {
                    self.context.log(LogLine::warning("proxy", note));
                }
                self.go_on();
            }
            SourceDone::Chunks(chunks) => {
                copy.all_read = chunks.len() < READ_COUNT
                    || chunks.last().is_none_or(|chunk| chunk.offset + chunk.len_bytes >= copy.total);
                for chunk in chunks {
                    self.take(source, chunk.data);
                }
                self.go_on();
            }
            SourceDone::Digest(md5) | SourceDone::Grew(md5) => {
                let end = copy.request.end(copy.kind, &md5, Dialect::Plain);
                self.take(source, end);
                self.forget(source);
            }
            SourceDone::Agreed(_) | SourceDone::Selected | SourceDone::Nothing => {}
            SourceDone::Failed(failure) => {
                let (token, abort) = (copy.token.clone(), copy.request.abort(copy.kind));
                let text = failure_data(&failure);
                self.context.log(LogLine::error("proxy", format!("copy {token}: {text}")).of_token(&token));
                self.context.finish(&token, Code::FINISHED_KO, text);
                if self.receiving.has(&token) {
                    self.take(source, abort);
                    self.receiving.write_no_more_rows(&token);
                }
                self.forget(source);
            }
        }
    }

    /// Reads on where the disk has taken what was read.
    pub(super) fn go_on(&mut self) {
        if self.receiving.held_bytes() > WAITING_MAX {
            return;
        }
        let ready = self.copies.all.iter().filter(|(_, copy)| !copy.has_step).map(|(source, _)| *source);
        for source in ready.collect::<Vec<_>>() {
            let Some(copy) = self.copies.all.get(&source) else { continue };
            let step = if copy.all_read {
                SourceStep::Finish
            } else {
                let frame = copy.request.frame(copy.kind, Dialect::Plain);
                SourceStep::Read { count: READ_COUNT, chunk_bytes: CHUNK_BYTES, frame }
            };
            self.step(source, step);
        }
    }

    /// Has a message received like one of another daemon.
    fn take(&mut self, source: SourceId, data: String) {
        if let Some(copy) = self.copies.all.get(&source) {
            self.receiving.take(self.context, Peer::Ourselves, &copy.token, data, None);
        }
    }

    /// Notes that a token has its last row, whoever wrote it.
    pub(super) fn token_ended(&mut self, token: &str) {
        let is_it = |copy: &Copy| copy.token.as_str() == token;
        if let Some(source) = self.copies.all.iter().find(|(_, copy)| is_it(copy)).map(|(source, _)| *source) {
            self.forget(source);
        }
    }

    fn forget(&mut self, source: SourceId) {
        if self.copies.all.remove(&source).is_some() {
            self.context.output(Output::Host(HostWork::ReadSource { source, step: SourceStep::Close }));
        }
    }

    /// Ends all of them, because the daemon stops.
    pub(super) fn stop(&mut self, text: &str) {
        for source in self.copies.all.keys().copied().collect::<Vec<_>>() {
            let Some(copy) = self.copies.all.get(&source) else { continue };
            let token = copy.token.clone();
            self.context.finish(&token, Code::FINISHED_KO, json::message(text));
            self.forget(source);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::copy::{Chunk, CopyKind, DigestKind, SinkDone, SinkId, SourceDone, SourceId};
    use crate::model::host_work::HostDone;
    use crate::node::input::Input;
    use crate::node::testing::{Bench, options};

    const COPY: &str = r#"{"content":{"source":"/from","destination":"/to","cache_dir":"/cache"}}"#;

    fn source(bench: &mut Bench, done: SourceDone) -> Vec<String> {
        bench.give(Input::Host(HostDone::SourceDone { source: SourceId(0), done }))
    }

    fn opened() -> SourceDone {
        SourceDone::Opened { kind: CopyKind::Archive, total: 4, notes: Vec::new(), digest: DigestKind::Md5 }
    }

    fn chunk() -> SourceDone {
        let data = r#"{"content":{"status":"inprogress","type":"archive","chunk":{"data":"dGV4dA==","size":4,"offset":0,"total":4},"destination":"/to"}}"#;
        SourceDone::Chunks(vec![Chunk { data: data.to_owned(), offset: 0, len_bytes: 4 }])
    }

    #[test]
    fn a_copy_to_the_own_id_is_put_in_place_here_and_a_command_behind_it_waits() {
        let mut bench = Bench::new(options(Vec::new()));
        let outputs = bench.request("REMOTECOPY", "t", "1", COPY);
        assert!(outputs[0].starts_with("source 0: Open"), "{outputs:?}");
        assert!(source(&mut bench, opened())[0].starts_with("source 0: Read"));
        let outputs = source(&mut bench, chunk());
        assert!(outputs[0].starts_with("sink 0: [Chunk"), "{outputs:?}");
        assert_eq!(outputs[1], "source 0: Finish");
        bench.request("COMMAND", "c", "", r#"{"content":[{"command":"true"}]}"#);
        source(&mut bench, SourceDone::Digest("ab".to_owned()));
        let sink =
            |bench: &mut Bench, done| bench.give(Input::Host(HostDone::SinkDone { sink: SinkId(0), done: vec![done] }));
        let outputs = sink(&mut bench, SinkDone::Written(4));
        assert!(outputs.iter().any(|line| line.starts_with("sink 0: [End")), "{outputs:?}");
        let outputs = sink(&mut bench, SinkDone::Finished(Vec::new()));
        let ended = r#"row t 2 {"message":"process copy finished successfully"}"#;
        assert_eq!(outputs[0], ended);
        assert!(outputs.iter().any(|line| line.starts_with("row c 0")), "now it begins: {outputs:?}");
    }

    #[test]
    fn a_source_that_is_not_there_ends_the_token() {
        let mut bench = Bench::new(options(Vec::new()));
        bench.request("REMOTECOPY", "t", "1", COPY);
        let failure =
            super::CopyFailure { message: "remote copy failed".to_owned(), detail: "no such file".to_owned() };
        let outputs = source(&mut bench, SourceDone::Failed(failure));
        let ended = r#"row t 1 {"detail":"no such file","message":"remote copy failed"}"#;
        assert!(outputs.contains(&ended.to_owned()), "{outputs:?}");
        assert!(!outputs.iter().any(|line| line.starts_with("sink")), "{outputs:?}");
    }

    #[test]
    fn no_row_comes_behind_the_last_one_of_a_copy_whose_source_failed() {
        let mut bench = Bench::new(options(Vec::new()));
        bench.request("REMOTECOPY", "t", "1", COPY);
        source(&mut bench, opened());
        source(&mut bench, chunk());
        let failure = super::CopyFailure { message: "remote copy failed".to_owned(), detail: "it changed".to_owned() };
        let outputs = source(&mut bench, SourceDone::Failed(failure));
        assert!(outputs.iter().any(|line| line.starts_with("row t 1 ")), "{outputs:?}");
        // The chunk that was under way reaches the disk only now.
        let done = HostDone::SinkDone { sink: SinkId(0), done: vec![SinkDone::Written(4)] };
        let outputs = bench.give(Input::Host(done));
        assert!(!outputs.iter().any(|line| line.starts_with("row t")), "{outputs:?}");
    }
}

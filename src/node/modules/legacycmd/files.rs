//! Command files, one piece at a time: read, stored, sent, and removed when all pieces are stored.

use std::time::Duration;

use crate::model::history::StoreChange;
use crate::model::legacy::{FileMark, FileOutcome, FilePiece, FileWork, LegacyChange, LegacyWork};
use crate::model::log::LogLine;
use crate::model::work::{Work, WorkId};
use crate::node::context::Context;
use crate::node::journal::Awaited;
use crate::node::output::{Output, ReceiptId};
use crate::node::timers::Timer;

use super::{LegacyCmd, pieces, with_worker};

/// Interval between two searches for files, and between two reads of a file that may still grow.
const PERIOD: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_millis(200);

/// The state of the current file.
#[derive(Debug, Default)]
enum State {
    /// There is no current file, or no work on it.
    #[default]
    Idle,
    /// A worker reads, removes or closes it.
    Working(WorkId),
    /// A piece of it is being stored; whether it is the last, and the position before it.
    Storing { receipt: ReceiptId, is_whole: bool, before: Option<FileMark> },
}

/// The current command file and its state.
#[derive(Debug, Default)]
pub(super) struct Files {
    state: State,
    mark: Option<FileMark>,
    /// Whether the directories have changed in the meantime.
    is_touched: bool,
    /// Whether reading is paused because too much waits.
    is_held_up: bool,
}

impl Files {
    pub(super) fn restore(&mut self, mark: Option<FileMark>) {
        self.mark = mark;
    }

    pub(super) const fn is_held_up(&self) -> bool {
        self.is_held_up
    }

    /// Looks for something to read, unless too much waits.
    pub(super) fn look(&mut self, context: &mut Context, is_full: bool) {
        if !matches!(self.state, State::Idle) {
            self.is_touched = true;
            return;
        }
        self.is_held_up = is_full;
        if !is_full {
            self.work(context, FileWork::Read(self.mark.clone()));
        }
        context.timers.set(Timer::CommandFiles, context.now.monotonic + PERIOD);
    }

    fn work(&mut self, context: &mut Context, work: FileWork) {
        self.is_touched = false;
        self.state = State::Working(context.start_work(Work::Legacy(LegacyWork::Files(work))));
    }

    /// Handles the storing of a piece. Returns whether to look for more.
    pub(super) fn stored(&mut self, context: &mut Context, receipt: ReceiptId, is_stored: bool) -> bool {
        let (is_whole, before) = match std::mem::take(&mut self.state) {
            State::Storing { receipt: awaited, is_whole, before } if awaited == receipt => (is_whole, before),
            other => {
                self.state = other;
                return false;
            }
        };
        if !is_stored {
            // Nothing of the piece was stored; it is read again from the same position.
            self.mark = before;
            self.work(context, FileWork::Leave);
            return false;
        }
        if is_whole {
            self.work(context, FileWork::Remove);
        }
        !is_whole
    }
}

impl LegacyCmd {
    /// Handles the result of reading or removing a file.
    pub(super) fn files_done(&mut self, context: &mut Context, id: WorkId, outcome: FileOutcome) {
        if !matches!(self.files.state, State::Working(working) if working == id) {
            return;
        }
        self.files.state = State::Idle;
        match outcome {
            FileOutcome::Nothing { is_waiting, complaints } => {
                complaints.iter().for_each(|text| _ = self.complain(context, text));
                if std::mem::take(&mut self.files.is_touched) {
                    return self.look_for_files(context);
                }
                let pause = if is_waiting { SOON } else { PERIOD };
                context.timers.set(Timer::CommandFiles, context.now.monotonic + pause);
            }
            FileOutcome::Piece(piece) => self.piece_read(context, &piece),
            FileOutcome::Removed => {
                self.files.mark = None;
                context.store(StoreChange::Legacy(LegacyChange::DeleteMark));
                self.look_for_files(context);
            }
            FileOutcome::NotRemoved(reason) => {
                self.complain(context, &reason);
                context.timers.set(Timer::CommandFiles, context.now.monotonic + PERIOD);
            }
        }
    }

    fn piece_read(&mut self, context: &mut Context, piece: &FilePiece) {
        let pollers = self.pollers.as_ref();
        let found = pollers.and_then(|pollers| with_worker(context, |_, worker| pieces::read(piece, pollers, worker)));
        let receipt = context.await_receipt(Awaited::Orders);
        let (Some(found), Some(receipt), Some(settings)) = (found, receipt, context.options.modules.legacycmd.clone())
        else {
            // The Centreon database has become unavailable, or too much waits for our own: the piece is read again from
            // the same position.
            self.files.work(context, FileWork::Leave);
            return;
        };
        for fault in found.faults {
            if self.complain(context, &fault.text) && fault.has_row {
                context.fail(&fault.token, &fault.text);
            }
        }
        let mark = FileMark { path: piece.path.clone(), identity: piece.identity.clone(), offset: piece.next };
        let before = self.files.mark.replace(mark.clone());
        let change = StoreChange::Legacy(LegacyChange::PutMark(mark));
        context.output(Output::Store { change, receipt: Some(receipt) });
        if !found.orders.is_empty() {
            let (count, path) = (found.orders.len(), &piece.path);
            context.log(LogLine::debug("legacycmd", format!("{count} messages of {path} up to byte {}", piece.next)));
        }
        self.store(context, receipt, found.orders, &settings);
        self.files.state = State::Storing { receipt, is_whole: piece.is_whole, before };
    }
}

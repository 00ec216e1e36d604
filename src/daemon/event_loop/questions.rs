//! Questions to the history, as jobs of workers.
//!
//! Waking a thread costs more than answering a question for a token, which uses an index. Therefore one job answers
//! many such questions; any other question may take long and gets its own job.

use std::collections::VecDeque;

use crate::daemon::dispatch::AnswerRoom;
use crate::edge::history_store::StoreError;
use crate::edge::jobs::Job;
use crate::edge::store::{self, StorePlace};
use crate::model::history::{LogFilter, LogPage, PageLimit};
use crate::model::host_work::{HostDone, QueryId};
use crate::model::time::Now;

use super::EventLoop;
use super::storage::JobResult;
use super::workers::Rank;

/// Maximum number of simultaneous jobs of each kind. Each holds answers of at most one page plus [`TOGETHER_BYTES`].
/// The other questions wait; the deciding core bounds their number.
const RUNNING_MAX: usize = 2;
/// Maximum number of questions of one job.
const TOGETHER_MAX: usize = 128;
/// Size in bytes of a job's answers at which it hands back the remaining questions.
const TOGETHER_BYTES: usize = 256 << 10;

pub(super) type Question = (QueryId, LogFilter, PageLimit);

/// The result of a job: the answers, and the unanswered questions.
pub(super) struct Answers {
    rank: Rank,
    answered: Vec<(QueryId, Result<LogPage, String>)>,
    left: VecDeque<Question>,
}

/// The questions that wait for a job: those that an index answers, and those that may read all of the history.
pub(super) struct Questions {
    place: StorePlace,
    quick: Waiting,
    slow: Waiting,
}

#[derive(Default)]
struct Waiting {
    questions: VecDeque<Question>,
    running: usize,
}

impl Waiting {
    /// Takes the questions of the next job, if fewer than [`RUNNING_MAX`] are running.
    fn next(&mut self, together: usize) -> Option<VecDeque<Question>> {
        if self.running >= RUNNING_MAX || self.questions.is_empty() {
            return None;
        }
        self.running += 1;
        Some(self.questions.drain(..together.min(self.questions.len())).collect())
    }
}

impl Questions {
    pub(super) fn new(place: StorePlace) -> Self {
        Self { place, quick: Waiting::default(), slow: Waiting::default() }
    }

    pub(super) fn ask(&mut self, question: Question) {
        let waiting = if is_quick(&question) { &mut self.quick } else { &mut self.slow };
        waiting.questions.push_back(question);
    }

    /// Notes the end of a job; its unanswered questions come next.
    fn take_back(&mut self, rank: Rank, left: VecDeque<Question>) {
        let waiting = if rank == Rank::QuickQuestion { &mut self.quick } else { &mut self.slow };
        waiting.running = waiting.running.saturating_sub(1);
        left.into_iter().rev().for_each(|question| waiting.questions.push_front(question));
    }

    fn next_job(&mut self, room: AnswerRoom) -> Option<(Rank, Job<JobResult>)> {
        if room == AnswerRoom::None {
            return None;
        }
        let quick = self.quick.next(TOGETHER_MAX).map(|questions| (Rank::QuickQuestion, questions));
        let (rank, mut questions) = quick.or_else(|| Some((Rank::Question, self.slow.next(1)?)))?;
        if let AnswerRoom::Bytes(most) = room {
            questions.iter_mut().for_each(|(.., limit)| limit.bytes = limit.bytes.min(most));
        }
        let place = self.place.clone();
        let job = Box::new(move || {
            let answered = store::query_kept(&place, &mut questions, TOGETHER_BYTES);
            let text =
                |(query, page): (QueryId, Result<_, StoreError>)| (query, page.map_err(|error| error.to_string()));
            let answered = answered.into_iter().map(text).collect();
            JobResult::Answered(Answers { rank, answered, left: questions })
        });
        Some((rank, job))
    }
}

impl EventLoop {
    /// Submits the questions that may be answered now to the workers.
    pub(super) fn submit_questions(&mut self) {
        while let Some((rank, job)) = self.storage.questions.next_job(self.dispatch.answer_room()) {
            self.workers.submit(rank, job);
        }
    }

    pub(super) fn questions_answered(&mut self, answers: Answers, now: Now) {
        self.storage.questions.take_back(answers.rank, answers.left);
        for (query, result) in answers.answered {
            self.dispatch.host_done(HostDone::QueryAnswer { query, result }, now);
        }
        self.submit_questions();
    }
}

/// Whether an index finds the rows and a page bounds them: the rows of a token, or those after a given row, as another
/// Stheno requests them in a sync.
fn is_quick((_, filter, _): &Question) -> bool {
    let has_other = filter.after_ctime.is_some() || filter.after_etime.is_some() || filter.code.is_some();
    filter.token.is_some() || (filter.after_id.is_some() && !has_other && filter.newest.is_none())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn question(number: u64, token: Option<&str>) -> Question {
        let filter = LogFilter { token: token.map(str::to_owned), ..LogFilter::default() };
        (QueryId(number), filter, PageLimit { rows: 10, bytes: 1_000, whole_instants: false, as_json: false })
    }

    /// Runs the next job on a missing database.
    fn run(questions: &mut Questions) -> Option<Answers> {
        match questions.next_job(AnswerRoom::Whole)?.1() {
            JobResult::Answered(answers) => Some(answers),
            _ => None,
        }
    }

    fn numbers(answers: &Answers) -> Vec<u64> {
        let left = answers.left.iter().map(|(query, ..)| query.0);
        answers.answered.iter().map(|(query, _)| query.0).chain(left).collect()
    }

    #[test]
    fn questions_for_tokens_share_a_job_and_wait_for_no_other() {
        let mut questions = Questions::new(Path::new("/nowhere/history.sdb").into());
        for (number, token) in [(0, None), (1, None), (2, None), (3, Some("a")), (4, Some("b")), (5, None)] {
            questions.ask(question(number, token));
        }
        let jobs: Vec<_> = std::iter::from_fn(|| run(&mut questions)).map(|answers| numbers(&answers)).collect();
        assert_eq!(jobs, [vec![3, 4], vec![0], vec![1]], "two that may take long at once");
    }

    #[test]
    fn a_page_behind_a_row_is_quick_and_a_scan_behind_one_is_not() {
        let is_quick = |filter| super::is_quick(&(QueryId(1), filter, question(1, None).2));
        let behind = || LogFilter { after_id: Some(7), ..LogFilter::default() };
        assert!(is_quick(behind()));
        let code = Some(crate::model::code::Code(2));
        for slow in [LogFilter { code, ..behind() }, LogFilter { after_ctime: Some(1.0), ..behind() }] {
            assert!(!is_quick(slow));
        }
    }

    #[test]
    fn what_a_job_leaves_is_asked_next_and_an_error_ends_nothing_else() {
        let mut questions = Questions::new(Path::new("/nowhere/history.sdb").into());
        for number in 0..3 {
            questions.ask(question(number, Some("a")));
        }
        for number in 0..3 {
            let answers = run(&mut questions).unwrap();
            assert!(matches!(&answers.answered[..], [(QueryId(asked), Err(_))] if *asked == number));
            questions.take_back(answers.rank, answers.left);
        }
        assert!(run(&mut questions).is_none());
    }
}

//! Messages that wait for the link, limited in number, bytes and time.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::model::time::Monotonic;
use crate::model::token::Token;

/// One waiting message.
pub struct Waiting {
    /// Its plain text.
    pub text: Vec<u8>,
    pub token: Option<Token>,
    deadline: Monotonic,
}

/// The queue, oldest first.
pub struct Outbox {
    max_messages: usize,
    max_bytes: usize,
    max_wait: Duration,
    bytes: usize,
    messages: VecDeque<Waiting>,
}

impl Outbox {
    pub const fn new(max_messages: usize, max_bytes: usize, max_wait: Duration) -> Self {
        Self { max_messages, max_bytes, max_wait, bytes: 0, messages: VecDeque::new() }
    }

    /// Queues a message.
    ///
    /// # Errors
    /// The token, and a sentence that says why the queue did not take the message.
    pub fn push(&mut self, text: Vec<u8>, token: Option<Token>, now: Monotonic) -> Result<(), (Option<Token>, String)> {
        if self.messages.len() >= self.max_messages {
            return Err((token, format!("{} messages already wait for it", self.messages.len())));
        }
        if text.len() > self.max_bytes.saturating_sub(self.bytes) {
            let (len, max) = (text.len(), self.max_bytes);
            return Err((token, format!("a message of {len} bytes does not fit the {max} bytes that may wait for it")));
        }
        self.bytes += text.len();
        self.messages.push_back(Waiting { text, token, deadline: now + self.max_wait });
        Ok(())
    }

    /// The oldest message.
    pub fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.messages.pop_front()?;
        self.bytes = self.bytes.saturating_sub(waiting.text.len());
        Some(waiting)
    }

    /// Removes the messages that have waited too long, and those behind them with the same token. The caller ends the
    /// token when it hears that the first of them was not sent; sending the rest could end it a second time.
    pub fn take_expired(&mut self, now: Monotonic) -> Vec<Waiting> {
        let mut expired = Vec::new();
        while self.next_deadline().is_some_and(|deadline| deadline <= now) {
            expired.extend(self.pop());
        }
        let tokens: BTreeSet<Token> = expired.iter().filter_map(|waiting| waiting.token.clone()).collect();
        if tokens.is_empty() {
            return expired;
        }
        let is_over = |waiting: &Waiting| waiting.token.as_ref().is_some_and(|token| tokens.contains(token));
        let (over, kept) = std::mem::take(&mut self.messages).into_iter().partition(is_over);
        self.messages = kept;
        let over: VecDeque<Waiting> = over;
        self.bytes = self.bytes.saturating_sub(over.iter().map(|waiting| waiting.text.len()).sum());
        expired.extend(over);
        expired
    }

    /// When the waiting time of the oldest message ends.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.messages.front().map(|waiting| waiting.deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Monotonic {
        Monotonic::from_millis(milliseconds)
    }

    #[test]
    fn it_takes_so_many_messages_and_bytes_and_no_more() {
        let mut outbox = Outbox::new(2, 10, Duration::from_secs(1));
        assert!(outbox.push(vec![0; 11], None, at(0)).is_err());
        assert!(outbox.push(vec![0; 6], None, at(0)).is_ok());
        assert!(outbox.push(vec![0; 5], None, at(0)).is_err());
        assert!(outbox.push(vec![0; 4], None, at(0)).is_ok());
        assert!(outbox.push(Vec::new(), None, at(0)).is_err());
        assert_eq!(outbox.pop().unwrap().text.len(), 6);
        assert!(outbox.push(vec![0; 6], None, at(0)).is_ok());
    }

    #[test]
    fn a_message_expires_after_its_time_and_not_before() {
        let mut outbox = Outbox::new(9, 99, Duration::from_secs(1));
        outbox.push(vec![1], None, at(0)).ok().unwrap();
        outbox.push(vec![2], None, at(10)).ok().unwrap();
        let mut expired = |now| outbox.take_expired(at(now)).into_iter().flat_map(|waiting| waiting.text).collect();
        let nothing: Vec<u8> = expired(999);
        assert_eq!((nothing, expired(1_000), expired(1_000)), (vec![], vec![1], vec![]));
        assert_eq!(outbox.next_deadline(), Some(at(1_010)));
    }

    #[test]
    fn a_message_that_expires_takes_those_behind_it_with_its_token() {
        let mut outbox = Outbox::new(9, 5, Duration::from_secs(1));
        for (number, token) in [(1, "a"), (2, "b"), (3, "a"), (4, "c"), (5, "a")] {
            outbox.push(vec![number], Token::parse(token).ok(), at(u64::from(number) * 10)).ok().unwrap();
        }
        let texts = |waiting: Vec<Waiting>| waiting.into_iter().flat_map(|waiting| waiting.text).collect::<Vec<u8>>();
        assert_eq!(texts(outbox.take_expired(at(1_010))), [1, 3, 5]);
        assert!(outbox.push(vec![6, 7, 8], None, at(60)).is_ok(), "their bytes count no more");
        let rest = std::iter::from_fn(|| outbox.pop()).collect();
        assert_eq!(texts(rest), [2, 4, 6, 7, 8]);
    }
}

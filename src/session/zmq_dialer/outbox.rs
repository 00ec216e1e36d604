//! Messages that wait for the link, limited in number, bytes and time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::time::Monotonic;
use crate::model::token::Token;

/// One waiting message.
pub struct Waiting {
    /// Its plain text.
    pub text: Vec<u8>,
    /// Its token.
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

    /// The oldest message, if it has waited too long.
    pub fn pop_expired(&mut self, now: Monotonic) -> Option<Waiting> {
        if self.next_deadline()? > now { None } else { self.pop() }
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
        assert!(outbox.pop_expired(at(999)).is_none());
        assert_eq!(outbox.pop_expired(at(1_000)).unwrap().text, [1]);
        assert!(outbox.pop_expired(at(1_000)).is_none());
        assert_eq!(outbox.next_deadline(), Some(at(1_010)));
    }
}

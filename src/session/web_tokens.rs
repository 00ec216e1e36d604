//! Tokens of nodes that the web interface manages (docs/protocol.md section 18): the known ones, the running queries,
//! and the connections that wait for their answers.
//!
//! Out of scope: the query itself, and the handling of the [`Verdict`] by a connection.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::connection::ConnectionId;
use crate::model::log::LogLine;
use crate::model::time::{Monotonic, Now};
use crate::wire::http::bearer_auth::TokenHash;

const MODULE: &str = "proxy";
/// How long an answer is valid.
const FRESH: Duration = Duration::from_secs(300);
/// Time without queries after a failed one.
const PAUSE: Duration = Duration::from_secs(10);
/// Time after which a token that was valid is queried again while the web API fails.
const RETRY: Duration = Duration::from_secs(60);
/// Maximum number of simultaneous queries.
const MAX_CALLS: usize = 4;
/// Maximum number of names being queried, and of waiting connections.
const MAX_NAMES: usize = 256;
const MAX_WAITING: usize = 1_024;
/// Maximum number of remembered valid tokens; beyond it all are forgotten.
const MAX_KNOWN: usize = 10_000;

/// `NAME:VALUE` as presented by a node. It holds hashes, so it has no `Debug`.
pub struct Claim {
    /// Name of the token in the web interface.
    pub name: String,
    /// Hash of the value.
    pub hash: TokenHash,
    /// Hash of name, colon and value.
    pub whole: TokenHash,
}

/// A token in the web interface. It holds a hash, so it has no `Debug`.
#[derive(Clone, Copy)]
pub struct WebToken {
    /// Hash of the value.
    pub hash: TokenHash,
    /// Expiry time in seconds since the epoch; `None` if it never expires.
    pub expires: Option<i64>,
    /// Whether the token was revoked.
    pub is_revoked: bool,
}

impl WebToken {
    fn is_valid(&self, now: Now) -> bool {
        !self.is_revoked && self.expires.is_none_or(|end| now.wall.as_seconds() < end)
    }
}

/// The result of checking a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The token is valid, and must be checked again at the given time.
    Right(Monotonic),
    /// The token is unknown, has another value, has expired or was revoked.
    Wrong,
    /// The web API does not answer, or too many queries are waiting.
    Unknown,
}

/// The known tokens and the queries.
#[derive(Default)]
pub struct WebTokens {
    /// Valid tokens, each with the time of the web API's answer.
    known: BTreeMap<String, (WebToken, Monotonic)>,
    /// The connections that wait for the answer about a name.
    waiting: BTreeMap<String, Vec<(ConnectionId, TokenHash)>>,
    /// Names whose query has not started.
    queue: VecDeque<String>,
    calls: usize,
    /// When the next query may start if the last one failed.
    failing: Option<Monotonic>,
}

impl WebTokens {
    /// Checks a claim; `None` if [`Self::answered`] will return the verdict later.
    pub fn ask(&mut self, connection: ConnectionId, claim: &Claim, now: Now) -> Option<Verdict> {
        let fresh = self.known.get(&claim.name).map(|(_, at)| *at + FRESH).filter(|end| now.monotonic < *end);
        if let Some(end) = fresh.filter(|_| self.fits(&claim.name, claim.hash, now)) {
            return Some(Verdict::Right(end));
        }
        let is_paused = self.failing.is_some_and(|until| now.monotonic < until);
        let waiting: usize = self.waiting.values().map(Vec::len).sum();
        if is_paused || waiting >= MAX_WAITING {
            return Some(self.without_answer(&claim.name, claim.hash, now));
        }
        if let Some(others) = self.waiting.get_mut(&claim.name) {
            others.push((connection, claim.hash));
            return None;
        }
        if self.waiting.len() >= MAX_NAMES {
            return Some(self.without_answer(&claim.name, claim.hash, now));
        }
        self.waiting.insert(claim.name.clone(), vec![(connection, claim.hash)]);
        self.queue.push_back(claim.name.clone());
        None
    }

    /// Returns the next name to query; [`Self::answered`] ends the query.
    pub fn next_call(&mut self) -> Option<String> {
        if self.calls >= MAX_CALLS {
            return None;
        }
        let name = self.queue.pop_front()?;
        self.calls += 1;
        Some(name)
    }

    /// Takes the result of a query: the token of this name, that there is none, or why it is unknown. Returns the
    /// verdicts for the waiting connections, and the log line: one when the web API begins to fail, one when it answers
    /// again.
    pub fn answered(
        &mut self,
        name: &str,
        answer: Result<Option<WebToken>, String>,
        now: Now,
    ) -> (Vec<(ConnectionId, Verdict)>, Option<LogLine>) {
        self.calls = self.calls.saturating_sub(1);
        let mut verdicts = Vec::new();
        match answer {
            Ok(token) => {
                self.remember(name, token, now);
                let end = now.monotonic + FRESH;
                for (connection, hash) in self.waiting.remove(name).unwrap_or_default() {
                    let is_right = self.fits(name, hash, now);
                    verdicts.push((connection, if is_right { Verdict::Right(end) } else { Verdict::Wrong }));
                }
                let text = "the web API answers again: tokens of nodes are checked by it";
                (verdicts, self.failing.take().map(|_| LogLine::info(MODULE, text)))
            }
            Err(reason) => {
                let left: Vec<String> = self.queue.drain(..).chain([name.to_owned()]).collect();
                for name in left {
                    for (connection, hash) in self.waiting.remove(&name).unwrap_or_default() {
                        verdicts.push((connection, self.without_answer(&name, hash, now)));
                    }
                }
                let is_news = self.failing.replace(now.monotonic + PAUSE).is_none();
                let text = format!(
                    "tokens of nodes cannot be checked: {reason}; tokens that were right before stay valid, nodes with \
                     others wait. Check 'base_url', 'username' and 'password' of 'centreonv2' in 'tpapi', and the web \
                     server there"
                );
                (verdicts, is_news.then(|| LogLine::error(MODULE, text)))
            }
        }
    }

    fn remember(&mut self, name: &str, token: Option<WebToken>, now: Now) {
        match token.filter(|token| token.is_valid(now)) {
            Some(token) => {
                if self.known.len() >= MAX_KNOWN {
                    self.known.clear();
                }
                self.known.insert(name.to_owned(), (token, now.monotonic));
            }
            None => _ = self.known.remove(name),
        }
    }

    /// Whether a hash is that of a token known to be valid.
    fn fits(&self, name: &str, hash: TokenHash, now: Now) -> bool {
        self.known.get(name).is_some_and(|(token, _)| token.is_valid(now) && token.hash.is(hash))
    }

    /// Returns the verdict without an answer: a token that was valid stays valid until the web API answers.
    fn without_answer(&self, name: &str, hash: TokenHash, now: Now) -> Verdict {
        if self.fits(name, hash, now) { Verdict::Right(now.monotonic + RETRY) } else { Verdict::Unknown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::WallTime;

    fn at(seconds: u64) -> Now {
        let wall = WallTime::from_micros(i64::try_from(seconds).unwrap() * 1_000_000);
        Now { monotonic: Monotonic::from_millis(seconds * 1_000), wall }
    }

    fn claim(name: &str, value: &str) -> Claim {
        let hash = TokenHash::of(value.as_bytes());
        Claim { name: name.to_owned(), hash, whole: TokenHash::of(format!("{name}:{value}").as_bytes()) }
    }

    fn token(value: &str) -> WebToken {
        WebToken { hash: TokenHash::of(value.as_bytes()), expires: None, is_revoked: false }
    }

    /// Returns what connection 1 is told, where `answer` is the reply of the web API if it is asked.
    fn verdict(
        tokens: &mut WebTokens,
        value: &str,
        answer: Result<Option<WebToken>, &str>,
        now: Now,
    ) -> (Verdict, bool, Option<String>) {
        if let Some(verdict) = tokens.ask(ConnectionId(1), &claim("paris", value), now) {
            assert_eq!(tokens.next_call(), None);
            return (verdict, false, None);
        }
        assert_eq!(tokens.next_call().as_deref(), Some("paris"));
        let (verdicts, line) = tokens.answered("paris", answer.map_err(str::to_owned), now);
        let [(ConnectionId(1), verdict)] = verdicts.as_slice() else { panic!("{verdicts:?}") };
        (*verdict, true, line.map(|line| line.text))
    }

    fn right(seconds: u64) -> Verdict {
        Verdict::Right(Monotonic::from_millis(seconds * 1_000))
    }

    #[test]
    fn only_the_value_of_a_token_that_is_valid_is_right() {
        for (found, expected) in [
            (Some(token("a")), right(400)),
            (Some(token("b")), Verdict::Wrong),
            (None, Verdict::Wrong),
            (Some(WebToken { is_revoked: true, ..token("a") }), Verdict::Wrong),
            (Some(WebToken { expires: Some(100), ..token("a") }), Verdict::Wrong),
            (Some(WebToken { expires: Some(101), ..token("a") }), right(400)),
        ] {
            assert_eq!(verdict(&mut WebTokens::default(), "a", Ok(found), at(100)), (expected, true, None));
        }
    }

    #[test]
    fn a_right_answer_counts_for_five_minutes_and_a_wrong_one_for_none() {
        let mut tokens = WebTokens::default();
        assert_eq!(verdict(&mut tokens, "a", Ok(Some(token("a"))), at(0)), (right(300), true, None));
        assert_eq!(verdict(&mut tokens, "a", Err("not asked"), at(299)), (right(300), false, None));
        assert_eq!(verdict(&mut tokens, "b", Ok(Some(token("a"))), at(299)), (Verdict::Wrong, true, None));
        assert_eq!(verdict(&mut tokens, "b", Ok(Some(token("b"))), at(299)).0, right(599), "it has a new value");
        assert_eq!(verdict(&mut tokens, "b", Ok(None), at(600)), (Verdict::Wrong, true, None));
        assert_eq!(verdict(&mut tokens, "b", Err("gone"), at(601)).0, Verdict::Unknown, "it was right too long ago");
    }

    #[test]
    fn while_the_web_api_fails_what_was_right_stays_so_and_the_log_says_it_once() {
        let mut tokens = WebTokens::default();
        let expiring = WebToken { expires: Some(900), ..token("a") };
        assert_eq!(verdict(&mut tokens, "a", Ok(Some(expiring)), at(0)).0, right(300));
        let (found, is_asked, line) = verdict(&mut tokens, "a", Err("web:443 does not answer"), at(400));
        assert_eq!((found, is_asked), (right(460), true));
        let line = line.unwrap();
        assert!(line.contains("web:443 does not answer") && line.contains("'base_url'"), "{line}");
        assert_eq!(
            verdict(&mut tokens, "b", Ok(None), at(409)),
            (Verdict::Unknown, false, None),
            "nobody asks at once"
        );
        assert_eq!(verdict(&mut tokens, "b", Err("still"), at(410)), (Verdict::Unknown, true, None));
        assert_eq!(verdict(&mut tokens, "a", Err("still"), at(900)).0, Verdict::Unknown, "it has expired meanwhile");
        let (found, _, line) = verdict(&mut tokens, "a", Ok(Some(token("a"))), at(1_000));
        assert_eq!(
            (found, line.as_deref()),
            (right(1_300), Some("the web API answers again: tokens of nodes are checked by it"))
        );
    }

    #[test]
    fn a_name_is_asked_for_once_at_a_time_and_what_waits_is_bounded() {
        let mut tokens = WebTokens::default();
        for number in 0..2_000 {
            let _verdict = tokens.ask(ConnectionId(number), &claim("paris", &number.to_string()), at(0));
        }
        assert_eq!(tokens.next_call().as_deref(), Some("paris"));
        assert_eq!(tokens.next_call(), None);
        let (verdicts, _) = tokens.answered("paris", Ok(Some(token("7"))), at(0));
        let rights: Vec<_> = verdicts.iter().filter(|(_, verdict)| *verdict == right(300)).collect();
        assert_eq!((verdicts.len(), rights), (MAX_WAITING, vec![&(ConnectionId(7), right(300))]));
        let asked = (0..2_000)
            .filter(|number| tokens.ask(ConnectionId(*number), &claim(&number.to_string(), "x"), at(1)).is_none());
        assert_eq!(asked.count(), MAX_NAMES);
        assert_eq!(std::iter::from_fn(|| tokens.next_call()).count(), MAX_CALLS);
        let (verdicts, _) = tokens.answered("0", Err("gone".to_owned()), at(1));
        assert_eq!(verdicts.len(), MAX_NAMES - MAX_CALLS + 1, "those whose calls are under way wait for them");
        assert_eq!(tokens.next_call(), None);
    }
}

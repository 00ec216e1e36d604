//! A connection whose token the web API checks: nothing is read before the verdict, and the token is checked again
//! while the node is connected.

use std::rc::Rc;
use std::time::Duration;

use super::tokens::NamedToken;
use super::{Phase, TAKEN_OUT, WRONG_TOKEN, WebSocketServer, WebSocketServerOutput};
use crate::model::time::{Monotonic, Now};
use crate::session::web_tokens::{Claim, Verdict};

const UNVERIFIED: &str = "the token cannot be checked now, try again later";
/// Time after which a token that was valid is checked again if the last check gave no verdict.
const AGAIN: Duration = Duration::from_secs(60);

/// The token of a connection, and whether it is valid.
pub(super) struct Proof {
    claim: Rc<Claim>,
    is_right: bool,
    /// When to check the token again; `None` while a verdict is awaited.
    check_at: Option<Monotonic>,
}

impl WebSocketServer {
    /// The claim of a [`WebSocketServerOutput::CheckToken`].
    #[must_use]
    pub fn claim(&self) -> Option<Rc<Claim>> {
        self.proof.as_ref().map(|proof| Rc::clone(&proof.claim))
    }

    /// Handles the verdict about the claim.
    pub fn handle_verdict(&mut self, verdict: Verdict, now: Now) {
        let (Phase::Open { .. }, Some(proof)) = (&self.phase, &mut self.proof) else { return };
        let (was_right, claim) = (proof.is_right, Rc::clone(&proof.claim));
        match verdict {
            Verdict::Right(check_at) => {
                proof.is_right = true;
                proof.check_at = Some(check_at);
                if !was_right {
                    self.access.remember(&claim, self.peer);
                    self.deadline = now.monotonic + self.access.settings().registration_timeout;
                }
            }
            Verdict::Wrong => {
                self.access.note_wrong(&claim, self.peer, now.monotonic);
                self.refuse(if was_right { TAKEN_OUT } else { WRONG_TOKEN }, now);
            }
            Verdict::Unknown if was_right => proof.check_at = Some(now.monotonic + AGAIN),
            Verdict::Unknown => self.refuse(UNVERIFIED, now),
        }
        self.advance(now);
    }

    pub(super) fn verify(&mut self, claim: Claim) {
        self.token = Some(Rc::new(NamedToken { name: claim.name.clone(), hash: claim.hash, node: None }));
        self.proof = Some(Proof { claim: Rc::new(claim), is_right: false, check_at: None });
        self.outputs.push_back(WebSocketServerOutput::CheckToken);
    }

    /// Whether the first verdict is awaited; until then nothing is read.
    pub(super) const fn is_verifying(&self) -> bool {
        matches!((&self.phase, &self.proof), (Phase::Open { .. }, Some(Proof { is_right: false, .. })))
    }

    /// When the token must be checked again.
    pub(super) fn check_at(&self) -> Option<Monotonic> {
        self.proof.as_ref().filter(|_| matches!(self.phase, Phase::Open { .. }))?.check_at
    }

    pub(super) fn check_again(&mut self, now: Now) {
        if self.check_at().is_some_and(|at| at <= now.monotonic)
            && let Some(proof) = &mut self.proof
        {
            proof.check_at = None;
            self.outputs.push_back(WebSocketServerOutput::CheckToken);
        }
    }

    /// The refusal to send if the first message does not arrive in time.
    pub(super) const fn silence(&self) -> &'static str {
        if self.is_verifying() { UNVERIFIED } else { super::SILENT }
    }
}

//! The choice between a sealed and a classic link, and the handshake of a sealed one (docs/protocol.md section 21).

use std::sync::Arc;

use crate::model::link::LinkMode;
use crate::model::random::Random;
use crate::model::time::Now;
use crate::session::back_off::Severity;
use crate::wire::gorgone::key_exchange::DialJob;
use crate::wire::tls_link::{self, ClientTls, Frame, FrameKind, Greeting, Offer, Proof, Step, StepResult};

use super::sealed::Sealed;
use super::state::DialState;
use super::work::DialWork;
use super::{DialerOutput, ZmqDialer, seed};

/// How to go on after the server has sent its public key.
enum Choice {
    Classic,
    Sealed(ClientTls),
    /// Give up, with a sentence, after telling the server what we demand.
    Demand(LinkMode, String),
    /// Give up, with a sentence: the server would not understand us, or it is no fault of its.
    Refuse(Severity, String),
}

impl ZmqDialer {
    /// Takes the server's public key, and how its link may be.
    pub(super) fn choose_link(&mut self, payload: &[u8], now: Now, random: &mut dyn Random) {
        match self.choice(Offer::parse(payload)) {
            Choice::Classic => {
                let job = DialJob::SealHello {
                    payload: payload.to_vec(),
                    name: self.settings.own_name.clone(),
                    public_key_pem: Arc::clone(&self.public_key_pem),
                    seed: seed(random),
                };
                self.state = DialState::SealingHello { deadline: self.step_deadline(now) };
                self.run_job(DialWork::Classic(job));
            }
            Choice::Sealed(tls) => {
                let greeting = Greeting::of_client(&self.routing_id).encode();
                match Step::client(&tls, &greeting, now.monotonic) {
                    Ok((step, hello)) => {
                        self.outputs.push_back(DialerOutput::Send(hello));
                        let deadline = self.step_deadline(now);
                        self.state = DialState::AwaitingProof { deadline, step: Box::new(step) };
                    }
                    Err(why) => self.fail(why, Severity::NeedsOperator, true, now, random),
                }
            }
            Choice::Demand(mode, why) => {
                self.outputs.push_back(DialerOutput::Send(tls_link::encode_demand(mode)));
                self.state = DialState::GivingUp { deadline: self.step_deadline(now), why };
            }
            Choice::Refuse(severity, why) => self.fail(why, severity, true, now, random),
        }
    }

    fn choice(&self, offer: Option<Offer>) -> Choice {
        let endpoint = &self.settings.endpoint;
        let theirs = offer.map(|Offer(mode)| mode);
        match (self.settings.link, theirs, &self.settings.tls) {
            (LinkMode::Classic, Some(LinkMode::Sealed), _) => Choice::Demand(
                LinkMode::Classic,
                format!(
                    "{endpoint} is set to link: sealed, but link: classic is set here; make one of them auto, or both \
                     equal"
                ),
            ),
            (LinkMode::Auto, Some(LinkMode::Sealed), None) | (LinkMode::Sealed, _, None) => Choice::Refuse(
                Severity::NeedsOperator,
                format!(
                    "the link to {endpoint} has to be sealed, but our key pair cannot be used for that; make a new one \
                     with 'stheno keys generate'"
                ),
            ),
            (LinkMode::Classic, ..) => Choice::Classic,
            (LinkMode::Auto | LinkMode::Sealed, Some(LinkMode::Auto | LinkMode::Sealed), Some(tls)) => {
                Choice::Sealed(tls.clone())
            }
            (LinkMode::Sealed, Some(LinkMode::Classic), _) => Choice::Demand(
                LinkMode::Sealed,
                format!(
                    "{endpoint} is set to link: classic, but link: sealed is set here; make one of them auto, or both \
                     equal"
                ),
            ),
            (LinkMode::Sealed, None, _) => Choice::Refuse(
                Severity::NeedsOperator,
                format!(
                    "{endpoint} offers no sealed link, which link: sealed demands: it is a Perl daemon or an older \
                     Stheno (set link: auto here for it), or somebody is in between"
                ),
            ),
            (LinkMode::Auto, ..) if self.settings.is_pinned && self.settings.tls.is_some() => {
                Choice::Refuse(Severity::TalkedDown, self.talked_down())
            }
            (LinkMode::Auto, ..) => Choice::Classic,
        }
    }

    fn talked_down(&self) -> String {
        let endpoint = &self.settings.endpoint;
        let remedy = match self.settings.node {
            Some(node) => format!("run 'stheno keys forget --config FILE {node}'"),
            None => format!(
                "run DELETE FROM gorgone_target_fingerprint WHERE target='sealed:{endpoint}' on the database of \
                 gorgone_db_name and restart this daemon"
            ),
        };
        format!(
            "{endpoint} was met sealed and offers no sealed link any more, so nothing is sent to it; somebody may be \
             in between. If it went back to that on purpose, {remedy}"
        )
    }

    /// Takes a message of TLS before the link is up.
    pub(super) fn handle_records(&mut self, payload: &[u8], now: Now, random: &mut dyn Random) {
        if !tls_link::is_records(payload) {
            // Clear text of an earlier step.
            return;
        }
        let deadline = self.step_deadline(now);
        match std::mem::replace(&mut self.state, DialState::Proving { deadline }) {
            DialState::AwaitingProof { step, .. } => self.run_job(DialWork::Tls(*step, payload.to_vec())),
            DialState::AwaitingWelcome { mut link, thumbprint, .. } => match link.open(payload.to_vec()) {
                Ok((frames, _)) if matches!(frames.first(), Some(Frame { kind: FrameKind::Greeting, .. })) => {
                    if !self.settings.is_pinned {
                        self.settings.is_pinned = true;
                        let target = self.settings.endpoint.to_string();
                        self.outputs.push_back(DialerOutput::Pin { target, thumbprint });
                    }
                    self.go_up(Sealed::tls(*link, now.monotonic), now, random);
                    frames.into_iter().skip(1).for_each(|frame| self.take_frame(frame));
                }
                Ok(_) => self.state = DialState::AwaitingWelcome { deadline, link, thumbprint },
                Err(why) => self.handshake_failed(&why, now, random),
            },
            state => self.state = state,
        }
    }

    /// Takes the result of a step of TLS.
    pub(super) fn tls_step_done(&mut self, result: StepResult, now: Now, random: &mut dyn Random) {
        if !matches!(self.state, DialState::Proving { .. }) {
            return;
        }
        let deadline = self.step_deadline(now);
        match result {
            StepResult::Goes { step, reply } => {
                self.outputs.push_back(DialerOutput::Send(reply));
                self.state = DialState::AwaitingProof { deadline, step: Box::new(step) };
            }
            StepResult::Proved(Proof { link, thumbprint, reply, .. }) => {
                if let Err(text) = self.check_fingerprint(thumbprint.clone(), now) {
                    return self.fail(text, Severity::NeedsOperator, true, now, random);
                }
                self.outputs.push_back(DialerOutput::Send(reply));
                self.state = DialState::AwaitingWelcome { deadline, link: Box::new(link), thumbprint };
            }
            StepResult::Failed(why) => self.handshake_failed(&why, now, random),
        }
    }

    fn handshake_failed(&mut self, why: &str, now: Now, random: &mut dyn Random) {
        let text = format!("no sealed link with {}: {why}", self.settings.endpoint);
        self.fail(text, Severity::Transient, true, now, random);
    }
}

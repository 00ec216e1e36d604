//! Requests that wait on disk for their nodes: which ones do, and when a node gets them (docs/queue.md).

use crate::model::action::{Action, Ends};
use crate::model::api::{ApiAnswer, CallId};
use crate::model::code::Code;
use crate::model::message::Message;
use crate::model::node_id::NodeId;
use crate::model::queue::{QueueAnswer, RowTells};
use crate::model::token::Token;
use crate::model::work::WorkId;

use super::Core;
use crate::node::json;
use crate::node::nodes::node::Link;
use crate::node::nodes::pathway::Route;
use crate::node::output::ReceiptId;
use crate::node::peer::{Handled, Peer};
use crate::node::queue::options::{self, Place, QueueOptions};
use crate::node::queue::{Changed, NewRequest, SaidOfPlace};
use crate::node::taken_tokens;

/// Maximum number of requests that a node of another kind has not confirmed.
const UNCONFIRMED_MAX: u64 = 1_000;

/// How a queued request reaches its node now.
enum Reach {
    /// It is for this daemon.
    Here,
    /// The node, or the relay before it, is of our kind: the request stays queued. With the number of its history.
    Kept(Route, i64),
    /// It is handed over for good.
    Once(Route),
    /// It does not.
    Away,
}

/// The end of a request that was sent to a node whose database was replaced since.
fn has_new_database(node: NodeId) -> String {
    format!(
        "node '{node}' has a new database since this was sent to it, so it does not know what it has taken: \
         it may have run this, and does not get it again"
    )
}

impl Core {
    /// Puts a request in the queue, if it may wait. Returns `None` if it does not.
    pub(super) fn queue_request(
        &mut self,
        peer: Peer,
        action: &Action,
        token: &Token,
        target: &str,
        data: &str,
    ) -> Option<Handled> {
        if !options::may_wait(action) {
            return None;
        }
        let is_here = target.is_empty() || self.context.is_own(target);
        let settings = self.context.options.modules.proxy.as_ref().map(|proxy| &proxy.queue);
        let has_default = settings.is_some_and(|queue| queue.ttl > 0 || !queue.by_action.is_empty());
        let read = match QueueOptions::read(data, self.context.now.wall.as_seconds()) {
            Ok(read) => read,
            Err(text) => {
                let data = serde_json::json!({ "error": "invalid_option", "message": text }).to_string();
                self.context.finish(token, Code::FINISHED_KO, data.clone());
                return Some(Handled::refused(data));
            }
        };
        let is_plain = read == QueueOptions::default() && (!has_default || taken_tokens::is_for_once(data));
        if is_plain || (is_here && read.not_before == 0) || (!is_here && settings.is_none()) {
            return None;
        }
        let settings = settings.cloned().unwrap_or_default();
        let ttl = read.patience(&settings, action)?;
        let data = options::without_options(data)?;
        let target = if is_here { self.context.own_id } else { target.parse().ok() }?;
        if !is_here
            && let Err(text) = self.nodes.route_to(&self.context, &target.to_string())
            && self.nodes.get(target).is_none()
        {
            self.context.fail(token, &text);
            return Some(Handled::accepted());
        }
        let not_before = read.not_before;
        let new = NewRequest { token: token.clone(), target, action: action.clone(), data, ttl, not_before };
        Some(self.queue.accept(&mut self.context, peer, new))
    }

    /// Lets the answer to a call wait until the request that it has started is stored. Returns the answer if it need
    /// not wait.
    pub(super) fn answer_when_stored(&mut self, token: &Token, call: CallId, answer: ApiAnswer) -> Option<ApiAnswer> {
        self.queue.hold_answer(token, call, answer)
    }

    /// Handles the storing of a queued request.
    pub(super) fn queue_stored(&mut self, receipt: ReceiptId, stored: bool) {
        let changed = self.queue.stored(&mut self.context, receipt, stored);
        self.queue_changed(changed);
    }

    /// Handles the answer of the database to a question of the queue.
    pub(super) fn queue_answered(&mut self, work: WorkId, answer: QueueAnswer) {
        let changed = self.queue.answered(&mut self.context, work, answer);
        self.queue_changed(changed);
    }

    fn queue_changed(&mut self, changed: Changed) {
        if let Some(token) = changed.not_stored {
            self.api().token_not_stored(token.as_str());
        }
        if let Some((work, known)) = changed.known {
            self.token_of_caller_known(work, known);
        }
        for target in changed.to_send {
            self.send_queued(target);
        }
    }

    /// Handles [`crate::node::timers::Timer::Queue`].
    pub(super) fn queue_due(&mut self, target: NodeId) {
        self.queue.try_again(target);
        self.send_queued(target);
    }

    /// Sends what waits for a node that may be reached now, and for those behind it. `begins` says that what is in
    /// flight may be lost.
    pub(super) fn send_queued_through(&mut self, node: NodeId, begins: bool) {
        if self.queue.is_empty() {
            return;
        }
        let is_relay = self.is_relay(node);
        let targets = if is_relay { self.queue.targets() } else { vec![node] };
        for target in targets.into_iter().filter(|target| self.queue.has(*target)).collect::<Vec<_>>() {
            let route = self.nodes.route_to(&self.context, &target.to_string());
            if route.is_ok_and(|route| route.through == node) {
                if begins {
                    self.queue.rewind(target);
                }
                self.send_queued(target);
            }
        }
    }

    /// Sends a node what waits for it, as far as it can be reached.
    fn send_queued(&mut self, target: NodeId) {
        while !self.context.is_stopping() && self.context.stores && self.queue.wants_to_send(target) {
            let reach = self.reach(target);
            if matches!(reach, Reach::Away) {
                return self.queue.block(&mut self.context, target);
            }
            let Some(action) = self.queue.next(&mut self.context, target).map(|head| head.action.clone()) else {
                return;
            };
            let is_own = self.context.is_own_id(target);
            if self.copies.must_wait(&self.ssh, &action, (!is_own).then_some(target)) {
                return self.queue.block(&mut self.context, target);
            }
            match reach {
                Reach::Kept(route, history) if action.ends() == Ends::Row && action != Action::RemoteCopy => {
                    self.send_kept(target, route, history);
                }
                Reach::Kept(route, _) | Reach::Once(route) => self.send_once(target, Some(route)),
                Reach::Here => self.send_once(target, None),
                Reach::Away => {}
            }
        }
        self.context.journal.wants_tokens_of_nodes = !self.queue.is_empty();
        self.queue.await_sign(&mut self.context, target);
    }

    /// Returns how a queued request for a node would be sent.
    fn reach(&self, target: NodeId) -> Reach {
        if self.context.is_own_id(target) {
            return Reach::Here;
        }
        let Ok(route) = self.nodes.route_to(&self.context, &target.to_string()) else { return Reach::Away };
        let Some(node) = self.nodes.get(route.through) else { return Reach::Away };
        if node.link != Link::Up || node.reachable().is_err() {
            return Reach::Away;
        }
        if node.is_ssh_host() {
            return Reach::Once(route);
        }
        // Before the first answer over this link it is not known who is there.
        if !node.sync.is_current {
            return Reach::Away;
        }
        if node.sync.runs_once {
            let is_direct = route.through == target;
            let known = if is_direct { Some(node.sync.mark.history) } else { self.syncs.newest_history_of(target) };
            let history = known.unwrap_or(0).max(1);
            return Reach::Kept(route, history);
        }
        let is_busy = node.owed.has_unsettled() || node.owed.count() >= UNCONFIRMED_MAX;
        if is_busy { Reach::Away } else { Reach::Once(route) }
    }

    /// Sends the next request to a node of our kind. It stays queued until its token ends.
    fn send_kept(&mut self, target: NodeId, route: Route, history: i64) {
        let Some((head, data)) = self.queue.send_next(&mut self.context, target, history) else { return };
        if head.sent > 1 && history > 1 && head.sent != history && route.through == target {
            return self.queue.end(&mut self.context, &head, &has_new_database(target));
        }
        self.nodes.note_sent(&head.token, route);
        let (token, field) = (Some(head.token), Some(route.target_field()));
        self.nodes.send(&mut self.context, route.through, Message { action: head.action, token, target: field, data });
    }

    /// Hands the next request over for good, or runs it here. A copy stays queued until its end: it goes on where it
    /// was.
    fn send_once(&mut self, target: NodeId, route: Option<Route>) {
        let stays = self.queue.next(&mut self.context, target).is_some_and(|head| head.action == Action::RemoteCopy);
        let Some(request) = self.queue.hand_over_next(&mut self.context, target, stays) else { return };
        let (head, data) = (request.head, request.data);
        let text = match route {
            Some(route) => {
                self.nodes.note_sent(&head.token, route);
                self.hand_on(Peer::Ourselves, head.action, &head.token, route, data).err()
            }
            None => match self.request(Peer::Ourselves, head.action, &head.token, "", data) {
                Handled::Reply(_, Code::FINISHED_KO, data) if !self.context.journal.has_just_ended(&head.token) => {
                    self.context.finish(&head.token, Code::FINISHED_KO, data);
                    None
                }
                Handled::Reply(..) | Handled::Later => None,
            },
        };
        if let Some(text) = text {
            self.context.fail(&head.token, &text);
        }
    }

    /// Handles a reply of a node to a queued request. Returns whether nothing else is to be done with it.
    pub(super) fn said_of_queued(&mut self, node: NodeId, token: &Token, code: Code, data: &str) -> bool {
        let Some(target) = self.queue.target_of(token.as_str()) else { return false };
        match SaidOfPlace::read(data) {
            Some(SaidOfPlace::Gap) => self.queue.retry_soon(&mut self.context, target),
            // It is tried again when its time comes.
            Some(SaidOfPlace::Away) => {}
            Some(SaidOfPlace::Ended) => self.queue.ask_for_end(&mut self.context, token),
            None if node != target => {}
            None if code.is_terminal() => {
                // It gets the row that the node has written, or its reply, as for any request.
                self.queue.forget(&mut self.context, token.as_str());
                if let Some(known) = self.nodes.get_mut(node) {
                    known.owed.refused(token.clone(), known.sync.serial);
                    self.context.open_token(token, Some(node));
                }
                return false;
            }
            Some(SaidOfPlace::Taken) | None => self.told_of_queued(token, RowTells::Taken),
        }
        true
    }

    /// Handles what a row of a node tells about a queued request.
    pub(super) fn told_of_queued(&mut self, token: &Token, told: RowTells) {
        let target = match told {
            RowTells::Taken => self.queue.is_taken(token),
            RowTells::Ended => self.queue.forget(&mut self.context, token.as_str()),
            RowTells::Back => self.queue.is_given_back(&mut self.context, token),
            RowTells::NewDatabase => self.queue.was_sent_to_another(&mut self.context, token, has_new_database),
        };
        if let Some(target) = target {
            self.send_queued(target);
        }
    }

    /// Handles the failure of a commit, or the first success after it. Meanwhile the database does not show what was
    /// removed, so nothing is read, and what was asked is asked again.
    pub(super) fn queue_may_store(&mut self) {
        if self.context.stores {
            self.queue.targets().into_iter().for_each(|target| self.send_queued(target));
        } else {
            for work in self.queue.open_questions() {
                self.queue_answered(work, QueueAnswer::Failed("a commit failed".to_owned()));
            }
        }
    }

    /// Handles the end of a token: one that was queued leaves the queue.
    pub(super) fn queued_has_ended(&mut self, token: &str) {
        if let Some(target) = self.queue.forget(&mut self.context, token) {
            self.send_queued(target);
        }
    }

    /// Handles a request that stays in the queue of the daemon that sent it, and that is for a node behind us. We keep
    /// nothing of it: if it does not arrive, it is sent again.
    pub(super) fn pass_on_queued(
        &mut self,
        peer: Peer,
        action: Action,
        token: &Token,
        target: &str,
        data: String,
    ) -> Handled {
        let said = |said: SaidOfPlace| Handled::Reply(Action::Ack, Code::BEGIN, said.data().to_owned());
        let Ok(target_id) = target.parse::<NodeId>() else { return said(SaidOfPlace::Away) };
        let now = self.context.now.monotonic;
        if self.context.is_stopping() || self.nodes.comes_back(peer.client(), (&action, token), target, &data, now) {
            return said(SaidOfPlace::Away);
        }
        match self.reach(target_id) {
            Reach::Kept(route, _) => {
                self.nodes.note_sent(token, route);
                let (token, target) = (Some(token.clone()), Some(route.target_field()));
                self.nodes.send(&mut self.context, route.through, Message { action, token, target, data });
                Handled::accepted()
            }
            Reach::Once(route) => {
                if self.taken_tokens.is_repeated(&mut self.context, &action, token, &data) {
                    return said(SaidOfPlace::Taken);
                }
                let data = options::without_options(&data).unwrap_or(data);
                self.request_of_node(peer, action, token, &route.target.to_string(), data)
            }
            Reach::Here | Reach::Away => said(SaidOfPlace::Away),
        }
    }

    /// Handles the place of a request for us in the queue of another daemon. Returns the reply if we do not take it.
    pub(super) fn take_queued(&mut self, peer: Peer, action: &Action, place: Place, token: &Token) -> Option<Handled> {
        let said = |said: SaidOfPlace| Some(Handled::Reply(Action::Ack, Code::BEGIN, said.data().to_owned()));
        if self.context.is_stopping() {
            return said(SaidOfPlace::Away);
        }
        let has_no_replies = peer.client().is_some_and(|client| client.parent().is_some());
        if self.taken_tokens.has(token) {
            let has_ended = !self.context.journal.is_open(token);
            if has_no_replies {
                // Such a central gets no replies: a row tells it.
                let text = json::message("it was sent again, and was taken before");
                self.context.row(token, Code::CONTINUE, text);
            }
            self.subscribers.tell_subscribers(&mut self.context, false);
            return said(if has_ended { SaidOfPlace::Ended } else { SaidOfPlace::Taken });
        }
        if ![0, self.context.own_history].contains(&place.again) {
            self.context.row(token, Code::CONTINUE, RowTells::NewDatabase.data().to_owned());
            self.subscribers.tell_subscribers(&mut self.context, false);
            return said(SaidOfPlace::Away);
        }
        let has_room = match action {
            Action::Command => self.commands.has_room_for_queued(),
            Action::EngineCommand => self.modules.engine.has_room_for_queued(),
            _ => true,
        };
        if !has_room {
            return said(SaidOfPlace::Away);
        }
        if !self.taken_tokens.is_next(place) {
            return said(SaidOfPlace::Gap);
        }
        if has_no_replies {
            self.subscribers.tell_subscribers(&mut self.context, false);
        }
        None
    }
}

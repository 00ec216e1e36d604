//! Decides which requests become calls: those from an allowed address, not from a page of another site, with the right
//! user and password.

use std::sync::Arc;

use super::access::Verdict;
use super::{ApiClient, ApiClientOutput, Current};
use crate::model::api::{Caller, Method};
use crate::model::connection::PeerAddress;
use crate::model::time::Now;
use crate::wire::http::head::RequestHead;

pub(super) const UNAUTHORIZED: &str = r#"{"error":"http_error_401","message":"unauthorized"}"#;
pub(super) const FORBIDDEN: &str = r#"{"error":"http_error_403","message":"forbidden"}"#;
const TOO_MANY: &str =
    r#"{"error":"http_error_429","message":"too many wrong passwords came from this address, try again later"}"#;

/// Whether a request is for a page and not for the API.
fn is_page(head: &RequestHead) -> bool {
    head.method == Method::Get && head.target.path.first().is_none_or(|root| root != "api")
}

/// Whether a request asks only whether the daemon works, which needs no login.
fn is_probe(head: &RequestHead) -> bool {
    matches!(head.method, Method::Get | Method::Head)
        && matches!(&head.target.path[..], [only] if only == "healthz" || only == "readyz")
}

/// Whether a request is for the API or for one of the paths beside it.
fn is_known_root(head: &RequestHead) -> bool {
    let reads = matches!(head.method, Method::Get | Method::Head);
    match &head.target.path[..] {
        [root, ..] if root == "api" => true,
        [] => reads && cfg!(feature = "status"),
        [root, _] if root == "page" => reads && cfg!(feature = "status"),
        [only] if only == "metrics" => reads && cfg!(feature = "status"),
        _ => is_probe(head),
    }
}

impl ApiClient {
    /// Takes the result of an [`ApiClientOutput::CheckLogin`].
    pub fn handle_login(&mut self, is_right: bool, now: Now) {
        match std::mem::replace(&mut self.current, Current::Nothing) {
            Current::Checked(head, check) => match self.access.checked(&check, is_right, now.monotonic) {
                Some(caller) => self.accept(head, caller),
                None => self.refuse_login(&head, now),
            },
            current => self.current = current,
        }
        self.advance(now);
    }

    pub(super) fn handle_head(&mut self, head: Box<RequestHead>, now: Now) {
        self.requests = self.requests.wrapping_add(1);
        let from = self.access.client_of(self.peer, &head.source);
        if !self.access.is_allowed(from) {
            return self.refuse_address(from, now);
        }
        if let Some(reason) = self.foreign_site(&head) {
            self.log_refusal_of(from, &format!("{reason}, refused"), now);
            return self.refuse(&head, 403, FORBIDDEN);
        }
        if is_probe(&head) {
            let caller = Caller { user: None, rights: Arc::default(), address: from };
            return self.accept(head, caller);
        }
        match self.access.judge(head.authorization.as_deref(), from, now.monotonic) {
            Verdict::Open(caller) => self.accept(head, caller),
            Verdict::Wrong => self.refuse_login(&head, now),
            Verdict::Braked => {
                self.auth_failures = self.auth_failures.saturating_add(1);
                if self.auth_failures == 1 {
                    self.log_refusal_of(from, "too many wrong passwords from this address, not even looked at", now);
                }
                self.refuse(&head, 429, TOO_MANY);
            }
            Verdict::Check(check) => {
                self.outputs.push_back(ApiClientOutput::CheckLogin(check.clone()));
                self.current = Current::Checked(head, check);
            }
        }
    }

    /// Why a request is refused for where it comes from. The requests of a script all have one `Host`, which is judged
    /// once.
    fn foreign_site(&mut self, head: &RequestHead) -> Option<String> {
        let source = &head.source;
        let is_script = source.origin.is_none() && source.fetch_site.is_none();
        if is_script && source.host.is_some() && source.host == self.known_host {
            return None;
        }
        let shows_login = head.authorization.is_some() && self.access.wants_password();
        let reason = self.access.settings().own_names.refusal(source, is_page(head), shows_login);
        if reason.is_none() && is_script && !shows_login {
            self.known_host.clone_from(&source.host);
        }
        reason
    }

    pub(super) fn refuse_address(&mut self, from: PeerAddress, now: Now) {
        // The original also answers 401 here.
        self.log_refusal_of(from, "not in allowed_hosts.subnets, refused", now);
        self.refuse_last(401, UNAUTHORIZED.to_owned());
    }

    fn refuse_login(&mut self, head: &RequestHead, now: Now) {
        self.auth_failures = self.auth_failures.saturating_add(1);
        if self.auth_failures == 1 {
            let from = self.access.client_of(self.peer, &head.source);
            self.log_refusal_of(from, "wrong or missing user and password, refused", now);
        }
        self.refuse(head, 401, UNAUTHORIZED);
    }

    /// Accepts a request whose sender may call.
    fn accept(&mut self, head: Box<RequestHead>, caller: Caller) {
        if !is_known_root(&head) {
            return self.refuse(&head, 403, FORBIDDEN);
        }
        let method = if head.method == Method::Head { Method::Get } else { head.method };
        self.continue_owed = head.expects_continue;
        self.current = Current::Accepted(head, method, caller);
    }
}

//! Connections of the REST API.

use std::sync::Arc;

use crate::config::modules::httpserver::{HttpSettings, HttpUser};
use crate::model::api::{ApiAnswer, ApiCall, CallId};
use crate::model::connection::{ConnectionId, PeerAddress};
use crate::model::time::Now;
use crate::node::{self, input::Input};
use crate::session::api_client::access::{ApiAccess, ApiClientSettings, ApiUser};
use crate::session::api_client::{ApiClient, ApiClientOutput};
use crate::session::forwarded::Ranges;
use crate::session::same_site::OwnNames;

use super::calls::Call;
use super::connections::{Connection, Kind};
use super::{CryptoJob, Dispatch, Effect, Owner};

/// Builds the access rules of the listener; `own_names` are the host names of this machine.
pub(super) fn access(http: &HttpSettings, own_names: impl IntoIterator<Item = String>) -> ApiAccess {
    let user = |user: &HttpUser| ApiUser {
        name: user.name.as_str().into(),
        password_hash: user.password_hash.as_str().into(),
        rights: Arc::clone(&user.rights),
    };
    ApiAccess::new(ApiClientSettings {
        auth: http.auth.as_ref().map(|auth| (auth.user.clone(), auth.password.clone())),
        users: http.users.iter().map(user).collect(),
        allowed: http.allowed_hosts.clone().map(Ranges::new),
        trusted_proxies: Ranges::new(http.trusted_proxies.clone()),
        own_names: OwnNames::new(own_names.into_iter().chain(http.host_names.iter().cloned())),
        ..ApiClientSettings::default()
    })
}

/// Whether a call may wait for a node or for the end of a token.
fn may_wait(call: &ApiCall) -> bool {
    let asks_to = |(key, _): &(String, String)| matches!(key.as_str(), "log_wait" | "sync_wait");
    call.query.iter().any(asks_to) || call.path.iter().any(|part| part == "log")
}

/// The answer to a request for a file of the status page.
#[cfg(feature = "status")]
fn page_file(call: &ApiCall) -> Option<ApiAnswer> {
    match &call.path[..] {
        [folder, name] if !call.below_api && folder == "page" => crate::daemon::report::page::file(name, &call.wishes),
        _ => None,
    }
}

#[cfg(not(feature = "status"))]
const fn page_file(_: &ApiCall) -> Option<ApiAnswer> {
    None
}

impl Dispatch {
    pub(super) fn accept_api(&mut self, connection: ConnectionId, peer: PeerAddress, now: Now) {
        let Some(access) = self.api_access.clone() else { return };
        self.admit_stranger(connection, peer, now);
        let kind = Kind::Api(Box::new(ApiClient::new(access, peer, now)));
        self.connections.insert(connection, kind, peer);
        self.pump_api(connection, now);
    }

    /// Starts the calls that a connection has received. Their answers come later through `drain`, never from within
    /// this function, so that a pipeline of calls does not become a recursion.
    pub(super) fn pump_api(&mut self, connection: ConnectionId, now: Now) {
        loop {
            let Some(entry) = self.connections.get_mut(connection) else { return };
            let Kind::Api(client) = &mut entry.kind else { return };
            match client.poll_output() {
                None => break,
                Some(ApiClientOutput::Call { number, call }) => {
                    if !call.caller.rights.are_none() {
                        self.no_stranger(connection, now);
                    }
                    self.start_call(connection, number, call, now);
                }
                Some(ApiClientOutput::CheckLogin(check)) => {
                    self.effects.push_back(Effect::Crypto(CryptoJob::Login { connection, check }));
                }
                Some(ApiClientOutput::Shutdown) => self.effects.push_back(Effect::Shutdown(connection)),
                Some(ApiClientOutput::Close) => self.close(connection, now),
                Some(ApiClientOutput::Log(line)) => self.log(line),
            }
        }
        self.schedule_api(connection);
        self.connections.mark_dirty(connection);
    }

    /// Takes the result of a password check.
    pub(super) fn login_checked(&mut self, connection: ConnectionId, is_right: bool, now: Now) {
        if let Some(access) = &self.api_access {
            access.check_ended();
        }
        if let Some(Connection { kind: Kind::Api(client), .. }) = self.connections.get_mut(connection) {
            client.handle_login(is_right, now);
            self.pump_api(connection, now);
        }
    }

    fn start_call(&mut self, connection: ConnectionId, number: u64, call: ApiCall, now: Now) {
        let Some(entry) = self.connections.get_mut(connection) else { return };
        let (peer, Kind::Api(client)) = (entry.peer, &mut entry.kind) else { return };
        if let Some(answer) = page_file(&call) {
            self.tally.call("/page", answer.status);
            return client.handle_answer(number, answer, now);
        }
        if let Some(answer) = self.standby.as_deref().and_then(|who| super::standby::answer(&call, who)) {
            self.tally.call(node::path_of(&call), answer.status);
            return client.handle_answer(number, answer, now);
        }
        let (may_wait, has_ended) = (may_wait(&call), entry.hung_up);
        if may_wait && self.calls.has_its_share(peer) {
            let body = "{\"error\":\"busy\",\"message\":\"too many calls of this address are waiting, try again\"}";
            client.handle_answer(number, ApiAnswer::json(503, body), now);
            return;
        }
        let id = self.calls.begin(connection, number, node::path_of(&call), may_wait.then_some(peer));
        let patient = self.storing.patient();
        self.core.handle_input(Input::ApiCall { id, call }, now);
        if has_ended {
            self.core.handle_input(Input::ApiCallerEnded(id), now);
        }
        // Questions of this call to the history are charged to this connection.
        self.connections.set_reading(Some(connection));
        self.drain_core(now);
        self.connections.set_reading(None);
        if self.storing.patient() > patient {
            // The answer confirms that the changes are stored, so it must wait for the commit.
            self.storing.hold(connection);
        }
    }

    /// Answers the waiting calls of a connection now, with what is known.
    pub(super) fn hurry_calls(&mut self, connection: ConnectionId, now: Now) {
        for call in self.calls.of(connection) {
            self.core.handle_input(Input::ApiCallerEnded(call), now);
        }
    }

    fn schedule_api(&mut self, connection: ConnectionId) {
        if let Some(Connection { kind: Kind::Api(client), closing: false, .. }) = self.connections.get(connection) {
            self.timers.replace(Owner::Connection(connection), client.poll_timeout());
        }
    }

    pub(super) fn answer_call(&mut self, call: CallId, answer: ApiAnswer, now: Now) {
        let Some(Call { connection, number, path, .. }) = self.calls.end(call) else { return };
        self.tally.call(path, answer.status);
        if let Some(Connection { kind: Kind::Api(client), .. }) = self.connections.get_mut(connection) {
            client.handle_answer(number, answer, now);
            self.note_unsent(connection, now);
            self.touch(Owner::Connection(connection));
        }
    }

    pub(super) fn cancel_calls(&mut self, connection: ConnectionId, now: Now) {
        for call in self.calls.take_of(connection) {
            self.core.handle_input(Input::ApiCancelled(call), now);
        }
    }
}

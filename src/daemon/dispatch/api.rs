//! Connections of the REST API.

use crate::config::settings::HttpSettings;
use crate::model::api::{ApiAnswer, CallId};
use crate::model::connection::{ConnectionId, PeerAddress};
use crate::model::time::Now;
use crate::node::input::Input;
use crate::session::api_client::access::{ApiAccess, ApiClientSettings};
use crate::session::api_client::{ApiClient, ApiClientOutput};

use super::connections::{Connection, Kind};
use super::{Dispatch, Effect, Owner};

pub(super) fn access(http: &HttpSettings) -> ApiAccess {
    ApiAccess::new(ApiClientSettings {
        auth: http.auth.as_ref().map(|auth| (auth.user.clone(), auth.password.clone())),
        allowed: http
            .allowed_hosts
            .as_ref()
            .map(|subnets| subnets.iter().map(|subnet| (subnet.address, subnet.prefix)).collect()),
        ..ApiClientSettings::default()
    })
}

impl Dispatch {
    pub(super) fn accept_api(&mut self, connection: ConnectionId, peer: PeerAddress, now: Now) {
        let Some(access) = self.api_access.clone() else { return };
        self.admit_stranger(connection, peer, now);
        let kind = Kind::Api(Box::new(ApiClient::new(access, peer, now)));
        self.connections.insert(connection, kind, peer);
        self.pump_api(connection, now);
    }

    /// Starts the calls that a connection has received. Their answers come later through `drain`, never from inside
    /// here: a pipeline of calls must not become a recursion.
    pub(super) fn pump_api(&mut self, connection: ConnectionId, now: Now) {
        loop {
            let Some(entry) = self.connections.get_mut(connection) else { return };
            let Kind::Api(client) = &mut entry.kind else { return };
            match client.poll_output() {
                None => break,
                Some(ApiClientOutput::Call { number, call }) => {
                    self.no_stranger(connection, now);
                    let id = self.calls.begin(connection, number);
                    self.core.handle_input(Input::ApiCall { id, call }, now);
                }
                Some(ApiClientOutput::Shutdown) => self.effects.push_back(Effect::Shutdown(connection)),
                Some(ApiClientOutput::Close) => self.close(connection, now),
                Some(ApiClientOutput::Log(line)) => self.log(line),
            }
        }
        self.schedule_api(connection);
        self.connections.mark_dirty(connection);
    }

    fn schedule_api(&mut self, connection: ConnectionId) {
        if let Some(Connection { kind: Kind::Api(client), closing: false, .. }) = self.connections.get(connection) {
            self.timers.replace(Owner::Connection(connection), client.poll_timeout());
        }
    }

    pub(super) fn answer_call(&mut self, call: CallId, answer: ApiAnswer, now: Now) {
        let Some((connection, number)) = self.calls.end(call) else { return };
        if let Some(Connection { kind: Kind::Api(client), .. }) = self.connections.get_mut(connection) {
            client.handle_answer(number, answer, now);
            self.touch(Owner::Connection(connection));
        }
    }

    pub(super) fn cancel_calls(&mut self, connection: ConnectionId, now: Now) {
        for call in self.calls.take_of(connection) {
            self.core.handle_input(Input::ApiCancelled(call), now);
        }
    }
}

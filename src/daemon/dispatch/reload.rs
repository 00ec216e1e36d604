//! Reload of the configuration while connections are open: a connection is closed if the key, user or token that
//! admitted it is removed.

use std::rc::Rc;

use crate::config::Config;
use crate::config::changes::{self, Changes};
use crate::config::joined::JoinedKind;
use crate::model::time::Now;
use crate::node::input::Input;

use super::connections::Kind;
use super::{Dispatch, Owner, api, websocket};

impl Dispatch {
    /// Applies those changes of a newly read configuration that can take effect while running, and returns all changes.
    pub fn reconfigure(&mut self, read: &Config, now: Now) -> Changes {
        let config = Rc::make_mut(&mut self.config);
        // The sessions of a key whose binding has changed are closed, so it counts as not authorised here.
        let is_kept = |key: &String| config.core.bound_keys.get(key) == read.core.bound_keys.get(key);
        let kept: Vec<String> = config.core.authorized_clients.iter().filter(|key| is_kept(key)).cloned().collect();
        // A session stored without its key may belong to a removed key.
        let is_taken_out = config.core.authorized_clients.iter().any(|key| !read.core.authorized_clients.contains(key));
        self.listener.authorize(&kept, is_taken_out || !read.core.bound_keys.is_empty());
        let http = config.modules.httpserver.clone();
        let tokens = config.modules.proxy.as_ref().and_then(|proxy| proxy.httpserver.clone());
        let has_other_invitations = config.added.invitations != read.added.invitations;
        let changes = changes::take_over(config, read);
        let modules = &config.modules;
        let has_other_callers = modules.httpserver != http;
        let server = modules.proxy.as_ref().and_then(|proxy| proxy.httpserver.as_ref());
        let has_other_tokens = server != tokens.as_ref() || has_other_invitations;
        if has_other_callers {
            let own_names = [config.core.hostname.clone()];
            self.api_access = modules.httpserver.as_ref().map(|http| Rc::new(api::access(http, own_names)));
        }
        if has_other_tokens {
            self.websocket_access = server.map(|server| websocket::access(server, &config.added));
        }
        let action = modules.action.clone().map(Box::new);
        let proxy = modules.proxy.clone().map(Box::new);
        self.listener.authorize(&config.core.authorized_clients, false);
        self.listener.invite(config.added.invited_as(JoinedKind::Pull));
        self.core.handle_input(Input::Reconfigured { action, proxy }, now);
        self.take_key_news(now);
        if has_other_callers || has_other_tokens {
            self.review_connections(now);
        }
        self.drain(now);
        changes
    }

    /// Says whether received messages become log lines from now on.
    pub fn set_debug(&mut self, debug: bool, now: Now) {
        self.core.handle_input(Input::SetDebug(debug), now);
    }

    /// Checks every connection of the API and every WebSocket against the new configuration.
    fn review_connections(&mut self, now: Now) {
        for connection in self.connections.all() {
            let Some(entry) = self.connections.get_mut(connection) else { continue };
            match (&mut entry.kind, &self.api_access, &self.websocket_access) {
                (Kind::Api(client), Some(access), _) => {
                    if client.renew_access(access, now) {
                        self.hurry_calls(connection, now);
                    }
                }
                (Kind::WebSocket(node), _, Some(access)) => node.renew_access(access, now),
                _ => continue,
            }
            self.touch(Owner::Connection(connection));
        }
    }
}

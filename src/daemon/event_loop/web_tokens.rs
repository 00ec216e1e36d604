//! Queries the web API for tokens of nodes, on a worker.

use crate::config::web_api::WebAccount;
use crate::edge::web_tokens;
use crate::model::time::Now;
use crate::session::web_tokens::WebToken;
use crate::wire::http::bearer_auth::TokenHash;

use super::storage::JobResult;
use super::workers::Rank;
use super::{EventLoop, LOOKUPS_MAX};

impl EventLoop {
    pub(super) fn ask_web_api(&mut self, account: Option<WebAccount>, name: String, now: Now) {
        let Some(account) = account else {
            return self.dispatch.web_api_answered(&name, Err("'tpapi' has no 'centreonv2' any more".to_owned()), now);
        };
        let (login, asked) = (self.host.web_login.clone(), name.clone());
        let job = Box::new(move || {
            let answer = web_tokens::look_up(&account, &login, &asked);
            let hashed = |found: web_tokens::FoundToken| WebToken {
                hash: TokenHash::of(found.value.reveal().as_bytes()),
                expires: found.expires,
                is_revoked: found.is_revoked,
            };
            JobResult::WebApiAnswered(asked, answer.map(|found| found.map(hashed)))
        });
        if !self.workers.submit_below(LOOKUPS_MAX, Rank::Lookup, job) {
            self.dispatch.web_api_answered(&name, Err("too much waits for the network".to_owned()), now);
        }
    }
}

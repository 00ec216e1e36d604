//! Replaces `web_tokens` in a build without the feature `centreon`, in which no configuration names a web API.

use crate::config::web_api::WebAccount;
use crate::model::time::Now;

use super::EventLoop;

impl EventLoop {
    pub(super) fn ask_web_api(&mut self, _: Option<WebAccount>, name: String, now: Now) {
        let failure = "this build asks no web API: it needs the feature 'centreon'";
        self.dispatch.web_api_answered(&name, Err(failure.to_owned()), now);
    }
}

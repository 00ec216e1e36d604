//! Replaces `server_commits` in a build without the feature `centreon`.

use crate::model::time::Now;

use super::EventLoop;

impl EventLoop {
    pub(super) const fn renew_lease(&mut self, _: Now) {}

    pub(super) const fn await_commit(&mut self) {}
}

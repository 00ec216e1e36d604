//! Replaces `cluster` in a build without the feature `centreon`, whose daemons stand alone.

use crate::config::Config;
use crate::edge::log::LogWriter;
use crate::edge::store::StorePlace;
use crate::model::time::{Monotonic, Now};

use super::{EventLoop, RunError};

/// Never made.
pub(super) struct ClusterWatch {
    pub(super) begins_anew: bool,
}

impl ClusterWatch {
    pub(super) const fn open(_: &Config, _: &mut LogWriter, _: Now) -> Result<Option<Self>, RunError> {
        Ok(None)
    }

    pub(super) const fn configuration(&self, config: Config) -> Config {
        config
    }

    pub(super) const fn reads(&self) -> Option<StorePlace> {
        None
    }

    pub(super) const fn who(&self) -> String {
        String::new()
    }

    pub(super) const fn is_standby(&self) -> bool {
        false
    }

    pub(super) const fn poll_timeout(&self) -> Option<Monotonic> {
        None
    }
}

impl EventLoop {
    pub(super) const fn look_at_cluster(&mut self, _: Now) {}

    pub(super) const fn check_lease(&mut self, _: Now) {}
}

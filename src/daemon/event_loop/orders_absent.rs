//! A build without the feature `centreon`: nobody asks for orders of Centreon Web.

use mio::Token;

use crate::config::settings::Config;
use crate::model::legacy::LegacyWork;
use crate::model::time::Now;
use crate::model::work::WorkId;

use super::EventLoop;

/// Nothing.
pub(super) struct Orders;

impl Orders {
    pub(super) const fn new(_: &Config) -> Self {
        Self
    }
}

impl EventLoop {
    /// Never called: no configuration has the module.
    pub(super) fn legacy_work(&mut self, _: WorkId, _: LegacyWork, _: Now) {}

    /// Never called: nothing is watched.
    pub(super) fn command_files_touched(&mut self, _: Token, _: Now) {}
}

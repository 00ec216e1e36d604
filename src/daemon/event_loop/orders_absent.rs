//! Replaces `orders` in a build without the feature `centreon`.

use mio::Token;

use crate::config::Config;
use crate::model::legacy::LegacyWork;
use crate::model::time::Now;
use crate::model::work::WorkId;

use super::EventLoop;

/// Holds nothing.
pub(super) struct Orders;

impl Orders {
    pub(super) const fn new(_: &Config) -> Self {
        Self
    }
}

impl EventLoop {
    /// Is never called, because no configuration has the module.
    pub(super) fn legacy_work(&mut self, _: WorkId, _: LegacyWork, _: Now) {}

    /// Is never called, because nothing is watched.
    pub(super) fn command_files_touched(&mut self, _: Token, _: Now) {}
}

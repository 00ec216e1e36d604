//! Replaces `statistics` in a build without the feature `centreon`.

use crate::model::statistics::StatisticsWork;
use crate::model::time::Now;
use crate::model::work::WorkId;

use super::EventLoop;

impl EventLoop {
    /// Is never called, because no configuration has the module.
    pub(super) fn statistics_work(&mut self, _: WorkId, _: StatisticsWork, _: Now) {}
}

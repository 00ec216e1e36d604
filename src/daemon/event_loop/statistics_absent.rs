//! A build without the feature `centreon`: nobody asks for statistics.

use crate::model::statistics::StatisticsWork;
use crate::model::time::Now;
use crate::model::work::WorkId;

use super::EventLoop;

impl EventLoop {
    /// Never called: no configuration has the module.
    pub(super) fn statistics_work(&mut self, _: WorkId, _: StatisticsWork, _: Now) {}
}

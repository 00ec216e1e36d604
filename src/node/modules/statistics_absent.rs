//! A build without the feature `centreon`: no configuration has the module `statistics`, so it gets no requests.

use crate::model::statistics::StatisticsDone;
use crate::model::work::WorkId;
use crate::node::context::Context;
use crate::node::journal::Seen;
use crate::node::listeners::Listeners;
use crate::node::peer::OwnRequest;

/// The module's empty state.
#[derive(Default)]
pub(in crate::node) struct Statistics;

#[expect(clippy::unused_self, clippy::needless_pass_by_value, reason = "the module that is absent has state")]
impl Statistics {
    pub(in crate::node) fn work_done(&mut self, _: &mut Context, _: &mut Listeners, _: WorkId, _: StatisticsDone) {}

    pub(in crate::node) const fn next_due(&mut self) -> Option<OwnRequest> {
        None
    }

    pub(in crate::node) fn row_seen(&mut self, _: &mut Context, _: &Seen) {}

    pub(in crate::node) fn stop(&mut self, _: &mut Context) {}
}

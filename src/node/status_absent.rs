//! A build without the feature `status`: no reports are made.

use crate::model::api::{ApiAnswer, ApiCall, CallId};
use crate::model::node_id::NodeId;
use crate::model::status::ReportForm;
use crate::model::time::Now;
use crate::model::token::Token;
use crate::model::work::WorkId;

use super::context::Context;
use super::journal::Ended;
use super::nodes::Nodes;
use super::queue::Queue;

/// Number of requests in the rooms for commands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    pub running: usize,
    #[expect(dead_code, reason = "for reports")]
    pub waiting: usize,
}

/// The room's empty state.
pub(super) struct Status;

#[expect(clippy::unused_self, clippy::needless_pass_by_value, reason = "the room that is absent has state")]
impl Status {
    pub(super) const fn new(_: &Context) -> Self {
        Self
    }

    pub(super) const fn command_begins(&mut self, _: &Token, _: Now) {}

    pub(super) const fn ended(&mut self, _: &Ended, _: Option<NodeId>, _: Now) {}

    /// Answers `/readyz`, the only report of such a build.
    pub(super) fn report(
        &mut self,
        context: &Context,
        _: (&Nodes, &Queue),
        _: Load,
        _: (CallId, &ApiCall, ReportForm),
    ) -> Option<ApiAnswer> {
        let is_ready = context.stores && !context.is_stopping();
        let (status, body) =
            if is_ready { (200, "{\"status\":\"ready\"}") } else { (503, "{\"status\":\"not ready\"}") };
        Some(ApiAnswer::json(status, body))
    }

    pub(super) fn reported(&mut self, _: &mut Context, _: WorkId, _: ApiAnswer) {}
}

//! A build without the feature `centreon`: no configuration has the module `legacycmd`, so it gets no requests.

use crate::model::legacy::{LegacyDone, LegacyStored};
use crate::model::node_id::NodeId;
use crate::model::token::Token;
use crate::model::work::WorkId;
use crate::node::context::Context;
use crate::node::journal::Ended;
use crate::node::nodes::Nodes;
use crate::node::output::ReceiptId;
use crate::node::peer::{Handled, OwnRequest};
use crate::node::taken_tokens::TakenTokens;

/// The module's empty state.
#[derive(Default)]
pub(in crate::node) struct LegacyCmd;

#[expect(clippy::unused_self, clippy::needless_pass_by_value, reason = "the module that is absent has state")]
impl LegacyCmd {
    pub(in crate::node) fn start(&mut self, _: &mut Context, _: LegacyStored, _: &[(Token, Option<NodeId>)]) {}

    pub(in crate::node) const fn keeps(&self, _: &Token) -> bool {
        false
    }

    pub(in crate::node) fn read_tables(&mut self, _: &mut Context) {}

    pub(in crate::node) fn look_for_files(&mut self, _: &mut Context) {}

    pub(in crate::node) fn work_done(&mut self, _: &mut Context, _: WorkId, _: LegacyDone) {}

    pub(in crate::node) fn stored(&mut self, _: &mut Context, _: ReceiptId, _: bool) {}

    pub(in crate::node) fn look_again(&mut self, _: &mut Context) {}

    pub(in crate::node) const fn next_due(
        &mut self,
        _: &mut Context,
        _: &Nodes,
        _: &TakenTokens,
    ) -> Option<OwnRequest> {
        None
    }

    pub(in crate::node) fn handed_over(&mut self, _: &mut Context, _: &Token, _: &Handled) {}

    pub(in crate::node) fn confirmed(&mut self, _: &mut Context, _: &str) {}

    pub(in crate::node) fn token_ended(&mut self, _: &mut Context, _: &Ended) {}

    pub(in crate::node) const fn take_imported(&mut self) -> bool {
        false
    }

    pub(in crate::node) fn send_again(&mut self, _: &mut Context, _: &Token) {}

    pub(in crate::node) fn stop(&mut self, _: &mut Context) {}
}

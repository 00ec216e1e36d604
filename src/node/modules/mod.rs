//! The modules of the original: [`Modules`] has a room for each that answers actions of its own.

pub(super) mod action;
pub(super) mod cleaner;
pub(super) mod cron;
pub(super) mod engine;
#[cfg_attr(not(feature = "centreon"), path = "legacycmd_absent.rs")]
pub(super) mod legacycmd;
pub(super) mod nodes;
#[cfg_attr(not(feature = "centreon"), path = "statistics_absent.rs")]
pub(super) mod statistics;

use crate::model::action::{Action, Module};
use crate::model::token::Token;

use super::context::Context;
use super::get_log::Questions;
use super::peer::Handled;
use cron::Cron;
use engine::Engine;
use legacycmd::LegacyCmd;
use nodes::NodesModule;
use statistics::Statistics;

/// The rooms of the modules, without that of `action`.
#[derive(Default)]
pub(super) struct Modules {
    pub cron: Cron,
    pub engine: Engine,
    pub legacycmd: LegacyCmd,
    pub nodes: NodesModule,
    pub statistics: Statistics,
}

impl Modules {
    /// Has the room of a module handle an action for this daemon.
    pub fn request(
        &mut self,
        context: &mut Context,
        questions: &mut Questions,
        module: Module,
        (action, token): (&Action, &Token),
        data: &str,
    ) -> Handled {
        match module {
            Module::Cron => self.cron.request(context, questions, action, token, data),
            Module::Engine => self.engine.request(context, token, data),
            #[cfg(feature = "centreon")]
            Module::LegacyCmd => self.legacycmd.request(context, action, token, data),
            Module::Nodes => self.nodes.request(context, token),
            #[cfg(feature = "centreon")]
            Module::Statistics => self.statistics.request(context, action, token, data),
            _ => context.refuse_unknown(action, token),
        }
    }

    /// Ends what has not begun because the daemon stops.
    pub fn stop(&mut self, context: &mut Context) {
        self.engine.stop(context);
        self.nodes.stop(context);
        self.legacycmd.stop(context);
        self.statistics.stop(context);
    }
}

//! The modules of the original that live in the deciding part.

pub(super) mod action;
pub(super) mod cleaner;
pub(super) mod cron;
pub(super) mod engine;
pub(super) mod nodes;
pub(super) mod process_copy;

/// Package of the module that runs commands.
pub(super) const ACTION_PACKAGE: &str = "gorgone::modules::core::action::hooks";
/// Package of the module that runs requests at given times.
pub(super) const CRON_PACKAGE: &str = "gorgone::modules::core::cron::hooks";
/// Package of the module that writes to the engine's command pipe.
pub(super) const ENGINE_PACKAGE: &str = "gorgone::modules::centreon::engine::hooks";
/// Package of the module that reads pollers from the Centreon database.
pub(super) const NODES_PACKAGE: &str = "gorgone::modules::centreon::nodes::hooks";
/// Package of the module that cleans the database.
pub(super) const CLEANER_PACKAGE: &str = "gorgone::modules::core::dbcleaner::hooks";

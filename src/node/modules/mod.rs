//! Those modules of the original that belong to the deciding part.

pub(super) mod action;
pub(super) mod cleaner;
pub(super) mod cron;
pub(super) mod engine;
#[cfg_attr(not(feature = "centreon"), path = "legacycmd_absent.rs")]
pub(super) mod legacycmd;
pub(super) mod nodes;
#[cfg_attr(not(feature = "centreon"), path = "statistics_absent.rs")]
pub(super) mod statistics;

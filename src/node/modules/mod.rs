//! The modules of the original that live in the deciding part.

pub(super) mod action;
pub(super) mod cleaner;
pub(super) mod cron;
pub(super) mod engine;
pub(super) mod nodes;

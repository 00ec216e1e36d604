//! Replaces `beside` in a build without the feature `centreon`, where every commit is one of a file.

use crate::config::Config;
use crate::edge::log::LogWriter;
use crate::edge::store::{Store, StorePlace};
use crate::model::host_work::HostWork;
use crate::model::stored::Stored;
use crate::model::time::{Monotonic, Now};

use super::RunError;

/// Holds nothing.
#[derive(Default)]
pub(super) struct Beside;

/// Never made.
pub(super) type Opened = (Store, Stored, StorePlace, Beside);

/// Finds no server.
pub(super) const fn open(_: &Config, _: &mut LogWriter, _: Now) -> Result<Option<Opened>, RunError> {
    Ok(None)
}

impl Beside {
    pub(super) const fn is_on(&self) -> bool {
        false
    }

    pub(super) const fn is_under_way(&self) -> bool {
        false
    }

    pub(super) const fn poll_timeout(&self) -> Option<Monotonic> {
        None
    }

    pub(super) const fn full_until(&self) -> Option<Monotonic> {
        None
    }

    pub(super) const fn set_full(&mut self, _: Option<Monotonic>) {}

    pub(super) const fn keep(&mut self, work: HostWork, _: usize) -> Option<HostWork> {
        Some(work)
    }
}

//! Directories by difference: a receiver of our own kind gets a manifest and says what it needs of it; only that is
//! packed and sent. Any other receiver gets the whole directory.

use crate::model::copy::{CopyFailure, CopyKind, SourceId, SourceSpec, SourceStep};

use super::{Sender, State};
use crate::node::nodes::node::Link;

impl Sender<'_> {
    /// Opens the source. A directory is listed first.
    pub(super) fn open(&mut self, source: SourceId) {
        let Some(copy) = self.sending.all.get_mut(&source) else { return };
        copy.state = State::Opening;
        copy.by_difference = false;
        let spec = copy.request.spec(&copy.route.target.to_string(), source.0);
        let spec = SourceSpec { difference: Some(copy.request.tree), ..spec };
        self.source_step(source, SourceStep::Open(spec));
    }

    /// Asks a receiver of our own kind whether a directory may come by difference.
    pub(super) fn ask_for_difference(&mut self, source: SourceId, number: u64) {
        let Some(copy) = self.sending.all.get_mut(&source) else { return };
        copy.state = State::Asking { number, md5: None };
        let (through, message) = (copy.route.through, copy.message(copy.request.whether_by_difference(number)));
        self.nodes.send(self.context, through, message);
        self.await_progress(source);
    }

    /// Handles the answer to that.
    pub(super) fn difference_answered(&mut self, source: SourceId, is_possible: bool) {
        let Some(copy) = self.sending.all.get_mut(&source) else { return };
        copy.has_answer = true;
        copy.retry_until = None;
        if is_possible {
            copy.state = State::Sending;
            self.await_progress(source);
            self.go_on(source);
        } else {
            self.pack(source, None);
        }
    }

    /// Asks what differs from the manifest that was sent.
    pub(super) fn ask_what_differs(&mut self, source: SourceId, md5: String, from: u64) {
        self.sending.next_query += 1;
        let number = self.sending.next_query;
        let Some(copy) = self.sending.all.get_mut(&source) else { return };
        let data = copy.request.what_differs(number, &md5, from);
        copy.state = State::Differing { number, md5 };
        let (through, message) = (copy.route.through, copy.message(data));
        self.nodes.send(self.context, through, message);
        self.await_progress(source);
    }

    /// Packs a listed directory: what the receiver needs of the manifest with a digest, or all of it.
    pub(super) fn pack(&mut self, source: SourceId, md5: Option<String>) {
        let Some(copy) = self.sending.all.get_mut(&source) else { return };
        if md5.is_none() && copy.request.tree.delete {
            let message = format!(
                "proxy - node '{}' cannot delete what is not in the source: its daemon takes directories as a whole, \
                 or has not been connected yet",
                copy.route.target
            );
            return self.fail(source, &CopyFailure { message, detail: String::new() });
        }
        copy.by_difference = md5.is_some();
        let whole = md5.is_none();
        copy.state = State::Packing { md5 };
        self.source_step(source, SourceStep::Pack { whole });
    }

    /// Handles a directory that is packed.
    pub(super) fn packed(&mut self, source: SourceId) {
        let Some(copy) = self.sending.all.get_mut(&source) else { return };
        (copy.all_read, copy.kind) = (false, CopyKind::Archive);
        let link = self.nodes.get(copy.route.through).map_or(Link::None, |node| node.link);
        if copy.is_ours && link == Link::Up {
            self.ask_receiver(source, None, None);
        } else if copy.is_ours {
            copy.state = State::Interrupted;
            self.await_progress(source);
        } else {
            copy.state = State::Sending;
            self.await_progress(source);
            self.go_on(source);
        }
    }
}

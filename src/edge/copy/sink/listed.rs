//! The list of a directory that comes by difference: it arrives in a file of its own, and says in the end what the
//! destination is to be.

use std::path::Path;

use super::{Open, Sink, decode};
use crate::edge::copy::left_over;
use crate::edge::copy::place;
use crate::edge::copy::text::{about, failure};
use crate::edge::copy::tree::arriving::Arriving;
use crate::model::copy::{CopyFailure, DigestKind, SinkDone, SinkSpec};

pub(super) fn no_list() -> CopyFailure {
    failure("process copy failed", "the list of the directory is not here any more")
}

impl Sink {
    /// Takes a chunk of the list of a directory, which begins anew with the first one.
    pub(super) fn tree_chunk(
        &mut self,
        spec: &SinkSpec,
        base64: &str,
        offset: Option<u64>,
    ) -> Result<SinkDone, CopyFailure> {
        if offset == Some(0) {
            let place = place::scratch(spec.cache_dir.as_deref(), &spec.roots);
            let name = left_over::name_digest(Path::new(spec.token.as_str()));
            let open = Open::nameless(&place.join(format!("copy_list_{name}")), DigestKind::Md5)?;
            self.tree = Some(Arriving::new(open.file));
        }
        let bytes = decode(base64).ok_or_else(|| failure("process copy failed", "a chunk is not valid base64"))?;
        self.tree.as_mut().ok_or_else(no_list)?.append(offset, &bytes).map(SinkDone::Written)
    }

    /// Makes the destination what the list says, when all content is there.
    pub(super) fn settle(&mut self, spec: &SinkSpec) -> Result<Vec<String>, CopyFailure> {
        let tree = self.tree.take().ok_or_else(no_list)?;
        let inside = place::open_directory(&spec.destination, &spec.roots)
            .map_err(|text| failure(format!("untar failed: {text}"), spec.destination.display().to_string()))?;
        let notes = tree.settle(&inside)?;
        rustix::fs::syncfs(inside.root())
            .map_err(|error| failure("process copy failed", about(&spec.destination, &error.into())))?;
        Ok(notes)
    }
}

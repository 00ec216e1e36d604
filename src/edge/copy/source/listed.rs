//! A source that is a directory and is copied by difference: it is listed first, and only what the receiver needs of
//! it is packed.

use std::fs::File;
use std::io::{self, Seek as _};

use super::{Opened, Source};
use crate::edge::copy::pack::{self, What};
use crate::edge::copy::text::{about, failure, words};
use crate::edge::copy::tree::{self, select::Selection};
use crate::edge::copy::walk::Problem;
use crate::model::copy::{CopyFailure, CopyKind, SourceDone, SourceSpec, TreeOptions};

/// A listed directory.
pub(super) struct Tree {
    spec: SourceSpec,
    directory: File,
    manifest: File,
    count: u64,
    /// What of it the receiver needs.
    selection: Option<Selection>,
}

impl Source {
    /// Lists a directory.
    pub(super) fn list(&mut self, spec: &SourceSpec, options: TreeOptions) -> Result<SourceDone, CopyFailure> {
        let source = &spec.source;
        let directory = File::open(source)
            .map_err(|error| failure(format!("cannot chdir: {}", words(&error)), source.display().to_string()))?;
        let (path, mut manifest) = pack::scratch(spec)?;
        let failed = |error: io::Error| failure("tar failed", about(&path, &error));
        let (count, notes) = tree::build::write(&mut manifest, (source, &directory), &spec.attributes, options)
            .map_err(|problem| problem.into_failure("tar failed", &path))?;
        manifest.rewind().map_err(failed)?;
        let file = manifest.try_clone().map_err(failed)?;
        self.tree = Some(Tree { spec: spec.clone(), directory, manifest, count, selection: None });
        self.begin(spec, Opened { file, kind: CopyKind::Manifest, notes })
    }

    fn listed(&mut self) -> Result<&mut Tree, CopyFailure> {
        self.tree.as_mut().ok_or_else(|| failure("remote copy failed", "the source is closed"))
    }

    pub(super) fn select(&mut self, need: &str, look: &str) -> Result<SourceDone, CopyFailure> {
        let tree = self.listed()?;
        let failed = |problem: Problem| problem.into_failure("tar failed", &tree.spec.source);
        if tree.selection.is_none() {
            let manifest = tree.manifest.try_clone().map_err(|error| failed(Problem::Archive(error)))?;
            let selection = Selection::new(manifest, tree.count).map_err(|error| failed(Problem::Archive(error)))?;
            tree.selection = Some(selection);
        }
        if let Some(selection) = &mut tree.selection {
            selection.take((&tree.spec.source, &tree.directory), need, look).map_err(failed)?;
        }
        Ok(SourceDone::Selected)
    }

    /// Packs all of a listed directory, or what is selected.
    pub(super) fn pack(&mut self, whole: bool) -> Result<SourceDone, CopyFailure> {
        let tree = self.listed()?;
        let failed = |error: io::Error| failure("tar failed", about(&tree.spec.source, &error));
        let directory = tree.directory.try_clone().map_err(failed)?;
        let what = match &tree.selection {
            _ if whole => What::All,
            Some(selection) if selection.selected() > 0 => {
                What::Selected(tree.manifest.try_clone().map_err(failed)?, selection)
            }
            _ => return Ok(SourceDone::Nothing),
        };
        let (file, notes) = pack::pack(&tree.spec, Some(directory), what)?;
        let spec = tree.spec.clone();
        self.begin(&spec, Opened { file, kind: CopyKind::Archive, notes })
    }
}

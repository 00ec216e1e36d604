//! The receiver's side as a whole: a manifest that arrives, its comparison with the destination, and the settling of
//! what is in place.

use std::fs::File;
use std::io::{Seek as _, Write as _};

use super::compare::Comparing;
use super::settle::settle;
use crate::edge::copy::digest::Digest;
use crate::edge::copy::inside::Inside;
use crate::edge::copy::place;
use crate::edge::copy::text::{failure, words};
use crate::model::copy::{CopyFailure, DigestKind, SinkSpec};

/// A manifest, in a file without a name.
pub(in crate::edge::copy) struct Arriving {
    file: File,
    received: u64,
    comparing: Option<Comparing>,
}

fn failed(error: &std::io::Error) -> CopyFailure {
    failure("process copy failed", format!("the list of the directory: {}", words(error)))
}

impl Arriving {
    /// Begins with an empty file.
    pub(in crate::edge::copy) const fn new(file: File) -> Self {
        Self { file, received: 0, comparing: None }
    }

    /// Appends a chunk. Returns the number of bytes that have arrived.
    pub(in crate::edge::copy) fn append(&mut self, offset: Option<u64>, bytes: &[u8]) -> Result<u64, CopyFailure> {
        if offset != Some(self.received) {
            let text = format!("a chunk of the list came where byte {} was expected", self.received);
            return Err(failure("process copy failed", text));
        }
        self.file.write_all(bytes).map_err(|error| failed(&error))?;
        self.received += bytes.len() as u64;
        Ok(self.received)
    }

    /// Compares the entries from number `from` on with the destination. Returns a part of the answer.
    pub(in crate::edge::copy) fn compare(
        &mut self,
        spec: &SinkSpec,
        digest: &str,
        from: u64,
    ) -> Result<String, CopyFailure> {
        if from == 0 || self.comparing.as_ref().is_none_or(|comparing| comparing.count() != from) {
            self.comparing = Some(self.begin(spec, digest)?);
        }
        let Some(comparing) = &mut self.comparing else { return Ok(String::new()) };
        while comparing.count() < from {
            // Asked for again: what is before was said already.
            comparing.page().map_err(|error| failed(&error))?;
        }
        comparing.page().map_err(|error| failed(&error))
    }

    fn begin(&mut self, spec: &SinkSpec, digest: &str) -> Result<Comparing, CopyFailure> {
        self.file.rewind().map_err(|error| failed(&error))?;
        let mut found = Digest::new(DigestKind::of(digest));
        found.read(&mut self.file, u64::MAX).map_err(|error| failed(&error))?;
        if found.hex() != digest {
            return Err(failure("md5 does not match", "the list of the directory is not what was sent"));
        }
        let inside = place::existing_directory(&spec.destination, &spec.roots)
            .map_err(|text| failure(format!("untar failed: {text}"), spec.destination.display().to_string()))?;
        self.file.rewind().and_then(|()| Comparing::new(self.file.try_clone()?, inside)).map_err(|error| failed(&error))
    }

    /// Deletes what is too much, and sets permissions, owners and times. Returns notes about what could not be set.
    pub(in crate::edge::copy) fn settle(mut self, inside: &Inside) -> Result<Vec<String>, CopyFailure> {
        self.file.rewind().map_err(|error| failed(&error))?;
        settle(self.file, inside).map_err(|text| failure("process copy failed", text))
    }
}

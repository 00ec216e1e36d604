//! Copies, carried out in memory. What is gathered survives a crash as it would on a disk; what is open does not.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use stheno::edge::copy::sink::decode;
use stheno::model::code::Code;
use stheno::model::copy::{
    Chunk, CopyFailure, CopyKind, DigestKind, SinkDone, SinkId, SinkStep, SourceDone, SourceId, SourceStep,
};
use stheno::model::history::HistoryRow;
use stheno::model::random::Random;

use super::seeded::Seeded;
use super::world::World;

/// An open source.
struct Reading {
    content: Vec<u8>,
    at: usize,
}

/// The rest of a copy that has not ended.
struct Part {
    identity: Option<String>,
    bytes: Vec<u8>,
    /// The copies that a sink has open, until the machine crashes.
    open_by: Option<SinkId>,
}

/// The files of all machines.
#[derive(Default)]
pub struct Files {
    readings: BTreeMap<(usize, SourceId), Reading>,
    /// The rests of copies, by the tokens that they have now.
    parts: BTreeMap<(usize, String), Part>,
    identities: BTreeMap<(usize, SinkId), Option<String>>,
    /// The files that arrived, by path.
    pub there: BTreeMap<(usize, String), Vec<u8>>,
}

/// The numbers of files that are far larger than what may be on its way.
const LARGE: [u64; 2] = [13, 29];

/// Returns the content of the file with this number.
pub fn content(number: u64) -> Vec<u8> {
    let mut random = Seeded(number);
    let len = match number {
        number if LARGE.contains(&number) => 800_000,
        _ if random.once_in(8) => 0,
        _ => random.below(20_000),
    };
    (0..len).map(|_| random.below(256) as u8).collect()
}

/// A short digest in the place of MD5.
fn digest(bytes: &[u8]) -> String {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

fn failed(detail: String) -> CopyFailure {
    CopyFailure { message: "process copy failed".to_owned(), detail }
}

impl Files {
    /// Handles the crash of a machine: nothing is open any more.
    pub fn crash(&mut self, machine: usize) {
        self.readings.retain(|(owner, _), _| *owner != machine);
        self.identities.retain(|(owner, _), _| *owner != machine);
        for ((owner, _), part) in &mut self.parts {
            part.open_by = part.open_by.filter(|_| *owner != machine);
        }
    }

    /// Carries out a step of a copy that is sent. The path of a source is its number.
    pub fn read(&mut self, machine: usize, source: SourceId, step: SourceStep) -> Option<SourceDone> {
        if let SourceStep::Open(spec) = &step {
            let content = content(spec.source.file_name()?.to_str()?.parse().ok()?);
            let total = content.len() as u64;
            self.readings.insert((machine, source), Reading { content, at: 0 });
            return Some(SourceDone::Opened {
                kind: CopyKind::Regular,
                total,
                notes: Vec::new(),
                digest: DigestKind::Md5,
            });
        }
        let reading = self.readings.get_mut(&(machine, source))?;
        Some(match step {
            SourceStep::Open(_) => unreachable!(),
            SourceStep::Close => {
                self.readings.remove(&(machine, source));
                return None;
            }
            SourceStep::Digest(_) => SourceDone::Digest(digest(&reading.content)),
            SourceStep::Rewind(offset, _) => {
                reading.at = reading.content.len().min(usize::try_from(offset).unwrap());
                SourceDone::Digest(digest(&reading.content[..reading.at]))
            }
            SourceStep::Read { count, chunk_bytes, frame } => {
                let total = reading.content.len();
                let mut chunks = Vec::new();
                while chunks.len() < count && (reading.at < total || total == 0 && chunks.is_empty()) {
                    let bytes = &reading.content[reading.at..total.min(reading.at + chunk_bytes)];
                    let (offset, len) = (reading.at, bytes.len());
                    let data = format!(
                        "{}{}\",\"size\":{len},\"offset\":{offset},\"total\":{total}{}",
                        frame.before,
                        STANDARD.encode(bytes),
                        frame.after
                    );
                    chunks.push(Chunk { data, offset: offset as u64, len_bytes: len as u64 });
                    reading.at += len;
                }
                SourceDone::Chunks(chunks)
            }
            SourceStep::Agree { .. } => SourceDone::Agreed(0),
            SourceStep::Select { .. } | SourceStep::Pack { .. } => unreachable!("no directory is copied"),
            SourceStep::Finish => SourceDone::Digest(digest(&reading.content)),
        })
    }

    /// Carries out a step of a copy that is received.
    pub fn write(&mut self, machine: usize, sink: SinkId, step: SinkStep) -> SinkDone {
        let done = self.try_to_write(machine, sink, step);
        done.unwrap_or_else(|failure| {
            self.parts.retain(|(owner, _), part| *owner != machine || part.open_by != Some(sink));
            SinkDone::Failed(failure)
        })
    }

    fn try_to_write(&mut self, machine: usize, sink: SinkId, step: SinkStep) -> Result<SinkDone, CopyFailure> {
        match step {
            SinkStep::Query { spec, total, md5, keep, identity, .. } => {
                let key = (machine, spec.token.to_string());
                let is_mine = |owner: usize, part: &Part| owner == machine && part.open_by == Some(sink);
                let is_same = |owner: usize, part: &Part| {
                    owner == machine && part.open_by.is_none() && identity.is_some() && part.identity == identity
                };
                let found = self.parts.iter().find(|((owner, _), part)| is_mine(*owner, part));
                let found = found.or_else(|| self.parts.iter().find(|(place, _)| **place == key));
                let found = found.or_else(|| self.parts.iter().find(|((owner, _), part)| is_same(*owner, part)));
                let found = found.map(|(place, _)| place.clone());
                let mut part = found.and_then(|place| self.parts.remove(&place));
                part = part.filter(|part| keep != Some(0) && part.bytes.len() as u64 <= total);
                self.identities.insert((machine, sink), identity.clone());
                let there = self.there.get(&(machine, spec.destination.display().to_string()));
                let there = there.filter(|there| there.len() as u64 == total);
                if md5.is_some_and(|md5| there.is_some_and(|there| digest(there) == md5)) {
                    return Ok(SinkDone::Unchanged(Vec::new()));
                }
                let same_size = there.is_some();
                let bytes = part.as_ref().map_or(&[][..], |part| &part.bytes);
                let (received, md5) = (bytes.len() as u64, digest(bytes));
                if let Some(part) = part {
                    self.parts.insert(key, Part { identity, open_by: Some(sink), ..part });
                }
                Ok(SinkDone::Found { received, md5, pieces: String::new(), same_size })
            }
            SinkStep::Chunk { spec, json, base64, size, offset } => {
                let key = (machine, spec.token.to_string());
                let identity = self.identities.get(&(machine, sink)).cloned().flatten();
                let is_open = self.parts.get(&key).is_some_and(|part| part.open_by == Some(sink));
                if !is_open && offset.is_some() {
                    self.parts.remove(&key);
                }
                let new = || Part { identity, bytes: Vec::new(), open_by: None };
                let part = self.parts.entry(key).or_insert_with(new);
                part.open_by = Some(sink);
                let bytes = decode(&json[base64]).ok_or_else(|| failed("no base64".to_owned()))?;
                assert_eq!(bytes.len(), size);
                let here = part.bytes.len() as u64;
                match offset {
                    Some(offset) if offset + bytes.len() as u64 <= here && !bytes.is_empty() => {
                        return Ok(SinkDone::Repeated(here));
                    }
                    Some(offset) if offset != here => return Err(failed(format!("byte {offset} after {here}"))),
                    _ => part.bytes.extend(bytes),
                }
                Ok(SinkDone::Written(part.bytes.len() as u64))
            }
            SinkStep::End { spec, md5, .. } => {
                let part = self.parts.remove(&(machine, spec.token.to_string()));
                let bytes = part.map(|part| part.bytes).unwrap_or_default();
                if digest(&bytes) != md5 {
                    return Err(failed("the digest".to_owned()));
                }
                self.there.insert((machine, spec.destination.display().to_string()), bytes);
                Ok(SinkDone::Finished(Vec::new()))
            }
            SinkStep::Compare { .. } => Err(failed("no directory is copied".to_owned())),
            SinkStep::Keep | SinkStep::Discard => {
                let is_keep = step == SinkStep::Keep;
                for ((owner, _), part) in &mut self.parts {
                    if *owner == machine && part.open_by == Some(sink) && is_keep {
                        part.open_by = None;
                    }
                }
                self.parts.retain(|(owner, _), part| *owner != machine || part.open_by != Some(sink));
                Ok(SinkDone::Discarded)
            }
        }
    }
}

impl World {
    /// Sends a file through the central's REST API, or fetches it: one with a random number, or sometimes one that was
    /// copied before.
    pub fn copy(&mut self, target: u64) {
        let number = self.random.below(40);
        let action = if number % 4 == 3 { "fetch" } else { "remotecopy" };
        let body = format!(r#"{{"source":"/from/{number}","destination":"/to/{number}","cache_dir":"/cache"}}"#);
        self.call(&format!("/api/nodes/{target}/core/proxy/{action}"), &body);
    }

    /// Checks that what arrived is whole, and that what the rows report as arrived has arrived.
    pub fn check_files(&self, what: &str) {
        for ((machine, path), there) in &self.files.there {
            let number: u64 = path.rsplit('/').next().unwrap().parse().unwrap();
            assert!(*there == content(number), "{what}: {path} of machine {machine} is damaged");
        }
        let ended_well = |row: &&HistoryRow| row.code == Code::FINISHED_OK;
        let ended_well: Vec<_> =
            self.machines[0].disk.rows.iter().filter(ended_well).filter_map(|row| row.token.as_deref()).collect();
        for (machine, token) in self.files.parts.keys() {
            assert!(!ended_well.contains(&token.as_str()), "{what}: a part of {token} is left on machine {machine}");
        }
    }
}

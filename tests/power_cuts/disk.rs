//! The states that a power cut can leave on a disk.
//!
//! What was written and not synchronised may be there or not, each write for itself, whole or in pieces of a sector.
//! Names of a folder that was not synchronised are there up to any one of them. A synchronisation covers what ended
//! before it began.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::trace::{Act, Event, FileId, Trace};

const SECTOR: usize = 512;

/// Which of the things that were not synchronised are there.
#[derive(Clone, Copy, Debug)]
pub enum Left {
    Nothing,
    Everything,
    /// All but the last write, which is torn.
    TornLast,
    /// Writes, but no names.
    WritesOnly,
    /// Names, but no writes.
    NamesOnly,
    /// Any of them.
    Some,
}

pub const LEFT: [Left; 6] =
    [Left::Nothing, Left::Everything, Left::TornLast, Left::WritesOnly, Left::NamesOnly, Left::Some];

/// A cut before event number `cut`.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    pub at: usize,
    pub left: Left,
    pub seed: u64,
}

/// Numbers that look random and repeat.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }
}

/// A state: the folders and the content of each file.
pub struct State {
    pub folders: BTreeSet<PathBuf>,
    pub files: BTreeMap<PathBuf, Vec<u8>>,
}

impl State {
    /// The state after a cut.
    pub fn after(trace: &Trace, cut: Cut) -> Self {
        let done: Vec<&Event> = trace.events[..cut.at].iter().collect();
        let synced = Synced::of(&done);
        let mut numbers = Numbers(cut.seed);
        let mut files = trace.files.clone();
        let last_write = done.iter().rposition(|event| matches!(event.act, Act::Write { .. }) && !synced.has(event));
        let initial: Vec<FileId> = trace.names.values().copied().collect();
        for (id, file) in files.iter_mut().enumerate() {
            if !initial.contains(&id) {
                file.clear();
            }
        }
        let mut kept_names: BTreeMap<&Path, bool> = BTreeMap::new();
        let mut state = Self { folders: trace.folders_before(), files: BTreeMap::new() };
        let mut names = trace.names.clone();
        for (index, event) in done.iter().enumerate() {
            let is_safe = synced.has(event);
            match &event.act {
                Act::Write { file, at, bytes } => {
                    let sectors = match cut.left {
                        _ if is_safe => Sectors::All,
                        Left::Nothing | Left::NamesOnly => Sectors::None,
                        Left::Everything | Left::WritesOnly => Sectors::All,
                        Left::TornLast if Some(index) == last_write => Sectors::Before(numbers.below(64)),
                        Left::TornLast => Sectors::All,
                        Left::Some => [Sectors::None, Sectors::All, Sectors::Any][numbers.below(3)],
                    };
                    write(&mut files[*file], *at, bytes, sectors, &mut numbers);
                }
                Act::Truncate { file, len } => {
                    let is_there = is_safe
                        || match cut.left {
                            Left::Nothing | Left::NamesOnly => false,
                            Left::Some => numbers.below(2) == 0,
                            _ => true,
                        };
                    if is_there {
                        files[*file].resize(usize::try_from(*len).unwrap(), 0);
                    }
                }
                Act::Sync { .. } | Act::SyncFolder { .. } | Act::SyncAll => {}
                Act::MakeFolder { .. } | Act::Name { .. } | Act::Rename { .. } | Act::Remove { .. } => {
                    let folder = folder_of(&event.act);
                    let is_kept = kept_names.entry(folder).or_insert(true);
                    if !is_safe && *is_kept {
                        *is_kept = match cut.left {
                            Left::Nothing | Left::WritesOnly => false,
                            Left::Some => numbers.below(4) > 0,
                            _ => true,
                        };
                    }
                    if is_safe || *is_kept {
                        rename(&event.act, &mut names, &mut state.folders);
                    }
                }
            }
        }
        names.retain(|path, _| path.parent().is_some_and(|parent| state.has_folder(parent, &trace.root)));
        state.files = names.into_iter().map(|(path, file)| (path, files[file].clone())).collect();
        state
    }

    fn has_folder(&self, folder: &Path, root: &Path) -> bool {
        folder.ancestors().take_while(|folder| folder.starts_with(root)).all(|folder| self.folders.contains(folder))
    }

    /// Writes it below `to` instead of `root`.
    pub fn write(&self, root: &Path, to: &Path) {
        let _gone = fs::remove_dir_all(to);
        fs::create_dir_all(to).unwrap();
        for folder in &self.folders {
            fs::create_dir_all(to.join(folder.strip_prefix(root).unwrap())).unwrap();
        }
        for (path, bytes) in &self.files {
            let path = to.join(path.strip_prefix(root).unwrap());
            fs::write(&path, bytes).unwrap();
            // Modes are no part of the model; keys must not be open to others.
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
    }
}

impl Trace {
    fn folders_before(&self) -> BTreeSet<PathBuf> {
        let made: BTreeSet<&PathBuf> = self
            .events
            .iter()
            .filter_map(|event| match &event.act {
                Act::MakeFolder { path } => Some(path),
                _ => None,
            })
            .collect();
        self.folders.iter().filter(|folder| !made.contains(folder)).cloned().collect()
    }
}

#[derive(Clone, Copy)]
enum Sectors {
    None,
    All,
    Before(usize),
    Any,
}

/// Writes those sectors of a piece. Sectors are those of the file, as they are of the disk.
fn write(file: &mut Vec<u8>, at: u64, bytes: &[u8], sectors: Sectors, numbers: &mut Numbers) {
    let at = usize::try_from(at).unwrap();
    let mut done = 0;
    while done < bytes.len() {
        let position = at + done;
        let end = (bytes.len() - done).min(SECTOR - position % SECTOR) + done;
        let number = position / SECTOR - at / SECTOR;
        let is_there = match sectors {
            Sectors::None => false,
            Sectors::All => true,
            Sectors::Before(count) => number < count,
            Sectors::Any => numbers.below(2) == 0,
        };
        if is_there {
            let new_len = file.len().max(at + end);
            file.resize(new_len, 0);
            file[position..at + end].copy_from_slice(&bytes[done..end]);
        }
        done = end;
    }
}

fn rename(act: &Act, names: &mut BTreeMap<PathBuf, FileId>, folders: &mut BTreeSet<PathBuf>) {
    match act {
        Act::MakeFolder { path } => _ = folders.insert(path.clone()),
        Act::Name { path, file } => _ = names.insert(path.clone(), *file),
        Act::Rename { from, to } => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Act::Remove { path } => _ = names.remove(path),
        _ => {}
    }
}

fn folder_of(act: &Act) -> &Path {
    match act {
        Act::MakeFolder { path } | Act::Name { path, .. } | Act::Remove { path } | Act::Rename { to: path, .. } => {
            path.parent().unwrap()
        }
        Act::SyncFolder { folder } => folder,
        _ => Path::new(""),
    }
}

/// Until when each file and folder was synchronised.
struct Synced<'a> {
    files: BTreeMap<FileId, usize>,
    folders: BTreeMap<&'a Path, usize>,
    all: usize,
}

impl<'a> Synced<'a> {
    fn of(done: &[&'a Event]) -> Self {
        let mut synced = Self { files: BTreeMap::new(), folders: BTreeMap::new(), all: 0 };
        for event in done {
            match &event.act {
                Act::Sync { file } => _ = synced.files.insert(*file, event.began),
                Act::SyncFolder { folder } => _ = synced.folders.insert(folder.as_path(), event.began),
                Act::SyncAll => synced.all = event.began,
                _ => {}
            }
        }
        synced
    }

    /// Whether the act is on the disk for certain.
    fn has(&self, event: &Event) -> bool {
        let until = match &event.act {
            Act::Write { file, .. } | Act::Truncate { file, .. } => self.files.get(file),
            act => self.folders.get(folder_of(act)),
        };
        event.ended <= until.copied().unwrap_or(0).max(self.all)
    }
}

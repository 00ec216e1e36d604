//! `backup` and `restore`: the database, the keys, the added nodes and the configuration of a daemon in one file.

use std::fs;
use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::remote_arguments::BackupOptions;
use super::{fail, say};
use crate::config::{self, Config, joined};
use crate::edge::backup::{self, Item};
use crate::edge::{clock, history_store, system};

/// Maximum length of a passphrase in bytes, and the minimum.
const PASSPHRASE_MAX: u64 = 1_024;
const PASSPHRASE_MIN: usize = 8;

fn load(path: &Path) -> Result<Config, String> {
    config::load(path).map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        format!("{first}; 'stheno check --config {}' shows all", path.display())
    })
}

/// Reads a passphrase from standard input, one line.
fn passphrase() -> Result<Vec<u8>, String> {
    let input = std::io::stdin();
    if input.is_terminal() {
        eprint!("Passphrase (it is shown): ");
    }
    let mut line = Vec::new();
    let read = input.lock().take(PASSPHRASE_MAX).read_until(b'\n', &mut line);
    read.map_err(|error| format!("standard input cannot be read: {error}"))?;
    while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        line.pop();
    }
    if line.len() < PASSPHRASE_MIN {
        return Err(format!(
            "the passphrase needs {PASSPHRASE_MIN} characters at least; it is one line of standard input"
        ));
    }
    Ok(line)
}

/// The files beside the database, by their names in the archive, with their places.
fn parts(config: &Config) -> [(&'static str, PathBuf); 3] {
    [
        ("private-key", config.core.private_key.clone()),
        ("public-key", config.core.public_key.clone()),
        ("nodes", joined::path_of(&config.core.database)),
    ]
}

/// Runs `backup`.
pub(super) fn back_up(options: &BackupOptions) -> ExitCode {
    let done = load(&options.config).and_then(|config| {
        let passphrase = options.sealed.then(passphrase).transpose()?;
        let mut items: Vec<Item> =
            parts(&config).into_iter().map(|(name, path)| Item { name: name.to_owned(), path }).collect();
        let files = config.sources.files.iter().enumerate();
        items.extend(files.map(|(number, path)| Item { name: format!("configuration-{number}"), path: path.clone() }));
        if !config.core.database.exists() {
            return Err(format!("{} does not exist: there is nothing to back up", config.core.database.display()));
        }
        backup::write(&options.file, &config.core.database, &items, passphrase.as_deref())
    });
    match done {
        Ok(()) => say(&format!("{}\n", options.file.display())),
        Err(text) => fail(&text),
    }
}

/// Runs `restore`.
pub(super) fn restore(options: &BackupOptions) -> ExitCode {
    let done = load(&options.config).and_then(|config| {
        let database = &config.core.database;
        if let Some(process) = history_store::holder(database) {
            return Err(format!("process {process} uses {}: stop the daemon first", database.display()));
        }
        let sealed =
            backup::is_sealed(&options.file).map_err(|error| format!("{}: {error}", options.file.display()))?;
        let passphrase = sealed.then(passphrase).transpose()?;
        let mut aside = database.as_os_str().to_owned();
        aside.push(format!(".restore-{}", std::process::id()));
        let aside = PathBuf::from(aside);
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&aside);
        made.map_err(|error| format!("{}: cannot be made: {error}", aside.display()))?;
        let restored = put_back(options, &config, &aside, passphrase.as_deref());
        let _left_if_it_fails = fs::remove_dir_all(&aside);
        restored
    });
    match done {
        Ok(text) => say(&text),
        Err(text) => fail(&text),
    }
}

/// Unpacks into `aside`, checks the database and moves everything to its place. What is there is kept under another
/// name; it comes back if the restore fails half-way.
fn put_back(
    options: &BackupOptions,
    config: &Config,
    aside: &Path,
    passphrase: Option<&[u8]>,
) -> Result<String, String> {
    let names = backup::unpack(&options.file, aside, passphrase)?;
    history_store::look(&backup::unpacked(aside, "database")).map_err(|error| error.to_string())?;
    let wanted = [("database", config.core.database.clone())].into_iter().chain(parts(config));
    let wanted: Vec<_> = wanted.filter(|(name, _)| names.iter().any(|found| found == name)).collect();
    let mut moves = Moves::default();
    if let Err(text) = move_in(&mut moves, config, &wanted, aside) {
        return Err(format!("{text}; {}", moves.undo()));
    }
    let mut text = String::new();
    wanted.iter().for_each(|(name, path)| text.push_str(&format!("{name:<12} {}\n", path.display())));
    moves.kept.iter().for_each(|(_, path)| text.push_str(&format!("{:<12} {}\n", "kept", path.display())));
    Ok(text)
}

/// What a restore has changed so far.
#[derive(Default)]
struct Moves {
    /// Places, and the names under which what was there is kept.
    kept: Vec<(PathBuf, PathBuf)>,
    /// Places of new files.
    placed: Vec<PathBuf>,
}

impl Moves {
    /// Puts back what was there, the last move first; says so, or what could not be put back.
    fn undo(self) -> String {
        let mut failed = Vec::new();
        for path in self.placed.iter().rev() {
            if let Err(error) = fs::remove_file(path) {
                failed.push(format!("{} ({error})", path.display()));
            }
        }
        for (path, before) in self.kept.iter().rev() {
            let back = fs::rename(before, path).and_then(|()| system::sync_folder_of(path));
            if let Err(error) = back {
                failed.push(format!("{} from {} ({error})", path.display(), before.display()));
            }
        }
        if failed.is_empty() {
            return "what was there is in its place again, nothing was restored".to_owned();
        }
        format!("not put back, do it by hand: {}", failed.join(", "))
    }
}

/// Moves what is there aside and the unpacked files to their places. Each move is noted.
fn move_in(moves: &mut Moves, config: &Config, wanted: &[(&'static str, PathBuf)], aside: &Path) -> Result<(), String> {
    let owner = config.core.database.parent().and_then(|directory| fs::metadata(directory).ok());
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    // What belongs to the old database and the old key must not meet the new ones.
    let leftovers = ["-wal", "-shm", ".rotation.json"].map(|ending| with_ending(&config.core.database, ending));
    let replaced: Vec<&PathBuf> = wanted.iter().map(|(_, path)| path).chain(&leftovers).collect();
    let suffix = unused_suffix(&replaced);
    for path in replaced.into_iter().filter(|path| path.exists()) {
        let before = with_ending(path, &suffix);
        fs::rename(path, &before).map_err(|error| failed(path, error))?;
        moves.kept.push((path.clone(), before));
    }
    for (name, path) in wanted {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(|error| failed(path, error))?;
        }
        let from = backup::unpacked(aside, name);
        // Keys may be on another file system.
        fs::rename(&from, path).or_else(|_| copy(&from, path)).map_err(|error| failed(path, error))?;
        moves.placed.push(path.clone());
        if let Some(owner) = owner.as_ref().filter(|owner| fs::metadata(path).is_ok_and(|new| new.uid() != owner.uid()))
        {
            let _not_root = chown(path, Some(owner.uid()), Some(owner.gid()));
        }
        system::sync_folder_of(path).map_err(|error| failed(path, error))?;
    }
    Ok(())
}

/// Copies a file to another file system, whole or not at all.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let aside = with_ending(to, ".new");
    fs::copy(from, &aside)?;
    fs::File::open(&aside)?.sync_all()?;
    fs::rename(&aside, to)
}

/// Returns an ending by which none of the paths stands there yet, so that nothing that was kept before is replaced.
fn unused_suffix(paths: &[&PathBuf]) -> String {
    let mut suffix = format!(".before-restore-{}", clock::wall().as_seconds());
    while paths.iter().any(|path| with_ending(path, &suffix).exists()) {
        suffix.push_str("-again");
    }
    suffix
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

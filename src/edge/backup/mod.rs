//! A backup of a daemon: a gzipped archive of its database, keys, added nodes and configuration, sealed by a passphrase
//! if wanted.
//!
//! The database is copied while the daemon goes on: `VACUUM INTO` reads one state of it. Out of scope: where the files
//! belong (the subcommand).

mod sealing;

use super::system;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use rusqlite::{Connection, OpenFlags};

use sealing::{MAGIC, Opener, Sealer};

/// The backup and everything in it is for its owner.
const MODE: u32 = 0o600;
/// Maximum number of entries that are read.
const ENTRIES_MAX: usize = 10_000;
/// Maximum length of the name of an entry.
const NAME_MAX: usize = 255;

/// One file to back up, by its name in the archive.
pub struct Item {
    /// Name in the archive, such as `database` or `configuration-1`.
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Copies the database as it is at one moment.
fn copy_database(database: &Path, to: &Path) -> Result<(), String> {
    let failed = |error: rusqlite::Error| format!("{}: cannot be copied: {error}", database.display());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags).map_err(failed)?;
    connection.busy_timeout(std::time::Duration::from_secs(30)).map_err(failed)?;
    connection.execute("VACUUM INTO ?1", [to.to_string_lossy()]).map(drop).map_err(failed)
}

/// Writes a backup of `database` and `items` to the new file `to`, sealed if there is a passphrase.
///
/// # Errors
/// A sentence; then there is no file `to`.
pub fn write(to: &Path, database: &Path, items: &[Item], passphrase: Option<&[u8]>) -> Result<(), String> {
    if to.exists() {
        return Err(format!("{} is there already: give another name", to.display()));
    }
    let (aside, copy) = (beside(to, ".new"), beside(to, ".database"));
    let written = copy_database(database, &copy).and_then(|()| {
        let archived = archive(&aside, &copy, items, passphrase)
            .and_then(|()| fs::rename(&aside, to))
            .and_then(|()| system::sync_folder_of(to));
        archived.map_err(|error| format!("{}: cannot be written: {error}", to.display()))
    });
    for left in [&copy, &aside] {
        let _gone_already = fs::remove_file(left);
    }
    written
}

fn archive(aside: &Path, copy: &Path, items: &[Item], passphrase: Option<&[u8]>) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(aside)?;
    let mut file = BufWriter::new(file);
    match passphrase {
        None => put(&mut file, copy, items)?,
        Some(passphrase) => {
            let mut sealer = Sealer::new(&mut file, passphrase)?;
            put(&mut sealer, copy, items)?;
            sealer.finish()?;
        }
    }
    file.into_inner().map_err(|error| error.into_error())?.sync_all()
}

fn put(out: &mut dyn Write, copy: &Path, items: &[Item]) -> io::Result<()> {
    let mut builder = tar::Builder::new(GzEncoder::new(out, Compression::default()));
    let database = Item { name: "database".to_owned(), path: copy.to_owned() };
    for item in [&database].into_iter().chain(items) {
        let mut file = match File::open(&item.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io::Error::other(format!("{}: {error}", item.path.display()))),
        };
        let mut header = tar::Header::new_gnu();
        header.set_size(file.metadata()?.len());
        header.set_mode(MODE);
        header.set_mtime(0);
        builder.append_data(&mut header, &item.name, &mut file)?;
    }
    builder.into_inner()?.finish().map(drop)
}

/// Whether a file is a sealed backup.
///
/// # Errors
/// It cannot be read.
pub fn is_sealed(path: &Path) -> io::Result<bool> {
    let mut begin = Vec::new();
    File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut begin)?;
    Ok(begin == MAGIC)
}

/// Unpacks a backup into the new directory `into`: one file for each entry, `/` in names replaced by `_`. Returns their
/// names in the archive.
///
/// # Errors
/// A sentence: a wrong passphrase, a file that is damaged or no backup. What was unpacked is left for the caller.
pub fn unpack(from: &Path, into: &Path, passphrase: Option<&[u8]>) -> Result<Vec<String>, String> {
    let failed = |error: io::Error| format!("{}: {error}", from.display());
    let mut file = BufReader::new(File::open(from).map_err(failed)?);
    match passphrase {
        None => take_out(&mut file, into).map_err(failed),
        Some(passphrase) => {
            file.seek(SeekFrom::Start(MAGIC.len() as u64)).map_err(failed)?;
            let mut opener = Opener::new(file, passphrase).map_err(failed)?;
            let names = take_out(&mut opener, into).map_err(failed)?;
            // The last piece tells whether the file is whole.
            io::copy(&mut opener, &mut io::sink()).map_err(failed)?;
            Ok(names)
        }
    }
}

/// The file of an entry below the directory that [`unpack`] was given.
#[must_use]
pub fn unpacked(into: &Path, name: &str) -> PathBuf {
    into.join(name.replace('/', "_"))
}

fn take_out(from: &mut dyn Read, into: &Path) -> io::Result<Vec<String>> {
    let mut archive = tar::Archive::new(GzDecoder::new(from));
    let mut names = Vec::new();
    let no_backup = |error: io::Error| io::Error::other(format!("is not a backup, or is damaged: {error}"));
    for entry in archive.entries().map_err(no_backup)? {
        let mut entry = entry.map_err(no_backup)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-.".contains(&byte));
        if !is_plain || name.len() > NAME_MAX || name.contains("..") || names.len() >= ENTRIES_MAX {
            return Err(io::Error::other("is not a backup of this program: it has an entry with another name"));
        }
        let path = unpacked(into, &name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
        io::copy(&mut entry, &mut file).map_err(no_backup)?;
        file.sync_all()?;
        names.push(name);
    }
    if names.iter().any(|name| name == "database") {
        Ok(names)
    } else {
        Err(io::Error::other("is not a backup of this program: it has no database"))
    }
}

#[cfg(test)]
mod tests;

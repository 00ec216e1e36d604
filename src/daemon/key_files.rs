//! The key pair of this daemon on disk (docs/protocol.md section 3): it is loaded, or generated if both files are
//! missing.
//!
//! The format of keys is in `wire::gorgone::keys`. Everything here blocks and may take seconds, so it runs before the
//! event loop.

use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::edge::system;
use crate::model::random::Random;
use crate::wire::gorgone::keys::{KeyError, MAX_PEM_LEN, PrivateKey, PublicKey};

/// File name of the private key in the original's packages.
pub const PRIVATE_NAME: &str = "rsakey.priv.pem";
/// File name of the public key in the original's packages.
pub const PUBLIC_NAME: &str = "rsakey.pub.pem";
/// Size of the modulus of a generated key in bits.
pub const DEFAULT_BITS: usize = 2_048;

/// Permission bits that let users other than the owner write a file.
const WRITABLE: u32 = 0o022;
const READABLE: u32 = 0o044;
const PRIVATE_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o640;
const DIRECTORY_MODE: u32 = 0o750;

/// The keys of this daemon. It has no `Debug`, so that the private key is never printed.
pub struct KeyPair {
    pub private: PrivateKey,
    /// Its public half.
    pub public: PublicKey,
    /// Origin of the keys, for the log.
    pub origin: KeyOrigin,
}

/// Origin of a key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOrigin {
    /// Both files existed.
    Loaded,
    /// The public file was missing and was written again.
    PublicWritten,
    /// Both files were missing; a new pair was generated.
    Generated,
}

/// State of the key files, as [`inspect`] finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Both files are missing; a start generates them.
    Absent,
    /// The private key is usable.
    Present {
        /// Modulus in bits.
        bits: usize,
        /// RFC 7638 thumbprint of the public half.
        thumbprint: String,
        /// Whether the public file is missing: a start writes it.
        public_is_missing: bool,
    },
}

/// Why a key file cannot be used.
#[derive(Debug)]
pub struct KeyFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: KeyFault,
}

/// What is wrong with a key file.
#[derive(Debug)]
pub enum KeyFault {
    /// The private key is missing, but its public half, the named file, exists.
    PrivateMissing(PathBuf),
    /// Users other than the owner may write the file; with its mode.
    TooOpen(u32),
    /// The public key does not belong to the private key in the named file.
    Mismatch(PathBuf),
    /// A new key would overwrite the existing file.
    AlreadyThere,
    /// The content is not a usable key.
    Content(KeyError),
    /// The file cannot be read.
    Read(io::Error),
    /// The file cannot be written.
    Write(io::Error),
}

impl fmt::Display for KeyFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PrivateMissing(public) => write!(
                formatter,
                "the private key is missing, but its public half {0} is there; restore the private key, or remove {0} \
                    so that a new \
                 pair is made (peers must then be told the new thumbprint)",
                public.display()
            ),
            Self::TooOpen(mode) => {
                write!(formatter, "others can replace this private key (mode {mode:04o}); chmod 600 it")
            }
            Self::Mismatch(private) => write!(
                formatter,
                "does not belong to the private key {}; restore the right file, or remove this one so that it is \
                    written again",
                private.display()
            ),
            Self::AlreadyThere => formatter.write_str("is already there; nothing was changed"),
            Self::Content(error) => error.fmt(formatter),
            Self::Read(error) if error.kind() == std::io::ErrorKind::NotFound => {
                formatter.write_str("there is no such file; make a pair with `stheno keys generate DIR`")
            }
            Self::Read(error) => write!(formatter, "cannot be read by this user: {error}"),
            Self::Write(error) => write!(formatter, "cannot be written: {error}"),
        }
    }
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path.display(), self.fault)
    }
}

impl std::error::Error for KeyFileError {}

impl KeyFault {
    fn of(self, path: &Path) -> KeyFileError {
        KeyFileError { path: path.to_path_buf(), fault: self }
    }
}

/// Loads the pair. If both files are missing it generates a pair of [`DEFAULT_BITS`]; if only the public file is
/// missing it writes that.
///
/// # Errors
/// [`KeyFileError`], which names the file and the remedy.
pub fn load_or_create(private: &Path, public: &Path, random: &mut dyn Random) -> Result<KeyPair, KeyFileError> {
    match read_pair(private, public)? {
        Found::Nothing => {
            let key = generate(private, public, DEFAULT_BITS, random)?;
            Ok(KeyPair { public: key.public(), private: key, origin: KeyOrigin::Generated })
        }
        Found::Private(key) => {
            write_whole(public, key.public().to_pem().as_bytes(), PUBLIC_MODE)?;
            Ok(KeyPair { public: key.public(), private: key, origin: KeyOrigin::PublicWritten })
        }
        Found::Both(key) => Ok(KeyPair { public: key.public(), private: key, origin: KeyOrigin::Loaded }),
    }
}

/// Loads an existing pair, of which the private file is enough; `None` if there is none. Changes nothing.
///
/// # Errors
/// As [`load_or_create`].
pub fn load(private: &Path) -> Result<Option<KeyPair>, KeyFileError> {
    let key = read_private(private)?;
    Ok(key.map(|key| KeyPair { public: key.public(), private: key, origin: KeyOrigin::Loaded }))
}

/// Returns what [`load_or_create`] would find, without changing anything.
///
/// # Errors
/// The errors of [`load_or_create`], except those of writing.
pub fn inspect(private: &Path, public: &Path) -> Result<KeyState, KeyFileError> {
    let (key, public_is_missing) = match read_pair(private, public)? {
        Found::Nothing => return Ok(KeyState::Absent),
        Found::Private(key) => (key, true),
        Found::Both(key) => (key, false),
    };
    let bits = key.encrypted_len().saturating_mul(8);
    Ok(KeyState::Present { bits, thumbprint: key.public().thumbprint(), public_is_missing })
}

/// The file in which the next private key waits.
#[must_use]
pub fn next_of(private: &Path) -> PathBuf {
    let mut name = private.as_os_str().to_owned();
    name.push(".next");
    name.into()
}

/// Generates the next private key, beside the one in use, and returns its thumbprint. One that waits already is
/// replaced.
///
/// # Errors
/// [`KeyFileError`], which names the file and the remedy.
pub fn generate_next(private: &Path, random: &mut dyn Random) -> Result<String, KeyFileError> {
    let next = next_of(private);
    let content = |error| KeyFault::Content(error).of(&next);
    let bits = read_private(private)?.map_or(DEFAULT_BITS, |key| key.encrypted_len().saturating_mul(8));
    let key = PrivateKey::generate(bits.max(DEFAULT_BITS), random).map_err(content)?;
    let pem = key.to_pkcs1_pem().map_err(content)?;
    write_whole(&next, pem.as_bytes(), PRIVATE_MODE)?;
    Ok(key.public().thumbprint())
}

/// Puts the next key, of this thumbprint, in the place of the private key. The public file is removed first: a start
/// after a crash in between finds one of the two private keys and writes its public half.
///
/// # Errors
/// [`KeyFileError`], which names the file and the remedy. The old or the new pair is in place.
pub fn switch(private: &Path, public: &Path, thumbprint: &str) -> Result<KeyPair, KeyFileError> {
    let next = next_of(private);
    let is_wanted = |key: &PrivateKey| key.public().thumbprint() == thumbprint;
    // After a crash it may be in its place.
    let is_there = read_private(private)?.is_some_and(|key| is_wanted(&key));
    if !is_there {
        read_private(&next)?.filter(is_wanted).ok_or_else(|| {
            KeyFault::Read(io::Error::other(format!("it is not the key {thumbprint} that was announced"))).of(&next)
        })?;
        match fs::remove_file(public) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(KeyFault::Write(error).of(public)),
            _ => {}
        }
        let moved = fs::rename(&next, private).and_then(|()| system::sync_folder_of(private));
        moved.map_err(|error| KeyFault::Write(error).of(private))?;
    }
    let key = read_private(private)?.ok_or_else(|| KeyFault::Read(io::ErrorKind::NotFound.into()).of(private))?;
    write_whole(public, key.public().to_pem().as_bytes(), PUBLIC_MODE)?;
    Ok(KeyPair { public: key.public(), private: key, origin: KeyOrigin::Loaded })
}

/// A warning about a usable private key that others may read. The original's own script creates such files under the
/// usual umask.
#[must_use]
pub fn warning(private: &Path) -> Option<String> {
    let mode = fs::metadata(private).ok()?.mode() & 0o7777;
    let shown = private.display();
    (mode & READABLE != 0).then(|| format!("others can read this private key (mode {mode:04o}); chmod 600 {shown}"))
}

/// Generates a pair of `bits` (2048 to 4096) in `directory` under the usual names and returns its thumbprint.
///
/// # Errors
/// [`KeyFileError`]; existing files are never overwritten.
pub fn generate_in(directory: &Path, bits: usize, random: &mut dyn Random) -> Result<String, KeyFileError> {
    let (private, public) = (directory.join(PRIVATE_NAME), directory.join(PUBLIC_NAME));
    Ok(generate(&private, &public, bits, random)?.public().thumbprint())
}

/// Returns the thumbprint of a private or public key file.
///
/// # Errors
/// [`KeyFileError`] if the file holds neither.
pub fn thumbprint_of(path: &Path) -> Result<String, KeyFileError> {
    let bytes = read_bounded(path).map_err(|error| KeyFault::Read(error).of(path))?;
    let public = match PrivateKey::from_pem(&bytes) {
        Ok(private) => Ok(private.public()),
        Err(KeyError::OnlyPublic) => PublicKey::from_pem(&bytes),
        Err(error) => Err(error),
    };
    public.map(|key| key.thumbprint()).map_err(|error| KeyFault::Content(error).of(path))
}

enum Found {
    Nothing,
    Private(PrivateKey),
    Both(PrivateKey),
}

fn read_pair(private: &Path, public: &Path) -> Result<Found, KeyFileError> {
    let private_key = match read_private(private)? {
        Some(key) => key,
        None if exists(public)? => return Err(KeyFault::PrivateMissing(public.to_path_buf()).of(private)),
        None => return Ok(Found::Nothing),
    };
    if !exists(public)? {
        return Ok(Found::Private(private_key));
    }
    let bytes = read_bounded(public).map_err(|error| KeyFault::Read(error).of(public))?;
    let public_key = PublicKey::from_pem(&bytes).map_err(|error| KeyFault::Content(error).of(public))?;
    if public_key != private_key.public() {
        return Err(KeyFault::Mismatch(private.to_path_buf()).of(public));
    }
    Ok(Found::Both(private_key))
}

fn read_private(path: &Path) -> Result<Option<PrivateKey>, KeyFileError> {
    if !exists(path)? {
        return Ok(None);
    }
    let mode = fs::metadata(path).map_err(|error| KeyFault::Read(error).of(path))?.mode() & 0o7777;
    if mode & WRITABLE != 0 {
        return Err(KeyFault::TooOpen(mode).of(path));
    }
    let bytes = read_bounded(path).map_err(|error| KeyFault::Read(error).of(path))?;
    PrivateKey::from_pem(&bytes).map(Some).map_err(|error| KeyFault::Content(error).of(path))
}

fn exists(path: &Path) -> Result<bool, KeyFileError> {
    path.try_exists().map_err(|error| KeyFault::Read(error).of(path))
}

/// Reads at most one byte more than a key may have, so that a longer file is detected without reading all of it.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let limit = u64::try_from(MAX_PEM_LEN).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Generates a pair and writes it, the private key first: after a crash in between, the next start writes the public
/// one.
fn generate(private: &Path, public: &Path, bits: usize, random: &mut dyn Random) -> Result<PrivateKey, KeyFileError> {
    for path in [private, public] {
        if exists(path)? {
            return Err(KeyFault::AlreadyThere.of(path));
        }
    }
    // A directory that cannot be created should be reported before seconds are spent on the key.
    for path in [private, public] {
        make_directory(path)?;
    }
    let content = |error| KeyFault::Content(error).of(private);
    let key = PrivateKey::generate(bits, random).map_err(content)?;
    let pem = key.to_pkcs1_pem().map_err(content)?;
    write_whole(private, pem.as_bytes(), PRIVATE_MODE)?;
    write_whole(public, key.public().to_pem().as_bytes(), PUBLIC_MODE)?;
    Ok(key)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn make_directory(path: &Path) -> Result<(), KeyFileError> {
    let directory = parent(path);
    let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory);
    made.map_err(|error| KeyFault::Write(error).of(path))
}

/// Writes a file atomically: afterwards it is complete and has its mode, or it does not exist.
fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyFileError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let aside = PathBuf::from(name);
    let written = write_aside(&aside, bytes, mode).and_then(|()| fs::rename(&aside, path));
    if let Err(error) = written {
        let _ = fs::remove_file(&aside);
        return Err(KeyFault::Write(error).of(path));
    }
    system::sync_folder_of(path).map_err(|error| KeyFault::Write(error).of(path))
}

fn write_aside(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The umask reduces the mode given at creation, but not this one.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests;

//! Reads files and resolves `!include` (docs/protocol.md section 14). It limits depth, number of files and size, and
//! detects cycles.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::findings::Findings;
use super::sources::Sources;
use super::tree::{Node, Place, Value};
use super::vault::VaultReference;
use super::{wildcard, yaml};
use crate::model::text::quoted;

/// Maximum depth of nested includes.
const DEPTH_LIMIT: usize = 16;
/// Maximum number of files of a configuration.
const FILE_LIMIT: usize = 1_000;
/// Maximum size in bytes of all files of a configuration.
const SIZE_LIMIT: u64 = 8 << 20;

/// Reads files, and counts them so that the limits apply to all of them together.
#[derive(Debug, Default)]
pub(super) struct Loader {
    /// The files being read, outermost first, each as given and in canonical form.
    open: Vec<(PathBuf, PathBuf)>,
    files: usize,
    bytes: u64,
    sources: Sources,
    /// The secrets of the vault that nodes of the register file wait for.
    waiting: BTreeSet<VaultReference>,
}

/// The place of an `!include`, and its key in the whole configuration.
struct Site<'a> {
    place: &'a Place,
    key: &'a str,
}

impl Loader {
    /// The set of missing secrets of the vault, to add to.
    pub(super) const fn waiting(&mut self) -> &mut BTreeSet<VaultReference> {
        &mut self.waiting
    }

    /// The secrets of the vault that nodes of the register file wait for.
    pub(super) fn take_waiting(&mut self) -> BTreeSet<VaultReference> {
        std::mem::take(&mut self.waiting)
    }

    /// Takes the list of the files read so far.
    pub(super) fn take_sources(&mut self) -> Sources {
        std::mem::take(&mut self.sources)
    }

    /// Reads `path` and everything that it includes; `None` after a problem with the file itself. `key` is the position
    /// of the values in the whole configuration, for messages.
    pub(super) fn read(&mut self, path: &Path, key: &str, findings: &mut Findings) -> Option<Node> {
        let bytes = self.read_bytes(path).map_err(|text| findings.problem(&Place::file(path), "", text)).ok()?;
        self.parse(path, key, &bytes, findings)
    }

    fn parse(&mut self, path: &Path, key: &str, bytes: &[u8], findings: &mut Findings) -> Option<Node> {
        let file: Rc<Path> = Rc::from(path);
        let whole = Place { file: Rc::clone(&file), line: 0 };
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        self.open.push((path.to_path_buf(), canonical));
        let parsed = yaml::parse(&file, bytes, &mut |tag, place, below| {
            self.resolve(tag, &Site { place, key: &yaml::join(key, below) }, findings)
        });
        self.open.pop();
        match parsed {
            Ok(node) => {
                warn_of_open_secrets(&whole, &node, findings);
                Some(node)
            }
            Err(fault) => {
                findings.problem(&Place { file, line: fault.line }, "", fault.text);
                None
            }
        }
    }

    fn read_bytes(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        if self.files >= FILE_LIMIT {
            return Err(format!("more than {FILE_LIMIT} files are included"));
        }
        self.files = self.files.saturating_add(1);
        self.sources.files.push(path.to_path_buf());
        let cannot = |error: io::Error| format!("cannot be read: {}", reason(&error));
        // Without `O_NONBLOCK`, opening a pipe without a writer would block for ever.
        let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(cannot)?;
        let kind = file.metadata().map_err(cannot)?.file_type();
        if kind.is_dir() {
            return Err("is a directory, not a file".to_owned());
        }
        if !kind.is_file() {
            return Err("is not a regular file".to_owned());
        }
        let left = SIZE_LIMIT.saturating_sub(self.bytes);
        let mut bytes = Vec::new();
        file.take(left.saturating_add(1)).read_to_end(&mut bytes).map_err(cannot)?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if length > left {
            return Err(format!("is too big: all files together may hold {SIZE_LIMIT} bytes"));
        }
        self.bytes = self.bytes.saturating_add(length);
        Ok(bytes)
    }

    fn resolve(&mut self, tag: &yaml::Tag<'_>, site: &Site<'_>, findings: &mut Findings) -> Option<Node> {
        if tag.name != "include" {
            let name = quoted(&format!("!{}", tag.name));
            findings.problem(site.place, site.key, format!("the tag {name} is unknown; only '!include' is"));
            return None;
        }
        let Some(text) = tag.text.map(str::trim).filter(|text| !text.is_empty()) else {
            let text = "'!include' needs a path, or several with commas between them";
            findings.problem(site.place, site.key, text);
            return None;
        };
        let mut merged: Option<Node> = None;
        for path in text.split(',').map(str::trim).filter(|path| !path.is_empty()) {
            for (file, caught) in self.files_of(path, site, findings) {
                if let Some(node) = self.include(&file, site, findings) {
                    add(&mut merged, node, caught, site, findings);
                }
            }
        }
        merged
    }

    /// Returns the files of one path, each with whether it was matched by a wildcard.
    fn files_of(&mut self, path: &str, site: &Site<'_>, findings: &mut Findings) -> Vec<(PathBuf, bool)> {
        let directory = site.place.file.parent().unwrap_or(Path::new(""));
        if !wildcard::is_pattern(path) {
            return vec![(directory.join(path), false)];
        }
        self.sources.patterns.push(directory.join(path));
        match wildcard::expand(directory, path, FILE_LIMIT) {
            Ok(files) => {
                if files.is_empty() {
                    warn_of_no_file(directory, path, site, findings);
                }
                files.into_iter().map(|file| (file, true)).collect()
            }
            Err((directory, error)) => {
                let text = format!("'!include {path}': {} cannot be read: {}", directory.display(), reason(&error));
                findings.problem(site.place, site.key, text);
                Vec::new()
            }
        }
    }

    fn include(&mut self, path: &Path, site: &Site<'_>, findings: &mut Findings) -> Option<Node> {
        if !path.exists() {
            let text = format!("'!include': there is no file {}", path.display());
            findings.problem(site.place, site.key, text);
            return None;
        }
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        if let Some(start) = self.open.iter().position(|(_, open)| *open == canonical) {
            let mut chain: Vec<String> =
                self.open.iter().skip(start).map(|(file, _)| file.display().to_string()).collect();
            chain.push(path.display().to_string());
            findings.problem(site.place, site.key, format!("'!include' is circular: {}", chain.join(" -> ")));
            return None;
        }
        if self.open.len() >= DEPTH_LIMIT {
            let text = format!("'!include' of {}: files include files more than {DEPTH_LIMIT} deep", path.display());
            findings.problem(site.place, site.key, text);
            return None;
        }
        match self.read_bytes(path) {
            Ok(bytes) => self.parse(path, site.key, &bytes, findings),
            Err(text) => {
                let text = format!("'!include': the file {} {text}", path.display());
                findings.problem(site.place, site.key, text);
                None
            }
        }
    }
}

/// Warns that a wildcard matches no file. The message names a missing directory, which is probably a typing error; an
/// empty one is usual after the installation of packages.
fn warn_of_no_file(directory: &Path, pattern: &str, site: &Site<'_>, findings: &mut Findings) {
    let looked_in = directory.join(pattern);
    let missing = looked_in.ancestors().skip(1).take_while(|place| !wildcard::is_pattern(&place.to_string_lossy()));
    let missing = missing.filter(|place| !place.as_os_str().is_empty() && !place.exists()).last();
    let why = missing.map(|place| format!("; there is no directory {}", place.display())).unwrap_or_default();
    let text = format!("'!include {pattern}' finds no file{why}; relative to the directory of the file that includes");
    findings.warning(site.place, site.key, text);
}

/// Merges the value of one included file. A file that was matched by a wildcard is left out if its value has the wrong
/// type for the place.
fn add(merged: &mut Option<Node>, node: Node, caught: bool, site: &Site<'_>, findings: &mut Findings) {
    if node.value == Value::Null {
        return;
    }
    let wanted = wanted_kind(site.key).or_else(|| merged.as_ref().map(|node| node.value.kind()));
    match wanted {
        Some(wanted) if wanted != node.value.kind() => {
            let text = format!("holds {} where '{}' needs {wanted}", node.value.kind(), site.key);
            if caught {
                findings.warning(&node.place, "", format!("{text}; left out"));
            } else {
                findings.problem(&node.place, "", text);
            }
        }
        _ => match merged {
            Some(merged) => merged.merge(node),
            None => *merged = Some(node),
        },
    }
}

/// The required type of the value at `key`, if known.
fn wanted_kind(key: &str) -> Option<&'static str> {
    match key.rsplit('.').next().unwrap_or(key) {
        "" | "configuration" | "gorgone" | "gorgonecore" | "centreon" | "database" => Some("a map"),
        "modules" | "allowed_cmds" | "cron" | "authorized_clients" | "nodes" | "subnets" | "tpapi" => Some("a list"),
        _ => None,
    }
}

/// Warns of files with passwords that every user of the machine can read.
fn warn_of_open_secrets(place: &Place, node: &Node, findings: &mut Findings) {
    let path = &*place.file;
    let Ok(metadata) = fs::metadata(path) else { return };
    let mode = metadata.mode() & 0o7777;
    if mode & 0o004 == 0 {
        return;
    }
    if let Some(key) = first_secret(node, path) {
        let shown = path.display();
        let text = format!("holds '{key}' and every user can read it (mode {mode:04o}); chmod o-rwx {shown}");
        findings.warning(place, "", text);
    }
}

/// Returns the first key in `file` itself that holds a secret.
fn first_secret<'a>(node: &'a Node, file: &Path) -> Option<&'a str> {
    const SECRETS: [&str; 5] = ["password", "ssh_password", "gorgone_db_password", "token", "passphrase"];
    match &node.value {
        Value::List(items) => items.iter().find_map(|item| first_secret(item, file)),
        Value::Map(entries) => entries.iter().find_map(|(key, below)| match &below.value {
            Value::Text(text) if SECRETS.contains(&&**key) && !text.is_empty() && *below.place.file == *file => {
                Some(&**key)
            }
            _ => first_secret(below, file),
        }),
        _ => None,
    }
}

/// Returns the message of a system error, without its number.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied; the user that runs the daemon needs to read it".to_owned()
        }
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or(&text).to_lowercase()
        }
    }
}

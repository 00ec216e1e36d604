//! The file of the module `register`: nodes that the administrator lists (docs/protocol.md section 5).

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config::findings::{Findings, Problem};
use crate::config::include::Loader;
use crate::config::node_entry::{Fault, NodeEntry, PATHS, SECRETS, WORDS};
use crate::config::options::{Options, options};
use crate::config::section::{Section, refuse};
use crate::config::tree::{Node, Place, Value};
use crate::config::{vault, waiting};
use crate::model::node_id::NodeId;
use crate::model::registration::Registration;
use crate::model::ssh::SshTarget;

options! {
    REGISTER = "register" in "the module 'register'" { "config_file" } unused {}
    REGISTER_FILE = "register file" in "the register file" { "nodes" } unused { "name", "description" }
    NODE = "register node" in "an entry of 'nodes' of the register file" {
        "id", "uid", "type", "address", "port", "link", "prevail", "nodes", "ssh_port", "strict_serverkey_check",
        "ssh_username", "ssh_password",
        "ssh_directory", "ssh_known_hosts", "ssh_identity", "ssh_passphrase", "ssh_connect_timeout",
        "ssh_legacy_algorithms",
    } unused {
        "name", "identity", "server_pubkey", "client_pubkey", "client_privkey", "cipher", "keysize", "vector",
        "ssh_*",
    }
    SUBNODE = "register subnode" in "an entry of 'nodes' of a node" { "id", "uid", "pathscore" } unused { "name" }
}

/// Options of the module `register`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterSettings {
    /// `config_file`: the path of the register file.
    pub file: PathBuf,
    /// The nodes that the file lists.
    pub nodes: Vec<Registration>,
}

/// Reads the options of the module and the file that they name. `None` without `config_file`: the original's packages
/// omit it if nodes come from the database.
pub(super) fn read(
    section: Section<'_>,
    own: Option<NodeId>,
    loader: &mut Loader,
    findings: &mut Findings,
) -> Option<RegisterSettings> {
    let Some((name, declared_in)) = section.text("config_file", findings) else {
        let key = section.path("config_file");
        findings.warning(
            section.place(),
            &key,
            "is missing, so the module is not loaded; allowed: the path of a file with 'nodes:'",
        );
        return None;
    };
    let key = section.path("config_file");
    // The original uses its working directory, which depends on the service manager.
    let beside = declared_in.beside(name);
    let Some(file) = [beside.clone(), PathBuf::from(name)].into_iter().find(|file| file.exists()) else {
        findings.problem(declared_in, &key, format!("there is no file {}", beside.display()));
        return None;
    };
    let nodes = read_nodes(&file, own, loader, findings)?;
    Some(RegisterSettings { file, nodes })
}

/// Reads the file again for a running daemon; returns its nodes and warnings.
///
/// # Errors
/// All problems that were found. The nodes of a file with a problem are not used.
pub fn reload(file: &Path, own: Option<NodeId>) -> Result<(Vec<Registration>, Vec<Problem>), Vec<Problem>> {
    let mut findings = Findings::default();
    let nodes = read_nodes(file, own, &mut Loader::default(), &mut findings);
    let (problems, warnings) = findings.into_parts();
    match nodes {
        Some(nodes) if problems.is_empty() => Ok((nodes, warnings)),
        _ => Err(problems),
    }
}

fn read_nodes(
    file: &Path,
    own: Option<NodeId>,
    loader: &mut Loader,
    findings: &mut Findings,
) -> Option<Vec<Registration>> {
    let mut tree = loader.read(file, "", findings)?;
    vault::resolve(&mut tree);
    let top = Section::new(Some(&tree), &tree.place, "", &REGISTER_FILE, findings);
    let Some(items) = top.items("nodes", findings) else {
        if tree.get("nodes").is_none() {
            findings.problem(
                &Place::file(file),
                "nodes",
                "is missing; allowed: a list of nodes, each beginning with '- id:'",
            );
        }
        return Some(Vec::new());
    };
    let mut nodes: Vec<Registration> = Vec::with_capacity(items.len());
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let key = format!("nodes[{index}]");
        if waiting::waits(item, &key, loader.waiting(), findings) {
            continue;
        }
        let Some(node) = read_node(item, &key, findings) else { continue };
        if !seen.insert(node.id) {
            findings.problem(
                &item.place,
                &format!("{key}.id"),
                format!("{} is listed twice; each node needs its own id", node.id),
            );
        } else if own == Some(node.id) {
            let text =
                format!("{} is the id of this daemon itself ('gorgonecore.id'), so the entry has no effect", node.id);
            findings.warning(&item.place, &format!("{key}.id"), text);
        } else {
            nodes.push(node);
        }
    }
    Some(nodes)
}

fn read_node(item: &Node, key: &str, findings: &mut Findings) -> Option<Registration> {
    let section = Section::new(Some(item), &item.place, key, &NODE, findings);
    if !matches!(item.value, Value::Map(_)) {
        return None;
    }
    let mut entry = entry_of(&section, &WORDS, findings);
    for field in SECRETS {
        entry.put(field, section.exact(field, findings).map_or("", |(text, _)| text));
    }
    entry.put("link", section.text("link", findings).map_or("", |(text, _)| text));
    let is_ssh = entry.text("type") == Some("push_ssh");
    for field in PATHS.into_iter().filter(|_| is_ssh) {
        entry.put(field, path(&section, field, findings).unwrap_or_default());
    }
    let mut below = Vec::new();
    for (index, item) in section.items("nodes", findings).unwrap_or_default().iter().enumerate() {
        let key = section.path(&format!("nodes[{index}]"));
        let subnode = Section::new(Some(item), &item.place, &key, &SUBNODE, findings);
        entry.below.push(entry_of(&subnode, &["id", "uid", "pathscore"], findings));
        below.push(subnode);
    }
    let read = entry.read();
    if let Ok(Registration { id, kind, .. }) = &read
        && let Some(target) = kind.ssh_target()
    {
        warn_of_ssh(&section, *id, target, findings);
    }
    let faults = match read {
        Ok(registration) => return Some(registration),
        Err(faults) => faults,
    };
    for Fault { below: number, field, text, allowed } in faults {
        let section = number.and_then(|number| below.get(number)).unwrap_or(&section);
        let (place, path) = (place_of(section, field), section.path(field));
        match text {
            Some(text) => refuse(place, &path, &text, allowed, findings),
            // A value that is present but not scalar has already been reported.
            None if section.value(field).is_some() => {}
            None => findings.problem(place, &path, format!("is missing; allowed: {allowed}")),
        }
    }
    None
}

fn entry_of(section: &Section<'_>, fields: &[&'static str], findings: &mut Findings) -> NodeEntry {
    let mut entry = NodeEntry::default();
    for field in fields {
        entry.put(field, section.text(field, findings).map_or("", |(text, _)| text));
    }
    entry
}

/// The place of a field, or of the entry if the field is missing.
fn place_of<'a>(section: &Section<'a>, field: &'static str) -> &'a Place {
    section.value(field).map_or(section.place(), |node| &node.place)
}

fn warn_of_ssh(section: &Section<'_>, id: NodeId, target: &SshTarget, findings: &mut Findings) {
    if !cfg!(feature = "ssh") {
        let text = format!("push_ssh needs a build with ssh; node '{id}' is known but not reached");
        findings.warning(place_of(section, "type"), &section.path("type"), text);
    }
    if let Some(identity) = target.identity.as_ref().filter(|identity| !identity.exists()) {
        let text = format!("there is no file {}; other ways to log in are tried", identity.display());
        findings.warning(place_of(section, "ssh_identity"), &section.path("ssh_identity"), text);
    }
}

/// Reads a path; a relative one refers to the directory of the file that contains it.
fn path(section: &Section<'_>, key: &'static str, findings: &mut Findings) -> Option<String> {
    const ALLOWED: &str = "a path; '~/' is the home of the daemon's user, other users have no short form";
    let (text, place) = section.text(key, findings)?;
    let path = if let Some(below) = text.strip_prefix("~/") {
        home().map(|home| home.join(below))
    } else {
        (!text.starts_with('~')).then(|| place.beside(text))
    };
    if path.is_none() {
        refuse(place, &section.path(key), text, ALLOWED, findings);
    }
    path.map(|path| path.to_string_lossy().into_owned())
}

/// The home directory of the user of this process: from the environment, otherwise from the user database.
fn home() -> Option<PathBuf> {
    if let Some(home) = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute()) {
        return Some(home);
    }
    let own = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.split(':').nth(2) == Some(&own))?;
    line.split(':').nth(5).map(PathBuf::from).filter(|home| home.is_absolute())
}

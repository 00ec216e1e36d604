//! The file of the module `register`: nodes that the administrator lists by hand (docs/protocol.md section 5).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::address;
use super::findings::Findings;
use super::include::Loader;
use super::options;
use super::section::{BOOLEANS, Section, boolean, refuse};
use super::settings::{Problem, RegisterSettings};
use super::ssh_node;
use super::tree::{Node, Place, Value};
use crate::model::connection::Endpoint;
use crate::model::node_id::{self, NodeId};
use crate::model::registration::{NodeKind, Registration, Subnode};

const IDS: &str = node_id::ALLOWED;
const KINDS: &str = "push_zmq, push_ssh, pull, wss or pullwss";

/// Reads the options of the module and the file that they name. `None` without a `config_file`, which the original's
/// packages leave out where nodes come from the database.
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
    // The original looks in its working directory, which a service does not choose.
    let beside = declared_in.beside(name);
    let Some(file) = [beside.clone(), PathBuf::from(name)].into_iter().find(|file| file.exists()) else {
        findings.problem(declared_in, &key, format!("there is no file {}", beside.display()));
        return None;
    };
    let nodes = read_nodes(&file, own, loader, findings)?;
    Some(RegisterSettings { file, nodes })
}

/// Reads the file again, for a daemon that runs: its nodes, and what an administrator should know.
///
/// # Errors
/// Every problem that was found. A file with one has no nodes to use.
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
    let tree = loader.read(file, "", findings)?;
    let top = Section::new(Some(&tree), &tree.place, "", &options::REGISTER_FILE, findings);
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
    let section = Section::new(Some(item), &item.place, key, &options::NODE, findings);
    if !matches!(item.value, Value::Map(_)) {
        return None;
    }
    let id = read_id(&section, findings);
    let kind = read_kind(&section, id, findings);
    let prevail = section.parsed("prevail", false, BOOLEANS, findings, boolean);
    let mut subnodes = Vec::new();
    for (index, below) in section.items("nodes", findings).unwrap_or_default().iter().enumerate() {
        let key = section.path(&format!("nodes[{index}]"));
        let entry = Section::new(Some(below), &below.place, &key, &options::SUBNODE, findings);
        let id = read_id(&entry, findings);
        let path_score = entry.parsed("pathscore", 1, "a whole number from -1000000 to 1000000", findings, |text| {
            text.parse().ok().filter(|score| (-1_000_000..=1_000_000).contains(score))
        });
        let uid = read_uid(&entry, findings);
        subnodes.extend(id.map(|id| Subnode { id, path_score, uid }));
    }
    let uid = read_uid(&section, findings);
    Some(Registration { id: id?, uid, kind: kind?, identity: None, prevail, subnodes })
}

fn read_id(section: &Section<'_>, findings: &mut Findings) -> Option<NodeId> {
    let (text, file) = required(section, "id", IDS, findings)?;
    let id = text.parse().ok();
    if id.is_none() {
        refuse(file, &section.path("id"), text, IDS, findings);
    }
    id
}

fn read_uid(section: &Section<'_>, findings: &mut Findings) -> Option<NodeId> {
    section.parsed("uid", None, IDS, findings, |text| text.parse().ok().map(Some))
}

fn read_kind(section: &Section<'_>, id: Option<NodeId>, findings: &mut Findings) -> Option<NodeKind> {
    let (text, file) = required(section, "type", KINDS, findings)?;
    match text {
        "push_zmq" => {
            let host = address_of(section, findings);
            let port =
                required(section, "port", "a whole number from 1 to 65535", findings).and_then(|(text, file)| {
                    let port = address::port_number(text);
                    if port.is_none() {
                        refuse(file, &section.path("port"), text, "a whole number from 1 to 65535", findings);
                    }
                    port
                });
            Some(NodeKind::PushZmq { endpoint: Endpoint::Tcp { host: host?, port: port? } })
        }
        "push_ssh" => {
            let host = address_of(section, findings)?;
            if let Some(id) = id.filter(|_| !cfg!(feature = "ssh")) {
                let text = format!("push_ssh needs a build with ssh; node '{id}' is known but not reached");
                findings.warning(file, &section.path("type"), text);
            }
            ssh_node::read(section, host, file, findings).map(|target| NodeKind::PushSsh(Box::new(target)))
        }
        "pull" => Some(NodeKind::Pull),
        "wss" | "pullwss" => Some(NodeKind::WebSocket),
        _ => {
            refuse(file, &section.path("type"), text, KINDS, findings);
            None
        }
    }
}

fn address_of(section: &Section<'_>, findings: &mut Findings) -> Option<String> {
    const ALLOWED: &str = "a host name, an IPv4 or an IPv6 address, without a port";
    let (text, file) = required(section, "address", ALLOWED, findings)?;
    let host = address::host(text);
    if host.is_none() {
        refuse(file, &section.path("address"), text, ALLOWED, findings);
    }
    host
}

fn required<'a>(
    section: &Section<'a>,
    key: &'static str,
    allowed: &str,
    findings: &mut Findings,
) -> Option<(&'a str, &'a Place)> {
    let present = section.value(key).is_some();
    if !present {
        findings.problem(section.place(), &section.path(key), format!("is missing; allowed: {allowed}"));
    }
    section.text(key, findings)
}

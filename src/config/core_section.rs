//! Reads `gorgonecore` into [`CoreSettings`] (docs/protocol.md section 14).

use crate::model::connection::{Endpoint, FingerprintMode};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::address;
use super::cluster_section;
use super::delegate_section;
use super::findings::Findings;
use super::history_server::{self, HistoryPlace};
use super::modules::Modules;
use super::options;
use super::raw::RawConfig;
use super::rights_section;
use super::section::{Section, Unit, is_named_without_value, refuse, scalar};
use super::settings::{Commits, CoreSettings, Storage};
use super::tree::Value;
use crate::model::link::LinkMode;
use crate::model::log::{Level, LogFormat};
use crate::model::node_id::{self, NodeId};
use crate::model::rights::{BoundKey, Rights};
use crate::model::session::is_thumbprint;
use crate::model::text::quoted;

/// Maximum value in seconds of time-outs: a day.
pub(super) const DAY_SECONDS: u32 = 86_400;
const YEAR_MINUTES: u32 = 525_600;
/// Minimum of `max_memory` in bytes; an idle daemon needs a few MiB.
const MAX_MEMORY_MIN: u64 = 8 << 20;
/// The placeholder of a peer's thumbprint in the example files and the documentation.
const EXAMPLE_THUMBPRINT: &str = "pnI6EWkiTbazjikJXRkLmjml5wvVECYtQduJUjS4QK4";
const MAX_MEMORY: &str = "0 (no limit) or bytes, at least 8388608";
/// Maximum length in bytes of the path of a Unix socket, without the terminating zero (`sun_path`).
pub(super) const SOCKET_PATH_LIMIT: usize = 107;

/// Reads `gorgonecore`; wrong values are reported and replaced by their defaults.
pub(super) fn read(raw: &RawConfig<'_>, findings: &mut Findings) -> CoreSettings {
    let section = Section::new(raw.core, raw.gorgone, "gorgonecore", &options::CORE, findings);
    let machine = machine_name();
    let name = raw.name.and_then(|node| if node.value == Value::Null { None } else { scalar(node, "name", findings) });
    let external = external(&section, findings);
    check_ciphers(&section, findings);
    let id = section.parsed("id", None, node_id::ALLOWED, findings, |text| text.parse().ok().map(Some));
    let (authorized_clients, bound_keys) = authorized_clients(&section, id, findings);
    let storage = storage(&section, findings);
    let private_key = path(&section, "privkey", "/var/lib/centreon-gorgone/.keys/rsakey.priv.pem", findings);
    let HistoryPlace { file: database, server } = history_server::read(&section, &private_key, findings);
    let database = if storage == Storage::Disk { database } else { in_memory(&database) };
    if let (Some(_), Storage::Memory(_)) = (&server, &storage) {
        let text = "is memory, and 'gorgone_db_type' names a database server; the history has one place: remove either";
        findings.problem(section.place(), "gorgonecore.storage", text);
    }
    if external.is_some() && authorized_clients.is_empty() {
        let text = "is empty or absent, so nobody can use the external socket; list '- key: THUMBPRINT' of each peer";
        findings.warning(section.place(), "gorgonecore.authorized_clients", text);
    }
    CoreSettings {
        name: name.filter(|name| !name.is_empty()).unwrap_or(&machine).to_owned(),
        id,
        hostname: section.text("hostname", findings).map_or(machine, |(text, _)| text.to_owned()),
        timeout: section.duration("timeout", Duration::from_secs(50), Unit::Seconds, DAY_SECONDS, findings),
        external,
        key_size: section.parsed("external_com_keysize", 32, "16, 24 or 32 (bytes)", findings, |text| match text {
            "16" => Some(16),
            "24" => Some(24),
            "32" => Some(32),
            _ => None,
        }),
        rotation: section.duration(
            "external_com_rotation",
            Duration::from_secs(1_440 * 60),
            Unit::Minutes,
            YEAR_MINUTES,
            findings,
        ),
        tcp_keepalive: section.boolean("external_com_zmq_tcp_keepalive", true, findings),
        ipv6: section.boolean("ipv6", false, findings),
        private_key,
        public_key: path(&section, "pubkey", "/var/lib/centreon-gorgone/.keys/rsakey.pub.pem", findings),
        authorized_clients,
        bound_keys,
        fingerprint_mode: section.parsed(
            "fingerprint_mode",
            FingerprintMode::First,
            "always, first or strict",
            findings,
            |text| match text.to_ascii_lowercase().as_str() {
                "always" => Some(FingerprintMode::Always),
                "first" => Some(FingerprintMode::First),
                "strict" => Some(FingerprintMode::Strict),
                _ => None,
            },
        ),
        link: section.parsed("link", LinkMode::Auto, LinkMode::WORDS, findings, LinkMode::from_word),
        delegate: delegate_section::read(&section, findings),
        log_severity: section.parsed("log_severity", Level::Info, Level::WORDS, findings, Level::from_word),
        log_format: section.parsed("log_format", LogFormat::Auto, LogFormat::WORDS, findings, LogFormat::from_word),
        audit_log: section.text("audit_log", findings).map(|(text, _)| PathBuf::from(text)),
        database,
        cluster: cluster_section::read(&section, server.as_ref(), findings),
        server,
        storage,
        create_schema: section.boolean("gorgone_db_autocreate_schema", true, findings),
        commits: commits(&section, findings),
        max_memory: section.parsed("max_memory", None, MAX_MEMORY, findings, |text| match text.parse() {
            Ok(0) => Some(None),
            Ok(bytes) if bytes >= MAX_MEMORY_MIN => Some(Some(bytes)),
            _ => None,
        }),
        max_message_size: section.number("max_message_size", 16 << 20, 65_536..=1 << 30, "bytes", findings),
    }
}

/// The host name that the kernel reports.
pub(super) fn machine_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| fs::read_to_string("/etc/hostname"));
    name.ok()
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}

fn path(section: &Section<'_>, key: &'static str, default: &str, findings: &mut Findings) -> PathBuf {
    PathBuf::from(section.text(key, findings).map_or(default, |(text, _)| text))
}

/// Accepts only the cipher that peers support: AES with PKCS#7 padding (docs/protocol.md section 3).
fn check_ciphers(section: &Section<'_>, findings: &mut Findings) {
    section.parsed("external_com_cipher", (), "AES", findings, |text| text.eq_ignore_ascii_case("aes").then_some(()));
    section.parsed("external_com_padding", (), "1 (PKCS#7)", findings, |text| (text == "1").then_some(()));
}

/// Reads where the history is kept.
fn storage(section: &Section<'_>, findings: &mut Findings) -> Storage {
    let max = section.number("storage_max", 8 << 20, 1 << 20..=1 << 30, "bytes", findings);
    let memory = Storage::Memory(u64::try_from(max).unwrap_or(u64::MAX));
    let storage = section.parsed("storage", Storage::Disk, "disk or memory", findings, |text| {
        match text.to_ascii_lowercase().as_str() {
            "disk" => Some(Storage::Disk),
            "memory" => Some(memory),
            _ => None,
        }
    });
    if storage == Storage::Disk
        && let Some((_, place)) = section.text("storage_max", findings)
    {
        findings.warning(place, "gorgonecore.storage_max", "has no effect without 'storage: memory'");
    }
    storage
}

/// Warns of a history in memory where a restart of the machine would lose more than rows.
pub(super) fn check_storage(raw: &RawConfig<'_>, core: &CoreSettings, modules: &Modules, findings: &mut Findings) {
    if core.storage == Storage::Disk {
        return;
    }
    let mut lost = Vec::new();
    if modules.proxy.is_some() || modules.legacycmd.is_some() {
        lost.push("what is under way to nodes");
    }
    if core.fingerprint_mode == FingerprintMode::First {
        lost.push("the keys of daemons that it connects to ('fingerprint_mode: strict' needs none)");
    }
    if !lost.is_empty()
        && let Some(section) = raw.core
    {
        let text = format!("is memory: a restart of the machine loses, besides the history, {}", lost.join(" and "));
        findings.warning(&section.place, "gorgonecore.storage", text);
    }
}

/// Returns the path in memory that stands for a path of `gorgone_db_name`, so that each daemon has its own.
pub(super) fn in_memory(database: &Path) -> PathBuf {
    const FOLDER_NAME_MAX: usize = 200;
    let memory = Path::new("/dev/shm");
    let memory = if memory.is_dir() { memory } else { Path::new("/run") };
    let name: String = database.to_string_lossy().chars().map(|at| if at == '/' { '-' } else { at }).collect();
    let from = name.char_indices().map(|(at, _)| at).find(|at| name.len() - at <= FOLDER_NAME_MAX);
    memory.join(format!("stheno{}", name.get(from.unwrap_or(0)..).unwrap_or_default())).join("history.sdb")
}

/// Reads when changes of the database are committed.
fn commits(section: &Section<'_>, findings: &mut Findings) -> Commits {
    let batch_ms = section.number("db_batch_ms", 1_000, 10..=10_000, "milliseconds", findings);
    let batched = Commits::Batched(Duration::from_millis(u64::try_from(batch_ms).unwrap_or(u64::MAX)));
    let allowed = "full, normal or batched";
    let commits = section.parsed("gorgone_db_synchronous", Commits::Full, allowed, findings, |text| {
        match text.to_ascii_lowercase().as_str() {
            "full" => Some(Commits::Full),
            "normal" => Some(Commits::Normal),
            "batched" => Some(batched),
            _ => None,
        }
    });
    if commits != batched
        && let Some((_, place)) = section.text("db_batch_ms", findings)
    {
        let text = "has no effect without 'gorgone_db_synchronous: batched'";
        findings.warning(place, "gorgonecore.db_batch_ms", text);
    }
    commits
}

fn external(section: &Section<'_>, findings: &mut Findings) -> Option<Endpoint> {
    let kind = section.text("external_com_type", findings);
    let place = section.text("external_com_path", findings);
    let (kind, place, file) = match (kind, place) {
        (None, None) => return None,
        (Some((kind, file)), None) => {
            let text = format!("is {}, but 'external_com_path' is missing: no external socket", quoted(kind));
            findings.warning(file, "gorgonecore.external_com_type", text);
            // The type may be wrong as well.
            (kind, None, file)
        }
        (None, Some((_, file))) => {
            let text = "is set, but 'external_com_type' (tcp or ipc) is missing: no external socket";
            findings.warning(file, "gorgonecore.external_com_path", text);
            return None;
        }
        (Some((kind, file)), Some(place)) => (kind, Some(place), file),
    };
    let is_tcp = match kind.to_ascii_lowercase().as_str() {
        "tcp" => true,
        "ipc" => false,
        _ => {
            refuse(file, "gorgonecore.external_com_type", kind, "tcp or ipc", findings);
            return None;
        }
    };
    let (text, file) = place?;
    let (endpoint, allowed) = if is_tcp {
        (address::host_and_port(text).map(|(host, port)| Endpoint::Tcp { host, port }), address::LISTENER)
    } else {
        let fits = text.len() <= SOCKET_PATH_LIMIT && !text.starts_with('@') && !text.contains('\0');
        (fits.then(|| Endpoint::Ipc(PathBuf::from(text))), "the path of a Unix socket, at most 107 bytes")
    };
    if endpoint.is_none() {
        refuse(file, "gorgonecore.external_com_path", text, allowed, findings);
    }
    endpoint
}

/// Reads the keys that may use the external socket, and their bindings.
fn authorized_clients(
    section: &Section<'_>,
    own_id: Option<NodeId>,
    findings: &mut Findings,
) -> (Vec<String>, BTreeMap<String, Arc<BoundKey>>) {
    const ALLOWED: &str = "'- key: THUMBPRINT', 43 letters, digits, '-' or '_' ('keys thumbprint FILE' prints it)";
    let (mut thumbprints, mut bound) = (Vec::new(), BTreeMap::new());
    for (index, item) in section.items("authorized_clients", findings).unwrap_or_default().iter().enumerate() {
        let key = section.path(&format!("authorized_clients[{index}]"));
        if !matches!(item.value, Value::Map(_)) {
            findings.problem(&item.place, &key, format!("is {}; allowed: {ALLOWED}", item.value.kind()));
            continue;
        }
        let entry = Section::new(Some(item), section.place(), &key, &options::AUTHORIZED_CLIENT, findings);
        for (name, means) in [("node", "speak for every node"), ("may", "ask for everything")] {
            if is_named_without_value(item, name) {
                let text = format!("is empty, so the key would {means}; give a value, or leave '{name}' out");
                findings.problem(&item.place, &entry.path(name), text);
            }
        }
        let binding = binding(&entry, own_id, findings);
        match entry.text("key", findings) {
            Some((text, place)) if is_thumbprint(text) => {
                if thumbprints.iter().any(|known| known == text) {
                    findings.warning(place, &entry.path("key"), "is that of an entry above; the last one counts");
                }
                if text == EXAMPLE_THUMBPRINT {
                    let text = "is the thumbprint of the example files, which belongs to nobody; put that of the peer \
                        here ('stheno keys thumbprint FILE')";
                    findings.warning(place, &entry.path("key"), text);
                }
                thumbprints.push(text.to_owned());
                let name = |name: Option<String>| name.unwrap_or_else(|| format!("the client with the key {text}"));
                let binding = binding.map(|Binding { name: given, node, rights }| {
                    (text.to_owned(), Arc::new(BoundKey { name: name(given), node, rights }))
                });
                bound.extend(binding);
            }
            Some((text, file)) => refuse(file, &entry.path("key"), text, ALLOWED, findings),
            None => findings.problem(&item.place, &key, format!("has no 'key'; allowed: {ALLOWED}")),
        }
    }
    if let Some(plain) = thumbprints.iter().find(|thumbprint| !bound.contains_key(*thumbprint)) {
        let text = format!(
            "has keys that may ask for everything; safer: '- {{key: {plain}, name: central, may: central}}' for the \
             daemon above, '- {{key: …, node: ID}}' for a node that dials in"
        );
        findings.warning(section.place(), &section.path("authorized_clients"), text);
    }
    (thumbprints, bound)
}

/// The restrictions that an entry puts on its key.
struct Binding {
    name: Option<String>,
    node: Option<NodeId>,
    rights: Rights,
}

/// Reads the restrictions of an entry; `None` if there are none, so that the key may do everything. A key with a `node`
/// but without `may` may send what such a node sends.
fn binding(entry: &Section<'_>, own_id: Option<NodeId>, findings: &mut Findings) -> Option<Binding> {
    let name = entry.text("name", findings).map(|(text, _)| text.to_owned());
    let node = entry.parsed("node", None, "a node's id", findings, |text| text.parse::<NodeId>().ok().map(Some));
    let may = rights_section::may(entry, findings);
    if name.is_none() && node.is_none() && may.is_none() {
        return None;
    }
    let rights = may.unwrap_or_else(|| if node.is_some() { Rights::node() } else { Rights::admin() });
    if let Some(node) = node {
        let key = entry.path("node");
        if Some(node) == own_id {
            let text =
                format!("is {node}, the id of this daemon itself, so no node can use the key; give the node's id");
            findings.warning(entry.place(), &key, text);
        }
        if rights.is_admin() {
            let text = format!(
                "is {node}, and 'may' allows everything: whoever has the key of this node commands the whole platform; \
                 leave 'may' out, a node needs no more than that gives"
            );
            findings.warning(entry.place(), &entry.path("may"), text);
        }
    }
    if rights.are_none() {
        let text =
            "allows nothing, so whoever has the key is refused everything; name what it may, or take the entry out";
        findings.warning(entry.place(), &entry.path("may"), text);
    }
    let name = name.or_else(|| node.map(|node| format!("node {node}")));
    Some(Binding { name, node, rights })
}

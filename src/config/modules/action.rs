//! Options of the module `action`: limits, and the list of allowed commands (docs/protocol.md section 11).

use std::path::{Component, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::allow_list::{AllowList, Expression, Hole, find_hole, shown};
use crate::config::core_section::DAY_SECONDS;
use crate::config::findings::Findings;
use crate::config::options::{Options, options};
use crate::config::section::{Section, Unit, scalar};
use crate::config::tree::Value;

options! {
    ACTION = "action" in "the module 'action'" {
        "command_timeout", "max_concurrent_commands", "max_output_size", "whitelist_cmds", "whitelist_mode",
        "allowed_cmds", "max_concurrent_engine", "paranoid_plugins", "copy_roots", "read_roots", "max_unpack_ratio",
        "environment",
    } unused {
        "tar_insecure_extra_mode",
    }
}

/// Options of the module `action` (docs/protocol.md section 11).
#[derive(Clone, Debug, PartialEq)]
pub struct ActionSettings {
    /// `command_timeout` (30 s)
    pub command_timeout: Duration,
    /// `max_concurrent_commands` (64): maximum number of simultaneous commands; further ones wait in order.
    pub max_concurrent: usize,
    /// `max_output_size` (1 MiB): number of bytes kept of each output of a command.
    pub output_limit: usize,
    /// `allowed_cmds`: the allowed commands if `whitelist_cmds` is true; `None` if all are allowed.
    pub allowed: Option<CommandList>,
    /// `max_concurrent_engine` (3): maximum number of simultaneous commands of ACTIONENGINE; further ones are refused.
    pub max_concurrent_engine: usize,
    /// `paranoid_plugins` (false): whether a command is refused if its plugins cannot be installed.
    pub paranoid_plugins: bool,
    /// `copy_roots`: the directories under which copies may write; empty for no restriction.
    pub copy_roots: Arc<[PathBuf]>,
    /// `read_roots` (empty): the directories under which centrals may read files; empty for nothing.
    pub read_roots: Arc<[PathBuf]>,
    /// `max_unpack_ratio` (250): maximum ratio of the size of unpacked files to that of the copied archive, beyond 64
    /// MiB.
    pub max_unpack_ratio: u64,
    /// `environment`: further environment variables for commands, as `NAME` or `NAME=VALUE`.
    pub environment: Vec<String>,
}

impl Default for ActionSettings {
    fn default() -> Self {
        Self {
            command_timeout: Duration::from_secs(30),
            max_concurrent: 64,
            output_limit: 1 << 20,
            allowed: None,
            max_concurrent_engine: 3,
            paranoid_plugins: false,
            copy_roots: Arc::new([]),
            read_roots: Arc::new([]),
            max_unpack_ratio: 250,
            environment: Vec::new(),
        }
    }
}

/// The allowed commands, and the handling of all others.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandList {
    /// `allowed_cmds`: the expressions for allowed commands.
    pub list: AllowList,
    /// `whitelist_mode: audit`: whether other commands are logged but run nevertheless.
    pub is_audit: bool,
}

/// Reads the options; wrong values are reported and replaced by their defaults.
pub(super) fn read(section: Section<'_>, findings: &mut Findings) -> ActionSettings {
    let default = ActionSettings::default();
    let timeout = default.command_timeout;
    ActionSettings {
        command_timeout: section.duration("command_timeout", timeout, Unit::Seconds, DAY_SECONDS, findings),
        max_concurrent: section.number("max_concurrent_commands", default.max_concurrent, 1..=4_096, "", findings),
        output_limit: section.number("max_output_size", default.output_limit, 1_024..=64 << 20, "bytes", findings),
        allowed: read_allowed(&section, findings),
        max_concurrent_engine: section.number(
            "max_concurrent_engine",
            default.max_concurrent_engine,
            1..=1_000,
            "",
            findings,
        ),
        paranoid_plugins: section.boolean("paranoid_plugins", false, findings),
        copy_roots: read_copy_roots(&section, findings),
        read_roots: read_read_roots(&section, findings),
        max_unpack_ratio: section.number("max_unpack_ratio", 250, 0..=1_000_000, "", findings) as u64,
        environment: read_environment(&section, findings),
    }
}

/// Reads `environment`, a list of `NAME` and `NAME=VALUE`. Values may be secret, so messages do not show them.
fn read_environment(section: &Section<'_>, findings: &mut Findings) -> Vec<String> {
    let mut entries = Vec::new();
    for (index, entry) in section.items("environment", findings).unwrap_or_default().iter().enumerate() {
        let key = section.path(&format!("environment[{index}]"));
        let Some(text) = scalar(entry, &key, findings) else { continue };
        let name = text.split('=').next().unwrap_or_default();
        if name.is_empty()
            || text.contains('\0')
            || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            findings.problem(&entry.place, &key, "is neither NAME nor NAME=VALUE; a name has letters, digits and '_'");
        } else {
            entries.push(text.to_owned());
        }
    }
    entries
}

/// Reads `whitelist_cmds`, `whitelist_mode` and `allowed_cmds`.
fn read_allowed(section: &Section<'_>, findings: &mut Findings) -> Option<CommandList> {
    let wanted = section.boolean_unlike(
        "whitelist_cmds",
        false,
        |text| text.contains('1') || text.to_lowercase().contains("true"),
        findings,
    );
    let is_audit = section.parsed("whitelist_mode", false, "enforce or audit", findings, |text| match text {
        "enforce" => Some(false),
        "audit" => Some(true),
        _ => None,
    });
    if !wanted {
        // As in the original, 'allowed_cmds' is not read then and may hold anything.
        if is_audit {
            let text = "has no effect, because 'whitelist_cmds' is not true";
            findings.warning(section.place(), &section.path("whitelist_mode"), text);
        }
        return None;
    }
    let list = read_list(section, findings);
    if list.is_empty() {
        let text = "'whitelist_cmds' is true and no expression is here, so every command is refused; give a list, for \
                    instance '!include whitelist.conf.d/*.yaml'";
        findings.warning(section.place(), &section.path("allowed_cmds"), text);
    }
    if is_audit {
        let text = "is audit: commands that are not allowed are logged and run nevertheless; set 'enforce' when the \
            log is quiet";
        findings.warning(section.place(), &section.path("whitelist_mode"), text);
    }
    Some(CommandList { list, is_audit })
}

fn read_list(section: &Section<'_>, findings: &mut Findings) -> AllowList {
    let mut expressions = Vec::new();
    let entries = section.items("allowed_cmds", findings).unwrap_or_default();
    for (index, entry) in entries.iter().enumerate() {
        let key = section.path(&format!("allowed_cmds[{index}]"));
        let text = match &entry.value {
            Value::Text(text) if !text.is_empty() => text,
            Value::Text(_) | Value::Null => {
                findings.problem(&entry.place, &key, "is empty and would allow every command; remove it");
                continue;
            }
            value => {
                findings.problem(&entry.place, &key, format!("is {}; allowed: a regular expression", value.kind()));
                continue;
            }
        };
        match Expression::compile(text) {
            Ok(expression) => {
                if let Some(warning) = find_hole(&expression).map(|hole| describe(text, &hole)) {
                    findings.warning(&entry.place, &key, warning);
                }
                expressions.push(expression);
            }
            Err(reason) => findings.problem(&entry.place, &key, format!("{}: {reason}", shown(text))),
        }
    }
    AllowList::new(expressions)
}

fn describe(text: &str, hole: &Hole) -> String {
    let shown = shown(text);
    match hole {
        Hole::NotAnchored(line) => format!(
            "{shown} is not anchored: with a shell it also allows {}; begin it with ^ and end it with $",
            example(line)
        ),
        Hole::Inside(line) => format!(
            "{shown} also allows further commands of a shell, for instance {}; name the characters that an \
             argument may have",
            example(line)
        ),
        Hole::NoExample => format!("{shown} is not anchored: begin it with ^ and end it with $"),
    }
}

/// Returns the whole example, because a shortened one could omit the dangerous part.
fn example(line: &str) -> String {
    let shown: String = line.chars().map(|one| if one == '\n' { "\\n".to_owned() } else { one.to_string() }).collect();
    format!("\u{201c}{shown}\u{201d}")
}

/// Reads the directories under which copies may write. Without the option copies may write anywhere, which causes a
/// warning.
fn read_copy_roots(section: &Section<'_>, findings: &mut Findings) -> Arc<[PathBuf]> {
    let path = section.path("copy_roots");
    if section.value("copy_roots").is_none() {
        let text = "is not set, so copies of every authorised client may write anywhere this daemon may; list the \
                    directories that they may write under, for instance [/etc/centreon-engine, /etc/centreon-broker]";
        findings.warning(section.place(), &path, text);
        return Arc::new([]);
    }
    let roots = directories(section, "copy_roots", findings);
    if roots.is_empty() {
        findings.problem(section.place(), &path, "lists no directory; leave it out to let copies write anywhere");
    }
    roots
}

/// Reads the directories under which centrals may read files.
fn read_read_roots(section: &Section<'_>, findings: &mut Findings) -> Arc<[PathBuf]> {
    let roots = directories(section, "read_roots", findings);
    if roots.iter().any(|root| root.parent().is_none()) {
        let text = "lists '/', so every file that this daemon can read may be fetched; list what is wanted, for \
                    instance [/var/log/centreon-engine, /var/log/centreon-broker]";
        findings.warning(section.place(), &section.path("read_roots"), text);
    }
    roots
}

/// Reads a list of directories.
fn directories(section: &Section<'_>, name: &'static str, findings: &mut Findings) -> Arc<[PathBuf]> {
    let roots = section.list(name, "an absolute path without '..'", findings, |text| {
        let root = PathBuf::from(text);
        (root.is_absolute() && !root.components().any(|part| part == Component::ParentDir)).then_some(root)
    });
    roots.into()
}

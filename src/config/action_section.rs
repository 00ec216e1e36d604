//! Options of the module `action`: limits, and the list of allowed commands (docs/protocol.md section 11).

use super::allow_list::{AllowList, Expression, Hole, find_hole, shown};
use super::copy_section;
use super::core_section::DAY_SECONDS;
use super::findings::Findings;
use super::section::{Section, Unit, scalar};
use super::settings::{ActionSettings, CommandList};
use super::tree::Value;

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
        copy_roots: copy_section::read_roots(&section, findings),
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
            findings.problem(&entry.place, &key, "is no NAME and no NAME=VALUE; a name has letters, digits and '_'");
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
        let text = "is audit: commands that are not allowed are logged and run all the same; set 'enforce' when the \
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
            "{shown} allows what a shell runs besides, for instance {}; name the characters that an argument may have",
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

//! Options of the module `action`: limits, and the list of allowed commands (docs/protocol.md section 11).

use super::allow_list::{AllowList, Expression, Hole, find_hole, shown};
use super::copy_section;
use super::core_section::DAY_SECONDS;
use super::findings::Findings;
use super::section::{Section, Unit};
use super::settings::{ActionSettings, CommandList};
use super::tree::Value;

/// Reads the options; wrong values are noted and read as their default.
pub(super) fn read(mut section: Section<'_>, findings: &mut Findings) -> ActionSettings {
    let default = ActionSettings::default();
    let timeout = default.command_timeout;
    let settings = ActionSettings {
        command_timeout: section.duration("command_timeout", timeout, Unit::Seconds, DAY_SECONDS, findings),
        max_concurrent: section.number("max_concurrent_commands", default.max_concurrent, 1..=4_096, "", findings),
        output_limit: section.number("max_output_size", default.output_limit, 1_024..=64 << 20, "bytes", findings),
        allowed: read_allowed(&mut section, findings),
        max_concurrent_engine: section.number(
            "max_concurrent_engine",
            default.max_concurrent_engine,
            1..=1_000,
            "",
            findings,
        ),
        paranoid_plugins: section.boolean("paranoid_plugins", false, findings),
        copy_roots: copy_section::read_roots(&mut section, findings),
    };
    section.finish(&["tar_insecure_extra_mode"], findings);
    settings
}

/// `whitelist_cmds`, `whitelist_mode` and `allowed_cmds`.
fn read_allowed(section: &mut Section<'_>, findings: &mut Findings) -> Option<CommandList> {
    let wanted = section.boolean("whitelist_cmds", false, findings);
    let is_audit = section.parsed("whitelist_mode", false, "enforce or audit", findings, |text| match text {
        "enforce" => Some(false),
        "audit" => Some(true),
        _ => None,
    });
    if !wanted {
        // Nobody reads it, as in the original; it may hold anything.
        let _unread = section.value("allowed_cmds");
        if is_audit {
            let text = "has no effect, because 'whitelist_cmds' is not true";
            findings.warning(section.file(), &section.path("whitelist_mode"), text);
        }
        return None;
    }
    let list = read_list(section, findings);
    if list.is_empty() {
        let text = "'whitelist_cmds' is true and no expression is here, so every command is refused; give a list, for \
                    instance '!include whitelist.conf.d/*.yaml'";
        findings.warning(section.file(), &section.path("allowed_cmds"), text);
    }
    if is_audit {
        let text = "is audit: commands that are not allowed are logged and run all the same; set 'enforce' when the \
            log is quiet";
        findings.warning(section.file(), &section.path("whitelist_mode"), text);
    }
    Some(CommandList { list, is_audit })
}

fn read_list(section: &mut Section<'_>, findings: &mut Findings) -> AllowList {
    let mut expressions = Vec::new();
    let entries = section.items("allowed_cmds", findings).unwrap_or_default();
    for (index, entry) in entries.iter().enumerate() {
        let key = section.path(&format!("allowed_cmds[{index}]"));
        let text = match &entry.value {
            Value::Text(text) if !text.is_empty() => text,
            Value::Text(_) | Value::Null => {
                findings.problem(&entry.file, &key, "is empty and would allow every command; remove it");
                continue;
            }
            value => {
                findings.problem(&entry.file, &key, format!("is {}; allowed: a regular expression", value.kind()));
                continue;
            }
        };
        match Expression::compile(text) {
            Ok(expression) => {
                if let Some(warning) = find_hole(&expression).map(|hole| describe(text, &hole)) {
                    findings.warning(&entry.file, &key, warning);
                }
                expressions.push(expression);
            }
            Err(reason) => findings.problem(&entry.file, &key, format!("{}: {reason}", shown(text))),
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

/// The whole example, since a cut one would show nothing.
fn example(line: &str) -> String {
    let shown: String = line.chars().map(|one| if one == '\n' { "\\n".to_owned() } else { one.to_string() }).collect();
    format!("\u{201c}{shown}\u{201d}")
}

//! The rules, each a function from a file to its breaches.

use crate::comments::empty_comments;
use crate::source::SourceFile;

/// Which layer may import which. A layer may always name itself.
const LAYERS: [(&str, &[&str]); 9] = [
    ("model", &[]),
    ("wire", &["model"]),
    ("session", &["model", "wire"]),
    ("config", &["model"]),
    ("node", &["model", "config"]),
    ("edge", &["model", "config"]),
    ("daemon", &["model", "wire", "session", "config", "node", "edge"]),
    ("cli", &["model", "config", "edge", "daemon"]),
    ("main", &["model", "config", "edge", "daemon", "cli"]),
];

const LINES_MAX: usize = 500;
const COLUMNS_MAX: usize = 120;
const FORBIDDEN_NAMES: [&str; 7] = ["manager", "helper", "helpers", "util", "utils", "common", "misc"];

/// Returns every breach in one file as `path:line: what is wrong and what to do`.
pub fn breaches(file: &SourceFile) -> Vec<String> {
    let mut found = Vec::new();
    let mut flag = |line: usize, text: String| found.push(format!("src/{}:{line}: {text}", file.path));
    imports(file, &mut flag);
    crates_and_clocks(file, &mut flag);
    unsafe_code(file, &mut flag);
    shape(file, &mut flag);
    empty_comments(file, &mut flag);
    found
}

/// Returns the layer of a file: its first folder, or `main` for the program. `None` for `lib.rs`, which names all.
fn layer_of(path: &str) -> Option<&str> {
    match path.split_once('/') {
        Some((layer, _)) => Some(layer),
        None if path == "lib.rs" => None,
        None => path.strip_suffix(".rs"),
    }
}

fn imports(file: &SourceFile, flag: &mut impl FnMut(usize, String)) {
    let Some(layer) = layer_of(&file.path) else { return };
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        return flag(1, format!("'{layer}' is not a layer: give it a row in tests/architecture/rules.rs"));
    };
    for (offset, target) in crate_paths(file) {
        let is_layer = LAYERS.iter().any(|(name, _)| *name == target);
        if target == "*" || (is_layer && target != layer && !allowed.contains(&target.as_str())) {
            let may = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
            flag(file.line_of(offset), format!("{layer} may not import {target} (it may import {may})"));
        }
    }
}

/// Returns what follows the root of the crate, however the root is spelled: `crate::x`, `crate::{x, y}`, `stheno::x` in
/// the program, or enough `super::`. `*` stands for the whole crate.
fn crate_paths(file: &SourceFile) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    for root in ["crate", "stheno"] {
        for offset in words(&file.code, root) {
            let rest = file.code[offset + root.len()..].trim_start();
            match rest.strip_prefix("::") {
                Some(rest) => paths.extend(first_segments(rest).into_iter().map(|name| (offset, name))),
                None if rest.starts_with("as ") => paths.push((offset, "*".to_owned())),
                None => (),
            }
        }
    }
    let depth = file.path.trim_end_matches("/mod.rs").split('/').count();
    let mut seen_to = 0;
    for offset in words(&file.code, "super").into_iter() {
        if offset < seen_to {
            continue;
        }
        let (mut supers, mut at) = (0, offset);
        while let Some(rest) = file.code[at..].strip_prefix("super::") {
            supers += 1;
            at = file.code.len() - rest.len();
        }
        seen_to = at;
        // An inline module is one level deeper than its file, so a name there counts only if it is the name of a layer.
        if supers >= depth {
            paths.extend(first_segments(&file.code[at..]).into_iter().map(|name| (offset, name)));
        }
    }
    paths
}

/// Returns the first segment of a path, or of each path in a group.
fn first_segments(rest: &str) -> Vec<String> {
    let rest = rest.trim_start();
    let word = |text: &str| -> String {
        let text = text.trim_start().trim_start_matches("r#");
        if text.starts_with('*') {
            return "*".to_owned();
        }
        text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
    };
    let Some(group) = rest.strip_prefix('{') else { return vec![word(rest)] };
    let (mut depth, mut start, mut segments) = (0, 0, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                segments.push(word(&group[start..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                segments.push(word(&group[start..at]));
                start = at + 1;
            }
            _ => (),
        }
    }
    segments
}

fn is_event_loop(path: &str) -> bool {
    path.starts_with("daemon/event_loop")
}

fn crates_and_clocks(file: &SourceFile, flag: &mut impl FnMut(usize, String)) {
    let (in_edge, in_config) = (file.path.starts_with("edge/"), file.path.starts_with("config/"));
    if !in_edge && !is_event_loop(&file.path) {
        for offset in words(&file.code, "mio") {
            flag(file.line_of(offset), "only edge and daemon::event_loop name mio".to_owned());
        }
        for clock in ["Instant", "SystemTime"] {
            for offset in words(&file.code, clock) {
                let rest: String = file.code[offset + clock.len()..]
                    .chars()
                    .filter(|letter| !letter.is_whitespace())
                    .take(5)
                    .collect();
                if rest == "::now" {
                    let text = format!("{clock}::now reads a clock: take the time as an argument");
                    flag(file.line_of(offset), text);
                }
            }
        }
    }
    if !in_config {
        for offset in words(&file.code, "granit_parser") {
            flag(file.line_of(offset), "only config reads YAML: granit_parser stays there".to_owned());
        }
    }
}

fn unsafe_code(file: &SourceFile, flag: &mut impl FnMut(usize, String)) {
    let allowed = is_documented_unsafe(&file.path);
    let lines: Vec<&str> = file.text.lines().collect();
    for offset in words(&file.code, "unsafe") {
        let line = file.line_of(offset);
        if !allowed {
            flag(line, "unsafe stands where rule 12 of docs/architecture.md names it, and nowhere else".to_owned());
        } else if !has_reason(&lines, line) {
            flag(line, "unsafe without a SAFETY comment right above it".to_owned());
        }
    }
}

/// Returns whether rule 12 of docs/architecture.md names the file, or a folder or module that it belongs to.
fn is_documented_unsafe(path: &str) -> bool {
    let rules = include_str!("../../docs/architecture.md");
    let rule = rules.split("\n12. ").nth(1).and_then(|rest| rest.split("\n13. ").next()).expect("rule 12");
    let modules = rule.split('`').skip(1).step_by(2).filter(|word| word.contains("::"));
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    modules
        .map(|module| module.replace("::", "/"))
        .any(|module| path == module || path.starts_with(&format!("{module}/")))
}

/// Returns whether the line, or the comment above its statement, says SAFETY.
fn has_reason(lines: &[&str], line: usize) -> bool {
    lines[line.saturating_sub(8)..line].iter().any(|text| text.contains("SAFETY"))
}

/// Returns every breach in a file of tests or benches: its size, its comments and its name.
pub fn breaches_of_tests(folder: &str, file: &SourceFile) -> Vec<String> {
    let mut found = Vec::new();
    let mut flag = |line: usize, text: String| found.push(format!("{folder}/{}:{line}: {text}", file.path));
    size_and_name(file, &mut flag);
    long_lines(file, &mut flag, |line| line.trim_start().starts_with("//"));
    found
}

fn shape(file: &SourceFile, flag: &mut impl FnMut(usize, String)) {
    size_and_name(file, flag);
    if is_test_file(&file.path) {
        return;
    }
    if !file.text.trim_start().starts_with("//!") {
        flag(1, "begin the module with //! and say what it is for and what is absent".to_owned());
    }
    // Test vectors stay as they are on the wire.
    let tests = file.text.find("#[cfg(test)]").unwrap_or(file.text.len());
    let code = SourceFile::new(&file.path, &file.text[..tests]);
    long_lines(&code, flag, |_| true);
}

fn size_and_name(file: &SourceFile, flag: &mut impl FnMut(usize, String)) {
    let count = file.text.lines().count();
    if count > LINES_MAX {
        flag(LINES_MAX, format!("{count} lines, {LINES_MAX} at most: split it by what it knows"));
    }
    let stem = file.path.trim_end_matches(".rs");
    let mut words = stem.split(['/', '_']);
    if let Some(word) = words.find(|word| FORBIDDEN_NAMES.contains(word) || word.starts_with("handler")) {
        flag(1, format!("'{word}' is not a name: say what the module knows or does"));
    }
}

fn long_lines(file: &SourceFile, flag: &mut impl FnMut(usize, String), is_held: impl Fn(&str) -> bool) {
    for (index, line) in file.text.lines().enumerate().filter(|(_, line)| is_held(line)) {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX {
            flag(index + 1, format!("{columns} columns, {COLUMNS_MAX} at most"));
        }
    }
}

/// Returns whether this is a file of unit tests beside the code. Its name says what it is for.
fn is_test_file(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/")
}

/// Returns the places where `word` is a word of its own in the code.
fn words(code: &str, word: &str) -> Vec<usize> {
    let is_part = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let bytes = code.as_bytes();
    code.match_indices(word)
        .map(|(offset, _)| offset)
        .filter(|offset| !is_part(offset.checked_sub(1).and_then(|before| bytes.get(before))))
        .filter(|offset| !is_part(bytes.get(offset + word.len())))
        .collect()
}

//! Checks that documents and comments point only at files, folders, links and sections of the contract that exist.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders whose paths are cited.
const FOLDERS: [&str; 10] =
    ["src/", "docs/", "tests/", "config/", "packages/", "cross/", "vendor/", "fuzz/", "benches/", "findings/"];
/// Layers of `src`, whose files are cited without it.
const LAYERS: [&str; 8] = ["model/", "wire/", "session/", "config/", "node/", "edge/", "daemon/", "cli/"];
/// A script makes these, so they are not in the repository.
const MADE: [&str; 4] = ["vendor/crates", "cross/tools", "cross/cache", "config/modules"];

/// Words of a text that look like a path below one of [`FOLDERS`], or like a source file without `src/`.
fn paths(text: &str) -> Vec<String> {
    let is_part =
        |letter: char| letter.is_alphanumeric() || matches!(letter, '/' | '.' | '_' | '-' | '*' | '<' | '~' | ':');
    text.split(|letter: char| !is_part(letter))
        .map(|word| word.trim_end_matches(['.', ':', '/', '-']).split("::").next().unwrap_or_default())
        .filter(|word| !word.contains(['*', '<', ':', '~']) && !word.contains("...") && !word.contains("NAME"))
        .filter(|word| {
            let is_source = word.ends_with(".rs") && LAYERS.iter().any(|layer| word.starts_with(layer));
            is_source || FOLDERS.iter().any(|folder| word.starts_with(folder))
        })
        .filter(|word| !MADE.iter().any(|made| word.starts_with(made)))
        .map(str::to_owned)
        .collect()
}

/// Targets of links of a Markdown page, without those to other sites.
fn links(text: &str) -> Vec<String> {
    let after = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    after
        .filter(|link| !link.contains("://") && !link.starts_with('#'))
        .map(|link| link.split('#').next().unwrap().to_owned())
        .collect()
}

/// Sections of docs/protocol.md that a text cites.
fn sections(text: &str) -> Vec<u32> {
    let cited = text.split("docs/protocol.md section").skip(1);
    cited
        .flat_map(|rest| {
            let rest = rest.trim_start_matches('s');
            let end =
                rest.find(|letter: char| !letter.is_ascii_digit() && !" ,and".contains(letter)).unwrap_or(rest.len());
            rest[..end]
                .split(|letter: char| !letter.is_ascii_digit())
                .filter_map(|word| word.parse().ok())
                .collect::<Vec<u32>>()
        })
        .collect()
}

fn is_there(root: &Path, path: &str) -> bool {
    let plain = [root.join(path), root.join("src").join(path)];
    plain.iter().any(|path| path.exists() || path.with_extension("rs").exists())
}

/// Returns what a text points at that does not exist; `page` is the file, for links relative to it.
fn broken(root: &Path, page: &Path, text: &str, last_section: u32) -> Vec<String> {
    let mut found: Vec<String> = paths(text).into_iter().filter(|path| !is_there(root, path)).collect();
    if page.extension().is_some_and(|extension| extension == "md") {
        let folder = page.parent().unwrap();
        found.extend(links(text).into_iter().filter(|link| !folder.join(link).exists()));
    }
    found.extend(
        sections(text).into_iter().filter(|section| *section > last_section).map(|number| format!("section {number}")),
    );
    found
}

/// Files below `folder` with one of the extensions.
fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The comments of a source file.
fn comments(text: &str) -> String {
    let lines = text.lines().filter_map(|line| line.split_once("//").map(|(_, comment)| comment));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_documents_and_comments_point_at_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let contract = fs::read_to_string(root.join("docs/protocol.md")).unwrap();
    let numbers = contract.lines().filter_map(|line| line.strip_prefix("## ")?.split('.').next()?.parse().ok());
    let last_section: u32 = numbers.max().unwrap();
    let mut found = Vec::new();
    let mut pages: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md") && !path.ends_with("CHANGELOG.md"));
    for folder in ["docs", "config", "packages", "cross", "vendor", "fuzz", "findings", "tests"] {
        pages.extend(files(&root.join(folder), &["md"]).into_iter().filter(|path| {
            !path
                .components()
                .any(|part| part.as_os_str() == "crates" || part.as_os_str() == "tools" || part.as_os_str() == "target")
        }));
    }
    for folder in ["src", "tests", "benches", "fuzz/fuzz_targets"] {
        pages.extend(files(&root.join(folder), &["rs"]));
    }
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let is_source = page.extension().is_some_and(|extension| extension == "rs");
        let text = if is_source { comments(&text) } else { text };
        let shown = page.strip_prefix(root).unwrap().display().to_string();
        found.extend(
            broken(root, &page, &text, last_section).into_iter().map(|what| format!("{shown}: there is no {what}")),
        );
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_path_a_link_or_a_section_that_is_not_there_is_noticed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let check = |text: &str| broken(root, &root.join("docs/made-up.md"), text, 19);
    assert!(
        check("see `src/main.rs`, node/core.rs, docs/ and [the wire](protocol.md#1-envelope), target/debug/x")
            .is_empty()
    );
    assert_eq!(check("see src/moon.rs."), ["src/moon.rs"]);
    assert_eq!(check("`node/moon.rs` says it"), ["node/moon.rs"]);
    assert_eq!(check("[moon](moon.md)"), ["moon.md"]);
    assert_eq!(check("(docs/protocol.md sections 3, 5 and 77)"), ["section 77"]);
}

//! `docs/options.md` has every option that the code reads, and no others.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::modules::proxy;
use crate::config::{maps, options};

/// Returns the options of each section of the page: `## `name``, then a table with the option in its first column.
fn documented(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut sections = BTreeMap::new();
    let mut name = String::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## `") {
            name = title.trim_end_matches('`').to_owned();
            sections.insert(name.clone(), BTreeSet::new());
        } else if let Some(row) = line.strip_prefix("| `") {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            assert!(cells.len() == 5 && cells[3].len() > 3, "four columns: {line}");
            let option = cells[0].trim_end_matches('`').to_owned();
            assert!(sections.entry(name.clone()).or_default().insert(option), "twice in {name}: {line}");
        }
    }
    sections
}

#[test]
fn every_option_is_documented_and_every_documented_one_is_read() {
    let sections = documented(include_str!("../../../docs/options.md"));
    let read: BTreeMap<String, BTreeSet<String>> = maps()
        .iter()
        .map(|options| (options.name.to_owned(), options.read.iter().map(|name| (*name).to_owned()).collect()))
        .collect();
    for (name, options) in &read {
        let documented = sections.get(name).unwrap_or_else(|| panic!("docs/options.md has no section `{name}`"));
        let absent: Vec<_> = options.difference(documented).collect();
        let needless: Vec<_> = documented.difference(options).collect();
        assert!(absent.is_empty() && needless.is_empty(), "{name}: not there {absent:?}, not read {needless:?}");
    }
    assert_eq!(sections.keys().collect::<Vec<_>>(), read.keys().collect::<Vec<_>>());
}

#[test]
fn every_option_of_the_table_is_asked_for_somewhere() {
    let mut source = String::new();
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("options.rs") {
                let text = std::fs::read_to_string(path).unwrap();
                // Without the list of options itself.
                let (before, after) = text.split_once("\noptions! {").unwrap_or((&text, ""));
                let rest = after.split_once("\n}\n").map_or("", |(_, rest)| rest);
                source.extend([before, rest]);
            }
        }
    }
    for options in maps() {
        for name in options.read {
            assert!(source.contains(&format!("\"{name}\"")), "nobody reads '{name}' of {}", options.place);
        }
    }
}

#[test]
fn advice_names_the_option_or_the_place_where_it_belongs() {
    assert_eq!(options::GORGONE.advice("module", &maps()), "; is 'modules' meant?");
    assert_eq!(options::TOP.advice("modules", &maps()), "; it belongs to 'gorgone'");
    assert_eq!(options::CORE.advice("purge_history_time", &maps()), "; it belongs to the module 'dbcleaner'");
    assert_eq!(proxy::PROXY.advice("Pong-Discard-Timeout", &maps()), "; is 'pong_discard_timeout' meant?");
    assert_eq!(
        options::CORE.advice("comand_timeout", &maps()),
        "; is 'command_timeout' meant? It belongs to the module 'action'"
    );
    assert_eq!(options::CORE.advice("colour", &maps()), "");
}

//! Checks how the files of `src` depend on each other: no large circle of imports, methods beside their type, no path
//! that climbs three modules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::source::{self, SourceFile};

/// Maximum number of files in a circle of imports.
const CIRCLE_MAX: usize = 5;

/// Types whose methods may stand elsewhere. The goal is none; methods of `Core` route, and stand in `node/core`.
const SCATTERED: [&str; 1] = ["Config"];

/// Returns the code of a file without its tests.
fn own_code(file: &SourceFile) -> &str {
    let is_test = file.path.ends_with("tests.rs") || file.path.contains("/tests/") || file.path.contains("testing");
    let end = file.text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(file.text.len());
    if is_test { "" } else { &file.code[..end] }
}

/// Returns the names of the modules down to a file. A `mod.rs` stands for its folder.
fn module_of(path: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
    if matches!(parts.last(), Some(&("mod" | "lib" | "main"))) {
        parts.pop();
    }
    parts
}

/// Returns the paths in `code` that begin with `crate`, `self` or `super`, from the root of the crate.
fn paths<'a>(module: &[&'a str], code: &'a str) -> Vec<Vec<&'a str>> {
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("::") {
        let start = rest[..at].rfind(|letter| !is_name(letter)).map_or(0, |before| before + 1);
        let end = rest[at..].find(|letter| !is_name(letter) && letter != ':').map_or(rest.len(), |end| at + end);
        let mut names: Vec<&str> = rest[start..end].split("::").filter(|name| !name.is_empty()).collect();
        let group = rest[end..].strip_prefix('{').and_then(|group| group.split('}').next()).unwrap_or_default();
        let ups = names.iter().take_while(|name| **name == "super").count();
        let base = match names.first() {
            Some(&"crate") => Some((1, 0)),
            Some(&"self") => Some((1, module.len())),
            Some(&"super") if ups <= module.len() => Some((ups, module.len() - ups)),
            _ => None,
        };
        if let Some((used, kept)) = base {
            let path: Vec<&str> = module[..kept].iter().copied().chain(names.drain(used..)).collect();
            let ends =
                group.split(',').filter_map(|item| item.split(|letter| !is_name(letter)).find(|n| !n.is_empty()));
            found.extend(ends.map(|last| path.iter().copied().chain([last]).collect()));
            found.push(path);
        }
        rest = &rest[end..];
    }
    found
}

/// Returns for each file the files that it imports.
fn imports(files: &[SourceFile]) -> Vec<BTreeSet<usize>> {
    let modules: BTreeMap<Vec<&str>, usize> =
        files.iter().enumerate().map(|(number, file)| (module_of(&file.path), number)).collect();
    let named = |number: usize, file| {
        let found = paths(&module_of(&files[number].path), own_code(file)).into_iter();
        let nearest = |path: Vec<&str>| (1..=path.len()).rev().find_map(|len| modules.get(&path[..len]).copied());
        found.filter_map(nearest).filter(|other| *other != number).collect()
    };
    files.iter().enumerate().map(|(number, file)| named(number, file)).collect()
}

fn reached(imports: &[BTreeSet<usize>], from: usize) -> BTreeSet<usize> {
    let (mut seen, mut waiting) = (BTreeSet::new(), vec![from]);
    while let Some(at) = waiting.pop() {
        waiting.extend(imports[at].iter().copied().filter(|next| seen.insert(*next)));
    }
    seen
}

/// Returns the largest set of files that all reach each other.
fn largest_circle(files: &[SourceFile]) -> Vec<&str> {
    let imports = imports(files);
    let all: Vec<BTreeSet<usize>> = (0..files.len()).map(|from| reached(&imports, from)).collect();
    let circle = |from: usize| all[from].iter().copied().filter(|to| all[*to].contains(&from)).collect::<Vec<_>>();
    let largest = (0..files.len()).map(circle).max_by_key(Vec::len).unwrap_or_default();
    largest.into_iter().map(|number| files[number].path.as_str()).collect()
}

/// Returns types with methods in a file that is neither their own nor below it, as `TYPE in FILE`.
fn scattered(files: &[SourceFile]) -> Vec<String> {
    let mut homes: BTreeMap<&str, Vec<Vec<&str>>> = BTreeMap::new();
    let name = |text: &'static str, line: &str| -> Option<usize> { line.find(text).map(|at| at + text.len()) };
    let word = |text: &str| text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len());
    for file in files {
        for line in own_code(file).lines().filter(|line| line.trim_start() == *line) {
            for keyword in ["struct ", "enum "] {
                if let Some(at) = name(keyword, line) {
                    let rest = &line[at..];
                    homes.entry(&rest[..word(rest)]).or_default().push(module_of(&file.path));
                }
            }
        }
    }
    let mut found = Vec::new();
    for file in files {
        for line in own_code(file).lines().filter(|line| line.starts_with("impl") && !line.contains(" for ")) {
            let rest = line.trim_start_matches("impl").trim_start_matches(|letter| letter != ' ').trim_start();
            let name = &rest[..word(rest)];
            let module = module_of(&file.path);
            let is_home = |home: &Vec<&str>| module.starts_with(home);
            if homes.get(name).is_some_and(|homes| !homes.iter().any(is_home)) {
                found.push(format!("{name} in {}", file.path));
            }
        }
    }
    found
}

fn src() -> Vec<SourceFile> {
    source::read_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

fn made_up(files: &[(&str, &str)]) -> Vec<SourceFile> {
    files.iter().map(|(path, text)| SourceFile::new(path, text)).collect()
}

#[test]
fn no_circle_of_imports_grows() {
    let files = src();
    let circle = largest_circle(&files);
    assert!(circle.len() <= CIRCLE_MAX, "{} files lead to each other, {CIRCLE_MAX} at most: {circle:?}", circle.len());
}

#[test]
fn a_circle_is_found_however_its_imports_are_written() {
    let files = made_up(&[
        ("a.rs", "use crate::b::{self, c};"),
        ("b/mod.rs", "mod c;"),
        ("b/c.rs", "fn f() { super::super::d::g() }"),
        ("d.rs", "use crate::a;\n#[cfg(test)]\nmod tests {\n use crate::e;\n}"),
        ("e.rs", "use crate::d;"),
    ]);
    assert_eq!(largest_circle(&files), ["a.rs", "b/c.rs", "d.rs"]);
}

#[test]
fn methods_stand_in_the_file_of_their_type_or_below_it() {
    let is_known = |found: &String| SCATTERED.iter().any(|name| found.starts_with(&format!("{name} in ")));
    let found: Vec<String> = scattered(&src()).into_iter().filter(|found| !is_known(found)).collect();
    assert!(found.is_empty(), "move these beside their types: {found:#?}");
}

#[test]
fn methods_elsewhere_are_noticed() {
    let files = made_up(&[
        ("a.rs", "pub struct A;\nenum B { C }\nimpl A {}"),
        ("a/part.rs", "impl super::A {}\nimpl A {}"),
        ("other.rs", "impl<'a> A {}\nimpl Clone for A {}\nimpl Unknown {}\nimpl B {}"),
    ]);
    assert_eq!(scattered(&files), ["A in other.rs", "B in other.rs"]);
}

#[test]
fn nobody_climbs_three_modules() {
    let climbers = |files: &[SourceFile]| {
        let climbs = |file: &&SourceFile| file.code.contains("super::super::super");
        files.iter().filter(climbs).map(|file| file.path.clone()).collect::<Vec<_>>()
    };
    let found = climbers(&src());
    assert!(found.is_empty(), "say crate::… in {found:?}");
    assert_eq!(
        climbers(&made_up(&[("a.rs", "use super::super::super::b;"), ("c.rs", "use super::super::b;")])),
        ["a.rs"]
    );
}

//! Checks that every public item is used. The compiler does not notice an unused one, because the library exports
//! everything.

use std::collections::HashMap;
use std::path::Path;

use crate::source::{self, SourceFile};

const ITEMS: [&str; 7] = ["fn", "struct", "enum", "const", "static", "trait", "type"];

/// Returns the code of a file without unit tests.
fn own_code(file: &SourceFile) -> &str {
    let is_test = file.path.ends_with("tests.rs")
        || file.path.contains("/tests/")
        || ["testing", "test_keys"].iter().any(|part| file.path.contains(part));
    if is_test {
        return "";
    }
    let end = file.text.find("#[cfg(test)]\nmod tests {").unwrap_or(file.text.len());
    &file.code[..end]
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty())
}

/// Returns the name of the item that a line declares, and whether it is public.
fn declared(line: &str) -> Option<(&str, bool)> {
    let is_public = line.trim_start().starts_with("pub");
    let mut words = words(line).skip_while(|word| !ITEMS.contains(word));
    let keyword = words.next()?;
    // Accepts `const fn name` and `fn name`, but not `impl Trait for …` or a type in the middle of an expression.
    let name = words.find(|word| !ITEMS.contains(word) && *word != "unsafe")?;
    let before = line.split(keyword).next()?;
    let modifiers = ["pub", "crate", "super", "in", "const", "unsafe", "async", "self"];
    before
        .split(|letter: char| !letter.is_alphanumeric())
        .all(|word| word.is_empty() || modifiers.contains(&word))
        .then_some((name, is_public))
}

/// Returns public items of `files` that neither `files` nor `others` name anywhere but in their declaration.
fn unused(files: &[SourceFile], others: &[SourceFile]) -> Vec<String> {
    let mut uses: HashMap<&str, usize> = HashMap::new();
    let mut declarations: HashMap<&str, usize> = HashMap::new();
    for code in files.iter().map(own_code).chain(others.iter().map(|file| file.code.as_str())) {
        words(code).for_each(|word| *uses.entry(word).or_default() += 1);
    }
    let mut public = Vec::new();
    for file in files {
        for (index, line) in own_code(file).lines().enumerate() {
            let Some((name, is_public)) = declared(line) else { continue };
            *declarations.entry(name).or_default() += 1;
            let is_for_tests =
                own_code(file).lines().nth(index.wrapping_sub(1)).is_some_and(|line| line.contains("cfg(test)"));
            if is_public && !is_for_tests {
                public.push((name, file, index + 1));
            }
        }
    }
    let is_unused = |name: &str| uses.get(name) <= declarations.get(name);
    public
        .into_iter()
        .filter(|(name, ..)| is_unused(name))
        .map(|(name, file, line)| {
            format!("src/{}:{line}: nothing uses '{name}': remove it, or say #[cfg(test)]", file.path)
        })
        .collect()
}

#[test]
fn everything_public_is_used() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = source::read_tree(&root.join("src"));
    let others: Vec<SourceFile> =
        ["benches", "fuzz/fuzz_targets"].iter().flat_map(|folder| source::read_tree(&root.join(folder))).collect();
    let found = unused(&files, &others);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn an_item_that_only_tests_use_is_noticed() {
    let text = "//! Doc.\npub fn used() {}\npub const fn idle() { used() }\n#[cfg(test)]\npub fn shown() {}\n\
                #[cfg(test)]\nmod tests {\n    fn f() { idle(); }\n}\n";
    let files = [SourceFile::new("model/a.rs", text)];
    assert_eq!(unused(&files, &[]), ["src/model/a.rs:3: nothing uses 'idle': remove it, or say #[cfg(test)]"]);
    assert!(unused(&files, &[SourceFile::new("b.rs", "fn g() { idle(); }")]).is_empty());
}

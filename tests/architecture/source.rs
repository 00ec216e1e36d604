//! A source file with blanked comments and literals, so that a search finds code only.

use std::fs;
use std::path::Path;

/// One file below `src`.
pub struct SourceFile {
    /// Path below `src`, with `/`.
    pub path: String,
    /// The text as it is.
    pub text: String,
    /// The text with every comment and every string or character literal replaced by spaces; the same lines.
    pub code: String,
}

impl SourceFile {
    /// Reads the text of a file.
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank(text) }
    }

    /// Returns the line number, from 1, of a byte of `code`.
    pub fn line_of(&self, offset: usize) -> usize {
        self.code.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }
}

/// Returns every `.rs` file below `root`, sorted by path.
pub fn read_tree(root: &Path) -> Vec<SourceFile> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(root).unwrap().to_str().unwrap();
                files.push(SourceFile::new(below, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort_by(|left, right| left.path.cmp(&right.path));
    files
}

/// Replaces comments and literals by spaces and keeps newlines.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end == at {
            code.push(bytes[at]);
            at += 1;
        } else {
            code.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
            at = end;
        }
    }
    String::from_utf8(code).expect("only whole comments and literals are replaced")
}

/// Returns the end of the comment or literal that begins at `at`, or `at` itself if none begins there.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return at + block_comment_len(rest);
    }
    let in_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    if rest[0] == b'r' && (!in_word || bytes[at - 1] == b'b') {
        let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
        if rest.get(1 + hashes) == Some(&b'"') {
            let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
            let body = &rest[2 + hashes..];
            let length = body.windows(close.len()).position(|window| window == close).unwrap_or(body.len());
            return (at + 2 + hashes + length + close.len()).min(bytes.len());
        }
    }
    match rest[0] {
        b'"' => at + quoted_len(rest, b'"'),
        // A lifetime has no closing quote right after its first character.
        b'\'' if rest.get(1) == Some(&b'\\') => at + quoted_len(rest, b'\''),
        b'\'' => match std::str::from_utf8(&rest[1..rest.len().min(6)]) {
            Ok(text) => char_literal_len(text).map_or(at, |length| at + length),
            Err(error) => {
                let valid = std::str::from_utf8(&rest[1..1 + error.valid_up_to()]).unwrap_or_default();
                char_literal_len(valid).map_or(at, |length| at + length)
            }
        },
        _ => at,
    }
}

/// Returns the length of `'x'`, given what follows the first quote.
fn char_literal_len(after_quote: &str) -> Option<usize> {
    let mut characters = after_quote.chars();
    let first = characters.next()?;
    (characters.next() == Some('\'')).then_some(first.len_utf8() + 2)
}

/// Returns the length of a literal between two `quote`s, with backslash escapes.
fn quoted_len(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Returns the length of a block comment, which may contain others.
fn block_comment_len(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

#[test]
fn comments_and_literals_are_blanked_and_lifetimes_are_not() {
    let text = "a /* b /* c */ d */ e \"f\\\" // g\" 'h' '\\'' r#\"i \" j\"# b\"k\" <'l> 'é' // m\nn";
    let expected = [
        "a",
        &" ".repeat(19),
        "e",
        &" ".repeat(24), // Up to the raw string.
    ];
    let code = blank(text);
    assert!(code.starts_with(&expected[..3].concat()), "{code:?}");
    assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "e", "b", "<'l>", "n"]);
    assert_eq!(code.lines().count(), 2);
}

//! One file's text to values, with errors that show line, column and remedy. Does not know other files: `!include` is
//! handed to the caller.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use serde_yaml::Value as Yaml;

use super::tree::{Node, Value};

/// The values of one file, `!include` not yet resolved.
pub(super) struct Parsed(Yaml);

/// Reads the text of a file.
///
/// # Errors
/// What is wrong with it and where, for a person.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, String> {
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
            return Err(format!("line {line}: this is not UTF-8 text; save the file as UTF-8"));
        }
    };
    if text.trim_matches(['\u{feff}', ' ', '\n', '\r', '\t']).is_empty() {
        return Ok(Parsed(Yaml::Null));
    }
    let mut value: Yaml = serde_yaml::from_str(text).map_err(|error| explain(text, &error))?;
    value.apply_merge().map_err(|error| format!("a '<<' merge cannot be done: {error}"))?;
    Ok(Parsed(value))
}

/// The message of the YAML reader in our form; a tab in the indentation gets its own, because the reader's is a riddle.
fn explain(text: &str, error: &serde_yaml::Error) -> String {
    let message = error.to_string();
    let Some(location) = error.location() else {
        return match message.as_str() {
            "EOF while parsing a value" => "the file holds no value".to_owned(),
            "deserializing from YAML containing more than one document is not supported" => {
                "the file holds more than one document ('---'); only one is allowed".to_owned()
            }
            "repetition limit exceeded" => "aliases ('*name') repeat too much".to_owned(),
            _ => format!("this is not valid YAML: {message}"),
        };
    };
    // The reader may notice a tab only on the line after it.
    let reached = text.lines().take(location.line().saturating_add(1)).enumerate();
    for (index, line) in reached.skip(location.line().saturating_sub(2)) {
        let indentation: String = line.chars().take_while(|letter| letter.is_whitespace()).collect();
        if let Some(column) = indentation.chars().position(|letter| letter == '\t') {
            return format!(
                "line {}, column {}: a tab stands in the indentation; YAML allows only spaces there",
                index.saturating_add(1),
                column.saturating_add(1)
            );
        }
    }
    let plain = message.split(" at line ").next().unwrap_or(&message);
    let hint = unquoted_start(text, location.line());
    format!("line {}, column {}: this is not valid YAML: {plain}{hint}", location.line(), location.column())
}

/// A hint where a value of the line begins with a character that YAML keeps for itself, as in
/// `external_com_path: *:5556`.
fn unquoted_start(text: &str, line: usize) -> &'static str {
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let starts = [": *", ": @", ": `", ": %", "- *", "- @", "- `", "- %"];
    if starts.iter().any(|start| line.contains(start)) {
        "; a value that begins with '*', '@', '`' or '%' needs quotes, for instance \"*:5556\""
    } else {
        ""
    }
}

/// What a tag other than the standard ones asks for: called with the tag's name (without `!`) and its text, gives the
/// value that takes its place.
pub(super) type TagHandler<'a> = dyn FnMut(&Tag<'_>, &str) -> Option<Node> + 'a;

/// A tagged scalar, for instance `!include a.yaml,b.d/*.yaml`.
pub(super) struct Tag<'a> {
    /// The name without `!`.
    pub(super) name: &'a str,
    /// The tagged text; `None` if it is not a single value.
    pub(super) text: Option<&'a str>,
}

impl Parsed {
    /// The tree of these values, each marked with `file`. `on_tag` is called with a tag and the key it stands at.
    pub(super) fn into_node(self, file: &Rc<Path>, on_tag: &mut TagHandler<'_>) -> Node {
        convert(self.0, file, "", on_tag)
    }
}

fn convert(yaml: Yaml, file: &Rc<Path>, key: &str, on_tag: &mut TagHandler<'_>) -> Node {
    let value = match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Text(value.to_string()),
        Yaml::Number(value) => Value::Text(value.to_string()),
        Yaml::String(value) => Value::Text(value),
        Yaml::Sequence(items) => {
            let items = items.into_iter().enumerate();
            Value::List(items.map(|(index, item)| convert(item, file, &format!("{key}[{index}]"), on_tag)).collect())
        }
        Yaml::Mapping(entries) => {
            let mut map = BTreeMap::new();
            for (name, item) in entries {
                let name = scalar(&name).unwrap_or_default();
                let below = join(key, &name);
                map.insert(name, convert(item, file, &below, on_tag));
            }
            Value::Map(map)
        }
        Yaml::Tagged(tagged) => {
            let name = tagged.tag.to_string();
            let text = scalar(&tagged.value);
            let tag = Tag { name: name.trim_start_matches('!'), text: text.as_deref() };
            match on_tag(&tag, key) {
                Some(node) => return node,
                None => Value::Null,
            }
        }
    };
    Node { value, file: Rc::clone(file) }
}

fn scalar(value: &Yaml) -> Option<String> {
    match value {
        Yaml::String(text) => Some(text.clone()),
        Yaml::Bool(value) => Some(value.to_string()),
        Yaml::Number(value) => Some(value.to_string()),
        _ => None,
    }
}

/// `key` below `parent`, as messages write it.
pub(super) fn join(parent: &str, key: &str) -> String {
    let point = if parent.is_empty() || key.is_empty() || key.starts_with('[') { "" } else { "." };
    format!("{parent}{point}{key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text.as_bytes()).err().unwrap()
    }

    #[test]
    fn a_tab_in_the_indentation_is_named_with_its_place() {
        let text = "gorgone:\n  gorgonecore:\n\t  id: 1\n";
        assert_eq!(error(text), "line 3, column 1: a tab stands in the indentation; YAML allows only spaces there");
        let text = "gorgone:\n  core:\n    id: 1\n  \tname: x\n";
        assert_eq!(error(text), "line 4, column 3: a tab stands in the indentation; YAML allows only spaces there");
    }

    #[test]
    fn other_syntax_errors_show_line_and_column() {
        assert!(
            error("a: 1\nb: [1, 2\nc: 3\n").starts_with("line 3, column 2: "),
            "{}",
            error("a: 1\nb: [1, 2\nc: 3\n")
        );
        assert!(error("a: 1\na: 2\n").contains("duplicate entry"), "{}", error("a: 1\na: 2\n"));
        assert!(error("a: 1\n---\nb: 1\n").contains("more than one document"), "{}", error("a: 1\n---\nb: 1\n"));
    }

    #[test]
    fn a_star_without_quotes_gets_a_hint() {
        assert!(
            error("path: *:5556\n").ends_with("needs quotes, for instance \"*:5556\""),
            "{}",
            error("path: *:5556\n")
        );
    }

    #[test]
    fn bytes_that_are_not_text_are_refused_with_their_line() {
        assert!(parse(b"a: 1\nb: \xe9\n").err().unwrap().starts_with("line 2: this is not UTF-8"));
        assert!(parse(b"\x7fELF\x02\x01\x01\0\0\0").is_err());
    }

    #[test]
    fn a_file_of_comments_is_empty_and_not_wrong() {
        for text in ["", "\n", "# nothing\n", "---\n", "\u{feff}"] {
            let node =
                parse(text.as_bytes()).map(|parsed| parsed.into_node(&Rc::from(Path::new("f")), &mut |_, _| None));
            assert_eq!(node.unwrap().value, Value::Null, "{text:?}");
        }
    }

    #[test]
    fn aliases_that_multiply_are_refused() {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..12 {
            let below = level - 1;
            text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{below}"); 10].join(",")));
        }
        assert!(error(&text).contains("repeat too much"), "{}", error(&text));
    }
}

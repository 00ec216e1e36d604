//! What values are, what prevents reading, and whether another reader sees the same structure.

use super::*;

fn read(text: &str) -> Result<Node, Fault> {
    parse(&Rc::from(Path::new("f")), text.as_bytes(), &mut |_, _, _| None)
}

fn error(text: &str) -> String {
    let fault = read(text).unwrap_err();
    format!("{}: {}", fault.line, fault.text)
}

/// Returns a value as JSON, with every scalar as text.
fn shape(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Text(text) => format!("{text:?}"),
        Value::List(items) => format!("[{}]", items.iter().map(shape).collect::<Vec<_>>().join(",")),
        Value::Map(entries) => {
            let entries: Vec<String> = entries.iter().map(|(key, node)| format!("{key}:{}", shape(node))).collect();
            format!("{{{}}}", entries.join(","))
        }
    }
}

fn value(text: &str) -> String {
    shape(&read(text).unwrap())
}

#[test]
fn every_scalar_keeps_the_text_of_the_file() {
    for (text, expected) in [
        ("1e5", "1e5"),
        ("0x1F", "0x1F"),
        ("1.10", "1.10"),
        ("0123", "0123"),
        ("+5", "+5"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("2026-11-30", "2026-11-30"),
        ("12:30:45", "12:30:45"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("-0", "-0"),
        ("True", "True"),
        ("yes", "yes"),
        ("NULL", "NULL"),
        ("true", "true"),
        ("'true'", "true"),
        ("1", "1"),
        ("\"1\"", "1"),
        ("\"abc \"", "abc "),
        ("' abc'", " abc"),
        ("'it''s'", "it's"),
        ("\"\\u00e9\\t\\\"\"", "é\t\""),
        ("a b  c   # comment", "a b  c"),
        ("a#b", "a#b"),
        ("!!str 5", "5"),
        ("!!int \"5\"", "5"),
        ("'~'", "~"),
        ("\"null\"", "null"),
        ("''", ""),
        ("|\n  two\n  lines\n", "two\nlines\n"),
        (">-\n  one\n  line\n", "one line"),
    ] {
        assert_eq!(value(&format!("k: {text}")), format!("{{k:{expected:?}}}"), "{text}");
    }
}

#[test]
fn only_an_unquoted_tilde_null_or_nothing_is_no_value() {
    for text in ["k:", "k: ~", "k: null", "k:   # nothing"] {
        assert_eq!(value(text), "{k:null}", "{text}");
    }
}

#[test]
fn every_value_knows_its_line() {
    let node = read("a: 1\nb:\n  - x\n  - y: 2\n    z: |\n      text\nc: !!str\n  5\n").unwrap();
    let line = |path: &[&str]| {
        path.iter()
            .fold(&node, |node, step| match (&node.value, step.parse::<usize>()) {
                (Value::List(items), Ok(index)) => &items[index],
                _ => node.get(step).unwrap(),
            })
            .place
            .line
    };
    assert_eq!(
        [line(&["a"]), line(&["b", "0"]), line(&["b", "1", "y"]), line(&["b", "1", "z"]), line(&["c"])],
        [1, 3, 4, 6, 7]
    );
}

#[test]
fn anchors_aliases_and_merge_keys_are_followed() {
    let text = "base: &base {a: 1, b: 2}\nother: &other {b: 3, c: 4}\none:\n  <<: *base\n  b: 9\nmany:\n  <<: \
        [*base, *other]\n";
    assert_eq!(
        value(text),
        "{base:{a:\"1\",b:\"2\"},other:{b:\"3\",c:\"4\"},one:{b:\"9\",a:\"1\"},many:{a:\"1\",b:\"2\",c:\"4\"}}"
    );
    assert_eq!(value("a: &x word\nb: *x\n*x : key\n"), "{a:\"word\",b:\"word\",word:\"key\"}");
    assert_eq!(value("k: '<<'\n'<<': v\n"), "{k:\"<<\",<<:\"v\"}", "quoted, it is a key as any other");
    assert_eq!(
        error("a: 1\nb:\n  <<: 5\n"),
        "3: column 3: a '<<' merge cannot be done with a single value; allowed: a map or a list of maps"
    );
    assert_eq!(error("a: &x [*x]\n"), "1: column 8: an alias ('*name') is inside the value that it names");
    assert!(error("a: *nobody\n").contains("unknown anchor"), "{}", error("a: *nobody\n"));
}

#[test]
fn a_tag_is_handed_over_with_its_place_and_key() {
    let mut seen = Vec::new();
    let text = "a:\n  - !include b.yaml,c.d/*.yaml\n  - !vault {x: 1}\n";
    let node = parse(&Rc::from(Path::new("f")), text.as_bytes(), &mut |tag, place, key| {
        seen.push(format!("{} {:?} {} {key}", tag.name, tag.text, place.line));
        Some(Node { value: Value::Text("new".into()), place: place.clone() })
    });
    assert_eq!(shape(&node.unwrap()), "{a:[\"new\",\"new\"]}");
    assert_eq!(seen, ["include Some(\"b.yaml,c.d/*.yaml\") 2 a[0]", "vault None 3 a[1]"]);
}

#[test]
fn a_tab_in_the_indentation_is_named_with_its_place() {
    let text = "gorgone:\n  gorgonecore:\n\t  id: 1\n";
    assert_eq!(error(text), "3: column 1: the indentation contains a tab; YAML allows only spaces there");
    let text = "gorgone:\n  core:\n    id: 1\n  \tname: x\n";
    assert_eq!(error(text), "4: column 3: the indentation contains a tab; YAML allows only spaces there");
    assert_eq!(value("a:\tb\t# c\n"), "{a:\"b\"}", "elsewhere it is a blank");
}

#[test]
fn other_syntax_errors_show_line_and_column() {
    for (text, expected) in [
        ("a: 1\nb: [1, 2\nc: 3\n", "3: column 2: this is not valid YAML: "),
        ("a: 1\na: 2\n", "2: column 1: duplicate entry with key 'a'; a key may occur only once in a map"),
        ("a: 1\n---\nb: 1\n", "3: the file holds more than one document ('---'); only one is allowed"),
        ("a: b: c\n", "1: column 5: this is not valid YAML: mapping values are not allowed"),
        ("[a, b]: c\n", "1: column 1: a key is not a single word; write 'key: value'"),
    ] {
        assert!(error(text).starts_with(expected), "{text:?}: {}", error(text));
    }
    let many: String = (0..40).map(|number| format!("k{number}: 1\n")).collect();
    assert!(error(&format!("{many}k20: 2\n")).contains("duplicate entry with key 'k20'"));
}

#[test]
fn a_star_without_quotes_gets_a_hint() {
    let text = error("path: *:5556\n");
    assert!(text.ends_with("needs quotes, for instance \"*:5556\""), "{text}");
}

#[test]
fn bytes_that_are_not_text_are_refused_with_their_line() {
    let parse = |bytes: &[u8]| parse(&Rc::from(Path::new("f")), bytes, &mut |_, _, _| None);
    let fault = parse(b"a: 1\nb: \xe9\n").unwrap_err();
    assert_eq!((fault.line, fault.text.as_str()), (2, "this is not UTF-8 text; save the file as UTF-8"));
    assert!(parse(b"\x7fELF\x02\x01\x01\0\0\0").is_err());
}

#[test]
fn a_file_of_comments_is_empty_and_not_wrong() {
    for text in ["", "\n", "# nothing\n", "---\n", "\u{feff}", "\u{feff}# x\n"] {
        assert_eq!(value(text), "null", "{text:?}");
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

#[test]
fn nesting_is_refused_at_a_depth() {
    for text in [
        "[".repeat(50_000),
        "{a: ".repeat(50_000),
        (0..2_000).map(|level| format!("{}a:\n", " ".repeat(level))).collect(),
        "- ".repeat(50_000),
    ] {
        let text = error(&text);
        assert!(text.contains("more than 64 levels deep"), "{text}");
    }
    assert!(read(&format!("{}x{}", "[".repeat(60), "]".repeat(60))).is_ok());
}

/// Returns the same as [`shape`] from another reader of YAML. Scalars are compared only where that reader keeps their
/// text.
fn other_shape(value: &serde_yaml::Value) -> String {
    use serde_yaml::Value as Other;
    match value {
        Other::Null => "null".to_owned(),
        Other::Bool(value) => format!("\"{value}\""),
        Other::Number(value) => format!("\"{value}\""),
        Other::String(text) => format!("{text:?}"),
        Other::Sequence(items) => format!("[{}]", items.iter().map(other_shape).collect::<Vec<_>>().join(",")),
        Other::Mapping(entries) => {
            let entry = |(key, value): (&Other, &Other)| format!("{}:{}", key.as_str().unwrap(), other_shape(value));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(","))
        }
        Other::Tagged(tagged) => other_shape(&tagged.value),
    }
}

#[test]
fn another_reader_sees_the_same_in_the_example_files() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut seen = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let node = parse(&Rc::from(path.as_path()), text.as_bytes(), &mut |tag, place, _| {
            Some(Node { value: Value::Text(tag.text.unwrap().into()), place: place.clone() })
        });
        let other: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(shape(&node.unwrap()), other_shape(&other), "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 6, "{seen}");
}

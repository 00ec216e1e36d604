//! Splits a command line into words for `no_shell_interpretation`: at white space, with single and double quotes and
//! backslashes. No other character is special.

/// Returns the words of `line`; `None` if a quote is not closed.
pub(in crate::node) fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            quote @ ('"' | '\'') => read_quoted(&mut characters, quote, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(characters.next().unwrap_or('\\')),
            space if space.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

fn read_quoted(characters: &mut std::str::Chars<'_>, quote: char, word: &mut String) -> Option<()> {
    loop {
        match characters.next()? {
            end if end == quote => return Some(()),
            '\\' if quote == '"' => word.push(characters.next()?),
            other => word.push(other),
        }
    }
}

/// Quotes any word for a POSIX shell.
pub(in crate::node) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_at_spaces_outside_quotes() {
        for (line, words) in [
            ("/bin/echo a  b\t c ", &["/bin/echo", "a", "b", "c"][..]),
            ("a 'b c' \"d e\"", &["a", "b c", "d e"]),
            ("a'b'\"c\"d", &["abcd"]),
            ("a '' \"\"", &["a", "", ""]),
            ("a\\ b \"c\\\"d\" 'e\\f'", &["a b", "c\"d", "e\\f"]),
            ("a; b | c $(d) é€", &["a;", "b", "|", "c", "$(d)", "é€"]),
            ("", &[]),
            ("  ", &[]),
        ] {
            let expected: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(split(line), Some(expected), "{line}");
        }
    }

    #[test]
    fn a_quote_that_is_not_closed_is_an_error() {
        for line in ["'", "a \"b", "a \"b\\", "it's"] {
            assert_eq!(split(line), None, "{line}");
        }
    }
}

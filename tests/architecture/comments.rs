//! Checks that a comment says more than the name below it.

use crate::source::SourceFile;

/// Words that carry no meaning of their own.
const FILLERS: &str = " a an and are as at be by for from has have if in is it its of on one or return returns that \
                       the this to was were whether which with ";
/// Endings by which a word differs from the one in the name.
const ENDINGS: [&str; 7] = ["ies", "es", "ed", "ing", "ion", "s", "d"];

/// Returns a word in small letters and without its ending.
fn stem(word: &str) -> String {
    let word = word.to_lowercase();
    let ending = ENDINGS.iter().find(|ending| word.len() >= ending.len() + 3 && word.ends_with(**ending));
    word[..word.len() - ending.map_or(0, |ending| ending.len())].trim_end_matches('e').to_owned()
}

/// The words of a comment, or of names such as `send_queue` and `SendQueue`.
fn stems(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for letter in text.chars() {
        let is_next = !letter.is_ascii_alphabetic() || (was_small && letter.is_ascii_uppercase());
        was_small = letter.is_ascii_lowercase();
        if is_next {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| letter.is_ascii_alphabetic()) {
            word.push(letter);
        }
    }
    words.iter().filter(|word| !word.is_empty()).map(|word| stem(word)).collect()
}

/// Whether every word of a comment stands in the declaration below it. A figure or a default in brackets is news.
fn says_only_the_name(comment: &str, item: &str) -> bool {
    if comment.contains(|letter: char| letter.is_ascii_digit() || letter == '(') {
        return false;
    }
    let names = stems(item);
    let is_filler = |word: &&str| FILLERS.contains(&format!(" {} ", word.to_lowercase()));
    let words = comment.split(|letter: char| !letter.is_ascii_alphabetic()).filter(|word| !word.is_empty());
    let mut words = words.filter(|word| !is_filler(word)).peekable();
    words.peek().is_some() && words.all(|word| stems(word).iter().all(|word| names.contains(word)))
}

/// Comments of one line that only repeat a name.
pub fn empty_comments(file: &SourceFile, flag: &mut impl FnMut(usize, String)) {
    let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
    for (index, line) in lines.iter().enumerate() {
        let Some(comment) = line.strip_prefix("/// ") else { continue };
        let is_alone = |at: Option<&&str>| at.is_none_or(|line| !line.starts_with("///"));
        let is_single = is_alone(index.checked_sub(1).and_then(|before| lines.get(before)));
        if !is_single || !is_alone(lines.get(index + 1)) {
            continue;
        }
        let item = lines[index + 1..].iter().find(|line| !line.starts_with("#["));
        if item.is_some_and(|item| says_only_the_name(comment, item)) {
            flag(index + 1, format!("'{comment}' only repeats the name: say more, or leave it out"));
        }
    }
}

#[test]
fn a_comment_that_only_repeats_a_name_is_noticed() {
    let flagged = |text: &str| {
        let mut found = Vec::new();
        empty_comments(&SourceFile::new("node/a.rs", text), &mut |line, _| found.push(line));
        found
    };
    assert_eq!(flagged("struct A {\n    /// Its node.\n    pub node: NodeId,\n}"), [2]);
    assert_eq!(flagged("/// Returns whether a token is open.\n#[must_use]\nfn is_open(token: &Token) -> bool {"), [1]);
    assert_eq!(flagged("/// The subscribers.\nstruct Subscribers {"), [1]);
    assert!(flagged("/// The node that is asked.\npub node: NodeId,").is_empty());
    assert!(flagged("/// `port` (8080)\npub port: u16,").is_empty());
    assert!(flagged("/// The node.\n/// It is asked.\npub node: NodeId,").is_empty());
}

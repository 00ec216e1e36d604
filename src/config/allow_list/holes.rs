//! Finds expressions that allow more than intended: a shell also runs further commands on the same line.

use super::example::{self, Piece};
use super::{Expression, Found};

/// Maximum number of attempts for one expression.
const TRIES_MAX: usize = 300;

/// A command line that an expression allows by mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Hole {
    /// The expression is not anchored; with the command line that it allows.
    NotAnchored(String),
    /// The expression allows too much inside; with the command line that it allows.
    Inside(String),
    /// The expression is not anchored, but no example was found.
    NoExample,
}

/// Finds a command line that the expression allows and with which a shell also runs `id`. Each attempt is matched
/// against the expression.
pub(in super::super) fn find(expression: &Expression) -> Option<Hole> {
    let Some(examples) = example::of(&expression.pattern) else {
        let text = expression.text.trim();
        let begins = text.starts_with('^') || text.starts_with("\\A");
        let ends = (text.ends_with('$') && !text.ends_with("\\$")) || text.ends_with("\\z") || text.ends_with("\\Z");
        return (!begins || !ends).then_some(Hole::NoExample);
    };
    for hole in examples.iter().flat_map(|pieces| attempts(pieces)).take(TRIES_MAX) {
        let (Hole::NotAnchored(line) | Hole::Inside(line)) = &hole else { continue };
        match expression.find(line) {
            Found::Yes => return Some(by_cause(hole, &expression.text)),
            Found::No => {}
            Found::CutOff => return None,
        }
    }
    None
}

/// Command lines made from the example with which a shell would run an additional command.
fn attempts(pieces: &[Piece]) -> impl Iterator<Item = Hole> {
    let example: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
    let around =
        [format!("{example}; id"), format!("{example}\nid"), format!("id; {example}"), format!("id\n{example}")];
    let inside = (0..pieces.len()).flat_map(|index| inside(pieces, index)).map(Hole::Inside);
    around.into_iter().map(Hole::NotAnchored).chain(inside)
}

/// Corrects the kind of a hole: an expression from `^` to `$` counts as anchored, even if it ends in `.*$`.
fn by_cause(hole: Hole, text: &str) -> Hole {
    match hole {
        Hole::NotAnchored(line) if text.starts_with('^') && text.ends_with('$') => Hole::Inside(line),
        hole => hole,
    }
}

/// Variants of the example with one free piece replaced by a command for the shell.
fn inside(pieces: &[Piece], index: usize) -> Vec<String> {
    let Some((before, [piece, after @ ..])) = pieces.split_at_checked(index) else { return Vec::new() };
    if !piece.is_free {
        return Vec::new();
    }
    let join = |pieces: &[Piece]| pieces.iter().map(|piece| piece.text.as_str()).collect::<String>();
    let (before, after) = (join(before), join(after));
    let attacks: &[&str] = match quoted_by(&before) {
        Some('\'') => &["a'; id; '", "a';id;'"],
        Some(_) => &["$(id)", "`id`"],
        None => &["a; id ", "a;id;", "$(id)", "`id`", "a\nid\na"],
    };
    attacks.iter().map(|attack| format!("{before}{attack}{after}")).collect()
}

/// Returns the quote character that is still open at the end of `text`.
fn quoted_by(text: &str) -> Option<char> {
    let mut open = None;
    for character in text.chars() {
        match (open, character) {
            (None, '\'' | '"') => open = Some(character),
            (Some(quote), end) if quote == end => open = None,
            _ => {}
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hole(text: &str) -> Option<Hole> {
        find(&Expression::compile(text).unwrap())
    }

    #[test]
    fn expressions_without_anchors_come_with_a_command_that_gets_through() {
        for (text, line) in [
            ("^mkdir", "mkdir; id"),
            ("^centreon", "centreon; id"),
            ("uptime$", "id; uptime"),
            ("^/usr/(lib|share)/run(_it)?", "/usr/lib/run; id"),
            ("a{2,3}b+", "aab; id"),
            ("^ls$|^who", "who; id"),
        ] {
            assert_eq!(hole(text), Some(Hole::NotAnchored(line.to_owned())), "{text}");
        }
    }

    #[test]
    fn anchored_expressions_can_have_holes_inside() {
        for (text, line) in [
            (r"^(sudo\s+)?/usr/lib/plugins/.*$", "/usr/lib/plugins/; id"),
            (r"^run -p \S+ -w$", "run -p a;id; -w"),
            (r"^php /cron/[\w,\s.-]+ >> /log$", "php /cron/a\nid\na >> /log"),
            ("^say '.*' now$", "say 'a'; id; '' now"),
            ("^say \"[^\"]+\" now$", "say \"$(id)\" now"),
        ] {
            assert_eq!(hole(text), Some(Hole::Inside(line.to_owned())), "{text}");
        }
    }

    #[test]
    fn sound_expressions_are_left_in_peace() {
        for text in [
            r"^sudo\s+(/bin/|/usr/bin/)?systemctl\s+(reload|restart)\s+(centengine|cbd)(\.service)?\s*$",
            "^uptime$",
            r"\Auptime\z",
            r"^cat\s+/var/lib/+[a-zA-Z0-9\-]+-stats\.json\s*$",
            r"^x --name='[a-z]+'$",
        ] {
            assert_eq!(hole(text), None, "{text}");
        }
    }

    #[test]
    fn without_an_example_missing_anchors_are_named_all_the_same() {
        assert_eq!(hole("(?=a)\\w+"), Some(Hole::NoExample));
        assert_eq!(hole("^(?!rm)\\w+$"), None);
    }

    #[test]
    fn an_expression_that_is_cut_off_ends_the_search() {
        assert_eq!(hole(&format!("^(a+)+{}x$", "(b|b)*".repeat(3))), None);
    }
}

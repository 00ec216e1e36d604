//! Derives from an expression a command line that it allows.
//!
//! It knows the part of Perl's syntax that lists of commands use. The result is a guess, so callers match it against
//! the expression. There is no example for look-around, back references and recursion.

/// Maximum number of copies of one repeated part.
const REPEAT_MAX: usize = 20;
/// Maximum depth of nested groups.
const DEPTH_MAX: usize = 20;
/// Maximum number of pieces of an example.
const PIECES_MAX: usize = 400;

/// A piece of an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    /// Whether the expression allows more than one text here.
    pub(super) is_free: bool,
}

/// Returns the pieces of one example for each alternative; `None` if the expression uses unsupported syntax.
pub(super) fn of(expression: &str) -> Option<Vec<Vec<Piece>>> {
    let mut reader = Reader { rest: expression.chars().collect(), at: 0 };
    let examples = reader.alternatives(0)?;
    (reader.at == reader.rest.len()).then_some(examples)
}

struct Reader {
    rest: Vec<char>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.rest.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.at += 1;
        Some(character)
    }

    fn takes(&mut self, wanted: &str) -> bool {
        let fits = wanted.chars().enumerate().all(|(index, one)| self.rest.get(self.at + index) == Some(&one));
        if fits {
            self.at += wanted.chars().count();
        }
        fits
    }

    fn alternatives(&mut self, depth: usize) -> Option<Vec<Vec<Piece>>> {
        let mut all = vec![self.sequence(depth)?];
        while self.takes("|") {
            all.push(self.sequence(depth)?);
        }
        Some(all)
    }

    fn sequence(&mut self, depth: usize) -> Option<Vec<Piece>> {
        let mut pieces = Vec::new();
        while !matches!(self.peek(), None | Some('|' | ')')) {
            let part = self.part(depth)?;
            let least = self.least_count();
            let is_free = part.iter().any(|piece| piece.is_free);
            if least == 0 {
                pieces.push(Piece { text: String::new(), is_free });
            }
            for _ in 0..least.min(REPEAT_MAX) {
                pieces.extend(part.iter().cloned());
            }
            if pieces.len() > PIECES_MAX {
                return None;
            }
        }
        Some(pieces)
    }

    /// Parses a quantifier; returns the minimum number of repetitions.
    fn least_count(&mut self) -> usize {
        let least = match self.peek() {
            Some('*' | '?') => 0,
            Some('+') => 1,
            Some('{') => return self.counted().unwrap_or(1),
            _ => return 1,
        };
        self.at += 1;
        self.skip_mode();
        least
    }

    /// Parses `{n}`, `{n,}` or `{n,m}`; anything else is literal text.
    fn counted(&mut self) -> Option<usize> {
        let inside: String = self.rest.get(self.at + 1..)?.iter().take_while(|one| **one != '}').collect();
        let (least, most) = inside.split_once(',').unwrap_or((&inside, ""));
        let least = least.parse().ok()?;
        if !most.is_empty() {
            most.parse::<usize>().ok()?;
        }
        self.at += inside.chars().count() + 2;
        self.skip_mode();
        Some(least)
    }

    /// Skips the mark of a lazy or possessive quantifier.
    fn skip_mode(&mut self) {
        if matches!(self.peek(), Some('?' | '+')) {
            self.at += 1;
        }
    }

    fn part(&mut self, depth: usize) -> Option<Vec<Piece>> {
        let one = |text: &str, is_free| Some(vec![Piece { text: text.to_owned(), is_free }]);
        match self.next()? {
            '^' | '$' => Some(Vec::new()),
            '.' => one(".", true),
            '[' => self.class(),
            '(' => self.group(depth),
            '\\' => match self.next()? {
                'b' | 'B' | 'A' | 'z' | 'Z' | 'G' | 'K' => Some(Vec::new()),
                's' | 'h' => one(" ", true),
                'd' => one("0", true),
                'w' | 'S' | 'D' | 'N' | 'H' | 'V' => one("a", true),
                'W' => one("-", true),
                'n' | 'R' | 'v' => one("\n", false),
                't' => one("\t", false),
                other if other.is_alphanumeric() => None,
                other => one(&other.to_string(), false),
            },
            other => one(&other.to_string(), false),
        }
    }

    fn group(&mut self, depth: usize) -> Option<Vec<Piece>> {
        if depth >= DEPTH_MAX {
            return None;
        }
        if self.takes("?") {
            if self.takes("<") || self.takes("P<") {
                if matches!(self.peek(), Some('=' | '!')) {
                    return None;
                }
                while self.next()? != '>' {}
            } else {
                loop {
                    match self.next()? {
                        ':' => break,
                        // Flags that apply to the rest of the group.
                        ')' => return Some(Vec::new()),
                        flag if flag.is_ascii_lowercase() || matches!(flag, '^' | '-') && flag != 'x' => {}
                        _ => return None,
                    }
                }
            }
        } else if self.peek() == Some('*') {
            return None;
        }
        let first = self.alternatives(depth + 1)?.swap_remove(0);
        self.takes(")").then_some(first)
    }

    /// Parses a class; returns one of its members.
    fn class(&mut self) -> Option<Vec<Piece>> {
        let negated = self.takes("^");
        let (mut member, mut members) = (None, 0_usize);
        loop {
            let character = self.next()?;
            let found = match character {
                ']' if members > 0 => break,
                '[' if self.peek() == Some(':') => {
                    while self.next()? != ']' {}
                    'a'
                }
                '\\' => match self.next()? {
                    'w' | 'S' | 'D' => 'a',
                    's' => ' ',
                    'd' => '0',
                    'n' => '\n',
                    't' => '\t',
                    other if other.is_alphanumeric() => return None,
                    other => other,
                },
                other => other,
            };
            members += 1;
            member = member.or(Some(found));
        }
        // If 'a' is excluded, the match against the expression shows it.
        let text = if negated { "a".to_owned() } else { member?.to_string() };
        Some(vec![Piece { text, is_free: true }])
    }
}

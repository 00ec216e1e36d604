//! Translates expressions of Perl into expressions that mean the same to PCRE2.
//!
//! There are few differences: a hyphen beside a class in brackets (`[\w-.]`), escapes without a meaning (`\Q` in a file
//! quotes nothing, because Perl handles it only in source code), names of properties (`\p{Word}`), and flags for the
//! character set. `tests` compares with Perl itself.
//! Out of scope: whether an expression is valid, which PCRE2 decides.

mod property;
#[cfg(test)]
mod tests;

/// An expression for PCRE2.
pub(super) struct Translated {
    /// The expression.
    pub(super) pattern: String,
    /// For each byte of `pattern` the index of the source character, counted from 0.
    sources: Vec<usize>,
}

impl Translated {
    /// Position of the source character, counted from 1, of the byte at `offset`.
    pub(super) fn character(&self, offset: usize) -> usize {
        let end = self.sources.last().map_or(0, |last| last.saturating_add(1));
        self.sources.get(offset).copied().unwrap_or(end).saturating_add(1)
    }
}

/// Why an expression cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The character, counted from 1.
    pub(super) character: usize,
    /// What is wrong, and the correct form.
    pub(super) text: String,
}

/// Translates a Perl expression.
///
/// # Errors
/// Reports what PCRE2 cannot express, and what Perl reads in an unexpected way.
pub(super) fn translate(text: &str) -> Result<Translated, Fault> {
    let mut reader = Reader { rest: text.chars().collect(), at: 0, out: String::new(), sources: Vec::new() };
    reader.expression()?;
    Ok(Translated { pattern: reader.out, sources: reader.sources })
}

/// Letters that have a meaning after a backslash, inside or outside brackets. Any other letter stands for itself.
const ESCAPES: &str = "AaBbCcDdefGgHhKkNnoPpRrSstVvWwXxZz";
const CLASS_ESCAPES: &str = "abcDdefHhNnoPprSstVvWwx";
/// Letters of escapes that stand for a set of characters in a class.
const SETS: &str = "DdHhPpSsVvWw";

struct Reader {
    rest: Vec<char>,
    at: usize,
    out: String,
    sources: Vec<usize>,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.rest.get(self.at.saturating_add(ahead)).copied()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek(0)?;
        self.at += 1;
        Some(character)
    }

    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.sources.resize(self.out.len(), self.at.saturating_sub(1));
    }

    fn put_char(&mut self, character: char) {
        self.put(character.encode_utf8(&mut [0; 4]));
    }

    fn fault(&self, at: usize, text: String) -> Fault {
        Fault { character: at.saturating_add(1), text }
    }

    fn expression(&mut self) -> Result<(), Fault> {
        let (mut is_extended, mut after_quantifier) = (false, false);
        while let Some(character) = self.next() {
            let mut is_quantifier = false;
            match character {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => is_extended |= self.group(),
                '#' if is_extended => self.copy_until('\n'),
                '{' if self.is_quantifier() => {
                    if after_quantifier {
                        let text = "nested quantifiers; put what comes before the second one in brackets, (?:…)";
                        return Err(self.fault(self.at.saturating_sub(1), text.to_owned()));
                    }
                    self.put_char(character);
                    self.copy_until('}');
                    is_quantifier = true;
                }
                '*' | '+' | '?' => {
                    self.put_char(character);
                    is_quantifier = true;
                }
                other => self.put_char(other),
            }
            after_quantifier = is_quantifier;
        }
        Ok(())
    }

    /// Copies up to and including `end`; the character read last is not copied again.
    fn copy_until(&mut self, end: char) {
        if end == '\n' {
            self.put_char('#');
        }
        while let Some(character) = self.next() {
            self.put_char(character);
            if character == end {
                break;
            }
        }
    }

    /// Whether `{` begins `{n}`, `{n,}`, `{,n}` or `{n,m}`.
    fn is_quantifier(&self) -> bool {
        let inside: String = self.rest.iter().skip(self.at).take_while(|one| **one != '}').collect();
        let is_closed = self.peek(inside.chars().count()).is_some();
        let (least, most) = inside.split_once(',').unwrap_or((&inside, "0"));
        let is_number = |text: &str| text.trim().bytes().all(|byte| byte.is_ascii_digit());
        let is_given = !least.trim().is_empty() || (inside.contains(',') && !most.trim().is_empty());
        is_closed && is_given && is_number(least) && is_number(most)
    }

    /// Translates the part after a backslash outside brackets.
    fn escape(&mut self) -> Result<(), Fault> {
        match self.next() {
            None => self.put("\\"),
            Some(kind @ ('p' | 'P')) => self.property(kind == 'P', false)?,
            Some(letter) if letter.is_ascii_alphabetic() && !ESCAPES.contains(letter) => self.put_char(letter),
            Some(other) => {
                self.put("\\");
                self.put_char(other);
                self.braces();
            }
        }
        Ok(())
    }

    /// Copies `{…}` of an escape such as `\x{41}`, which is not a quantifier.
    fn braces(&mut self) {
        let belongs = self.out.ends_with(['x', 'o', 'g', 'k', 'N', 'b', 'B']);
        if belongs && self.peek(0) == Some('{') && self.rest.iter().skip(self.at).any(|one| *one == '}') {
            while let Some(character) = self.next() {
                self.put_char(character);
                if character == '}' {
                    break;
                }
            }
        }
    }

    /// Translates the part after `(`; returns whether it switches on the extended syntax.
    fn group(&mut self) -> bool {
        self.put("(");
        if self.peek(0) != Some('?') {
            return false;
        }
        if self.peek(1) == Some('#') {
            while let Some(character) = self.next() {
                self.put_char(character);
                if character == ')' {
                    break;
                }
            }
            return false;
        }
        let is_flag = |one: &char| one.is_ascii_lowercase() || matches!(one, '^' | '-');
        let flags: String = self.rest.iter().skip(self.at + 1).take_while(|one| is_flag(one)).collect();
        let end = self.peek(flags.chars().count() + 1);
        if flags.is_empty() || !matches!(end, Some(':' | ')')) {
            return false;
        }
        self.next();
        self.put("?");
        for letter in flags.replace("aa", "ar").chars() {
            // The character set is always Unicode here; 'p' affects only variables of Perl.
            if !matches!(letter, 'u' | 'd' | 'l' | 'p') {
                self.put_char(letter);
            }
        }
        self.at += flags.chars().count();
        let switched_on = flags.split('-').next().unwrap_or_default();
        switched_on.contains('x')
    }

    /// Translates the part after `[`.
    fn class(&mut self) -> Result<(), Fault> {
        let start = self.at.saturating_sub(1);
        if let Some(name) = self.posix_name(start) {
            let text = format!(
                "[:{name}:] is outside of brackets, where it means one of the characters in it; write [[:{name}:]]"
            );
            return Err(self.fault(start, text));
        }
        self.put("[");
        if self.peek(0) == Some('^') {
            self.next();
            self.put("^");
        }
        let mut is_first = true;
        while let Some(character) = self.next() {
            if character == ']' && !is_first {
                self.put("]");
                return Ok(());
            }
            is_first = false;
            let is_set = self.element(character)?;
            // A range begins and ends with a single character.
            if is_set || self.peek(0) != Some('-') || matches!(self.peek(1), None | Some(']')) {
                continue;
            }
            self.next();
            let ends_in_set = match self.peek(0) {
                Some('\\') => self.peek(1).is_some_and(|letter| SETS.contains(letter)),
                Some('[') => self.posix_name(self.at).is_some(),
                _ => false,
            };
            self.put(if ends_in_set { "\\-" } else { "-" });
            if let Some(end) = self.next() {
                self.element(end)?;
            }
        }
        Ok(())
    }

    fn posix_name(&self, start: usize) -> Option<String> {
        let mut inside = self.rest.iter().skip(start + 1);
        if inside.next() != Some(&':') {
            return None;
        }
        let name: String = inside.by_ref().take_while(|one| **one != ':').collect();
        let is_name = !name.is_empty() && name.chars().all(|one| one.is_ascii_alphabetic() || one == '^');
        let end = start + 3 + name.chars().count();
        (is_name && self.rest.get(end) == Some(&']')).then_some(name)
    }

    /// Translates an element of a class that begins with `first`; returns whether it is a set of characters.
    fn element(&mut self, first: char) -> Result<bool, Fault> {
        match first {
            '-' => self.put("\\-"),
            '[' => {
                if let Some(name) = self.posix_name(self.at.saturating_sub(1)) {
                    self.at += name.chars().count() + 3;
                    self.put(&format!("[:{name}:]"));
                    return Ok(true);
                }
                self.put("\\[");
            }
            '\\' => match self.next() {
                None => self.put("\\"),
                Some(kind @ ('p' | 'P')) => {
                    self.property(kind == 'P', true)?;
                    return Ok(true);
                }
                Some(letter) if letter.is_ascii_alphabetic() && !CLASS_ESCAPES.contains(letter) => {
                    self.put_char(letter);
                }
                Some(other) => {
                    self.put("\\");
                    self.put_char(other);
                    match other {
                        'c' => {
                            if let Some(control) = self.next() {
                                self.put_char(control);
                            }
                        }
                        'x' if self.peek(0) != Some('{') => self.digits(2),
                        '0'..='7' => self.digits(2),
                        _ => self.braces(),
                    }
                    return Ok(SETS.contains(other));
                }
            },
            other => self.put_char(other),
        }
        Ok(false)
    }

    /// Copies up to `most` digits of an escape such as `\x41` or `\101`.
    fn digits(&mut self, most: usize) {
        for _ in 0..most {
            match self.peek(0).filter(char::is_ascii_hexdigit) {
                Some(digit) => {
                    self.at += 1;
                    self.put_char(digit);
                }
                None => break,
            }
        }
    }

    /// Translates the part after `\p` or `\P`.
    fn property(&mut self, is_negated: bool, in_class: bool) -> Result<(), Fault> {
        let start = self.at.saturating_sub(2);
        let name: String = match self.next() {
            Some('{') => {
                let name: String = self.rest.iter().skip(self.at).take_while(|one| **one != '}').collect();
                self.at += name.chars().count() + 1;
                name
            }
            Some(letter) => letter.to_string(),
            None => String::new(),
        };
        self.at = self.at.min(self.rest.len());
        let text = property::translate(&name, is_negated, in_class).map_err(|text| self.fault(start, text))?;
        self.put(&text);
        Ok(())
    }
}

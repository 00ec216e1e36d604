//! The allow-list of commands: Perl-style regular expressions, matched by PCRE2 without JIT.
//!
//! As in the original, an expression matches anywhere in the command line unless it is anchored with `^` and `$`, and a
//! command is allowed when one expression matches. Each match has limits, so that catastrophic backtracking is cut off.
//! Out of scope: the callers, and the handling of commands that are not allowed.

mod example;
mod holes;
mod perl_syntax;

use std::fmt;
use std::sync::Arc;

use pcre2::bytes::{Regex, RegexBuilder};

use crate::model::work::CommandCheck;

pub(super) use holes::{Hole, find as find_hole};

/// Limits of one match: backtracking steps (about 20 ms at most), nested backtracking points, and memory in KiB.
const LIMITS: &str = "(*LIMIT_MATCH=1000000)(*LIMIT_DEPTH=100000)(*LIMIT_HEAP=32768)";
/// Allows several groups with the same name, as Perl does.
const NAMES: &str = "(?J)";
/// Maximum number of characters of an expression in a log line.
const SHOWN_MAX: usize = 80;
/// Maximum number of cut-off expressions that are named per check.
const CUT_OFF_SHOWN_MAX: usize = 5;

/// Compiled expressions. Cheap to clone.
#[derive(Clone, Default)]
pub struct AllowList(Arc<[Expression]>);

/// One expression of the list.
#[derive(Clone)]
pub(super) struct Expression {
    /// The expression as written in the file.
    text: String,
    /// The expression translated for PCRE2.
    pattern: String,
    compiled: Regex,
}

/// Result of matching an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Yes,
    No,
    /// The limits were reached; counts as no match.
    CutOff,
}

impl Expression {
    /// Compiles one expression in Perl's syntax.
    ///
    /// # Errors
    /// Says what is wrong and where.
    pub(super) fn compile(text: &str) -> Result<Self, String> {
        let fault = |character: usize, text: &str| format!("does not compile at character {character}: {text}");
        let translated = perl_syntax::translate(text).map_err(|found| fault(found.character, &found.text))?;
        let mut builder = RegexBuilder::new();
        builder.utf(true).ucp(true);
        let before = LIMITS.len() + NAMES.len();
        let compiled = builder.build(&format!("{LIMITS}{NAMES}{}", translated.pattern)).map_err(|error| {
            let offset = error.offset().map_or(0, |offset| offset.saturating_sub(before));
            fault(translated.character(offset), &reason(&error))
        })?;
        Ok(Self { text: text.to_owned(), pattern: translated.pattern, compiled })
    }

    fn find(&self, line: &str) -> Found {
        match self.compiled.is_match(line.as_bytes()) {
            Ok(true) => Found::Yes,
            Ok(false) => Found::No,
            Err(_) => Found::CutOff,
        }
    }
}

/// Returns an expression in quotes, truncated if long. Backslashes are not escaped, so that it can be searched for in
/// its file.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_MAX).map(|one| if one.is_control() { ' ' } else { one }).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    format!("'{shown}'")
}

/// Returns the message of PCRE2 without the prefix of the crate.
fn reason(error: &pcre2::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(": ").map_or(text.clone(), |(_, reason)| reason.to_owned())
}

impl AllowList {
    pub(super) fn new(expressions: Vec<Expression>) -> Self {
        Self(expressions.into())
    }

    /// Number of expressions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the list has no expressions, so that nothing is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns up to `wanted` command lines that are not allowed. It may take long and is meant for worker threads.
    /// Once `time_is_up` returns `true`, the current line counts as refused and the check ends.
    #[must_use]
    pub fn check(&self, lines: &[String], wanted: usize, mut time_is_up: impl FnMut() -> bool) -> CommandCheck {
        let mut check = CommandCheck::default();
        let mut cut_off = vec![false; self.0.len()];
        for (index, line) in lines.iter().enumerate() {
            if time_is_up() {
                check.refused.push(index);
                let text = format!("checking took too long; command {index} of {} counts as refused", lines.len());
                check.complaints.push(text);
                break;
            }
            if !self.allows(line, &mut cut_off, &mut time_is_up) {
                check.refused.push(index);
            }
            if check.refused.len() >= wanted {
                break;
            }
        }
        let cut_off = self.0.iter().zip(cut_off).filter(|(_, cut_off)| *cut_off);
        check.complaints.extend(cut_off.take(CUT_OFF_SHOWN_MAX).map(|(expression, _)| {
            let shown = shown(&expression.text);
            format!("allowed_cmds {shown} was cut off after too many steps and counts as no match; make it simpler")
        }));
        check
    }

    fn allows(&self, line: &str, cut_off: &mut [bool], time_is_up: &mut impl FnMut() -> bool) -> bool {
        for (expression, was_cut_off) in self.0.iter().zip(cut_off) {
            match expression.find(line) {
                Found::Yes => return true,
                Found::No => {}
                Found::CutOff => {
                    *was_cut_off = true;
                    if time_is_up() {
                        return false;
                    }
                }
            }
        }
        false
    }
}

impl fmt::Debug for AllowList {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "AllowList({} expressions)", self.0.len())
    }
}

impl PartialEq for AllowList {
    fn eq(&self, other: &Self) -> bool {
        let texts = |list: &Self| list.0.iter().map(|expression| expression.text.clone()).collect::<Vec<_>>();
        texts(self) == texts(other)
    }
}

/// Whether the dangerous example found for an expression, if any, is matched by the expression.
#[cfg(fuzzing)]
pub fn example_of_hole_matches(expression: &str) -> bool {
    let Ok(compiled) = Expression::compile(expression) else { return true };
    match find_hole(&compiled) {
        Some(Hole::NotAnchored(line) | Hole::Inside(line)) => {
            let check = AllowList::new(vec![compiled]).check(&[line], 1, || false);
            check.refused.is_empty() || !check.complaints.is_empty()
        }
        Some(Hole::NoExample) | None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(expressions: &[&str]) -> AllowList {
        AllowList::new(expressions.iter().map(|text| Expression::compile(text).unwrap()).collect())
    }

    fn refused(list: &AllowList, lines: &[&str]) -> Vec<usize> {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let check = list.check(&lines, 100, || false);
        assert_eq!(check.complaints, Vec::<String>::new());
        check.refused
    }

    #[test]
    fn one_expression_must_match_and_it_matches_anywhere() {
        let list = list(&["^uptime$", "restart centengine"]);
        assert_eq!(refused(&list, &["uptime", "uptime -p", "sudo service restart centengine now", "id"]), [1, 3]);
        assert_eq!(refused(&AllowList::default(), &["uptime"]), [0]);
    }

    #[test]
    fn the_syntax_is_that_of_perl() {
        for (expression, yes, no) in [
            // As in Perl: `\Q` and `\E` quote only in Perl source code, and an unknown escape stands for its letter.
            (r"^\Qa.b\E$", "QaxbE", "a.b"),
            (r"^[\w-.]+$", "a-b.c", "a+b"),
            (r"^[\w\s-/]+$", "a -/b", "a+b"),
            (r"^\p{Word}+\p{IsAlpha}$", "a1b", "a b"),
            (r"^(?:(?<n>a)|(?<n>b))\k<n>$", "bb", "ab"),
            ("^(?<word>a+)-\\k<word>$", "aa-aa", "aa-a"),
            ("^(?!rm)\\w+$", "ls", "rm"),
            ("(?<=x)y", "xy", "ay"),
            ("^(?i)UPTIME$", "uptime", "uptimes"),
            ("^(?|a(1)|b(2))$", "b2", "b1"),
            ("^a++b$", "aab", "aa"),
            ("^é.$", "éà", "éàà"),
            ("^[[:alpha:]]+$", "abc", "a1"),
            ("^ls$", "ls\n", "ls\nid"),
            ("^ls .*$", "ls -l", "ls\nid"),
            ("(?x) ^ l s $ # a comment", "ls", "l s"),
        ] {
            assert_eq!(refused(&list(&[expression]), &[yes, no]), [1], "{expression}");
        }
    }

    #[test]
    fn what_does_not_compile_says_where() {
        let error = |text: &str| Expression::compile(text).err().unwrap();
        assert_eq!(error("^a(b"), "does not compile at character 5: missing closing parenthesis");
        assert!(error("é[").starts_with("does not compile at character 3: missing terminating ]"), "{}", error("é["));
        assert!(error("*").starts_with("does not compile at character 1: quantifier does not follow"));
    }

    #[test]
    fn an_expression_that_backtracks_without_end_is_cut_off_and_counts_as_no_match() {
        let lines = [format!("{}!", "a".repeat(60)), "uptime".to_owned()];
        let check = list(&["^(a+)+$", "^uptime$"]).check(&lines, 9, || false);
        assert_eq!(check.refused, [0]);
        assert_eq!(
            check.complaints,
            ["allowed_cmds '^(a+)+$' was cut off after too many steps and counts as no match; make it simpler"]
        );
    }

    #[test]
    fn a_check_ends_when_its_time_is_up_and_what_was_not_seen_is_refused() {
        let lines = ["uptime".to_owned(), "uptime".to_owned()];
        let mut asked = 0;
        let check = list(&["^uptime$"]).check(&lines, 9, || {
            asked += 1;
            asked > 1
        });
        assert_eq!(check.refused, [1]);
        assert_eq!(check.complaints, ["checking took too long; command 1 of 2 counts as refused"]);
    }

    #[test]
    fn a_check_ends_with_the_wanted_number_of_refusals() {
        let lines = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        assert_eq!(AllowList::default().check(&lines, 2, || false).refused, [0, 1]);
    }
}

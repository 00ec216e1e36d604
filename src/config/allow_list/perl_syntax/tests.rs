//! Translations, and a comparison with Perl itself on expressions that are usual in allow-lists.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::super::{Expression, Found};
use super::*;

fn pattern(text: &str) -> String {
    translate(text).unwrap().pattern
}

#[test]
fn a_hyphen_beside_a_class_is_itself() {
    for (text, expected) in [
        (r"[\w-.]", r"[\w\-.]"),
        (r"[\w\s-/]", r"[\w\s\-/]"),
        (r"[a-\d]", r"[a\-\d]"),
        (r"[[:word:]-x]", r"[[:word:]\-x]"),
        (r"[a-z-9]", r"[a-z\-9]"),
        (r"[a-z]", "[a-z]"),
        (r"[\x41-\x43-]", r"[\x41-\x43\-]"),
        (r"[]-a]", "[]-a]"),
        (r"[^-a]", r"[^\-a]"),
        (r"[--9]", r"[\--9]"),
        (r"[\p{L}-x]", r"[\p{L}\-x]"),
    ] {
        assert_eq!(pattern(text), expected, "{text}");
    }
}

#[test]
fn names_and_flags_of_perl_get_pcre2s_form() {
    for (text, expected) in [
        (r"\p{Word}\P{IsSpace}", r"\w\S"),
        (r"\p{^L}\p{ Uppercase Letter }", r"\P{L}\p{Lu}"),
        (r"\p{Alnum}[\p{Alnum}_]", r"[\p{Alphabetic}\p{Nd}][\p{Alphabetic}\p{Nd}_]"),
        (r"\p{Script=Latin}\p{IsGreek}", r"\p{sc:latin}\p{greek}"),
        (r"(?u:a)(?aai)b", "(?:a)(?ari)b"),
        (r"\Qa.b\E", "Qa.bE"),
        (r"(?x) a # [\w-.", "(?x) a # [\\w-."),
    ] {
        assert_eq!(pattern(text), expected, "{text}");
    }
}

#[test]
fn what_looks_otherwise_than_it_is_says_how_to_write_it() {
    let fault = |text: &str| translate(text).err().map(|fault| (fault.character, fault.text)).unwrap();
    assert_eq!(
        fault("^ls [:alnum:]+$"),
        (
            5,
            "[:alnum:] is outside of brackets, where it means one of the characters in it; write [[:alnum:]]"
                .to_owned()
        )
    );
    assert!(fault(r"[\P{Alnum}]").1.contains("write [^"), "{:?}", fault(r"[\P{Alnum}]"));
    assert!(fault(r"\p{InGreek}").1.contains("write a range"));
    assert_eq!(fault("a{2}{3}").0, 5);
}

#[test]
fn a_place_is_that_of_the_original() {
    let error = Expression::compile(r"^[\w-.]\p{Word}(x").err().unwrap();
    assert!(error.starts_with("does not compile at character 18: "), "{error}");
}

/// Pseudo-random numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// The pieces that allow-lists consist of.
const PIECES: &[&str] = &[
    "sudo",
    "\\s+",
    "\\s*",
    "/usr/lib/plugins/",
    "\\w+",
    "[\\w-.]+",
    "[\\w\\s-/]*",
    "[^;|&]",
    "[a-zA-Z0-9_\\-.]+",
    "(restart|reload)",
    "(?:centengine|cbd)",
    "\\.service",
    "\\d{1,3}",
    "[[:alnum:]_-]+",
    "[[:^space:]]",
    "\\S+",
    "-H",
    "--name=",
    "'[^']*'",
    "\"[^\"]*\"",
    "\\p{Word}",
    "\\p{IsAlpha}+",
    "\\P{IsDigit}",
    "\\p{L}",
    "\\pN",
    "[\\p{Alnum}.-]+",
    "\\Qa.b\\E",
    "\\/",
    "\\-",
    "\\_",
    "\\@",
    "\\%",
    "[\\d-x]",
    "[a-\\d]",
    "[%--]",
    "[+--]",
    "[\\w-]",
    "[]a-]",
    "[^]\\s-a]",
    "\\h",
    "\\R",
    "\\x41",
    "\\x{e9}",
    "[\\x41-\\x43]",
    "é",
    "[éà]",
    "(?i)Start",
    "(?<n>a)|(?<n>b)",
    "(?<q>['\"])x\\k<q>",
    "(?#note)",
    "(?=a)a",
    "(?!rm)\\w",
    "(?<=/)x",
    "x{,2}",
    "x{2,}",
    "{a}",
    "a?",
    ".*",
    "\\bid\\b",
    "\\$",
    "\\y",
    "[\\Q]",
    "[\\y-]",
    "(?^i:A)",
    "(?a)\\w",
    "\\N{U+41}",
    "[\\-\\.]",
    ",",
    "=",
    ":",
    "~",
    "#",
    "@",
    "<",
    ">",
    "\\<",
    "\\>",
    "[.\\w,-]",
    "[:a]",
    "[[a]",
    "\\p{PosixAlpha}",
    "[\\p{PosixDigit}-.]",
    "\\p{Punct}",
    "[\\h-x]",
    "a++",
    "\\0",
    "\\cA",
];

/// Command lines, and what they might contain.
const SUBJECTS: &[&str] = &[
    "sudo systemctl restart centengine",
    "sudo service cbd reload",
    "/usr/lib/plugins/check_ping -H 10.0.0.1",
    "a-b.c",
    "a_b",
    "a+b",
    "-",
    ".",
    "QabE",
    "QaxbE",
    "a.b",
    "id; ls",
    "x\nid",
    "é",
    "caffè au lait",
    "A",
    "aa",
    "bb",
    "ab",
    "'x'",
    "\"x\"",
    "--name=abc",
    "/x",
    "xx",
    "{a}",
    "y",
    "Start",
    "$",
    "@",
    "%",
    "]",
    "[",
    "a]",
    " ",
    "\t",
    "١",
    "_",
    "id",
    "centengine.service",
    "",
    "<a>",
    "#",
    ":",
    "restart\n",
    "\u{1}",
];

/// Returns what Perl finds for each expression and subject: `1`, `0`, or `D` for each subject if it refuses the
/// expression.
fn ask_perl(expressions: &[String]) -> Option<Vec<String>> {
    const SCRIPT: &str = r#"no warnings; binmode STDIN; my @s; while (<STDIN>) { chomp; my ($k, $t) = split / /; $t = pack "H*", $t // "";
        utf8::decode($t); if ($k eq "s") { push @s, $t; next } my $p = $t;
        print map({ my $s = $_; my $r = eval { $s =~ /$p/ ? 1 : 0 }; defined $r ? $r : "D" } @s), "\n" }"#;
    let child = Command::new("perl").args(["-e", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        eprintln!("skipped: there is no perl");
        return None;
    };
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut lines: String = SUBJECTS.iter().map(|text| format!("s {}\n", hex(text))).collect();
    lines.extend(expressions.iter().map(|text| format!("p {}\n", hex(text))));
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

/// Returns the same, found by our own code.
fn ask_ourselves(text: &str) -> String {
    match Expression::compile(text) {
        Err(_) => "D".repeat(SUBJECTS.len()),
        Ok(expression) => {
            SUBJECTS.iter().map(|line| if expression.find(line) == Found::Yes { '1' } else { '0' }).collect()
        }
    }
}

#[test]
fn perl_itself_finds_the_same() {
    let mut dice = Dice(0x5eed);
    let mut expressions: Vec<String> =
        PIECES.iter().flat_map(|piece| [format!("^{piece}$"), (*piece).to_owned()]).collect();
    while expressions.len() < 800 {
        let count = 2 + dice.below(4);
        let pieces: Vec<&str> = (0..count).map(|_| dice.one(PIECES)).collect();
        let joined = pieces.join(if dice.below(2) == 0 { "" } else { " " });
        expressions.push(if dice.below(2) == 0 { format!("^{joined}$") } else { joined });
    }
    let Some(perl) = ask_perl(&expressions) else { return };
    assert_eq!(perl.len(), expressions.len());
    let differing: Vec<String> = expressions
        .iter()
        .zip(&perl)
        .filter(|(text, perl)| ask_ourselves(text) != **perl)
        .map(|(text, perl)| {
            format!("{text}\n  perl {perl}\n  ours {} {:?}", ask_ourselves(text), Expression::compile(text).err())
        })
        .collect();
    assert!(differing.is_empty(), "{} of {}\n{}", differing.len(), expressions.len(), differing.join("\n"));
}

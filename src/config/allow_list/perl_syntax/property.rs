//! Perl's names of properties (`\p{Name}`). Scripts, binary properties and the short names of general categories need
//! no translation for PCRE2.

/// A property in PCRE2's form.
enum Form {
    /// An escape and its opposite.
    Escape(&'static str, &'static str),
    /// The name of a property.
    Name(&'static str),
    /// Members of a class.
    Members(&'static str),
    /// A POSIX class.
    Posix(&'static str),
}

use Form::{Escape, Members, Name, Posix};

/// Properties by Perl's names in lower case, without blanks, `_`, `-` and a leading `is`.
const PROPERTIES: &[(&[&str], Form)] = &[
    (&["word", "w", "xposixword"], Escape("\\w", "\\W")),
    (&["space", "spaceperl", "xposixspace", "xperlspace", "whitespace"], Escape("\\s", "\\S")),
    (&["blank", "horizspace", "xposixblank"], Escape("\\h", "\\H")),
    (&["vertspace"], Escape("\\v", "\\V")),
    (&["assigned"], Escape("\\P{Cn}", "\\p{Cn}")),
    (&["alpha", "alphabetic", "xposixalpha"], Name("Alphabetic")),
    (&["upper", "uppercase", "xposixupper"], Name("Uppercase")),
    (&["lower", "lowercase", "xposixlower"], Name("Lowercase")),
    (&["digit", "xposixdigit", "decimalnumber"], Name("Nd")),
    (&["xdigit", "hexdigit", "hex", "xposixxdigit"], Name("Hex_Digit")),
    (&["asciihexdigit", "ahex", "posixxdigit"], Members("0-9A-Fa-f")),
    (&["alnum", "xposixalnum"], Members("\\p{Alphabetic}\\p{Nd}")),
    (&["perlword", "posixword"], Members("A-Za-z0-9_")),
    (&["posixalpha"], Members("A-Za-z")),
    (&["posixalnum"], Members("A-Za-z0-9")),
    (&["posixdigit"], Members("0-9")),
    (&["posixupper"], Members("A-Z")),
    (&["posixlower"], Members("a-z")),
    (&["posixspace", "perlspace"], Members("\\t\\n\\x0b\\f\\r ")),
    (&["posixblank"], Members("\\t ")),
    (&["posixpunct"], Members("!-/:-@\\[-`{-~")),
    (&["graph", "xposixgraph"], Posix("graph")),
    (&["print", "xposixprint"], Posix("print")),
    (&["ascii", "basiclatin"], Posix("ascii")),
    (&["any", "all", "unicode"], Name("Any")),
    (&["l", "letter"], Name("L")),
    (&["lc", "l&", "casedletter"], Name("L&")),
    (&["lu", "uppercaseletter"], Name("Lu")),
    (&["ll", "lowercaseletter"], Name("Ll")),
    (&["lt", "title", "titlecase", "titlecaseletter"], Name("Lt")),
    (&["lm", "modifierletter"], Name("Lm")),
    (&["lo", "otherletter"], Name("Lo")),
    (&["m", "mark", "combiningmark"], Name("M")),
    (&["mn", "nonspacingmark"], Name("Mn")),
    (&["mc", "spacingmark"], Name("Mc")),
    (&["me", "enclosingmark"], Name("Me")),
    (&["n", "number"], Name("N")),
    (&["nd"], Name("Nd")),
    (&["nl", "letternumber"], Name("Nl")),
    (&["no", "othernumber"], Name("No")),
    (&["p", "punct", "punctuation"], Name("P")),
    (&["pc", "connectorpunctuation"], Name("Pc")),
    (&["pd", "dashpunctuation"], Name("Pd")),
    (&["ps", "openpunctuation"], Name("Ps")),
    (&["pe", "closepunctuation"], Name("Pe")),
    (&["pi", "initialpunctuation"], Name("Pi")),
    (&["pf", "finalpunctuation"], Name("Pf")),
    (&["po", "otherpunctuation"], Name("Po")),
    (&["s", "symbol"], Name("S")),
    (&["sm", "mathsymbol"], Name("Sm")),
    (&["sc", "currencysymbol"], Name("Sc")),
    (&["sk", "modifiersymbol"], Name("Sk")),
    (&["so", "othersymbol"], Name("So")),
    (&["z", "separator"], Name("Z")),
    (&["zs", "spaceseparator"], Name("Zs")),
    (&["zl", "lineseparator"], Name("Zl")),
    (&["zp", "paragraphseparator"], Name("Zp")),
    (&["c", "other"], Name("C")),
    (&["cc", "cntrl", "control", "xposixcntrl"], Name("Cc")),
    (&["cf", "format"], Name("Cf")),
    (&["co", "privateuse"], Name("Co")),
    (&["cn", "unassigned"], Name("Cn")),
];

/// Translates `\p{name}`, or `\P{name}` if negated, for PCRE2, inside or outside brackets.
///
/// # Errors
/// Reports what PCRE2 cannot express, and how to write it instead.
pub(super) fn translate(name: &str, is_negated: bool, in_class: bool) -> Result<String, String> {
    let (name, is_negated) = match name.trim().strip_prefix('^') {
        Some(name) => (name, !is_negated),
        None => (name, is_negated),
    };
    let simple: String = name.to_lowercase().chars().filter(|one| !matches!(one, ' ' | '_' | '-')).collect();
    let (kind, value) = simple.split_once(['=', ':']).unwrap_or(("", &simple));
    if matches!(kind, "blk" | "block") || simple.starts_with("in") && simple != "inherited" {
        return Err(format!(
            "\\p{{{name}}} is a block of Unicode, which is not supported; write a range, [\\x{{…}}-\\x{{…}}]"
        ));
    }
    let letter = if is_negated { 'P' } else { 'p' };
    if matches!(kind, "script" | "sc" | "scriptextensions" | "scx") {
        let kind = if kind.starts_with("sc") && kind.ends_with('x') || kind.ends_with("ions") { "scx" } else { "sc" };
        return Ok(format!("\\{letter}{{{kind}:{value}}}"));
    }
    let value = if matches!(kind, "gc" | "generalcategory" | "category") { value } else { simple.as_str() };
    let bare = value.strip_prefix("is").unwrap_or(value);
    let known = |name: &str| PROPERTIES.iter().find(|(names, _)| names.contains(&name)).map(|(_, form)| form);
    match known(value).or_else(|| known(bare)) {
        Some(Escape(plain, opposite)) => Ok((*if is_negated { opposite } else { plain }).to_owned()),
        Some(Name(name)) => Ok(format!("\\{letter}{{{name}}}")),
        Some(Posix(name)) => {
            let class = format!("[:{}{name}:]", if is_negated { "^" } else { "" });
            Ok(if in_class { class } else { format!("[{class}]") })
        }
        Some(Members(members)) => match (in_class, is_negated) {
            (true, false) => Ok((*members).to_owned()),
            (true, true) => {
                Err(format!("the opposite of \\p{{{name}}} is not possible in brackets; write [^{members}]"))
            }
            (false, false) => Ok(format!("[{members}]")),
            (false, true) => Ok(format!("[^{members}]")),
        },
        None => Ok(format!("\\{letter}{{{bare}}}")),
    }
}

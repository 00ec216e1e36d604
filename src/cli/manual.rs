//! Generates the manual page in roff from the help pages.

use super::help::Topic;
use super::pages::{Block, blocks};

/// Returns the manual page.
pub(super) fn manual() -> String {
    let mut roff =
        format!(".TH STHENO 8 \"\" \"stheno {}\" \"System Administration\"\n.SH NAME\n", env!("CARGO_PKG_VERSION"));
    for (index, block) in blocks(Topic::All.text()).iter().enumerate() {
        match block {
            // The first line is the name; the line before the usage forms is a heading.
            Block::Paragraph(text) if index == 0 => roff.push_str(&format!("{}\n", name_line(text))),
            Block::Paragraph(text) if text == "Usage:" => roff.push_str(".SH SYNOPSIS\n"),
            Block::Paragraph(text) if index <= 3 => roff.push_str(&format!(".SH DESCRIPTION\n{}\n", escaped(text))),
            block => push(&mut roff, block),
        }
    }
    roff.push_str(".SH COMMANDS\n");
    for name in Topic::NAMES.iter().copied() {
        let Some(topic) = Topic::named(name).filter(|topic| *topic != Topic::All) else { continue };
        roff.push_str(&format!(".SS {name}\n"));
        blocks(topic.text()).iter().for_each(|block| push(&mut roff, block));
    }
    // A heading begins a new paragraph.
    let mut after_heading = false;
    let lines = roff.lines().filter(|line| {
        let is_idle = after_heading && *line == ".PP";
        after_heading = line.starts_with(".SH ") || line.starts_with(".SS ");
        !is_idle
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn push(roff: &mut String, block: &Block<'_>) {
    match block {
        Block::Paragraph(text) => roff.push_str(&format!(".PP\n{}\n", escaped(text))),
        Block::Literal(lines) => {
            roff.push_str(".PP\n.RS 4\n.nf\n");
            lines.iter().for_each(|line| roff.push_str(&format!("{}\n", escaped(line))));
            roff.push_str(".fi\n.RE\n");
        }
        Block::Definition { name, value, text } => {
            let value = if value.is_empty() { String::new() } else { format!(" \\fI{}\\fR", escaped(value)) };
            roff.push_str(&format!(".TP\n\\fB{}\\fR{value}\n{}\n", escaped(name), escaped(text)));
        }
    }
}

/// Returns `name - description`, the form for the index of manual pages.
fn name_line(text: &str) -> String {
    let (name, words) = text.split_once(" - ").unwrap_or(("stheno", text));
    format!("{} \\- {}", escaped(name), escaped(words))
}

/// Escapes text for roff.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('"', "\\(dq");
    // A line that begins with one of these characters would be a request of roff.
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_has_every_command_with_all_its_options() {
        let manual = manual();
        for name in Topic::NAMES.iter().copied().filter(|name| *name != "help") {
            assert!(manual.contains(&format!("\n.SS {name}\n")), "{name}");
            for option in super::super::pages::command(name).options {
                assert!(manual.contains(&format!("\\fB{}\\fR", escaped(option.name))), "{name} {}", option.name);
            }
        }
        assert!(manual.contains("\n.SH NAME\nstheno \\- one small daemon"));
        assert!(manual.contains("\n.SH SYNOPSIS\n") && manual.contains("\n.SH DESCRIPTION\n"));
    }

    #[test]
    fn no_line_of_text_is_taken_for_an_instruction() {
        const KNOWN: [&str; 9] = [".TH ", ".SH ", ".SS ", ".PP", ".TP", ".RS 4", ".RE", ".nf", ".fi"];
        for line in manual().lines().filter(|line| line.starts_with(['.', '\''])) {
            assert!(KNOWN.iter().any(|known| line.starts_with(known)), "{line}");
        }
        assert_eq!(escaped("'x' \\ .y-z"), "\\&'x' \\e .y\\-z");
    }
}

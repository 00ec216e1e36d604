//! `exec`: runs a command on nodes through the REST API and prints its output. For one node it ends with the exit code
//! of the command, for several with 0 or 1.

mod order;

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use serde_json::json;

use super::many::{self, End, Event, Screen};
use super::remote::{INTERRUPTED, Pause, READER_GONE, Remote};
use super::remote_arguments::ExecOptions;
use super::table::table;
use super::{complain, fail};
use order::{Order, Outcome};

/// Exit code if the command was not run or its end is unknown, as with ssh.
const NOT_RUN: u8 = 255;

/// Runs the command and returns the exit status.
pub(super) fn run(options: &ExecOptions) -> ExitCode {
    let mut printed = Printed::new(options);
    match (exec(options, &mut printed), options.targets.single()) {
        (Ok(end), Some(node)) => printed.status_of_one(node, end),
        (Ok(end), None) => printed.status_of_many(end),
        (Err(text), single) if options.json => {
            let outcome = Outcome { message: text, ..Outcome::default() };
            let line = match single {
                Some(node) => outcome.to_json(node),
                None => json!({ "node": null, "token": null, "exit_code": null, "message": outcome.message }),
            };
            print(&format!("{line}\n"));
            if single.is_some() { ExitCode::from(NOT_RUN) } else { ExitCode::FAILURE }
        }
        (Err(text), Some(_)) => {
            complain(&text);
            ExitCode::from(NOT_RUN)
        }
        (Err(text), None) => fail(&text),
    }
}

fn exec(options: &ExecOptions, printed: &mut Printed) -> Result<End, String> {
    let mut pause = Pause::new()?;
    let remote = Remote::of_config(&options.config)?;
    let nodes = options.targets.resolve(&remote)?;
    let order = Order {
        remote: &remote,
        command: &options.command,
        timeout_seconds: options.timeout_seconds,
        ttl: options.ttl,
        streams: matches!(printed.style, Style::Raw | Style::Lines),
    };
    let end = many::run(&nodes, options.at_once, &mut pause, |worker| order.carry_out(worker), printed)?;
    for node in &nodes {
        // Those whose turn had not come.
        if !printed.outcomes.contains_key(node) {
            let message = "interrupted: the command was not started".to_owned();
            printed.done(*node, Outcome { message, ..Outcome::default() });
        }
    }
    Ok(end)
}

/// How the output is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// As it comes, of one node.
    Raw,
    /// As it comes, each line behind the id of its node.
    Lines,
    /// That of each node at its end, below a line that names the node.
    ByNode,
    /// One line of JSON for each node.
    Json,
}

/// What was printed, and what it comes to.
struct Printed {
    style: Style,
    /// Output of nodes that is no whole line yet.
    begun: BTreeMap<u64, String>,
    /// Without what the command printed.
    outcomes: BTreeMap<u64, Outcome>,
    is_reader_gone: bool,
    /// Whether Ctrl-C ends the command without a question.
    cancels: bool,
}

impl Screen<String, Outcome> for Printed {
    fn show(&mut self, node: u64, event: Event<String, Outcome>) -> bool {
        match event {
            Event::Step(piece) => self.piece(node, &piece),
            Event::Said(_) if self.style == Style::Json => {}
            Event::Said(text) => complain(&text),
            Event::Done(outcome) => self.done(node, outcome),
        }
        !self.is_reader_gone
    }

    fn is_cancelled(&mut self) -> bool {
        self.cancels || (self.style != Style::Json && asks_to_cancel())
    }
}

/// Asks on a terminal whether what runs is to end. Without an answer it goes on.
fn asks_to_cancel() -> bool {
    let (input, mut out) = (std::io::stdin(), std::io::stderr());
    if !input.is_terminal() || !out.is_terminal() {
        return false;
    }
    let _closed = write!(out, "\nstheno: end what has been started, too? [y/N] ").and_then(|()| out.flush());
    let mut answer = String::new();
    let is_read = input.read_line(&mut answer).is_ok();
    is_read && matches!(answer.trim(), "y" | "Y" | "yes")
}

impl Printed {
    fn new(options: &ExecOptions) -> Self {
        let style = match (options.json, options.targets.single()) {
            (true, _) => Style::Json,
            (false, Some(_)) => Style::Raw,
            (false, None) if options.by_node => Style::ByNode,
            (false, None) => Style::Lines,
        };
        Self {
            style,
            begun: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            is_reader_gone: false,
            cancels: options.cancels,
        }
    }

    fn print(&mut self, text: &str) {
        self.is_reader_gone |= !print(text);
    }

    fn piece(&mut self, node: u64, piece: &str) {
        if self.style == Style::Raw {
            return self.print(piece);
        }
        let lines = whole_lines(self.begun.entry(node).or_default(), piece);
        self.print(&prefixed(node, &lines));
    }

    fn done(&mut self, node: u64, mut outcome: Outcome) {
        match self.style {
            Style::Json => self.print(&format!("{}\n", outcome.to_json(node))),
            Style::Raw if !outcome.stderr.is_empty() => {
                let _closed = writeln!(std::io::stderr(), "{}", outcome.stderr);
            }
            Style::Raw => {}
            Style::Lines | Style::ByNode => self.done_of_many(node, &outcome),
        }
        outcome.stdout = String::new();
        outcome.stderr = String::new();
        self.outcomes.insert(node, outcome);
    }

    fn done_of_many(&mut self, node: u64, outcome: &Outcome) {
        let begun = self.begun.remove(&node).unwrap_or_default();
        let mut text = match self.style {
            Style::ByNode => format!("--- node {node}: {}\n{}", result(outcome), ended(&outcome.stdout)),
            _ if begun.is_empty() => String::new(),
            _ => prefixed(node, &begun),
        };
        if self.style == Style::ByNode {
            text.push_str(&ended(&outcome.stderr));
        }
        self.print(&text);
        if self.style == Style::Lines && !outcome.stderr.is_empty() {
            let _closed = write!(std::io::stderr(), "{}", prefixed(node, &outcome.stderr));
        }
        if outcome.exit_code.is_none() {
            complain(&format!("node {node}: {}", outcome.message));
        }
    }

    fn status_of_one(&self, node: u64, end: End) -> ExitCode {
        let outcome = self.outcomes.get(&node);
        if let Some(exit_code) = outcome.and_then(|outcome| outcome.exit_code) {
            return ExitCode::from(u8::try_from(exit_code.rem_euclid(256)).unwrap_or(NOT_RUN));
        }
        if end == End::ReaderGone {
            return ExitCode::from(READER_GONE);
        }
        if let Some(outcome) = outcome.filter(|_| self.style != Style::Json) {
            complain(&outcome.message);
        }
        ExitCode::from(if end == End::Interrupted { INTERRUPTED } else { NOT_RUN })
    }

    fn status_of_many(&mut self, end: End) -> ExitCode {
        if self.style != Style::Json {
            let rows: Vec<Vec<String>> = self.outcomes.iter().map(|(node, outcome)| row(*node, outcome)).collect();
            let good = self.outcomes.values().filter(|outcome| outcome.exit_code == Some(0)).count();
            let (nodes, bad) = (rows.len(), rows.len() - good);
            let head = table(&["NODE", "EXIT", "SECONDS", "MESSAGE"], &rows);
            self.print(&format!("\n{head}{nodes} nodes: {good} ended with 0, {bad} did not\n"));
        }
        match end {
            End::Interrupted => ExitCode::from(INTERRUPTED),
            End::ReaderGone => ExitCode::from(READER_GONE),
            End::Complete if self.outcomes.values().all(|outcome| outcome.exit_code == Some(0)) => ExitCode::SUCCESS,
            End::Complete => ExitCode::FAILURE,
        }
    }
}

/// A row of the table.
fn row(node: u64, outcome: &Outcome) -> Vec<String> {
    let exit_code = outcome.exit_code.map_or("-".to_owned(), |exit_code| exit_code.to_string());
    vec![node.to_string(), exit_code, format!("{:.1}", outcome.seconds), outcome.message.clone()]
}

fn result(outcome: &Outcome) -> String {
    outcome.exit_code.map_or_else(|| outcome.message.clone(), |exit_code| format!("exit code {exit_code}"))
}

/// Adds a piece to what has begun, and takes the whole lines out of it.
fn whole_lines(begun: &mut String, piece: &str) -> String {
    begun.push_str(piece);
    let rest = begun.split_off(begun.rfind('\n').map_or(0, |end| end + 1));
    std::mem::replace(begun, rest)
}

/// Puts the node's id in front of each line.
fn prefixed(node: u64, lines: &str) -> String {
    if lines.is_empty() {
        return String::new();
    }
    lines.strip_suffix('\n').unwrap_or(lines).split('\n').map(|line| format!("{node}: {line}\n")).collect()
}

/// Ends a text with a newline, unless it is empty.
fn ended(text: &str) -> String {
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{newline}")
}

/// Prints to standard output; returns whether the reader is still there.
fn print(text: &str) -> bool {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_shown_whole_behind_their_node() {
        let mut begun = String::new();
        assert_eq!(whole_lines(&mut begun, "a\nb"), "a\n");
        assert_eq!(whole_lines(&mut begun, "c"), "");
        assert_eq!(whole_lines(&mut begun, "\n\nd"), "bc\n\n");
        assert_eq!(begun, "d");
        assert_eq!(prefixed(2, "bc\n\n"), "2: bc\n2: \n");
        assert_eq!(prefixed(2, "d"), "2: d\n");
        assert_eq!(prefixed(2, ""), "");
    }
}

//! What `copy` prints: a bar, lines that are redrawn, plain lines or JSON, and a table at the end of several.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use serde_json::json;

use super::progress::{Progress, bytes_text};
use super::transfer::Outcome;
use crate::cli::complain;
use crate::cli::many::{Event, Screen};
use crate::cli::remote_arguments::{CopyOptions, Direction};
use crate::cli::table::table;
use crate::edge::clock;
use crate::model::time::Monotonic;

/// Minimum time between two plain lines about one node.
const LINE_EVERY: Duration = Duration::from_secs(2);
/// Maximum number of lines that are redrawn.
const LINES_MAX: usize = 20;

/// How the progress is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// A line of JSON for each step, and one at the end.
    JsonSteps,
    /// A line of JSON for each node at its end.
    Json,
    /// A bar on the terminal.
    Bar,
    /// A line for each node on the terminal.
    Redrawn,
    /// A line for each node every now and then.
    Plain,
    /// Nothing before the end.
    Quiet,
}

/// What was shown, and what it comes to.
pub(super) struct Copied {
    style: Style,
    outcomes: BTreeMap<u64, Outcome>,
    /// The copies that run, and when a line about them was printed.
    running: BTreeMap<u64, (Progress, Monotonic)>,
    /// Number of lines on the terminal that are drawn again.
    drawn: usize,
    /// What good and bad nodes do, for the last line.
    said: (&'static str, &'static str),
}

impl Screen<Progress, Outcome> for Copied {
    fn show(&mut self, node: u64, event: Event<Progress, Outcome>) -> bool {
        match event {
            Event::Step(progress) => self.step(node, progress),
            Event::Said(text) => {
                if !matches!(self.style, Style::Json | Style::JsonSteps) {
                    self.say(&text);
                }
                true
            }
            Event::Done(outcome) => self.done(node, outcome),
        }
    }
}

impl Copied {
    /// Chooses how the progress is shown.
    pub(super) fn new(options: &CopyOptions) -> Self {
        let style = match (options.json, options.targets.single().is_some(), std::io::stderr().is_terminal()) {
            (true, true, _) => Style::JsonSteps,
            (true, false, _) => Style::Json,
            (false, true, true) => Style::Bar,
            (false, true, false) => Style::Quiet,
            (false, false, true) => Style::Redrawn,
            (false, false, false) => Style::Plain,
        };
        let said =
            if options.direction == Direction::FromNodes { ("gave it", "did not") } else { ("have it", "do not") };
        Self { style, outcomes: BTreeMap::new(), running: BTreeMap::new(), drawn: 0, said }
    }

    /// Notes the nodes whose turn did not come before Ctrl-C.
    pub(super) fn left_out(&mut self, nodes: &[u64]) {
        for node in nodes {
            if !self.outcomes.contains_key(node) {
                let message = "interrupted: the copy was not started".to_owned();
                self.done(*node, Outcome { message, ..Outcome::default() });
            }
        }
    }

    /// Returns whether each node has its copy.
    pub(super) fn are_all_there(&self) -> bool {
        self.outcomes.values().all(|outcome| outcome.is_there == Some(true))
    }

    /// Prints the table.
    pub(super) fn finish(&mut self) {
        if !matches!(self.style, Style::Redrawn | Style::Plain) {
            return;
        }
        self.clear();
        let rows: Vec<Vec<String>> = self.outcomes.iter().map(|(node, outcome)| row(*node, outcome)).collect();
        let good = self.outcomes.values().filter(|outcome| outcome.is_there == Some(true)).count();
        let (nodes, bad) = (rows.len(), rows.len() - good);
        let head = ["NODE", "COPY", "SIZE", "SECONDS", "RATE", "MESSAGE"];
        print_line(&format!("{}{nodes} nodes: {good} {}, {bad} {}", table(&head, &rows), self.said.0, self.said.1));
    }

    fn step(&mut self, node: u64, progress: Progress) -> bool {
        let now = clock::read().monotonic;
        match self.style {
            Style::JsonSteps => {
                let Progress { received, total, per_second } = progress;
                let line = json!({ "received": received, "total": total, "bytes_per_second": per_second });
                return print_line(&line.to_string());
            }
            Style::Bar => {
                self.drawn = 1;
                let _closed = write!(std::io::stderr(), "\r{}\x1b[K", progress.bar());
            }
            Style::Redrawn => {
                self.running.insert(node, (progress, now));
                self.draw();
            }
            Style::Plain => {
                let last = self.running.get(&node).map(|(_, printed)| *printed);
                if last.is_none_or(|last| now.since(last) >= LINE_EVERY) {
                    self.running.insert(node, (progress, now));
                    let _closed = writeln!(std::io::stderr(), "node {node}: {}", progress.line().trim_start());
                }
            }
            Style::Json | Style::Quiet => {}
        }
        true
    }

    fn done(&mut self, node: u64, outcome: Outcome) -> bool {
        self.running.remove(&node);
        let is_there = outcome.is_there == Some(true);
        let is_read = match self.style {
            Style::Json | Style::JsonSteps => print_line(&outcome.to_json(Some(node)).to_string()),
            Style::Redrawn | Style::Plain if is_there => {
                self.say_plainly(&format!("node {node}: {}", outcome.text()));
                true
            }
            Style::Redrawn | Style::Plain => {
                self.say(&format!("node {node}: {}", outcome.message));
                true
            }
            Style::Bar | Style::Quiet => {
                self.clear();
                if is_there {
                    print_line(&outcome.text());
                } else {
                    complain(&outcome.message);
                }
                true
            }
        };
        self.outcomes.insert(node, outcome);
        is_read
    }

    /// Prints a line of trouble above those that are redrawn.
    fn say(&mut self, text: &str) {
        self.clear();
        complain(text);
        self.draw();
    }

    fn say_plainly(&mut self, text: &str) {
        self.clear();
        let _closed = writeln!(std::io::stderr(), "{text}");
        self.draw();
    }

    /// Removes the lines that are redrawn.
    fn clear(&mut self) {
        match (std::mem::take(&mut self.drawn), self.style) {
            (0, _) => {}
            (_, Style::Bar) => _ = write!(std::io::stderr(), "\r\x1b[K"),
            (drawn, _) => _ = write!(std::io::stderr(), "\x1b[{drawn}A\x1b[J"),
        }
    }

    fn draw(&mut self) {
        if self.style != Style::Redrawn || (self.drawn == 0 && self.running.is_empty()) {
            return;
        }
        let up = if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() };
        let lines = self.running.iter().take(LINES_MAX);
        let lines: String =
            lines.map(|(node, (progress, _))| format!("node {node}: {}\x1b[K\n", progress.line())).collect();
        self.drawn = lines.lines().count();
        let _closed = write!(std::io::stderr(), "{up}{lines}\x1b[J");
    }
}

fn row(node: u64, outcome: &Outcome) -> Vec<String> {
    let copy = match outcome.is_there {
        Some(true) => "ok",
        Some(false) => "failed",
        None => "unknown",
    };
    let received = outcome.received.map_or("-".to_owned(), bytes_text);
    let rate = outcome.received.map_or("-".to_owned(), |_| format!("{}/s", bytes_text(outcome.per_second())));
    let message = if outcome.is_there == Some(true) { String::new() } else { outcome.message.clone() };
    vec![node.to_string(), copy.to_owned(), received, format!("{:.1}", outcome.seconds), rate, message]
}

/// Prints a line; returns whether the reader is still there.
pub(super) fn print_line(text: &str) -> bool {
    writeln!(std::io::stdout(), "{text}").is_ok()
}

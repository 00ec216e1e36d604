//! Figures with their targets, their floors and the original's figures.

use std::fmt;

use serde_json::{Value, json};

use crate::catalogue::Scenario;
use crate::{Scale, floors};

/// The target of a figure.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// This value or more.
    AtLeast(f64),
    /// This value or less.
    AtMost(f64),
    /// Less is better; there is no target value.
    Small,
    /// More is better; there is no target value.
    Large,
}

impl Target {
    /// Returns the relation and the bound, if there is one.
    const fn bound(self) -> Option<(&'static str, f64)> {
        match self {
            Self::AtLeast(bound) => Some(("≥", bound)),
            Self::AtMost(bound) => Some(("≤", bound)),
            Self::Small | Self::Large => None,
        }
    }
}

/// A measured figure.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Name of the figure within its scenario; empty if it is the only one.
    pub part: &'static str,
    /// Measured value.
    pub value: f64,
    /// Unit of the value.
    pub unit: &'static str,
    /// Target of the value.
    pub target: Target,
    /// The original's figure in the same unit, if known.
    pub original: Option<f64>,
}

impl Figure {
    fn is_met(&self) -> Option<bool> {
        match self.target {
            Target::AtLeast(bound) => Some(self.value >= bound),
            Target::AtMost(bound) => Some(self.value <= bound),
            Target::Small | Target::Large => None,
        }
    }

    /// Returns how many times better the figure is than the original's.
    fn ratio(&self) -> Option<f64> {
        let original = self.original?;
        Some(match self.target {
            Target::AtLeast(_) | Target::Large => self.value / original,
            Target::AtMost(_) | Target::Small => original / self.value,
        })
    }

    fn verdict(&self) -> &'static str {
        match self.is_met() {
            Some(true) => "PASS",
            Some(false) => "MISS",
            None => "",
        }
    }
}

/// A figure with its measured floors.
pub struct Row {
    scenario: &'static Scenario,
    figure: Figure,
    floors: Vec<(&'static str, f64)>,
}

impl Row {
    fn name(&self) -> String {
        let (scenario, part) = (self.scenario.name, self.figure.part);
        if part.is_empty() { scenario.to_owned() } else { format!("{scenario} {part}") }
    }

    fn figure_text(&self) -> String {
        format!("{} {}", number(self.figure.value), self.figure.unit)
    }

    fn target_text(&self) -> String {
        let bound = self.figure.target.bound();
        bound.map_or(String::new(), |(sign, bound)| format!("{sign} {} {}", number(bound), self.figure.unit))
    }

    /// Returns the cost as a multiple of a floor; 1 is as good as the floor.
    fn cost(&self, floor: f64) -> f64 {
        match self.figure.target {
            Target::AtLeast(_) | Target::Large => floor / self.figure.value,
            Target::AtMost(_) | Target::Small => self.figure.value / floor,
        }
    }

    fn floor_text(&self) -> String {
        let text = |&(_, floor): &(_, f64)| format!("{} (× {})", number(floor), number(self.cost(floor)));
        self.floors.iter().map(text).collect::<Vec<_>>().join("; ")
    }

    fn floors_are(&self) -> String {
        if self.floors.is_empty() {
            return floors::reason(self.scenario.name, self.figure.part).unwrap_or_default().to_owned();
        }
        self.floors.iter().map(|(about, _)| *about).collect::<Vec<_>>().join("; ")
    }

    fn original_text(&self) -> String {
        match (self.figure.original, self.figure.ratio()) {
            (Some(original), Some(ratio)) => format!("{} (× {})", number(original), number(ratio)),
            _ => String::new(),
        }
    }

    fn to_json(&self) -> Value {
        let figure = &self.figure;
        json!({
            "name": self.scenario.name, "part": figure.part, "value": figure.value, "unit": figure.unit,
            "target": figure.target.bound().map(|(sign, bound)| format!("{sign} {bound}")), "met": figure.is_met(),
            "floors": self.floors.iter().map(|(about, floor)| json!({
                "is": about, "value": floor, "times_it": self.cost(*floor),
            })).collect::<Vec<_>>(),
            "no_floor": floors::reason(self.scenario.name, figure.part), "original": figure.original, "times_better": figure.ratio(),
        })
    }
}

/// All figures of a run, displayed as a table.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a scenario's figures and measures their floors.
    pub fn add(&mut self, scenario: &'static Scenario, figures: Vec<Figure>, scale: Scale) {
        for figure in figures {
            let floors = floors::of(scenario.name, figure.part).filter_map(|floor| match floor.measure(scale) {
                Ok(value) => Some((floor.about, value)),
                Err(error) => {
                    eprintln!("{}: no floor ({}): {error}", scenario.name, floor.about);
                    None
                }
            });
            self.rows.push(Row { scenario, figure, floors: floors.collect() });
        }
    }

    /// Returns the figures as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = Value::Array(self.rows.iter().map(Row::to_json).collect()).to_string();
        text.push('\n');
        text
    }

    /// Returns the figures as a Markdown table.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut text = String::from(
            "| scenario | figure | target | | floor (times it) | what the floor is | original (times better) |\n\
             |---|--:|--:|---|--:|---|--:|\n",
        );
        for row in &self.rows {
            let cells = [
                row.name(),
                row.figure_text(),
                row.target_text(),
                row.figure.verdict().to_owned(),
                row.floor_text(),
                row.floors_are(),
                row.original_text(),
            ];
            text.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:<36} {:>16} {:>18}       {:>22} {:>22}  repeat with",
            "scenario", "figure", "target", "floor (times it)", "original (times better)"
        )?;
        for row in &self.rows {
            let (name, verdict) = (row.name(), row.figure.verdict());
            let (figure, target) = (row.figure_text(), row.target_text());
            let (floor, original) = (row.floor_text(), row.original_text());
            let command = format!("cargo bench --locked --bench scenarios -- {}", row.scenario.name);
            writeln!(
                formatter,
                "{name:<36} {figure:>16} {target:>18} {verdict:4}  {floor:>22} {original:>22}  {command}"
            )?;
        }
        Ok(())
    }
}

/// Formats a number with three significant digits and separated thousands.
fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 100.0 {
        let decimals = if value.abs() < 1.0 { 3 } else { 1 };
        return format!("{value:.decimals$}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && digits.len().saturating_sub(index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

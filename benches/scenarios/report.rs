//! Figures beside their targets and the original's figures.

use std::fmt;

use serde_json::{Value, json};

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// Less is better; nothing is promised.
    Small,
    /// More is better; nothing is promised.
    Large,
}

impl Target {
    /// How it relates to its bound, where there is one.
    const fn bound(self) -> Option<(&'static str, f64)> {
        match self {
            Self::AtLeast(bound) => Some(("≥", bound)),
            Self::AtMost(bound) => Some(("≤", bound)),
            Self::Small | Self::Large => None,
        }
    }
}

/// One measured figure.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// What was measured, in addition to the scenario's name; empty for its only figure.
    pub part: &'static str,
    /// The value.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What it should be.
    pub target: Target,
    /// The original's figure in the same unit, where there is one.
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

    /// How many times better than the original.
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

/// All figures of a run. Displayed as a table.
#[derive(Default)]
pub struct Report {
    rows: Vec<(&'static str, Figure)>,
}

impl Report {
    /// Adds a scenario's figures.
    pub fn add(&mut self, scenario: &'static str, figures: Vec<Figure>) {
        self.rows.extend(figures.into_iter().map(|figure| (scenario, figure)));
    }

    /// The figures as JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let rows = self.rows.iter().map(|(scenario, figure)| {
            json!({
                "name": scenario, "part": figure.part, "value": figure.value, "unit": figure.unit,
                "target": figure.target.bound().map(|(sign, bound)| format!("{sign} {bound}")), "met": figure.is_met(), "original": figure.original,
                "times_better": figure.ratio(),
            })
        });
        let mut text = Value::Array(rows.collect()).to_string();
        text.push('\n');
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:<34} {:>16} {:>18}       {:>22}  repeat with",
            "scenario", "figure", "target", "original"
        )?;
        for (scenario, figure) in &self.rows {
            let name =
                if figure.part.is_empty() { (*scenario).to_owned() } else { format!("{scenario} {}", figure.part) };
            let value = format!("{} {}", number(figure.value), figure.unit);
            let target = figure
                .target
                .bound()
                .map_or(String::new(), |(sign, bound)| format!("{sign} {} {}", number(bound), figure.unit));
            let original = match (figure.original, figure.ratio()) {
                (Some(original), Some(ratio)) => format!("{} (× {})", number(original), number(ratio)),
                _ => String::new(),
            };
            let verdict = figure.verdict();
            let command = format!("cargo bench --bench scenarios -- {scenario}");
            writeln!(formatter, "{name:<34} {value:>16} {target:>18} {verdict:4}  {original:>22}  {command}")?;
        }
        Ok(())
    }
}

/// Three figures that count, thousands apart.
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

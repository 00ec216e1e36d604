//! Inserts the table of a run into a page of the documentation.

use std::path::Path;
use std::process::Command;

use crate::Outcome;
use crate::report::Report;

const BEGIN: &str = "<!-- figures: written by cargo bench --locked --bench scenarios -- --markdown -->";
const END: &str = "<!-- end of figures -->";

/// Replaces the text between the two markers of a page by the origin of the figures and the table.
///
/// # Errors
/// The page cannot be read or written, or a marker is missing.
pub fn write(file: &Path, report: &Report) -> Outcome<()> {
    let page = std::fs::read_to_string(file)?;
    let (before, rest) = page.split_once(BEGIN).ok_or_else(|| format!("it lacks the line '{BEGIN}'"))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| format!("it lacks the line '{END}'"))?;
    let text = format!("{before}{BEGIN}\n{}\n\n{}\n{END}{after}", origin(), report.to_markdown());
    Ok(std::fs::write(file, text)?)
}

/// Returns version, commit, day and machine.
fn origin() -> String {
    let said = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).current_dir(env!("CARGO_MANIFEST_DIR")).output();
        output.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    format!(
        "Stheno {} ({}), {}; {}; {processors} × {}; Linux {}.",
        env!("CARGO_PKG_VERSION"),
        said("git", &["describe", "--always", "--dirty"]),
        said("date", &["-u", "+%Y-%m-%d"]),
        said("rustc", &["--version"]),
        model.trim_start_matches([' ', '\t', ':']),
        said("uname", &["-r"]),
    )
}

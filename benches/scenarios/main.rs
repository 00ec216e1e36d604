//! Measures real daemons: throughput, latency, start time, memory. Linux only; no figure causes a failure.
//!
//!     cargo bench --locked --bench scenarios                 all of them
//!     cargo bench --locked --bench scenarios -- NAME…        just these
//!     cargo bench --locked --bench scenarios -- --list
//!
//! `--quick` does a tenth of the work; `--json FILE` also writes the figures to a file, `--markdown FILE` inserts the
//! table into a page between two markers. `--usage` prints the resources that each daemon has used when it ends: on a
//! machine with other load, processor time is more reliable than elapsed time. `--beside FILE` measures another build
//! of ours in turn, where a scenario can, and prints ratios to it. `--peer CMD` measures another daemon,
//! which is started by the shell command CMD (see [`peer`]).
//!
//! Each daemon is the release binary with its own directory, keys and configuration below the target directory; this
//! process generates the load, over loopback. A figure is shown with its target, with the floor that was measured in
//! the same run ([`floors`]) and with the original's figure: that of a Perl Gorgone 23.10 on a 2-core machine, the best
//! one if there was a range. Only the ratio to it is meaningful, and only on such a machine.

mod catalogue;
mod certificate;
mod cleaning;
mod commands;
mod constatus;
mod copies;
mod floors;
mod footprint;
mod gorgone_client;
mod http_client;
mod load;
mod memory;
mod page;
mod parts;
mod peer;
mod platform;
mod process;
mod queue;
mod relay;
mod report;
mod restarts;
mod sealed;
#[cfg(feature = "ssh")]
mod ssh;
#[cfg(feature = "ssh")]
mod ssh_host;
mod storm;
mod sync;
mod ten_thousand;
mod websocket;
mod websocket_nodes;
mod writes;
mod zmq_nodes;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use report::Report;

/// Result of a step of a scenario; any error ends the scenario.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The amount of work of a scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    divisor: usize,
}

impl Scale {
    /// Returns `count`, or a tenth of it with `--quick`.
    #[must_use]
    pub const fn of(self, count: usize) -> usize {
        count.div_ceil(self.divisor)
    }
}

/// The parsed command line.
struct Arguments {
    names: Vec<String>,
    json: Option<PathBuf>,
    markdown: Option<PathBuf>,
    scale: Scale,
    list: bool,
}

fn main() -> ExitCode {
    match parse_arguments().and_then(|arguments| run(&arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn parse_arguments() -> Outcome<Arguments> {
    let scale = Scale { divisor: 1 };
    let mut arguments = Arguments { names: Vec::new(), json: None, markdown: None, scale, list: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            // cargo adds this option.
            "--bench" => {}
            floors::HOLD_TLS => {
                let count = words.next().ok_or("how many?")?.parse()?;
                floors::hold_tls(count)?;
                std::process::exit(0);
            }
            "--usage" => platform::USAGE.store(true, std::sync::atomic::Ordering::Relaxed),
            "--list" => arguments.list = true,
            "--quick" => arguments.scale = Scale { divisor: 10 },
            "--json" => arguments.json = Some(words.next().ok_or("--json needs the name of a file")?.into()),
            "--markdown" => {
                arguments.markdown = Some(words.next().ok_or("--markdown needs the name of a page")?.into())
            }
            "--beside" => peer::set_beside(words.next().ok_or("--beside needs another build of the program")?),
            "--peer" => peer::set(words.next().ok_or("--peer needs the command that starts the other daemon")?),
            name if catalogue::SCENARIOS.iter().any(|scenario| scenario.name == name) => arguments.names.push(word),
            _ => return Err(format!("'{word}' is no scenario and no option; --list shows the scenarios").into()),
        }
    }
    Ok(arguments)
}

/// Runs the requested scenarios; returns `false` if one could not be measured.
fn run(arguments: &Arguments) -> Outcome<bool> {
    if arguments.list {
        for scenario in catalogue::SCENARIOS {
            println!("{:<24} {}", scenario.name, scenario.about);
        }
        return Ok(true);
    }
    let is_wanted = |name: &str| match arguments.names.as_slice() {
        [] => !catalogue::BY_NAME_ONLY.contains(&name),
        names => names.iter().any(|wanted| wanted == name),
    };
    let mut report = Report::default();
    let mut complete = true;
    for scenario in catalogue::SCENARIOS.iter().filter(|scenario| is_wanted(scenario.name)) {
        eprintln!("{}: {} …", scenario.name, scenario.about);
        match (scenario.run)(arguments.scale) {
            Ok(figures) => report.add(scenario, figures, arguments.scale),
            Err(error) => {
                eprintln!("{}: could not be measured: {error}", scenario.name);
                complete = false;
            }
        }
    }
    print!("{report}");
    if let Some(file) = &arguments.json {
        std::fs::write(file, report.to_json()).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    if let Some(file) = &arguments.markdown {
        page::write(file, &report).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(complete)
}

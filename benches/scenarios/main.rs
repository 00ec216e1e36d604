//! Measures real daemons: speed, latency, start, memory. Linux only; nothing here fails because of a figure.
//!
//!     cargo bench --bench scenarios                 all of them
//!     cargo bench --bench scenarios -- NAME…        just these
//!     cargo bench --bench scenarios -- --list
//!
//! `--quick` does a tenth of the work, `--json FILE` writes the figures there as well. Each daemon is the release binary with
//! its own directory, keys and configuration below the target directory; the load comes from this process, over loopback. The
//! figures of the original are those of a Perl Gorgone 23.10 on a 2-core machine, its best where a range was seen: only the
//! ratio to them means something, and only on such a machine.

mod certificate;
mod commands;
mod constatus;
mod footprint;
mod gorgone_client;
mod http_client;
mod load;
mod platform;
mod process;
mod report;
mod sync;
mod websocket;
mod websocket_nodes;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use report::{Figure, Report};

/// What a step of a scenario brings; any error ends the scenario.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How much work a scenario does.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    divisor: usize,
}

impl Scale {
    /// `count`, or a tenth of it where it has to be quick.
    #[must_use]
    pub const fn of(self, count: usize) -> usize {
        count.div_ceil(self.divisor)
    }
}

/// One scenario: its name, what it measures, and the measurement.
pub struct Scenario {
    name: &'static str,
    about: &'static str,
    run: fn(Scale) -> Outcome<Vec<Figure>>,
}

const SCENARIOS: [Scenario; 19] = [
    Scenario { name: "ping_pipelined", about: "PING over one session, as fast as it goes", run: load::ping_pipelined },
    Scenario {
        name: "putlog_pipelined",
        about: "PUTLOG, each a durable row, over one session",
        run: load::putlog_pipelined,
    },
    Scenario { name: "ping_latency", about: "PING one at a time", run: load::ping_latency },
    Scenario { name: "putlog_latency", about: "PUTLOG, each a durable row, one at a time", run: load::putlog_latency },
    Scenario {
        name: "rest_pipelined",
        about: "API requests that need no history, over one connection",
        run: load::rest_pipelined,
    },
    Scenario { name: "rest_log", about: "GET log over one keep-alive connection", run: load::rest_log },
    Scenario { name: "rest_constatus", about: "GET constatus of a daemon without nodes", run: load::rest_constatus },
    Scenario {
        name: "commands_200",
        about: "COMMANDs through a central until their results are there",
        run: commands::commands_200,
    },
    Scenario { name: "start_to_api", about: "from start to the first answer of the API", run: footprint::start_to_api },
    Scenario {
        name: "start_to_first_pong",
        about: "from start to a push node's PONG",
        run: footprint::start_to_first_pong,
    },
    Scenario { name: "memory_poller_idle", about: "PSS of a poller without work", run: footprint::memory_poller_idle },
    Scenario {
        name: "memory_central_20_nodes",
        about: "PSS of a central with 20 nodes",
        run: footprint::memory_central_20_nodes,
    },
    Scenario { name: "idle_wakeups", about: "wake-ups of an idle poller in 10 s", run: footprint::idle_wakeups },
    Scenario { name: "sync_50000", about: "a node's history comes over, while others ping", run: sync::sync_50000 },
    Scenario {
        name: "wss_1000_memory",
        about: "PSS of a central with 1,000 pullwss nodes, without and with TLS",
        run: websocket::wss_1000_memory,
    },
    Scenario {
        name: "wss_1000_restart",
        about: "1,000 pullwss nodes with TLS come back to a central that restarts",
        run: websocket::wss_1000_restart,
    },
    Scenario { name: "wss_sync_100000", about: "a pullwss node's history comes over", run: websocket::wss_sync_100000 },
    Scenario {
        name: "wss_commands_2000",
        about: "commands to 20 pullwss nodes that send 200 PONGs a second",
        run: websocket::wss_commands_2000,
    },
    Scenario {
        name: "rest_constatus_20_nodes",
        about: "GET constatus with 20 nodes, by wrk over 16 connections, without and with TLS",
        run: constatus::rest_constatus_20_nodes,
    },
];

/// What the command line asks for.
struct Arguments {
    names: Vec<String>,
    json: Option<PathBuf>,
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
    let mut arguments = Arguments { names: Vec::new(), json: None, scale: Scale { divisor: 1 }, list: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            // cargo adds it.
            "--bench" => {}
            "--list" => arguments.list = true,
            "--quick" => arguments.scale = Scale { divisor: 10 },
            "--json" => arguments.json = Some(words.next().ok_or("--json needs the name of a file")?.into()),
            name if SCENARIOS.iter().any(|scenario| scenario.name == name) => arguments.names.push(word),
            _ => return Err(format!("'{word}' is no scenario and no option; --list shows the scenarios").into()),
        }
    }
    Ok(arguments)
}

/// Runs what was asked for; `false` when a scenario could not be measured.
fn run(arguments: &Arguments) -> Outcome<bool> {
    if arguments.list {
        for scenario in &SCENARIOS {
            println!("{:<24} {}", scenario.name, scenario.about);
        }
        return Ok(true);
    }
    let is_wanted = |name: &str| arguments.names.is_empty() || arguments.names.iter().any(|wanted| wanted == name);
    let mut report = Report::default();
    let mut complete = true;
    for scenario in SCENARIOS.iter().filter(|scenario| is_wanted(scenario.name)) {
        eprintln!("{}: {} …", scenario.name, scenario.about);
        match (scenario.run)(arguments.scale) {
            Ok(figures) => report.add(scenario.name, figures),
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
    Ok(complete)
}

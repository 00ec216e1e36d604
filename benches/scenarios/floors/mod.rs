//! Floors of figures: the minimum cost of the same work on this machine, measured with a tool that does nothing else.
//!
//! A floor is measured in the same run as its figure, once, and only if a figure needs it. A figure may have several
//! floors; for a figure without a floor in [`FLOORS`], [`WITHOUT`] gives the reason.

mod ciphers;
mod digests;
mod files;
mod http;
mod maps;
mod processes;
mod sqlite;
mod tls;
mod zmq;

use std::sync::{Mutex, PoisonError};

#[cfg(feature = "ssh")]
use crate::ssh;
use crate::{Outcome, Scale, cleaning, copies, storm};

#[cfg(feature = "ssh")]
pub use files::largest_pss;
pub use tls::{HOLD as HOLD_TLS, hold as hold_tls};

/// The minimum cost of some work.
#[derive(Clone, Copy)]
pub struct Floor {
    /// Description of the measurement.
    pub about: &'static str,
    measure: fn(Scale) -> Outcome<f64>,
}

impl Floor {
    const fn new(about: &'static str, measure: fn(Scale) -> Outcome<f64>) -> Self {
        Self { about, measure }
    }

    /// Measures the value, in the unit of the figure.
    ///
    /// # Errors
    /// The reason why it could not be measured.
    pub fn measure(&self, scale: Scale) -> Outcome<f64> {
        (self.measure)(scale)
    }
}

const ECHO: &str = "libzmq: ROUTER echoes a DEALER";
const ROWS: &str = "SQLite: inserts, 1,000 a commit";
const COMMIT: &str = "SQLite: a commit of one row";
const COPIED_ROWS: &str = "SQLite: as many rows read and inserted";
const ANSWERS: &str = "httparse in a loop, a fixed answer";
const WRK_ANSWERS: &str = "the same on a thread each, an answer as long";
const ECHO_RATE: Floor = Floor::new(ECHO, |_| Ok(zmq::echo()?.rate));
const ANSWER_RATE: Floor = Floor::new(ANSWERS, |_| Ok(http::answers()?.rate));
const ANSWER_P99: Floor = Floor::new(ANSWERS, |_| Ok(http::answers()?.p99_ms));
const SLEEP: Floor = Floor::new("sleep (coreutils)", |_| processes::sleep_megabytes());
const STOPPED: Floor = Floor::new("sleep (coreutils), from TERM to its end", |_| processes::stop_s());
const VERSION: Floor = Floor::new("stheno --version", |_| processes::version_s());
const ECHO_P99: Floor = Floor::new(ECHO, |_| Ok(zmq::echo()?.p99_ms));
const CP_MEMORY: Floor = Floor::new("cp, while it copies", |scale| files::cp_megabytes(scale.of(copies::FILE_BYTES)));
const SINGLE: &str = "one at a time p99";
const QUESTION: &str = "SQLite: the same question, by one connection";
const START_AND_HANDSHAKE: Floor =
    Floor::new("stheno --version, and OpenSSL: the RSA decryptions of a handshake", |_| {
        Ok(processes::version_s()? + ciphers::handshake_s()?)
    });
const TLS_HANDSHAKES: Floor =
    Floor::new("OpenSSL: as many TLS handshakes", |scale| ciphers::tls_handshakes_s(scale.of(1_000)));
/// A commit of a row and a query for it, as at the end of a chain.
const ROW_AND_LOOK: Floor = Floor::new("SQLite: a commit of one row, a question; libzmq: two echoes", |_| {
    Ok(sqlite::commits()?.p50_ms + sqlite::questions()?.p50_ms + 2.0 * zmq::echo()?.p50_ms)
});

/// Figures without a floor: scenario, prefix of the part, reason.
const WITHOUT: &[(&str, &str, &str)] = &[
    ("purge_100000", "step", "none: a step ends by the clock"),
    ("purge_100000", "longest", "none: a step ends by the clock, perhaps with a row of 1 MB"),
    ("purge_100000", "left", "none: what is not given back; the best is 0"),
    ("parts", "", "none: two ways side by side"),
    ("memory_poller_idle", "before", "none: what is released later"),
    ("flash_bytes_per_command", "", "none: a count of what is written"),
    ("flash_bytes_batched", "", "none: a count of what is written"),
    ("memory_after_work", "growth", "none: a growth that should be 0"),
    ("soak", "", "none: a growth that should be 0"),
    ("idle_wakeups", "", "none: a count that must be 0"),
    ("queue_accepted", "of", "none: two ways side by side"),
    ("queue_accepted", "memory", "none: a growth"),
    ("wss_commands_2000", "lost", "none: a count that must be 0"),
    ("wss_commands_2000", "…", "none: a count that must be 0"),
    ("wss_commands_2000", "PONGs", "none: the nodes send 200 a second"),
    ("ssh_loop_hold", "PING p99", "none: it waits for processors that exchange keys"),
    ("ssh_loop_hold", "longest PING", "none: it waits for processors that exchange keys"),
    ("ssh_loop_hold", "longest turn", "none: it is our own loop that is looked at"),
];

/// Returns the reason why a figure has no floor.
pub fn reason(scenario: &str, part: &str) -> Option<&'static str> {
    let found = WITHOUT.iter().find(|(name, beginning, _)| *name == scenario && part.starts_with(beginning));
    found.map(|(_, _, reason)| *reason)
}

/// Scenario and part of a figure, with its floor.
const FLOORS: &[(&str, &str, Floor)] = &[
    ("ping_pipelined", "", ECHO_RATE),
    ("ping_latency", "p50", Floor::new(ECHO, |_| Ok(zmq::echo()?.p50_ms))),
    ("ping_latency", "p99", ECHO_P99),
    ("putlog_pipelined", "", Floor::new(ROWS, |_| sqlite::rows_per_second())),
    ("queue_accepted", "", Floor::new(ROWS, |_| sqlite::rows_per_second())),
    ("putlog_latency", "p50", Floor::new(COMMIT, |_| Ok(sqlite::commits()?.p50_ms))),
    ("putlog_latency", "p99", Floor::new(COMMIT, |_| Ok(sqlite::commits()?.p99_ms))),
    ("sync_50000", "", Floor::new(COPIED_ROWS, |scale| sqlite::copy_s(scale.of(50_000)))),
    ("wss_sync_100000", "", Floor::new(COPIED_ROWS, |scale| sqlite::copy_s(scale.of(100_000)))),
    ("rest_pipelined", "", ANSWER_RATE),
    ("rest_pipelined", SINGLE, ANSWER_P99),
    ("rest_log", "", Floor::new(QUESTION, |_| Ok(sqlite::questions()?.rate))),
    ("rest_log", "", ANSWER_RATE),
    (
        "rest_log",
        SINGLE,
        Floor::new("httparse, and SQLite: the same question", |_| {
            Ok(http::answers()?.p99_ms + sqlite::questions()?.p99_ms)
        }),
    ),
    ("rest_constatus", "", ANSWER_RATE),
    ("rest_constatus", SINGLE, ANSWER_P99),
    ("commands_200", "", Floor::new("sh -c, one after the other", |_| processes::commands_per_second())),
    ("copy_1gb", "", Floor::new("MD5 and base64, one processor", |_| digests::megabytes_per_second())),
    (
        "copy_1gb",
        "",
        Floor::new("cp and sync", |scale| files::large_megabytes_per_second(scale.of(copies::FILE_BYTES))),
    ),
    ("copy_1gb", "PSS of the central", CP_MEMORY),
    ("copy_1gb", "PSS of the node", CP_MEMORY),
    ("copy_2000_files", "", Floor::new("cp -r and sync", |scale| files::many_s(scale.of(copies::FILES)))),
    (
        "commands_1000_a_minute",
        "",
        Floor::new("starting sh -c as often, two commits each", |_| processes::starting_percent()),
    ),
    (
        "purge_100000",
        "all steps",
        Floor::new("SQLite: the same rows deleted, 1,000 a commit", |scale| {
            sqlite::deleted_s(scale.of(cleaning::ROWS), cleaning::len_bytes)
        }),
    ),
    ("start_to_api", "", VERSION),
    ("start_to_first_pong", "", START_AND_HANDSHAKE),
    ("push_node_back", "", START_AND_HANDSHAKE),
    ("dial_in_back", "pull", START_AND_HANDSHAKE),
    ("dial_in_back", "pullwss", VERSION),
    ("stop", "central", STOPPED),
    ("stop", "poller", STOPPED),
    ("memory_poller_idle", "", SLEEP),
    ("memory_central_20_nodes", "", SLEEP),
    ("memory_after_work", "", SLEEP),
    (
        "nodes_back",
        "",
        Floor::new("stheno --version, and OpenSSL: the RSA decryptions of 20 handshakes at both ends", |_| {
            Ok(processes::version_s()? + ciphers::decryptions_s(40)?)
        }),
    ),
    ("relay_latency", "told directly, p50", ROW_AND_LOOK),
    ("relay_latency", "through one relay, p50", ROW_AND_LOOK),
    ("relay_latency", "through the central and two, p50", ROW_AND_LOOK),
    (
        "pathway_choice",
        "whole request, p50",
        Floor::new("HashMap: a look-up among as many ids", |_| maps::look_up_microseconds()),
    ),
    ("relay_drain_200000", "PSS of the poller at most", SLEEP),
    ("relay_drain_200000", "PSS of the relay at most", SLEEP),
    ("relay_drain_200000", "PSS of the central at most", SLEEP),
    ("sync_50000", "ping p99", ECHO_P99),
    ("wss_1000_memory", "plain", SLEEP),
    (
        "wss_1000_memory",
        "TLS",
        Floor::new("rustls: as many connections after their handshakes, nothing else", |scale| {
            tls::held_megabytes(scale.of(1_000))
        }),
    ),
    ("wss_1000_restart", "pinged", TLS_HANDSHAKES),
    ("wss_commands_2000", "at once", Floor::new(ROWS, |_| sqlite::rows_per_second())),
    (
        "relay_latency",
        "two relays alone, p50",
        Floor::new("libzmq: two ROUTERs echo", |_| Ok(2.0 * zmq::echo()?.p50_ms)),
    ),
    ("relay_drain_200000", "", Floor::new(COPIED_ROWS, |scale| sqlite::copy_s(scale.of(200_000)))),
    ("rest_constatus_20_nodes", "plain", Floor::new(WRK_ANSWERS, |scale| http::many_clients(scale, false))),
    ("rest_constatus_20_nodes", "TLS", Floor::new(WRK_ANSWERS, |scale| http::many_clients(scale, true))),
    #[cfg(feature = "ssh")]
    ("ssh_commands_100", "", Floor::new("ssh: as many over one connection", ssh::openssh_commands_per_second)),
    #[cfg(feature = "ssh")]
    ("ssh_copy_100mb", "", Floor::new("sftp: the same file", ssh::openssh_sftp_megabytes_per_second)),
    #[cfg(feature = "ssh")]
    ("ssh_copy_100mb", "PSS of the central", Floor::new("sftp and ssh, while they copy", ssh::openssh_sftp_megabytes)),
    #[cfg(feature = "ssh")]
    ("ssh_100_idle", "more than none", Floor::new("ssh: as many clients", ssh::openssh_idle_megabytes)),
    (
        "reconnect_storm",
        "",
        Floor::new("OpenSSL: as many RSA decryptions at both ends", |scale| {
            ciphers::decryptions_s(2 * scale.of(storm::CLIENTS))
        }),
    ),
    ("wss_1000_restart", "", TLS_HANDSHAKES),
];

/// Returns the floors of a figure.
pub fn of(scenario: &str, part: &str) -> impl Iterator<Item = Floor> {
    FLOORS.iter().filter(move |(name, its_part, _)| *name == scenario && *its_part == part).map(|(_, _, floor)| *floor)
}

/// The remembered result or error of a measurement that is made once.
type Memory<T> = Mutex<Option<Result<T, String>>>;

fn once<T: Clone>(memory: &Memory<T>, measure: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
    let result = memory.get_or_insert_with(|| measure().map_err(|error| error.to_string()));
    Ok(result.clone()?)
}

//! The list of all scenarios.

use crate::report::Figure;
#[cfg(feature = "ssh")]
use crate::ssh;
use crate::{Outcome, Scale};
use crate::{
    cleaning, commands, constatus, copies, footprint, load, memory, parts, queue, relay, restarts, sealed, storm, sync,
    ten_thousand, websocket, writes,
};

/// A scenario: its name, description and measurement.
pub struct Scenario {
    /// Name on the command line and in the tables.
    pub name: &'static str,
    /// Description in one line.
    pub about: &'static str,
    /// The measurement.
    pub run: fn(Scale) -> Outcome<Vec<Figure>>,
}

/// Scenarios that take long and run only if they are named.
pub const BY_NAME_ONLY: [&str; 4] = ["soak", "hundred_nodes", "thousand_nodes", "ten_thousand_nodes"];

/// All scenarios, in the order in which they run. A new scenario is a function that returns figures, and an entry here;
/// `floors::FLOORS` contains the floors of its figures.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "ping_pipelined", about: "PING over one session, as fast as it goes", run: load::ping_pipelined },
    Scenario {
        name: "putlog_pipelined",
        about: "PUTLOG, each a durable row, over one session",
        run: load::putlog_pipelined,
    },
    Scenario {
        name: "queue_accepted",
        about: "requests that wait for a node that is away, beside PUTLOG, and their memory",
        run: queue::queue_accepted,
    },
    Scenario {
        name: "reconnect_known",
        about: "80 clients that lost their connections are back: sealed links with tickets, classic ones",
        run: storm::reconnect_known,
    },
    Scenario { name: "sealed", about: "PING and PUTLOG over a sealed link beside a classic one", run: sealed::sealed },
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
    Scenario { name: "copy_1gb", about: "a file to a push node, until it is in its place", run: copies::copy_1gb },
    Scenario {
        name: "copy_2000_files",
        about: "a directory to a push node, until it is in its place",
        run: copies::copy_2000_files,
    },
    Scenario {
        name: "copy_beside_commands",
        about: "COMMANDs to a node, one at a time, while a file of 2 GB is copied to it",
        run: copies::copy_beside_commands,
    },
    Scenario {
        name: "commands_1000_a_minute",
        about: "processor time of a daemon beside its children: COMMAND true, 1,000 a minute",
        run: commands::commands_1000_a_minute,
    },
    Scenario {
        name: "flash_bytes_per_command",
        about: "what a central and its pullwss node write for each COMMAND true, one at a time",
        run: writes::flash_bytes_per_command,
    },
    Scenario {
        name: "flash_bytes_batched",
        about: "the same, 20 at once, where both batch their commits",
        run: writes::flash_bytes_batched,
    },
    Scenario {
        name: "parts",
        about: "what single parts of the program buy, beside the same work without them",
        run: parts::parts,
    },
    Scenario {
        name: "purge_100000",
        about: "old rows go step by step: how long a commit with a step holds up the loop",
        run: cleaning::purge_100000,
    },
    Scenario { name: "start_to_api", about: "from start to the first answer of the API", run: footprint::start_to_api },
    Scenario {
        name: "start_to_first_pong",
        about: "from start to a push node's PONG",
        run: footprint::start_to_first_pong,
    },
    Scenario { name: "stop", about: "from TERM to the end of a central and of its node", run: restarts::stop },
    Scenario {
        name: "push_node_back",
        about: "from a push node's restart to the result of a command",
        run: restarts::push_node_back,
    },
    Scenario {
        name: "nodes_back",
        about: "from a central's restart to a PONG of each of 20 push nodes",
        run: restarts::nodes_back,
    },
    Scenario {
        name: "dial_in_back",
        about: "from a central's restart to a PONG of a node that dials in",
        run: restarts::dial_in_back,
    },
    Scenario {
        name: "reconnect_storm",
        about: "80 clients make sessions with a daemon that restarted",
        run: storm::reconnect_storm,
    },
    Scenario { name: "memory_poller_idle", about: "PSS of a poller without work", run: footprint::memory_poller_idle },
    Scenario {
        name: "memory_central_20_nodes",
        about: "PSS of a central with 20 nodes",
        run: footprint::memory_central_20_nodes,
    },
    Scenario {
        name: "memory_after_work",
        about: "PSS of a poller after 10,000 commands and a copy of 100 MB",
        run: memory::memory_after_work,
    },
    Scenario { name: "soak", about: "growth within five minutes of steady work (by name only)", run: memory::soak },
    Scenario { name: "idle_wakeups", about: "wake-ups of an idle poller in 10 s", run: footprint::idle_wakeups },
    Scenario { name: "relay_latency", about: "a row through a chain of relays", run: relay::relay_latency },
    Scenario {
        name: "pathway_choice",
        about: "a request among 5,000 nodes and 50,000 subnodes",
        run: relay::pathway_choice,
    },
    Scenario {
        name: "relay_drain_200000",
        about: "a backlog of a poller drains through a relay to the central",
        run: relay::relay_drain_200000,
    },
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
    #[cfg(feature = "ssh")]
    Scenario {
        name: "ssh_commands_100",
        about: "COMMANDs on one host over one SSH session, until they have ended",
        run: ssh::ssh_commands_100,
    },
    #[cfg(feature = "ssh")]
    Scenario {
        name: "ssh_copy_100mb",
        about: "a file to a host by SSH, until it is in its place",
        run: ssh::ssh_copy_100mb,
    },
    #[cfg(feature = "ssh")]
    Scenario {
        name: "ssh_100_idle",
        about: "PSS of a central with 100 idle SSH sessions, more than without",
        run: ssh::ssh_100_idle,
    },
    #[cfg(feature = "ssh")]
    Scenario {
        name: "ssh_loop_hold",
        about: "a PING while 100 SSH sessions do key exchange and open encrypted keys",
        run: ssh::ssh_loop_hold,
    },
    Scenario {
        name: "rest_constatus_20_nodes",
        about: "GET constatus with 20 nodes, by wrk over 16 connections, without and with TLS",
        run: constatus::rest_constatus_20_nodes,
    },
    Scenario {
        name: "hundred_nodes",
        about: "a central with 100 nodes: memory, processor time, commands, restart",
        run: ten_thousand::hundred_nodes,
    },
    Scenario { name: "thousand_nodes", about: "the same with 1,000 nodes", run: ten_thousand::thousand_nodes },
    Scenario { name: "ten_thousand_nodes", about: "the same with 10,000 nodes", run: ten_thousand::ten_thousand_nodes },
];

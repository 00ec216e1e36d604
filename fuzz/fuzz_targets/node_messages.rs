//! Any messages to a central, each line from a peer that its first octet chooses: registrations, PONGs with their maps
//! of nodes, rows of histories (SETLOGS), copies and whatever else: no panic, and it comes to rest.

#![no_main]

use std::fs;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use stheno::model::connection::{ClientId, ConnectionId, ParentKind};
use stheno::model::node_id::NodeId;
use stheno::model::random::Random;
use stheno::model::time::{Monotonic, Now, WallTime};
use stheno::node::core::Core;
use stheno::node::input::Input;
use stheno::node::{CoreOptions, Restored};
use stheno::wire::gorgone::envelope;

const CONFIG: &str = "gorgone:
  gorgonecore: {id: 1}
  modules:
    - {name: proxy, package: 'gorgone::modules::core::proxy::hooks', enable: true}
    - {name: action, package: 'gorgone::modules::core::action::hooks', enable: true}
    - {name: register, package: 'gorgone::modules::core::register::hooks', enable: true, config_file: nodes.yaml}
";
const NODES: &str = "nodes: [{id: 2, type: push_zmq, address: 192.0.2.1, port: 5556}, {id: 3, type: pull}]\n";
/// What is put out for one input at most.
const OUTPUTS_MAX: usize = 10_000;

struct Counting(u64);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0 = self.0.wrapping_add(1);
        bytes.iter_mut().zip(self.0.to_le_bytes().iter().cycle()).for_each(|(byte, next)| *byte = *next);
    }
}

static OPTIONS: LazyLock<CoreOptions> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("stheno-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    fs::write(folder.join("nodes.yaml"), NODES).expect("a temporary file");
    fs::write(folder.join("config.yaml"), CONFIG).expect("a temporary file");
    let config = stheno::config::load(&folder.join("config.yaml"));
    fs::remove_dir_all(&folder).expect("the folder is ours");
    let Ok(config) = config else { panic!("the configuration is right") };
    CoreOptions::from_config(&config, "fuzz".to_owned(), false)
});

fuzz_target!(|input: &[u8]| {
    let at = |millis| Now {
        monotonic: Monotonic::from_millis(millis),
        wall: WallTime::from_micros(1_800_000_000_000_000 + i64::try_from(millis).unwrap_or(0) * 1_000),
    };
    let mut core = Core::new(OPTIONS.clone(), Restored::default(), Box::new(Counting(0)), at(0));
    let node = NodeId::new(2).expect("an id");
    core.handle_input(Input::LinkUp(node), at(1));
    for (number, line) in input.split(|byte| *byte == b'\n').take(64).enumerate() {
        let Some((from, text)) = line.split_first() else { continue };
        let Ok(message) = envelope::parse(text) else { continue };
        let now = at(1_000 * (number as u64 + 1));
        core.handle_input(
            match from % 4 {
                0 => Input::ClientMessage { client: ClientId::Zmq(1), message },
                1 => Input::WebSocketMessage { client: ClientId::WebSocket(ConnectionId(7)), message },
                2 => Input::NodeMessage { node, message },
                _ => Input::ParentMessage { kind: ParentKind::Pull, message },
            },
            now,
        );
        core.handle_timeout(now);
        let mut outputs = 0;
        while core.poll_output().is_some() {
            outputs += 1;
            assert!(outputs < OUTPUTS_MAX, "it does not come to rest");
        }
    }
});

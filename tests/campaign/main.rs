//! The campaign: disturbs a platform of real daemons at random and checks what must hold. `tests/campaign/README.md`
//! says how to start it and how to add an item.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]

mod actions;
mod clocks;
mod disk;
mod floods;
mod fuzz;
mod item;
mod ledger;
mod link;
#[path = "../platform/mod.rs"]
mod platform;
mod scene;
#[path = "../simulation/seeded.rs"]
mod seeded;
mod simulation;
mod soak;
mod troubles;

use item::Item;

/// The items of the campaign, in the order of the table. Each function is one trial.
const ITEMS: &[Item] = &[
    Item { name: "kill", what: "daemons are killed and started again", trial: troubles::kill },
    Item { name: "stop", what: "daemons are suspended and go on", trial: troubles::stop },
    Item { name: "lock", what: "another program locks a database", trial: troubles::lock },
    Item { name: "disk", what: "the disk of a database is full", trial: disk::full },
    Item { name: "flap", what: "connections break, stall and crawl; nodes come and go", trial: troubles::flap },
    Item { name: "floods", what: "strangers and careless callers, beside a good client", trial: floods::floods },
    Item { name: "clocks", what: "clocks jump by minutes, days and years", trial: clocks::jump },
    Item { name: "actions", what: "every action with members of any type, overflow checked", trial: actions::fuzz },
    Item { name: "fuzz", what: "the fuzz targets (by cargo-fuzz, from a minute on)", trial: fuzz::target },
    Item { name: "soak", what: "steady work takes no memory", trial: soak::steady },
    Item { name: "simulation", what: "whole platforms on a virtual clock, new seeds", trial: simulation::new_seeds },
];

/// A usual test run takes the short form; `tests/campaign/run` asks for more.
#[test]
fn nothing_acknowledged_is_lost_doubled_or_stuck_whatever_happens() {
    item::run(ITEMS);
}

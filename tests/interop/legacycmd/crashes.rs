//! Kills the central at any point of a file, and the poller: no line is lost, and none is done twice.

use std::time::Duration;

use super::*;

fn text(count: usize) -> String {
    (0..count).map(|number| format!("EXTERNALCMD:2:[1] line {number}\n")).collect()
}

fn expected(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("[1] line {number}")).collect()
}

#[test]
fn a_central_that_is_killed_at_any_point_of_a_file_loses_no_line_and_does_none_twice() {
    if !is_installed() {
        return;
    }
    const COUNT: usize = 6_000;
    let world = World::new();
    let mut central = world.start();
    world.order("1.cmd", text(COUNT));
    // The pauses cover the time before the first byte to that after the last.
    for pause in [0, 3, 10, 20, 40, 60, 80, 100, 120, 150, 200, 300] {
        thread::sleep(Duration::from_millis(pause));
        central.kill();
        central.start_again();
    }
    world.engine.wait_for(COUNT);
    world.wait_until_files_are_gone();
    // Wait, so that a second execution would be noticed.
    let (_, last, end) = finish(&central, &json!([{ "command": "EXTERNALCMD", "target": 2, "param": "[2] last" }]));
    assert_eq!(last, 2, "{end}");
    let mut all = expected(COUNT);
    all.push("[2] last".to_owned());
    assert_eq!(world.engine.wait_for(COUNT + 1), all);
}

#[test]
fn an_order_that_waits_for_its_poller_survives_a_crash_and_is_done_once() {
    if !is_installed() {
        return;
    }
    let mut world = World::new();
    let mut central = world.start();
    world.poller.kill();
    world.order("1.cmd", "EXTERNALCMD:2:[1] WAITS\n");
    world.wait_until_files_are_gone();
    central.kill();
    central.start_again();
    central.stop();
    central.start_again();
    world.poller.start_again();
    assert_eq!(world.engine.wait_for(1), ["[1] WAITS"]);
    central.api().wait_for_pong(2, seconds(20));
    let (_, last, _) = finish(&central, &json!([{ "command": "EXTERNALCMD", "target": 2, "param": "[2] last" }]));
    assert_eq!((last, world.engine.lines()), (2, vec!["[1] WAITS".to_owned(), "[2] last".to_owned()]));
}

#[test]
fn a_poller_that_is_killed_meanwhile_gets_every_line_at_most_once_and_what_is_open_has_a_row() {
    if !is_installed() {
        return;
    }
    const COUNT: usize = 3_000;
    let mut world = World::new();
    let central = world.start();
    world.order("1.cmd", text(COUNT));
    for pause in [30, 60, 120] {
        thread::sleep(Duration::from_millis(pause));
        world.poller.kill();
        world.poller.start_again();
    }
    world.wait_until_files_are_gone();
    let (_, last, end) = finish(&central, &json!([{ "command": "EXTERNALCMD", "target": 2, "param": "[2] last" }]));
    assert_eq!(last, 2, "{end}");
    let lines = until("the last line has come", seconds(60), || {
        let lines = world.engine.lines();
        lines.last().is_some_and(|line| line == "[2] last").then_some(lines)
    });
    let once: std::collections::BTreeSet<&String> = lines.iter().collect();
    assert_eq!(once.len(), lines.len(), "a line came twice");
    // A request that the poller had accepted but not written when it was killed has a row that says so.
    let lost = COUNT + 1 - lines.len();
    let rows: i64 = central
        .database()
        .query_row("SELECT count(*) FROM gorgone_history WHERE token LIKE 'legacycmd-%' AND code = 1", [], |row| {
            row.get(0)
        })
        .unwrap();
    let rows = usize::try_from(rows).unwrap();
    assert!(lost <= rows * 50, "{lost} lines are lost, {rows} rows say so");
}

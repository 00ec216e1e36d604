//! Command files in the form of the web interface, and malformed ones.

use super::super::orders::tests::{pollers, settings};
use super::*;
use crate::config::modules::legacycmd::LegacySettings;

fn piece(text: &[u8]) -> FilePiece {
    let mut position = 0;
    let lines = text.split(|byte| *byte == b'\n').map(|line| {
        let start = position;
        position += line.len() as u64 + 1;
        (start, line.to_vec())
    });
    FilePiece { identity: "1-2-3".to_owned(), lines: lines.collect(), ..FilePiece::default() }
}

fn read_with(text: &[u8], settings: &LegacySettings) -> Orders {
    read(&piece(text), &pollers(), Worker { settings, allows: &|_| true, timeout: 30 })
}

/// Returns `EXTERNALCMD for 2: a|b` for each message.
fn told(found: &Orders) -> Vec<String> {
    let commands = |order: &Order| order.message.content["commands"][0].as_str().map(|text| text.replace('\n', "|"));
    found.orders.iter().map(|order| format!("{}: {}", order.name, commands(order).unwrap_or_default())).collect()
}

#[test]
fn external_commands_are_gathered_by_poller_in_their_order_up_to_the_bulk() {
    let settings = LegacySettings { bulk: 2, ..settings() };
    let text = b"EXTERNALCMD:2:a\nEXTERNALCMD:1:x\nEXTERNALCMD:2:b\nEXTERNALCMD:2:c`\n";
    let found = read_with(text, &settings);
    assert_eq!(told(&found), ["EXTERNALCMD for 2: a|b", "EXTERNALCMD for 1: x", "EXTERNALCMD for 2: c"]);
    assert!(found.faults.is_empty());
    assert_eq!(found.orders[0].message.content["command_file"], "/rw/engine.cmd");
}

#[test]
fn what_is_gathered_goes_out_before_another_order_for_that_poller() {
    let text = b"EXTERNALCMD:2:a\nEXTERNALCMD:1:x\nSTOP:2\nEXTERNALCMD:2:b";
    assert_eq!(
        told(&read_with(text, &settings())),
        ["EXTERNALCMD for 2: a", "STOP for 2: ", "EXTERNALCMD for 1: x", "EXTERNALCMD for 2: b"]
    );
    let loose = LegacySettings { is_sequential: false, ..settings() };
    assert_eq!(told(&read_with(text, &loose)), ["STOP for 2: ", "EXTERNALCMD for 2: a|b", "EXTERNALCMD for 1: x"]);
}

#[test]
fn the_same_piece_has_the_same_tokens_and_no_other_has_them() {
    let text = b"EXTERNALCMD:2:a\nRELOAD:2\nRELOAD:2";
    let tokens = |found: &Orders| found.orders.iter().map(|order| order.token.clone()).collect::<Vec<_>>();
    let first = tokens(&read_with(text, &settings()));
    assert_eq!(first, tokens(&read_with(text, &settings())));
    assert_eq!(first.iter().collect::<std::collections::BTreeSet<_>>().len(), 5);
    let other = FilePiece { identity: "1-2-4".to_owned(), ..piece(text) };
    let settings = settings();
    let other = read(&other, &pollers(), Worker { settings: &settings, allows: &|_| true, timeout: 30 });
    assert!(tokens(&other).iter().all(|token| !first.contains(token)));
}

#[test]
fn bytes_that_are_no_utf_8_travel_beside_their_text() {
    let found = read_with(b"EXTERNALCMD:2:[1] caf\xe9 \xc3\xa9", &settings());
    let content = &found.orders[0].message.content;
    assert_eq!(content["commands"][0], "[1] café é");
    assert_eq!(content["raw"], STANDARD_OF_CAFE);
    assert!(read_with(b"EXTERNALCMD:2:caf\xc3\xa9", &settings()).orders[0].message.content.get("raw").is_none());
}

const STANDARD_OF_CAFE: &str = "WzFdIGNhZukgw6k=";

#[test]
fn a_line_that_is_no_order_stops_no_other() {
    let text =
        b"hello\nSENDCBCFG:2\nexternalcmd:2:a\nEXTERNALCMD:1;2:a\nEXTERNALCMD::a\nEXTERNALCMD:2:\nEXTERNALCMD:3:a\
        \n-XTERNALCMD:2:done\n\nEXTERNALCMD:2:b";
    let found = read_with(text, &settings());
    assert_eq!(told(&found), ["EXTERNALCMD for 2: b"]);
    let said: Vec<(&str, bool)> = found.faults.iter().map(|fault| (fault.text.as_str(), fault.has_row)).collect();
    assert_eq!(
        said,
        [
            ("'hello' is not an order; a line is ORDER:TARGET[:PARAM]", false),
            ("the order 'SENDCBCFG' is unknown: it is not carried out", false),
            (
                "the order 'externalcmd' is unknown: it is not carried out; did you mean 'EXTERNALCMD'? Case matters",
                false
            ),
            ("EXTERNALCMD for '1;2' is not carried out: the target '1;2' is not the id of a poller", true),
            ("EXTERNALCMD for '' is not carried out: the target is missing; a line is ORDER:TARGET[:PARAM]", true),
            (
                "EXTERNALCMD for '2' is not carried out: the command is missing; a line is EXTERNALCMD:TARGET:[TIME] \
                 COMMAND",
                true
            ),
            (
                "EXTERNALCMD for '3' is not carried out: poller 3 has no active engine configuration in the database \
                 (cfg_nagios)",
                true
            ),
        ]
    );
}

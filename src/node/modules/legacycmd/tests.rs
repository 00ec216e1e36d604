//! The module with a simulated database and simulated files: when it sends what, and what it stores before.

use std::collections::BTreeMap;

use crate::model::action::Module;
use crate::model::code::Code;
use crate::model::history::StoreChange;
use crate::model::host_work::{HostDone, HostWork};
use crate::model::legacy::{
    CommandTables, FileMark, FileOutcome, FilePiece, FileWork, LegacyChange, LegacyDone, LegacyStored, LegacyWork,
    PollerCommands, StoredOrder,
};
use crate::model::message::Outgoing;
use crate::model::stored::Restored;
use crate::model::token::Token;
use crate::model::work::{Work, WorkId, WorkOutcome};
use crate::node::CoreOptions;
use crate::node::input::Input;
use crate::node::output::{Output, ReceiptId};
use crate::node::testing::{Bench, id, node_message, options, push_node};

use super::orders::tests::settings;

/// A central with node 2, and all its outputs.
struct World {
    bench: Bench,
    /// Whether the database takes changes.
    stores: bool,
    sent: Vec<String>,
    rows: Vec<String>,
    work: Vec<(WorkId, LegacyWork)>,
    orders: BTreeMap<i64, StoredOrder>,
    mark: Option<FileMark>,
}

fn central() -> CoreOptions {
    let mut options = options(vec![push_node(2)]);
    options.modules.legacycmd = Some(settings());
    options.modules.loaded.insert("legacycmd".to_owned(), Module::LegacyCmd.package().to_owned());
    options
}

impl World {
    fn restored(restored: Restored) -> Self {
        let bench = Bench::undrained(central(), restored);
        let (stores, sent, rows, work) = (true, Vec::new(), Vec::new(), Vec::new());
        let mut world = Self { bench, stores, sent, rows, work, orders: BTreeMap::new(), mark: None };
        world.drain();
        world
    }

    fn new() -> Self {
        let mut world = Self::restored(Restored::default());
        world.read_tables();
        world.connect();
        world
    }

    fn drain(&mut self) {
        loop {
            let mut receipts: Vec<ReceiptId> = Vec::new();
            while let Some(output) = self.bench.core.poll_output() {
                match output {
                    Output::Store { change, receipt } => {
                        receipts.extend(receipt.filter(|receipt| !receipts.contains(receipt)));
                        if self.stores {
                            self.store(change);
                        }
                    }
                    Output::SendToNode { outgoing: Outgoing::Request(message), .. } => {
                        let token = message.token.map(|token| token.to_string()).unwrap_or_default();
                        self.sent.push(format!("{} {token}", message.action.as_str()));
                    }
                    Output::Host(HostWork::Work { id, work: Work::Legacy(work) }) => self.work.push((id, work)),
                    _ => {}
                }
            }
            if receipts.is_empty() {
                return;
            }
            for receipt in receipts {
                self.bench.raw(Input::Stored { receipt, stored: self.stores });
            }
        }
    }

    fn store(&mut self, change: StoreChange) {
        match change {
            StoreChange::InsertRow(row) => {
                let token = row.token.unwrap_or_default();
                self.rows.push(format!("{token} {} {}", row.code.0, row.data));
            }
            StoreChange::Legacy(LegacyChange::PutOrder(order)) => _ = self.orders.insert(order.sequence, order),
            StoreChange::Legacy(LegacyChange::DeleteOrder(sequence)) => _ = self.orders.remove(&sequence),
            StoreChange::Legacy(LegacyChange::PutMark(mark)) => self.mark = Some(mark),
            StoreChange::Legacy(LegacyChange::DeleteMark) => self.mark = None,
            _ => {}
        }
    }

    fn give(&mut self, input: Input) {
        self.bench.raw(input);
        self.drain();
        // Messages are sent without delay.
        self.bench.raw_timeout(0);
        self.drain();
    }

    /// Returns the next piece of ordered work, and answers it with `done`.
    fn answer(&mut self, done: LegacyDone) -> LegacyWork {
        let (id, work) = self.work.remove(0);
        self.give(Input::Host(HostDone::WorkDone { id, outcome: WorkOutcome::Legacy(done) }));
        work
    }

    fn read_tables(&mut self) {
        let poller = PollerCommands {
            id: "2".to_owned(),
            has_engine: true,
            command_file: Some("/rw/engine.cmd".to_owned()),
            engine_stop: Some("systemctl stop centengine".to_owned()),
            ..PollerCommands::default()
        };
        let tables = CommandTables { pollers: vec![poller], illegal_characters: None };
        assert!(self.answer(LegacyDone::Tables(Ok(tables))) == LegacyWork::ReadTables);
    }

    fn connect(&mut self) {
        self.give(Input::LinkUp(id(2)));
        self.give(node_message(2, "PONG", "", r#"{"code":0,"data":{"action":"ping","data":{}}}"#));
        self.synced("[]");
        self.sent.clear();
    }

    /// Lets the node answer GETLOG with rows.
    fn synced(&mut self, rows: &str) {
        let data = format!(r#"{{"code":0,"data":{{"action":"getlog","result":{rows}}}}}"#);
        self.give(node_message(2, "ACK", "", &data));
    }

    fn piece(lines: &[&str], is_whole: bool) -> FilePiece {
        let lines: Vec<(u64, Vec<u8>)> = (0..).zip(lines).map(|(at, line)| (at, line.as_bytes().to_vec())).collect();
        let (path, identity) = ("/cmd_read".to_owned(), "1-2-3".to_owned());
        FilePiece { path, identity, lines, next: 100, is_whole, too_long: Vec::new() }
    }

    /// Returns the actions sent to the node.
    fn actions(&self) -> Vec<&str> {
        let orders = self.sent.iter().filter(|line| !line.starts_with("GETLOG") && !line.starts_with("PING"));
        orders.map(|line| line.split(' ').next().unwrap()).collect()
    }

    fn ended(&self, token: &Token, code: Code) -> bool {
        self.rows.iter().any(|row| row.starts_with(&format!("{token} {} ", code.0)))
    }
}

fn piece_of(lines: &[&str]) -> LegacyDone {
    LegacyDone::Files(FileOutcome::Piece(World::piece(lines, true)))
}

#[test]
fn a_piece_is_stored_with_its_messages_before_one_of_them_is_sent_and_the_file_goes_afterwards() {
    let mut world = World::new();
    world.stores = false;
    let work = world.answer(piece_of(&["STOP:2", "EXTERNALCMD:2:a"]));
    assert!(work == LegacyWork::Files(FileWork::Read(None)));
    // The disk is full: nothing is sent, and the same lines are read again.
    assert_eq!(world.actions(), [""; 0]);
    world.stores = true;
    let left = LegacyDone::Files(FileOutcome::Nothing { is_waiting: false, complaints: Vec::new() });
    assert!(world.answer(left) == LegacyWork::Files(FileWork::Leave));
    world.bench.raw_timeout(5_000);
    world.drain();
    assert!(world.answer(piece_of(&["STOP:2", "EXTERNALCMD:2:a"])) == LegacyWork::Files(FileWork::Read(None)));
    assert_eq!(world.actions(), ["COMMAND", "ENGINECOMMAND"]);
    assert_eq!((world.orders.len(), world.mark.as_ref().unwrap().offset), (2, 100));
    assert!(world.answer(LegacyDone::Files(FileOutcome::Removed)) == LegacyWork::Files(FileWork::Remove));
    assert_eq!(world.mark, None);
}

#[test]
fn a_message_counts_until_its_node_has_confirmed_it_and_is_sent_again_only_if_the_node_has_no_row_of_it() {
    let mut world = World::new();
    world.answer(piece_of(&["STOP:2", "EXTERNALCMD:2:a", "STOP:2"]));
    let tokens: Vec<Token> = world.orders.values().map(|order| order.token.clone()).collect();
    let [first, second, third] = tokens.as_slice() else { panic!("{}", tokens.len()) };
    world.give(node_message(2, "ACK", first.as_str(), r#"{"code":0,"data":null}"#));
    assert_eq!(world.orders.len(), 2);
    world.sent.clear();
    world.give(Input::LinkDown { node: id(2), reason: "cut".to_owned() });
    world.give(Input::LinkUp(id(2)));
    world.give(node_message(2, "PONG", "", r#"{"code":0,"data":{"action":"ping","data":{}}}"#));
    // The node has the second one and not the third.
    world.synced(&format!(
        r#"[{{"id":7,"token":"{second}","code":0,"etime":1,"ctime":1.5,"instant":0,"data":"{{}}"}}]"#
    ));
    let sent: Vec<&String> = world.sent.iter().filter(|line| line.ends_with(third.as_str())).collect();
    assert_eq!((sent.len(), world.actions()), (1, vec!["COMMAND"]));
    assert!(tokens.iter().all(|token| !world.ended(token, Code::FINISHED_KO)));
}

#[test]
fn what_an_earlier_run_had_not_sent_is_sent_and_what_it_may_have_sent_is_looked_for_first() {
    let order = |sequence: i64, token: &str| StoredOrder {
        sequence,
        token: Token::parse(token).unwrap(),
        target: "2".to_owned(),
        action: "COMMAND".to_owned(),
        data: r#"{"content":[],"once":true}"#.to_owned(),
        name: "STOP for 2".to_owned(),
    };
    let orders = vec![order(1, "sent"), order(2, "waiting")];
    let open_tokens = vec![(Token::parse("sent").unwrap(), Some(id(2)))];
    let legacy = LegacyStored { orders, mark: None };
    let mut world = World::restored(Restored { open_tokens, legacy, ..Restored::default() });
    world.read_tables();
    assert_eq!(world.actions(), [""; 0]);
    world.give(Input::LinkUp(id(2)));
    world.give(node_message(2, "PONG", "", r#"{"code":0,"data":{"action":"ping","data":{}}}"#));
    assert_eq!(world.actions(), [""; 0]);
    world.synced("[]");
    world.bench.raw_timeout(1_000);
    world.drain();
    let sent: Vec<&String> = world.sent.iter().filter(|line| line.starts_with("COMMAND")).collect();
    assert_eq!(sent, ["COMMAND sent", "COMMAND waiting"]);
}

#[test]
fn nothing_is_read_while_the_database_is_away_and_the_same_complaint_comes_once() {
    let mut world = World::restored(Restored::default());
    for _ in 0..3 {
        assert!(world.answer(LegacyDone::Tables(Err("no server".to_owned()))) == LegacyWork::ReadTables);
        world.give(Input::CommandFilesTouched);
        world.bench.raw_timeout(10_000);
        world.drain();
    }
    assert_eq!(world.work.len(), 1);
    world.read_tables();
    assert!(world.work[0].1 == LegacyWork::Files(FileWork::Read(None)));
}

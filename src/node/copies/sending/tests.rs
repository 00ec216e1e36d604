use crate::model::copy::{DigestKind, SourceDone};
use crate::model::host_work::HostDone;

use super::*;
use crate::model::registration::{NodeKind, Registration};
use crate::node::input::Input;
use crate::node::testing::{Bench, id, message, node_message, options, push_node};

/// A copy of a file to node 2, with a simulated reader of the file.
struct Sent {
    bench: Bench,
    total: u64,
    read: u64,
    /// Ordered steps that are not done.
    steps: VecDeque<String>,
    /// The messages to node 2, and all other outputs.
    to_node: Vec<String>,
    others: Vec<String>,
}

const CHUNK: u64 = 4;

impl Sent {
    fn to(is_ours: bool, chunks: u64) -> Self {
        let mut bench = Bench::linked(&[2]);
        if is_ours {
            bench.pass_seconds(61);
            let page = r#"{"code":0,"data":{"action":"getlog","result":[],"last_id":0,"history":5,"more":false}}"#;
            bench.give(node_message(2, "ACK", "", page));
        }
        let (steps, to_node, others) = (VecDeque::new(), Vec::new(), Vec::new());
        let mut sent = Self { bench, total: chunks * CHUNK, read: 0, steps, to_node, others };
        let data = r#"{"content":{"source":"/from","destination":"/to","cache_dir":"/cache"}}"#;
        let outputs = sent.bench.request("REMOTECOPY", "t", "2", data);
        sent.take(outputs);
        sent
    }

    fn take(&mut self, outputs: Vec<String>) {
        for line in outputs {
            if let Some(step) = line.strip_prefix("source 0: ") {
                self.steps.push_back(step.to_owned());
            } else if let Some(sent) = line.strip_prefix("node 2: [PROCESSCOPY] [t] [] ") {
                self.to_node.push(sent.to_owned());
            } else if !line.contains("[GETLOG]") && !line.contains("[PING]") {
                self.others.push(line);
            }
        }
    }

    fn give(&mut self, input: Input) {
        let outputs = self.bench.give(input);
        self.take(outputs);
    }

    /// Does one step like a reader of files. Returns whether there was one.
    fn step(&mut self) -> bool {
        let Some(step) = self.steps.pop_front() else { return false };
        let done = if step.starts_with("Open") {
            SourceDone::Opened {
                kind: CopyKind::Regular,
                total: self.total,
                notes: Vec::new(),
                digest: DigestKind::Md5,
            }
        } else if step.starts_with("Read") {
            let mut chunks = Vec::new();
            while chunks.len() < READ_COUNT && self.read < self.total {
                chunks.push(Chunk { data: format!("chunk {}", self.read), offset: self.read, len_bytes: CHUNK });
                self.read += CHUNK;
            }
            SourceDone::Chunks(chunks)
        } else if let Some(offset) = step.strip_prefix("Rewind(") {
            self.read = offset.split(',').next().unwrap().parse().unwrap();
            SourceDone::Digest(format!("md5 of {}", self.read))
        } else if step.starts_with("Agree") {
            SourceDone::Agreed(CHUNK)
        } else if step == "Close" {
            return true;
        } else {
            SourceDone::Digest("md5 of all".to_owned())
        };
        self.give(Input::Host(HostDone::SourceDone { source: SourceId(0), done }));
        true
    }

    fn steps(&mut self) {
        while self.step() {}
    }

    fn reply(&mut self, data: &str) {
        self.give(node_message(2, "ACK", "t", &format!("{{\"code\":0,\"data\":{data}}}")));
        self.steps();
    }

    fn pass_seconds(&mut self, seconds: u64) {
        let outputs = self.bench.pass_seconds(seconds);
        self.take(outputs);
        self.steps();
    }

    /// Returns the number of the last query.
    fn question(&self) -> u64 {
        let question = self.to_node.last().unwrap();
        let question: serde_json::Value = serde_json::from_str(question).unwrap_or_else(|_| panic!("{question}"));
        assert_eq!(question["content"]["status"], "query", "{question}");
        question["content"]["query"].as_u64().unwrap()
    }

    fn found(&mut self, received: u64, md5: &str) {
        let number = self.question();
        self.reply(&format!("{{\"query\":{number},\"received\":{received},\"md5\":\"{md5}\",\"same_size\":false}}"));
    }

    fn rows(&self) -> Vec<&String> {
        self.others.iter().filter(|line| line.starts_with("row t")).collect()
    }
}

fn chunks(from: u64, to: u64) -> Vec<String> {
    (from..to).map(|number| format!("chunk {}", number * CHUNK)).collect()
}

fn status(text: &str) -> String {
    let message: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    message["content"]["status"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_perl_node_gets_the_chunks_in_their_order_a_window_at_a_time_and_the_end_after_all_are_confirmed() {
    let mut sent = Sent::to(false, 20);
    sent.steps();
    let mut confirmed = 0;
    while sent.to_node.len() < 20 {
        assert!(sent.to_node.len() <= confirmed + WINDOW, "{} of {confirmed}", sent.to_node.len());
        assert!(sent.to_node.len() > confirmed, "it goes on");
        sent.reply("null");
        confirmed += 1;
    }
    assert_eq!(sent.to_node, chunks(0, 20));
    for _ in confirmed..20 {
        assert_eq!(sent.to_node.len(), 20, "the end waits for the last confirmation");
        sent.reply("null");
    }
    assert_eq!(status(&sent.to_node[20]), "end");
    assert!(sent.to_node[20].contains("\"md5\":\"md5 of all\"") && !sent.to_node[20].contains("ack"));
    assert_eq!(sent.rows(), Vec::<&String>::new(), "the node writes the last row");
}

#[test]
fn a_copy_to_a_perl_node_is_over_when_the_connection_breaks() {
    let mut sent = Sent::to(false, 20);
    sent.steps();
    sent.give(Input::LinkDown { node: id(2), reason: "gone".to_owned() });
    assert_eq!(sent.rows(), [r#"row t 1 {"message":"proxy - connection to node '2' was lost during the copy"}"#]);
    let before = sent.to_node.len();
    sent.give(Input::LinkUp(id(2)));
    sent.steps();
    assert_eq!(sent.to_node.len(), before);
}

#[test]
fn a_node_of_our_kind_is_asked_first_and_the_copy_goes_on_where_it_is() {
    let mut sent = Sent::to(true, 10);
    sent.steps();
    assert!(sent.to_node[0].contains("\"sender\":1,\"alone\":true"), "{}", sent.to_node[0]);
    sent.found(12, "md5 of 12");
    assert_eq!(sent.to_node[1], "chunk 12");
    while sent.to_node.len() < 9 {
        // A confirmation counts by its position: a lost or repeated one changes nothing.
        sent.reply(&format!("{{\"received\":{}}}", 12 + CHUNK * (sent.to_node.len() as u64 - 1)));
    }
    assert_eq!(status(&sent.to_node[8]), "end");
    assert_eq!(sent.to_node[1..8], chunks(3, 10));
}

#[test]
fn what_the_receiver_has_of_another_file_is_thrown_away() {
    let mut sent = Sent::to(true, 10);
    sent.steps();
    sent.found(12, "md5 of something else");
    assert!(sent.to_node[1].contains("\"restart\":true"), "{}", sent.to_node[1]);
    sent.found(0, "md5 of 0");
    assert_eq!(sent.to_node[2], "chunk 0");
    // A receiver with more bytes than the file cannot have this file either.
    let mut sent = Sent::to(true, 10);
    sent.steps();
    sent.found(44, "md5 of 44");
    assert!(sent.to_node[1].contains("\"restart\":true"), "{}", sent.to_node[1]);
}

#[test]
fn an_answer_to_an_older_question_is_not_mistaken_for_one_to_the_last() {
    let mut sent = Sent::to(true, 10);
    sent.steps();
    let first = sent.question();
    sent.give(Input::LinkDown { node: id(2), reason: "gone".to_owned() });
    sent.give(Input::LinkUp(id(2)));
    assert_eq!(sent.to_node.len(), 2);
    sent.reply(&format!("{{\"query\":{first},\"received\":8,\"md5\":\"md5 of 8\"}}"));
    assert_eq!(sent.to_node.len(), 2, "{:?}", sent.to_node);
    sent.found(4, "md5 of 4");
    assert_eq!(sent.to_node[2], "chunk 4");
}

#[test]
fn a_broken_connection_interrupts_and_a_silent_node_ends_the_copy() {
    let mut sent = Sent::to(true, 10);
    sent.steps();
    sent.found(0, "md5 of 0");
    sent.give(Input::LinkDown { node: id(2), reason: "gone".to_owned() });
    let before = sent.to_node.len();
    sent.pass_seconds(100);
    assert_eq!((sent.to_node.len(), sent.rows()), (before, Vec::new()));
    sent.give(Input::LinkUp(id(2)));
    sent.found(4, "md5 of 4");
    assert_eq!(sent.to_node[before + 1], "chunk 4");
    sent.pass_seconds(310);
    assert_eq!(sent.rows(), [r#"row t 1 {"message":"proxy - node '2' did not continue the copy in time"}"#]);
    assert_eq!(status(sent.to_node.last().unwrap()), "abort");
}

#[test]
fn a_way_that_is_broken_behind_a_relay_is_tried_again_each_second_and_not_for_ever() {
    let mut sent = Sent::to(true, 10);
    sent.steps();
    sent.found(0, "md5 of 0");
    let before = sent.to_node.len();
    sent.reply(r#"{"interrupted":true}"#);
    sent.reply(r#"{"interrupted":true}"#);
    assert_eq!(sent.to_node.len(), before);
    for asked in 1..4 {
        sent.pass_seconds(1);
        assert_eq!(sent.to_node.len(), before + asked);
        let number = sent.question();
        sent.reply(&format!("{{\"query\":{number},\"interrupted\":true}}"));
    }
    sent.pass_seconds(1);
    sent.found(8, "md5 of 8");
    assert_eq!(sent.to_node[before + 4], "chunk 8");
    for _ in 0..310 {
        if !sent.rows().is_empty() {
            break;
        }
        match status(sent.to_node.last().unwrap()).as_str() {
            "query" => {
                let number = sent.question();
                sent.reply(&format!("{{\"query\":{number},\"interrupted\":true}}"));
            }
            _ => sent.reply(r#"{"interrupted":true}"#),
        }
        sent.pass_seconds(1);
    }
    assert_eq!(sent.rows(), [r#"row t 1 {"message":"proxy - node '2' did not continue the copy in time"}"#]);
}

#[test]
fn a_relay_that_never_knows_what_is_behind_it_gets_the_copy_as_for_a_perl_node() {
    let mut sent = Sent::to(true, 2);
    sent.steps();
    for _ in 0..12 {
        if sent.to_node.last().unwrap().starts_with("chunk") {
            break;
        }
        let number = sent.question();
        sent.reply(&format!("{{\"query\":{number},\"interrupted\":true}}"));
        sent.pass_seconds(1);
    }
    assert_eq!(sent.to_node.last().unwrap(), "chunk 4");
    let mut sent = Sent::to(true, 2);
    sent.steps();
    let number = sent.question();
    sent.reply(&format!("{{\"query\":{number},\"plain\":true}}"));
    assert_eq!(sent.to_node[1..], chunks(0, 2));
}

#[test]
fn a_source_that_fails_and_a_receiver_that_gives_up_end_the_copy_with_their_words() {
    let mut sent = Sent::to(true, 10);
    sent.steps();
    sent.found(0, "md5 of 0");
    let failure = CopyFailure { message: "remote copy failed".to_owned(), detail: "/from changed".to_owned() };
    sent.give(Input::Host(HostDone::SourceDone { source: SourceId(0), done: SourceDone::Failed(failure) }));
    assert_eq!(sent.rows(), [r#"row t 1 {"detail":"/from changed","message":"remote copy failed"}"#]);
    assert_eq!(status(sent.to_node.last().unwrap()), "abort", "nothing is to be left there");

    let mut sent = Sent::to(true, 10);
    sent.steps();
    sent.found(0, "md5 of 0");
    let before = sent.to_node.len();
    sent.give(node_message(2, "ACK", "t", r#"{"code":1,"data":{"message":"disk full"}}"#));
    sent.steps();
    assert_eq!((sent.to_node.len(), sent.rows()), (before, Vec::new()), "its row comes with its log");
}

#[test]
fn a_daemon_that_stops_leaves_what_the_receiver_has_so_that_the_copy_may_go_on() {
    let mut sent = Sent::to(true, 10);
    sent.steps();
    sent.found(0, "md5 of 0");
    let before = sent.to_node.len();
    sent.give(Input::Stop);
    assert_eq!(sent.rows().len(), 1);
    assert_eq!(sent.to_node.len(), before, "no abort: {:?}", sent.to_node);
}

#[test]
fn a_question_that_may_have_ended_a_copy_leaves_its_token_open_when_the_daemon_stops() {
    let mut sent = Sent::to(true, 10);
    sent.steps();
    let number = sent.question();
    sent.reply(&format!("{{\"query\":{number},\"received\":0,\"md5\":\"\",\"same_size\":true}}"));
    let number = sent.question();
    assert!(sent.to_node.last().unwrap().contains("\"md5\":\"md5 of all\""));
    sent.give(Input::Stop);
    let is_open = |sent: &Sent| sent.bench.core.context.journal.is_open(&Token::parse("t").unwrap());
    assert!(is_open(&sent));
    // The copy ends neither when the question has arrived, nor with an answer in which the receiver has not ended it.
    let page = r#"{"code":0,"data":{"action":"getlog","result":[],"last_id":0,"history":5,"more":false}}"#;
    sent.give(node_message(2, "ACK", "", page));
    sent.reply(&format!("{{\"query\":{number},\"received\":0,\"md5\":\"\",\"same_size\":true}}"));
    assert_eq!((is_open(&sent), sent.rows()), (true, Vec::new()));
}

#[test]
fn a_copy_that_waits_for_its_turn_starts_when_another_is_sent() {
    let mut sent = Sent::to(false, 1);
    let asks = |number: usize| {
        let data = format!(r#"{{"content":{{"source":"/from","destination":"/to/{number}","cache_dir":"/cache"}}}}"#);
        let message = message("REMOTECOPY", &format!("u{number}"), Some("2"), &data);
        Input::ClientMessage { client: crate::model::connection::ClientId::Zmq(7), message }
    };
    (0..ACTIVE_MAX).for_each(|number| sent.give(asks(number)));
    let opened = |sent: &Sent| sent.others.iter().filter(|line| line.contains(": Open(")).count();
    assert_eq!(opened(&sent), ACTIVE_MAX - 1);
    sent.steps();
    sent.reply("null");
    assert_eq!(status(sent.to_node.last().unwrap()), "end");
    assert_eq!(opened(&sent), ACTIVE_MAX);
}

#[test]
fn two_copies_to_one_place_do_not_take_over_from_each_other() {
    let mut sent = Sent::to(true, 10);
    sent.steps();
    sent.found(0, "md5 of 0");
    let data = r#"{"content":{"source":"/from","destination":"/to","cache_dir":"/cache"}}"#;
    let asks = Input::ClientMessage {
        client: crate::model::connection::ClientId::Zmq(7),
        message: message("REMOTECOPY", "u", Some("2"), data),
    };
    sent.give(asks);
    let done = SourceDone::Opened { kind: CopyKind::Regular, total: 40, notes: Vec::new(), digest: DigestKind::Md5 };
    sent.give(Input::Host(HostDone::SourceDone { source: SourceId(1), done }));
    let question = sent.others.iter().find(|line| line.contains("[PROCESSCOPY] [u]")).unwrap();
    assert!(question.contains("\"query\"") && !question.contains("alone"), "{question}");
}

#[test]
fn a_copy_waits_for_a_node_that_dials_in_and_has_gone_before_it_was_known() {
    let pull = Registration { kind: NodeKind::Pull, prevail: true, ..push_node(6) };
    let mut bench = Bench::new(options(vec![pull]));
    let registers = r#"{"nodes":[{"id":6,"type":"pull","identity":"gorgone-6-ab"}]}"#;
    bench.request("REGISTERNODES", "", "", registers);
    let data = r#"{"content":{"source":"/from","destination":"/to","cache_dir":"/cache"}}"#;
    bench.request("REMOTECOPY", "t", "6", data);
    let done = |done| Input::Host(HostDone::SourceDone { source: SourceId(0), done });
    bench.give(done(SourceDone::Opened {
        kind: CopyKind::Regular,
        total: CHUNK,
        notes: Vec::new(),
        digest: DigestKind::Md5,
    }));
    bench.request("UNREGISTERNODES", "", "", r#"{"nodes":[{"id":6}]}"#);
    assert!(bench.pass_seconds(4).iter().any(|line| line.starts_with("source 0: Read")));
    let chunk = Chunk { data: "all".to_owned(), offset: 0, len_bytes: CHUNK };
    assert_eq!(bench.give(done(SourceDone::Chunks(vec![chunk]))), Vec::<String>::new(), "nobody would get it");
    let outputs = bench.request("REGISTERNODES", "", "", registers);
    assert!(outputs.contains(&"client 7: [PROCESSCOPY] [t] [6] all".to_owned()), "{outputs:?}");
}

#[test]
fn a_receiver_that_has_something_else_keeps_the_pieces_that_agree() {
    let mut sent = Sent::to(true, 4);
    sent.steps();
    let number = sent.question();
    let other =
        format!(r#"{{"query":{number},"received":12,"md5":"other","same_size":false,"pieces":"00112233445566778"}}"#);
    sent.reply(&other);
    assert!(sent.to_node.last().unwrap().contains("\"restart\":false,\"keep\":4,"), "{:?}", sent.to_node);
    sent.found(CHUNK, "md5 of 4");
    assert_eq!(sent.to_node.last().unwrap(), "chunk 4", "behind what is kept");
    // The same difference again: nothing of it is kept.
    let mut sent = Sent::to(true, 4);
    sent.steps();
    assert_eq!(sent.question(), number, "the same question of another bench");
    sent.reply(&other.replace("12", "4"));
    assert!(sent.to_node.last().unwrap().contains("\"restart\":true"), "{:?}", sent.to_node);
}

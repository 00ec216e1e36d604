use crate::model::copy::{Chunk, CopyFailure, CopyKind, DigestKind, SinkDone, SinkId, SourceDone, SourceId};
use crate::model::host_work::HostDone;
use crate::node::input::Input;
use crate::node::testing::{Bench, id, node_message, options, push_node};

const FETCH: &str = r#"{"content":{"source":"/far/log","destination":"/here/","cache_dir":"/cache"}}"#;

/// A central with a node 2 of our kind.
fn central() -> Bench {
    let mut bench = Bench::linked(&[2]);
    bench.pass_seconds(61);
    let page = r#"{"code":0,"data":{"action":"getlog","result":[],"last_id":0,"history":5,"more":false}}"#;
    bench.give(node_message(2, "ACK", "", page));
    bench
}

fn reply(bench: &mut Bench, data: &str) -> Vec<String> {
    bench.give(node_message(2, "ACK", "t", &format!("{{\"code\":0,\"data\":{data}}}")))
}

fn sink(bench: &mut Bench, done: SinkDone) -> Vec<String> {
    bench.give(Input::Host(HostDone::SinkDone { sink: SinkId(0), done: vec![done] }))
}

/// Returns the steps that node 2 is asked for, each with its number.
fn steps(outputs: &[String]) -> Vec<(String, u64)> {
    let sent = outputs.iter().filter_map(|line| line.strip_prefix("node 2: [PROCESSCOPY] [t] [] "));
    let read = sent.map(|sent| {
        let sent: serde_json::Value = serde_json::from_str(sent).unwrap();
        (sent["content"]["step"].as_str().unwrap().to_owned(), sent["content"]["fetch"].as_u64().unwrap())
    });
    read.collect()
}

#[track_caller]
fn step(outputs: &[String], word: &str) -> u64 {
    let steps = steps(outputs);
    assert_eq!(steps.first().map(|(word, _)| word.as_str()), Some(word), "{outputs:?}");
    steps[0].1
}

fn opened(number: u64, total: u64) -> String {
    format!(r#"{{"fetch":{number},"type":"regular","total":{total},"digest":"md5","notes":[]}}"#)
}

fn chunk(number: u64, offset: u64, total: u64) -> String {
    format!(r#"{{"fetch":{number},"chunk":{{"data":"dGV4dA==","size":4,"offset":{offset},"total":{total}}}}}"#)
}

fn found(received: u64, md5: &str) -> SinkDone {
    SinkDone::Found { received, md5: md5.to_owned(), pieces: String::new(), same_size: false }
}

/// Begins a copy of 8 bytes, of which `received` have arrived.
fn reading(bench: &mut Bench, received: u64) -> Vec<(String, u64)> {
    let outputs = bench.request("FETCH", "t", "2", FETCH);
    let outputs = reply(bench, &opened(step(&outputs, "open"), 8));
    assert!(outputs[0].starts_with("sink 0: [Query"), "{outputs:?}");
    assert!(outputs[0].contains("\"/here/log\""), "{outputs:?}");
    let outputs = sink(bench, found(received, "ab"));
    let number = step(&outputs, "rewind");
    steps(&reply(bench, &format!(r#"{{"fetch":{number},"md5":"ab"}}"#)))
}

#[test]
fn a_file_comes_chunk_by_chunk_and_its_end_is_written_here() {
    let mut bench = central();
    let reads = reading(&mut bench, 0);
    assert_eq!(reads.iter().map(|(word, _)| word.as_str()).collect::<Vec<_>>(), ["read"], "8 bytes are one chunk");
    let outputs = reply(&mut bench, &chunk(reads[0].1, 0, 8));
    assert!(outputs[0].starts_with("sink 0: [Chunk"), "{outputs:?}");
    let next = step(&outputs, "read");
    let outputs = reply(&mut bench, &chunk(next, 4, 8));
    let number = step(&outputs, "finish");
    reply(&mut bench, &format!(r#"{{"fetch":{number},"md5":"cd","grew":true}}"#));
    let outputs = sink(&mut bench, SinkDone::Written(4));
    assert!(outputs.iter().any(|line| line.contains(", End {") && line.contains("first 8 bytes")), "{outputs:?}");
    let done = vec![SinkDone::Written(8), SinkDone::Finished(Vec::new())];
    let outputs = bench.give(Input::Host(HostDone::SinkDone { sink: SinkId(0), done }));
    let ended = r#"row t 2 {"message":"process copy finished successfully"}"#;
    assert!(outputs.contains(&ended.to_owned()), "{outputs:?}");
    step(&outputs, "close");
}

#[test]
fn a_stop_ends_a_copy_once_also_one_that_is_being_put_in_place() {
    for is_whole in [false, true] {
        let mut bench = central();
        let reads = reading(&mut bench, 4);
        if is_whole {
            let outputs = reply(&mut bench, &chunk(reads[0].1, 4, 8));
            let number = step(&outputs, "finish");
            reply(&mut bench, &format!(r#"{{"fetch":{number},"md5":"cd"}}"#));
        }
        let mut outputs = bench.give(Input::Stop);
        if is_whole {
            outputs.extend(sink(&mut bench, SinkDone::Written(8)));
            outputs.extend(sink(&mut bench, SinkDone::Finished(Vec::new())));
        }
        let is_end = |line: &&String| line.starts_with("row t 1 ") || line.starts_with("row t 2 ");
        let ends: Vec<&String> = outputs.iter().filter(is_end).collect();
        assert_eq!((ends.len(), ends[0].contains("finished successfully")), (1, is_whole), "{outputs:?}");
    }
}

#[test]
fn after_a_break_it_goes_on_where_it_was() {
    let mut bench = central();
    let reads = reading(&mut bench, 0);
    reply(&mut bench, &chunk(reads[0].1, 0, 8));
    sink(&mut bench, SinkDone::Written(4));
    bench.give(Input::LinkDown { node: id(2), reason: "gone".to_owned() });
    let outputs = bench.give(Input::LinkUp(id(2)));
    let outputs = reply(&mut bench, &opened(step(&outputs, "open"), 8));
    assert!(outputs[0].starts_with("sink 0: [Query"), "{outputs:?}");
    let outputs = sink(&mut bench, found(4, "ab"));
    assert!(outputs.iter().any(|line| line.contains("\"offset\":4")), "{outputs:?}");
    let number = step(&outputs, "rewind");
    let outputs = reply(&mut bench, &format!(r#"{{"fetch":{number},"md5":"ab"}}"#));
    let outputs = reply(&mut bench, &chunk(step(&outputs, "read"), 4, 8));
    step(&outputs, "finish");
}

#[test]
fn a_node_that_was_restarted_opens_the_source_again_and_a_silent_one_is_given_up() {
    let mut bench = central();
    reading(&mut bench, 0);
    let outputs = bench.pass_seconds(5);
    let number = step(&outputs, "alive");
    let outputs = reply(&mut bench, &format!(r#"{{"fetch":{number},"closed":true}}"#));
    step(&outputs, "open");
    let outputs = bench.pass_seconds(600);
    let ended = r#"row t 1 {"message":"proxy - node '2' did not continue the copy in time"}"#;
    assert!(outputs.contains(&ended.to_owned()), "{outputs:?}");
}

#[test]
fn what_cannot_be_read_ends_the_token_with_the_nodes_words() {
    let mut bench = central();
    let outputs = bench.request("FETCH", "t", "2", FETCH);
    let number = step(&outputs, "open");
    let outputs = reply(
        &mut bench,
        &format!(r#"{{"fetch":{number},"refused":{{"message":"remote copy failed","detail":"read_roots"}}}}"#),
    );
    assert!(outputs.contains(&r#"row t 1 {"detail":"read_roots","message":"remote copy failed"}"#.to_owned()));
    // An older version refuses the message itself.
    let mut bench = central();
    bench.request("FETCH", "t", "2", FETCH);
    let old = r#"{"code":1,"data":{"message":"request not well formatted"}}"#;
    let outputs = bench.give(node_message(2, "ACK", "t", old));
    assert!(
        outputs.iter().any(|line| line.starts_with("row t 1") && line.contains("does not know how")),
        "{outputs:?}"
    );
    // A Perl node.
    let mut bench = Bench::linked(&[2]);
    bench.pass_seconds(61);
    bench.give(node_message(2, "ACK", "", r#"{"code":0,"data":{"action":"getlog","result":[]}}"#));
    let outputs = bench.request("FETCH", "t", "2", FETCH);
    assert!(outputs.iter().any(|line| line.contains("it is not a Stheno daemon")), "{outputs:?}");
    let mut without = options(vec![push_node(2)]);
    without.modules.action = None;
    let mut bare = Bench::new(without);
    bare.give(Input::LinkUp(id(2)));
    let outputs = bare.request("FETCH", "t", "2", FETCH);
    assert!(outputs.iter().any(|line| line.contains("copy_roots say where it may be written")), "{outputs:?}");
    let outputs = bench.request("FETCH", "u", "1", FETCH);
    assert!(outputs.iter().any(|line| line.starts_with("row u 1")), "{outputs:?}");
}

fn asked(step: &str, number: u64, more: &str) -> String {
    format!(r#"{{"logging":false,"content":{{"status":"fetch","step":"{step}","fetch":{number}{more}}}}}"#)
}

fn source(bench: &mut Bench, done: SourceDone) -> Vec<String> {
    bench.give(Input::Host(HostDone::SourceDone { source: SourceId(0), done }))
}

#[test]
fn a_node_that_is_read_does_one_step_after_the_other_and_answers_each() {
    let mut bench = Bench::new(options(Vec::new()));
    let say = |bench: &mut Bench, data: String| bench.request("PROCESSCOPY", "t", "", &data);
    let outputs = say(&mut bench, asked("open", 1, r#","source":"/log","cache_dir":"/cache""#));
    assert!(outputs[0].starts_with("source 0: Open") && outputs[0].contains("below: Some"), "{outputs:?}");
    let kind = CopyKind::Regular;
    let opened = SourceDone::Opened { kind, total: 4, notes: Vec::new(), digest: DigestKind::Sha256 };
    let outputs = source(&mut bench, opened);
    assert!(outputs[0].starts_with("client 7: [ACK] [t] 0 {\"digest\":\"sha256\",\"fetch\":1"), "{outputs:?}");
    assert_eq!(say(&mut bench, asked("read", 2, ",\"bytes\":9")).len(), 1);
    assert!(say(&mut bench, asked("finish", 3, "")).is_empty(), "it waits");
    let outputs = say(&mut bench, asked("alive", 4, ""));
    assert_eq!(outputs, [r#"client 7: [ACK] [t] 0 {"fetch":4,"busy":true}"#]);
    let data = r#""chunk":{"data":"dGV4dA==","size":4,"offset":0,"total":4}}"#.to_owned();
    let outputs = source(&mut bench, SourceDone::Chunks(vec![Chunk { data, offset: 0, len_bytes: 4 }]));
    assert_eq!(outputs[0], format!("client 7: [ACK] [t] 0 {}", chunk(2, 0, 4)));
    assert_eq!(outputs[1], "source 0: Finish");
    // The reader lost its connection and asks again.
    let outputs = say(&mut bench, asked("open", 5, r#","source":"/log""#));
    assert!(outputs[0].contains("\"fetch\":5"), "{outputs:?}");
    let outputs = source(&mut bench, SourceDone::Grew("ab".to_owned()));
    assert!(outputs[0].contains(r#""fetch":3,"grew":true,"md5":"ab""#), "{outputs:?}");
    assert!(bench.pass_seconds(601).contains(&"source 0: Close".to_owned()));
    let outputs = say(&mut bench, asked("read", 6, ""));
    assert_eq!(outputs, [r#"client 7: [ACK] [t] 0 {"fetch":6,"closed":true}"#]);
}

#[test]
fn a_source_that_fails_is_closed_and_too_many_are_refused() {
    let mut bench = Bench::new(options(Vec::new()));
    bench.request("PROCESSCOPY", "t", "", &asked("open", 1, r#","source":"/log""#));
    let failure = CopyFailure { message: "unknown source".to_owned(), detail: "none".to_owned() };
    let outputs = source(&mut bench, SourceDone::Failed(failure));
    assert!(outputs.contains(&"source 0: Close".to_owned()), "{outputs:?}");
    assert!(outputs.iter().any(|line| line.contains("\"refused\":{\"detail\":\"none\"")), "{outputs:?}");
    for number in 0..32 {
        bench.request("PROCESSCOPY", &format!("t{number}"), "", &asked("open", 1, r#","source":"/log""#));
    }
    let outputs = bench.request("PROCESSCOPY", "last", "", &asked("open", 1, r#","source":"/log""#));
    assert!(outputs[0].contains("too many files"), "{outputs:?}");
}

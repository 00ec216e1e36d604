use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::edge::temp_dir::TempDir;
use crate::model::base64_text;
use crate::model::token::Token;

struct Folder {
    folder: TempDir,
    destination: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let folder = TempDir::new();
        fs::create_dir_all(folder.join("cache")).unwrap();
        fs::create_dir_all(folder.join("there")).unwrap();
        Self { destination: folder.join("there"), folder }
    }

    fn spec(&self, token: &str) -> SinkSpec {
        SinkSpec {
            token: Token::parse(token).unwrap(),
            cache_dir: Some(self.folder.join("cache")),
            destination: self.destination.clone(),
            kind: CopyKind::Archive,
            roots: Arc::new([]),
            max_ratio: 0,
            is_passed_on: false,
        }
    }

    fn query(&self, token: &str, total: usize, identity: Option<&str>) -> SinkStep {
        SinkStep::Query {
            spec: self.spec(token),
            total: total as u64,
            md5: None,
            attributes: Attributes::default(),
            keep: None,
            identity: identity.map(str::to_owned),
            digest: DigestKind::Md5,
        }
    }

    fn chunk(&self, token: &str, bytes: &[u8], offset: u64) -> SinkStep {
        let mut json = "\"".to_owned();
        base64_text::push(bytes, &mut json);
        json.push('"');
        SinkStep::Chunk { spec: self.spec(token), base64: 0..json.len(), json, size: bytes.len(), offset: Some(offset) }
    }

    fn end(&self, token: &str, bytes: &[u8]) -> SinkStep {
        let md5 = hex(&Md5::new_with_prefix(bytes));
        SinkStep::End {
            spec: self.spec(token),
            md5,
            attributes: Attributes::default(),
            note: None,
            by_difference: false,
        }
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.folder.join(directory)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for name in ["one", "two"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, b"text".as_slice()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn found(done: &SinkDone) -> u64 {
    match done {
        SinkDone::Found { received, .. } => *received,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_killed_receiver_left_is_found_under_another_token_and_nothing_stays_behind() {
    let folder = Folder::new();
    let packed = archive();
    let mut sink = Sink::default();
    assert_eq!(found(&sink.run(folder.query("first", packed.len(), Some("the same")))), 0);
    assert!(sink.is_open(), "what it was asked for is not forgotten before the first chunk");
    assert!(matches!(sink.run(folder.chunk("first", &packed, 0)), SinkDone::Written(_)));
    assert_eq!(folder.names("cache").len(), 2);
    // The daemon is killed while it unpacks.
    let mark = hex(&Md5::new_with_prefix("copy_first"));
    drop(sink);
    for number in 1..=2 {
        fs::write(folder.destination.join(format!(".copy_{mark}.{number}")), "te").unwrap();
    }
    // Another copy finds nothing and removes nothing.
    let mut other = Sink::default();
    assert_eq!(found(&other.run(folder.query("other", packed.len(), Some("another")))), 0);
    assert_eq!(found(&other.run(folder.query("alone", packed.len(), None))), 0);
    let mut again = Sink::default();
    assert_eq!(found(&again.run(folder.query("second", packed.len(), Some("the same")))), packed.len() as u64);
    // While it is in use, nobody else gets it.
    assert_eq!(found(&Sink::default().run(folder.query("third", packed.len(), Some("the same")))), 0);
    assert_eq!(again.run(folder.end("second", &packed)), SinkDone::Finished(Vec::new()));
    assert_eq!(folder.names("there"), ["one", "two"]);
    assert_eq!(folder.names("cache"), Vec::<String>::new());
    assert!(!again.is_open());
}

#[test]
fn what_is_kept_is_there_later_and_what_is_given_up_is_gone() {
    let folder = Folder::new();
    for (step, left) in [(SinkStep::Keep, 4), (SinkStep::Discard, 0)] {
        let mut sink = Sink::default();
        sink.run(folder.query("token", 8, Some("the same")));
        sink.run(folder.chunk("token", b"text", 0));
        assert_eq!(sink.run(step), SinkDone::Discarded);
        assert!(!sink.is_open());
        let mut sink = Sink::default();
        assert_eq!(found(&sink.run(folder.query("token", 8, Some("the same")))), left);
        sink.run(SinkStep::Discard);
        assert_eq!(folder.names("cache"), Vec::<String>::new());
    }
}

#[test]
fn a_token_that_is_too_long_for_a_file_name_is_none() {
    let mut folder = Folder::new();
    folder.destination = folder.folder.join("there");
    let (token, packed) = ("t".repeat(255), archive());
    let mut sink = Sink::default();
    assert_eq!(sink.run(folder.chunk(&token, &packed, 0)), SinkDone::Written(packed.len() as u64));
    assert_eq!(sink.run(folder.end(&token, &packed)), SinkDone::Finished(Vec::new()));
    assert_eq!(folder.names("there"), ["one", "two"]);
}

#[test]
fn an_end_that_finds_what_was_there_before_a_restart_leaves_no_mark() {
    let folder = Folder::new();
    let packed = archive();
    let mut sink = Sink::default();
    sink.run(folder.query("token", packed.len(), Some("the same")));
    sink.run(folder.chunk("token", &packed, 0));
    drop(sink);
    assert_eq!(folder.names("cache").len(), 2);
    assert_eq!(Sink::default().run(folder.end("token", &packed)), SinkDone::Finished(Vec::new()));
    assert_eq!(folder.names("cache"), Vec::<String>::new());
}

#[test]
fn what_is_forgotten_at_a_question_leaves_no_mark() {
    let folder = Folder::new();
    let mut sink = Sink::default();
    let SinkStep::Chunk { spec, json, base64, size, .. } = folder.chunk("token", b"text", 0) else { panic!() };
    sink.run(SinkStep::Chunk { spec, json, base64, size, offset: None });
    sink.run(SinkStep::Keep);
    let SinkStep::Query { spec, total, md5, attributes, identity, .. } = folder.query("token", 4, Some("the same"))
    else {
        panic!()
    };
    assert!(matches!(sink.run(folder.chunk("token", b"text", 19)), SinkDone::Failed(_)), "a chunk of what was kept");
    assert_eq!(folder.names("cache"), Vec::<String>::new());
    let anew = SinkStep::Query { spec, total, md5, attributes, keep: Some(0), identity, digest: DigestKind::Md5 };
    assert_eq!(found(&sink.run(anew)), 0);
    assert_eq!(folder.names("cache"), Vec::<String>::new());
}

/// A receiver that was killed while it put the copy `token` in place: what it had written, and the note that says
/// where.
fn killed_at(folder: &Folder, token: &str, packed: &[u8], place: &Path) {
    let mut sink = Sink::default();
    sink.run(folder.query(token, packed.len(), Some(token)));
    sink.run(folder.chunk(token, packed, 0));
    let gathered = folder.folder.join("cache").join(format!("copy_{token}"));
    Note::beside(&gathered).set(place);
}

#[test]
fn what_a_killed_receiver_left_at_the_destination_goes_when_nobody_has_asked_for_a_day() {
    let folder = Folder::new();
    let there = &folder.destination;
    fs::create_dir(there.join("sub")).unwrap();
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for name in ["one", "sub/two", "sub/three"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        builder.append_data(&mut header, name, b"text".as_slice()).unwrap();
    }
    let packed = builder.into_inner().unwrap().finish().unwrap();
    killed_at(&folder, "tree", &packed, there);
    let digest = hex(&Md5::new_with_prefix("copy_tree"));
    let left = |path: &str| fs::write(there.join(path), "te").unwrap();
    left(&format!(".copy_{digest}.1"));
    left(&format!("sub/.copy_{digest}.2"));
    // A single file that goes to another disk.
    let file = hex(&Md5::new_with_prefix("copy_file"));
    left(&format!(".copy_{file}"));
    killed_at(&folder, "file", b"text", &there.join(format!(".copy_{file}")));
    // These look like our files, but are not.
    let theirs = [format!(".copy_{digest}.3"), format!("sub/.copy_{digest}.1"), ".copy_0.1".to_owned()];
    theirs.iter().for_each(|name| left(name));
    fs::create_dir(there.join("sub").join(format!(".copy_{digest}.3"))).unwrap();

    let is_there = |name: &str| there.join(name).exists();
    let cache = folder.folder.join("cache");
    marks::sweep(&cache, std::time::SystemTime::now());
    assert!(is_there(&format!(".copy_{digest}.1")), "they may be asked for again");
    marks::sweep(&cache, std::time::SystemTime::now() + marks::KEPT);
    for name in [format!(".copy_{digest}.1"), format!("sub/.copy_{digest}.2"), format!(".copy_{file}")] {
        assert!(!is_there(&name), "{name} is left");
    }
    for name in &theirs {
        assert!(is_there(name), "{name} is gone");
    }
    assert_eq!(folder.names("cache"), Vec::<String>::new());
}

#[test]
fn a_note_without_its_copy_goes_after_a_day_too() {
    let folder = Folder::new();
    let cache = folder.folder.join("cache");
    let file = folder.destination.join(format!(".copy_{}", hex(&Md5::new_with_prefix("copy_gone"))));
    fs::write(&file, "te").unwrap();
    Note::beside(&cache.join("copy_gone")).set(&file);
    // This belongs to somebody else: it leads to a file without the name that it must have.
    let precious = folder.destination.join("precious");
    fs::write(&precious, "text").unwrap();
    Note::beside(&cache.join("copy_planted")).set(&precious);
    marks::sweep(&cache, std::time::SystemTime::now());
    assert!(file.exists() && folder.names("cache").len() == 2);
    marks::sweep(&cache, std::time::SystemTime::now() + marks::KEPT);
    assert!(!file.exists() && precious.exists());
    assert_eq!(folder.names("cache"), Vec::<String>::new());
}

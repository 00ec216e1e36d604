use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{Entry, Head, Kind, Reader, Record, Writer};
use crate::edge::copy::sink::Sink;
use crate::edge::copy::source::Source;
use crate::edge::temp_dir::TempDir;
use crate::model::copy::{
    Attributes, ChunkFrame, CopyKind, SinkDone, SinkSpec, SinkStep, SourceDone, SourceSpec, SourceStep, TreeOptions,
};
use crate::model::token::Token;

/// Both ends of copies of one directory.
struct Ends {
    folder: TempDir,
    options: TreeOptions,
}

impl Ends {
    fn new() -> Self {
        let folder = TempDir::new();
        for name in ["from", "to", "cache"] {
            fs::create_dir(folder.join(name)).unwrap();
        }
        Self { folder, options: TreeOptions::default() }
    }

    fn from(&self, name: &str) -> PathBuf {
        self.folder.join("from").join(name)
    }

    fn to(&self, name: &str) -> PathBuf {
        self.folder.join("to").join(name)
    }

    fn spec(&self, kind: CopyKind) -> SinkSpec {
        SinkSpec {
            token: Token::parse("t").unwrap(),
            cache_dir: Some(self.folder.join("cache")),
            destination: self.folder.join("to"),
            kind,
            roots: Arc::from([]),
            max_ratio: 0,
            is_passed_on: false,
        }
    }

    /// Sends what was opened to the sink.
    fn send(&self, source: &mut Source, sink: &mut Sink, kind: CopyKind) -> Result<String, String> {
        let frame = ChunkFrame { before: Arc::from("\""), after: Arc::from("") };
        loop {
            let read = SourceStep::Read { count: 1, chunk_bytes: 100_000, frame: frame.clone() };
            let SourceDone::Chunks(chunks) = source.run(read) else { panic!() };
            let Some(chunk) = chunks.into_iter().next() else { break };
            let end = chunk.data[1..].find('"').unwrap() + 2;
            let size = usize::try_from(chunk.len_bytes).unwrap();
            let (json, offset) = (chunk.data, Some(chunk.offset));
            let step = SinkStep::Chunk { spec: self.spec(kind), json, base64: 0..end, size, offset };
            let done = sink.run(step);
            if !matches!(done, SinkDone::Written(_)) {
                return Err(format!("{done:?}"));
            }
        }
        match source.run(SourceStep::Finish) {
            SourceDone::Digest(digest) => Ok(digest),
            other => Err(format!("{other:?}")),
        }
    }

    fn open(&self, source: &mut Source) {
        let spec = SourceSpec {
            source: self.folder.join("from"),
            cache_dir: Some(self.folder.join("cache")),
            archive_name: "list".to_owned(),
            attributes: Attributes::default(),
            difference: Some(self.options),
            below: None,
        };
        let opened = source.run(SourceStep::Open(spec));
        assert!(matches!(opened, SourceDone::Opened { kind: CopyKind::Manifest, .. }), "{opened:?}");
    }

    /// Copies; returns the number of bytes of the archive.
    fn copy(&self) -> Result<u64, String> {
        let (mut source, mut sink) = (Source::default(), Sink::default());
        self.open(&mut source);
        let list = self.send(&mut source, &mut sink, CopyKind::Manifest)?;
        let mut from = Some(0);
        while let Some(next) = from {
            let spec = self.spec(CopyKind::Manifest);
            let page = match sink.run(SinkStep::Compare { spec, digest: list.clone(), from: next }) {
                SinkDone::Compared(page) => page,
                other => return Err(format!("{other:?}")),
            };
            let page: serde_json::Value = serde_json::from_str(&format!("{{{page}}}")).unwrap();
            let text = |key: &str| page[key].as_str().unwrap().to_owned();
            let done = source.run(SourceStep::Select { need: text("need"), look: text("look") });
            assert_eq!(done, SourceDone::Selected);
            from = page["next"].as_u64();
        }
        let (bytes, kind, md5) = match source.run(SourceStep::Pack { whole: false }) {
            SourceDone::Nothing => (0, CopyKind::Manifest, list),
            SourceDone::Opened { kind, total, .. } => {
                (total, kind, self.send(&mut source, &mut sink, CopyKind::Archive)?)
            }
            other => return Err(format!("{other:?}")),
        };
        let (spec, attributes) = (self.spec(kind), Attributes::default());
        match sink.run(SinkStep::End { spec, md5, attributes, note: None, by_difference: true }) {
            SinkDone::Finished(notes) if notes.is_empty() => Ok(bytes),
            other => Err(format!("{other:?}")),
        }
    }

    /// Every path with its kind, permissions, time and content.
    fn listed(&self, side: &str) -> BTreeMap<String, String> {
        fn list(root: &Path, directory: &Path, all: &mut BTreeMap<String, String>) {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                let name = path.strip_prefix(root).unwrap().display().to_string();
                let text = if metadata.is_symlink() {
                    fs::read_link(&path).unwrap().display().to_string()
                } else {
                    let (mode, modified) = (metadata.permissions().mode(), metadata.modified().unwrap());
                    let content = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
                    format!("{mode:o} {modified:?} {content:?}")
                };
                all.insert(name, text);
                if metadata.is_dir() {
                    list(root, &path, all);
                }
            }
        }
        let (root, mut all) = (self.folder.join(side), BTreeMap::new());
        list(&root, &root, &mut all);
        all
    }

    #[track_caller]
    fn are_equal(&self) {
        assert_eq!(self.listed("to"), self.listed("from"));
        assert_eq!(fs::read_dir(self.folder.join("cache")).unwrap().count(), 0);
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn only_what_differs_is_sent_and_both_ends_are_equal_then() {
    let ends = Ends::new();
    let long = "n".repeat(255);
    fs::create_dir_all(ends.from("a/b/empty")).unwrap();
    fs::create_dir(ends.from(&long)).unwrap();
    fs::write(ends.from(&long).join(&long), "long").unwrap();
    for number in 0..200 {
        fs::write(ends.from(&format!("a/{number}")), format!("{number}").repeat(500)).unwrap();
    }
    symlink("a/1", ends.from("link")).unwrap();
    mode(&ends.from("a/7"), 0o750);
    mode(&ends.from("a/b"), 0o500);
    let whole = ends.copy().unwrap();
    ends.are_equal();
    assert_eq!(ends.copy(), Ok(0), "nothing differs");
    fs::write(ends.from("a/1"), "another text").unwrap();
    fs::write(ends.from("a/new"), "new").unwrap();
    mode(&ends.from("a/7"), 0o640);
    fs::remove_file(ends.from("link")).unwrap();
    symlink("a/2", ends.from("link")).unwrap();
    let part = ends.copy().unwrap();
    assert!(part > 0 && part * 4 < whole, "{part} of {whole}");
    ends.are_equal();
    mode(&ends.from("a/b"), 0o700);
    mode(&ends.to("a/b"), 0o700);
}

#[test]
fn where_the_time_alone_differs_only_the_time_is_sent() {
    let ends = Ends::new();
    for (name, text) in [("same", "a text"), ("other", "a text")] {
        fs::write(ends.from(name), text).unwrap();
        fs::write(ends.to(name), if name == "same" { text } else { "A TEXT" }).unwrap();
        let past = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000, 7);
        fs::File::options().write(true).open(ends.to(name)).unwrap().set_modified(past).unwrap();
    }
    assert!(ends.copy().unwrap() > 0, "one of them is another");
    ends.are_equal();
}

#[test]
fn a_difference_that_size_and_time_hide_is_found_by_the_digest_alone() {
    let mut ends = Ends::new();
    fs::write(ends.from("file"), "a text").unwrap();
    ends.copy().unwrap();
    let modified = fs::metadata(ends.to("file")).unwrap().modified().unwrap();
    fs::write(ends.to("file"), "A TEXT").unwrap();
    fs::File::options().write(true).open(ends.to("file")).unwrap().set_modified(modified).unwrap();
    assert_eq!(ends.copy(), Ok(0));
    ends.options.checksum = true;
    assert!(ends.copy().unwrap() > 0);
    ends.are_equal();
    assert_eq!(ends.copy(), Ok(0));
}

#[test]
fn what_the_sender_does_not_have_stays_unless_it_is_to_be_deleted() {
    let mut ends = Ends::new();
    fs::create_dir_all(ends.from("a/empty")).unwrap();
    fs::write(ends.from("a/m"), "m").unwrap();
    fs::create_dir_all(ends.to("a/empty/too/much")).unwrap();
    for name in ["a/b", "a/z", "a/empty/one", "a/empty/too/two", "last"] {
        fs::write(ends.to(name), "x").unwrap();
    }
    fs::write(ends.folder.join("outside"), "precious").unwrap();
    symlink(ends.folder.path(), ends.to("way-out")).unwrap();
    ends.copy().unwrap();
    assert_eq!(ends.listed("to").len(), ends.listed("from").len() + 8);
    ends.options.delete = true;
    assert_eq!(ends.copy(), Ok(0));
    ends.are_equal();
    assert_eq!(fs::read_to_string(ends.folder.join("outside")).unwrap(), "precious");
}

#[test]
fn a_source_that_changes_between_list_and_archive_is_no_success() {
    let ends = Ends::new();
    fs::write(ends.from("file"), "a text").unwrap();
    let mut source = Source::default();
    ends.open(&mut source);
    fs::write(ends.from("file"), "another text").unwrap();
    source.run(SourceStep::Select { need: "0-0".to_owned(), look: String::new() });
    let done = format!("{:?}", source.run(SourceStep::Pack { whole: false }));
    assert!(done.contains("changed while it was read"), "{done}");
}

fn entry(name: &str) -> Entry {
    let kind = Kind::File { size: 1, digest: None };
    Entry { name: name.into(), kind, mode: 0o644, uid: 0, gid: 0, modified: (0, 0) }
}

/// Writes a manifest and reads it again.
fn read(records: &[Record], cut: usize) -> Result<usize, String> {
    let folder = TempDir::new();
    let path = folder.join("list");
    let mut writer = Writer::new(fs::File::create(&path).unwrap(), &Head::default()).unwrap();
    for record in records {
        match record {
            Record::Directory(path) => writer.directory(path).unwrap(),
            Record::Entry(entry) => writer.entry(entry).unwrap(),
        }
    }
    writer.finish().unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - cut]).unwrap();
    let mut reader = Reader::new(fs::File::open(&path).unwrap()).map_err(|error| error.to_string())?;
    let mut count = 0;
    while reader.next().map_err(|error| error.to_string())?.is_some() {
        count += 1;
    }
    Ok(count)
}

#[test]
fn a_list_that_leads_out_or_is_broken_is_refused() {
    let directory = |path: &str| Record::Directory(path.into());
    let named = |name: &str| Record::Entry(entry(name));
    assert_eq!(read(&[directory(""), named("a"), named("b"), directory("a")], 0), Ok(4));
    for (records, said) in [
        (vec![directory("../x")], "leads out"),
        (vec![directory("/etc")], "leads out"),
        (vec![directory("a/../..")], "leads out"),
        (vec![directory(""), named("..")], "leads out"),
        (vec![directory(""), named("a/b")], "leads out"),
        (vec![directory(""), named("")], "leads out"),
        (vec![directory(""), named("b"), named("a")], "not in order"),
        (vec![directory(""), named("a"), named("a")], "not in order"),
        (vec![named("a")], "before the first directory"),
        (vec![directory(""), named(&"n".repeat(256))], "256 bytes"),
    ] {
        let why = read(&records, 0).unwrap_err();
        assert!(why.contains(said), "{records:?}: {why}");
    }
    assert!(read(&[directory(""), named("a")], 20).is_err());
}

#[test]
fn a_list_whose_directory_is_a_symlink_out_of_the_destination_touches_nothing_there() {
    let mut ends = Ends::new();
    fs::create_dir(ends.folder.join("outside")).unwrap();
    fs::write(ends.folder.join("outside/precious"), "x").unwrap();
    mode(&ends.folder.join("outside/precious"), 0o600);
    fs::create_dir(ends.from("way")).unwrap();
    fs::write(ends.from("way/precious"), "y").unwrap();
    symlink("../outside", ends.to("way")).unwrap();
    ends.options.delete = true;
    let refused = ends.copy().unwrap_err();
    assert!(refused.contains("leads out of the destination"), "{refused}");
    assert_eq!(fs::read_to_string(ends.folder.join("outside/precious")).unwrap(), "x");
}

#[test]
fn very_many_entries_take_little_memory_and_come_in_parts() {
    const COUNT: usize = 150_000;
    let ends = Ends::new();
    let path = ends.folder.join("list");
    let mut writer = Writer::new(fs::File::create(&path).unwrap(), &Head::default()).unwrap();
    writer.directory(Path::new("")).unwrap();
    for number in 0..COUNT {
        writer.entry(&entry(&format!("{number:08}"))).unwrap();
    }
    writer.finish().unwrap();
    // Every second one is there already, and another file.
    for number in (0..10_000).step_by(2) {
        fs::write(ends.to(&format!("{number:08}")), "x").unwrap();
    }
    let inside = crate::edge::copy::inside::Inside::open(&ends.folder.join("to")).unwrap();
    let mut comparing = super::compare::Comparing::new(fs::File::open(&path).unwrap(), Some(inside)).unwrap();
    let mut parts = 0;
    loop {
        let page = comparing.page().unwrap();
        assert!(page.len() < 200_000, "{}", page.len());
        parts += 1;
        if !page.contains("next") {
            break;
        }
    }
    assert!(parts >= 3, "{parts}");
    assert_eq!(comparing.count(), COUNT as u64);
}
